//! Turns a handler's panic, in the call or in its future, into an error that the middleware answers with 500.
//! What is left to others: the line (the panic hook's, or ours if there is no hook) and the count.

use std::any::Any;
use std::cell::Cell;
use std::future::{Future, Ready, ready};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use actix_web::Error;
use actix_web::dev::{Service, ServiceRequest, ServiceResponse, Transform, forward_ready};
use pin_project_lite::pin_project;
use thiserror::Error;

thread_local! {
    /// How many catchers are on this thread's stack: a panic under one of them doesn't end the process.
    static CATCHING: Cell<u32> = const { Cell::new(0) };
    /// Whether the panic hook has written the line of the panic that is being caught.
    static WRITTEN: Cell<bool> = const { Cell::new(false) };
}

/// What a handler's panic becomes on its way out.
#[derive(Debug, Error)]
#[error("the handler panicked")]
pub(crate) struct HandlerPanic;

impl actix_web::ResponseError for HandlerPanic {}

pub(crate) fn is_catching() -> bool {
    CATCHING.get() > 0
}

pub(crate) fn hook_wrote() {
    WRITTEN.set(true);
}

/// Runs `code`; a panic in it is written, unless the hook did so, and becomes [`HandlerPanic`].
pub(crate) fn catching<T>(code: impl FnOnce() -> T) -> Result<T, HandlerPanic> {
    WRITTEN.set(false);
    CATCHING.set(CATCHING.get() + 1);
    let result = catch_unwind(AssertUnwindSafe(code));
    CATCHING.set(CATCHING.get() - 1);
    result.map_err(|payload| {
        if !WRITTEN.take() {
            tracing::error!(target: "panic", "panicked: {}", text(&*payload));
        }
        // a payload may panic when dropped
        let _ = catch_unwind(AssertUnwindSafe(|| drop(payload)));
        HandlerPanic
    })
}

/// The message of a panic.
pub(crate) fn text(payload: &(dyn Any + Send)) -> &str {
    let owned = || payload.downcast_ref::<String>().map(String::as_str);
    payload.downcast_ref::<&str>().copied().or_else(owned).unwrap_or("(no message)")
}

/// The innermost middleware.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CatchPanic;

impl<S, B> Transform<S, ServiceRequest> for CatchPanic
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
{
    type Response = ServiceResponse<B>;
    type Error = Error;
    type Transform = CatchPanicService<S>;
    type InitError = ();
    type Future = Ready<Result<Self::Transform, ()>>;

    fn new_transform(&self, service: S) -> Self::Future {
        ready(Ok(CatchPanicService { service }))
    }
}

#[derive(Debug)]
pub struct CatchPanicService<S> {
    service: S,
}

impl<S, B> Service<ServiceRequest> for CatchPanicService<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
{
    type Response = ServiceResponse<B>;
    type Error = Error;
    type Future = CatchPanicFuture<S::Future>;

    forward_ready!(service);

    fn call(&self, request: ServiceRequest) -> Self::Future {
        CatchPanicFuture { inner: catching(|| self.service.call(request)).ok() }
    }
}

pin_project! {
    /// None once the handler has panicked.
    pub struct CatchPanicFuture<F> {
        #[pin]
        inner: Option<F>,
    }
}

impl<F, T> Future for CatchPanicFuture<F>
where
    F: Future<Output = Result<T, Error>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let Some(inner) = this.inner.as_mut().as_pin_mut() else { return Poll::Ready(Err(HandlerPanic.into())) };
        match catching(|| inner.poll(cx)) {
            Ok(poll) => poll,
            Err(panic) => {
                // what the handler held may panic again when dropped: one line more, the same answer
                let _ = catching(|| this.inner.set(None));
                Poll::Ready(Err(panic.into()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_caught_inside_leaves_the_outer_one_catching() {
        assert!(!is_catching());
        let caught = catching(|| {
            assert!(catching(|| ()).is_ok());
            is_catching()
        });
        assert!(caught.is_ok_and(|is_catching| is_catching));
        assert!(!is_catching());
    }
}
