//! Tests a running stack: the lines of a request are found in the engine, its metrics in Prometheus, and an alert among
//! the lines. Nothing is started here; `infra/test-stack.sh` sets these variables:
//!
//! - `STACK_BACKEND`, `STACK_SHIPPER`, `STACK_PROMETHEUS`, `STACK_ALERTMANAGER`, `STACK_ELASTICSEARCH`: `IP:PORT` each
//! - `STACK_GRAFANA`, `STACK_KIBANA`: the same, if they run
//! - `STACK=compose`: lines come from containers, and targets have the names of Compose services
//!
//! Not part of `cargo test`, because it needs a stack. `cargo test --test stack` runs it.

#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use observability_tests::engine::Engine;
use observability_tests::lines::is_access_line;
use observability_tests::scrape::Scrape;
use observability_tests::{http, wait};
use serde_json::{Value, json};

const LOGS_ROUTE: &str = "/api/projects/{project_id}/logs";
/// Maximum time from a request to its line being found: the worst case of the engine's refresh, the shipper's batch and
/// its file scan, on a machine that is busy with the stack.
const FOUND_WITHIN: Duration = Duration::from_secs(15);
/// Two scrape intervals and a failed scrape.
const SCRAPED_WITHIN: Duration = Duration::from_secs(30);
/// Alertmanager's group wait, and a retry of a failed notification.
const NOTIFIED_WITHIN: Duration = Duration::from_secs(60);
/// Maximum size of Docker's log entries; longer lines are split.
const DOCKER_ENTRY_BYTES: usize = 16 * 1024;

fn optional_address(name: &str) -> Option<SocketAddr> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name}={value} is not IP:PORT")))
}

#[track_caller]
fn address(name: &str) -> SocketAddr {
    optional_address(name).unwrap_or_else(|| panic!("{name} is not set: `make e2e` runs these tests"))
}

fn is_compose() -> bool {
    std::env::var("STACK").is_ok_and(|stack| stack == "compose")
}

fn engine() -> Engine {
    Engine::at(&format!("http://{}", address("STACK_ELASTICSEARCH")))
}

fn unique(prefix: &str) -> String {
    format!("{prefix}{}", uuid::Uuid::new_v4().simple())
}

/// Waits for the only document of a query. With Compose, asserts that it came from the service's container.
#[track_caller]
fn found_once(what: &str, query: &Value) -> Value {
    let began = Instant::now();
    let engine = engine();
    let hits = wait::until_within(NOTIFIED_WITHIN, what, || Some(engine.search(query)).filter(|hits| !hits.is_empty()));
    eprintln!("{what}: found after {} ms", began.elapsed().as_millis());
    assert_eq!(hits.len(), 1, "{what}: {hits:#?}");
    let line = hits[0]["_source"].clone();
    if is_compose() {
        let container = line["origin"]["container"].as_str().unwrap_or_default();
        assert!(container.len() == 64 && container.bytes().all(|byte| byte.is_ascii_hexdigit()), "{line:#}");
        assert_eq!(line["origin"]["compose_service"], "backend", "{line:#}");
    }
    line
}

/// A query for the access line of a request.
fn access_line(id: &str) -> Value {
    json!({ "bool": { "filter": [{ "term": { "request_id": id } }, { "exists": { "field": "outcome" } }] } })
}

/// Evaluates an expression in Prometheus to an instant vector.
fn query(expression: &str) -> Vec<Value> {
    let encoded: String = expression
        .bytes()
        .map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect();
    let answer = http::get(address("STACK_PROMETHEUS"), &format!("/api/v1/query?query={encoded}"));
    assert_eq!(answer.status, 200, "{expression}: {}", answer.text());
    answer.json()["data"]["result"].as_array().unwrap().clone()
}

#[test]
fn every_published_address_responds() {
    for (name, path) in [
        ("STACK_BACKEND", "/readyz"),
        ("STACK_SHIPPER", "/readyz"),
        ("STACK_PROMETHEUS", "/-/ready"),
        ("STACK_ALERTMANAGER", "/-/ready"),
        ("STACK_ELASTICSEARCH", "/_cluster/health"),
    ] {
        let answer = http::get(address(name), path);
        assert_eq!(answer.status, 200, "{name}: {}", answer.text());
    }
    for (name, path) in [("STACK_GRAFANA", "/api/health"), ("STACK_KIBANA", "/api/status")] {
        let Some(address) = optional_address(name) else {
            eprintln!("{name} is not set: not tested");
            continue;
        };
        assert_eq!(http::get(address, path).status, 200, "{name}");
    }
}

#[test]
fn a_request_is_found_in_the_engine_and_counted_in_prometheus() {
    let (id, project) = (unique("request-"), unique("project-"));
    let headers: [(&str, &[u8]); 2] = [("X-Request-Id", id.as_bytes()), ("X-Project-Id", project.as_bytes())];
    let answer = http::get_with(address("STACK_BACKEND"), &format!("/api/projects/{project}/logs"), &headers);
    assert_eq!((answer.status, answer.request_id()), (200, id.as_str()), "{}", answer.text());

    let began = Instant::now();
    let line = found_once("the request's access line", &access_line(&id));
    assert!(began.elapsed() <= FOUND_WITHIN, "found only after {:?}", began.elapsed());
    assert!(is_access_line(&line), "{line:#}");
    assert_eq!((&line["endpoint"], &line["status"]), (&json!(LOGS_ROUTE), &json!(200)));
    assert_eq!(line["@timestamp"], line["timestamp"], "the line did not pass the pipeline");

    let story = http::get(address("STACK_BACKEND"), &format!("/api/requests/{id}"));
    assert_eq!(story.json()["lines"][0]["request_id"], id, "{}", story.text());
    if is_compose() {
        let link = story.json()["kibana"].as_str().unwrap_or_default().to_owned();
        assert!(link.contains("view/one-request?") && link.contains(&id), "{}", story.text());
    }

    let counted = format!(r#"request_count{{project_id="{project}",status="200"}}"#);
    let samples = wait::until_within(SCRAPED_WITHIN, "Prometheus has the request's counter", || {
        Some(query(&counted)).filter(|samples| !samples.is_empty())
    });
    assert_eq!(samples.len(), 1, "{samples:#?}");
    assert_eq!((&samples[0]["value"][1], &samples[0]["metric"]["endpoint"]), (&json!("1"), &json!(LOGS_ROUTE)));
    if is_compose() {
        assert_eq!(samples[0]["metric"]["instance"], "backend:8000");
    }
}

#[test]
fn prometheus_reaches_every_target_and_alertmanager() {
    for job in ["backend", "shipper", "prometheus", "alertmanager"] {
        wait::until_within(SCRAPED_WITHIN, &format!("{job} is up"), || {
            let up = query(&format!(r#"up{{job="{job}"}}"#));
            (!up.is_empty() && up.iter().all(|sample| sample["value"][1] == "1")).then_some(())
        });
    }
    let known = http::get(address("STACK_PROMETHEUS"), "/api/v1/alertmanagers").json();
    assert_eq!(known["data"]["activeAlertmanagers"].as_array().unwrap().len(), 1, "{known}");
    let rules = http::get(address("STACK_PROMETHEUS"), "/api/v1/rules").json();
    let groups = rules["data"]["groups"].as_array().unwrap();
    assert!(!groups.is_empty(), "no rules are loaded");
    for rule in groups.iter().flat_map(|group| group["rules"].as_array().unwrap()) {
        assert_ne!(rule["health"], "err", "{rule:#}");
    }
}

#[test]
fn an_alert_is_found_among_the_lines() {
    let name = unique("Drill");
    let body = json!([{ "labels": { "alertname": name, "severity": "ticket", "service": name },
        "annotations": { "summary": "a drill" } }]);
    let headers: [(&str, &[u8]); 1] = [("Content-Type", b"application/json")];
    let answer = http::send(
        address("STACK_ALERTMANAGER"),
        "POST",
        "/api/v2/alerts",
        &headers,
        &serde_json::to_vec(&body).unwrap(),
    );
    assert_eq!(answer.status, 200, "{}", answer.text());
    let phrase = format!("alert firing: {name}");
    let line = found_once("the alert's line", &json!({ "match_phrase": { "message": phrase } }));
    assert_eq!((&line["alert_status"], &line["level"]), (&json!("firing"), &json!("warn")));
}

#[test]
fn a_line_longer_than_dockers_entries_is_stored_complete() {
    let name = unique("Long");
    let summary = "0123456789".repeat(3 * DOCKER_ENTRY_BYTES / 10);
    let body = json!({ "alerts": [{ "status": "firing", "labels": { "alertname": name },
        "annotations": { "summary": summary } }] });
    let headers: [(&str, &[u8]); 1] = [("Content-Type", b"application/json")];
    let answer =
        http::send(address("STACK_BACKEND"), "POST", "/api/alerts", &headers, &serde_json::to_vec(&body).unwrap());
    assert_eq!(answer.status, 200, "{}", answer.text());
    let phrase = format!("alert firing: {name}");
    let line = found_once("the long line", &json!({ "match_phrase": { "message": phrase } }));
    assert_eq!(line["summary"], summary);
}

#[test]
fn the_shipper_ships_only_the_service_and_its_accounting_holds() {
    let id = unique("accounting-");
    http::get_with(address("STACK_BACKEND"), "/api/projects/accounting/logs", &[("X-Request-Id", id.as_bytes())]);
    found_once("the line to be accounted for", &access_line(&id));
    let scrape = Scrape::of(address("STACK_SHIPPER"));
    let count = |what: &str| scrape.metric(&format!("shipper_lines_{what}_total"), &[]);
    assert!(count("read") > 0.0, "nothing was read");
    assert_eq!((count("dead_lettered"), count("dropped")), (0.0, 0.0));
    let others = json!({ "bool": { "must_not": { "term": { "service": "backend" } } } });
    assert_eq!(engine().count(&others), 0, "{:#?}", engine().search(&others));
}

#[test]
fn grafana_and_kibana_are_provisioned_if_they_run() {
    if let Some(grafana) = optional_address("STACK_GRAFANA") {
        let found = http::get(grafana, "/api/search?type=dash-db").json();
        assert!(found.as_array().is_some_and(|dashboards| !dashboards.is_empty()), "no dashboard: {found}");
    }
    if let Some(kibana) = optional_address("STACK_KIBANA") {
        for object in ["index-pattern/app-logs", "search/one-request", "dashboard/app-logs"] {
            let answer = http::get(kibana, &format!("/api/saved_objects/{object}"));
            assert_eq!(answer.status, 200, "{object}: {}", answer.text());
        }
    }
}
