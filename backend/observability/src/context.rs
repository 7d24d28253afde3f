//! The ids of a request. The middleware creates them once; the root span carries them to log lines, tasks and the
//! client, and the request's extensions carry them to handlers.

use std::future::{Ready, ready};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use actix_web::dev::{Payload, ServiceRequest};
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use actix_web::{FromRequest, HttpMessage, HttpRequest};
use thiserror::Error;
use tracing::Span;
use tracing_subscriber::Registry;
use tracing_subscriber::registry::LookupSpan;
use uuid::Uuid;

use crate::ids::{ascii, is_valid_id};
use crate::metrics::ignored::Ignored;
use crate::project_claim::{ClaimedProject, ProjectClaim};
use crate::route;
use crate::settings::{LogFormat, ObservabilitySettings};
use crate::trace_context::{self, TraceContext};

/// Header with the request's id, in requests and responses.
pub const REQUEST_ID_HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// Header with the id of the request's project.
pub const PROJECT_ID_HEADER: HeaderName = HeaderName::from_static("x-project-id");

/// The ids of the current request. Cheap to clone, and an extractor.
#[derive(Clone, Debug)]
pub struct RequestContext(Arc<Ids>);

#[derive(Debug)]
struct Ids {
    request: HeaderValue,
    project: ClaimedProject,
    trace: Option<TraceContext>,
    baggage: Option<HeaderValue>,
    format: LogFormat,
    /// Reason why the caller's request id was ignored, if it sent one.
    ignored_request: Option<Ignored>,
    has_invalid_project: bool,
    /// Pattern of the matched route, if it was recorded after routing.
    route: OnceLock<String>,
    upload_aborted: AtomicBool,
}

/// Extractor error: the request has no context.
#[derive(Debug, Error)]
#[error("no request context: wrap the app with `Observability::middleware()`")]
pub struct NoContext;

impl actix_web::ResponseError for NoContext {}

impl RequestContext {
    /// Reads the ids from the request's headers. With `check_required` the project is ignored until it is authorized.
    pub(crate) fn from_request_head(
        request: &ServiceRequest,
        settings: &ObservabilitySettings,
        check_required: bool,
    ) -> Self {
        let headers = request.headers();
        let trusted = settings.trust_request_id;
        let request_id = single_valid_id(headers, &REQUEST_ID_HEADER);
        let ignored_request = match &request_id {
            Ok(None) => None,
            Ok(Some(_)) => (!trusted).then_some(Ignored::RequestUntrusted),
            Err(InvalidId) => Some(Ignored::RequestInvalid),
        };
        let request_id = request_id.ok().flatten().filter(|_| trusted);
        let project = single_valid_id(headers, &PROJECT_ID_HEADER);
        let has_invalid_project = project.is_err();
        let project = project.ok().flatten().cloned();
        let baggage = (trusted && settings.forward_baggage).then(|| trace_context::baggage(headers)).flatten();
        Self(Arc::new(Ids {
            request: request_id.cloned().unwrap_or_else(new_id),
            project: ClaimedProject::new(project, check_required),
            trace: if trusted { TraceContext::from_headers(headers) } else { None },
            baggage,
            format: settings.log_format,
            ignored_request,
            has_invalid_project,
            route: OnceLock::new(),
            upload_aborted: AtomicBool::new(false),
        }))
    }

    /// Returns the context of the current request: the one whose span, or a span within it, is current. This works in
    /// tasks that carry the span, too.
    pub fn current() -> Option<Self> {
        Span::current()
            .with_subscriber(|(id, dispatch)| {
                let registry = dispatch.downcast_ref::<Registry>()?;
                registry.span(id)?.scope().find_map(|span| span.extensions().get::<Self>().cloned())
            })
            .flatten()
    }

    /// The request's id: the caller's if it is valid and trusted, else a UUID v4.
    pub fn request_id(&self) -> &str {
        ascii(self.0.request.as_bytes())
    }

    /// The request's project: from the path if [`ProjectFromPath`](crate::ProjectFromPath) is in use, else from the
    /// header. `None` if no route matches the request or the caller is not authorized for the project.
    pub fn project_id(&self) -> Option<&str> {
        self.0.project.current().map(|(project, _)| project)
    }

    /// Sets the check that decides which projects this caller is authorized for. The service's authentication middleware
    /// calls it once; later calls are ignored. `check` is called with the project id in the header immediately, and with
    /// the one in the path when it is known. See
    /// [`require_project_check`](crate::ObservabilityMiddleware::require_project_check).
    pub fn set_project_check(&self, check: impl Fn(&str) -> ProjectClaim + Send + Sync + 'static) {
        self.0.project.set_check(Box::new(check));
        self.record_project();
    }

    /// Confirms that the request's project exists, if the caller is authorized for it. Its label then uses the label sets
    /// reserved for known projects ([`ProjectClaim::Verified`]). Handlers call it when they have found the project.
    pub fn confirm_project(&self) {
        self.0.project.confirm();
    }

    /// The ignored ids of the caller, with the reasons. Complete when the request has ended.
    pub(crate) fn ignored(&self, is_unmatched: bool) -> impl Iterator<Item = Ignored> + use<> {
        let project = &self.0.project;
        let ignored_project = match () {
            () if self.0.has_invalid_project => Some(Ignored::ProjectInvalid),
            () if !project.is_claimed() || project.current().is_some() => None,
            () if is_unmatched => Some(Ignored::ProjectUnmatched),
            () => Some(Ignored::ProjectRefused),
        };
        self.0.ignored_request.into_iter().chain(ignored_project)
    }

    pub(crate) fn project(&self) -> &ClaimedProject {
        &self.0.project
    }

    /// Records the project on the root span if the log format reads it from there.
    fn record_project(&self) {
        if let (LogFormat::Bunyan, Some(project)) = (self.0.format, self.project_id()) {
            Span::current().record("project_id", project);
        }
    }

    /// Records the pattern of the matched route, if there is one.
    pub(crate) fn record_route(&self, request: &HttpRequest) {
        if self.0.route.get().is_none()
            && let Some(pattern) = route::matched_pattern(request)
        {
            self.0.route.get_or_init(|| pattern);
        }
    }

    /// Pattern of the matched route, if it was recorded.
    pub(crate) fn route(&self) -> Option<&str> {
        self.0.route.get().map(String::as_str)
    }

    /// Records that the client disconnected during its upload.
    pub(crate) fn set_upload_aborted(&self) {
        self.0.upload_aborted.store(true, Ordering::Relaxed);
    }

    /// Whether the client disconnected while it sent the request body.
    pub(crate) fn is_upload_aborted(&self) -> bool {
        self.0.upload_aborted.load(Ordering::Relaxed)
    }

    /// The caller's trace id: 32 hexadecimal digits.
    pub fn trace_id(&self) -> Option<&str> {
        self.0.trace.as_ref().map(TraceContext::trace_id)
    }

    /// The caller's span id: 16 hexadecimal digits.
    pub fn span_id(&self) -> Option<&str> {
        self.0.trace.as_ref().map(TraceContext::span_id)
    }

    /// The headers that give an outgoing request the same ids: pairs of name and value, all ASCII.
    pub fn outgoing_headers(&self) -> impl Iterator<Item = (&'static str, &[u8])> {
        let trace = self.0.trace.as_ref();
        [
            Some(("x-request-id", self.0.request.as_bytes())),
            trace.map(|trace| ("traceparent", trace.parent().as_bytes())),
            trace.and_then(TraceContext::state).map(|state| ("tracestate", state.as_bytes())),
            self.0.baggage.as_ref().map(|baggage| ("baggage", baggage.as_bytes())),
        ]
        .into_iter()
        .flatten()
    }

    pub(crate) fn request_id_header(&self) -> HeaderValue {
        self.0.request.clone()
    }

    pub(crate) fn format(&self) -> LogFormat {
        self.0.format
    }

    /// Sets the project found in the path. Only the first valid one is used.
    pub(crate) fn set_project_from_path(&self, project: &str) {
        self.0.project.set_in_path(project);
        self.record_project();
    }
}

impl FromRequest for RequestContext {
    type Error = NoContext;
    type Future = Ready<Result<Self, NoContext>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let context = request.extensions().get::<Self>().cloned();
        if let Some(context) = &context {
            context.record_route(request);
        }
        ready(context.ok_or(NoContext))
    }
}

/// A header does not hold exactly one valid id.
struct InvalidId;

/// Reads an id from a header. A repeated header is invalid, because it is ambiguous which value is meant.
fn single_valid_id<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a HeaderValue>, InvalidId> {
    let mut values = headers.get_all(name);
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) if is_valid_id(value.as_bytes()) => Ok(Some(value)),
        (Some(_), _) => Err(InvalidId),
    }
}

fn new_id() -> HeaderValue {
    let mut text = Uuid::encode_buffer();
    let text = Uuid::new_v4().as_hyphenated().encode_lower(&mut text);
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static("-"))
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn id_for(values: &[&str]) -> String {
        let request = values
            .iter()
            .fold(TestRequest::default(), |request, value| request.append_header(("x-request-id", *value)));
        let settings = ObservabilitySettings::new("svc");
        RequestContext::from_request_head(&request.to_srv_request(), &settings, false).request_id().to_owned()
    }

    #[test]
    fn valid_ids_are_kept() {
        for id in ["a", "demo-1", "AZaz09._-:/+=", "x".repeat(128).as_str()] {
            assert_eq!(id_for(&[id]), id);
        }
    }

    #[test]
    fn an_invalid_or_missing_id_is_replaced_by_a_uuid_v4() {
        for bad in [&[][..], &[""], &["a b"], &["a\"b"], &["é"], &["a\tb"], &["x".repeat(129).as_str()], &["a", "b"]] {
            let id = id_for(bad);
            assert_eq!(Uuid::parse_str(&id).expect("a uuid").get_version_num(), 4, "{bad:?} gave {id}");
        }
    }
}
