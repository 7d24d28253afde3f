//! Parses the contract's fields of a document for the embedded store.
//!
//! A document that meets the contract is parsed once, borrows from its bytes and is stored unchanged. Any other
//! document is left to [`crate::normalise`].

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

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
    let timestamp = fields.timestamp.text()?;
    Some(Record {
        time: contract_time(&timestamp)?,
        service: fields.service.text().filter(|service| !service.is_empty())?,
        level: fields.level.text()?.parse().ok()?,
        message: fields.message.text()?,
        request_id: fields.request_id.text_or_null()?,
        project_id: fields.project_id.text_or_null()?,
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
    timestamp: Field<'a>,
    #[serde(borrow, default)]
    service: Field<'a>,
    #[serde(borrow, default)]
    level: Field<'a>,
    #[serde(borrow, default)]
    message: Field<'a>,
    #[serde(borrow, default)]
    request_id: Field<'a>,
    #[serde(borrow, default)]
    project_id: Field<'a>,
}

/// A JSON value, reduced to what the contract distinguishes.
#[derive(Default)]
enum Field<'a> {
    #[default]
    Missing,
    Null,
    Text(Cow<'a, str>),
    Other,
}

impl<'a> Field<'a> {
    fn text(self) -> Option<Cow<'a, str>> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    fn text_or_null(self) -> Option<Option<Cow<'a, str>>> {
        match self {
            Self::Text(text) if !text.is_empty() => Some(Some(text)),
            Self::Null => Some(None),
            _ => None,
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Field<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FieldVisitor)
    }
}

struct FieldVisitor;

impl<'de> Visitor<'de> for FieldVisitor {
    type Value = Field<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any value")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Field::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Field::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Field::Null)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Field::Other)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Field::Other)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Self::Value, E> {
        Ok(Field::Other)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Field::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Field::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Value, A::Error> {
        while object.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Field::Other)
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
