//! The same parameters sent to every route that finds or counts lines select the same lines, or give the same error.

use std::collections::BTreeSet;

use observability_tests::documents::Document;
use observability_tests::schema::repository;
use serde_json::Value;

use crate::rig::Backend;
use crate::site::Site;
use crate::test_tail::Tail;

/// The project of the lines of a [`Site`].
const PROJECT_LOGS: &str = "/api/projects/shop/logs";

/// Routes of the API that find or count lines, except the live tail.
const API: [&str; 6] = ["/api/logs", PROJECT_LOGS, "/api/facets", "/api/histogram", "/api/stats", "/api/patterns"];

/// The cursor of a live tail before all lines of an embedded store.
const START: &str = "r0";

/// Offsets of the lines of an answer.
fn offsets(answer: &Value) -> BTreeSet<u64> {
    let lines = answer["lines"].as_array().unwrap_or_else(|| panic!("{answer}"));
    assert!(answer["next"].is_null(), "{answer}");
    lines.iter().map(|line| line["origin"]["offset"].as_u64().unwrap()).collect()
}

/// Offsets of the lines that a live tail sends first.
fn tail_offsets(site: &Site, parameters: &str) -> BTreeSet<u64> {
    let mut tail = Tail::open(site.address, &format!("/api/tail?cursor={START}&{parameters}"), &[]);
    assert_eq!(tail.status, 200, "{parameters}");
    let event = tail.next().unwrap();
    match event.name.as_str() {
        "lines" => {
            let lines: Vec<Value> = serde_json::from_str(&event.data).unwrap();
            lines.iter().map(|line| line["offset"].as_u64().unwrap()).collect()
        }
        "cursor" => BTreeSet::new(),
        other => panic!("{parameters}: {other}"),
    }
}

fn page_offsets(page: &str) -> BTreeSet<u64> {
    let attributes = page.split("data-offset=\"").skip(1).filter_map(|rest| rest.split('"').next());
    attributes.map(|offset| offset.parse().unwrap()).collect()
}

/// The parameters select the same lines on all routes but the live tail; returns their offsets.
fn check_lines(site: &Site, parameters: &str) -> BTreeSet<u64> {
    let get = |route: &str| {
        let limit = if route.ends_with("/logs") { "&limit=1000" } else { "" };
        let answer = site.get(&format!("{route}?{parameters}{limit}"));
        assert_eq!(answer.status, 200, "{route} {parameters}: {}", answer.text());
        answer
    };
    let logs = get("/api/logs").json();
    let expected = offsets(&logs);
    let count = expected.len() as u64;
    assert_eq!(offsets(&get(PROJECT_LOGS).json()), expected, "{parameters}");
    assert_eq!(get("/api/facets").json()["lines"], count, "{parameters}");
    let sum = |list: &Value| list.as_array().unwrap().iter().map(|part| part["lines"].as_u64().unwrap()).sum::<u64>();
    assert_eq!(sum(&get("/api/histogram").json()["buckets"]), count, "{parameters}");
    assert_eq!(sum(&get("/api/patterns").json()["patterns"]), count, "{parameters}");
    let access_lines = logs["lines"].as_array().unwrap().iter().filter(|line| line["target"] == "access").count();
    assert_eq!(get("/api/stats").json()["total"]["count"], access_lines, "{parameters}");
    let page = get("/search");
    assert_eq!(page_offsets(page.text()), expected, "{parameters}");
    expected
}

#[test]
fn every_route_finds_the_same_lines() {
    let site = Site::start();
    let endpoint = "endpoint=%2Forders%2F%7Bid%7D";
    let all = check_lines(&site, "").len();
    for (parameters, expected) in [
        ("", Some(all)),
        ("query=", Some(all)),
        ("query=payment", None),
        ("query=payment+OR+card+-refused", None),
        ("query=%22card+refused%22", Some(2)),
        ("query=level%3A%3E%3Dwarn", Some(2)),
        ("level=error", Some(2)),
        ("level=info,error", Some(all)),
        ("level=%3E%3Dwarn", Some(2)),
        ("level=%3E%3Dtrace&service=shop", Some(all)),
        ("service=nobody", Some(0)),
        ("project=shop&status=500", Some(2)),
        ("project=nobody", Some(0)),
        (endpoint, Some(23)),
        ("status=5xx", Some(2)),
        ("status=200..299", Some(21)),
        ("status=%3E%3D500&query=request", Some(2)),
    ] {
        let found = check_lines(&site, parameters);
        assert!(expected.map_or(!found.is_empty(), |expected| found.len() == expected), "{parameters}: {found:?}");
        assert_eq!(tail_offsets(&site, parameters), found, "{parameters}");
        assert_eq!(site.get(&format!("/tail?{parameters}")).status, 200, "{parameters}");
    }
    for (parameters, expected) in [
        ("last=1h&level=error", 2),
        ("last=all", all),
        ("from=2020-01-01", all),
        ("to=2020-01-01", 0),
        ("from=2020-01-01&to=2020-01-01T10:00", 0),
        ("last=15m&from=2020-01-01", all),
    ] {
        assert_eq!(check_lines(&site, parameters).len(), expected, "{parameters}");
    }
}

fn unescaped(page: &str) -> String {
    [("&#34;", "\""), ("&#39;", "'"), ("&#60;", "<"), ("&#62;", ">"), ("&#38;", "&")]
        .into_iter()
        .fold(page.to_owned(), |page, (escaped, character)| page.replace(escaped, character))
}

/// Each of these routes rejects the parameters with 400 and an error that starts alike.
fn check_error(backend: &Backend, routes: &[&str], parameters: &str, expected: &str) {
    let shown: String = parameters.chars().take(60).collect();
    for route in routes {
        let is_page = !route.starts_with("/api/");
        let accept = if is_page { "text/html" } else { "*/*" };
        let answer = backend.get_with(&format!("{route}?{parameters}"), &[("Accept", accept)]);
        assert_eq!(answer.status, 400, "{route} {shown}: {}", answer.text());
        let is_reported = if is_page {
            unescaped(answer.text()).contains(expected)
        } else {
            answer.json()["detail"].as_str().unwrap().starts_with(expected)
        };
        assert!(is_reported, "{route} {shown}: {}", answer.text());
    }
}

#[test]
fn every_route_rejects_invalid_parameters_alike() {
    let backend = Backend::start(&[]);
    let with_time = [&API[..], &["/search"]].concat();
    let all = [&with_time[..], &["/api/tail", "/tail"]].concat();
    let long = "a".repeat(4_097);
    for (parameters, expected) in [
        ("query=%28", "invalid query at column 2: "),
        ("query=a+AND", "invalid query at column 6: "),
        ("query=a+colour%3Ared", "invalid query at column 3: `colour` is not a field"),
        ("level=loud", "invalid level: expected one of trace, debug, info, warn, error"),
        ("level=warn%2B", "invalid level: expected one of"),
        ("status=teapot", "invalid status: expected 404, 5xx"),
        ("status=5xx+OR+%2A", "invalid status: expected"),
        (&format!("query={long}"), "parameter `query` is longer than 4096 bytes"),
        (&format!("service={long}"), "parameter `service` is longer than 4096 bytes"),
        ("level=warn&level=error", "duplicate parameter `level`"),
        ("colour=red", "unknown parameter `colour`; this route takes `query`, `level`"),
        ("q=a", "unknown parameter `q`; this route takes `query`, `level`"),
    ] {
        check_error(&backend, &all, parameters, expected);
    }
    for (parameters, expected) in [
        ("from=soon", "invalid time in \"from\" at column 1: expected a year"),
        ("to=2026-02-30", "invalid time in \"to\" at column 9: expected a day of that month"),
        ("from=2026-11-24&to=2026-11-23", "invalid time range 2026-11-24T00:00:00.000000Z to"),
        ("last=2y", "invalid last: expected 15m, 1h, 6h, 24h, 7d, 30d or all"),
    ] {
        check_error(&backend, &with_time, parameters, expected);
        let name = parameters.split('=').next().unwrap();
        check_error(&backend, &["/api/tail", "/tail"], parameters, &format!("unknown parameter `{name}`"));
    }
}

#[test]
fn the_documented_parameters_are_those_that_every_route_takes() {
    let text = std::fs::read_to_string(repository().join("docs/search.md")).unwrap();
    let section = text.find("\n## Parameters\n").map(|start| &text[start..]).unwrap();
    let documented: BTreeSet<_> = Document::parse(section)
        .unwrap()
        .table("Parameters")
        .iter()
        .map(|row| row[0].trim_matches('`').to_owned())
        .collect();
    let description = Backend::start(&[]).get("/api/openapi.json").json();
    let described = |route: &str| -> BTreeSet<String> {
        let parameters = description["paths"][route]["get"]["parameters"].as_array().unwrap();
        let in_query = parameters.iter().filter(|parameter| parameter["in"] == "query");
        in_query.map(|parameter| parameter["name"].as_str().unwrap().to_owned()).collect()
    };
    for route in API {
        let names = described(&route.replace("shop", "{project_id}"));
        assert!(names.is_superset(&documented), "{route}: {names:?}");
    }
    let without_time: BTreeSet<_> =
        documented.iter().filter(|name| !["from", "to", "last"].contains(&name.as_str())).cloned().collect();
    assert!(described("/api/tail").is_superset(&without_time));
    let common = API.iter().map(|route| described(&route.replace("shop", "{project_id}")));
    assert_eq!(common.reduce(|all, names| &all & &names).unwrap(), documented);
}
