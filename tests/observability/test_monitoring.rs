//! Rules and dashboard are evaluated by the real Prometheus, which scrapes a running service and shipper. Alerts reach the
//! service's log through the real Alertmanager.

use std::collections::BTreeSet;
use std::time::Duration;

use observability_tests::monitoring::{Addresses, Monitoring};
use observability_tests::program::{Program, executable};
use observability_tests::schema::assert_log_record;
use observability_tests::{http, promql, wait};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::rig::{Backend, fault};
use crate::test_dashboard::{dashboard, expressions, panels};
use crate::test_monitoring_files::rules;
use crate::test_store::TestStore;

/// Maximum time until the slowest rule has data. It is evaluated every 30 s over one minute.
const PATIENCE: Duration = Duration::from_secs(150);

/// Prometheus's own series of alerts, which exist only while an alert is pending or firing.
const ALERTS: &str = "ALERTS";

/// The log explorer and a shipper with an embedded store, both monitored.
struct Stack {
    _backend: Program,
    monitoring: Monitoring,
    _state: TempDir,
    _store: TestStore,
}

impl Stack {
    #[track_caller]
    fn start() -> Self {
        let (addresses, state, store) = (Addresses::free(), tempfile::tempdir().unwrap(), TestStore::embedded());
        let backend = store
            .shipper("exec", &state.path().join("state"))
            .args(["--admin-listen", &addresses.shipper.to_string(), "--"])
            .arg(executable("backend"))
            .env("LISTEN", addresses.backend.to_string())
            .env("STORE", store.target())
            .env("BACKEND_FAULTS", "1")
            .start_healthy(addresses.backend);
        Self { _backend: backend, monitoring: Monitoring::start(addresses), _state: state, _store: store }
    }

    fn get(&self, path: &str) {
        http::get(self.monitoring.addresses.backend, path);
    }

    /// Sends a few requests: successful, failing and slow ones.
    fn traffic(&self) {
        self.get("/api/projects/p-1/logs");
        self.get("/api/requests/demo-1");
        self.get(&fault::status(503));
        self.get(&fault::delay(20));
    }

    /// Sends traffic until an expression has a point other than NaN within the last minutes.
    #[track_caller]
    fn wait_for_data(&self, what: &str, expression: &str) {
        wait::until_within(PATIENCE, &format!("{what} has data: {expression}"), || {
            let points =
                self.monitoring.count_points(expression).unwrap_or_else(|error| panic!("{error}: {expression}"));
            if points == 0 {
                self.traffic();
            }
            (points > 0).then_some(())
        });
    }

    /// The parts of an expression without data: selectors without series, and labels that none of the series has.
    fn faults(&self, expression: &str) -> Vec<String> {
        let parsed = promql::parse(expression);
        let series =
            |selector: &str| self.monitoring.series(selector).unwrap_or_else(|error| panic!("{error}: {selector}"));
        let mut faults = Vec::new();
        for selector in parsed.selectors.iter().filter(|selector| selector.metric != ALERTS) {
            let found = series(&selector.metric);
            let labels: BTreeSet<_> = found.iter().flat_map(|series| series.keys()).collect();
            if found.is_empty() {
                faults.push(format!("{} is in no scrape", selector.metric));
            } else if let Some(label) = selector.labels.iter().find(|label| !labels.contains(label)) {
                faults.push(format!("{} has no label {label}", selector.metric));
            } else if series(&selector.text).is_empty() {
                faults.push(format!("{} finds nothing", selector.text));
            }
        }
        for grouping in &parsed.groupings {
            let has_it = |metric: &String| series(metric).iter().any(|series| series.contains_key(&grouping.label));
            if !grouping.metrics.iter().any(has_it) {
                faults.push(format!("none of {:?} has the label {}", grouping.metrics, grouping.label));
            }
        }
        faults
    }
}

/// An expression with its variables replaced as Grafana does, all values selected.
fn filled_in(expression: &str) -> String {
    let filled = expression.replace("$__rate_interval", "20s");
    let filled = ["service", "project", "shipper"]
        .into_iter()
        .fold(filled, |text, name| text.replace(&format!("\"${name}\""), "\".*\""));
    assert!(!filled.contains("\"$") && !filled.contains("[$"), "unknown variable: {expression}");
    filled
}

#[test]
fn rules_and_panels_use_existing_series_and_return_data() {
    let stack = Stack::start();
    stack.get(fault::PANIC);
    // once the slowest rule has data, all series and other rules do
    stack.wait_for_data("the slowest rule", "service:error_budget:remaining30d");
    let up = stack.monitoring.query("count by (job) (up == 1)").unwrap();
    assert_eq!(up.len(), 4, "each job must have a target that is up: {up:#?}");

    let (rules, dashboard) = (rules(), dashboard());
    let mut faults = BTreeSet::new();
    for panel in panels(&dashboard) {
        for expression in expressions(panel).into_iter().map(filled_in) {
            let found = stack.faults(&expression);
            // do not wait for series that cannot exist
            if found.is_empty() {
                stack.wait_for_data(&panel["title"].to_string(), &expression);
            }
            faults.extend(found.into_iter().map(|fault| format!("panel {}: {fault}", panel["title"])));
        }
    }
    for rule in &rules {
        let name = rule.alert.as_ref().or(rule.record.as_ref()).unwrap();
        faults.extend(stack.faults(&rule.expr).into_iter().map(|fault| format!("{name}: {fault}")));
    }
    for query in choices(&dashboard) {
        faults.extend(stack.faults(&query).into_iter().map(|fault| format!("a variable: {fault}")));
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

/// The queries of the dashboard's variables, as PromQL that groups by the listed label.
fn choices(dashboard: &Value) -> Vec<String> {
    let variables = dashboard["templating"]["list"].as_array().unwrap().iter();
    let definitions = variables.filter_map(|variable| variable["definition"].as_str());
    let as_promql = |definition: &str| {
        let inner = definition.strip_prefix("label_values(").and_then(|query| query.strip_suffix(')')).unwrap();
        let (selector, label) = inner.rsplit_once(", ").unwrap();
        format!("count by ({label}) ({})", filled_in(selector))
    };
    definitions.map(as_promql).collect()
}

#[test]
fn alerts_are_logged_and_a_page_inhibits_the_tickets_of_its_service() {
    let backend = Backend::start(&[]);
    let monitoring = Monitoring::start(Addresses { backend: backend.address, ..Addresses::free() });
    let post = |alerts: &[(&str, &str, &str)]| {
        let alerts = alerts.iter().map(|(name, severity, service)| {
            json!({ "labels": { "alertname": name, "severity": severity, "service": service },
                "annotations": { "summary": format!("{name} of {service}") } })
        });
        let body = Value::Array(alerts.collect()).to_string();
        let headers: [(&str, &[u8]); 1] = [("Content-Type", b"application/json")];
        let answer = http::send(monitoring.addresses.alertmanager, "POST", "/api/v2/alerts", &headers, body.as_bytes());
        assert_eq!(answer.status, 200, "{}", answer.text());
    };
    let line = |summary: &str| {
        wait::until(&format!("the line of {summary}"), || {
            backend.program.lines().into_iter().find(|line| line["summary"] == summary)
        })
    };
    post(&[("Paged", "page", "one")]);
    let found = line("Paged of one");
    assert_log_record(&found);
    let fields = ["level", "alert_name", "severity", "alert_status"].map(|field| found[field].as_str().unwrap());
    assert_eq!(fields, ["warn", "Paged", "page", "firing"]);

    post(&[("Noted", "ticket", "one"), ("Noted", "ticket", "two")]);
    line("Noted of two");
    let held = http::get(monitoring.addresses.alertmanager, "/api/v2/alerts?active=false").json();
    let held: Vec<_> = held.as_array().unwrap().iter().map(|alert| &alert["labels"]["service"]).collect();
    assert_eq!(held, ["one"], "only the ticket of the paged service is inhibited");
    assert!(!backend.program.lines().iter().any(|line| line["summary"] == "Noted of one"));
}
