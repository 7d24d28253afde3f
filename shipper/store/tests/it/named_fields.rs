//! User-named fields in the embedded store: recorded in the file, and active from then on.

use serde_json::{Value, json};
use store::{
    BatchBuilder, BootstrapError, BootstrapMode, BootstrapOutcome, EngineSettings, FieldType, Filter, LineId,
    NamedFields, Scope, Search, Selection, Store,
};

use crate::lines::{TestStore, generation, push, record};
use crate::{reader, target};

fn named(named: &[(&str, FieldType)]) -> NamedFields {
    NamedFields::new(named.iter().map(|(name, kind)| ((*name).to_owned(), *kind))).unwrap()
}

async fn naming(folder: &tempfile::TempDir, fields: &NamedFields) -> (TestStore, BootstrapOutcome) {
    let settings = EngineSettings { fields: Some(fields.clone()), ..EngineSettings::default() };
    let store = TestStore::open(&target(folder), &settings).await.unwrap();
    let report = store.bootstrap(BootstrapMode::Apply).await.unwrap();
    (store, report.template)
}

/// Writes lines with these numbers, each with its number in two members.
async fn write(store: &TestStore, numbers: std::ops::Range<u64>) {
    let mut builder = BatchBuilder::new("x");
    for offset in numbers {
        let mut line = record(1, "a line", None);
        line["o"] = json!({ "count": offset, "note": format!("number {offset} of many") });
        push(&mut builder, LineId { generation: generation(1), offset }, &line.to_string());
    }
    store.write(&builder.finish(0)).await.unwrap();
}

async fn count(store: &Store, query: &str) -> u64 {
    let filter =
        Filter::parse(query, &store.fields().await.unwrap()).unwrap_or_else(|error| panic!("{query}: {error}"));
    let selection = Selection { filter: filter.clone(), ..Selection::default() };
    let accuracy = store.facets(&Scope::All, &selection, &[], 1).await.unwrap().lines;
    let page = store.search(&Scope::All, &Search { limit: 1_000, ..Search::new(filter) }).await.unwrap();
    assert_eq!(page.lines.len() as u64, accuracy.min(1_000), "{query}");
    for line in page.lines {
        assert!(serde_json::from_str::<Value>(line.get()).is_ok());
    }
    accuracy
}

#[tokio::test]
async fn lines_are_found_by_a_field_once_it_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let (store, outcome) = naming(&folder, &NamedFields::default()).await;
    assert_eq!(outcome, BootstrapOutcome::InPlace);
    write(&store, 0..2_500).await;
    let fields = named(&[("o.count", FieldType::Long), ("o.note", FieldType::Text)]);
    let (other, outcome) = naming(&folder, &fields).await;
    assert_eq!((outcome, other.fields().await.unwrap()), (BootstrapOutcome::Updated, fields.clone()));
    // The previous writer notices the change, and a reader learns the fields from the file.
    write(&store, 2_500..5_000).await;
    let reader = reader(&folder).await;
    assert_eq!(reader.fields().await.unwrap(), fields);
    // Of the older lines, only the newest are indexed: those not in a run yet.
    for (query, expected) in [
        ("o.count:*", 5_000 - 2_048),
        ("o.count:2047", 0),
        ("o.count:2048", 1),
        ("o.count:>=4990", 10),
        ("o.count:<2050", 2),
        ("o.note:4000", 1),
        ("o.note:\"number 4000\"", 1),
        ("o.note:\"4000 number\"", 0),
        ("NOT o.count:>=0", 2_048),
        // Phrases are matched against the line, which contains more than the index.
        ("NOT o.count:>=0 \"a line\"", 2_048),
        ("o.count:10 \"a line\"", 0),
    ] {
        assert_eq!(count(&reader, query).await, expected, "{query}");
        assert_eq!(count(&store, query).await, expected, "{query}");
    }
    // Changing the type makes it another field; a removed name is not a field.
    let (store, outcome) = naming(&folder, &named(&[("o.count", FieldType::Keyword)])).await;
    assert_eq!(outcome, BootstrapOutcome::Updated);
    write(&store, 5_000..7_000).await;
    assert_eq!(count(&reader, "o.count:6000").await, 1);
    assert_eq!(count(&reader, "o.count:2600").await, 0);
    assert_eq!(count(&reader, "o.count:*").await, 7_000 - 4_096);
    assert!(Filter::parse("o.note:a", &reader.fields().await.unwrap()).is_err());
}

#[tokio::test]
async fn a_writer_indexes_its_newest_lines_by_newly_named_fields() {
    let folder = tempfile::tempdir().unwrap();
    let settings = EngineSettings { fields: Some(named(&[("o.count", FieldType::Long)])), ..EngineSettings::default() };
    let store = TestStore::open(&target(&folder), &settings).await.unwrap();
    write(&store, 0..100).await;
    assert_eq!(store.bootstrap(BootstrapMode::Apply).await.unwrap().template, BootstrapOutcome::Updated);
    // Enough for a run, which is indexed when it is created.
    write(&store, 100..1_100).await;
    assert_eq!(count(&reader(&folder).await, "o.count:*").await, 1_100);
    assert_eq!(count(&reader(&folder).await, "o.count:7").await, 1);
}

#[tokio::test]
async fn large_runs_keep_user_named_fields() {
    let folder = tempfile::tempdir().unwrap();
    let fields = named(&[("o.count", FieldType::Long), ("o.note", FieldType::Text)]);
    let (store, _) = naming(&folder, &fields).await;
    for part in 0..14 {
        write(&store, part * 5_000..(part + 1) * 5_000).await;
    }
    for (query, expected) in [
        ("o.count:65535..65540", 6),
        ("o.count:*", 70_000),
        ("o.note:12345", 1),
        ("o.count:<0", 0),
        ("o.count:..99", 100),
    ] {
        assert_eq!(count(&store, query).await, expected, "{query}");
    }
}

#[tokio::test]
async fn checking_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let fields = named(&[("o.count", FieldType::Long)]);
    drop(naming(&folder, &fields).await);
    let settings = |fields| EngineSettings { fields, ..EngineSettings::default() };
    for same in [None, Some(fields.clone())] {
        let store = TestStore::open(&target(&folder), &settings(same)).await.unwrap();
        assert_eq!(store.bootstrap(BootstrapMode::Check).await.unwrap().template, BootstrapOutcome::InPlace);
    }
    let store = TestStore::open(&target(&folder), &settings(Some(NamedFields::default()))).await.unwrap();
    let refused = store.bootstrap(BootstrapMode::Check).await;
    assert!(matches!(&refused, Err(BootstrapError::Refused(cause)) if cause.reason.contains("other named fields")));
    assert_eq!(store.fields().await.unwrap(), fields);
    assert_eq!(store.bootstrap(BootstrapMode::Apply).await.unwrap().template, BootstrapOutcome::Updated);
    assert!(store.fields().await.unwrap().is_empty());
}
