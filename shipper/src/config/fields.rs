//! The fields to index for search: a table in the configuration file, `NAME=TYPE` as an option, comma-separated in the
//! variable.

use std::fmt;

use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde::ser::{SerializeMap as _, Serializer};
use store::{FieldType, NamedFields};

/// Separates a name from its type.
const SEPARATOR: char = '=';

/// Parses fields of the form `NAME=TYPE`.
///
/// # Errors
/// What is valid.
pub(super) fn named(texts: &[String]) -> Result<NamedFields, String> {
    let field = |text: &String| {
        let (name, kind) =
            text.rsplit_once(SEPARATOR).ok_or_else(|| format!("{text:?} is not NAME=TYPE, such as order.id=long"))?;
        let kind = kind.trim();
        let kind: FieldType = kind.parse().map_err(|error| format!("{kind:?} of {name:?}: {error}"))?;
        Ok((name.trim().to_owned(), kind))
    };
    let fields = texts.iter().map(field).collect::<Result<Vec<_>, String>>()?;
    NamedFields::new(fields).map_err(|error| error.to_string())
}

/// Serializes the fields as a table.
pub(super) fn serialize<S: Serializer>(texts: &Option<Vec<String>>, serializer: S) -> Result<S::Ok, S::Error> {
    let Some(texts) = texts else { return serializer.serialize_none() };
    let mut map = serializer.serialize_map(Some(texts.len()))?;
    for text in texts {
        let (name, kind) = text.rsplit_once(SEPARATOR).unwrap_or((text, ""));
        map.serialize_entry(name, kind)?;
    }
    map.end()
}

/// Deserializes a table. `order.id = "long"` is a nested table in TOML, and means the same as `"order.id" = "long"`.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    deserializer.deserialize_map(Table).map(Some)
}

struct Table;

impl<'de> Visitor<'de> for Table {
    type Value = Vec<String>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a table of fields with their types, such as \"order.id\" = \"long\"")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut texts = Vec::new();
        while let Some((name, value)) = map.next_entry::<String, toml::Value>()? {
            add(&name, &value, &mut texts).map_err(A::Error::custom)?;
        }
        Ok(texts)
    }
}

fn add(name: &str, value: &toml::Value, texts: &mut Vec<String>) -> Result<(), String> {
    match value {
        toml::Value::String(kind) => texts.push(format!("{name}{SEPARATOR}{kind}")),
        toml::Value::Table(table) => {
            table.iter().try_for_each(|(inner, value)| add(&format!("{name}.{inner}"), value, texts))?;
        }
        other => {
            return Err(format!("the type of {name:?} must be a string such as \"keyword\", not {}", other.type_str()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::Options;
    use super::*;

    fn read(text: &str) -> Result<Option<Vec<String>>, String> {
        Options::from_toml(text, Path::new("x")).map(|options| options.fields).map_err(|error| error.to_string())
    }

    #[test]
    fn a_name_may_be_quoted_or_a_nested_table() {
        let expected = Some(vec!["a.b=long".to_owned(), "c=text".to_owned()]);
        for text in [
            "[fields]\n'a.b' = 'long'\nc = 'text'",
            "[fields]\na.b = 'long'\nc = 'text'",
            "[fields]\nc = 'text'\n[fields.a]\nb = 'long'",
            "fields = { a = { b = 'long' }, c = 'text' }",
        ] {
            let mut found = read(text).unwrap();
            found.iter_mut().for_each(|texts| texts.sort());
            assert_eq!(found, expected, "{text}");
        }
        assert_eq!((read("").unwrap(), read("[fields]").unwrap()), (None, Some(Vec::new())));
        assert!(read("[fields]\na = 7").unwrap_err().contains("the type of \"a\" must be a string"));
        assert!(read("fields = ['a=long']").unwrap_err().contains("expected a table of fields"));
    }

    #[test]
    fn an_invalid_field_is_rejected() {
        for (text, expected) in [
            ("order.id", "is not NAME=TYPE"),
            ("order.id=int", "\"int\" of \"order.id\": unknown type: expected keyword, text"),
            ("service=text", "a field of every line"),
            ("a=b=long", "invalid field name \"a=b\""),
        ] {
            let error = named(&[text.to_owned()]).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
        assert_eq!(named(&["a.b = long".to_owned()]).unwrap().to_string(), "a.b=long");
    }
}
