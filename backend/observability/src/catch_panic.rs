//! Turns a panic of the handler or its future into an error, which the middleware answers with 500. The panic hook logs
//! it; [`catching`] does if no hook is installed. The middleware counts it.

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
    /// Number of nested [`catching`] calls on this thread. A panic within one does not end the process.
    static CATCHING: Cell<u32> = const { Cell::new(0) };
    /// Whether the panic hook has logged the panic that is being caught.
    static LOGGED: Cell<bool> = const { Cell::new(false) };
}

/// The error that a handler's panic is turned into.
#[derive(Debug, Error)]
#[error("the handler panicked")]
pub(crate) struct HandlerPanic;

impl actix_web::ResponseError for HandlerPanic {}

pub(crate) fn is_catching() -> bool {
    CATCHING.get() > 0
}

/// Marks the current panic as logged.
pub(crate) fn mark_logged() {
    LOGGED.set(true);
}

/// Runs `code` and turns a panic into [`HandlerPanic`]. Logs the panic unless the hook has done so.
pub(crate) fn catching<T>(code: impl FnOnce() -> T) -> Result<T, HandlerPanic> {
    LOGGED.set(false);
    CATCHING.set(CATCHING.get() + 1);
    let result = catch_unwind(AssertUnwindSafe(code));
    CATCHING.set(CATCHING.get() - 1);
    result.map_err(|payload| {
        if !LOGGED.take() {
            tracing::error!(target: "panic", "panicked: {}", message(&*payload));
        }
        // dropping the payload may panic
        let _ = catch_unwind(AssertUnwindSafe(|| drop(payload)));
        HandlerPanic
    })
}

/// The message of a panic.
pub(crate) fn message(payload: &(dyn Any + Send)) -> &str {
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
    /// `None` after a panic.
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
                // dropping the handler's future may panic again, which is logged too
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
    fn a_nested_catch_does_not_end_the_outer_one() {
        assert!(!is_catching());
        let caught = catching(|| {
            assert!(catching(|| ()).is_ok());
            is_catching()
        });
        assert!(caught.is_ok_and(|is_catching| is_catching));
        assert!(!is_catching());
    }
}
