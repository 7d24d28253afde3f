//! The ingest pipeline and the embedded store bring lines of other shapes into the contract's form alike.

use serde_json::{Value, json};
use store::{Disposition, EngineSettings, Order, Scope, Search, Store, Target, Timestamp};

use crate::lines::{DAY, all_stored, batch, documents, generation, record};
use crate::rig::Rig;

/// Lines of known and unknown shapes.
fn corpus() -> Vec<Value> {
    let bunyan = json!({ "v": 0, "name": "billing", "msg": "paid", "level": 40, "hostname": "h", "pid": 1,
        "time": "2026-11-23T18:51:20.123Z", "request_id": "r-7" });
    vec![
        bunyan,
        json!({ "timestamp": "2026-11-23T18:51:20.123456Z", "level": "WARN", "target": "db",
            "fields": { "message": "slow", "rows": 3 }, "span": { "name": "query", "request_id": "r-8" },
            "spans": [{ "name": "request", "request_id": "r-0", "project_id": "p-8", "service": "shop" }] }),
        json!({ "@timestamp": "2026-11-23T19:51:20.5+01:00", "log.level": "ERROR", "message": "ecs, dotted",
            "http.request.id": "r-9", "service.name": "shop", "ecs.version": "1.6.0" }),
        json!({ "@timestamp": "2026-11-23T18:51:20Z", "log": { "level": "debug", "logger": "x" },
            "message": "ecs, nested", "http": { "request": { "id": 10 } }, "service": { "name": "shop", "version": "2" } }),
        json!({ "ts": 1_795_459_880.25, "severity": "Notice", "msg": "zap" }),
        json!({ "time": 1_795_459_880_250_i64, "level": 60, "msg": "pino", "name": "x" }),
        json!({ "timestamp": "yesterday", "level": "loud", "service": 7, "message": { "a": 1 }, "request_id": [1] }),
        json!({ "timestamp": null, "level": null, "message": null, "request_id": null, "project_id": null }),
        json!({ "anything": "else" }),
        json!({ "timestamp": "2026-11-23T18:51:20.123Z", "service": "s", "level": "info", "message": "empty ids",
            "request_id": "", "project_id": "" }),
        json!({ "request_id": 7, "project_id": "", "level": true, "service": "" }),
        json!({ "timestamp": "2024-02-30T00:00:00Z", "time": "2024-02-29T23:59:60+23:59", "level": " Warning " }),
        json!({ "timestamp": -1, "ts": [1], "fields": "none", "spans": [1, { "request_id": "r-9" }], "span": null }),
        json!({ "time": -0.000_000_4, "log": { "level": "trace" }, "http.request.id": "r-10", "msg": 5 }),
        json!({ "fields": { "message": "all of it" }, "service": { "name": "only" }, "origin.file": "x", "a.b": 1 }),
        json!({ "@timestamp": "2026-11-23T18:51:20.123Z", "log.level": "INFO", "message": "ecs-logging",
            "service.name": "shop", "service.version": "1.2", "service.node.name": "n", "event.dataset": "shop.log" }),
        json!({ "msg": "below a value", "message.id": 1, "level.x": null }),
        json!({}),
        json!({ "timestamp": "2026-11-23T18:51:20.123Z", "service": "s", "level": "info", "message": "a record",
            "request_id": null, "project_id": "p", "extra": { "kept": [1, 2, null] } }),
    ]
}

#[tokio::test]
async fn the_pipeline_and_the_embedded_store_agree() {
    let rig = Rig::full("normalise");
    let lines = corpus();
    let batch = batch(&rig.settings.index_prefix, generation(1), &lines);
    let engine = rig.ready_store().await;
    assert_eq!(engine.write(&batch).await.unwrap(), all_stored(lines.len()));
    let dir = tempfile::tempdir().unwrap();
    let embedded = Store::open_writer(&Target::Sqlite(dir.path().join("logs.db")), &EngineSettings::default()).await;
    let embedded = embedded.unwrap();
    assert_eq!(embedded.write(&batch).await.unwrap(), all_stored(lines.len()));

    let search = Search { order: Order::OldestFirst, limit: 100, ..Search::default() };
    // By their place, since times before 1970 and after 2262 are beyond an engine's order.
    let in_place = |page| {
        let mut documents = documents(&page);
        documents.sort_by_key(|document| document["origin"]["offset"].as_u64());
        documents
    };
    let from_engine = in_place(rig.find(&engine, &search).await);
    let from_embedded = in_place(embedded.search(&Scope::All, &search).await.unwrap());
    assert_eq!(from_engine.len(), lines.len());
    for (one, other) in from_engine.iter().zip(&from_embedded) {
        assert_eq!(one, other);
        assert!(one["origin"].get("pipeline_error").is_none(), "{one}");
    }
    let level_of = |message: &str| {
        let found = from_engine.iter().find(|document| document["message"] == message);
        found.map(|document| document["level"].clone()).unwrap()
    };
    for (message, level) in
        [("paid", "warn"), ("slow", "warn"), ("ecs, dotted", "error"), ("pino", "error"), ("zap", "info")]
    {
        assert_eq!(level_of(message), level, "{message}");
    }
    rig.clean().await;
}

/// OpenSearch's scripts can't take a document with a whole number beyond 64 bits anywhere in it.
#[tokio::test]
async fn a_document_that_a_processor_fails_on_is_kept_and_marked() {
    let rig = Rig::full("fails");
    let huge = json!({ "msg": "huge", "number": 12_345_678_901_234_567_890_u64 });
    let mut known = record(1, "a record", Some("r-1"));
    known["number"] = 12_345_678_901_234_567_890_u64.into();
    let store = rig.ready_store().await;
    let written = store.write(&batch(&rig.settings.index_prefix, generation(1), &[huge, known])).await.unwrap();
    assert_eq!(written, all_stored(2));
    let search = Search { from: Timestamp::parse(DAY.as_bytes()), order: Order::OldestFirst, ..Search::default() };
    let page = rig.find(&store, &search).await;
    assert_eq!(page.lines.len(), 2, "found by when they were received, or their own time");
    for line in &page.lines {
        let document: Value = serde_json::from_str(line.get()).unwrap();
        assert_eq!(document["number"], 12_345_678_901_234_567_890_u64);
        assert!(document["origin"]["pipeline_error"].as_str().unwrap().contains("script"), "{document}");
        assert!(document["event"]["ingested"].is_string(), "{document}");
        assert_eq!(document["@timestamp"], document["timestamp"]);
    }
    rig.clean().await;
}

/// An engine refuses a document with a name below a field that holds a value.
#[tokio::test]
async fn names_below_a_value_are_kept_aside() {
    let rig = Rig::full("below-a-value");
    let extras = [
        json!({ "service.version": "1.2" }),
        json!({ "service.version": "1.2", "message.id": { "a": [1] }, "@timestamp.x": 1 }),
    ];
    let line = |extra: &Value| {
        let mut line = record(0, "below a value", None);
        line.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        line
    };
    let lines: Vec<_> = extras.iter().map(line).collect();
    let batch = batch(&rig.settings.index_prefix, generation(1), &lines);
    let store = rig.ready_store().await;
    assert_eq!(store.write(&batch).await.unwrap(), all_stored(lines.len()));
    let again = store.write(&batch).await.unwrap();
    assert!(again.iter().all(|disposition| *disposition == Disposition::AlreadyStored), "{again:?}");
    let found = rig.find(&store, &Search { order: Order::OldestFirst, ..Search::default() }).await;
    let replaced: Vec<_> = documents(&found).iter().map(|document| document["origin"]["replaced"].clone()).collect();
    assert_eq!(replaced, extras);
    rig.clean().await;
}

/// The script stands in the pipeline as one JSON text, which nobody can read; beside it, it is kept as it was written.
#[test]
fn the_pipelines_script_is_the_one_to_read() {
    let pipeline: Value =
        serde_json::from_str(include_str!("../../../../infra/elasticsearch/ingest-pipeline.json")).unwrap();
    let script = include_str!("../../../../infra/elasticsearch/normalise.painless");
    assert_eq!(pipeline["processors"][0]["script"]["source"], script);
}
