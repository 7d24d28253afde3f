//! What the suites share: an output that is read back, a scrape by name and labels, a server on a real socket.

use std::io::{self, Read as _, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use actix_web::dev::ServerHandle;
use actix_web::web::ServiceConfig;
use actix_web::{App, HttpServer};
use observability::{Observability, ObservabilitySettings};
use serde_json::Value;
use tracing::dispatcher::{Dispatch, set_default};

/// How long a test waits for what must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Lines that a test reads back.
#[derive(Clone, Default)]
pub(crate) struct Output(Arc<Mutex<Vec<u8>>>);

impl Output {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An observability of this test alone, with what it writes.
pub(crate) struct Rig {
    pub(crate) obs: Observability,
    pub(crate) dispatch: Dispatch,
    output: Output,
}

impl Rig {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut ObservabilitySettings)) -> Self {
        let output = Output::default();
        let mut settings = ObservabilitySettings::new("tested");
        change(&mut settings);
        let (obs, dispatch) = Observability::detached(settings, Box::new(output.clone())).unwrap();
        Self { obs, dispatch, output }
    }

    /// All lines so far, as text.
    pub(crate) fn text_lines(&self) -> Vec<String> {
        assert!(self.obs.flush(PATIENCE));
        self.output.text().lines().map(str::to_owned).collect()
    }

    /// All lines so far.
    pub(crate) fn lines(&self) -> Vec<Value> {
        let parse = |line: &String| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        self.text_lines().iter().map(parse).collect()
    }

    /// The lines with this message.
    pub(crate) fn lines_saying(&self, message: &str) -> Vec<Value> {
        self.lines().into_iter().filter(|line| line["message"] == message).collect()
    }

    /// The access lines so far.
    pub(crate) fn access_lines(&self) -> Vec<Value> {
        self.lines().into_iter().filter(|line| line["target"] == "access").collect()
    }

    /// The sum of a metric over all label sets that have these labels: counts of histograms, values of others.
    pub(crate) fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let families = self.obs.registry().gather();
        let Some(family) = families.iter().find(|family| family.name() == name) else { return 0.0 };
        let has = |metric: &observability::prometheus::proto::Metric| {
            labels.iter().all(|(name, value)| {
                metric.get_label().iter().any(|label| label.name() == *name && label.value() == *value)
            })
        };
        let value = |metric: &observability::prometheus::proto::Metric| {
            let histogram = metric.get_histogram().get_sample_count() as f64;
            metric.get_counter().get_value() + metric.get_gauge().get_value() + histogram
        };
        family.get_metric().iter().filter(|metric| has(metric)).map(value).sum()
    }

    /// Requests, requests timed and responses under these labels.
    pub(crate) fn counts(&self, labels: &[(&str, &str)]) -> [f64; 3] {
        ["request_count", "request_duration_seconds", "response_status_count"].map(|name| self.metric(name, labels))
    }

    /// Waits until a metric has this value.
    #[track_caller]
    pub(crate) fn wait_for(&self, name: &str, value: f64) {
        wait_until(name, || self.metric(name, &[]) == value);
    }
}

/// Asks again until it is so; panics when it isn't within [`PATIENCE`].
#[track_caller]
pub(crate) fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        std::thread::yield_now();
    }
}

/// A server on a port of its own, on a thread of its own, with one worker; stopped when dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    handle: ServerHandle,
}

impl Server {
    pub(crate) fn start(rig: &Rig, routes: fn(&mut ServiceConfig)) -> Self {
        Self::start_with(rig, routes, false)
    }

    /// `half_closed`: whether a client that closes its side is still answered.
    pub(crate) fn start_with(rig: &Rig, routes: fn(&mut ServiceConfig), half_closed: bool) -> Self {
        let (obs, dispatch) = (rig.obs.clone(), rig.dispatch.clone());
        let (sender, receiver) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            actix_rt::System::new().block_on(async move {
                let app = move || {
                    // for the rest of the worker's life
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

    /// Sends a request whose answer is yet to be read.
    pub(crate) fn open(&self, head: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(stream, "{head} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Request-Id: r-1\r\n\r\n").unwrap();
        stream
    }

    /// Sends a request and reads until the other side closes.
    pub(crate) fn send(&self, head: &str) -> String {
        let mut answer = Vec::new();
        // a cut answer may end in a reset
        let _ = self.open(head).read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.handle.stop(false));
    }
}
