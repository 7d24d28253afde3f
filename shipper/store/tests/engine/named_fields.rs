//! User-named fields: added to template and pipeline, removed again, and never a reason to reject a line.

use reqwest::Method;
use serde_json::{Value, json};
use store::{
    BootstrapError, BootstrapMode, BootstrapOutcome, Disposition, FieldType, Filter, Finding, NamedFields, Scope,
    Search, Store,
};

use crate::lines::{TestStore, all_stored, batch, documents, generation, record};
use crate::queries::fields;
use crate::rig::Rig;

fn named(named: &[(&str, FieldType)]) -> NamedFields {
    NamedFields::new(named.iter().map(|(name, kind)| ((*name).to_owned(), *kind))).unwrap()
}

/// Returns the offsets of the matching lines, in thousands.
async fn found(store: &Store, query: &str) -> Vec<u64> {
    let fields = store.fields().await.unwrap();
    let filter = Filter::parse(query, &fields).unwrap_or_else(|error| panic!("{query}: {error}"));
    let page = store.search(&Scope::All, &Search { limit: 1_000, ..Search::new(filter) }).await.unwrap();
    let offset = |line: &Value| line["origin"]["offset"].as_u64().unwrap() / 1_000;
    let mut offsets: Vec<_> = documents(&page).iter().map(offset).collect();
    offsets.sort_unstable();
    offsets
}

async fn changed_fields_are_put_in_place(mut rig: Rig) {
    let (count, tag) = (named(&[("o.count", FieldType::Long)]), named(&[("tag", FieldType::Keyword)]));
    rig.naming(&count).ready_store().await;
    let with_pipeline =
        if rig.settings.pipeline.is_some() { BootstrapOutcome::InPlace } else { BootstrapOutcome::NotUsed };
    for mode in [BootstrapMode::Apply, BootstrapMode::Check] {
        let report = rig.store().await.bootstrap(mode).await.unwrap();
        assert_eq!((report.pipeline, report.template), (with_pipeline, BootstrapOutcome::InPlace));
    }
    // Settings without fields keep the existing ones; checking reports different ones.
    rig.settings.fields = None;
    let store = rig.ready_store().await;
    assert_eq!(store.fields().await.unwrap(), count);
    let other = rig.naming(&tag).store().await;
    let refused = other.bootstrap(BootstrapMode::Check).await;
    let Err(BootstrapError::Refused(cause)) = refused else { panic!("{refused:?}") };
    assert!(cause.reason.contains("has other named fields"), "{cause}");
    assert_eq!(other.bootstrap(BootstrapMode::Apply).await.unwrap().template, BootstrapOutcome::Updated);
    let report = other.preflight().await.unwrap();
    assert_eq!(report.template_in_force, Finding::Proven);
    assert_eq!(rig.store().await.fields().await.unwrap(), tag);
    if let Some(pipeline) = &rig.settings.pipeline {
        let (_, there) = rig.request(Method::GET, &format!("_ingest/pipeline/{pipeline}"), None).await;
        let names = &there[pipeline]["processors"][0]["script"]["params"]["fields"];
        assert_eq!(*names, json!(["o.count", "tag"]), "indices of before keep their mapping");
    }
    // Another template of this program would take precedence.
    let path = format!("_index_template/{}", rig.settings.index_prefix);
    let (_, there) = rig.request(Method::GET, &path, None).await;
    let mut longer = there["index_templates"][0]["index_template"].clone();
    longer["priority"] = json!(300);
    longer["template"]["mappings"]["_meta"]["fields"] = json!([]);
    rig.request(Method::PUT, &format!("{path}-longer"), Some(longer)).await;
    let refused = rig.store().await.preflight().await;
    let Err(BootstrapError::Refused(cause)) = refused else { panic!("{refused:?}") };
    assert!(cause.reason.contains("would get the named fields of another template"), "{cause}");
    rig.request(Method::DELETE, &format!("{path}-longer"), None).await;
    // An empty set is a different set as well.
    rig.naming(&NamedFields::default()).ready_store().await;
    assert!(rig.store().await.fields().await.unwrap().is_empty());
    rig.clean().await;
}

#[tokio::test]
async fn changed_fields_are_put_in_place_with_processors() {
    changed_fields_are_put_in_place(Rig::full("named")).await;
}

#[tokio::test]
async fn changed_fields_are_put_in_place_without_processors() {
    changed_fields_are_put_in_place(Rig::bare("named")).await;
}

#[tokio::test]
async fn the_fields_of_a_newer_template_are_kept() {
    let mut rig = Rig::full("namednewer");
    rig.naming(&fields()).ready_store().await;
    let path = format!("_index_template/{}", rig.settings.index_prefix);
    let (_, there) = rig.request(Method::GET, &path, None).await;
    let mut newer = there["index_templates"][0]["index_template"].clone();
    newer["version"] = json!(1_000);
    rig.request(Method::PUT, &path, Some(newer)).await;
    rig.ready_store().await;
    let refused = rig.naming(&NamedFields::default()).store().await.bootstrap(BootstrapMode::Apply).await;
    let Err(BootstrapError::Refused(cause)) = refused else { panic!("{refused:?}") };
    assert!(cause.reason.contains("newer version of this program and has other named fields"), "{cause}");
    rig.clean().await;
}

/// Returns a record with additional members.
fn with(members: &Value) -> Value {
    let mut line = record(0, "a line", None);
    line.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    line
}

/// Values of other types than their fields', but no objects.
fn mistyped() -> Vec<Value> {
    let values =
        [json!("x"), json!(""), json!(7), json!(7.5), json!(true), json!(null), json!([]), json!([["x", 7], null])];
    let all = |value: &Value| {
        with(&json!({
            "tag": value, "note": value, "flag": value, "o.count": value, "o.ratio": value, "o": { "in.when": value },
        }))
    };
    values.iter().map(all).collect()
}

async fn mistyped_values_are_stored(mut rig: Rig) {
    let store = rig.naming(&fields()).ready_store().await;
    let lines = mistyped();
    let written = store.write(&batch(&rig.settings.index_prefix, generation(1), &lines)).await.unwrap();
    assert_eq!(written, all_stored(lines.len()));
    rig.refresh().await;
    for (query, expected) in [
        ("tag:x", &[0, 7][..]),
        ("note:x", &[0, 7]),
        ("flag:true", &[4]),
        ("flag:*", &[4]),
        ("o.count:7", &[2, 3, 7]),
        ("o.ratio:7.5", &[3]),
        ("o.in.when:*", &[]),
    ] {
        assert_eq!(found(&store, query).await, expected, "{query}");
    }
    rig.clean().await;
}

#[tokio::test]
async fn values_of_another_type_are_stored_with_processors() {
    mistyped_values_are_stored(Rig::full("mistyped")).await;
}

#[tokio::test]
async fn values_of_another_type_are_stored_without_processors() {
    mistyped_values_are_stored(Rig::bare("mistyped")).await;
}

/// Lines with objects in place of values, and the reverse.
fn misfits() -> Vec<Value> {
    [
        json!({ "tag": { "a": 1 } }),
        json!({ "tag": ["a", { "a": 1 }] }),
        json!({ "tag.a": 1, "tag": "a" }),
        json!({ "note": { "a": "b" }, "tag": "a" }),
        json!({ "flag": { "a": true } }),
        json!({ "o": 7 }),
        json!({ "o": "x", "o.count": 7 }),
        json!({ "o": [{ "count": 7 }, 8] }),
        json!({ "o": [{ "count": 7 }, { "count": { "x": 1 } }, null, [{ "ratio": { "y": 1 } }]] }),
        json!({ "o": { "count": { "x": 1 }, "ratio": 0.5 } }),
        json!({ "o": { "count": 7, "in": "x" } }),
        json!({ "o": { "in": { "when": { "x": 1 } }, "in.when.x": 1, "count": 7 } }),
        json!({ "o.count.x": 1 }),
        json!({ "o.in": 7 }),
        json!({ "o": { "in": [[{ "when": "2026-11-23" }], null] }, "o.in": [{ "when": 1 }] }),
        json!({ "timestamp": "x", "o": 7, "tag": { "a": 1 } }),
    ]
    .iter()
    .map(with)
    .collect()
}

#[tokio::test]
async fn values_that_do_not_fit_a_field_are_set_aside_and_not_found() {
    let mut rig = Rig::full("misfits");
    let lines = misfits();
    let batch = batch(&rig.settings.index_prefix, generation(1), &lines);
    let engine = rig.naming(&fields()).ready_store().await;
    let written = engine.write(&batch).await.unwrap();
    assert_eq!(written, vec![Disposition::Stored; lines.len()]);
    let folder = tempfile::tempdir().unwrap();
    let target = store::Target::Sqlite(folder.path().join("logs.db"));
    let embedded = TestStore::open(&target, &rig.settings).await.unwrap();
    embedded.bootstrap(BootstrapMode::Apply).await.unwrap();
    embedded.write(&batch).await.unwrap();
    rig.refresh().await;
    for (query, expected) in [
        ("tag:*", &[2, 3][..]),
        ("note:*", &[]),
        ("flag:*", &[]),
        ("o.count:*", &[6, 8, 10, 11]),
        ("o.count:7", &[6, 8, 10, 11]),
        ("o.ratio:*", &[9]),
        ("o.in.when:*", &[14]),
        ("NOT o.count:* level:info", &[0, 1, 2, 3, 4, 5, 7, 9, 12, 13, 14, 15]),
    ] {
        assert_eq!(found(&engine, query).await, expected, "engine: {query}");
        assert_eq!(found(&embedded, query).await, expected, "embedded: {query}");
    }
    // Nothing of a line is lost.
    let page = engine.search(&Scope::All, &Search { limit: 100, ..Search::default() }).await.unwrap();
    for line in documents(&page) {
        let place = usize::try_from(line["origin"]["offset"].as_u64().unwrap() / 1_000).unwrap();
        // One line has a value of another type, and nothing that does not fit.
        assert_eq!(line["origin"]["replaced"].is_object(), place != 14, "{line}");
        assert!(line["origin"].get("pipeline_error").is_none(), "{line}");
        if place == 9 {
            assert_eq!(line["o"], json!({ "ratio": 0.5 }));
            assert_eq!(line["origin"]["replaced"], json!({ "o.count": { "x": 1 } }));
        }
    }
    rig.clean().await;
}

#[tokio::test]
async fn a_field_of_two_types_is_found_in_indices_of_its_type() {
    for mut rig in [Rig::full("twotypes"), Rig::bare("twotypes")] {
        let of_day = |day: u32, value: Value| {
            let mut line = with(&json!({ "o": { "id": value } }));
            line["timestamp"] = json!(format!("2026-11-{day}T12:00:00.000Z"));
            line
        };
        let write = async |rig: &Rig, day: u32, value: Value| {
            let mut builder = store::BatchBuilder::new(&rig.settings.index_prefix);
            let id = store::LineId { generation: generation(1), offset: u64::from(day) * 1_000 };
            let mut line = of_day(day, value);
            line["origin"] = json!({ "generation": id.generation.as_str(), "offset": id.offset, "length": 1_000 });
            let time = store::Timestamp::parse(line["timestamp"].as_str().unwrap().as_bytes()).unwrap();
            builder.push(id, 1_000, time.day(), |body| body.extend_from_slice(line.to_string().as_bytes()));
            assert_eq!(rig.store().await.write(&builder.finish(0)).await.unwrap(), all_stored(1));
        };
        rig.naming(&named(&[("o.id", FieldType::Long)])).ready_store().await;
        write(&rig, 23, json!(7)).await;
        let store = rig.naming(&named(&[("o.id", FieldType::Keyword)])).ready_store().await;
        // Named, but not in any index yet.
        assert!(found(&store, "o.id:A-7").await.is_empty());
        write(&rig, 24, json!("A-7")).await;
        rig.refresh().await;
        let store = rig.store().await;
        assert_eq!(found(&store, "o.id:A-7").await, [24]);
        assert_eq!(found(&store, "NOT o.id:A-7").await, [23]);
        rig.clean().await;
    }
}
