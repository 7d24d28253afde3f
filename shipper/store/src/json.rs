//! Reads JSON without building a tree: members, elements and scalars that borrow from the text. All readers of documents
//! use these.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// A JSON string in which each unpaired surrogate, as written by loggers that truncate strings, is read as replacement
/// characters.
pub(crate) struct LossyString<'a>(pub(crate) Cow<'a, str>);

/// A value, reduced to what a contract field can hold.
#[derive(Default)]
pub(crate) enum Scalar<'a> {
    /// The default for a field that the document does not have.
    #[default]
    Missing,
    Null,
    Text(Cow<'a, str>),
    Number(f64),
    /// A boolean, an array or an object.
    Other,
}

/// The members of an object, in order.
pub(crate) struct Members<'a>(pub(crate) Vec<(Cow<'a, str>, &'a RawValue)>);

/// A string, number or boolean as text.
pub(crate) struct ScalarText<'a> {
    pub(crate) text: Cow<'a, str>,
    pub(crate) is_string: bool,
}

impl<'a> Members<'a> {
    /// Parses an object.
    pub(crate) fn parse(text: &'a str) -> Result<Self, serde_json::Error> {
        Self::parse_where(text, &|_| true)
    }

    /// Parses an object and skips the members whose keys are not wanted.
    pub(crate) fn parse_where(text: &'a str, is_wanted: &dyn Fn(&str) -> bool) -> Result<Self, serde_json::Error> {
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let members = deserializer.deserialize_map(MemberVisitor { is_wanted })?;
        deserializer.end()?;
        Ok(members)
    }
}

/// Returns the elements of an array.
pub(crate) fn elements(array: &RawValue) -> Vec<&RawValue> {
    serde_json::from_str(array.get()).unwrap_or_default()
}

/// Calls `with` for each string, number and boolean in a value or its nested arrays. Nulls and objects are skipped.
/// Returns whether there is no object.
pub(crate) fn each_scalar<'a>(value: &'a RawValue, with: &mut impl FnMut(ScalarText<'a>)) -> bool {
    let text = value.get();
    match text.as_bytes().first() {
        Some(b'"') => {
            if let Ok(LossyString(text)) = serde_json::from_str(text) {
                with(ScalarText { text, is_string: true });
            }
            true
        }
        Some(b'[') => {
            let mut has_no_object = true;
            for element in elements(value) {
                has_no_object &= each_scalar(element, with);
            }
            has_no_object
        }
        Some(b'{') => false,
        Some(b'n') | None => true,
        Some(_) => {
            with(ScalarText { text: Cow::Borrowed(text), is_string: false });
            true
        }
    }
}

struct MemberVisitor<'w> {
    is_wanted: &'w dyn Fn(&str) -> bool,
}

impl<'de> Visitor<'de> for MemberVisitor<'_> {
    type Value = Members<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(LossyString(key)) = map.next_key()? {
            if (self.is_wanted)(&key) {
                members.push((key, map.next_value()?));
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(Members(members))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for LossyString<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_bytes(LossyStringVisitor)
    }
}

struct LossyStringVisitor;

impl<'de> Visitor<'de> for LossyStringVisitor {
    type Value = LossyString<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a string")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(LossyString(Cow::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(LossyString(Cow::Owned(text.to_owned())))
    }

    fn visit_borrowed_bytes<E: Error>(self, bytes: &'de [u8]) -> Result<Self::Value, E> {
        Ok(LossyString(String::from_utf8_lossy(bytes)))
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Self::Value, E> {
        Ok(LossyString(Cow::Owned(String::from_utf8_lossy(bytes).into_owned())))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Scalar<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

struct ScalarVisitor;

#[expect(clippy::cast_precision_loss, reason = "as an engine reads a number")]
impl<'de> Visitor<'de> for ScalarVisitor {
    type Value = Scalar<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any value")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Scalar::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Scalar::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Scalar::Null)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Scalar::Other)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
        Ok(Scalar::Number(number as f64))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
        Ok(Scalar::Number(number as f64))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Self::Value, E> {
        Ok(Scalar::Number(number))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Self::Value, A::Error> {
        while array.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Scalar::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Value, A::Error> {
        while object.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Scalar::Other)
    }
}
