//! The log record contract: every line on standard output meets it, whatever requests the service receives.

use observability_tests::lines::{self, is_access_line};
use observability_tests::schema::{assert_log_record, log_record_errors};
use observability_tests::{http, wait};
use serde_json::{Value, json};

use crate::rig::{Backend, LOGS_ROUTE, fault};

/// Sends requests of every kind and waits for the line of the last one.
fn exercise(backend: &Backend) {
    for path in
        ["/healthz", "/readyz", "/metrics", "/nowhere", "/api/requests/demo-1", "/api/projects/p-1/logs?query=x"]
    {
        backend.get(path);
    }
    for path in ["/api/projects/p-1/logs?limit=nonsense", fault::PANIC, &fault::status(503), &fault::delay(10)] {
        backend.get_with(path, &[("X-Request-Id", "exercise"), ("X-Project-Id", "p-1")]);
    }
    let alerts = json!({ "version": "4", "status": "firing", "receiver": "r", "groupKey": "k", "groupLabels": {},
        "commonLabels": {}, "commonAnnotations": {}, "externalURL": "", "truncatedAlerts": 0, "alerts": [{
            "status": "firing", "labels": { "alertname": "Quoted", "level": "sneaky", "message": "again" },
            "annotations": { "summary": "a \"quote\", a \\ and a \n newline" }, "startsAt": "2026-01-01T00:00:00Z",
            "endsAt": "0001-01-01T00:00:00Z", "generatorURL": "", "fingerprint": "0" }] });
    let body = alerts.to_string();
    let json: (&str, &[u8]) = ("Content-Type", b"application/json");
    let answer = http::send(backend.address, "POST", "/api/alerts", &[json], body.as_bytes());
    assert!(answer.status < 300, "{}", answer.text());
    http::send(backend.address, "POST", "/api/alerts", &[json], b"{");
    http::get_with(
        backend.address,
        "/api/projects/p%22%0A1/logs?query=%22%0A",
        &[
            ("User-Agent", b"a \"b\" \\ {\"level\":\"error\"}"),
            ("X-Project-Id", "\u{fc}\"\\,\"level\":\"x".as_bytes()),
            ("X-Request-Id", b"last"),
        ],
    );
}

#[test]
fn every_line_meets_the_schema_and_has_distinct_keys() {
    for level in ["info", "trace"] {
        let mut backend = Backend::start(&[("RUST_LOG", level)]);
        exercise(&backend);
        backend.access_line("last");
        assert_eq!(backend.program.stop(), 0);
        let all = lines::parse_all(&backend.program.stdout());
        assert!(all.len() > 10, "{all:?}");
        all.iter().for_each(assert_log_record);
        assert!(
            all.iter().any(|line| line["request_id"].is_null() && line["project_id"].is_null()),
            "no line outside a request"
        );
    }
}

#[test]
fn the_schema_rejects_invalid_records() {
    let record = json!({ "timestamp": "2026-01-02T03:04:05.678Z", "service": "s", "level": "info", "message": "m",
        "request_id": "r", "project_id": null, "anything": { "else": 1 } });
    assert_eq!(log_record_errors(&record), [""; 0]);
    for key in ["timestamp", "service", "level", "message", "request_id", "project_id"] {
        let mut lacking = record.clone();
        lacking.as_object_mut().unwrap().remove(key);
        assert!(!log_record_errors(&lacking).is_empty(), "without {key}");
    }
    for (key, wrong) in [
        ("timestamp", json!("2026-01-02T03:04:05Z")),
        ("timestamp", json!("2026-01-02T03:04:05.678+01:00")),
        ("timestamp", json!(1)),
        ("service", json!(null)),
        ("level", json!("INFO")),
        ("level", json!(30)),
        ("message", json!(null)),
        ("request_id", json!(1)),
        ("request_id", json!("a b")),
        ("project_id", json!({})),
    ] {
        let mut changed = record.clone();
        changed[key] = wrong;
        assert!(!log_record_errors(&changed).is_empty(), "{changed}");
    }
}

#[test]
fn a_request_has_one_access_line_with_its_fields_and_no_private_data() {
    let backend = Backend::start(&[]);
    backend.get_with(
        "/api/projects/p-1/logs?query=PRIVATE-QUERY",
        &[
            ("X-Request-Id", "demo-1"),
            ("X-Project-Id", "p-1"),
            ("Authorization", "Bearer PRIVATE-TOKEN"),
            ("Cookie", "session=PRIVATE-COOKIE"),
        ],
    );
    let line = backend.access_line("demo-1");
    assert_eq!(line["method"], "GET");
    assert_eq!(line["endpoint"], LOGS_ROUTE);
    assert_eq!(line["status"], 200);
    assert_eq!(line["project_id"], "p-1");
    assert_eq!(line["level"], "info");
    assert!(line["duration_ms"].as_f64().is_some_and(|duration| (0.0..60_000.0).contains(&duration)), "{line}");
    assert!(line["outcome"].is_string());

    backend.get_with("/api/requests/x", &[("X-Request-Id", "after")]);
    backend.access_line("after");
    let all = backend.program.lines();
    let access: Vec<_> = lines::of_request(&all, "demo-1").into_iter().filter(|line| is_access_line(line)).collect();
    assert_eq!(access.len(), 1, "{access:?}");
    assert!(!backend.program.stdout().contains("PRIVATE"));
}

#[test]
fn each_outcome_has_its_own_value() {
    let backend = Backend::start(&[]);
    let with = |id: &'static str| [("X-Request-Id", id)];
    backend.get_with("/api/projects/p-1/logs", &with("answered"));
    backend.get_with(fault::PANIC, &with("panicked"));
    let gone = http::open(backend.address, "GET", &fault::delay(30_000), &[("X-Request-Id", b"gone")], b"").unwrap();
    backend.wait_for_in_flight(1.0);
    drop(gone);
    let outcomes = ["answered", "panicked", "gone"].map(|id| backend.access_line(id)["outcome"].clone());
    assert!(outcomes[0] != outcomes[1] && outcomes[1] != outcomes[2] && outcomes[0] != outcomes[2], "{outcomes:?}");
    let gone = backend.access_line("gone");
    assert!(gone["status"].is_null(), "no response was sent: {gone}");
    assert_eq!(backend.access_line("panicked")["status"], 500);
}

#[test]
fn health_checks_and_scrapes_write_no_access_line() {
    let mut backend = Backend::start(&[]);
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(backend.get(path).status, 200);
    }
    backend.get_with("/api/requests/x", &[("X-Request-Id", "after")]);
    backend.access_line("after");
    assert_eq!(backend.program.stop(), 0);
    let all = lines::parse_all(&backend.program.stdout());
    assert_eq!(all.iter().filter(|line| is_access_line(line)).count(), 1);
}

#[test]
fn a_panic_is_logged_as_one_json_line() {
    let mut backend = Backend::start(&[]);
    backend.get_with(fault::PANIC, &[("X-Request-Id", "boom")]);
    backend.access_line("boom");
    assert_eq!(backend.program.stop(), 0);
    let all = lines::parse_all(&backend.program.stdout());
    let panics: Vec<_> = lines::of_request(&all, "boom").into_iter().filter(|line| line["level"] == "error").collect();
    assert!(panics.iter().any(|line| line.to_string().contains("panic")), "{panics:?}");
}

#[test]
fn a_closed_pipe_does_not_block_requests() {
    let address = observability_tests::port::free_address();
    let folder = tempfile::tempdir().unwrap();
    let mut program = observability_tests::program::Start::program("backend")
        .env("LISTEN", address.to_string())
        .env("STORE", format!("sqlite:{}", folder.path().join("logs.db").display()))
        .piped_stdout()
        .start_healthy(address);
    drop(program.child().stdout.take());
    for _ in 0..50 {
        assert_eq!(http::get(address, "/api/requests/x").status, 200);
    }
    assert_eq!(program.stop(), 0, "{}", program.stderr());
}

#[test]
fn a_reader_that_does_not_read_does_not_block_requests() {
    let address = observability_tests::port::free_address();
    let folder = tempfile::tempdir().unwrap();
    let mut program = observability_tests::program::Start::program("backend")
        .env("LISTEN", address.to_string())
        .env("STORE", format!("sqlite:{}", folder.path().join("logs.db").display()))
        .piped_stdout()
        .start_healthy(address);
    // more than the capacity of the pipe and the log buffer
    let long = "p".repeat(120);
    for _ in 0..3_000 {
        assert_eq!(http::get_with(address, "/api/requests/x", &[("X-Project-Id", long.as_bytes())]).status, 200);
    }
    program.kill();
}

#[test]
fn the_bunyan_format_can_be_selected() {
    let mut backend = Backend::start(&[("LOG_FORMAT", "bunyan")]);
    backend.get_with("/api/requests/x", &[("X-Request-Id", "demo-1")]);
    wait::until("a line of the request", || backend.program.stdout().contains("demo-1").then_some(()));
    assert_eq!(backend.program.stop(), 0);
    for line in backend.program.stdout().lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
        for key in ["v", "name", "msg", "level", "hostname", "pid", "time"] {
            assert!(line.get(key).is_some(), "{key}: {line}");
        }
    }
}

#[test]
fn an_invalid_setting_is_rejected_with_exit_code_2() {
    for (name, value) in [("LISTEN", "nowhere"), ("STORE", "ftp://x"), ("LOG_FORMAT", "xml"), ("RUST_LOG", "a=b=c")] {
        let mut program = observability_tests::program::Start::program("backend").env(name, value).start();
        assert_eq!(program.exit_code(), 2, "{name}={value}");
        let output = program.stderr() + &program.stdout();
        assert!(output.contains(name), "{output}");
    }
}
