//! Tests the documents in a batch.

use proptest::prelude::*;
use serde_json::{Value, json};

use std::path::Path;

use super::*;
use crate::sources::{FileSource, StreamSource};

const ARRIVED: Timestamp = Timestamp::from_unix_ms(1_795_000_000_123);

fn push(line: &[u8], cut_bytes: u64) -> (Pushed, String, String) {
    let generation = GenerationId::new(1_795_000_000_000, &[1; 10]);
    let mut documents = Documents::new("ho\"st", "edge", "plain");
    let origin = documents.origin(&Source::Stream(StreamSource::new("stdout")), generation);
    let mut batch = BatchBuilder::new("app-logs");
    let length = line.len() as u64 + cut_bytes + 1;
    let line = LineView { offset: 7, length, bytes: line, cut_bytes, written: None, changes: ChangeSet::default() };
    let pushed = documents.push(&mut batch, &origin, &line, ARRIVED);
    let batch = batch.finish(0);
    let document = String::from_utf8(batch.document(0).to_vec()).unwrap();
    (pushed, document, batch.index_name(0).to_owned())
}

#[test]
fn a_valid_line_is_unchanged_except_for_its_origin() {
    let (pushed, document, index) = push(b" {\"timestamp\":\"2026-11-23T18:51:20Z\", \"a\" : 1 } \r", 0);
    assert_eq!(pushed, Pushed { kind: Kind::Foreign, changes: ChangeSet::default(), used_arrival: false });
    assert_eq!(
        document,
        " {\"timestamp\":\"2026-11-23T18:51:20Z\", \"a\" : 1 ,\"origin\":{\"host\":\"ho\\\"st\",\"shipper\":\"edge\",\
         \"stream\":\"stdout\",\"generation\":\"01a1ee51e6007101810101010101010101\",\"offset\":7,\"length\":50}}"
            .replace("01a1ee51e6007101810101010101010101", &GenerationId::new(1_795_000_000_000, &[1; 10]).to_string())
    );
    assert_eq!(index, "app-logs-2026.11.23");
    assert!(push(b"{}", 0).1.starts_with("{\"origin\":"));
}

#[test]
fn plain_text_is_wrapped() {
    let (pushed, document, index) = push(b"a \"b\"\x00\xff", 3);
    assert_eq!(
        pushed,
        Pushed { kind: Kind::Wrapped(Flaw::TooLong), changes: ChangeSet::default(), used_arrival: true }
    );
    let value: Value = serde_json::from_str(&document).unwrap();
    assert_eq!(value["message"], "a \"b\"\u{0}\u{fffd}");
    assert_eq!((&value["service"], &value["level"]), (&"plain".into(), &"info".into()));
    assert_eq!(value["timestamp"], ARRIVED.to_string());
    assert_eq!((&value["origin"]["wrapped"], &value["origin"]["cut_bytes"]), (&"too_long".into(), &3.into()));
    assert_eq!(index, format!("app-logs-{}", ARRIVED.day()));
}

#[test]
fn every_control_character_is_escaped() {
    let (_, document, _) = push("\u{0}\u{1f}\u{7f}\u{80}\u{9f}\u{a0}ä\u{c2}\"\\\t°".as_bytes(), 0);
    let escaped = r#"\u0000\u001f\u007f\u0080\u009f"#;
    let message = format!("\"message\":\"{escaped}\u{a0}ä\u{c2}\\\"\\\\\\t°\",\"request_id\"");
    assert!(document.contains(&message), "{document}");
}

#[test]
fn only_a_complete_line_loses_its_carriage_return() {
    assert!(push(b"a\r", 0).1.contains("\"message\":\"a\","));
    assert!(push(b"a\r", 9).1.contains("\"message\":\"a\\r\","));
}

#[test]
fn documents_of_a_wrapped_line_and_one_without_a_time() {
    let generation = GenerationId::new(1_795_000_000_000, &[1; 10]);
    let shared =
        format!(r#""origin":{{"host":"ho\"st","shipper":"edge","stream":"stdout","generation":"{generation}""#);
    let head = format!(r#"{{"timestamp":"{ARRIVED}","service":"plain","level":"info","message":"ab""#);
    let origin = format!(r#"{shared},"offset":7,"length":12,"wrapped":"too_long","cut_bytes":9}}"#);
    assert_eq!(push(b"ab", 9).1, format!(r#"{head},"request_id":null,"project_id":null,{origin}}}"#));
    let origin = format!(r#"{shared},"offset":7,"length":3,"received":"{ARRIVED}"}}"#);
    assert_eq!(push(b"{}", 0).1, format!("{{{origin}}}"));
}

#[test]
fn each_line_has_its_own_arrival() {
    let mut documents = Documents::new("host", "edge", "plain");
    let origin = documents.origin(&Source::File(FileSource::new(Path::new("a \"b\""))), GenerationId::new(1, &[1; 10]));
    let mut batch = BatchBuilder::new("app-logs");
    let times = [ARRIVED, Timestamp::from_unix_ms(0), ARRIVED];
    for (place, arrived) in times.iter().enumerate() {
        let line = LineView {
            offset: place as u64,
            length: u64::MAX,
            bytes: b"x",
            cut_bytes: 0,
            written: None,
            changes: ChangeSet::default(),
        };
        documents.push(&mut batch, &origin, &line, *arrived);
    }
    let batch = batch.finish(0);
    for (place, arrived) in times.iter().enumerate() {
        let value: Value = serde_json::from_slice(batch.document(place)).unwrap();
        assert_eq!(value["timestamp"], arrived.to_string());
        assert_eq!((&value["origin"]["file"], &value["origin"]["length"]), (&"a \"b\"".into(), &u64::MAX.into()));
    }
}

#[test]
fn an_implausible_time_does_not_select_the_index() {
    for (time, sane) in [
        ("1970-01-01T00:00:00Z", false),
        ("9999-12-31T23:59:59Z", false),
        ("2001-01-01T00:00:00Z", true),
        ("2027-01-01T00:00:00Z", true),
    ] {
        let (pushed, document, index) = push(format!("{{\"timestamp\":\"{time}\"}}").as_bytes(), 0);
        assert_eq!(pushed.used_arrival, !sane, "{time}");
        assert_eq!(document.contains("\"received\":"), !sane, "{time}");
        assert_eq!(index == format!("app-logs-{}", ARRIVED.day()), !sane, "{time}");
    }
}

/// A record with a part of its text replaced.
fn record_with(from: &str, to: &str) -> String {
    let record = r#"{"timestamp":"2026-01-01T00:00:00.000Z","service":"s","level":"error","message":"m","request_id":"r-1","project_id":"p-1","user":"a"}"#;
    assert!(record.contains(from));
    record.replacen(from, to, 1)
}

/// Lines that stores reject, with the expected changes and replaced values.
fn nearly_records() -> Vec<(Vec<u8>, Vec<&'static str>, Value)> {
    let at_end = |member: &str| record_with("\"a\"}", &format!("\"a\",{member}}}")).into_bytes();
    let none = || Value::Null;
    let latin_1 = record_with("\"user\":\"a\"", "\"user\":\"?\"").replace('?', "\u{1}").into_bytes();
    let latin_1 = latin_1.into_iter().map(|byte| if byte == 1 { 0xe9 } else { byte }).collect();
    let deep = format!("\"deep\":{}1{}", "[".repeat(150), "]".repeat(150));
    vec![
        (record_with("{", "\u{feff}{").into_bytes(), vec!["byte_order_mark"], none()),
        (at_end(r#""cut":"emoji \ud83d""#), vec!["lone_surrogate:cut"], none()),
        (at_end(r#""cut":{"a":["\udc00\ud83d\ud83d\ude00"]}"#), vec!["lone_surrogate:cut.a"], none()),
        (
            at_end(r#""origin":"https://shop.example""#),
            vec!["reserved_key:origin"],
            json!({ "origin": "https://shop.example" }),
        ),
        (
            at_end(r#""_id":"x","origin.file":{"a":1},"_id":2"#),
            vec!["reserved_key:_id", "reserved_key:origin.file"],
            json!({ "_id": ["x", 2], "origin.file": { "a": 1 } }),
        ),
        (
            at_end(r#""_id.x":1,"event":{"ingested":2,"kind":"event"},"event.ingested.x":3"#),
            vec!["reserved_key:_id.x", "reserved_key:event.ingested", "reserved_key:event.ingested.x"],
            json!({ "_id.x": 1, "event.ingested": 2, "event.ingested.x": 3 }),
        ),
        (
            at_end(r#""":{"a..b":1},".NET":"9.0","\u0009":null,"a.":4,"event":[{"..":5}],"in":{"":6}"#),
            vec!["invalid_key:", "invalid_key:.NET", "invalid_key:\t", "invalid_key:a.", "invalid_key:event..."],
            json!({ "": { "a..b": 1 }, ".NET": "9.0", "\t": null, "a.": 4, "event...": 5 }),
        ),
        (at_end(r#""user":"b""#), vec!["duplicate_key:user"], json!({ "user": "a" })),
        (at_end(r#""us\u0065r":"b","user":"c""#), vec!["duplicate_key:user"], json!({ "user": ["a", "b"] })),
        (at_end(r#""in":{"a":1,"b":2,"a":3}"#), vec!["duplicate_key:in.a"], json!({ "in.a": 1 })),
        (at_end(r#""request_id":null"#), vec!["duplicate_key:request_id"], json!({ "request_id": null })),
        (at_end(r#""level":"gold""#), vec!["duplicate_key:level"], json!({ "level": "gold" })),
        (at_end(r#""n":NaN,"i":-Infinity"#), vec!["not_a_number:n", "not_a_number:i"], none()),
        (at_end(r#""n":18446744073709551615,"e":1e999"#), vec!["large_number:n", "large_number:e"], none()),
        (at_end(&deep), vec!["too_deep:deep"], none()),
        (at_end("\"a\":[1,2,],"), vec!["trailing_comma:a"], none()),
        (at_end("\"a\":1,"), vec!["trailing_comma"], none()),
        (at_end("\"tab\":\"a\tb\0\""), vec!["control_character:tab"], none()),
        (at_end(r#""path":"C:\dir \x1b""#), vec!["invalid_escape:path"], none()),
        (latin_1, vec!["invalid_utf8"], none()),
    ]
}

#[test]
fn a_repaired_line_keeps_its_meaning() {
    for (line, changed, replaced) in nearly_records() {
        let text = String::from_utf8_lossy(&line).into_owned();
        for ending in [&b""[..], b"\r"] {
            let (pushed, document, index) = push(&[&line, ending].concat(), 0);
            let value: Value = serde_json::from_str(&document).unwrap_or_else(|error| panic!("{document}: {error}"));
            assert_eq!(pushed.kind, Kind::Record, "{text}");
            let reported: Vec<_> = value["origin"]["changed"].as_array().unwrap().iter().collect();
            assert_eq!(reported, changed, "{text}");
            assert_eq!(value["origin"]["replaced"], replaced, "{text}");
            assert_eq!((&value["level"], &value["request_id"]), (&"error".into(), &"r-1".into()), "{text}");
            assert_eq!((&value["message"], &value["project_id"]), (&"m".into(), &"p-1".into()), "{text}");
            assert_eq!(index, "app-logs-2026.01.01", "{text}");
            assert_eq!(value["origin"]["length"], line.len() + ending.len() + 1);
            let kinds: Vec<_> = pushed.changes.iter().map(Change::as_str).collect();
            assert!(changed.iter().all(|entry| kinds.contains(&entry.split(':').next().unwrap())), "{kinds:?}");
        }
    }
    let value: Value = serde_json::from_str(&push(&nearly_records()[1].0, 0).1).unwrap();
    assert_eq!(value["cut"], "emoji \u{fffd}");
}

#[test]
fn a_byte_order_mark_is_not_part_of_the_text() {
    let (pushed, document, _) = push("\u{feff}plain".as_bytes(), 0);
    let value: Value = serde_json::from_str(&document).unwrap();
    assert_eq!((&value["message"], &value["origin"]["changed"][0]), (&"plain".into(), &"byte_order_mark".into()));
    assert_eq!(pushed.kind, Kind::Wrapped(Flaw::NotJson));
}

/// A record cut anywhere keeps the members before the cut, and gets no others.
#[test]
fn a_cut_record_keeps_the_members_before_the_cut() {
    let record = record_with("\"a\"}", r#""ä \ud83d\ude00 \n","list":[1,{"k":-2.5e3,"b":true}],"last":"x"}"#);
    let whole: Value = serde_json::from_str(&record).unwrap();
    for at in 0..record.len() {
        let (pushed, document, _) = push(&record.as_bytes()[..at], (record.len() - at) as u64);
        let value: Value = serde_json::from_str(&document).unwrap();
        let has = |key: &str| at > record.find(&format!("\"{key}\"")).unwrap() + key.len() + 16;
        if has("timestamp") && record[..at.min(40)].len() == 40 {
            assert_eq!(value["timestamp"], "2026-01-01T00:00:00.000Z", "{document}");
            assert_eq!(value["origin"]["changed"], json!(["too_long"]), "{document}");
            let left = value["origin"]["cut_bytes"].as_u64().unwrap();
            assert!(left >= (record.len() - at) as u64 && left < (record.len() - at) as u64 + 20, "{document}");
        }
        if has("request_id") {
            assert_eq!((&value["level"], &value["message"]), (&whole["level"], &whole["message"]), "{document}");
            assert_eq!((&value["request_id"], pushed.kind != Kind::Wrapped(Flaw::TooLong)), (&"r-1".into(), true));
        }
        if let Some(k) = value["list"][1].get("k") {
            assert_eq!(k, -2.5e3, "{document}");
        }
    }
    let (pushed, document, _) = push(b"{\"message\": a text that only begins like an object", 9);
    assert_eq!(pushed.kind, Kind::Wrapped(Flaw::TooLong), "{document}");
}

/// The document of the worst line still fits into the space reserved for a dead letter.
#[test]
fn a_changed_line_grows_by_a_limited_factor() {
    let duplicates = |key: &str| (0..2_000).map(|_| format!("\"{key}\":1")).collect::<Vec<_>>().join(",");
    let long_path = "k".repeat(50);
    let nested = format!("{}{{{}}}{}", format!("{{\"{long_path}\":").repeat(90), duplicates(""), "}".repeat(90));
    for line in [
        nested.into_bytes(),
        format!("{{{}}}", duplicates("_id")).into_bytes(),
        [b"{\"a\":\"".as_slice(), &[0xff; 10_000], b"\"}"].concat(),
        [b"{\"a\":\"".as_slice(), &[1; 10_000], b"\"}"].concat(),
        format!("{{\"a\":{}", "[".repeat(10_000)).into_bytes(),
    ] {
        for cut_bytes in [0, 1] {
            let (_, document, _) = push(&line, cut_bytes);
            assert!(document.len() < 7 * line.len() + 8_000, "{} of {}", document.len(), line.len());
        }
    }
}

proptest! {
    #[test]
    fn every_line_becomes_an_object_with_its_origin(line in prop_oneof![
        prop::collection::vec(any::<u8>(), 0..80),
        any::<String>().prop_map(String::into_bytes),
        "\\{\"[a-c]\":(1|\"x\"|null|\\{\\}),\"[a-c]\":[0-9]{1,5}\\}".prop_map(String::into_bytes),
    ]) {
        let (pushed, document, _) = push(&line, 0);
        prop_assert_eq!(Checker::new().check(document.replace("\"origin\"", "\"o\"").as_bytes()).is_object(), true);
        let mut value: Value = serde_json::from_str(&document).unwrap();
        let origin = value.as_object_mut().unwrap().remove("origin").unwrap();
        prop_assert_eq!(&origin["length"], line.len() + 1);
        prop_assert_eq!(push(&line, 0).1, document);
        if !pushed.changes.is_empty() {
            prop_assert!(!origin["changed"].as_array().unwrap().is_empty());
        } else if matches!(pushed.kind, Kind::Wrapped(_)) {
            let text = String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(&line)).into_owned();
            prop_assert_eq!(value["message"].as_str(), Some(&*text));
        } else {
            prop_assert_eq!(value, serde_json::from_slice::<Value>(&line).unwrap());
        }
    }
}

impl Check {
    fn is_object(&self) -> bool {
        matches!(self, Self::Object(_))
    }
}
