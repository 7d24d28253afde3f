//! Spawns tasks that keep the ids of the current request.

use std::future::Future;

use actix_rt::task::JoinHandle;
use tracing::{Instrument, Span};

/// Spawns a task on this worker that keeps the ids of the current request in its log lines and outgoing requests, even
/// after the request has ended. Dropping the handle detaches the task.
///
/// # Panics
/// Panics outside an Actix runtime.
pub fn spawn<F>(task: F) -> JoinHandle<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    actix_rt::spawn(task.in_current_span())
}

/// Runs blocking code on the thread pool with the ids of the current request. Use it instead of `actix_web::web::block`,
/// whose log lines have no request id.
///
/// # Panics
/// Panics outside a Tokio runtime.
pub fn spawn_blocking<F, T>(code: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let span = Span::current();
    let dispatch = tracing::dispatcher::get_default(Clone::clone);
    actix_rt::task::spawn_blocking(move || tracing::dispatcher::with_default(&dispatch, || span.in_scope(code)))
}
