//! Compares with other JSON parsers.

use proptest::prelude::*;

use super::*;

fn check(line: &str) -> Check {
    Checker::new().check(line.as_bytes())
}

fn object(line: &str) -> Object {
    match check(line) {
        Check::Object(object) => object,
        Check::Wrap(flaw) => panic!("{line}: {flaw:?}"),
    }
}

const RECORD: &str = r#"{"timestamp":"2026-11-23T18:51:20.123Z","service":"s","level":"info","message":"m","request_id":"r","project_id":null,"n":[1,{"a":-1.5e+3}]}"#;

#[test]
fn a_record_is_recognised() {
    let object = object(RECORD);
    assert!(object.is_record && !object.is_empty);
    assert_eq!(object.closing_brace, RECORD.len() - 1);
    assert_eq!(object.time, Timestamp::parse(b"2026-11-23T18:51:20.123Z"));
}

/// The keys and notations of times are those of the stores.
#[test]
fn times_are_read_in_every_notation() {
    let time = Timestamp::parse(b"2018-07-09T21:17:54.600Z");
    for key in store::TIME_KEYS {
        for value in [
            "1531171074600",
            "1531171074.6",
            "1.5311710746E9",
            r#""1531171074600""#,
            r#""2018-07-09 21:17:54,600""#,
            r#""2018-07-09T22:17:54.6+0100""#,
            r#""2018-07-09T21:17:54.600Z""#,
            r#""2018-07-09T21:17:54.600\u005a""#,
        ] {
            assert_eq!(object(&format!("{{\"a\":1,\"{key}\":{value}}}")).time, time, "{key}: {value}");
            let escaped = format!("\\u{:04x}{}", key.as_bytes()[0], &key[1..]);
            assert_eq!(object(&format!("{{\"{escaped}\":{value}}}")).time, time, "{escaped}: {value}");
        }
    }
    let ordered = r#"{"ts":1,"time":"no","@timestamp":2,"timestamp":null}"#;
    assert_eq!(object(ordered).time, Some(Timestamp::from_unix_ms(2_000)));
    for none in [r#"{"a":{"time":1}}"#, r#"{"Time":1}"#, r#"{"timestampx":1}"#, r#"{"timestamp":[1]}"#] {
        assert_eq!(object(none).time, None, "{none}");
    }
}

#[test]
fn other_objects_are_not_records() {
    for (from, to) in [
        ("\"info\"", "\"INFO\""),
        ("\"request_id\":\"r\",", ""),
        (":null", ":1"),
        ("20.123Z", "20.123+00:00"),
        ("20.123Z", "20Z"),
        ("20.123Z", "20.12Z"),
        ("23T18", "23 18"),
        ("\"service\":\"s\"", "\"service\":\"\""),
        ("\"r\"", "\"\""),
        ("\"r\"", "\"no spaces\""),
        ("\"r\"", &format!("\"{}\"", "r".repeat(129))),
        ("\"service\":\"s\"", &format!("\"service\":\"{}\"", "ä".repeat(129))),
        ("\"message\":\"m\"", "\"message\":{}"),
    ] {
        let line = RECORD.replace(from, to);
        assert!(!object(&line).is_record, "{line}");
    }
    assert!(object("{}").is_empty && !object("{}").is_record);
    let bunyan = r#"{"v":0,"time":"2026-11-23T18:51:20Z","level":30}"#;
    assert_eq!(object(bunyan).time, Timestamp::parse(b"2026-11-23T18:51:20Z"));
}

#[test]
fn flaws_are_named() {
    let deep = format!("{}{}", "{\"a\":".repeat(MAX_DEPTH), "1");
    let too_deep = format!("{{\"a\":{}1{}}}", "[".repeat(MAX_DEPTH), "]".repeat(MAX_DEPTH));
    for (line, flaw) in [
        ("", Flaw::NotJson),
        ("plain text", Flaw::NotJson),
        ("{\"a\":1", Flaw::NotJson),
        ("{\"a\":1}}", Flaw::NotJson),
        ("{\"a\":01}", Flaw::NotJson),
        ("{\"a\":1.}", Flaw::NotJson),
        ("{\"a\":nul}", Flaw::NotJson),
        ("{\"a\":\"\u{1}\"}", Flaw::NotJson),
        (r#"{"a":"\ud800"}"#, Flaw::NotJson),
        (r#"{"a":"\udc00\ud800"}"#, Flaw::NotJson),
        ("{\"a\":1,}", Flaw::NotJson),
        ("[1]", Flaw::NotObject),
        ("null", Flaw::NotObject),
        ("\"x\"", Flaw::NotObject),
        (r#"{"a":1,"a":2}"#, Flaw::DuplicateKey),
        (r#"{"a":1,"\u0061":2}"#, Flaw::DuplicateKey),
        (r#"{"b":[{"😀":1,"\ud83d\ude00":2}]}"#, Flaw::DuplicateKey),
        (r#"{"long_key_name":1,"long_key_namf":1,"long_key_name":2}"#, Flaw::DuplicateKey),
        (r#"{"origin":1}"#, Flaw::RefusedKey),
        (r#"{"origin.offset":1}"#, Flaw::RefusedKey),
        (r#"{"a":1,"_id":"x"}"#, Flaw::RefusedKey),
        (r#"{"\u005frouting":5}"#, Flaw::RefusedKey),
        (r#"{"or\u0069gin":1}"#, Flaw::RefusedKey),
        (r#"{"_source.x":1}"#, Flaw::RefusedKey),
        (r#"{"":1}"#, Flaw::RefusedKey),
        (r#"{".NET":1}"#, Flaw::RefusedKey),
        (r#"{"a longer one. .b":1}"#, Flaw::RefusedKey),
        (r#"{"a.\u002eb":1}"#, Flaw::RefusedKey),
        (r#"{"event":{"":1}}"#, Flaw::RefusedKey),
        (&deep, Flaw::NotJson),
        (&too_deep, Flaw::TooDeep),
    ] {
        assert_eq!(check(line), Check::Wrap(flaw), "{line}");
    }
    assert_eq!(Checker::new().check(b"{\"a\":\"\xff\"}"), Check::Wrap(Flaw::NotUtf8));
    assert_eq!(Checker::new().check(b"\xff"), Check::Wrap(Flaw::NotUtf8));
}

#[test]
fn escapes_do_not_change_the_meaning_of_a_field() {
    for (from, to) in [
        ("\"timestamp\"", r#""times\u0074amp""#),
        ("20.123Z", r"20.123\u005a"),
        ("\"info\"", r#""\u0069nfo""#),
        ("\"r\"", r#""a\/b""#),
        ("\"service\":\"s\"", &format!("\"service\":\"{}\"", r"\u00e4".repeat(128))),
        ("\"service\":\"s\"", &format!("\"service\":\"{}\"", "ä".repeat(128))),
    ] {
        let object = object(&RECORD.replace(from, to));
        assert!(object.is_record, "{to}");
        assert_eq!(object.time, Timestamp::parse(b"2026-11-23T18:51:20.123Z"), "{to}");
    }
    let offset = object(r#"{"@timestamp":"2026-11-23T19:51:20\u002B01:00"}"#);
    assert_eq!(offset.time, Timestamp::parse(b"2026-11-23T18:51:20Z"));
}

#[test]
fn invalid_syntax_has_priority_over_keys() {
    assert_eq!(check(r#"{"a":1,"a":2"#), Check::Wrap(Flaw::NotJson));
    assert_eq!(check(r#"[{"a":1,"a":2}]"#), Check::Wrap(Flaw::NotObject));
    assert_eq!(check(r#"{"origin":1,"a":1,"a":2}"#), Check::Wrap(Flaw::DuplicateKey));
}

#[test]
fn depth_and_numbers_are_limited() {
    let nested = |levels: usize| format!("{}1{}", "{\"a\":".repeat(levels), "}".repeat(levels));
    object(&nested(MAX_DEPTH));
    assert_eq!(check(&nested(MAX_DEPTH + 1)), Check::Wrap(Flaw::TooDeep));
    assert_eq!(check(&"[".repeat(1_000_000)), Check::Wrap(Flaw::TooDeep));
    let digits = "9".repeat(100_000);
    for number in
        ["9223372036854775807", "-9223372036854775808", "1e308", "0.12345678901234567891", "-0", &format!("0.{digits}")]
    {
        object(&format!("{{\"a\":[{number}]}}"));
    }
    for number in
        ["9223372036854775808", "-9223372036854775809", "1e309", &digits, &format!("-{digits}.{digits}E+{digits}")]
    {
        assert_eq!(check(&format!("{{\"a\":[{number}]}}")), Check::Wrap(Flaw::LargeNumber), "{number:.30}");
    }
}

#[test]
fn keys_of_many_objects_are_distinguished() {
    // More keys than are compared one by one, on some levels and again after them.
    let keys = |from: usize| (from..from + 60).map(|n| format!("\"k{n}\":{n},")).collect::<String>();
    let inner = format!("{{{}\"x\":0}}", keys(0));
    let between = format!("\"m\":[{inner},{{{}\"n\":{inner}}},{inner}]", keys(30));
    let line = |last: &str| format!("{{{}{between},\"{last}\":0}}", keys(0));
    object(&line("k60"));
    for twice in ["k0", "k23", "k24", "k59", "m", r"\u006b59"] {
        assert_eq!(check(&line(twice)), Check::Wrap(Flaw::DuplicateKey), "{twice}");
    }
    let within = line("k60").replacen("\"x\":0", "\"k59\":0", 1);
    assert_eq!(check(&within), Check::Wrap(Flaw::DuplicateKey));
    let mut checker = Checker::new();
    for _ in 0..3 {
        assert!(matches!(checker.check(line("k60").as_bytes()), Check::Object(_)));
        assert_eq!(checker.check(line("k59").as_bytes()), Check::Wrap(Flaw::DuplicateKey));
    }
}

#[test]
fn a_nested_key_may_repeat_an_outer_one() {
    object(r#"{"a":{"a":{"a":1},"b":1},"b":{"a":1,"origin":2,"_id":3},"original":4,"_pid":5,"_id_":6,"origins.a":7}"#);
}

#[test]
fn keys_similar_to_rejected_ones_are_accepted() {
    object(r#"{"a":{"":1,".":2,"a..b":3},"event":{"x":{"":1}},"event.x":{"":1},"a.b":1," a":2,"\u00a0":3,"*":4}"#);
}

#[test]
fn a_hundred_thousand_keys_take_linear_time() {
    let keys: Vec<_> = (0..100_000).map(|n| format!("\"key_{n}\":{n}")).collect();
    let line = format!("{{{}}}", keys.join(","));
    object(&line);
    let twice = format!("{{{},\"key_77777\":0}}", keys.join(","));
    assert_eq!(check(&twice), Check::Wrap(Flaw::DuplicateKey));
}

/// Whether an object in a JSON text has a duplicate key, found the slow way.
fn has_duplicates(text: &str) -> bool {
    struct Any(bool);
    impl<'de> serde::Deserialize<'de> for Any {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct Visitor;
            impl<'de> serde::de::Visitor<'de> for Visitor {
                type Value = Any;
                fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    formatter.write_str("anything")
                }
                fn visit_unit<E>(self) -> Result<Any, E> {
                    Ok(Any(false))
                }
                fn visit_bool<E>(self, _: bool) -> Result<Any, E> {
                    Ok(Any(false))
                }
                fn visit_i64<E>(self, _: i64) -> Result<Any, E> {
                    Ok(Any(false))
                }
                fn visit_u64<E>(self, _: u64) -> Result<Any, E> {
                    Ok(Any(false))
                }
                fn visit_f64<E>(self, _: f64) -> Result<Any, E> {
                    Ok(Any(false))
                }
                fn visit_str<E>(self, _: &str) -> Result<Any, E> {
                    Ok(Any(false))
                }
                fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<Any, A::Error> {
                    let mut found = false;
                    while let Some(Any(inner)) = seq.next_element()? {
                        found |= inner;
                    }
                    Ok(Any(found))
                }
                fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Any, A::Error> {
                    let (mut found, mut keys) = (false, std::collections::BTreeSet::new());
                    while let Some((key, Any(inner))) = map.next_entry::<String, Any>()? {
                        found |= inner | !keys.insert(key);
                    }
                    Ok(Any(found))
                }
            }
            deserializer.deserialize_any(Visitor)
        }
    }
    serde_json::from_str::<Any>(text).is_ok_and(|any| any.0)
}

/// Texts that are often valid JSON or nearly so.
fn nearly_json() -> impl Strategy<Value = String> {
    let token = prop::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        ":",
        ",",
        "\"a\"",
        "\"b\"",
        "\"\\u0061\"",
        "\"origin\"",
        "1",
        "-0",
        "1e5",
        "0.5",
        "01",
        "true",
        "null",
        " ",
        "\"ä\"",
        "\"\\n\"",
        "\"\\",
        "\"",
        "\t",
        "{\"a\":1}",
        "\"long key name 1\"",
        "\"long key name 2\"",
    ]);
    prop::collection::vec(token, 0..14).prop_map(|tokens| tokens.concat())
}

fn json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<i64>().prop_map(|n| n.to_string()),
        any::<f32>().prop_filter("finite", |n| n.is_finite()).prop_map(|n| format!("{n:?}")),
        any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap()),
    ];
    let key = prop_oneof!["[a-c]", "[a-c]{9}", any::<String>()];
    leaf.prop_recursive(4, 40, 6, move |inner| {
        let member = (key.clone(), inner.clone());
        prop_oneof![
            prop::collection::vec(inner, 0..5).prop_map(|items| format!("[{}]", items.join(" ,"))),
            prop::collection::vec(member, 0..40).prop_map(|members| {
                let members: Vec<_> = members
                    .iter()
                    .map(|(key, value)| format!("{}: {value}", serde_json::to_string(key).unwrap()))
                    .collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    })
}

fn agrees_with_serde(text: &str) -> Result<(), TestCaseError> {
    let found = check(text);
    let valid = serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
    prop_assert_eq!(valid, found != Check::Wrap(Flaw::NotJson), "{}", text);
    if valid && text.trim_start().starts_with('{') {
        let duplicates = matches!(found, Check::Wrap(Flaw::DuplicateKey));
        prop_assert_eq!(has_duplicates(text), duplicates, "{}", text);
    }
    if let Check::Object(object) = found {
        prop_assert_eq!(text.as_bytes()[object.closing_brace], b'}');
        prop_assert_eq!(text[object.closing_brace + 1..].trim(), "");
    }
    Ok(())
}

proptest! {
    #[test]
    fn what_is_nearly_json_is_judged_as_serde_judges_it(text in nearly_json()) {
        agrees_with_serde(&text)?;
    }

    #[test]
    fn json_is_judged_as_serde_judges_it(text in json()) {
        agrees_with_serde(&text)?;
    }

    #[test]
    fn any_bytes_are_checked_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        let utf8 = std::str::from_utf8(&bytes).is_ok();
        let mut checker = Checker::new();
        let found = checker.check(&bytes);
        prop_assert_eq!(checker.check(&bytes), found);
        prop_assert_eq!(!utf8, found == Check::Wrap(Flaw::NotUtf8));
    }
}
