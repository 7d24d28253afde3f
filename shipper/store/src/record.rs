//! Parses the contract's fields of a document for the embedded store.
//!
//! A document that meets the contract is parsed once, borrows from its bytes and is stored unchanged. Any other
//! document is left to [`crate::normalise`].

use std::borrow::Cow;

use serde::Deserialize;

use crate::json::Scalar;
use crate::level::Level;
use crate::timestamp::Timestamp;

/// The contract's fields of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    pub(crate) time: Timestamp,
    pub(crate) service: Cow<'a, str>,
    pub(crate) level: Level,
    pub(crate) message: Cow<'a, str>,
    pub(crate) request_id: Option<Cow<'a, str>>,
    pub(crate) project_id: Option<Cow<'a, str>>,
}

/// Parses a document. Returns `None` unless it is a JSON object that meets the contract.
pub(crate) fn read(document: &str) -> Option<Record<'_>> {
    let fields: Fields<'_> = serde_json::from_str(document).ok()?;
    let timestamp = text(fields.timestamp)?;
    Some(Record {
        time: contract_time(&timestamp)?,
        service: text(fields.service).filter(|service| !service.is_empty())?,
        level: text(fields.level)?.parse().ok()?,
        message: text(fields.message)?,
        request_id: text_or_null(fields.request_id)?,
        project_id: text_or_null(fields.project_id)?,
    })
}

/// Parses a time in the contract's form: RFC 3339 in UTC, with `T`, `Z` and at least milliseconds.
pub(crate) fn contract_time(text: &str) -> Option<Timestamp> {
    let bytes = text.as_bytes();
    let in_form = bytes.len() >= 24 && bytes[10] == b'T' && bytes[19] == b'.' && bytes.ends_with(b"Z");
    if in_form { Timestamp::parse(bytes) } else { None }
}

#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow, default)]
    timestamp: Scalar<'a>,
    #[serde(borrow, default)]
    service: Scalar<'a>,
    #[serde(borrow, default)]
    level: Scalar<'a>,
    #[serde(borrow, default)]
    message: Scalar<'a>,
    #[serde(borrow, default)]
    request_id: Scalar<'a>,
    #[serde(borrow, default)]
    project_id: Scalar<'a>,
}

fn text(value: Scalar<'_>) -> Option<Cow<'_, str>> {
    match value {
        Scalar::Text(text) => Some(text),
        _ => None,
    }
}

fn text_or_null(value: Scalar<'_>) -> Option<Option<Cow<'_, str>>> {
    match value {
        Scalar::Text(text) if !text.is_empty() => Some(Some(text)),
        Scalar::Null => Some(None),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"timestamp":"2026-11-23T18:51:20.123Z","service":"shop","level":"info","message":"hi \"you\"","request_id":"r-1","project_id":null,"extra":{"message":1}}"#;

    #[test]
    fn a_record_borrows_from_its_document() {
        let record = read(LINE).unwrap();
        assert_eq!(record.message, "hi \"you\"");
        assert_eq!((record.level, record.project_id), (Level::Info, None));
        assert!(matches!(record.request_id, Some(Cow::Borrowed("r-1"))));
        assert!(matches!(record.service, Cow::Borrowed("shop")));
    }

    #[test]
    fn documents_that_break_the_contract_are_rejected() {
        for (from, to) in [
            ("\"info\"", "\"INFO\""),
            ("\"info\"", "30"),
            (".123Z", "Z"),
            (".123Z", ".123+01:00"),
            ("null", "7"),
            ("\"project_id\":null,", ""),
            ("\"hi \\\"you\\\"\"", "[1,{}]"),
            ("\"shop\"", "{\"name\":\"shop\"}"),
        ] {
            let line = LINE.replacen(from, to, 1);
            assert_ne!(line, LINE);
            assert_eq!(read(&line), None, "{line}");
        }
        assert_eq!(read("[]"), None);
    }
}
