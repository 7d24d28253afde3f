//! Links by request id: to its story here, also for who is elsewhere, and to the same lines in Kibana where there is one.
//!
//! Every answer under `/api`, and every one that tells of an error, carries them for its own request in a `Link` header
//! (RFC 8288), a story the one to Kibana for the request that it is about. Their times are fixed ones, so that a link that is
//! kept still leads to the lines.

use std::fmt::Display;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::error::InternalError;
use actix_web::http::header::{HeaderMap, HeaderValue, LINK};
use actix_web::middleware::Next;
use actix_web::{Error, web};
use observability::REQUEST_ID_HEADER;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use store::Timestamp;
use url::Url;

use crate::access::name::OwnNames;

/// Room for what other services' clocks say, and for what they did before and after.
const MARGIN_MS: i64 = 15 * 60 * 1_000;

/// The dashboard's uid.
const DASHBOARD: &str = "observability";

/// Columns and data view of Kibana's saved search: a link that changes its query alone loses them from Kibana 8.9 on.
const SEARCH: &str = "columns:!(level,service,message,endpoint,status,duration_ms),index:app-logs";

/// What stands in an id as it is (RFC 3986, unreserved).
pub(crate) const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Where links lead.
#[derive(Clone, Debug, Default)]
pub struct Links {
    public: Option<Url>,
    kibana: Option<Url>,
    grafana: Option<Url>,
    names: OwnNames,
}

impl Links {
    /// Links to the story, for who is elsewhere at this public address, and to Kibana and Grafana at these addresses.
    #[must_use]
    pub fn new(public: Option<Url>, kibana: Option<Url>, grafana: Option<Url>) -> Self {
        Self { public, kibana, grafana, names: OwnNames::default() }
    }

    /// With the names that this service answers to.
    #[must_use]
    pub fn with_names(self, names: OwnNames) -> Self {
        Self { names, ..self }
    }

    /// Where this service's paths begin for a file that is read elsewhere: at the public address, or where it was asked for.
    #[must_use]
    pub fn root_of_file(&self, headers: &HeaderMap) -> Root {
        let public = self.public.as_ref().map(|public| public.as_str().trim_end_matches('/').to_owned());
        public.or_else(|| self.names.origin(headers)).map_or(Root::Unknown, Root::At)
    }

    /// The dashboard (`infra/grafana/dashboards/observability.json`) from 15 minutes before `first` to 15 minutes after
    /// `last`.
    #[must_use]
    pub fn grafana(&self, first: Timestamp, last: Timestamp) -> Option<String> {
        let base = self.grafana.as_ref()?.as_str().trim_end_matches('/');
        let (from, to) = (first.unix_ms() - MARGIN_MS, last.unix_ms() + MARGIN_MS);
        Some(format!("{base}/d/{DASHBOARD}?from={from}&to={to}"))
    }

    /// The saved search "one request" (`infra/kibana/observability.ndjson`) with this id, from 15 minutes before
    /// `first` to 15 minutes after `last`.
    #[must_use]
    pub fn kibana(&self, request_id: &str, first: Timestamp, last: Timestamp) -> Option<String> {
        let base = self.kibana.as_ref()?.as_str().trim_end_matches('/');
        let from = Timestamp::from_unix_ms(first.unix_ms() - MARGIN_MS);
        let to = Timestamp::from_unix_ms(last.unix_ms() + MARGIN_MS);
        let id = utf8_percent_encode(request_id, PLAIN);
        Some(format!(
            "{base}/app/discover#/view/one-request?_g=(time:(from:'{from}',to:'{to}'))\
             &_a=({SEARCH},query:(language:kuery,query:'request_id:%22{id}%22'),sort:!(!(timestamp,asc)))"
        ))
    }

    /// Puts the links of a request on its answer, which names it.
    fn put_on(&self, headers: &mut HeaderMap) {
        let Some(id) = headers.get(REQUEST_ID_HEADER).and_then(|id| id.to_str().ok()) else { return };
        let mut value = format!(
            "<{}>; rel=\"related\"; type=\"application/json\"; title=\"lines of this request\", <{}>; rel=\"related\"; \
             type=\"text/html\"; title=\"page of this request\"",
            story_path(id),
            page_path(id)
        );
        let now = Timestamp::now();
        if let Some(kibana) = self.kibana(id, now, now) {
            value.push_str(&format!(", <{kibana}>; rel=\"related\"; title=\"Kibana\""));
        }
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(LINK, value);
        }
    }
}

/// Where this service's paths begin, for who follows them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Root {
    /// Where the page itself is.
    Page,
    /// At this address.
    At(String),
    /// That is not known: they lead nowhere.
    Unknown,
}

impl Root {
    /// A link to a path; none where it would lead nowhere.
    #[must_use]
    pub fn to(&self, path: impl Display) -> Option<String> {
        match self {
            Self::Page => Some(path.to_string()),
            Self::At(address) => Some(format!("{address}{path}")),
            Self::Unknown => None,
        }
    }
}

/// The path of the page that tells a request's story.
#[must_use]
pub fn page_path(request_id: &str) -> String {
    format!("/requests/{}", utf8_percent_encode(request_id, PLAIN))
}

/// The path of a request's story, as JSON.
#[must_use]
pub fn story_path(request_id: &str) -> String {
    format!("/api/requests/{}", utf8_percent_encode(request_id, PLAIN))
}

/// Middleware: gives each answer under `/api`, and each error, the links of its request, also where a handler panicked. It
/// reads the request's id off the answer, and so belongs outside of what puts it there.
///
/// # Errors
/// Those of what it wraps.
pub async fn add(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let Some(links) = request.app_data::<web::Data<Links>>().cloned() else { return next.call(request).await };
    let is_api = request.path().starts_with("/api/");
    match next.call(request).await {
        Ok(mut response) => {
            if is_api || response.status().is_client_error() || response.status().is_server_error() {
                links.put_on(response.headers_mut());
            }
            Ok(response)
        }
        // An answer that has no request any more.
        Err(error) => {
            let mut response = error.error_response();
            links.put_on(response.headers_mut());
            Err(InternalError::from_response(error, response).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HOST;

    use super::*;

    #[test]
    fn an_id_can_not_leave_its_place_in_a_link() {
        let links =
            Links::new(None, "http://kibana.example/base/".parse().ok(), "http://grafana.example/".parse().ok());
        let at = Timestamp::from_unix_ms(3_600_000);
        let link = links.kibana("a/b+c='d", at, at).unwrap();
        assert_eq!(
            link,
            "http://kibana.example/base/app/discover#/view/one-request?\
             _g=(time:(from:'1970-01-01T00:45:00.000000Z',to:'1970-01-01T01:15:00.000000Z'))\
             &_a=(columns:!(level,service,message,endpoint,status,duration_ms),index:app-logs,\
             query:(language:kuery,query:'request_id:%22a%2Fb%2Bc%3D%27d%22'),sort:!(!(timestamp,asc)))"
        );
        assert_eq!(story_path("a/b+c"), "/api/requests/a%2Fb%2Bc");
        assert_eq!(links.grafana(at, at).unwrap(), "http://grafana.example/d/observability?from=2700000&to=4500000");
        assert_eq!(Links::default().kibana("a", at, at), None);
    }

    #[test]
    fn a_file_leads_to_the_public_address_or_to_where_it_was_asked_for() {
        let asked = |host: &str| HeaderMap::from_iter([(HOST, HeaderValue::from_str(host).unwrap())]);
        let told = Links::new("https://logs.example/base/".parse().ok(), None, None);
        let root = told.root_of_file(&asked("evil.example"));
        assert_eq!(root.to("/requests/a").as_deref(), Some("https://logs.example/base/requests/a"));
        let untold = Links::default();
        let root = untold.root_of_file(&asked("127.0.0.1:8000"));
        assert_eq!(root.to("/requests/a").as_deref(), Some("http://127.0.0.1:8000/requests/a"));
        assert_eq!(untold.root_of_file(&asked("evil.example")).to("/requests/a"), None);
        assert_eq!(Root::Page.to("/requests/a").as_deref(), Some("/requests/a"));
    }
}
