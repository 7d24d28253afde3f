//! The span of a request. It carries the request's ids as one extension value, so that every line logged within it, or in
//! a task that carries it, finds them at any log level.

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::{Error, HttpMessage};
use tracing::Span;
use tracing_actix_web::RootSpanBuilder;
use tracing_subscriber::Registry;
use tracing_subscriber::registry::LookupSpan;

use crate::catch_panic::{HandlerPanic, catching};
use crate::causes;
use crate::context::RequestContext;
use crate::log_filter::ROOT_SPAN_TARGET;
use crate::settings::LogFormat;

/// Creates the root span for `tracing_actix_web::TracingLogger`.
#[derive(Debug)]
pub struct RequestRootSpan;

impl RootSpanBuilder for RequestRootSpan {
    fn on_request_start(request: &ServiceRequest) -> Span {
        let extensions = request.extensions();
        let Some(context) = extensions.get::<RequestContext>() else { return Span::none() };
        // level ERROR, so that it is enabled whatever RUST_LOG is
        let span = match context.format() {
            LogFormat::Json => tracing::error_span!(target: ROOT_SPAN_TARGET, "request"),
            LogFormat::Bunyan => tracing::error_span!(
                target: ROOT_SPAN_TARGET,
                "request",
                request_id = context.request_id(),
                project_id = context.project_id(),
                trace_id = context.trace_id(),
                span_id = context.span_id(),
            ),
        };
        span.with_subscriber(|(id, dispatch)| {
            if let Some(span) = dispatch.downcast_ref::<Registry>().and_then(|registry| registry.span(id)) {
                span.extensions_mut().insert(context.clone());
            }
        });
        span
    }

    /// Logs the error of a request: a server error at level `error`, a client error at level `debug`.
    fn on_request_end<B: MessageBody>(_: Span, outcome: &Result<ServiceResponse<B>, Error>) {
        let error = match outcome {
            Ok(response) => response.response().error(),
            Err(error) => Some(error),
        };
        if let Some(error) = error.filter(|error| error.as_error::<HandlerPanic>().is_none()) {
            let status = outcome.as_ref().map(ServiceResponse::status);
            // printing an error may panic
            let _ = catching(|| log_error(error, status.ok()));
        }
    }
}

fn log_error(error: &Error, status: Option<StatusCode>) {
    let status = status.unwrap_or_else(|| {
        catching(|| error.as_response_error().status_code()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    });
    let causes = || catching(|| causes::of_response(error)).unwrap_or_else(|_| "(can't be printed)".to_owned());
    let is_client_gone = || RequestContext::current().is_some_and(|context| context.is_upload_aborted());
    if status.is_server_error() && !is_client_gone() {
        tracing::error!(target: "observability", error = causes(), "request failed");
    } else if (status.is_client_error() || status.is_server_error())
        && tracing::enabled!(target: "observability", tracing::Level::DEBUG)
    {
        tracing::debug!(target: "observability", error = causes(), status = status.as_u16(), "request refused");
    }
}
