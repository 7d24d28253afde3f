//! A JSON object whose values can be read and replaced one by one. All others keep their text, including the digits of
//! numbers, and their order.

use std::borrow::Cow;
use std::fmt;

use serde_json::Value;
use serde_json::value::RawValue;

use crate::json::{LossyString, Members};

/// Members of an object, in order. Of duplicate keys, the last one is kept.
#[derive(Debug, Default)]
pub(super) struct Object<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Object<'a> {
    /// Parses an object.
    pub(super) fn parse(text: &'a str) -> Result<Self, serde_json::Error> {
        let Members(members) = Members::parse(text)?;
        let mut object = Self::default();
        for (key, value) in members {
            object.insert(key, value.get());
        }
        Ok(object)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn contains_key(&self, key: &str) -> bool {
        self.text(key).is_some()
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(key, _)| key.as_ref())
    }

    /// Returns the JSON text of a value.
    pub(super) fn text(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(own, _)| own == key).map(|(_, text)| text.as_ref())
    }

    /// Returns the value of a key; objects and arrays read as null.
    pub(super) fn scalar(&self, key: &str) -> Option<Value> {
        self.text(key).map(scalar)
    }

    /// Returns the value of a key if it is an object.
    pub(super) fn object(&self, key: &str) -> Option<Object<'_>> {
        self.text(key).filter(|text| text.starts_with('{')).and_then(|text| Object::parse(text).ok())
    }

    /// Returns the objects in the array at a key.
    pub(super) fn objects(&self, key: &str) -> Vec<Object<'_>> {
        let elements: Vec<&RawValue> = self
            .text(key)
            .filter(|text| text.starts_with('['))
            .and_then(|text| serde_json::from_str(text).ok())
            .unwrap_or_default();
        elements.into_iter().filter_map(|element| Object::parse(element.get()).ok()).collect()
    }

    /// Removes a member and returns its JSON text.
    pub(super) fn remove(&mut self, key: &str) -> Option<Cow<'a, str>> {
        let index = self.0.iter().position(|(own, _)| own == key)?;
        Some(self.0.remove(index).1)
    }

    /// Sets the JSON text of a key, in its existing position or at the end.
    pub(super) fn insert(&mut self, key: impl Into<Cow<'a, str>>, text: impl Into<Cow<'a, str>>) {
        let (key, text) = (key.into(), text.into());
        match self.0.iter_mut().find(|(own, _)| *own == key) {
            Some((_, existing)) => *existing = text,
            None => self.0.push((key, text)),
        }
    }

    /// Appends all members of another object.
    pub(super) fn append(&mut self, other: Self) {
        self.0.extend(other.0);
    }
}

impl fmt::Display for Object<'_> {
    /// Writes the object as JSON.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("{")?;
        for (index, (key, text)) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(formatter, "{comma}{}:{text}", quoted(key))?;
        }
        formatter.write_str("}")
    }
}

/// Writes a string as JSON.
pub(super) fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// Parses a scalar; objects and arrays read as null.
pub(super) fn scalar(text: &str) -> Value {
    match text.as_bytes().first() {
        Some(b'{' | b'[') | None => Value::Null,
        Some(b'"') => serde_json::from_str::<LossyString<'_>>(text)
            .map(|LossyString(text)| Value::String(text.into_owned()))
            .unwrap_or_default(),
        Some(_) => serde_json::from_str(text).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn untouched_members_keep_their_text() {
        let text = r#"{"z":12345678901234567890123,"a":1.10,"m":{"k":1e999,"k2":"\ud83d"},"last":"\ud83d cut"}"#;
        let mut object = Object::parse(text).unwrap();
        assert_eq!(object.to_string(), text);
        assert_eq!(object.scalar("last"), Some(Value::from("\u{fffd}\u{fffd}\u{fffd} cut")));
        assert_eq!(object.scalar("m"), Some(Value::Null));
        assert_eq!(object.object("m").unwrap().scalar("k"), Some(Value::Null));
        object.remove("m");
        object.insert("a", "2");
        assert_eq!(object.to_string(), r#"{"z":12345678901234567890123,"a":2,"last":"\ud83d cut"}"#);
    }

    #[test]
    fn only_objects_are_parsed() {
        for text in ["", "[]", "7", "{", "{\"a\":}", "{} {}"] {
            assert!(Object::parse(text).is_err(), "{text}");
        }
        let mixed = Object::parse(r#"{"spans":[1,{"a":1},"x",{"b":2}]}"#).unwrap();
        assert_eq!(mixed.objects("spans").len(), 2);
    }
}
