//! Lines that are not as they should be: each is stored or kept aside, with its reason, and stops no neighbour.

use std::collections::BTreeSet;

use observability_tests::engine::Engine;
use observability_tests::scrape::Scrape;
use observability_tests::{port, wait};
use serde_json::json;

use crate::place::{Place, assert_accounts_balance, assert_each_once, disposed_of, mark, record, stored_lines};

/// What engines take for their own at the top of a document, in one version or another.
const OWN_KEYS: [&str; 24] = [
    "_data_stream_timestamp",
    "_doc_count",
    "_dynamic_templates",
    "_feature",
    "_field_names",
    "_id",
    "_if_primary_term",
    "_if_seq_no",
    "_ignored",
    "_ignored_source",
    "_index",
    "_ingest",
    "_nested_path",
    "_op_type",
    "_primary_term",
    "_routing",
    "_seq_no",
    "_size",
    "_source",
    "_tier",
    "_tsid",
    "_type",
    "_version",
    "_version_type",
];

/// Bad lines among good ones: the good ones are stored, every bad one has its disposition, none is gone.
fn bad_lines_stop_no_neighbour(place: &Place) {
    let project = mark("bad");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("app.log");
    let good = |n| record(&project, n).into_bytes();
    let bad: [&[u8]; 9] = [
        b"plain text",
        b"{\"cut\": \"off",
        b"[1,2]",
        b"\"text\"",
        b"not \xff\xfe UTF-8",
        br#"{"message":"twice","level":"info","level":"warn"}"#,
        br#"{"message":"reserved","origin":{"host":"forged"}}"#,
        br#"{"timestamp":"no time","message":1,"level":[]}"#,
        b"",
    ];
    let long = [b"{\"message\":\"".as_slice(), &b"x".repeat(2 << 20), b"\"}"].concat();
    let mut lines = Vec::new();
    for (n, bad) in bad.into_iter().chain([long.as_slice()]).enumerate() {
        lines.extend([&good(n), &b"\n"[..], bad, b"\n"].concat());
    }
    lines.extend([&good(10)[..], b"\n"].concat());
    std::fs::write(&file, lines).unwrap();

    let admin = port::free_address();
    let mut shipper = place
        .shipper("run", &folder.path().join("state"))
        .args(["--admin-listen", &admin.to_string(), "--file"])
        .arg(&file)
        .start_healthy(admin);
    let scrape = wait::until("all lines are disposed of", || {
        let scrape = Scrape::of(admin);
        (scrape.metric("shipper_lines_read_total", &[]) >= 20.0 && scrape.metric("shipper_lines_waiting", &[]) == 0.0)
            .then_some(scrape)
    });
    assert_accounts_balance(&scrape);
    assert_eq!(disposed_of(&scrape, "lost"), 0.0);
    assert_eq!(shipper.stop(), 0, "{}", shipper.stderr());
    assert_each_once(&stored_lines(place, &project), 11);
}

#[test]
fn bad_lines_stop_no_neighbour_in_an_engine() {
    bad_lines_stop_no_neighbour(&Place::engine());
}

#[test]
fn bad_lines_stop_no_neighbour_in_an_engine_without_processors() {
    bad_lines_stop_no_neighbour(&Place::bare_engine());
}

#[test]
fn bad_lines_stop_no_neighbour_in_the_embedded_store() {
    bad_lines_stop_no_neighbour(&Place::embedded());
}

/// A key that engines take for their own must neither make a line look stored, nor hold it, nor change what it becomes.
fn lines_with_an_engines_own_keys_are_stored(place: &Place, engine: &Engine) {
    let service = mark("own-keys");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("app.log");
    let mut lines = Vec::new();
    for key in OWN_KEYS {
        for value in ["4", "\"4\"", "{\"a\":1}", "null"] {
            let line = record("own-keys", lines.len());
            lines.push(format!("{},\"{key}\":{value}}}", line.strip_suffix('}').unwrap()));
        }
    }
    std::fs::write(&file, lines.join("\n") + "\n").unwrap();
    let shipper = place.shipper("run", &folder.path().join("state"));
    let mut shipper = shipper.args(["--until-idle", "--service", &service, "--file"]).arg(&file).start();
    assert_eq!(shipper.exit_code(), 0, "{}", shipper.stderr());

    let hits = engine.search(&json!({ "term": { "service": service } }));
    let found: BTreeSet<_> = hits.iter().map(|hit| hit["_source"]["message"].as_str().unwrap().to_owned()).collect();
    assert_eq!(found, lines.iter().cloned().collect(), "as they were written");
    assert_eq!(hits.len(), lines.len(), "each once");
    assert!(hits.iter().all(|hit| hit["_source"]["origin"]["wrapped"] == "reserved_key"), "{hits:#?}");
}

#[test]
fn lines_with_an_engines_own_keys_are_stored_through_the_pipeline() {
    lines_with_an_engines_own_keys_are_stored(&Place::engine(), &Engine::with_processors());
}

#[test]
fn lines_with_an_engines_own_keys_are_stored_by_an_engine_without_processors() {
    lines_with_an_engines_own_keys_are_stored(&Place::bare_engine(), &Engine::bare());
}
