//! Files that exist once and are linked from `specs/`.

use observability_tests::schema::repository;

#[test]
fn links_under_specs_resolve_to_the_only_copy_of_each_file() {
    let specs = repository().join("specs/003-improve-observability-prometheus");
    for (link, file) in [
        ("elasticsearch/ingest-pipeline.json", "infra/elasticsearch/ingest-pipeline.json"),
        ("elasticsearch/index-template.json", "infra/elasticsearch/index-template.json"),
        ("prometheus/prometheus.yml", "infra/prometheus/prometheus.yml"),
        ("grafana/observability.json", "infra/grafana/dashboards/observability.json"),
        ("quickstart.md", "docs/quickstart.md"),
    ] {
        let link = specs.join(link);
        let target = std::fs::read_link(&link).unwrap_or_else(|error| panic!("{}: {error}", link.display()));
        assert!(target.is_relative(), "{} leads to {}", link.display(), target.display());
        let resolved = link.canonicalize().unwrap_or_else(|error| panic!("{}: {error}", link.display()));
        assert_eq!(resolved, repository().join(file).canonicalize().unwrap());
        if file.ends_with(".json") {
            let text = std::fs::read_to_string(resolved).unwrap();
            assert!(serde_json::from_str::<serde_json::Value>(&text).unwrap().is_object());
        }
    }
}
