//! Documents as they go into a batch.

use proptest::prelude::*;
use serde_json::Value;

use super::*;

const ARRIVED: Timestamp = Timestamp::from_unix_ms(1_795_000_000_123);

fn push(line: &[u8], cut_bytes: u64) -> (Pushed, String, String) {
    let generation = GenerationId::new(1_795_000_000_000, &[1; 10]);
    let mut documents = Documents::new("ho\"st", "edge", "plain");
    let origin = documents.origin(&Place::Stream("stdout".to_owned()), generation);
    let mut batch = BatchBuilder::new("app-logs");
    let length = line.len() as u64 + cut_bytes + 1;
    let line = LineView { offset: 7, length, bytes: line, cut_bytes, written: None };
    let pushed = documents.push(&mut batch, &origin, &line, ARRIVED);
    let batch = batch.finish(0);
    let document = String::from_utf8(batch.document(0).to_vec()).unwrap();
    (pushed, document, batch.index_name(0).to_owned())
}

#[test]
fn a_line_passes_as_it_is_with_its_origin() {
    let (pushed, document, index) = push(b" {\"timestamp\":\"2026-11-23T18:51:20Z\", \"a\" : 1 } \r", 0);
    assert_eq!(pushed, Pushed { kind: Kind::Foreign, used_arrival: false });
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
    assert_eq!(pushed, Pushed { kind: Kind::Wrapped(Flaw::TooLong), used_arrival: true });
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
fn only_a_whole_line_loses_its_carriage_return() {
    assert!(push(b"a\r", 0).1.contains("\"message\":\"a\","));
    assert!(push(b"a\r", 9).1.contains("\"message\":\"a\\r\","));
}

#[test]
fn a_wrapped_line_and_one_without_a_time_read_as_written_here() {
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
fn each_line_is_written_with_its_own_arrival() {
    let mut documents = Documents::new("host", "edge", "plain");
    let origin = documents.origin(&Place::File("a \"b\"".to_owned()), GenerationId::new(1, &[1; 10]));
    let mut batch = BatchBuilder::new("app-logs");
    let times = [ARRIVED, Timestamp::from_unix_ms(0), ARRIVED];
    for (place, arrived) in times.iter().enumerate() {
        let line = LineView { offset: place as u64, length: u64::MAX, bytes: b"x", cut_bytes: 0, written: None };
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
fn an_absurd_time_does_not_choose_the_index() {
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
        if matches!(pushed.kind, Kind::Wrapped(_)) {
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
