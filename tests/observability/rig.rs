//! Starts the log explorer for tests, with constants for its metrics and routes.

use std::net::SocketAddr;

use observability_tests::http::{self, Answer};
use observability_tests::program::{Program, Start};
use observability_tests::scrape::Scrape;
use observability_tests::{lines, port, wait};
use serde_json::Value;

/// The contract's three metrics with request labels.
pub(crate) const COUNT: &str = "request_count";
pub(crate) const DURATION: &str = "request_duration_seconds";
pub(crate) const STATUS: &str = "response_status_count";

/// Routes of the log explorer, as values of the label `endpoint`.
pub(crate) const LOGS_ROUTE: &str = "/api/projects/{project_id}/logs";
pub(crate) const REQUEST_ROUTE: &str = "/api/requests/{request_id}";

/// Starts another service that uses the library, `tests/examples/relay.rs`. It calls `upstream`.
#[track_caller]
pub(crate) fn start_relay(upstream: &str) -> (Program, SocketAddr) {
    let address = port::free_address();
    let start = Start::program("examples/relay").env("LISTEN", address.to_string()).env("UPSTREAM", upstream);
    (start.start_healthy(address), address)
}

/// Paths of fault injection, enabled with `BACKEND_FAULTS=1`.
pub(crate) mod fault {
    /// The handler panics.
    pub(crate) const PANIC: &str = "/api/faults/panic";

    /// The handler returns a status.
    pub(crate) fn status(status: u16) -> String {
        format!("/api/faults/status/{status}")
    }

    /// The handler responds after a delay.
    pub(crate) fn delay(delay_ms: u64) -> String {
        format!("/api/faults/delay/{delay_ms}")
    }
}

/// A running log explorer over an empty embedded store.
pub(crate) struct Backend {
    pub(crate) program: Program,
    pub(crate) address: SocketAddr,
    _store: tempfile::TempDir,
}

impl Backend {
    /// Starts it with fault injection and additional variables.
    #[track_caller]
    pub(crate) fn start(variables: &[(&str, &str)]) -> Self {
        let address = port::free_address();
        let store = tempfile::tempdir().unwrap();
        let mut start = Start::program("backend")
            .env("LISTEN", address.to_string())
            .env("STORE", format!("sqlite:{}", store.path().join("logs.db").display()))
            .env("BACKEND_FAULTS", "1");
        for (name, value) in variables {
            start = start.env(name, value);
        }
        Self { program: start.start_healthy(address), address, _store: store }
    }

    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> Answer {
        http::get(self.address, path)
    }

    #[track_caller]
    pub(crate) fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
        http::get_with(self.address, path, &headers)
    }

    /// A scrape without the tests' own requests: health checks and other scrapes.
    #[track_caller]
    pub(crate) fn scrape(&self) -> Scrape {
        let mut scrape = Scrape::of(self.address);
        scrape.samples.retain(|sample| {
            !sample.labels.get("endpoint").is_some_and(|endpoint| ["/healthz", "/metrics"].contains(&endpoint.as_str()))
        });
        scrape
    }

    /// Waits until this many requests are in flight, not counting the scrape itself.
    #[track_caller]
    pub(crate) fn wait_for_in_flight(&self, requests: f64) {
        wait::until(&format!("{requests} requests are in flight"), || {
            (self.scrape().metric("requests_in_flight", &[]) == requests + 1.0).then_some(())
        });
    }

    /// Waits until a metric has this value and returns that scrape. A request is counted when its body ends, which may be
    /// after the client has read it.
    #[track_caller]
    pub(crate) fn scrape_until(&self, name: &str, labels: &[(&str, &str)], value: f64) -> Scrape {
        let mut last = 0.0;
        wait::until(&format!("{name}{labels:?} is {value}"), || {
            let scrape = self.scrape();
            last = scrape.metric(name, labels);
            assert!(last <= value, "{name}{labels:?} is {last}, more than {value}");
            (last == value).then_some(scrape)
        })
    }

    /// Waits for the access line of a request.
    #[track_caller]
    pub(crate) fn access_line(&self, request_id: &str) -> Value {
        wait::until(&format!("the access line of {request_id}"), || {
            self.program
                .lines()
                .into_iter()
                .find(|line| line["request_id"] == request_id && lines::is_access_line(line))
        })
    }
}
