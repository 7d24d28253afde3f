//! The searchable fields of a document, as engines read them by the index template.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::named::value::{Value, each_value};
use super::{Field, NamedField, Number, NumberField};
use crate::json::{Members, each_scalar};

/// Searchable fields of a document. A field has several values if the document contains a list.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DocumentFields<'a> {
    /// Values that are short enough to be indexed.
    texts: Vec<(Field, Cow<'a, str>)>,
    numbers: Vec<(NumberField, Number)>,
    message: Cow<'a, str>,
    /// The document, from which user-named fields are read on demand.
    document: &'a str,
}

impl<'a> DocumentFields<'a> {
    /// Parses a document. Without a JSON object, there are no fields.
    #[must_use]
    pub fn parse(document: &'a str) -> Self {
        let Ok(Members(members)) = Members::parse_where(document, &is_searchable) else { return Self::default() };
        let mut fields = Self { document, ..Self::default() };
        for (key, value) in members {
            fields.take(&key, value);
        }
        fields
    }

    /// Returns the values of a user-named field.
    pub(super) fn named(&self, field: &NamedField) -> Vec<Value<'a>> {
        let mut values = Vec::new();
        each_value(self.document, &[field], |_, value| values.push(value));
        values
    }

    /// Returns the values of a field.
    pub fn values(&self, field: Field) -> impl Iterator<Item = &str> {
        self.texts.iter().filter(move |(own, _)| *own == field).map(|(_, value)| value.as_ref())
    }

    /// Returns the first value of a field.
    #[must_use]
    pub fn value(&self, field: Field) -> Option<&str> {
        self.texts.iter().find(|(own, _)| *own == field).map(|(_, value)| value.as_ref())
    }

    /// Returns the numbers of a field.
    pub fn numbers(&self, field: NumberField) -> impl Iterator<Item = Number> {
        self.numbers.iter().filter(move |(own, _)| *own == field).map(|(_, number)| *number)
    }

    /// Returns the message.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Adds the value at a path if it is searchable.
    fn take(&mut self, path: &str, value: &'a RawValue) {
        if path == "message" {
            each_scalar(value, &mut |scalar| self.message = scalar.text);
        } else if path == "origin" {
            if let Ok(Members(members)) = Members::parse(value.get()) {
                for (key, value) in members {
                    self.take(&format!("origin.{key}"), value);
                }
            }
        } else if let Some(field) = Field::from_path(path) {
            each_scalar(value, &mut |scalar| {
                if field.fits(&scalar.text) {
                    self.texts.push((field, scalar.text));
                }
            });
        } else if let Ok(field) = path.parse::<NumberField>() {
            each_scalar(value, &mut |scalar| {
                self.numbers.extend(field.read(&scalar.text).map(|number| (field, number)));
            });
        }
    }
}

/// Whether a top-level key may contain searchable fields.
fn is_searchable(key: &str) -> bool {
    key == "message"
        || key.starts_with("origin")
        || Field::from_path(key).is_some()
        || key.parse::<NumberField>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_as_an_engine_reads_them() {
        let fields = DocumentFields::parse(
            r#"{"service":"s","level":"info","message":"m \ud83d","request_id":null,"target":["a",7,[true],null,{"b":1}],
                "status":"404","duration_ms":[1.5,"x",1e400],"origin":{"host":"h","offset":3,"other":{"host":"no"}},
                "origin.pod":"p","endpoint":{"a":1},"extra":{"service":"no"},"outcome":"\ud83d"}"#,
        );
        assert_eq!(fields.value(Field::Service), Some("s"));
        assert_eq!(fields.value(Field::RequestId), None);
        assert_eq!(fields.values(Field::Target).collect::<Vec<_>>(), ["a", "7", "true"]);
        assert_eq!(fields.numbers(NumberField::Status).map(Number::get).collect::<Vec<_>>(), [404.0]);
        assert_eq!(fields.numbers(NumberField::DurationMs).map(Number::get).collect::<Vec<_>>(), [1.5]);
        assert_eq!((fields.value(Field::Host), fields.value(Field::Pod)), (Some("h"), Some("p")));
        assert_eq!((fields.value(Field::Endpoint), fields.values(Field::Outcome).count()), (None, 1));
        assert!(fields.message().starts_with("m "));
        assert_eq!(DocumentFields::parse("[1]"), DocumentFields::default());
    }
}
