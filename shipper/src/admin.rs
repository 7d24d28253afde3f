//! The shipper's own port: metrics, whether it is alive, and whether lines get to their store.

use std::net::TcpListener;
use std::sync::{Arc, OnceLock};

use actix_web::{App, HttpResponse, HttpServer, web};
use observability::Observability;
use shipper::config::Settings;
use shipper::shipper::Status;

use crate::descriptors::ADMIN_CONNECTIONS_MAX;
use crate::exit::{Exit, Failure};
use crate::metrics::{Metrics, Snapshot};

/// How long requests on their way are waited for when the program ends.
const SHUTDOWN_S: u64 = 1;

/// The shipper as the port sees it: nothing until it runs.
type Shown = Arc<OnceLock<Arc<Status>>>;

/// What listens, if anything does.
pub(crate) struct Admin {
    shown: Shown,
}

impl Admin {
    /// Listens where the settings say, if they do. It answers at once, so that a store that is slow to answer at the
    /// start is not taken for a shipper that hangs. Must be called within an Actix system.
    pub(crate) fn start(settings: &Settings, observability: &Observability) -> Result<Self, Failure> {
        let shown = Shown::default();
        let Some(address) = settings.admin_listen() else { return Ok(Self { shown }) };
        let refuse = |error: std::io::Error| {
            let advice = "stop what listens there, or give another address with --admin-listen";
            Failure::new(Exit::AdminListen, format!("can't listen on {address}: {error}; {advice}"))
        };
        let listener = TcpListener::bind(address).map_err(refuse)?;
        let looked_at = Arc::clone(&shown);
        let bounds = (settings.spool().max_bytes, settings.pipeline().in_flight_max_bytes as u64);
        let look = move || match looked_at.get() {
            Some(status) => Snapshot::from_status(status),
            None => Snapshot::before_start(bounds.0, bounds.1),
        };
        observability.registry().register(Box::new(Metrics::new(look))).map_err(anyhow::Error::from)?;
        let (observability, asked) = (observability.clone(), Arc::clone(&shown));
        let app = move || {
            App::new()
                .app_data(web::Data::new(Arc::clone(&asked)))
                .configure(observability.metrics_route())
                .route("/healthz", web::get().to(|| async { "alive\n" }))
                .route("/readyz", web::get().to(readyz))
        };
        let server = HttpServer::new(app).workers(1).max_connections(ADMIN_CONNECTIONS_MAX);
        let server = server.disable_signals().shutdown_timeout(SHUTDOWN_S).listen(listener);
        actix_rt::spawn(server.map_err(refuse)?.run());
        Ok(Self { shown })
    }

    /// Shows a shipper from now on.
    pub(crate) fn show(&self, status: Arc<Status>) {
        self.shown.get_or_init(|| status);
    }
}

/// Whether lines get to their store; the reason where they do not.
async fn readyz(shown: web::Data<Shown>) -> HttpResponse {
    let ready = shown.get().map_or_else(|| Err("starting".to_owned()), |status| status.ready());
    let answer = |mut response: actix_web::HttpResponseBuilder, text: &str| {
        response.content_type("text/plain; charset=utf-8").body(format!("{text}\n"))
    };
    match ready {
        Ok(()) => answer(HttpResponse::Ok(), "ready"),
        Err(reason) => answer(HttpResponse::ServiceUnavailable(), &reason),
    }
}
