//! Measures the CPU time per request over bare Actix: of this crate with one access line, of `TracingLogger` alone (its
//! default root span, no line), and of the stock crates.
//!
//! Requests go through the app's service in this process, without network and client. The contenders alternate in rounds,
//! and each is compared with bare Actix within a round, so that changes of the CPU frequency have little effect. The median
//! of the rounds is reported. The CPU time includes all threads, such as the log writer. Lines are discarded.
//! `OVERHEAD_REQUESTS=N` sets the number of requests per round.

use std::io::Write as _;
use std::time::Duration;

use actix_web::body::{MessageBody, to_bytes};
use actix_web::dev::{Service, ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::{App, Error, HttpResponse, test, web};
use actix_web_prom::PrometheusMetricsBuilder;
use observability::{Observability, ObservabilitySettings};
use rustix::time::{ClockId, clock_gettime};
use tracing::dispatcher::{Dispatch, with_default};
use tracing_actix_web::TracingLogger;
use tracing_bunyan_formatter::{BunyanFormattingLayer, JsonStorageLayer};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::{EnvFilter, Registry};

const ROUNDS: usize = 15;

async fn handler(_: web::Path<String>) -> HttpResponse {
    HttpResponse::Ok().body("hello")
}

fn app() -> App<
    impl ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = ServiceResponse<actix_web::body::BoxBody>,
        Error = Error,
        InitError = (),
    >,
> {
    App::new().route("/projects/{project_id}/things", web::get().to(handler))
}

/// CPU time of all threads of this process.
fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or_default(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// CPU microseconds per request through `service`.
async fn round<S, B>(service: &S, requests: u32) -> f64
where
    S: Service<actix_http::Request, Response = ServiceResponse<B>, Error = Error>,
    B: MessageBody,
{
    let before = cpu();
    for _ in 0..requests {
        let request = test::TestRequest::get()
            .uri("/projects/p-1/things")
            .insert_header(("X-Request-Id", "0d5ad0b4-6ec7-4c2c-9d5e-000000000001"))
            .insert_header(("X-Project-Id", "p-1"))
            .to_request();
        match service.call(request).await {
            Ok(response) => drop(to_bytes(response.into_body()).await),
            Err(error) => drop(error),
        }
    }
    (cpu() - before).as_secs_f64() * 1e6 / f64::from(requests)
}

fn median(mut rounds: Vec<f64>) -> f64 {
    rounds.sort_by(f64::total_cmp);
    rounds[rounds.len() / 2]
}

fn in_system<F: Future<Output = f64>>(dispatch: &Dispatch, work: impl FnOnce() -> F) -> f64 {
    with_default(dispatch, || actix_web::rt::System::new().block_on(work()))
}

fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let requests = std::env::var("OVERHEAD_REQUESTS").map_or(Ok(20_000), |text| text.parse())?;
    let nothing = Dispatch::none();
    let (obs, ours) = Observability::detached(ObservabilitySettings::new("bench"), Box::new(std::io::sink()))?;
    let spans_only = Dispatch::new(Registry::default().with(EnvFilter::new("info")));
    let stock = Registry::default()
        .with(EnvFilter::new("info"))
        .with(JsonStorageLayer)
        .with(BunyanFormattingLayer::new("bench".to_owned(), std::io::sink));
    let stock = Dispatch::new(stock);
    let names = ["bare Actix", "TracingLogger alone", "this crate", "stock crates"];
    let mut taken: [Vec<f64>; 4] = Default::default();
    for _ in 0..ROUNDS {
        taken[0].push(in_system(&nothing, || async { round(&test::init_service(app()).await, requests).await }));
        taken[1].push(in_system(&spans_only, || async {
            let app = app().wrap(TracingLogger::default());
            round(&test::init_service(app).await, requests).await
        }));
        taken[2].push(in_system(&ours, || async {
            round(&test::init_service(app().wrap(obs.middleware())).await, requests).await
        }));
        let prometheus = PrometheusMetricsBuilder::new("bench").endpoint("/metrics").build()?;
        taken[3].push(in_system(&stock, || async {
            let app = app().wrap(TracingLogger::default()).wrap(prometheus);
            round(&test::init_service(app).await, requests).await
        }));
    }
    let over_bare: Vec<f64> = taken
        .iter()
        .map(|rounds| median(rounds.iter().zip(&taken[0]).map(|(taken, bare)| taken - bare).collect()))
        .collect();
    let mut out = std::io::stdout().lock();
    for ((name, rounds), over) in names.iter().zip(taken).zip(over_bare) {
        writeln!(out, "{name}: {:.2} us CPU per request, {over:+.2} over bare Actix", median(rounds))?;
    }
    Ok(())
}
