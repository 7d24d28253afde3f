//! The metrics contract: the content of a scrape, and that each request is counted once whatever its outcome.

use std::collections::BTreeSet;
use std::io::Read;
use std::net::{Shutdown, SocketAddr};

use observability_tests::scrape::Scrape;
use observability_tests::{http, port, wait};

use crate::rig::{Backend, COUNT, DURATION, LOGS_ROUTE, REQUEST_ROUTE, STATUS, fault, start_relay};

const LABELS: [&str; 5] = ["service", "endpoint", "method", "status", "project_id"];

/// The values of the three metrics with these labels: requests, timed requests, responses.
fn counts(scrape: &Scrape, labels: &[(&str, &str)]) -> [f64; 3] {
    [scrape.metric(COUNT, labels), scrape.metric(&format!("{DURATION}_count"), labels), scrape.metric(STATUS, labels)]
}

#[test]
fn a_scrape_is_prometheus_text_with_every_name_and_label_of_the_contract() {
    let backend = Backend::start(&[("SERVICE_NAME", "explorer")]);
    assert_eq!(backend.get("/api/projects/p-1/logs").status, 200);
    let scrape = backend.scrape_until(COUNT, &[("endpoint", LOGS_ROUTE)], 1.0);

    for (name, kind) in
        [(COUNT, "counter"), (DURATION, "histogram"), (STATUS, "counter"), ("requests_in_flight", "gauge")]
    {
        assert_eq!(scrape.types.get(name).map(String::as_str), Some(kind), "{name}");
        assert!(scrape.help.get(name).is_some_and(|help| !help.is_empty()), "{name} has no HELP");
    }
    for family in scrape.types.keys() {
        assert!(scrape.help.contains_key(family), "{family} has no HELP");
    }
    for name in [COUNT, STATUS, &format!("{DURATION}_count"), &format!("{DURATION}_sum")] {
        for sample in scrape.all(name, &[]) {
            let found: BTreeSet<_> = sample.labels.keys().map(String::as_str).collect();
            assert_eq!(found, LABELS.into(), "{name}");
            assert_eq!(sample.labels["service"], "explorer");
        }
    }
    for name in ["process_resident_memory_bytes", "process_open_fds"] {
        assert!(scrape.metric(name, &[]) > 0.0, "{name}");
    }
    // lines are written on another thread
    wait::until("log lines are counted", || {
        (backend.scrape().metric("log_lines_written_total", &[]) > 0.0).then_some(())
    });
    for name in ["process_cpu_seconds_total", "log_lines_dropped_total", "label_sets_folded_total"] {
        assert!(scrape.all(name, &[]).count() > 0, "{name} does not start at 0");
    }
}

#[test]
fn the_duration_histogram_is_in_seconds() {
    let backend = Backend::start(&[]);
    backend.get(&fault::delay(300));
    let labels = [("method", "GET"), ("status", "200")];
    let scrape = backend.scrape_until(&format!("{DURATION}_count"), &labels, 1.0);

    let buckets: Vec<_> = scrape.all(&format!("{DURATION}_bucket"), &labels).collect();
    assert!(buckets.len() > 5, "{buckets:?}");
    assert!(buckets.windows(2).all(|pair| pair[0].value <= pair[1].value), "not cumulative: {buckets:?}");
    let last = buckets.last().unwrap();
    assert_eq!((last.labels["le"].as_str(), last.value), ("+Inf", 1.0));
    for bucket in &buckets {
        let upper: f64 = bucket.labels["le"].replace("+Inf", "inf").parse().unwrap();
        assert!(upper >= 0.3 || bucket.value == 0.0, "300 ms are not within {upper} s");
    }
    let sum = scrape.metric(&format!("{DURATION}_sum"), &labels);
    assert!((0.3..60.0).contains(&sum), "{sum} s");
}

#[test]
fn an_answered_request_is_counted_once_with_its_route_and_project() {
    let backend = Backend::start(&[]);
    for _ in 0..3 {
        backend.get_with("/api/projects/p-1/logs?query=secret", &[("X-Project-Id", "p-1")]);
    }
    backend.get("/api/requests/demo-1");
    let labels = [("endpoint", LOGS_ROUTE), ("method", "GET"), ("status", "200"), ("project_id", "p-1")];
    assert_eq!(counts(&backend.scrape_until(COUNT, &labels, 3.0), &labels), [3.0; 3]);
    let scrape = backend.scrape_until(COUNT, &[("endpoint", REQUEST_ROUTE)], 1.0);
    assert_eq!(counts(&scrape, &[]), [4.0; 3]);
}

#[test]
fn an_error_from_a_handler_is_counted_once() {
    let backend = Backend::start(&[]);
    let answer = backend.get("/api/projects/p-1/logs?limit=nonsense");
    assert_eq!(answer.status, 400, "{}", answer.text());
    let labels = [("endpoint", LOGS_ROUTE), ("status", "400")];
    assert_eq!(counts(&backend.scrape_until(COUNT, &labels, 1.0), &[]), [1.0; 3]);

    assert_eq!(backend.get(&fault::status(503)).status, 503);
    let labels = [("status", "503")];
    assert_eq!(counts(&backend.scrape_until(COUNT, &labels, 1.0), &labels), [1.0; 3]);
}

#[test]
fn a_panic_is_counted_once_as_a_500() {
    let backend = Backend::start(&[]);
    assert_eq!(backend.get(fault::PANIC).status, 500);
    let labels = [("status", "500")];
    let scrape = backend.scrape_until(COUNT, &labels, 1.0);
    assert_eq!(counts(&scrape, &[]), [1.0; 3]);
    assert_eq!(scrape.metric("requests_in_flight", &[]), 1.0, "only the scrape itself");
}

#[test]
fn unknown_routes_and_methods_fold_into_one_value_each() {
    let backend = Backend::start(&[]);
    for path in ["/nowhere", "/no/where?x=1", "/api/nothing", "/wp-login.php"] {
        assert_eq!(backend.get(path).status, 404);
    }
    for method in ["BREW", "FROBNICATE"] {
        http::send(backend.address, method, "/nowhere", &[], b"");
    }
    let scrape = backend.scrape_until(COUNT, &[], 6.0);
    assert_eq!(counts(&scrape, &[]), [6.0; 3]);
    let endpoints = scrape.label_values(COUNT, "endpoint");
    assert_eq!(endpoints.len(), 1, "{endpoints:?}");
    let methods = scrape.label_values(COUNT, "method");
    assert_eq!(methods.len(), 2, "{methods:?}");
    assert!(!methods.contains("BREW") && !methods.contains("FROBNICATE"), "{methods:?}");
}

#[test]
fn a_client_that_disconnects_is_counted_once_without_a_response() {
    let backend = Backend::start(&[]);
    let stream = http::open(backend.address, "GET", &fault::delay(30_000), &[], b"").unwrap();
    backend.wait_for_in_flight(1.0);
    assert_eq!(counts(&backend.scrape(), &[]), [0.0; 3], "counted before its end");
    drop(stream);

    let labels = [("status", "none")];
    let scrape = backend.scrape_until(COUNT, &labels, 1.0);
    assert_eq!(counts(&scrape, &labels), [1.0, 1.0, 0.0]);
    assert_eq!(counts(&scrape, &[]), [1.0, 1.0, 0.0]);
    assert_eq!(scrape.metric("requests_in_flight", &[]), 1.0, "only the scrape itself");
}

#[test]
fn a_request_with_a_truncated_body_is_counted_once() {
    let backend = Backend::start(&[]);
    let headers: [(&str, &[u8]); 2] = [("Content-Type", b"application/json"), ("Content-Length", b"1000")];
    let mut stream = http::open(backend.address, "POST", "/api/alerts", &headers, b"").unwrap();
    std::io::Write::write_all(&mut stream, b"{\"alerts\":[").unwrap();
    backend.wait_for_in_flight(1.0);
    stream.shutdown(Shutdown::Both).unwrap();
    let scrape = backend.scrape_until(COUNT, &[], 1.0);
    assert_eq!(counts(&scrape, &[])[..2], [1.0; 2]);
    assert_eq!(scrape.metric("requests_in_flight", &[]), 1.0, "only the scrape itself");
}

#[test]
fn a_response_is_counted_when_its_body_has_ended() {
    let backend = Backend::start(&[]);
    let mut stream = http::open(backend.address, "GET", &fault::delay(50), &[], b"").unwrap();
    stream.read_to_end(&mut Vec::new()).unwrap();
    let labels = [("method", "GET")];
    assert_eq!(counts(&backend.scrape_until(COUNT, &labels, 1.0), &labels), [1.0; 3]);
}

#[test]
fn a_response_truncated_by_either_side_is_counted_once_as_sent() {
    let (_relay, address) = start_relay("");
    let sent = |endpoint: &'static str| {
        let labels = [("endpoint", endpoint), ("status", "200")];
        let scrape = wait::until(endpoint, || {
            let scrape = Scrape::of(address);
            (scrape.metric(COUNT, &[("endpoint", endpoint)]) == 1.0).then_some(scrape)
        });
        assert_eq!(counts(&scrape, &labels), [1.0; 3], "{endpoint}");
        assert_eq!(scrape.metric("requests_in_flight", &[]), 1.0, "only the scrape itself");
    };
    let answer = http::try_send(address, "GET", "/cut", &[], b"");
    assert!(answer.is_err(), "the body was truncated: {answer:?}");
    sent("/cut");

    let mut stream = http::open(address, "GET", "/endless", &[], b"").unwrap();
    stream.read_exact(&mut [0; 4096]).unwrap();
    assert_eq!(Scrape::of(address).metric(COUNT, &[("endpoint", "/endless")]), 0.0, "counted before its end");
    drop(stream);
    sent("/endless");
}

#[test]
fn projects_beyond_the_limit_are_folded_into_other_and_still_counted() {
    const PROJECTS: usize = 2_100;
    let backend = Backend::start(&[("METRICS_PROJECTS", "kept"), ("RUST_LOG", "warn")]);
    let mut requests = 0.0;
    for project in 0..PROJECTS {
        backend.get(&format!("/api/projects/p-{project}/logs"));
        requests += 1.0;
    }
    backend.get("/api/projects/kept/logs");
    let scrape = backend.scrape_until(COUNT, &[], requests + 1.0);
    assert_eq!(counts(&scrape, &[]), [requests + 1.0; 3]);
    assert_eq!(scrape.metric(COUNT, &[("project_id", "kept")]), 1.0);
    let folded = scrape.metric(COUNT, &[("project_id", "other")]);
    assert!(folded >= 100.0);
    assert!(scrape.metric("label_sets_folded_total", &[("folded", "project_id")]) >= folded);
    for name in [COUNT, STATUS, &format!("{DURATION}_count")] {
        let sets = scrape.all(name, &[]).count();
        assert!(sets <= 2_000, "{name} has {sets} label sets");
    }
}

#[test]
fn an_admin_address_serves_metrics_instead_of_the_port_of_the_service() {
    let admin = port::free_address();
    let backend = Backend::start(&[("ADMIN_LISTEN", &admin.to_string())]);
    assert_eq!(backend.get("/metrics").status, 404);
    backend.get("/api/requests/demo-1");
    let of = |address: SocketAddr| Scrape::of(address).metric(COUNT, &[("endpoint", REQUEST_ROUTE)]);
    wait::until("the request is counted", || (of(admin) == 1.0).then_some(()));
}
