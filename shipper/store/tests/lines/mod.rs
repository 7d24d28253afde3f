//! Lines as the shipper builds them, for the tests of both kinds of store.

pub(crate) mod coverage;
mod test_store;

pub(crate) use test_store::TestStore;

use serde_json::{Value, json};
use store::{Batch, BatchBuilder, Disposition, GenerationId, LineId, SearchPage, Timestamp};

/// The arrival time of every line, and the day of its index.
pub(crate) const DAY: &str = "2026-11-23T12:00:00Z";

/// Returns a different generation for each number.
pub(crate) fn generation(number: u8) -> GenerationId {
    GenerationId::new(1_795_000_000_000, &[number; 10])
}

/// Builds documents as the shipper does: each line with its origin.
pub(crate) fn batch(prefix: &str, generation: GenerationId, lines: &[Value]) -> Batch {
    let mut builder = BatchBuilder::new(prefix);
    for (place, line) in lines.iter().enumerate() {
        let offset = place as u64 * 1_000;
        let mut document = line.clone();
        document["origin"] = json!({
            "host": "h", "shipper": "s", "stream": "stdout", "generation": generation.as_str(), "offset": offset,
            "length": 1_000, "received": DAY,
        });
        push(&mut builder, LineId { generation, offset }, &document.to_string());
    }
    builder.finish(0)
}

/// Adds a document of any text.
pub(crate) fn push(builder: &mut BatchBuilder, id: LineId, document: &str) {
    let day = Timestamp::parse(DAY.as_bytes()).unwrap().day();
    builder.push(id, 1_000, day, |body| body.extend_from_slice(document.as_bytes()));
}

/// Returns a contract record.
pub(crate) fn record(second: u32, message: &str, request_id: Option<&str>) -> Value {
    json!({
        "timestamp": format!("2026-11-23T12:00:{second:02}.000001Z"), "service": "s", "level": "info",
        "message": message, "request_id": request_id, "project_id": "p-1", "status": 200, "duration_ms": 1.5,
        "method": "GET", "endpoint": "/x/{id}", "outcome": "answered",
    })
}

pub(crate) fn all_stored(lines: usize) -> Vec<Disposition> {
    vec![Disposition::Stored; lines]
}

/// Returns the documents of a page, without fields that an engine sets at write time.
pub(crate) fn documents(page: &SearchPage) -> Vec<Value> {
    let read = |line: &serde_json::value::RawValue| {
        let mut document: Value = serde_json::from_str(line.get()).unwrap();
        let fields = document.as_object_mut().unwrap();
        fields.remove("@timestamp");
        fields.remove("event");
        document
    };
    page.lines.iter().map(|line| read(line)).collect()
}

/// Sets short runs for new stores in this directory: 16 and 256 lines, in groups of 1,024.
pub(crate) fn shorten_runs(folder: &std::path::Path) {
    let connection = rusqlite::Connection::open(folder.join("logs.db")).unwrap();
    assert_eq!(connection.execute(r#"UPDATE sizes SET small = 16, large = 256, "group" = 1024"#, []).unwrap(), 1);
}

/// Whether small runs were merged into large ones, and some of those grouped.
pub(crate) fn has_merged_runs(folder: &std::path::Path) -> bool {
    let connection = rusqlite::Connection::open(folder.join("logs.db")).unwrap();
    let merged = "SELECT (SELECT count(*) FROM runs WHERE lines = 256) >= 3
                  AND EXISTS (SELECT 1 FROM terms WHERE run < 0) AND EXISTS (SELECT 1 FROM runs WHERE lines = 16)";
    connection.query_row(merged, [], |row| row.get(0)).unwrap()
}
