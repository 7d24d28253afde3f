//! A request's body on its way in: notes that the client went away before its end. A client that closes only its sending
//! side in the middle of a body looks the same as one that went away.

use std::pin::Pin;
use std::task::{Context, Poll};

use actix_web::HttpMessage as _;
use actix_web::dev::{Payload, ServiceRequest};
use actix_web::error::PayloadError;
use actix_web::web::Bytes;
use futures_util::Stream;

use crate::context::RequestContext;

/// A payload that tells the request's context when it breaks off.
struct Upload {
    payload: Payload,
    context: RequestContext,
}

/// Watches the body of a request, if it has one.
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
            && broke_off(&mut self.payload, error, cx)
        {
            self.context.upload_broke_off();
        }
        polled
    }
}

/// Whether the client went away, and did not send what is no body.
fn broke_off(payload: &mut Payload, error: &PayloadError, cx: &mut Context<'_>) -> bool {
    match (error, payload) {
        (PayloadError::Overflow | PayloadError::UnknownLength | PayloadError::EncodingCorrupted, _) => false,
        // Actix reports a malformed chunk with the same error as a client that went away, but only after the latter
        // comes the end of the body.
        (PayloadError::Incomplete(None), Payload::H1 { payload }) => {
            matches!(Pin::new(payload).poll_next(cx), Poll::Ready(None))
        }
        _ => true,
    }
}
