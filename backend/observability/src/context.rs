//! What the library knows of a request while it is handled: its ids. Made once by the middleware, carried by the root
//! span (for lines, tasks and the client) and by the request's extensions (for handlers).

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

use crate::metrics::ignored::Ignored;
use crate::project_claim::{ClaimedProject, ProjectClaim};
use crate::route;
use crate::settings::{LogFormat, ObservabilitySettings};
use crate::trace_context::{self, TraceContext};

/// The header that carries a request's id, in and out.
pub const REQUEST_ID_HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// The header that names the project a request is for.
pub const PROJECT_ID_HEADER: HeaderName = HeaderName::from_static("x-project-id");

/// Characters an id may have at most; a longer one is refused.
pub const MAX_ID_CHARS: usize = 128;

/// The ids of the request at hand. Cheap to clone; also an extractor.
#[derive(Clone, Debug)]
pub struct RequestContext(Arc<Ids>);

#[derive(Debug)]
struct Ids {
    request: HeaderValue,
    project: ClaimedProject,
    trace: Option<TraceContext>,
    baggage: Option<HeaderValue>,
    format: LogFormat,
    /// Why the caller's request id was not kept, where there was one.
    ignored_request: Option<Ignored>,
    has_invalid_project: bool,
    /// The pattern of the route that took the request, where someone asked after routing.
    route: OnceLock<String>,
    upload_broke_off: AtomicBool,
}

/// The request has no context.
#[derive(Debug, Error)]
#[error("no request context: wrap the app with `Observability::middleware()`")]
pub struct NoContext;

impl actix_web::ResponseError for NoContext {}

impl RequestContext {
    /// `check_required`: whether the request has no project before the service has said so.
    pub(crate) fn from_request_head(
        request: &ServiceRequest,
        settings: &ObservabilitySettings,
        check_required: bool,
    ) -> Self {
        let headers = request.headers();
        let trusted = settings.trust_request_id;
        let request_id = only_valid(headers, &REQUEST_ID_HEADER);
        let ignored_request = match &request_id {
            Ok(None) => None,
            Ok(Some(_)) => (!trusted).then_some(Ignored::RequestUntrusted),
            Err(InvalidId) => Some(Ignored::RequestInvalid),
        };
        let request_id = request_id.ok().flatten().filter(|_| trusted);
        let project = only_valid(headers, &PROJECT_ID_HEADER);
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
            upload_broke_off: AtomicBool::new(false),
        }))
    }

    /// The context of the request whose span (or a span within it) is current, also in a task that took the span along.
    pub fn current() -> Option<Self> {
        Span::current()
            .with_subscriber(|(id, dispatch)| {
                let registry = dispatch.downcast_ref::<Registry>()?;
                registry.span(id)?.scope().find_map(|span| span.extensions().get::<Self>().cloned())
            })
            .flatten()
    }

    /// The request's id: valid as it came, else a UUID v4.
    pub fn request_id(&self) -> &str {
        ascii(self.0.request.as_bytes())
    }

    /// The project, from the path where [`ProjectFromPath`](crate::ProjectFromPath) is in use, else from the header;
    /// only where a route takes the request, and the caller may speak for the project.
    pub fn project_id(&self) -> Option<&str> {
        self.0.project.current().map(|(project, _)| project)
    }

    /// Says for which projects the caller of this request may speak. For the middleware that knows who the caller is,
    /// and called once: a second check is ignored. `check` gets the project id in the header at once, and the one in
    /// the path when it is known. Before this call a request has no project if the service's middleware was made with
    /// [`require_project_check`](crate::ObservabilityMiddleware::require_project_check).
    pub fn set_project_check(&self, check: impl Fn(&str) -> ProjectClaim + Send + Sync + 'static) {
        self.0.project.set_check(Box::new(check));
        self.record_project();
    }

    /// Says that there is such a project as the one of this request, as far as the caller may speak for it: its label
    /// then comes from the part of the budget that is for known projects
    /// ([`ProjectClaim::Verified`]). For a handler that has found it.
    pub fn confirm_project(&self) {
        self.0.project.confirm();
    }

    /// Which of the caller's ids were not kept, and why. It is known once the request is at its end.
    pub(crate) fn ignored(&self, is_unmatched: bool) -> impl Iterator<Item = Ignored> + use<> {
        let project = &self.0.project;
        let of_project = match () {
            () if self.0.has_invalid_project => Some(Ignored::ProjectInvalid),
            () if !project.is_claimed() || project.current().is_some() => None,
            () if is_unmatched => Some(Ignored::ProjectUnmatched),
            () => Some(Ignored::ProjectRefused),
        };
        self.0.ignored_request.into_iter().chain(of_project)
    }

    pub(crate) fn project(&self) -> &ClaimedProject {
        &self.0.project
    }

    /// Puts the project on the root span, where lines are of a format that reads it there.
    fn record_project(&self) {
        if let (LogFormat::Bunyan, Some(project)) = (self.0.format, self.project_id()) {
            Span::current().record("project_id", project);
        }
    }

    /// Notes the route that took the request, if one did.
    pub(crate) fn note_route(&self, request: &HttpRequest) {
        if self.0.route.get().is_none()
            && let Some(pattern) = route::taken(request)
        {
            self.0.route.get_or_init(|| pattern);
        }
    }

    /// The pattern of the route that took the request, if that was noted.
    pub(crate) fn route(&self) -> Option<&str> {
        self.0.route.get().map(String::as_str)
    }

    pub(crate) fn upload_broke_off(&self) {
        self.0.upload_broke_off.store(true, Ordering::Relaxed);
    }

    /// Whether the client went away while it sent the request's body.
    pub(crate) fn is_upload_cut(&self) -> bool {
        self.0.upload_broke_off.load(Ordering::Relaxed)
    }

    /// The trace the caller is in: 32 hexadecimal digits.
    pub fn trace_id(&self) -> Option<&str> {
        self.0.trace.as_ref().map(TraceContext::trace_id)
    }

    /// The caller's span: 16 hexadecimal digits.
    pub fn span_id(&self) -> Option<&str> {
        self.0.trace.as_ref().map(TraceContext::span_id)
    }

    /// The headers an outgoing request should have to be found under the same ids: name and value, all of them ASCII.
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

    /// The first valid one stays.
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
            context.note_route(request);
        }
        ready(context.ok_or(NoContext))
    }
}

/// Whether a request or project id may be kept: 1–128 characters of `A-Z a-z 0-9 . _ - : / + =`.
pub fn is_valid_id(id: &[u8]) -> bool {
    let valid = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-:/+=".contains(byte);
    (1..=MAX_ID_CHARS).contains(&id.len()) && id.iter().all(valid)
}

/// A header whose id can't be kept.
struct InvalidId;

/// A header that is there twice is as good as none: which one is meant can't be known.
fn only_valid<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a HeaderValue>, InvalidId> {
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

/// Text of bytes already known to be ASCII.
pub(crate) fn ascii(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
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
    fn anything_else_becomes_a_v4() {
        for bad in [&[][..], &[""], &["a b"], &["a\"b"], &["é"], &["a\tb"], &["x".repeat(129).as_str()], &["a", "b"]] {
            let id = id_for(bad);
            assert_eq!(Uuid::parse_str(&id).expect("a uuid").get_version_num(), 4, "{bad:?} gave {id}");
        }
    }
}
