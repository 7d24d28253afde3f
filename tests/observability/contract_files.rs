//! The files that exist once and are reached by more than one path.

use observability_tests::schema::repository;

#[test]
fn specs_lead_to_the_one_copy_of_each_engine_file() {
    let specs = repository().join("specs/003-improve-observability-prometheus/elasticsearch");
    for name in ["ingest-pipeline.json", "index-template.json"] {
        let link = specs.join(name);
        let target = std::fs::read_link(&link).unwrap_or_else(|error| panic!("{}: {error}", link.display()));
        assert!(target.is_relative(), "{} leads to {}", link.display(), target.display());
        let resolved = link.canonicalize().unwrap_or_else(|error| panic!("{}: {error}", link.display()));
        assert_eq!(resolved, repository().join("infra/elasticsearch").join(name).canonicalize().unwrap());
        let text = std::fs::read_to_string(resolved).unwrap();
        assert!(serde_json::from_str::<serde_json::Value>(&text).unwrap().is_object());
    }
}
