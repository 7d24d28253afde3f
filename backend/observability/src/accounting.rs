//! Counts each request exactly once, when its response body ends, and writes the access line from the same measurement.
//! An [`Account`] is opened when the request arrives and settles at the latest when it is dropped.

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::HttpRequest;
use actix_web::dev::{ResourceMap, ServiceRequest, Url};
use actix_web::http::{StatusCode, Uri};
use tracing::Span;

use crate::context::RequestContext;
use crate::logs::with_context;
use crate::metrics::requests::{Labels, NO_PROJECT, RequestMetrics, Series, UNMATCHED};
use crate::metrics::runtime::RuntimeGuard;
use crate::project_claim::ProjectClaim;
use crate::route::Routes;
use crate::settings::{LogFormat, ObservabilitySettings};

/// Maximum number of entries in a worker's series cache, which is cleared when full.
const MAX_CACHED_SERIES: usize = 4_096;

/// Outcome of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The response body was sent completely.
    Answered,
    /// The handler or a middleware returned an error, and the error response was sent completely.
    HandlerError,
    /// The handler or the response body panicked.
    Panic,
    /// The client disconnected before there was a response.
    ClientGone,
    /// The response head was sent, but the body was dropped early or was shorter than its declared size.
    BodyCut,
    /// The response head was sent, but the body returned an error.
    BodyFailed,
}

impl Outcome {
    fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::HandlerError => "handler_error",
            Self::Panic => "panic",
            Self::ClientGone => "client_gone",
            Self::BodyCut => "body_cut",
            Self::BodyFailed => "body_failed",
        }
    }
}

/// A worker's cache entry for one label set.
#[derive(Debug)]
struct CachedSeries {
    series: Series,
    has_access_line: bool,
}

/// Accounting state of one worker's app.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) settings: Arc<ObservabilitySettings>,
    pub(crate) metrics: Arc<RequestMetrics>,
    map: OnceCell<ResourceMap>,
    routes: OnceCell<Routes>,
    cache: RefCell<HashMap<Box<[u8]>, CachedSeries>>,
    key: RefCell<Vec<u8>>,
    _runtime: Option<RuntimeGuard>,
}

impl Worker {
    pub(crate) fn new(
        settings: Arc<ObservabilitySettings>,
        metrics: Arc<RequestMetrics>,
        runtime: Option<RuntimeGuard>,
    ) -> Self {
        Self {
            settings,
            metrics,
            map: OnceCell::new(),
            routes: OnceCell::new(),
            cache: RefCell::default(),
            key: RefCell::default(),
            _runtime: runtime,
        }
    }

    /// The route pattern that matches a path, if exactly one does.
    fn only_candidate(&self, uri: &Uri) -> Option<String> {
        let map = self.map.get()?;
        self.routes.get_or_init(|| Routes::read(map)).only_candidate(Url::new(uri.clone()).path())
    }

    /// Counts a request and returns whether it gets an access line.
    fn count(&self, labels: Labels<'_>, is_known: bool, duration: Duration) -> bool {
        let mut key = self.key.borrow_mut();
        labels.write_key(&mut key);
        // the same labels may be folded for one caller and not for another
        key.push(u8::from(is_known));
        let mut cache = self.cache.borrow_mut();
        if let Some(cached) = cache.get(key.as_slice()) {
            cached.series.count(duration, labels.status.is_some());
            return cached.has_access_line;
        }
        let series = self.metrics.series(labels, is_known);
        series.count(duration, labels.status.is_some());
        if cache.len() >= MAX_CACHED_SERIES {
            cache.clear();
        }
        let has_access_line = !self.settings.access_log_exclude.contains(labels.endpoint);
        cache.insert(key.as_slice().into(), CachedSeries { series, has_access_line });
        has_access_line
    }
}

/// Accounting of one request.
#[derive(Debug)]
pub(crate) struct Account {
    worker: std::rc::Rc<Worker>,
    context: RequestContext,
    started: Instant,
    method: &'static str,
    uri: Uri,
    /// Whether the request came back with a response, and with it the matched route.
    is_routed: bool,
    status: Option<StatusCode>,
    outcome: Outcome,
    /// Chain of causes if the body failed.
    failure: Option<String>,
}

impl Account {
    pub(crate) fn open(worker: &std::rc::Rc<Worker>, request: &ServiceRequest, context: RequestContext) -> Self {
        worker.map.get_or_init(|| request.resource_map().clone());
        worker.metrics.in_flight.inc();
        Self {
            worker: worker.clone(),
            context,
            started: Instant::now(),
            method: method_label(request.method().as_str()),
            uri: request.uri().clone(),
            is_routed: false,
            status: None,
            outcome: Outcome::ClientGone,
            failure: None,
        }
    }

    pub(crate) fn context(&self) -> &RequestContext {
        &self.context
    }

    pub(crate) fn is_head(&self) -> bool {
        self.method == "HEAD"
    }

    /// Records the matched route of a request that came back with its response.
    pub(crate) fn set_route(&mut self, request: &HttpRequest) {
        self.is_routed = true;
        self.context.record_route(request);
    }

    /// Records the response's status, and the outcome if its body is sent completely. A response to a client that
    /// disconnected during its upload reaches nobody and is ignored.
    pub(crate) fn respond(&mut self, status: StatusCode, outcome: Outcome) {
        if outcome != Outcome::Panic && self.context.is_upload_aborted() {
            return;
        }
        self.status = Some(status);
        self.outcome = outcome;
    }

    /// Records that the body was dropped early. The outcomes `panic` and `client_gone` take precedence.
    pub(crate) fn cut(&mut self) {
        if !matches!(self.outcome, Outcome::Panic | Outcome::ClientGone) {
            self.outcome = Outcome::BodyCut;
        }
    }

    /// Records that the body ended with an error, which makes the access line one of level `error`.
    pub(crate) fn body_failed(&mut self, causes: String) {
        self.outcome = Outcome::BodyFailed;
        self.failure = Some(causes);
    }

    pub(crate) fn panicked(&mut self) {
        self.worker.metrics.panics.inc();
        self.outcome = Outcome::Panic;
    }

    fn settle(&mut self) {
        let duration = self.started.elapsed();
        let context = self.context.clone();
        // a request that ended early does not report its route: look it up by the path
        let is_route_lost = !self.is_routed && context.route().is_none();
        let looked_up = is_route_lost.then(|| self.worker.only_candidate(&self.uri)).flatten();
        let endpoint = context.route().or(looked_up.as_deref()).unwrap_or(UNMATCHED);
        if endpoint == UNMATCHED {
            context.project().refuse_unmatched();
        }
        let status = self.status.map(|status| status.as_u16());
        let (project_id, claim) = context.project().current().unwrap_or((NO_PROJECT, ProjectClaim::Unverified));
        let is_known = claim == ProjectClaim::Verified;
        self.worker.metrics.in_flight.dec();
        context.ignored(endpoint == UNMATCHED).for_each(|ignored| self.worker.metrics.ignored.count(ignored));
        let labels = Labels { endpoint, method: self.method, status, project_id };
        if self.worker.count(labels, is_known, duration) || self.failure.is_some() {
            self.write_access_line(endpoint, status, duration);
        }
    }

    fn write_access_line(&self, endpoint: &str, status: Option<u16>, duration: Duration) {
        let (method, outcome) = (self.method, self.outcome.as_str());
        // whole microseconds, so at most three decimals
        let duration_ms = duration.as_micros() as f64 / 1_000.0;
        macro_rules! access_line {
            ($level:ident, $($fields:tt)*) => {
                tracing::$level!(
                    target: "access", $($fields)*
                    method, endpoint, status, duration_ms, outcome, "{method} {endpoint}",
                )
            };
        }
        match (self.context.format(), self.failure.as_deref()) {
            (LogFormat::Json, None) => with_context(&self.context, || access_line!(info, parent: None,)),
            (LogFormat::Json, Some(error)) => with_context(&self.context, || access_line!(error, parent: None, error,)),
            (LogFormat::Bunyan, error) => {
                let (request_id, project_id) = (self.context.request_id(), self.context.project_id());
                let (trace_id, span_id) = (self.context.trace_id(), self.context.span_id());
                match error {
                    None => access_line!(info, parent: Span::none(), request_id, project_id, trace_id, span_id,),
                    Some(error) => {
                        access_line!(error, parent: Span::none(), request_id, project_id, trace_id, span_id, error,)
                    }
                }
            }
        }
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.settle();
    }
}

/// Maps methods that HTTP does not define to the single value `OTHER`.
fn method_label(method: &str) -> &'static str {
    const KNOWN: [&str; 9] = ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "CONNECT", "TRACE"];
    KNOWN.into_iter().find(|known| *known == method).unwrap_or("OTHER")
}
