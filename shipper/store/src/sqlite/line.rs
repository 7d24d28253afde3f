//! Parses a document for the embedded store: the contract's fields and all searchable ones, in one pass.
//!
//! Documents with unusual content (lists of values, a number instead of a string, dotted names) are left to
//! [`DocumentFields`], which is slower and defines the result; a test compares the two.

mod fast_path;

use std::borrow::Cow;

use crate::id::GenerationId;
use crate::normalise::normalise;
use crate::query::{DocumentFields, Field, Number, NumberField};
use crate::record::read;
use crate::sqlite::line::fast_path::parse as parse_fast;
use crate::timestamp::Timestamp;

/// The indexed content of a line.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Line<'a> {
    pub(crate) time: i64,
    pub(crate) message: Cow<'a, str>,
    pub(crate) texts: Vec<(Field, Cow<'a, str>)>,
    pub(crate) statuses: Vec<i32>,
    /// In milliseconds.
    pub(crate) durations: Vec<f64>,
}

/// Parses a document. If it does not meet the contract, it is normalised, which changes its text.
///
/// # Errors
/// When it is not a JSON object.
pub(crate) fn parse(document: &[u8], generation: GenerationId) -> Result<Parsed<'_>, String> {
    let text = std::str::from_utf8(document).map_err(|error| error.to_string())?;
    if let Some(line) = parse_fast(text) {
        return Ok(Parsed::Unchanged(line, text));
    }
    if let Some(record) = read(text).filter(|_| !has_event_value(text)) {
        return Ok(Parsed::Unchanged(Line::from_fields(record.time, text), text));
    }
    let (record, text) = normalise(text, generation)?;
    Ok(Parsed::Normalised(record.time, text))
}

/// Whether a document's `event` is not an object. Such a value is set aside, as in the ingest pipeline.
fn has_event_value(document: &str) -> bool {
    #[derive(serde::Deserialize)]
    struct Document<'a> {
        #[serde(borrow)]
        event: Option<&'a serde_json::value::RawValue>,
    }
    let event = serde_json::from_str::<Document<'_>>(document).ok().and_then(|document| document.event);
    event.is_some_and(|event| !event.get().starts_with('{'))
}

/// A parsed document.
pub(crate) enum Parsed<'a> {
    /// It meets the contract.
    Unchanged(Line<'a>, &'a str),
    /// Its time and its normalised text.
    Normalised(Timestamp, String),
}

impl<'a> Line<'a> {
    /// Extracts the content of a document with [`DocumentFields`].
    pub(crate) fn from_fields(time: Timestamp, document: &'a str) -> Self {
        let facts = DocumentFields::parse(document);
        let owned = |value: &str| Cow::Owned(value.to_owned());
        let texts = Field::ALL.into_iter().flat_map(|field| facts.values(field).map(move |value| (field, value)));
        Self {
            time: time.unix_micros(),
            message: owned(facts.message()),
            texts: texts.map(|(field, value)| (field, owned(value))).collect(),
            statuses: facts.numbers(NumberField::Status).filter_map(to_status).collect(),
            durations: facts.numbers(NumberField::DurationMs).map(Number::get).collect(),
        }
    }

    /// Extracts the content of a stored line with this time.
    pub(crate) fn from_stored(time: i64, document: &'a str) -> Self {
        let line =
            parse_fast(document).unwrap_or_else(|| Self::from_fields(Timestamp::from_unix_micros(time), document));
        Self { time, ..line }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a status is a to_status number of 32 bits")]
fn to_status(number: Number) -> Option<i32> {
    Some(number.get() as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_that_is_not_an_object_is_set_aside() {
        let record = |event: &str| {
            format!(
                r#"{{"timestamp":"2026-11-23T18:51:20.123Z","service":"s","level":"info","message":"m","request_id":null,"project_id":null,"event":{event}}}"#
            )
        };
        let generation = GenerationId::new(1, &[7; 10]);
        let taken = |text: &str| match parse(text.as_bytes(), generation).unwrap() {
            Parsed::Unchanged(_, text) => text.to_owned(),
            Parsed::Normalised(_, text) => text,
        };
        for kept in ["null", r#"{"kind":"x"}"#] {
            assert_eq!(taken(&record(kept)), record(kept));
        }
        for (line, message) in [(record("5"), "m"), (record("[{}]"), "m"), (r#"{"event":5}"#.to_owned(), "")] {
            let document: serde_json::Value = serde_json::from_str(&taken(&line)).unwrap();
            let value = serde_json::from_str::<serde_json::Value>(&line).unwrap()["event"].clone();
            assert_eq!((document.get("event"), &document["origin"]["replaced"]["event"]), (None, &value));
            assert_eq!((&document["message"], &document["level"]), (&message.into(), &"info".into()), "{document}");
        }
    }

    const USUAL: &str = r#"{"timestamp":"2026-11-23T18:51:20.123Z","service":"shop","level":"info","message":"a \"b\"","request_id":"r-1","project_id":null,"status":404.7,"duration_ms":1.25,"endpoint":"/x","extra":{"message":1},"origin":{"host":"h","offset":3,"generation":"00"}}"#;

    fn sorted(mut line: Line<'_>) -> Line<'_> {
        line.texts.sort_by_key(|(field, _)| *field);
        line
    }

    #[test]
    fn the_fast_path_agrees_with_the_facts() {
        let quick = sorted(parse_fast(USUAL).unwrap());
        let slow = Line::from_fields(Timestamp::from_unix_micros(quick.time), USUAL);
        assert_eq!(quick, slow);
        assert_eq!((quick.statuses, quick.durations), (vec![404], vec![1.25]));
    }

    #[test]
    fn unusual_documents_are_left_to_the_facts() {
        for (from, to) in [
            ("\"endpoint\":\"/x\"", "\"endpoint\":[\"/x\"]"),
            ("\"endpoint\":\"/x\"", "\"endpoint\":7"),
            ("\"host\":\"h\"", "\"host\":true"),
            ("\"status\":404.7", "\"status\":\"404\""),
            ("\"extra\"", "\"origin.pod\""),
            ("\"level\":\"info\"", "\"level\":\"INFO\""),
            ("\"extra\":{\"message\":1}", "\"level\":\"warn\""),
            ("\"extra\":{\"message\":1}", "\"message\":\"again\""),
            ("\"project_id\":null,", ""),
            ("\"r-1\"", "\"\""),
            (".123Z", "Z"),
            ("\"extra\":{\"message\":1}", "\"event\":5"),
        ] {
            let line = USUAL.replacen(from, to, 1);
            assert_ne!(line, USUAL);
            assert_eq!(parse_fast(&line), None, "{line}");
        }
    }
}
