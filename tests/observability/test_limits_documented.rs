//! Each documented limit names where it is seen, and that exists.

use std::collections::BTreeSet;

use observability_tests::documents::Document;
use observability_tests::schema::repository;

use crate::rig::Backend;
use crate::test_documents::read;
use crate::test_documents_links::documents;
use crate::test_monitoring_files::rules;

const SNAPSHOT: &str = "shipper/src/snapshots/shipper__metrics__tests__every_metric_exists_from_the_start.snap";
const CONTRACT: &str = "specs/003-improve-observability-prometheus/contracts/metrics.md";

/// What stands between backticks.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The metrics that a row names, such as `shipper_files_total{event="vanished"}`.
fn metrics(text: &str) -> Vec<String> {
    let (mut found, mut name) = (Vec::new(), String::new());
    for code in code(text) {
        // More labels of the metric before: `{event="…"}`.
        let (before, labels) = code.find('{').map_or((code, ""), |start| code.split_at(start));
        let is_label = before.is_empty() || before.contains('=');
        if !is_label {
            before.clone_into(&mut name);
        }
        found.push(if is_label {
            format!("{name}{{{}}}", code.trim_matches(['{', '}']))
        } else {
            name.clone() + labels
        });
    }
    found
}

/// Why a row is wrong; nothing where it says where its limit is seen.
fn faults(seen: &str, alerts: &BTreeSet<String>, is_metric: impl Fn(&str) -> bool) -> Vec<String> {
    let named = metrics(seen);
    let mut faults: Vec<_> = named.iter().filter(|metric| !is_metric(metric)).cloned().collect();
    if named.is_empty() {
        faults.push("no metric".to_owned());
    }
    let of_alerts = seen.split_once("alert").map_or("", |(_, alerts)| alerts);
    let words = of_alerts.split(|character: char| !character.is_ascii_alphanumeric());
    let of_alerts = words.filter(|word| word.starts_with(|character: char| character.is_ascii_uppercase()));
    faults.extend(of_alerts.filter(|word| !alerts.contains(*word)).map(str::to_owned));
    faults
}

#[test]
fn each_documented_limit_has_a_metric_and_its_alerts_exist() {
    let alerts: BTreeSet<_> = rules().into_iter().filter_map(|rule| rule.alert).collect();
    let snapshot = std::fs::read_to_string(repository().join(SNAPSHOT)).unwrap();
    let of_services: BTreeSet<_> = ["Of a service with `observability`", "Of the log explorer"]
        .iter()
        .flat_map(|heading| read(CONTRACT).table(heading))
        .map(|row| row[0].trim_matches('`').to_owned())
        .collect();
    // A metric of the shipper, with all labels that it is given, is in its exposition.
    let is_metric = |metric: &str| {
        let is_sample = |line: &str| line.strip_prefix(metric).is_some_and(|rest| rest.starts_with([' ', '{']));
        of_services.contains(metric) || snapshot.lines().any(is_sample)
    };
    let rows = read("docs/limits.md").table("Lines, files and stores");
    assert!(rows.len() > 10, "{rows:?}");
    let of_readme = read("README.md").table("What the shipper guarantees");
    assert_eq!(of_readme.len(), 3, "{of_readme:?}");
    for row in rows.iter().chain(&of_readme) {
        assert_eq!(faults(&row[1], &alerts, is_metric), [""; 0], "{row:?}");
    }
    for (seen, fault) in [
        ("the file's size; alert ShipperFilesLost", "no metric"),
        ("`shipper_lines_nowhere_total`", "shipper_lines_nowhere_total"),
        ("`shipper_files_total{event=\"vanished\"}` and `{event=\"none\"}`", "shipper_files_total{event=\"none\"}"),
        ("`shipper_files_unread{reason=\"none\"}`", "shipper_files_unread{reason=\"none\"}"),
        ("`label_sets_folded_total`; alert NoSuchAlert", "NoSuchAlert"),
    ] {
        assert_eq!(faults(seen, &alerts, is_metric), [fault]);
    }
}

/// Metrics of the shipper that the code in a document names.
fn metrics_of_the_shipper(document: &Document) -> BTreeSet<String> {
    let is_separator = |character: char| !character.is_ascii_alphanumeric() && character != '_';
    let words = document
        .code()
        .into_iter()
        .flat_map(|(_, code)| code.split(is_separator).map(str::to_owned).collect::<Vec<_>>());
    words.filter(|word| word.starts_with("shipper_")).collect()
}

#[test]
fn documents_name_only_metrics_of_the_shipper_that_exist() {
    // Not the snapshot: metrics by host are absent without a host.
    let definitions = std::fs::read_to_string(repository().join("shipper/src/metrics.rs")).unwrap();
    let exists = |metric: &str| definitions.contains(&format!("\"{metric}\""));
    let mut named = 0;
    for path in documents().into_iter().filter(|path| path != "CHANGELOG.md") {
        let metrics = metrics_of_the_shipper(&read(&path));
        named += metrics.len();
        let missing: Vec<_> = metrics.iter().filter(|metric| !exists(metric)).collect();
        assert!(missing.is_empty(), "{path} names {missing:?}");
    }
    assert!(named > 50, "only {named} metrics are named");
    assert!(!exists("shipper_lines_nowhere_total"));
}

#[test]
fn each_limit_of_callers_is_documented_and_counted_and_the_alert_knows_those_that_refuse() {
    let text = std::fs::read_to_string(repository().join("docs/access.md")).unwrap();
    let limits = text.find("\n## Limits\n").map(|start| &text[start..]).unwrap();
    let documented = Document::parse(limits).unwrap().table("Limits");
    let name = |row: &Vec<String>| row[0].trim_matches('`').to_owned();
    let scrape = Backend::start(&[]).scrape();
    let counted = scrape.label_values("limits_reached_total", "limit").into_iter().map(str::to_owned);
    assert_eq!(documented.iter().map(name).collect::<BTreeSet<_>>(), counted.collect());
    let alert = rules().into_iter().find(|rule| rule.alert.as_deref() == Some("LimitsReached")).unwrap();
    let of_alert = alert.expr.split('"').nth(1).unwrap();
    let refusing = |row: &&Vec<String>| {
        ["503", "429"].iter().any(|status| row[2].contains(status)) || name(row) == "connection_refused"
    };
    let refusing: BTreeSet<_> = documented.iter().filter(refusing).map(name).collect();
    assert_eq!(of_alert.split('|').map(str::to_owned).collect::<BTreeSet<_>>(), refusing);
}
