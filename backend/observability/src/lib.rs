//! Request ids, Prometheus metrics and JSON logs for any Actix service.
//!
//! ```no_run
//! use actix_web::{App, HttpServer, Responder, web};
//! use observability::Observability;
//!
//! async fn hello(name: web::Path<String>) -> impl Responder {
//!     tracing::info!(%name, "greeting");
//!     format!("hello, {name}\n")
//! }
//!
//! #[actix_web::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let obs = Observability::from_env("hello")?; // reads settings, starts logging
//!     let app = move || {
//!         App::new()
//!             .route("/hello/{name}", web::get().to(hello))
//!             .configure(obs.metrics_route()) // adds GET /metrics
//!             .wrap(obs.middleware()) // ids, metrics and access lines; wrap it last
//!     };
//!     HttpServer::new(app).bind(("127.0.0.1", 8080))?.run().await?;
//!     Ok(())
//! }
//! ```
//!
//! `cargo run -p observability --example hello` runs this program. A request to it:
//!
//! ```console
//! $ curl -H 'X-Request-Id: demo-1' http://127.0.0.1:8080/hello/you
//! hello, you
//! $ curl -s http://127.0.0.1:8080/metrics | grep ^request_count
//! request_count{endpoint="/hello/{name}",method="GET",project_id="none",service="hello",status="200"} 1
//! ```
//!
//! The program logs one line of the handler and one access line:
//!
//! ```json
//! {"timestamp":"2026-11-30T20:31:09.417220Z","service":"hello","level":"info","message":"greeting","request_id":"demo-1","project_id":null,"target":"hello","name":"you"}
//! {"timestamp":"2026-11-30T20:31:09.417262Z","service":"hello","level":"info","message":"GET /hello/{name}","request_id":"demo-1","project_id":null,"target":"access","method":"GET","endpoint":"/hello/{name}","status":200,"duration_ms":0.211,"outcome":"answered"}
//! ```
//!
//! # What every request gets
//!
//! - A request id: the caller's `X-Request-Id` if it is valid, else a UUID v4. It is in the response, and in every line
//!   that is logged with `tracing` or `log` while the request is handled, at every level.
//! - One access line, and one count in each of `request_count`, `request_duration_seconds` and, if a response was sent,
//!   `response_status_count`. A request is counted when its response body ends, regardless of its outcome.
//! - A line of level `error` if it fails. A panic is logged and answered with 500. An error value returned with a 5xx
//!   status is logged as `request failed`, with the chain of causes in the field `error`, so handlers need not log it.
//!   An error with a 4xx status, such as an extractor's, is logged as `request refused` at level `debug`.
//!
//! # Beyond the three lines
//!
//! | to do this | use |
//! | --- | --- |
//! | read the ids of the current request | [`RequestContext`], an extractor, or [`RequestContext::current`] |
//! | take the project from `{project_id}` in the path | [`ProjectFromPath`] |
//! | authorize callers for projects | [`ObservabilityMiddleware::require_project_check`] |
//! | confirm in a handler that a project exists | [`RequestContext::confirm_project`] |
//! | keep the ids in tasks and blocking code | [`spawn`], [`spawn_blocking`] instead of Actix's own |
//! | keep the ids in outgoing requests | [`client::Client`] |
//! | log the causes of the service's own error types | [`log_causes_of`] |
//! | add the service's own metrics | [`Observability::registry`] |
//! | flush log lines before `std::process::exit` | [`Observability::flush`] |
//! | change the settings | [`ObservabilitySettings::VARIABLES`], [`Observability::start`] |
//!
//! To detect clients that disconnect while their request is handled, set `HttpServer::h1_allow_half_closed(false)`. By
//! default Actix waits to answer a client that has closed its side, and such a request is counted as `answered`.
//!
//! # Testing your telemetry
//!
//! [`testing::TestTelemetry`] captures the log lines and metrics of one test, so that they can be asserted like any other
//! behaviour:
//!
//! ```
//! use actix_web::test::{TestRequest, call_and_read_body, init_service};
//! use actix_web::{App, HttpResponse, web};
//! use observability::prometheus::IntCounter;
//! use observability::testing::TestTelemetry;
//!
//! async fn pay(payments: web::Data<IntCounter>) -> HttpResponse {
//!     payments.inc();
//!     tracing::info!(amount = 12, "payment accepted");
//!     HttpResponse::Accepted().body("thank you")
//! }
//!
//! # #[actix_web::main] // in a test: #[actix_web::test]
//! # async fn main() { a_payment_is_logged_and_counted().await.unwrap() }
//! async fn a_payment_is_logged_and_counted() -> Result<(), Box<dyn std::error::Error>> {
//!     let telemetry = TestTelemetry::new("shop")?;
//!     let _capture = telemetry.capture();
//!     let obs = telemetry.observability();
//!     let payments = IntCounter::new("payments_total", "Payments accepted")?;
//!     obs.registry().register(Box::new(payments.clone()))?;
//!     let app = App::new().app_data(web::Data::new(payments)).route("/pay", web::post().to(pay));
//!     let app = init_service(app.wrap(obs.middleware())).await;
//!
//!     // a request is counted when its body has been read
//!     let request = TestRequest::post().uri("/pay").insert_header(("X-Request-Id", "test-1"));
//!     call_and_read_body(&app, request.to_request()).await;
//!
//!     let lines = telemetry.lines_with_message("payment accepted");
//!     assert_eq!(lines.len(), 1);
//!     assert_eq!((&lines[0]["amount"], &lines[0]["request_id"]), (&12.into(), &"test-1".into()));
//!     assert_eq!(telemetry.access_lines()[0]["outcome"], "answered");
//!     assert_eq!(telemetry.metric("request_count", &[("endpoint", "/pay"), ("status", "202")]), 1.0);
//!     assert_eq!(telemetry.metric("payments_total", &[]), 1.0);
//!     Ok(())
//! }
//! ```
//!
//! # Untrusted input
//!
//! | input | effect |
//! | --- | --- |
//! | `X-Request-Id` | Kept if valid, so a caller can add lines to the story of any id that it knows. Set `TRUST_REQUEST_ID=0` for a service exposed to the internet. |
//! | `traceparent`, `tracestate` | The same, for traces. |
//! | `X-Project-Id`, `{project_id}` in a path | A label, and `project_id` in log lines, if a route matches the request and, with a project check, the caller is authorized. |
//! | method, path | Methods that HTTP does not define share one label value. A path is never a label, nor in an access line. |
//! | `baggage` | Forwarded with `FORWARD_BAGGAGE=1`, never logged. |
//!
//! # Limits
//!
//! | what | limit | beyond it |
//! | --- | --- | --- |
//! | request and project ids | [`MAX_ID_CHARS`] | replaced by a UUID; ignored |
//! | label sets of request metrics | [`DEFAULT_LABEL_SETS`] | folded and counted |
//! | `tracestate` | 32 members, 512 bytes | ignored |
//! | `baggage` | 64 members, 8 KiB | ignored |
//! | causes of an error | 32 causes, 8 KiB | truncated, marked with `…` |
//! | log lines in memory | [`DEFAULT_LOG_BUFFER_BYTES`] | dropped and counted |
//! | one log line | 1 MiB | dropped and counted |
//! | one string in a line | 64 KiB | truncated, marked with `…` |
//!
//! # Modules, in the order a request passes through them
//!
//! `settings` → `wiring` (knows all others) → `middleware` → `context` (`trace_context`, `project_claim`) → `accounting`,
//! `route`, `upload`, `body`, `failure` → `root_span`, `causes` → `catch_panic` → `project` → the handler, with
//! `spawn` and `client` → `metrics` and `logs`. `testing` is for tests.

mod log_filter;
mod settings;
mod wiring;

mod middleware;

mod context;
mod ids;
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

pub mod testing;

pub use body::AccountedBody;
pub use causes::log_causes_of;
pub use context::{NoContext, PROJECT_ID_HEADER, REQUEST_ID_HEADER, RequestContext};
pub use ids::{MAX_ID_CHARS, is_valid_id};
pub use log_filter::check_log_filter;
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
