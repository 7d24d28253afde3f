//! Middleware that tells a connection when its request starts and ends, and limits the time of a request's body on every
//! route.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use actix_web::body::{BodySize, MessageBody};
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::error::PayloadError;
use actix_web::http::{ConnectionType, StatusCode};
use actix_web::middleware::Next;
use actix_web::rt::time::{Sleep, sleep};
use actix_web::{Error, HttpMessage as _, ResponseError as _, web};
use bytes::Bytes;
use futures_util::Stream;

use crate::limits::{Limit, Limits};
use crate::problem::Problem;
use crate::server::state::State;

/// Paths that reserved connections serve.
pub const RESERVED_FOR: [&str; 3] = ["/healthz", "/readyz", observability::METRICS_PATH];

/// Seconds after which a refused client may retry.
const RETRY_AFTER_S: u64 = 5;

/// The limits that [`bound`] enforces.
#[derive(Clone, Debug)]
pub struct Bounds {
    /// Timeout of a request's body.
    pub body_timeout: Duration,
    /// Counts requests that met a limit.
    pub limits: Limits,
}

/// A request that is being handled, until it is dropped.
struct Answering(Arc<State>);

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.request_ends();
    }
}

/// Middleware that tracks requests of a connection. It belongs outside of all others.
///
/// # Errors
/// Those of the wrapped service.
pub async fn track(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<Answered<impl MessageBody>>, Error> {
    let state = request.conn_data::<Arc<State>>().cloned();
    let answering = state.clone().map(|state| {
        state.request_begins();
        Answering(state)
    });
    let mut response = next.call(request).await?;
    if state.is_some_and(|state| state.is_reserved()) {
        response.response_mut().head_mut().set_connection_type(ConnectionType::Close);
    }
    Ok(response.map_body(|_, body| Answered { body: Box::pin(body), _answering: answering }))
}

/// A response's body. The connection waits for its client again when it is dropped.
pub struct Answered<B> {
    body: Pin<Box<B>>,
    _answering: Option<Answering>,
}

impl<B: MessageBody> MessageBody for Answered<B> {
    type Error = B::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, B::Error>>> {
        self.body.as_mut().poll_next(context)
    }
}

/// Middleware that limits the time of a request's body, and restricts reserved connections. It belongs inside of what gives
/// requests their IDs.
///
/// # Errors
/// Those of the wrapped service.
pub async fn bound(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let Some(bounds) = request.app_data::<web::Data<Bounds>>().cloned() else {
        return next.call(request).await.map(ServiceResponse::map_into_left_body);
    };
    let Bounds { body_timeout, limits } = bounds.get_ref().clone();
    let state = request.conn_data::<Arc<State>>().cloned();
    let is_reserved = state.as_ref().is_some_and(|state| state.is_reserved());
    if is_reserved && !RESERVED_FOR.contains(&request.match_info().as_str()) {
        limits.count(Limit::ConnectionReserved);
        let detail = "all connections are in use; try again shortly";
        let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).retry_after(RETRY_AFTER_S);
        return Ok(request.into_response(problem.error_response()).map_into_right_body());
    }
    let payload = request.take_payload();
    request.set_payload(match payload {
        Payload::None => Payload::None,
        payload => {
            let (timer, begun) = (Box::pin(sleep(body_timeout)), Instant::now());
            let body = TimedBody { payload, timer, begun, is_complete: false, is_late: false, state, limits };
            Payload::Stream { payload: Box::pin(body) }
        }
    });
    next.call(request).await.map(ServiceResponse::map_into_left_body)
}

/// A request's body with a timeout.
struct TimedBody {
    payload: Payload,
    timer: Pin<Box<Sleep>>,
    begun: Instant,
    is_complete: bool,
    is_late: bool,
    state: Option<Arc<State>>,
    limits: Limits,
}

impl TimedBody {
    fn waits(&self, since: Option<Instant>) {
        if let Some(state) = &self.state {
            state.waits_for_body(since);
        }
    }
}

impl Drop for TimedBody {
    fn drop(&mut self) {
        self.waits(None);
        if let Some(state) = self.state.as_ref().filter(|_| !self.is_complete) {
            state.body_is_left(self.is_late);
        }
    }
}

impl Stream for TimedBody {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.timer.as_mut().poll(context).is_ready() {
            self.limits.count(Limit::RequestBodyTimeout);
            self.is_late = true;
            self.waits(None);
            return Poll::Ready(Some(Err(PayloadError::Io(io::ErrorKind::TimedOut.into()))));
        }
        let polled = Pin::new(&mut self.payload).poll_next(context);
        self.is_complete |= matches!(polled, Poll::Ready(None));
        self.waits(polled.is_pending().then_some(self.begun));
        polled
    }
}

/// Whether a body can't be read because it did not arrive in time.
#[must_use]
pub fn is_late(error: &PayloadError) -> bool {
    matches!(error, PayloadError::Io(error) if error.kind() == io::ErrorKind::TimedOut)
}
