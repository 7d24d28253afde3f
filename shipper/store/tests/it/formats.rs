//! Documents of other formats in the embedded store.

use serde_json::json;
use store::{BatchBuilder, Filter, LineId, Scope, Search};

use crate::lines::{all_stored, batch, documents, generation, push, record};
use crate::new_store;

#[tokio::test]
async fn a_record_is_stored_byte_for_byte() {
    let (_folder, store) = new_store().await;
    let text = r#"{"timestamp":"2026-11-23T12:00:00.000Z", "service":"s","level":"info","message":"caf\u00e9","request_id":null,"project_id":null,"big":12345678901234567890123,"exact":1.10,"origin":{"offset":0}}"#;
    let mut builder = BatchBuilder::new("x");
    push(&mut builder, LineId { generation: generation(1), offset: 0 }, text);
    assert_eq!(store.write(&builder.finish(0)).await.unwrap(), all_stored(1));
    let page = store.search(&Scope::All, &Search::new(Filter::Words("CAFÉ".into()))).await.unwrap();
    assert_eq!(page.lines[0].get(), text);
}

#[tokio::test]
async fn an_unpaired_surrogate_does_not_lose_a_line() {
    let (_folder, store) = new_store().await;
    let mut builder = BatchBuilder::new("x");
    let text = r#"{"msg":"cut \ud83d","level":"WARN","kept":"\ud83d","number":1e999}"#;
    push(&mut builder, LineId { generation: generation(1), offset: 0 }, text);
    assert_eq!(store.write(&builder.finish(0)).await.unwrap(), all_stored(1));
    let page = store.search(&Scope::All, &Search::new(Filter::Words("cut".into()))).await.unwrap();
    assert!(page.lines[0].get().contains(r#""kept":"\ud83d","number":1e999"#), "{}", page.lines[0]);
}

#[tokio::test]
async fn the_lines_view_is_readable_with_any_tool() {
    let (folder, store) = new_store().await;
    store.write(&batch("x", generation(1), &[record(1, "hello", Some("r-1"))])).await.unwrap();
    let connection = rusqlite::Connection::open(folder.path().join("logs.db")).unwrap();
    let sql =
        "SELECT timestamp || ' ' || level || ' ' || message || ' ' || generation FROM lines WHERE request_id = 'r-1'";
    let line: String = connection.query_row(sql, [], |row| row.get(0)).unwrap();
    assert_eq!(line, format!("2026-11-23T12:00:01.000001Z info hello {}", generation(1)));
}

#[tokio::test]
async fn other_formats_are_found_by_the_contracts_fields() {
    let (_folder, store) = new_store().await;
    let lines = [
        json!({ "v": 0, "name": "billing", "hostname": "h", "pid": 1, "level": 50, "msg": "charge declined",
            "time": "2026-11-23T18:51:20.123Z", "request_id": "r-7" }),
        json!({ "timestamp": "2026-11-23T18:51:21.123456Z", "level": "WARN", "fields": { "message": "slow" },
            "span": { "name": "query", "request_id": "r-7" } }),
        json!({ "@timestamp": "2026-11-23T18:51:22Z", "log.level": "ERROR", "message": "ecs", "service.name": "shop" }),
        json!({ "message": "plain text, wrapped" }),
        record(0, "a record", Some("r-7")),
    ];
    let written = store.write(&batch("x", generation(1), &lines)).await.unwrap();
    assert_eq!(written, all_stored(lines.len()));
    let page = store.search(&Scope::All, &Search::new(Filter::request("r-7"))).await.unwrap();
    let messages: Vec<_> = documents(&page).iter().map(|document| document["message"].clone()).collect();
    assert_eq!(messages, ["slow", "charge declined", "a record"]);
    let errors = Search::new(Filter::levels([store::Level::Error]));
    assert_eq!(store.search(&Scope::All, &errors).await.unwrap().lines.len(), 2);
    let page = store.search(&Scope::All, &Search::new(Filter::Words("wrapped".into()))).await.unwrap();
    assert_eq!(documents(&page)[0]["timestamp"], "2026-11-23T12:00:00.000000Z", "when it was received");
}
