//! Shared by the suites: captured telemetry, and a server on a real socket.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::ops::Deref;
use std::time::{Duration, Instant};

use actix_web::dev::ServerHandle;
use actix_web::web::ServiceConfig;
use actix_web::{App, HttpServer};
use observability::testing::TestTelemetry;
use observability::{Observability, ObservabilitySettings};
use tracing::dispatcher::{Dispatch, set_default};

/// Maximum time to wait for an expected state.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The telemetry of one test.
pub(crate) struct Rig {
    pub(crate) obs: Observability,
    pub(crate) dispatch: Dispatch,
    telemetry: TestTelemetry,
}

impl Deref for Rig {
    type Target = TestTelemetry;

    fn deref(&self) -> &TestTelemetry {
        &self.telemetry
    }
}

impl Rig {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut ObservabilitySettings)) -> Self {
        let mut settings = ObservabilitySettings::new("tested");
        change(&mut settings);
        let telemetry = TestTelemetry::with_settings(settings).unwrap();
        let (obs, dispatch) = (telemetry.observability().clone(), telemetry.subscriber().clone());
        Self { obs, dispatch, telemetry }
    }

    /// Values of `request_count`, `request_duration_seconds` and `response_status_count` with these labels.
    pub(crate) fn counts(&self, labels: &[(&str, &str)]) -> [f64; 3] {
        ["request_count", "request_duration_seconds", "response_status_count"].map(|name| self.metric(name, labels))
    }

    /// Waits until a metric has this value.
    #[track_caller]
    pub(crate) fn wait_for(&self, name: &str, value: f64) {
        wait_until(name, || self.metric(name, &[]) == value);
    }
}

/// Waits until a condition holds; panics after [`PATIENCE`].
#[track_caller]
pub(crate) fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        std::thread::yield_now();
    }
}

/// A server with one worker on its own thread and a free port. It stops when dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    handle: ServerHandle,
}

impl Server {
    pub(crate) fn start(rig: &Rig, routes: fn(&mut ServiceConfig)) -> Self {
        Self::start_with(rig, routes, false)
    }

    /// `half_closed` is whether clients that close their side are still answered.
    pub(crate) fn start_with(rig: &Rig, routes: fn(&mut ServiceConfig), half_closed: bool) -> Self {
        let (obs, dispatch) = (rig.obs.clone(), rig.dispatch.clone());
        let (sender, receiver) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            actix_rt::System::new().block_on(async move {
                let app = move || {
                    // until the worker ends
                    std::mem::forget(set_default(&dispatch));
                    App::new().configure(routes).configure(obs.metrics_route()).wrap(obs.middleware())
                };
                let server = HttpServer::new(app).workers(1).disable_signals().h1_allow_half_closed(half_closed);
                let server = server.bind("127.0.0.1:0").unwrap();
                let address = server.addrs()[0];
                let server = server.run();
                sender.send(Self { address, handle: server.handle() }).unwrap();
                server.await.unwrap();
            });
        });
        receiver.recv().unwrap()
    }

    /// Sends a request without reading the response.
    pub(crate) fn open(&self, head: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(stream, "{head} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Request-Id: r-1\r\n\r\n").unwrap();
        stream
    }

    /// Sends a request and reads the response until the server closes the connection.
    pub(crate) fn send(&self, head: &str) -> String {
        let mut response = Vec::new();
        // a truncated response may end in a reset
        let _ = self.open(head).read_to_end(&mut response);
        String::from_utf8_lossy(&response).into_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.handle.stop(false));
    }
}
