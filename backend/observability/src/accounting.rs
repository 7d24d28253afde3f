//! Counts each request once, when its body ends, whatever becomes of it, and writes its access line from the same
//! measurement. An [`Account`] is opened with the request and counts when it is dropped at the latest.

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

/// Series a worker remembers at most; then it forgets all and asks the shared ones again.
const MAX_REMEMBERED: usize = 4_096;

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The body was handed over whole.
    Answered,
    /// The handler or a middleware returned an error, and its response was handed over whole.
    HandlerError,
    /// The handler, or the response's body, panicked.
    Panic,
    /// The client was gone before there was a response.
    ClientGone,
    /// The response's head was sent; its body was dropped before its end, or was shorter than it said.
    BodyCut,
    /// The response's head was sent; its body failed.
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

/// What a worker remembers of a label set.
#[derive(Debug)]
struct Remembered {
    series: Series,
    access_line: bool,
}

/// What one worker's app needs for accounting.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) settings: Arc<ObservabilitySettings>,
    pub(crate) metrics: Arc<RequestMetrics>,
    map: OnceCell<ResourceMap>,
    routes: OnceCell<Routes>,
    remembered: RefCell<HashMap<Box<[u8]>, Remembered>>,
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
            remembered: RefCell::default(),
            key: RefCell::default(),
            _runtime: runtime,
        }
    }

    /// The one pattern that can take a path.
    fn only_candidate(&self, uri: &Uri) -> Option<String> {
        let map = self.map.get()?;
        self.routes.get_or_init(|| Routes::read(map)).only_candidate(Url::new(uri.clone()).path())
    }

    /// Counts a request; says whether it has an access line.
    fn count(&self, labels: Labels<'_>, is_known: bool, duration: Duration) -> bool {
        let mut key = self.key.borrow_mut();
        labels.write_key(&mut key);
        // the same labels are folded or not, by who speaks
        key.push(u8::from(is_known));
        let mut remembered = self.remembered.borrow_mut();
        if let Some(known) = remembered.get(key.as_slice()) {
            known.series.count(duration, labels.status.is_some());
            return known.access_line;
        }
        let series = self.metrics.series(labels, is_known);
        series.count(duration, labels.status.is_some());
        if remembered.len() >= MAX_REMEMBERED {
            remembered.clear();
        }
        let access_line = !self.settings.access_log_exclude.contains(labels.endpoint);
        remembered.insert(key.as_slice().into(), Remembered { series, access_line });
        access_line
    }
}

/// One request's account.
#[derive(Debug)]
pub(crate) struct Account {
    worker: std::rc::Rc<Worker>,
    context: RequestContext,
    started: Instant,
    method: &'static str,
    uri: Uri,
    /// Whether there was a response with the request as routing left it.
    is_routed: bool,
    status: Option<StatusCode>,
    outcome: Outcome,
    /// Why the body failed: the chain of causes.
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

    /// There is a response, and with it the request as routing left it.
    pub(crate) fn set_route(&mut self, request: &HttpRequest) {
        self.is_routed = true;
        self.context.note_route(request);
    }

    /// There is a response; `outcome` holds if its body is handed over whole. Where the client went away while it
    /// sent the request, nobody gets the response.
    pub(crate) fn respond(&mut self, status: StatusCode, outcome: Outcome) {
        if outcome != Outcome::Panic && self.context.is_upload_cut() {
            return;
        }
        self.status = Some(status);
        self.outcome = outcome;
    }

    /// The body did not come to its end. A panic stays one, and a client that was gone before stays so.
    pub(crate) fn cut(&mut self) {
        if !matches!(self.outcome, Outcome::Panic | Outcome::ClientGone) {
            self.outcome = Outcome::BodyCut;
        }
    }

    /// The body ended with an error. Its access line is one of level `error`.
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
        // a request that ended early took with it what routing decided: only its path tells
        let is_lost = !self.is_routed && context.route().is_none();
        let looked_up = is_lost.then(|| self.worker.only_candidate(&self.uri)).flatten();
        let endpoint = context.route().or(looked_up.as_deref()).unwrap_or(UNMATCHED);
        if endpoint == UNMATCHED {
            context.project().no_route();
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
        // whole microseconds: three decimals of a millisecond
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

/// Methods are few; what a client makes up is one value.
fn method_label(method: &str) -> &'static str {
    const KNOWN: [&str; 9] = ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "CONNECT", "TRACE"];
    KNOWN.into_iter().find(|known| *known == method).unwrap_or("OTHER")
}
