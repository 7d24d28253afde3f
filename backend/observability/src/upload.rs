//! Watches request bodies and records when the client disconnects before the end. A client that closes only its sending
//! side in the middle of a body is indistinguishable from one that disconnected.

use std::pin::Pin;
use std::task::{Context, Poll};

use actix_web::HttpMessage as _;
use actix_web::dev::{Payload, ServiceRequest};
use actix_web::error::PayloadError;
use actix_web::web::Bytes;
use futures_util::Stream;

use crate::context::RequestContext;

/// A payload that records in the request's context that it was aborted.
struct Upload {
    payload: Payload,
    context: RequestContext,
}

/// Wraps the body of a request, if it has one.
pub(crate) fn watch(request: &mut ServiceRequest, context: &RequestContext) {
    if matches!(request.parts().1, Payload::None) {
        return;
    }
    let payload = request.take_payload();
    let upload = Upload { payload, context: context.clone() };
    request.set_payload(Payload::Stream { payload: Box::pin(upload) });
}

impl Stream for Upload {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let polled = Pin::new(&mut self.payload).poll_next(cx);
        if let Poll::Ready(Some(Err(error))) = &polled
            && is_aborted(&mut self.payload, error, cx)
        {
            self.context.set_upload_aborted();
        }
        polled
    }
}

/// Whether the error means that the client disconnected, as opposed to a malformed body.
fn is_aborted(payload: &mut Payload, error: &PayloadError, cx: &mut Context<'_>) -> bool {
    match (error, payload) {
        (PayloadError::Overflow | PayloadError::UnknownLength | PayloadError::EncodingCorrupted, _) => false,
        // Actix reports a malformed chunk and a disconnected client with the same error. Only after a disconnect does the
        // body end.
        (PayloadError::Incomplete(None), Payload::H1 { payload }) => {
            matches!(Pin::new(payload).poll_next(cx), Poll::Ready(None))
        }
        _ => true,
    }
}
