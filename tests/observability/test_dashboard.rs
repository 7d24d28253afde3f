//! Checks the dashboard: required properties of panels, variables, and targets of links.

use std::collections::{BTreeMap, BTreeSet};

use observability_tests::monitoring::yaml;
use observability_tests::schema::repository;
use serde_json::Value;

use crate::stack_file::environment;

/// The dashboard.
pub(crate) fn dashboard() -> Value {
    let path = repository().join("infra/grafana/dashboards/observability.json");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    observability_tests::lines::parse(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All panels except rows.
pub(crate) fn panels(dashboard: &Value) -> Vec<&Value> {
    list(&dashboard["panels"]).filter(|panel| panel["type"] != "row").collect()
}

/// The PromQL expressions of a panel.
pub(crate) fn expressions(panel: &Value) -> Vec<&str> {
    list(&panel["targets"]).filter_map(|target| target["expr"].as_str()).collect()
}

/// The variables by name.
fn variables(dashboard: &Value) -> BTreeMap<&str, &Value> {
    list(&dashboard["templating"]["list"]).map(|variable| (variable["name"].as_str().unwrap(), variable)).collect()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// Collects all link URLs at any depth.
fn links<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                if name == "url" {
                    found.extend(value.as_str());
                }
                links(value, found);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| links(value, found)),
        _ => {}
    }
}

/// The violations of the rules for panels.
fn faults(dashboard: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    let mut ids = BTreeSet::new();
    for panel in list(&dashboard["panels"]) {
        let name = format!("{} {}", panel["id"], panel["title"]);
        let mut expect = |holds: bool, what: &str| {
            if !holds {
                faults.push(format!("{name}: {what}"));
            }
        };
        let says = |value: &Value| value.as_str().is_some_and(|text| !text.trim().is_empty());
        expect(panel["id"].as_u64().is_some_and(|id| id > 0 && ids.insert(id)), "the id is missing or a duplicate");
        expect(says(&panel["title"]), "no title");
        if panel["type"] == "row" {
            continue;
        }
        expect(says(&panel["description"]), "no description");
        expect(says(&panel["fieldConfig"]["defaults"]["unit"]), "no unit");
        let (x, w) = (panel["gridPos"]["x"].as_u64(), panel["gridPos"]["w"].as_u64());
        expect(x.zip(w).is_some_and(|(x, w)| w > 0 && x + w <= 24), "beyond the grid's 24 columns");
        expect(list(&panel["targets"]).count() > 0, "has no query");
        for target in list(&panel["targets"]).chain([panel]) {
            let source = &target["datasource"];
            let templated = match source["type"].as_str() {
                Some("prometheus") => source["uid"] == "${datasource}",
                Some("elasticsearch") => source["uid"] == "${logs}",
                _ => false,
            };
            expect(templated, "its data source is not the variable");
        }
        for expression in expressions(panel) {
            let fixed = expression.split('[').skip(1).any(|range| !range.starts_with("$__rate_interval]"));
            expect(!fixed, &format!("a range that is not $__rate_interval: {expression}"));
        }
    }
    faults
}

/// Panels that overlap.
fn overlaps(dashboard: &Value) -> Vec<String> {
    let mut taken = BTreeMap::new();
    let mut overlaps = Vec::new();
    for panel in list(&dashboard["panels"]) {
        let side = |name: &str| panel["gridPos"][name].as_u64().unwrap();
        for x in side("x")..side("x") + side("w") {
            for y in side("y")..side("y") + side("h") {
                if let Some(other) = taken.insert((x, y), &panel["id"]) {
                    overlaps.push(format!("{} overlaps {other}", panel["id"]));
                }
            }
        }
    }
    overlaps.dedup();
    overlaps
}

#[test]
fn every_panel_follows_the_rules() {
    let dashboard = dashboard();
    assert!(panels(&dashboard).len() > 20);
    let faults = faults(&dashboard);
    assert!(faults.is_empty(), "{faults:#?}");
    assert_eq!(overlaps(&dashboard), Vec::<String>::new());
}

#[test]
fn a_panel_that_violates_a_rule_is_detected() {
    let broken = |pointer: &str, value: Value| {
        let mut dashboard = dashboard();
        let index = list(&dashboard["panels"]).position(|panel| panel["type"] == "timeseries").unwrap();
        *dashboard.pointer_mut(&format!("/panels/{index}{pointer}")).unwrap() = value;
        faults(&dashboard).len()
    };
    let first = dashboard()["panels"][0]["id"].clone();
    for (pointer, value) in [
        ("/id", first),
        ("/title", "".into()),
        ("/description", " ".into()),
        ("/fieldConfig/defaults/unit", Value::Null),
        ("/gridPos/x", 20.into()),
        ("/datasource/uid", "prometheus".into()),
        ("/targets/0/datasource/uid", "prometheus".into()),
        ("/targets/0/expr", "rate(request_count[5m])".into()),
    ] {
        assert_eq!(broken(pointer, value), 1, "{pointer}");
    }
}

#[test]
fn data_sources_service_and_project_are_variables() {
    let dashboard = dashboard();
    let variables = variables(&dashboard);
    for (name, query) in [("datasource", "prometheus"), ("logs", "elasticsearch")] {
        assert_eq!((&variables[name]["type"], &variables[name]["query"]), (&"datasource".into(), &query.into()));
    }
    for name in ["service", "project"] {
        let variable = variables[name];
        assert_eq!(
            (&variable["type"], &variable["multi"], &variable["includeAll"]),
            (&"query".into(), &true.into(), &true.into())
        );
        let used =
            panels(&dashboard).into_iter().flat_map(expressions).any(|text| text.contains(&format!("=~\"${name}\"")));
        assert!(used, "no panel uses ${name}");
    }
    assert_eq!(dashboard["uid"], "observability");
    assert!(dashboard["schemaVersion"].as_u64().is_some_and(|version| (36..=41).contains(&version)));
}

#[test]
fn links_lead_to_the_logs_of_a_request_or_a_time_range_without_a_fixed_host() {
    let dashboard = dashboard();
    let mut urls = Vec::new();
    links(&dashboard, &mut urls);
    for url in &urls {
        assert!(url.starts_with("${kibana_url}/app/discover#/") || url.starts_with("${backend_url}/api/"), "{url}");
    }
    let leads = |start: &str, part: &str| urls.iter().any(|url| url.starts_with(start) && url.contains(part));
    for start in ["${kibana_url}", "${backend_url}"] {
        assert!(leads(start, "${request_id:percentencode}"), "{start}: no link to a request");
        assert!(leads(start, "${__from:date:iso}"), "{start}: no link to a time range");
    }
    let variables = variables(&dashboard);
    assert_eq!(variables["kibana_url"]["query"], "http://127.0.0.1:5601");
    assert_eq!(variables["backend_url"]["query"], "http://127.0.0.1:8000");
}

#[test]
fn grafana_is_provisioned_with_what_the_dashboard_uses() {
    let grafana = repository().join("infra/grafana");
    let given: Value = yaml(&grafana.join("provisioning/datasources/observability.yml"));
    let source = |kind: &str| list(&given["datasources"]).find(|source| source["type"] == kind).unwrap();
    let dashboard = dashboard();
    let variables = variables(&dashboard);
    for (variable, kind) in [("datasource", "prometheus"), ("logs", "elasticsearch")] {
        assert_eq!(variables[variable]["current"]["value"], source(kind)["uid"], "{variable}");
    }
    let config: Value = yaml(&repository().join("infra/prometheus/prometheus.yml"));
    assert_eq!(source("prometheus")["jsonData"]["timeInterval"], config["global"]["scrape_interval"]);
    for kind in ["prometheus", "alertmanager"] {
        let targets: Value = yaml(&repository().join(format!("infra/prometheus/targets/compose/{kind}.yml")));
        assert_eq!(source(kind)["url"], format!("http://{}", targets[0]["targets"][0].as_str().unwrap()));
    }
    assert_eq!(source("elasticsearch")["jsonData"]["index"], "app-logs-*");
    let mut links = Vec::new();
    for link in list(&source("elasticsearch")["jsonData"]["dataLinks"]) {
        assert_eq!(link["field"], "^request_id$$");
        let (variable, path) = link["url"].as_str().unwrap().split_once('/').unwrap();
        let variable = variable.strip_prefix('$').unwrap();
        assert!(environment("grafana").contains_key(variable), "Grafana has no {variable}");
        assert!(path.contains("$${__value.raw:percentencode}") && !path.contains(' '), "{path}");
        links.push((variable, path.split(['?', '$']).next().unwrap()));
    }
    assert_eq!(links, [("BACKEND_URL", "api/requests/"), ("KIBANA_URL", "app/discover#/view/one-request")]);
    let providers: Value = yaml(&grafana.join("provisioning/dashboards/observability.yml"));
    assert_eq!(providers["providers"][0]["options"]["path"], "/var/lib/grafana/dashboards");
}
