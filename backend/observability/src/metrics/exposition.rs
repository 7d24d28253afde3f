//! Serves `GET /metrics` with actix-web-prom, which wraps only that resource and costs other requests nothing. Also the
//! server at `ADMIN_LISTEN`.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc;
use std::thread;

use actix_web::dev::ServerHandle;
use actix_web::{App, HttpResponse, HttpServer, web};
use actix_web_prom::{PrometheusMetrics, PrometheusMetricsBuilder};
use prometheus::Registry;

/// Path of the metrics.
pub const METRICS_PATH: &str = "/metrics";

/// Creates the exposition of `registry` and the process metrics. The request metrics of actix-web-prom stay empty, and
/// empty families are not exposed.
pub(crate) fn exposition(registry: &Registry) -> Result<PrometheusMetrics, String> {
    PrometheusMetricsBuilder::new("exposition")
        .registry(registry.clone())
        .endpoint(METRICS_PATH)
        .exclude_regex("")
        .build()
        .map_err(|error| error.to_string())
}

pub(crate) fn configure(exposition: PrometheusMetrics) -> impl FnOnce(&mut web::ServiceConfig) {
    move |app| {
        let scrape = web::resource(METRICS_PATH).wrap(exposition).route(web::get().to(HttpResponse::Ok));
        app.service(scrape);
    }
}

/// The server at `ADMIN_LISTEN`. It runs on its own thread and stops when dropped.
#[derive(Debug)]
pub(crate) struct AdminServer {
    pub(crate) address: SocketAddr,
    handle: ServerHandle,
}

impl AdminServer {
    /// Starts the server. The address is bound when this returns.
    pub(crate) fn start(address: SocketAddr, exposition: PrometheusMetrics) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        let (sender, receiver) = mpsc::channel();
        thread::Builder::new().name("admin".to_owned()).spawn(move || {
            actix_rt::System::new().block_on(async move {
                let app = move || App::new().configure(configure(exposition.clone()));
                let server = HttpServer::new(app).workers(1).disable_signals().shutdown_timeout(1).listen(listener);
                match server.map(HttpServer::run) {
                    Ok(server) => {
                        let _ = sender.send(Ok(server.handle()));
                        if let Err(error) = server.await {
                            tracing::error!(target: "observability", %error, "admin server failed");
                        }
                    }
                    Err(error) => drop(sender.send(Err(error))),
                }
            });
        })?;
        let handle = receiver.recv().map_err(io::Error::other)??;
        Ok(Self { address, handle })
    }
}

impl Drop for AdminServer {
    fn drop(&mut self) {
        // the call sends the stop request; the future only waits for the end
        drop(self.handle.stop(true));
    }
}
