//! Links by request ID: to the request's page and API, and to its lines in Kibana and the dashboard in Grafana.
//!
//! Every response under `/api`, and every error, carries those of its own request in a `Link` header (RFC 8288). Links
//! to other tools have fixed time ranges, so that they stay valid.

use std::fmt::Display;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::error::InternalError;
use actix_web::http::header::{HeaderMap, HeaderValue, LINK};
use actix_web::middleware::Next;
use actix_web::{Error, web};
use observability::REQUEST_ID_HEADER;
use store::Timestamp;
use url::Url;

use crate::access::host_names::HostNames;
use crate::paths::{encode, request_api, request_page};

/// Margin around a request's time range, for clock differences and context.
const MARGIN_MS: i64 = 15 * 60 * 1_000;

/// The dashboard's UID.
const DASHBOARD: &str = "observability";

/// Columns and data view of Kibana's saved search: from Kibana 8.9 on, a link that sets only the query loses them.
const SEARCH: &str = "columns:!(level,service,message,endpoint,status,duration_ms),index:app-logs";

/// The URLs that links lead to.
#[derive(Clone, Debug, Default)]
pub struct Links {
    public: Option<Url>,
    kibana: Option<Url>,
    grafana: Option<Url>,
    names: HostNames,
}

impl Links {
    /// Links with the public URL of this service and the URLs of Kibana and Grafana.
    #[must_use]
    pub fn new(public: Option<Url>, kibana: Option<Url>, grafana: Option<Url>) -> Self {
        Self { public, kibana, grafana, names: HostNames::default() }
    }

    /// With the host names of this service.
    #[must_use]
    pub fn with_names(self, names: HostNames) -> Self {
        Self { names, ..self }
    }

    /// The base URL for links in a downloaded file: the public URL, or the origin of the request.
    #[must_use]
    pub fn file_root(&self, headers: &HeaderMap) -> Root {
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

    /// The saved search "one request" (`infra/kibana/observability.ndjson`) for this ID, from 15 minutes before `first`
    /// to 15 minutes after `last`.
    #[must_use]
    pub fn kibana(&self, request_id: &str, first: Timestamp, last: Timestamp) -> Option<String> {
        let base = self.kibana.as_ref()?.as_str().trim_end_matches('/');
        let from = Timestamp::from_unix_ms(first.unix_ms() - MARGIN_MS);
        let to = Timestamp::from_unix_ms(last.unix_ms() + MARGIN_MS);
        let id = encode(request_id);
        Some(format!(
            "{base}/app/discover#/view/one-request?_g=(time:(from:'{from}',to:'{to}'))\
             &_a=({SEARCH},query:(language:kuery,query:'request_id:%22{id}%22'),sort:!(!(timestamp,asc)))"
        ))
    }

    /// Adds the links of a request to its response, which has its ID.
    fn put_on(&self, headers: &mut HeaderMap) {
        let Some(id) = headers.get(REQUEST_ID_HEADER).and_then(|id| id.to_str().ok()) else { return };
        let mut value = format!(
            "<{}>; rel=\"related\"; type=\"application/json\"; title=\"lines of this request\", <{}>; rel=\"related\"; \
             type=\"text/html\"; title=\"page of this request\"",
            request_api(id),
            request_page(id)
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

/// The base of links to this service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Root {
    /// Relative to the page.
    Page,
    /// Absolute, with this base URL.
    At(String),
    /// Unknown: there are no links.
    Unknown,
}

impl Root {
    /// The URL of a path; none if the base is unknown.
    #[must_use]
    pub fn to(&self, path: impl Display) -> Option<String> {
        match self {
            Self::Page => Some(path.to_string()),
            Self::At(address) => Some(format!("{address}{path}")),
            Self::Unknown => None,
        }
    }
}

/// Middleware: adds the links of its request to each response under `/api` and to each error, also after a panic. It
/// reads the ID from the response, and so belongs outside of what sets it.
///
/// # Errors
/// Those of the wrapped service.
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
        // A response without a request.
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
    fn ids_are_encoded_in_links() {
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
        assert_eq!(links.grafana(at, at).unwrap(), "http://grafana.example/d/observability?from=2700000&to=4500000");
        assert_eq!(Links::default().kibana("a", at, at), None);
    }

    #[test]
    fn links_of_a_file_use_the_public_url_or_the_request_s_host() {
        let headers = |host: &str| HeaderMap::from_iter([(HOST, HeaderValue::from_str(host).unwrap())]);
        let public = Links::new("https://logs.example/base/".parse().ok(), None, None);
        let root = public.file_root(&headers("evil.example"));
        assert_eq!(root.to("/requests/a").as_deref(), Some("https://logs.example/base/requests/a"));
        let private = Links::default();
        let root = private.file_root(&headers("127.0.0.1:8000"));
        assert_eq!(root.to("/requests/a").as_deref(), Some("http://127.0.0.1:8000/requests/a"));
        assert_eq!(private.file_root(&headers("evil.example")).to("/requests/a"), None);
        assert_eq!(Root::Page.to("/requests/a").as_deref(), Some("/requests/a"));
    }
}
