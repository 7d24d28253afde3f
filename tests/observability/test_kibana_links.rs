//! Links into Kibana work in later versions, too. There, a link with a part of Discover's state discards the rest of the
//! saved search, so each link includes columns, data view and order.

use serde_json::Value;

use crate::stack_file::text;

/// Columns and order of a saved search in the notation of links.
fn state_of(search: &str) -> (String, String) {
    let objects = text("infra/kibana/observability.ndjson");
    let found = objects.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let attributes =
        found.into_iter().find(|object| object["type"] == "search" && object["id"] == search).unwrap()["attributes"]
            .take();
    let names = |list: &Value| {
        let names: Vec<_> = list.as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
        format!("!({})", names.join(","))
    };
    let sort: Vec<_> = attributes["sort"].as_array().unwrap().iter().map(names).collect();
    (format!("columns:{}", names(&attributes["columns"])), format!("sort:!({})", sort.join(",")))
}

#[test]
fn every_link_includes_the_columns_data_view_and_order_of_its_search() {
    let mut links = 0;
    for file in [
        "backend/src/links.rs",
        "infra/grafana/dashboards/observability.json",
        "infra/grafana/provisioning/datasources/observability.yml",
        "infra/kibana/README.md",
    ] {
        let mut whole = text(file);
        // a constant's text with continued lines
        if let Some((_, rest)) = whole.split_once("const SEARCH: &str = \"") {
            let state = rest.split('"').next().unwrap().to_owned();
            whole = whole.replace("{SEARCH}", &state);
        }
        let whole: String = whole.split("\\\n").map(str::trim_start).collect();
        for (at, _) in whole.match_indices("_a=(") {
            let link = whole[at..].lines().next().unwrap();
            let before = whole[..at].rsplit_once("#/").unwrap().1;
            let (columns, sort) =
                state_of(if before.starts_with("view/one-request") { "one-request" } else { "errors" });
            for part in [&*columns, "index:app-logs", &*sort] {
                assert!(link.contains(part), "{file}: no {part} in {link}");
            }
            links += 1;
        }
    }
    assert!(links >= 12, "only {links} links were found");
}

#[test]
fn saved_objects_have_the_version_that_8_8_and_later_migrate_from() {
    for line in text("infra/kibana/observability.ndjson").lines() {
        assert_eq!(serde_json::from_str::<Value>(line).unwrap()["coreMigrationVersion"], "8.7.0", "{line}");
    }
}
