//! Malformed lines: each is stored or dead-lettered with its reason, and other lines are not affected.

use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use observability_tests::engine::Engine;
use observability_tests::scrape::Scrape;
use observability_tests::{port, wait};
use serde_json::{Value, json};

use crate::test_store::{
    TestStore, assert_accounting_holds, assert_each_once, lines_with_outcome, record, stored_lines, unique_name,
};

/// Top-level keys that some engine version reserves for itself.
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

/// Writes malformed lines among valid ones: the valid ones are stored, and each malformed one has its outcome.
fn malformed_lines_do_not_affect_others(store: &TestStore) {
    let project = unique_name("bad");
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
    let mut shipper = store
        .shipper("run", &folder.path().join("state"))
        .args(["--admin-listen", &admin.to_string(), "--file"])
        .arg(&file)
        .start_healthy(admin);
    let scrape = wait::until("all lines have their outcome", || {
        let scrape = Scrape::of(admin);
        (scrape.metric("shipper_lines_read_total", &[]) >= 20.0 && scrape.metric("shipper_lines_pending", &[]) == 0.0)
            .then_some(scrape)
    });
    assert_accounting_holds(&scrape);
    assert_eq!(lines_with_outcome(&scrape, "dropped"), 0.0);
    assert_eq!(shipper.stop(), 0, "{}", shipper.stderr());
    assert_each_once(&stored_lines(store, &project), 11);
}

#[test]
fn malformed_lines_do_not_affect_others_in_an_engine() {
    malformed_lines_do_not_affect_others(&TestStore::engine());
}

#[test]
fn malformed_lines_do_not_affect_others_in_an_engine_without_processors() {
    malformed_lines_do_not_affect_others(&TestStore::bare_engine());
}

#[test]
fn malformed_lines_do_not_affect_others_in_the_embedded_store() {
    malformed_lines_do_not_affect_others(&TestStore::embedded());
}

/// A key that an engine reserves must not make a line look stored, keep it pending or change its content.
fn lines_with_an_engines_own_keys_are_stored(store: &TestStore, engine: &Engine) {
    const VALUES: [&str; 4] = ["4", "\"4\"", "{\"a\":1}", "null"];
    let service = unique_name("own-keys");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("app.log");
    let mut lines = Vec::new();
    for key in OWN_KEYS {
        for value in VALUES {
            let line = record(&service, lines.len());
            lines.push(format!("{},\"{key}\":{value}}}", line.strip_suffix('}').unwrap()));
        }
    }
    std::fs::write(&file, lines.join("\n") + "\n").unwrap();
    let shipper = store.shipper("run", &folder.path().join("state"));
    let mut shipper = shipper.args(["--until-idle", "--file"]).arg(&file).start();
    assert_eq!(shipper.exit_code(), 0, "{}", shipper.stderr());

    let hits = engine.search(&json!({ "term": { "project_id": service } }));
    assert_eq!(hits.len(), lines.len(), "each once");
    for hit in hits {
        let mut document = hit["_source"].clone();
        let n = usize::try_from(document["n"].as_u64().unwrap()).unwrap();
        let own: Value = serde_json::from_str(&lines[n]).unwrap();
        let key = OWN_KEYS[n / VALUES.len()];
        assert_eq!(document["origin"]["changed"], json!([format!("reserved_key:{key}")]));
        assert_eq!(document["origin"]["replaced"][key], own[key], "{document}");
        // everything else is unchanged
        let object = document.as_object_mut().unwrap();
        object.retain(|name, _| own.get(name).is_some());
        object.insert(key.to_owned(), own[key].clone());
        assert_eq!(document, own);
    }
}

#[test]
fn lines_with_an_engines_own_keys_are_stored_through_the_pipeline() {
    lines_with_an_engines_own_keys_are_stored(&TestStore::engine(), &Engine::with_processors());
}

#[test]
fn lines_with_an_engines_own_keys_are_stored_by_an_engine_without_processors() {
    lines_with_an_engines_own_keys_are_stored(&TestStore::bare_engine(), &Engine::bare());
}

/// Unusual keys: those that engines are known to reject, and combinations of their parts.
fn strange_keys() -> Vec<String> {
    let parts = [
        "",
        " ",
        "\t",
        "\u{0}",
        "\u{1f}",
        "\u{85}",
        "\u{a0}",
        "\u{2028}",
        "\u{3000}",
        "\u{feff}",
        "*",
        "_",
        "_id",
        "_source",
        "origin",
        "event",
        "ingested",
        "NET",
        "a b",
        "\"",
        "\\",
        "[0]",
        "\u{1f600}",
    ];
    let mut keys: Vec<String> = parts.iter().map(|part| (*part).to_owned()).collect();
    for first in parts {
        for second in parts {
            keys.push(format!("{first}.{second}"));
        }
        keys.extend([format!("a.{first}.b"), format!("{first}.."), format!("..{first}"), format!("{first}{first}")]);
    }
    keys.extend(["x".repeat(40_000), "x.".repeat(200) + "x", ".".repeat(100), " ".repeat(100), "a.".repeat(50)]);
    keys.sort();
    keys.dedup();
    // the shipper adds these, or the contract defines them
    keys.retain(|key| key != "origin" && key != "event");
    keys
}

/// Every object is stored completely, whatever its keys are, at the top level and below.
fn lines_with_strange_keys_are_stored(store: &TestStore) {
    let project = unique_name("keys");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("app.log");
    let mut lines = Vec::new();
    let mut own = Vec::new();
    for key in strange_keys() {
        for value in [json!(4), json!({ "a": { "": 1 } }), json!(null)] {
            for form in ["top", "event", "events", "nested", "replaced"] {
                let inner = json!({ &key: value });
                let (at, member) = match form {
                    "top" => (key.clone(), value.clone()),
                    "event" => ("event".to_owned(), inner),
                    "events" => ("event".to_owned(), json!([inner])),
                    "nested" => ("nested".to_owned(), inner),
                    _ => ("origin".to_owned(), json!({ "replaced": inner })),
                };
                let line = record(&project, lines.len());
                lines.push(format!("{},{}:{member}}}", line.strip_suffix('}').unwrap(), json!(at)));
                own.push((form, key.clone(), value.clone()));
            }
        }
    }
    std::fs::write(&file, lines.join("\n") + "\n").unwrap();
    let state = folder.path().join("state");
    let shipper = store.shipper("run", &state);
    let mut shipper = shipper.args(["--until-idle", "--file"]).arg(&file).start();
    let code = shipper.exit_code();
    assert_eq!((code, dead_letters(&state).as_str()), (0, ""), "{}", shipper.stderr());
    let stored = stored_lines(store, &project);
    assert_each_once(&stored, lines.len());
    for document in stored {
        let (form, key, value) = &own[usize::try_from(document["n"].as_u64().unwrap()).unwrap()];
        let origin = &document["origin"];
        let (there, moved) = match *form {
            "top" => (&document[key], &origin["replaced"][key]),
            "event" => (&document["event"][key], &origin["replaced"][format!("event.{key}")]),
            // the pipeline does not accept a list as event
            "events" if origin["replaced"]["event"].is_array() => {
                (&origin["replaced"]["event"][0][key], &origin["replaced"][format!("event.{key}")])
            }
            "events" => (&document["event"][0][key], &origin["replaced"][format!("event.{key}")]),
            "nested" => (&document["nested"][key], &Value::Null),
            _ => (&Value::Null, &origin["replaced"]["origin"]["replaced"][key]),
        };
        assert!(there == value || moved == value, "{form} {key:?}: {document}");
        let is_changed = !origin["changed"].is_null();
        assert!(is_changed || *form != "top" || there == value, "{form} {key:?}: {document}");
    }
}

#[test]
fn lines_with_strange_keys_are_stored_through_the_pipeline() {
    lines_with_strange_keys_are_stored(&TestStore::engine());
}

#[test]
fn lines_with_strange_keys_are_stored_by_an_engine_without_processors() {
    lines_with_strange_keys_are_stored(&TestStore::bare_engine());
}

#[test]
fn lines_with_strange_keys_are_stored_in_the_embedded_store() {
    lines_with_strange_keys_are_stored(&TestStore::embedded());
}

/// Lines that are JSON or almost JSON and that a careless parser would mishandle.
fn strange_lines() -> Vec<Vec<u8>> {
    let at = |timestamp: &str| {
        format!(
            r#"{{"timestamp":"{timestamp}","service":"strange","level":"info","message":"m","request_id":null,"project_id":null}}"#
        )
    };
    let nested = |depth: usize| format!("{{\"message\":\"deep\",\"a\":{}1{}}}", "[".repeat(depth), "]".repeat(depth));
    let fields = |from: usize, count: usize| {
        let fields: Vec<_> = (from..from + count).map(|n| format!("\"f{n}\":{n}")).collect();
        format!("{{\"message\":\"fields\",{}}}", fields.join(","))
    };
    let mut lines: Vec<String> = vec![
        // a clock that goes backwards, and extreme times
        at("2026-06-01T12:00:00.000Z"),
        at("2026-06-01T11:00:00.000Z"),
        at("9999-12-31T23:59:59.999Z"),
        at("1970-01-01T00:00:00.000Z"),
        at("0000-01-01T00:00:00.000Z"),
        // NUL, literal and escaped
        "NUL \0 in a text".to_owned(),
        "{\"message\":\"NUL \0 in JSON\"}".to_owned(),
        r#"{"message":"NUL \u0000 escaped","request_id":"a\u0000b","k\u0000y":1}"#.to_owned(),
        // the same key in two spellings
        r#"{"message":"a","mess\u0061ge":"b"}"#.to_owned(),
        r#"{"message":"a","deep":{"k":1,"\u006b":2}}"#.to_owned(),
        r#"{"message":"a","or\u0069gin":{"host":"forged"}}"#.to_owned(),
        nested(99),
        nested(100),
        nested(100_000),
        // numbers beyond the range of floats, and unpaired surrogates
        r#"{"message":"number","n":1e999,"m":-123456789012345678901234567890}"#.to_owned(),
        r#"{"message":"half \ud800"}"#.to_owned(),
        fields(0, 10_000),
    ];
    lines.extend(
        (1..10).flat_map(|ten| (0..100).map(move |hundred| (ten * 100 + hundred) * 100)).map(|from| fields(from, 100)),
    );
    lines.into_iter().map(String::into_bytes).collect()
}

/// The reasons of the dead letters, each with the start of its line.
fn dead_letters(state: &Path) -> String {
    let mut folders = vec![state.to_owned()];
    let mut text = String::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_string_lossy().contains("dead") {
                for line in String::from_utf8_lossy(&std::fs::read(path).unwrap()).lines() {
                    text.extend(line.chars().take(1_500).chain(['\n']));
                }
            }
        }
    }
    text
}

/// Each strange line is stored in some form or dead-lettered with the engine's reason. All other lines are stored.
fn strange_lines_are_stored(store: &TestStore) {
    let project = unique_name("strange");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("app.log");
    let strange = strange_lines();
    let mut bytes = Vec::new();
    for (n, line) in strange.iter().enumerate() {
        bytes.extend([record(&project, n).as_bytes(), b"\n", line, b"\n"].concat());
    }
    std::fs::write(&file, bytes).unwrap();
    let admin = port::free_address();
    let mut shipper = store
        .shipper("run", &folder.path().join("state"))
        .args(["--admin-listen", &admin.to_string(), "--file"])
        .arg(&file)
        .start_healthy(admin);
    let lines = 2 * strange.len();
    let scrape = wait::until("all lines have their outcome", || {
        let scrape = Scrape::of(admin);
        let read = scrape.metric("shipper_lines_read_total", &[]);
        (read >= lines as f64 && scrape.metric("shipper_lines_pending", &[]) == 0.0).then_some(scrape)
    });
    assert_accounting_holds(&scrape);
    // OpenSearch limits nested arrays to 20 levels, even in fields that are not indexed
    let letters = dead_letters(&folder.path().join("state"));
    let too_deep = letters.lines().filter(|letter| letter.contains("depth of the nested array")).count();
    assert_eq!(letters.lines().count(), too_deep, "{letters}");
    assert!(too_deep == 0 || too_deep == 1 && matches!(store, TestStore::Engine(_, true)), "{letters}");
    assert_eq!(lines_with_outcome(&scrape, "dead_lettered"), too_deep as f64);
    assert_eq!(lines_with_outcome(&scrape, "stored"), (lines - too_deep) as f64, "{}", shipper.stderr());
    assert_eq!(shipper.stop(), 0, "{}", shipper.stderr());
    assert_each_once(&stored_lines(store, &project), strange.len());
    if let TestStore::Engine(engine, _) = store {
        for (index, mapping) in engine.get("/app-logs-*/_mapping").as_object().unwrap() {
            let fields = mapping["mappings"]["properties"].as_object().unwrap();
            assert!(fields.len() < 100 && !fields.keys().any(|name| name.starts_with("f1")), "{index}: {mapping}");
        }
    }
}

#[test]
fn strange_lines_are_stored_through_the_pipeline() {
    strange_lines_are_stored(&TestStore::engine());
}

#[test]
fn strange_lines_are_stored_by_an_engine_without_processors() {
    strange_lines_are_stored(&TestStore::bare_engine());
}

#[test]
fn strange_lines_are_stored_in_the_embedded_store() {
    strange_lines_are_stored(&TestStore::embedded());
}

/// A line of 1 GiB is truncated and stored in bounded memory, and the lines around it are stored.
#[test]
fn a_line_of_one_gib_is_truncated_in_bounded_memory() {
    const LINE_BYTES: u64 = 1 << 30;
    /// Two batches, a line at its limit with NULs of six bytes each in JSON, and the program itself.
    const MEMORY_MAX_KIB: u64 = 96 * 1024;
    let store = TestStore::embedded();
    let project = unique_name("gib");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.log");
    let mut file = std::fs::File::create(&path).unwrap();
    file.write_all(format!("{}\n", record(&project, 0)).as_bytes()).unwrap();
    // a hole in the file reads as NULs and uses no disk space; at the start of a line it would be skipped
    file.write_all(b"x").unwrap();
    let start = file.stream_position().unwrap();
    file.seek(SeekFrom::Start(start + LINE_BYTES)).unwrap();
    file.write_all(format!("\n{}\n", record(&project, 1)).as_bytes()).unwrap();
    let admin = port::free_address();
    let mut shipper = store
        .shipper("run", &folder.path().join("state"))
        .args(["--admin-listen", &admin.to_string(), "--file"])
        .arg(&path)
        .start_healthy(admin);
    let scrape = wait::until("all lines have their outcome", || {
        let scrape = Scrape::of(admin);
        (lines_with_outcome(&scrape, "stored") == 3.0).then_some(scrape)
    });
    assert_accounting_holds(&scrape);
    assert_eq!(scrape.metric("shipper_lines_wrapped_total", &[("reason", "too_long")]), 1.0);
    let status = std::fs::read_to_string(format!("/proc/{}/status", shipper.child().id())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap().trim();
    let peak_kib: u64 = peak.trim_end_matches(" kB").parse().unwrap();
    eprintln!("a line of {LINE_BYTES} bytes: {} MiB resident at most", peak_kib / 1024);
    assert!(peak_kib <= MEMORY_MAX_KIB, "{peak_kib} KiB");
    assert_eq!(shipper.stop(), 0, "{}", shipper.stderr());
    assert_each_once(&stored_lines(&store, &project), 2);
}

/// A writer that continues at its old offset after a truncation leaves a hole. The line after the hole is complete.
#[test]
fn a_hole_of_one_gib_hides_no_line() {
    const HOLE_BYTES: u64 = 1 << 30;
    let store = TestStore::embedded();
    let project = unique_name("hole");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.log");
    let mut file = std::fs::File::create(&path).unwrap();
    file.seek(SeekFrom::Start(HOLE_BYTES)).unwrap();
    file.write_all(format!("{}\n{}\n\0\0\n", record(&project, 0), record(&project, 1)).as_bytes()).unwrap();
    let admin = port::free_address();
    let state = folder.path().join("state");
    let mut shipper = store
        .shipper("run", &state)
        .args(["--admin-listen", &admin.to_string(), "--file"])
        .arg(&path)
        .start_healthy(admin);
    let scrape = wait::until("all lines have their outcome", || {
        let scrape = Scrape::of(admin);
        (lines_with_outcome(&scrape, "stored") == 3.0).then_some(scrape)
    });
    assert_accounting_holds(&scrape);
    assert_eq!(scrape.metric("shipper_lines_changed_total", &[("change", "leading_nuls")]), 2.0);
    assert_eq!(shipper.stop(), 0, "{}", shipper.stderr());
    let lines = stored_lines(&store, &project);
    assert_each_once(&lines, 2);
    let first = lines.iter().find(|line| line["n"] == 0).unwrap();
    let length = HOLE_BYTES + record(&project, 0).len() as u64 + 1;
    assert_eq!((&first["origin"]["offset"], &first["origin"]["length"]), (&json!(0), &json!(length)));
    assert_eq!(first["origin"]["changed"], json!(["leading_nuls"]));
    let mut verify = store.shipper("verify", &state).args(["--file"]).arg(&path).start();
    assert_eq!(verify.exit_code(), 0, "{}", verify.stderr());
}
