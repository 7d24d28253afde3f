//! The fast path: parses a document in one pass if all its fields have their usual form.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, Visitor};

use super::Line;
use crate::json::Scalar;
use crate::level::Level;
use crate::query::{Field, Number, NumberField};
use crate::record::contract_time;
use crate::timestamp::Timestamp;

/// Parses a document. Returns `None` unless all fields have their usual form.
pub(super) fn parse(document: &str) -> Option<Line<'_>> {
    serde_json::from_str::<Pass<'_>>(document).ok().and_then(|pass| pass.0)
}

struct Pass<'a>(Option<Line<'a>>);

enum Key {
    Text(Field),
    Timestamp,
    Message,
    Status,
    Duration,
    Origin,
    /// The ingest pipeline writes to it, so values other than objects are set aside.
    Event,
    Unknown,
    /// Equivalent to a nested key, such as `origin.pod`.
    Dotted,
}

impl Key {
    fn at_top(name: &str) -> Self {
        match name {
            "timestamp" => Self::Timestamp,
            "message" => Self::Message,
            "origin" => Self::Origin,
            "event" => Self::Event,
            _ if name == NumberField::Status.name() => Self::Status,
            _ if name == NumberField::DurationMs.name() => Self::Duration,
            _ => match Field::from_top_key(name) {
                Some(field) => Self::Text(field),
                None if name.contains('.') => Self::Dotted,
                None => Self::Unknown,
            },
        }
    }

    fn in_origin(name: &str) -> Self {
        Field::from_origin_key(name).map_or(Self::Unknown, Self::Text)
    }
}

struct TopKey(Key);
struct OriginKey(Key);

impl<'de> Deserialize<'de> for TopKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(KeyVisitor(Key::at_top)).map(Self)
    }
}

impl<'de> Deserialize<'de> for OriginKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(KeyVisitor(Key::in_origin)).map(Self)
    }
}

struct KeyVisitor(fn(&str) -> Key);

impl Visitor<'_> for KeyVisitor {
    type Value = Key;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Key, E> {
        Ok((self.0)(name))
    }
}

/// Collects the content of a line. `unusual` is set once a field does not have its usual form.
#[derive(Default)]
struct LineBuilder<'a> {
    line: Line<'a>,
    time: Option<Timestamp>,
    has_message: bool,
    /// One bit for each of the contract's four string fields that was found.
    seen: u8,
    unusual: bool,
}

impl<'a> LineBuilder<'a> {
    fn text(&mut self, field: Field, value: Scalar<'a>) {
        let contract = match field {
            Field::Service => 1,
            Field::Level => 2,
            Field::RequestId => 4,
            Field::ProjectId => 8,
            _ => 0,
        };
        self.unusual |= self.seen & contract != 0;
        self.seen |= contract;
        match value {
            Scalar::Text(text) => {
                self.unusual |= contract != 0 && text.is_empty();
                self.unusual |= field == Field::Level && text.parse::<Level>().is_err();
                if field.fits(&text) {
                    self.line.texts.push((field, text));
                }
            }
            Scalar::Null => self.unusual |= contract == 1 || contract == 2,
            Scalar::Number(_) | Scalar::Other | Scalar::Missing => self.unusual = true,
        }
    }

    fn other(&mut self, key: Key, value: Scalar<'a>) {
        match (key, value) {
            (Key::Timestamp, Scalar::Text(text)) if self.time.is_none() => self.time = contract_time(&text),
            (Key::Message, Scalar::Text(text)) if !self.has_message => {
                self.line.message = text;
                self.has_message = true;
            }
            (Key::Status, Scalar::Number(number)) => {
                let whole = number.trunc();
                #[expect(clippy::cast_possible_truncation, reason = "it lies within")]
                if (f64::from(i32::MIN)..=f64::from(i32::MAX)).contains(&number) {
                    self.line.statuses.push(whole as i32);
                }
            }
            (Key::Duration, Scalar::Number(number)) => {
                self.line.durations.extend(Number::new(number).map(Number::get));
            }
            (Key::Status | Key::Duration | Key::Event, Scalar::Null) => {}
            _ => self.unusual = true,
        }
    }

    fn finish(self) -> Option<Line<'a>> {
        let whole = !self.unusual && self.has_message && self.seen == 0b1111;
        let time = self.time.filter(|_| whole)?.unix_micros();
        Some(Line { time, ..self.line })
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Pass<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Top;

        impl<'de> Visitor<'de> for Top {
            type Value = Pass<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut builder = LineBuilder::default();
                while let Some(TopKey(key)) = map.next_key()? {
                    match key {
                        Key::Unknown => drop(map.next_value::<IgnoredAny>()?),
                        Key::Dotted => {
                            builder.unusual = true;
                            map.next_value::<IgnoredAny>()?;
                        }
                        Key::Text(field) => builder.text(field, map.next_value()?),
                        Key::Origin => {
                            let Origin(texts) = map.next_value()?;
                            match texts {
                                Some(texts) => builder.line.texts.extend(texts),
                                None => builder.unusual = true,
                            }
                        }
                        key => builder.other(key, map.next_value()?),
                    }
                }
                Ok(Pass(builder.finish()))
            }
        }

        deserializer.deserialize_map(Top)
    }
}

/// The strings in `origin`, or `None` if a value is unusual.
struct Origin<'a>(Option<Vec<(Field, Cow<'a, str>)>>);

impl<'de: 'a, 'a> Deserialize<'de> for Origin<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Inner;

        impl<'de> Visitor<'de> for Inner {
            type Value = Origin<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let (mut texts, mut unusual) = (Vec::with_capacity(5), false);
                while let Some(OriginKey(key)) = map.next_key()? {
                    let Key::Text(field) = key else {
                        map.next_value::<IgnoredAny>()?;
                        continue;
                    };
                    match map.next_value()? {
                        Scalar::Text(text) if field.fits(&text) => texts.push((field, text)),
                        Scalar::Text(_) | Scalar::Null => {}
                        Scalar::Number(_) | Scalar::Other | Scalar::Missing => unusual = true,
                    }
                }
                Ok(Origin((!unusual).then_some(texts)))
            }
        }

        deserializer.deserialize_map(Inner)
    }
}
