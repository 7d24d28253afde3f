//! The ingest pipeline and the embedded store bring lines of other shapes into the contract's form alike.

use serde_json::{Value, json};
use store::{EngineSettings, Order, Search, Store, Target};

use crate::lines::{all_stored, batch, documents, generation};
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
    let from_engine = documents(&rig.find(&engine, &search).await);
    let from_embedded = documents(&embedded.search(&search).await.unwrap());
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

/// The script stands in the pipeline as one JSON text, which nobody can read; beside it, it is kept as it was written.
#[test]
fn the_pipelines_script_is_the_one_to_read() {
    let pipeline: Value =
        serde_json::from_str(include_str!("../../../../infra/elasticsearch/ingest-pipeline.json")).unwrap();
    let script = include_str!("../../../../infra/elasticsearch/normalise.painless");
    assert_eq!(pipeline["processors"][0]["script"]["source"], script);
}
