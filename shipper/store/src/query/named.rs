//! User-named fields, in addition to the template's: their types, valid names and tests.
//!
//! [`value`] reads their values from a document, in the way both kinds of store index them.

pub(crate) mod value;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::{Bounds, Field, NumberField};
use value::Value;

/// Maximum number of user-named fields. Each is a field of every index, and an index entry for each line that has it.
pub const MAX_FIELDS: usize = 64;

/// Maximum length of a name.
pub const MAX_NAME_BYTES: usize = 128;

/// Maximum number of dot-separated parts of a name.
pub const MAX_NAME_PARTS: usize = 8;

/// Maximum length of an indexed keyword in UTF-16 code units; longer ones are ignored.
pub(crate) const KEYWORD_MAX: usize = 1_024;

/// The type of a field, with the names that engines use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FieldType {
    /// A string, searchable by exact value.
    Keyword,
    /// A string, searchable by its words.
    Text,
    /// A 64-bit integer.
    Long,
    /// A floating-point number.
    Double,
    /// `true` or `false`.
    Boolean,
    /// A time with millisecond precision: RFC 3339, or a day.
    Date,
}

/// The text is not the name of a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown type: expected keyword, text, long, double, boolean or date")]
pub struct ParseFieldTypeError;

impl FieldType {
    /// All types.
    pub const ALL: [Self; 6] = [Self::Keyword, Self::Text, Self::Long, Self::Double, Self::Boolean, Self::Date];

    /// Returns its name in configurations and engines.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Keyword => "keyword",
            Self::Text => "text",
            Self::Long => "long",
            Self::Double => "double",
            Self::Boolean => "boolean",
            Self::Date => "date",
        }
    }
}

impl fmt::Display for FieldType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

impl FromStr for FieldType {
    type Err = ParseFieldTypeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|kind| kind.name() == text).ok_or(ParseFieldTypeError)
    }
}

/// A user-named field.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NamedField {
    name: Arc<str>,
    kind: FieldType,
    only_in: Option<Arc<[String]>>,
}

impl NamedField {
    /// Returns its name in a query, which is also its path in a document, with nested names joined by dots.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns its type.
    #[must_use]
    pub const fn kind(&self) -> FieldType {
        self.kind
    }

    /// Whether lines can be counted by its values: it is a keyword or boolean, and no index of an engine has it with
    /// another type.
    pub(crate) fn is_countable(&self) -> bool {
        matches!(self.kind, FieldType::Keyword | FieldType::Boolean) && self.only_in.is_none()
    }

    /// Returns the indices in which the field has this type, if other indices have it with another type.
    pub(crate) fn only_in(&self) -> Option<&[String]> {
        self.only_in.as_deref()
    }
}

impl fmt::Display for NamedField {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.name)
    }
}

/// A test of a user-named field. If the line has a list of values, one of them must satisfy it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FieldTest {
    /// Any value of the field's type.
    Any,
    /// Keyword: equal to one of these.
    OneOf(Vec<String>),
    /// Text: contains all words of this, in any order.
    Words(String),
    /// Text: contains the words of this as a phrase.
    Phrase(String),
    /// Integer, or date in milliseconds since the Unix epoch: within these inclusive bounds. [`i64::MIN`] and
    /// [`i64::MAX`] mean unbounded.
    Between(i64, i64),
    /// Number: within these bounds.
    Number(Bounds),
    /// Boolean: equal to this.
    Is(bool),
}

/// A set of user-named fields is invalid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NamedFieldsError(String);

/// All user-named fields of a store, sorted by name. Clones are cheap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamedFields(Arc<[NamedField]>);

impl NamedFields {
    /// Validates and sorts fields.
    ///
    /// # Errors
    /// When a name is invalid or taken, when one is below another, or when there are too many.
    pub fn new(named: impl IntoIterator<Item = (String, FieldType)>) -> Result<Self, NamedFieldsError> {
        let mut fields: Vec<_> =
            named.into_iter().map(|(name, kind)| NamedField { name: name.into(), kind, only_in: None }).collect();
        fields.sort_by(|one, other| one.name.cmp(&other.name));
        if fields.len() > MAX_FIELDS {
            return Err(NamedFieldsError(format!("{} fields are more than {MAX_FIELDS}", fields.len())));
        }
        for field in &fields {
            validate(&field.name)?;
            let below = |other: &&NamedField| is_below(&other.name, &field.name);
            if let Some(other) = fields.iter().find(below) {
                return Err(NamedFieldsError(format!(
                    "{:?} is below {:?}, which can't be both an object and a value: name only one of them",
                    other.name, field.name
                )));
            }
        }
        match fields.windows(2).find(|pair| pair[0].name == pair[1].name) {
            Some(pair) => Err(NamedFieldsError(format!("{:?} is named twice", pair[0].name))),
            None => Ok(Self(fields.into())),
        }
    }

    /// Whether there are no fields.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the fields.
    pub fn iter(&self) -> impl Iterator<Item = &NamedField> {
        self.0.iter()
    }

    /// Returns the field with this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&NamedField> {
        self.0.binary_search_by(|field| (*field.name).cmp(name)).ok().map(|at| &self.0[at])
    }

    /// Sets [`NamedField::only_in`] of each field.
    pub(crate) fn only_in(&self, only_in: impl Fn(&NamedField) -> Option<Vec<String>>) -> Self {
        let narrow = |field: &NamedField| NamedField { only_in: only_in(field).map(Into::into), ..field.clone() };
        Self(self.0.iter().map(narrow).collect())
    }
}

impl fmt::Display for NamedFields {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, field) in self.0.iter().enumerate() {
            write!(formatter, "{}{}={}", if index == 0 { "" } else { ", " }, field.name, field.kind)?;
        }
        Ok(())
    }
}

/// Whether a path is inside the object at another path.
pub(crate) fn is_below(path: &str, object: &str) -> bool {
    path.strip_prefix(object).is_some_and(|rest| rest.starts_with('.'))
}

/// Keys of the template that are not fields of queries.
const RESERVED: [&str; 5] = ["timestamp", "message", "event", "origin", "request"];

/// Rejects invalid names.
fn validate(name: &str) -> Result<(), NamedFieldsError> {
    let refuse = |why: String| Err(NamedFieldsError(format!("invalid field name {name:?}: {why}")));
    let is_part =
        |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let begins_with_letter = name.starts_with(|first: char| first.is_ascii_alphabetic());
    if name.len() > MAX_NAME_BYTES || !begins_with_letter || !name.split('.').all(is_part) {
        return refuse(format!(
            "expected at most {MAX_NAME_BYTES} letters, digits and _, beginning with a letter, with dots only between \
             the names of nested objects"
        ));
    }
    if name.split('.').count() > MAX_NAME_PARTS {
        return refuse(format!("more than {MAX_NAME_PARTS} parts"));
    }
    let first = name.split('.').next().unwrap_or_default();
    let is_reserved = RESERVED.contains(&first)
        || Field::ALL.iter().any(|field| field.path() == first)
        || NumberField::ALL.iter().any(|field| field.name() == first);
    if is_reserved {
        return refuse(format!("{first:?} is a field of every line"));
    }
    match name.parse::<Field>() {
        Ok(field) => refuse(format!("in a query, `{name}:` means {}", field.path())),
        Err(_) => Ok(()),
    }
}

impl FieldTest {
    /// Whether these values of a field satisfy the test.
    pub(crate) fn is_satisfied_by(&self, values: &[Value<'_>]) -> bool {
        use super::words::words;
        let of_text = |value: &Value<'_>| match value {
            Value::Text(text) => words(text).map(std::borrow::Cow::into_owned).collect(),
            _ => Vec::new(),
        };
        match self {
            Self::Any => !values.is_empty(),
            Self::OneOf(wanted) => values
                .iter()
                .any(|value| matches!(value, Value::Text(own) if wanted.iter().any(|wanted| wanted == own))),
            Self::Words(text) => {
                let own: Vec<String> = values.iter().flat_map(of_text).collect();
                let mut wanted = words(text).peekable();
                wanted.peek().is_some() && wanted.all(|word| own.iter().any(|own| *own == word))
            }
            Self::Phrase(text) => {
                let wanted: Vec<_> = words(text).collect();
                let in_a_row = |own: Vec<String>| own.windows(wanted.len()).any(|row| row == wanted);
                !wanted.is_empty() && values.iter().map(of_text).any(in_a_row)
            }
            Self::Between(from, to) => {
                values.iter().any(|value| matches!(value, Value::Integer(own) if (*from..=*to).contains(own)))
            }
            Self::Number(bounds) => {
                values.iter().any(|value| matches!(value, Value::Number(own) if bounds.contain(*own)))
            }
            Self::Is(truth) => values.iter().any(|value| matches!(value, Value::Boolean(own) if own == truth)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(names: &[&str]) -> Result<NamedFields, NamedFieldsError> {
        NamedFields::new(names.iter().map(|name| ((*name).to_owned(), FieldType::Keyword)))
    }

    #[test]
    fn names_are_checked() {
        let fields = named(&["order.id", "b", "a.b.c"]).unwrap();
        assert_eq!(fields.to_string(), "a.b.c=keyword, b=keyword, order.id=keyword");
        assert_eq!(fields.get("order.id").map(NamedField::name), Some("order.id"));
        assert_eq!((fields.get("order"), fields.get("")), (None, None));
        let long = "x".repeat(MAX_NAME_BYTES + 1);
        for (names, expected) in [
            (&["service"][..], "a field of every line"),
            (&["service.version"], "a field of every line"),
            (&["origin.x"], "a field of every line"),
            (&["status"], "a field of every line"),
            (&["message"], "a field of every line"),
            (&["event.code"], "a field of every line"),
            (&["host"], "means origin.host"),
            (&["project"], "means project_id"),
            (&["request.id"], "a field of every line"),
            (&[""], "beginning with a letter"),
            (&["_id"], "beginning with a letter"),
            (&["a-b"], "beginning with a letter"),
            (&["a..b"], "beginning with a letter"),
            (&["a."], "beginning with a letter"),
            (&["größe"], "beginning with a letter"),
            (&[&long], "at most 128"),
            (&["a.a.a.a.a.a.a.a.a"], "more than 8 parts"),
            (&["a", "a.b"], "\"a.b\" is below \"a\""),
            (&["a", "a"], "named twice"),
        ] {
            let error = named(names).unwrap_err().to_string();
            assert!(error.contains(expected), "{names:?}: {error}");
        }
        assert!(named(&["hosts", "a", "ab", "a_b", "host.name"]).is_ok());
        let many: Vec<_> = (0..=MAX_FIELDS).map(|number| (format!("f{number}"), FieldType::Long)).collect();
        assert!(NamedFields::new(many.clone()).unwrap_err().to_string().contains("more than 64"));
        assert!(NamedFields::new(many.into_iter().skip(1)).is_ok());
    }
}
