//! A document's time: its own, or the arrival time of its line.

use serde_json::Value;

use crate::id::GenerationId;
use crate::normalise::Draft;
use crate::normalise::epoch::{self, SECONDS_BELOW};
use crate::normalise::object::{Object, scalar};
use crate::normalise::table::{INSTANT_KEYS, TIME_KEYS};
use crate::normalise::time_text;
use crate::record::contract_time;
use crate::timestamp::Timestamp;

/// Takes the time from a document: the first parseable one of [`TIME_KEYS`], else the time it was received, else the
/// creation time of its generation. The text is in the contract's form.
pub(super) fn take(draft: &mut Draft<'_>, origin: &Object<'_>, generation: GenerationId) -> (Timestamp, String) {
    let mut taken = None;
    for key in TIME_KEYS {
        if taken.is_none() {
            taken = draft.document.text(key).and_then(read_text);
            if taken.is_some() {
                draft.document.remove(key);
            }
        }
        // These two keys belong to the contract and the engine; any other key may have another meaning.
        if matches!(key, "timestamp" | "@timestamp") {
            draft.set_aside(key);
        }
    }
    taken.or_else(|| origin.scalar("received").as_ref().and_then(read)).unwrap_or_else(|| {
        let born = i64::try_from(generation.created_unix_ms()).unwrap_or_default();
        let born = Timestamp::from_unix_ms(born);
        (born, born.to_string())
    })
}

/// Returns the index of a top-level key in the list of time keys. The first parseable one determines the time.
#[must_use]
pub fn time_key_index(key: &[u8]) -> Option<usize> {
    TIME_KEYS.iter().position(|known| known.as_bytes() == key)
}

/// Parses the JSON value of a time key: a string in any supported notation, or a number since the epoch. Either store
/// uses this time for the document.
#[must_use]
pub fn parse_time(value: &str) -> Option<Timestamp> {
    if value.starts_with('{') { instant(value) } else { time(&scalar(value)) }
}

/// Parses a JSON value: one that [`read`] accepts, or an object with an instant.
fn read_text(value: &str) -> Option<(Timestamp, String)> {
    if !value.starts_with('{') {
        return read(&scalar(value));
    }
    instant(value).map(|time| (time, time.to_string()))
}

/// Parses an object with an instant, as written by Log4j 2.
fn instant(value: &str) -> Option<Timestamp> {
    let [second, nano] = INSTANT_KEYS;
    let object = Object::parse(value).ok()?;
    let second = object.scalar(second)?.as_i64().filter(|second| second.saturating_abs() < SECONDS_BELOW)?;
    let nano = match object.text(nano) {
        None | Some("null") => 0,
        Some(nano) => scalar(nano).as_i64().filter(|nano| (0..1_000_000_000).contains(nano))?,
    };
    Some(Timestamp::from_unix_micros(second * 1_000_000 + nano / 1_000))
}

/// Parses a scalar. Returns the time and its text, which is kept if it meets the contract.
pub(super) fn read(value: &Value) -> Option<(Timestamp, String)> {
    let time = time(value)?;
    let text = match value {
        Value::String(text) if contract_time(text).is_some() => text.clone(),
        _ => time.to_string(),
    };
    Some((time, text))
}

fn time(value: &Value) -> Option<Timestamp> {
    match value {
        Value::String(text) => contract_time(text).or_else(|| time_text::parse(text.as_bytes())),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => Some(epoch::from_whole(whole)),
            None if number.is_f64() => epoch::from_seconds(number.as_f64()?),
            None => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn times_are_read_in_every_common_form() {
        for (value, text) in [
            (json!("2026-11-23T18:51:20.123456789Z"), "2026-11-23T18:51:20.123456789Z"),
            (json!("2026-11-23T18:51:20Z"), "2026-11-23T18:51:20.000000Z"),
            (json!("2026-11-23 19:51:20.5+01:00"), "2026-11-23T18:51:20.500000Z"),
            (json!(1_795_459_880), "2026-11-23T18:51:20.000000Z"),
            (json!(1_795_459_880_250_i64), "2026-11-23T18:51:20.250000Z"),
            (json!(1_795_459_880_250_001_i64), "2026-11-23T18:51:20.250001Z"),
            (json!(1_795_459_880_250_001_999_i64), "2026-11-23T18:51:20.250001Z"),
            (json!(1_795_459_880.25), "2026-11-23T18:51:20.250000Z"),
        ] {
            assert_eq!(read(&value).unwrap().1, text, "{value}");
        }
        for value in [json!("yesterday"), json!(null), json!(1e300), json!(u64::MAX), json!([1])] {
            assert_eq!(read(&value), None, "{value}");
        }
        for (value, text) in [
            (r#"{"epochSecond":1795459880,"nanoOfSecond":250001999}"#, Some("2026-11-23T18:51:20.250001Z")),
            (r#"{"epochSecond":-1,"nanoOfSecond":null}"#, Some("1969-12-31T23:59:59.000000Z")),
            (r#"{"epochSecond":1795459880,"nanoOfSecond":1000000000}"#, None),
            (r#"{"epochSecond":1795459880,"nanoOfSecond":"1"}"#, None),
            (r#"{"epochSecond":"1795459880"}"#, None),
            (r#"{"epochSecond":100000000000}"#, None),
            (r#"{"nanoOfSecond":1}"#, None),
        ] {
            assert_eq!(read_text(value).map(|read| read.1).as_deref(), text, "{value}");
        }
    }
}
