//! Request ids, Prometheus metrics and JSON logs for any Actix service, in three lines:
//!
//! ```no_run
//! use actix_web::{App, HttpServer, web};
//!
//! #[actix_web::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let obs = observability::Observability::from_env("my-service")?; // 1
//!     let app = move || {
//!         App::new()
//!             .route("/", web::get().to(|| async { "hello" }))
//!             .configure(obs.metrics_route()) // 2
//!             .wrap(obs.middleware()) // 3
//!     };
//!     Ok(HttpServer::new(app).bind("127.0.0.1:8080")?.run().await?)
//! }
//! ```
//!
//! Now each response has `X-Request-Id` (the caller's, if valid), each line written with `tracing` or `log` while
//! a request is handled has its `request_id` and `project_id`, each request is counted once and has one access line,
//! a panic is a 500 with a line, and `GET /metrics` has it all. What is set, and how: [`ObservabilitySettings::VARIABLES`].
//!
//! What a service uses beyond that:
//! - [`RequestContext`], an extractor, or [`RequestContext::current`]: the ids of the request at hand;
//! - [`ProjectFromPath`]: takes the project from a `{project_id}` in the path;
//! - [`ObservabilityMiddleware::require_project_check`]: for services that know their callers, who may speak for a
//!   project; [`RequestContext::confirm_project`]: for handlers that have found it;
//! - [`spawn`], [`spawn_blocking`]: tasks that keep the ids, in place of `actix_web::rt::spawn` and
//!   `actix_web::web::block`;
//! - [`client::Client`]: outgoing requests that pass them on;
//! - [`Observability::registry`]: a place for the service's own metrics;
//! - [`Observability::flush`]: before `std::process::exit`.
//!
//! Clients that go away are noticed while their request is handled only with `HttpServer::h1_allow_half_closed(false)`; by
//! default Actix lets a client close its side and waits to answer it, and such a request counts as answered.
//!
//! An error value that a handler or middleware returns with a 5xx status is written as one line (`the request
//! failed`), its field `error` with the chain of causes; handlers need not do so again. [`log_causes_of`] names the
//! service's own error types for that. With a 4xx status, as of an extractor, it is a line at debug (`the request was
//! refused`).
//!
//! # What callers can invent
//!
//! | input | what it can do |
//! | --- | --- |
//! | `X-Request-Id` | kept if valid, so a caller can write access lines into the story of an id that it knows; not with `TRUST_REQUEST_ID=0`, for a service at the edge |
//! | `traceparent`, `tracestate` | the same, with the trace |
//! | `X-Project-Id`, `{project_id}` in a path | a label and `project_id` in lines where a route takes the request, and, with a project check, where the caller may speak for it |
//! | method, path | methods that HTTP does not define are one label value; a path is never one, nor in an access line |
//! | `baggage` | passed on with `FORWARD_BAGGAGE=1`, never logged |
//!
//! # Modules, in the order a request meets them
//!
//! `settings` → `wiring` (knows all) → `middleware` → `context` (`trace_context`, `project_claim`) → `accounting`,
//! `route`, `upload`, `body`, `failure` → `root_span`, `causes` → `catch_panic` → `project` → the handler, with
//! `spawn` and `client` → `metrics` and `logs`.
//!
//! # Bounds
//!
//! | what | bound | beyond |
//! | --- | --- | --- |
//! | request and project ids | [`MAX_ID_CHARS`] | replaced by a UUID; ignored |
//! | label sets of request metrics | [`DEFAULT_LABEL_SETS`] | folded and counted |
//! | `tracestate` | 32 members, 512 bytes | dropped |
//! | `baggage` | 64 members, 8 KiB | dropped |
//! | an error's causes | 32 causes, 8 KiB | cut, marked with `…` |
//! | log lines in memory | [`DEFAULT_LOG_BUFFER_BYTES`] | dropped whole and counted |
//! | one log line | 1 MiB | dropped whole and counted |
//! | one string in a line | 64 KiB | cut, marked with `…` |

mod settings;
mod wiring;

mod middleware;

mod context;
mod project_claim;
mod trace_context;

mod accounting;
mod body;
mod failure;
mod route;
mod upload;

mod causes;
mod root_span;

mod catch_panic;

mod project;

#[cfg(feature = "client")]
pub mod client;
mod spawn;

mod metrics;

mod logs;

pub use body::AccountedBody;
pub use causes::log_causes_of;
pub use context::{MAX_ID_CHARS, NoContext, PROJECT_ID_HEADER, REQUEST_ID_HEADER, RequestContext, is_valid_id};
pub use logs::filter::check_log_filter;
pub use metrics::exposition::METRICS_PATH;
pub use middleware::{ObservabilityFuture, ObservabilityMiddleware, ObservabilityService};
pub use project::{ProjectFromPath, ProjectFromPathService};
pub use project_claim::ProjectClaim;
pub use prometheus;
pub use root_span::RequestRootSpan;
pub use settings::{
    DEFAULT_ACCESS_LOG_EXCLUDE, DEFAULT_LABEL_SETS, DEFAULT_LOG_BUFFER_BYTES, LogFormat, LogTarget,
    ObservabilitySettings, SettingsError, Variable,
};
pub use spawn::{spawn, spawn_blocking};
pub use wiring::{Observability, StartError};
