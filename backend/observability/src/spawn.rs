//! Tasks that keep the request's ids.

use std::future::Future;

use actix_rt::task::JoinHandle;
use tracing::{Instrument, Span};

/// Starts a task on this worker whose lines and outgoing requests keep the ids of the request at hand, also after that
/// request is answered. The task runs until its end; dropping the handle doesn't stop it.
///
/// # Panics
/// Outside an Actix runtime.
pub fn spawn<F>(task: F) -> JoinHandle<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    actix_rt::spawn(task.in_current_span())
}

/// Runs blocking code on the thread pool, with the ids of the present request. In place of `actix_web::web::block`,
/// which leaves them behind: what is logged in there has no request id.
///
/// # Panics
/// Outside a Tokio runtime.
pub fn spawn_blocking<F, T>(code: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let span = Span::current();
    let dispatch = tracing::dispatcher::get_default(Clone::clone);
    actix_rt::task::spawn_blocking(move || tracing::dispatcher::with_default(&dispatch, || span.in_scope(code)))
}
