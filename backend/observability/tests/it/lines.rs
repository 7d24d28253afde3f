//! Log lines as a shipper reads them: each meets the contract's schema and has distinct keys.

use std::collections::HashSet;
use std::sync::LazyLock;

use proptest::prelude::*;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use tracing::dispatcher::with_default;
use tracing::field;

use crate::support::Rig;

static SCHEMA: LazyLock<jsonschema::Validator> = LazyLock::new(|| {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../specs/003-improve-observability-prometheus/contracts/log-record.schema.json"
    );
    let schema = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    jsonschema::options().should_validate_formats(true).build(&schema).unwrap()
});

/// An object's keys in order, including duplicates.
struct Keys(Vec<String>);

impl<'de> Deserialize<'de> for Keys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Keys;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Keys, A::Error> {
                let mut keys = Vec::new();
                while let Some((key, _)) = map.next_entry::<String, Value>()? {
                    keys.push(key);
                }
                Ok(Keys(keys))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

/// The only line of `rig`, which must be a valid record.
fn only_record(rig: &Rig) -> Value {
    let text = rig.log_text();
    assert_eq!(text.lines().count(), 1, "{text}");
    let line = text.trim_end();
    let Keys(keys) = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    assert_eq!(keys.iter().collect::<HashSet<_>>().len(), keys.len(), "duplicate key: {line}");
    let value = serde_json::from_str(line).unwrap();
    let errors: Vec<_> = SCHEMA.iter_errors(&value).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{errors:?}: {line}");
    value
}

type Five = [Option<i64>; 5];

proptest! {
    #[test]
    fn keys_are_distinct_and_the_innermost_value_wins(
        outer: Five, inner: Five, recorded: Five, event: Five, text: String,
    ) {
        let rig = Rig::new();
        with_default(&rig.dispatch, || {
            let [a, b, c, d, e] = outer;
            let outer = tracing::info_span!("outer", shared = a, service = b, field_service = c, origin = d, other = e);
            let _outer = outer.enter();
            let [a, b, c, d, e] = inner;
            let inner = tracing::info_span!("inner", shared = a, service = b, field_service = c, origin = d, other = e);
            let _inner = inner.enter();
            for (name, value) in ["shared", "service", "field_service", "origin", "other"].into_iter().zip(recorded) {
                inner.record(name, value);
            }
            let [a, b, c, d, e] = event;
            tracing::info!(shared = a, service = b, field_service = c, origin = d, other = e, "{text}");
        });
        let line = only_record(&rig);
        prop_assert_eq!(&line["message"], &text);
        prop_assert_eq!(&line["service"], "tested");
        prop_assert!(line.get("origin").is_none());
        for (index, name) in [(0, "shared"), (3, "field_origin"), (4, "other")] {
            let expected = event[index].or(recorded[index]).or(inner[index]).or(outer[index]);
            prop_assert_eq!(line.get(name).and_then(Value::as_i64), expected, "{}", name);
        }
    }

    #[test]
    fn any_text_in_a_field_is_escaped(text: String, debugged: String) {
        let rig = Rig::new();
        with_default(&rig.dispatch, || tracing::warn!(text, ?debugged, shown = %text, "{debugged}"));
        let line = only_record(&rig);
        prop_assert_eq!((&line["text"], &line["shown"], &line["message"]), (&text.as_str().into(), &text.into(), &debugged.as_str().into()));
        prop_assert_eq!(&line["debugged"], &format!("{debugged:?}"));
    }
}

#[derive(Debug, thiserror::Error)]
#[error("can't write")]
struct Failed(#[source] std::io::Error);

#[test]
fn every_kind_of_value_is_valid_json() {
    let rig = Rig::new();
    let cause = Failed(std::io::Error::other("the disk \"is\" full"));
    with_default(&rig.dispatch, || {
        tracing::debug!("below the filter");
        tracing::error!(
            yes = true,
            whole = u64::MAX,
            negative = i64::MIN,
            wide = u128::MAX,
            half = 0.5,
            nan = f64::NAN,
            infinite = f64::INFINITY,
            empty = field::Empty,
            error = &cause as &dyn std::error::Error,
            r#type = "t",
            "log.level" = "kept",
            "quoted \"key\"" = 1,
        );
    });
    let line = only_record(&rig);
    assert_eq!((&line["yes"], &line["whole"], &line["negative"]), (&true.into(), &u64::MAX.into(), &i64::MIN.into()));
    assert_eq!((&line["wide"], &line["half"]), (&u128::MAX.to_string().into(), &0.5.into()));
    assert!(line["nan"].is_null() && line["infinite"].is_null() && line.get("empty").is_none(), "{line}");
    assert_eq!((&line["message"], &line["type"]), (&"".into(), &"t".into()));
    assert_eq!((&line["log.level"], &line["quoted \"key\""]), (&"kept".into(), &1.into()));
    assert_eq!(line["error"], "can't write: the disk \"is\" full");
}

#[test]
fn a_message_of_any_type_is_a_string() {
    for message in [
        (|| tracing::info!(message = 5)) as fn(),
        || tracing::info!(message = true),
        || tracing::info!(message = f64::NAN),
        || tracing::info!(message = "5"),
        || tracing::info!(message = ?Some(5)),
    ] {
        let rig = Rig::new();
        with_default(&rig.dispatch, message);
        assert!(only_record(&rig)["message"].is_string());
    }
}

#[test]
fn a_value_that_logs_while_it_is_formatted_does_not_corrupt_the_line() {
    struct Chatty;
    impl std::fmt::Debug for Chatty {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            tracing::info!(within = 1, "inner");
            f.write_str("chatty")
        }
    }
    let rig = Rig::new();
    with_default(&rig.dispatch, || tracing::info!(value = ?Chatty, after = 2, "outer"));
    let lines = rig.log_lines();
    // tracing may suppress an event within an event
    let outer = lines.iter().find(|line| line["message"] == "outer").unwrap();
    assert_eq!((&outer["value"], &outer["after"]), (&"chatty".into(), &2.into()), "{lines:?}");
    assert!(outer.get("within").is_none());
}
