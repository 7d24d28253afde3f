//! The ingest pipeline and the embedded store normalise lines of other formats in the same way.

use serde_json::{Value, json};
use store::{BatchBuilder, Disposition, EngineSettings, LineId, Order, Scope, Search, Target, Timestamp};

use crate::lines::{DAY, TestStore, all_stored, batch, documents, generation, record};
use crate::rig::Rig;

/// Lines of known and unknown formats.
fn corpus() -> Vec<Value> {
    let bunyan = json!({ "v": 0, "name": "billing", "msg": "paid", "level": 40, "hostname": "h", "pid": 1,
        "time": "2026-11-23T18:51:20.123Z", "request_id": "r-7" });
    let mut with_event = record(1, "a record with a number for an event", None);
    with_event["event"] = 5.into();
    vec![
        bunyan,
        with_event,
        json!({ "event": 5 }),
        json!({ "event": ["a"], "message": "an event in a list", "time": "2026-11-23T18:51:20.123Z" }),
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
        json!({ "version": "1.1", "host": "h", "short_message": "gelf", "_request_id": "r-11", "_project_id": 12 }),
        json!({ "request_id": "r-12", "project_id": [], "_request_id": "r-13", "_project_id": {} }),
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

/// A line, and its expected level, message and time.
type Shape = (Value, &'static str, &'static str, &'static str);

/// Arrival time of lines without a time.
const ARRIVED: &str = "2026-11-23T12:00:00.000000Z";

/// Lines of many loggers.
fn shapes() -> Vec<Shape> {
    let gelf =
        json!({ "version": "1.1", "host": "h", "short_message": "gelf", "level": 3, "timestamp": 1_531_171_074.6 });
    vec![
        (json!({ "level": "\u{1b}[31merror\u{1b}[39m", "message": "winston" }), "error", "winston", ARRIVED),
        (gelf, "error", "gelf", "2018-07-09T21:17:54.600000Z"),
        (json!({ "version": "1.1", "host": "h", "level": 7, "message": "gelf" }), "debug", "gelf", ARRIVED),
        (json!({ "level": 3, "message": "who knows" }), "info", "who knows", ARRIVED),
        (
            json!({ "levelname": "ERROR", "message": "python", "asctime": "2018-08-03 02:05:59,772" }),
            "error",
            "python",
            "2018-08-03T02:05:59.772000Z",
        ),
        (
            json!({ "timestamp": "2025-12-15T02:12:34.977+0100", "level": "info", "message": "icinga" }),
            "info",
            "icinga",
            "2025-12-15T01:12:34.977000Z",
        ),
        (
            json!({ "PRIORITY": "4", "MESSAGE": "journal", "__REALTIME_TIMESTAMP": "1531171074600001" }),
            "warn",
            "journal",
            "2018-07-09T21:17:54.600001Z",
        ),
        (json!({ "SYSLOG_IDENTIFIER": "sshd", "level": "7", "MESSAGE": "journal" }), "debug", "journal", ARRIVED),
        (
            json!({ "@t": "2018-08-03T02:05:59.7721234Z", "@l": "Warning", "@mt": "{A}", "@m": "serilog" }),
            "warn",
            "serilog",
            "2018-08-03T02:05:59.7721234Z",
        ),
        (
            json!({ "Timestamp": "2018-08-03T02:05:59.7721234+02:00", "Level": "Fatal", "Message": "net" }),
            "error",
            "net",
            "2018-08-03T00:05:59.772123Z",
        ),
        (
            json!({ "level": "50", "time": "1531171074600", "msg": "pino" }),
            "error",
            "pino",
            "2018-07-09T21:17:54.600000Z",
        ),
        (json!({ "level": "W", "ts": "1531171074.25", "msg": "glog" }), "warn", "glog", "2018-07-09T21:17:54.250000Z"),
        (
            json!({ "level": 200, "level_name": "INFO", "message": "monolog", "datetime": "2018-08-03 02:05:59.5 +0000 UTC" }),
            "info",
            "monolog",
            "2018-08-03T02:05:59.500000Z",
        ),
        (
            json!({ "severityNumber": 18, "body": "otel", "timeUnixNano": "1531171074600001999" }),
            "error",
            "otel",
            "2018-07-09T21:17:54.600001Z",
        ),
        (
            json!({ "severity_text": "DEBUG2", "body": { "stringValue": "x" }, "log": "a text" }),
            "debug",
            "a text",
            ARRIVED,
        ),
        (
            json!({ "event": "structlog", "level": "critical", "timestamp": "20180803T020559Z" }),
            "error",
            "structlog",
            "2018-08-03T02:05:59.000000Z",
        ),
        (
            json!({ "instant": { "epochSecond": 1_531_171_074, "nanoOfSecond": 600_001_999 }, "level": "WARN",
                "message": "log4j2", "loggerFqcn": "x" }),
            "warn",
            "log4j2",
            "2018-07-09T21:17:54.600001Z",
        ),
        (json!({ "instant": { "epochSecond": 1.5 }, "level": "WARN", "message": "no" }), "warn", "no", ARRIVED),
        (
            json!({ "instant": { "epochSecond": 1, "nanoOfSecond": -1 }, "timestamp": { "epochSecond": 1_531_171_074 },
                "message": "log4j2" }),
            "info",
            "log4j2",
            "2018-07-09T21:17:54.000000Z",
        ),
    ]
}

/// Lines that no logger writes, each with several notations.
fn mixed_shapes() -> Vec<Shape> {
    vec![
        (json!({ "event": { "kind": "x" }, "log": { "level": "[WARN]" }, "message": "" }), "warn", "", ARRIVED),
        (
            json!({ "log.level": "error", "@timestamp": "2018/08/03 02:05:59 GMT", "message": 7 }),
            "error",
            "7",
            "2018-08-03T02:05:59.000000Z",
        ),
        (
            json!({ "level": "x".repeat(70), "severity": "é", "LEVEL": "err", "@m": "", "Message": "m" }),
            "error",
            "m",
            ARRIVED,
        ),
        (
            json!({ "level": "\u{1b}[31", "lvl": "<error>", "time": "03/08/2018 02:05:59", "ts": "20180803", "msg": "m" }),
            "error",
            "m",
            ARRIVED,
        ),
        (
            json!({ "timestamp": "2018-08-03T02:05", "time": "2018-08-03T02:05:59 CEST", "ts": "2018-08-03 02:05:59+1",
            "@t": "+1", "Timestamp": "2018-08-03T02:05:59-", "asctime": "", "datetime": " ", "eventTime": "2018-08-03T02:05:59 ",
            "message": "trimmed" }),
            "info",
            "trimmed",
            "2018-08-03T02:05:59.000000Z",
        ),
    ]
}

/// Every notation has the expected meaning, in the pipeline and in the embedded store.
#[tokio::test]
async fn every_notation_has_the_same_meaning_in_both() {
    let rig = Rig::full("notations");
    let shapes = [shapes(), mixed_shapes()].concat();
    let mut lines: Vec<Value> = shapes.iter().map(|(line, ..)| line.clone()).collect();
    let moved = json!({ "level": "loud", "message": [1], "origin": { "replaced": { "level": "gold", "user": "a" } } });
    lines.push(moved);
    let mut batch = BatchBuilder::new(&rig.settings.index_prefix);
    for (place, line) in lines.iter().enumerate() {
        let mut line = line.clone();
        let origin = line.as_object_mut().unwrap().entry("origin").or_insert_with(|| json!({}));
        let origin = origin.as_object_mut().unwrap();
        origin.extend([
            ("offset".to_owned(), json!(place)),
            ("length".to_owned(), json!(1)),
            ("received".to_owned(), json!(ARRIVED)),
        ]);
        let id = LineId { generation: generation(1), offset: place as u64 };
        let day = Timestamp::parse(ARRIVED.as_bytes()).unwrap().day();
        batch.push(id, 1, day, |body| serde_json::to_writer(body, &line).unwrap());
    }
    let batch = batch.finish(0);
    let engine = rig.ready_store().await;
    assert_eq!(engine.write(&batch).await.unwrap(), all_stored(lines.len()));
    let dir = tempfile::tempdir().unwrap();
    let embedded = TestStore::open(&Target::Sqlite(dir.path().join("logs.db")), &EngineSettings::default()).await;
    let embedded = embedded.unwrap();
    assert_eq!(embedded.write(&batch).await.unwrap(), all_stored(lines.len()));
    let search = Search { order: Order::OldestFirst, limit: 100, ..Search::default() };
    let in_place = |page| {
        let mut documents = documents(&page);
        documents.sort_by_key(|document| document["origin"]["offset"].as_u64());
        documents
    };
    let from_engine = in_place(rig.find(&engine, &search).await);
    let from_embedded = in_place(embedded.search(&Scope::All, &search).await.unwrap());
    assert_eq!(from_embedded.len(), lines.len());
    for (document, (line, level, message, time)) in from_embedded.iter().zip(&shapes) {
        let found = (&document["level"], &document["message"], &document["timestamp"]);
        assert_eq!(found, (&json!(level), &json!(message), &json!(time)), "{line:.300}");
        // The shipper determines a line's day with the same function.
        let own = line.as_object().unwrap().iter().filter_map(|(key, value)| {
            Some((store::time_key_index(key.as_bytes())?, store::parse_time(&value.to_string())?))
        });
        let own = own.min().map(|(_, time)| time).or(Timestamp::parse(ARRIVED.as_bytes()));
        assert_eq!(own, Timestamp::parse(time.as_bytes()), "{line:.300}");
    }
    let last = &from_embedded[lines.len() - 1];
    assert_eq!(last["origin"]["replaced"], json!({ "level": ["gold", "loud"], "user": "a", "message": [1] }));
    for (place, (one, other)) in from_engine.iter().zip(&from_embedded).enumerate() {
        assert_eq!(one, other, "{:.300}", lines[place]);
    }
    rig.clean().await;
}

#[tokio::test]
async fn the_pipeline_and_the_embedded_store_agree() {
    let rig = Rig::full("normalise");
    let lines = corpus();
    let batch = batch(&rig.settings.index_prefix, generation(1), &lines);
    let engine = rig.ready_store().await;
    assert_eq!(engine.write(&batch).await.unwrap(), all_stored(lines.len()));
    let dir = tempfile::tempdir().unwrap();
    let embedded = TestStore::open(&Target::Sqlite(dir.path().join("logs.db")), &EngineSettings::default()).await;
    let embedded = embedded.unwrap();
    assert_eq!(embedded.write(&batch).await.unwrap(), all_stored(lines.len()));

    let search = Search { order: Order::OldestFirst, limit: 100, ..Search::default() };
    // By offset, since engines can't sort times before 1970 and after 2262.
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

/// OpenSearch's scripts fail on documents with an integer beyond 64 bits.
#[tokio::test]
async fn a_document_that_fails_in_the_pipeline_is_stored_and_marked() {
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

/// An engine rejects a document with a key below a field that holds a scalar.
#[tokio::test]
async fn names_below_a_scalar_are_set_aside() {
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
