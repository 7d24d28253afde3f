//! The admin port: metrics, liveness and readiness.

use std::net::TcpListener;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use actix_web::{App, HttpResponse, HttpServer, web};
use observability::Observability;
use shipper::config::Settings;
use shipper::shipper::Status;

use crate::descriptors::ADMIN_CONNECTIONS_MAX;
use crate::exit::{Exit, Failure};
use crate::metrics::{Metrics, Snapshot};

/// How long a client has to send the head of a request. Idle and slow connections are closed then, so that they do not
/// keep others waiting.
const HEAD_TIMEOUT: Duration = Duration::from_secs(1);

/// How long to wait at exit for requests in progress, in seconds.
const SHUTDOWN_S: u64 = 1;

/// The status of the shipper, once it has started.
type SharedStatus = Arc<OnceLock<Arc<Status>>>;

/// The admin port, if one is configured.
pub(crate) struct Admin {
    status: SharedStatus,
}

impl Admin {
    /// Listens on the configured address, if there is one. It serves at once, so that a store that is slow to answer at
    /// startup does not look like a shipper that hangs. Must be called within an Actix system.
    pub(crate) fn start(settings: &Settings, observability: &Observability) -> Result<Self, Failure> {
        let status = SharedStatus::default();
        let Some(address) = settings.admin_listen() else { return Ok(Self { status }) };
        let refuse = |error: std::io::Error| {
            let advice = "stop the program that uses it, or set another address with --admin-listen";
            Failure::new(Exit::AdminListen, format!("can't listen on {address}: {error}; {advice}"))
        };
        let listener = TcpListener::bind(address).map_err(refuse)?;
        let scraped = Arc::clone(&status);
        let bounds = (settings.spool().max_bytes, settings.pipeline().in_flight_max_bytes as u64);
        let look = move || match scraped.get() {
            Some(status) => Snapshot::from_status(status),
            None => Snapshot::before_start(bounds.0, bounds.1),
        };
        observability.registry().register(Box::new(Metrics::new(look))).map_err(anyhow::Error::from)?;
        let (observability, served) = (observability.clone(), Arc::clone(&status));
        let app = move || {
            App::new()
                .app_data(web::Data::new(Arc::clone(&served)))
                .configure(observability.metrics_route())
                .route("/healthz", web::get().to(|| async { "alive\n" }))
                .route("/readyz", web::get().to(readyz))
        };
        let server = HttpServer::new(app).workers(1).max_connections(ADMIN_CONNECTIONS_MAX);
        let server = server.client_request_timeout(HEAD_TIMEOUT).client_disconnect_timeout(HEAD_TIMEOUT);
        let server = server.disable_signals().shutdown_timeout(SHUTDOWN_S).listen(listener);
        actix_rt::spawn(server.map_err(refuse)?.run());
        Ok(Self { status })
    }

    /// Publishes the status of a started shipper.
    pub(crate) fn show(&self, status: Arc<Status>) {
        self.status.get_or_init(|| status);
    }
}

/// Whether lines reach the store; otherwise the reason.
async fn readyz(status: web::Data<SharedStatus>) -> HttpResponse {
    let ready = status.get().map_or_else(|| Err("starting".to_owned()), |status| status.ready());
    let answer = |mut response: actix_web::HttpResponseBuilder, text: &str| {
        response.content_type("text/plain; charset=utf-8").body(format!("{text}\n"))
    };
    match ready {
        Ok(()) => answer(HttpResponse::Ok(), "ready"),
        Err(reason) => answer(HttpResponse::ServiceUnavailable(), &reason),
    }
}
