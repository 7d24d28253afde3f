//! The query language, and the type it is parsed into.
//!
//! A text is parsed into a [`Filter`], or rejected with a [`QueryError`]. A filter's `Display` writes a text
//! that parses as the same filter. [`Filter::matches`] defines the meaning of a filter line by line, with [words] as
//! engines split them; both kinds of store answer accordingly. Only the fields in [`Field`] and [`NumberField`] and the
//! user-named ones ([`NamedFields`]) can be searched, because only they are indexed.
//! | query | matches lines |
//! | --- | --- |
//! | `payment failed` | whose message contains both words, in any order and case |
//! | `"payment failed"` | whose message contains the phrase |
//! | `level:error service:shop` | with both values |
//! | `level:>=warn`, `service:(shop OR billing)` | with one of several values |
//! | `endpoint:"/orders/{id}"`, `pod:*` | with a value of any characters; with any value |
//! | `status:5xx`, `status:400..404`, `duration_ms:>=250` | with a number in a range |
//! | `order.id:>=7`, `due:2026-11-23` | with a value of a user-named field, by its type |
//! | `a OR b`, `NOT a`, `-a`, `(a OR b) c` | OR; NOT; parentheses |

mod bounds;
mod display;
mod document;
mod error;
mod field;
mod matches;
pub(crate) mod named;
mod parse;
mod simplify;
pub mod words;

pub use bounds::{Bounds, Number};
pub use document::DocumentFields;
pub use error::QueryError;
pub use field::{Field, NumberField, ParseFieldError};
pub use named::{
    FieldTest, FieldType, MAX_FIELDS, MAX_NAME_BYTES, MAX_NAME_PARTS, NamedField, NamedFields, NamedFieldsError,
    ParseFieldTypeError,
};
pub use parse::{MAX_DEPTH, MAX_QUERY_BYTES, MAX_TERMS, MAX_WORDS};

use crate::level::Level;

/// A condition on lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    /// Matches if all parts match; without parts, every line.
    All(Vec<Filter>),
    /// Matches if any part matches; without parts, no line.
    Any(Vec<Filter>),
    /// Matches if the part does not.
    Not(Box<Filter>),
    /// The field has one of these exact values.
    Is(Field, Vec<String>),
    /// The field exists.
    Has(Field),
    /// The message contains all words of this text, in any order. A text without words matches nothing.
    Words(String),
    /// The message contains the words of this text as a phrase. A text without words matches nothing.
    Phrase(String),
    /// The field is a number within these bounds.
    Number(NumberField, Bounds),
    /// The user-named field satisfies this test.
    Named(NamedField, FieldTest),
}

impl Default for Filter {
    /// Matches every line.
    fn default() -> Self {
        Self::EVERY
    }
}

impl Filter {
    /// Matches every line.
    pub const EVERY: Self = Self::All(Vec::new());

    /// Matches no line.
    pub const NOTHING: Self = Self::Any(Vec::new());

    /// Matches lines with this value.
    pub fn is(field: Field, value: impl Into<String>) -> Self {
        Self::Is(field, vec![value.into()])
    }

    /// Matches lines of this request.
    pub fn request(id: impl Into<String>) -> Self {
        Self::is(Field::RequestId, id)
    }

    /// Matches lines of this project.
    pub fn project(id: impl Into<String>) -> Self {
        Self::is(Field::ProjectId, id)
    }

    /// Matches lines with one of these levels.
    pub fn levels(levels: impl IntoIterator<Item = Level>) -> Self {
        Self::Is(Field::Level, levels.into_iter().map(|level| level.as_str().to_owned()).collect())
    }

    /// Matches access lines: one for each request, with endpoint, status and duration.
    #[must_use]
    pub fn access_lines() -> Self {
        Self::is(Field::Target, "access")
    }

    /// Calls `with` for each user-named field in the filter.
    pub(crate) fn each_named<'f>(&'f self, with: &mut impl FnMut(&'f NamedField)) {
        match self {
            Self::All(parts) | Self::Any(parts) => parts.iter().for_each(|part| part.each_named(with)),
            Self::Not(part) => part.each_named(with),
            Self::Named(field, _) => with(field),
            _ => {}
        }
    }

    /// Replaces conditions on the user-named fields selected by `is_excluded` by [`Filter::NOTHING`].
    pub(crate) fn without_named(self, is_excluded: &impl Fn(&NamedField) -> bool) -> Self {
        let each = |parts: Vec<Self>| parts.into_iter().map(|part| part.without_named(is_excluded)).collect();
        match self {
            Self::All(parts) => Self::All(each(parts)),
            Self::Any(parts) => Self::Any(each(parts)),
            Self::Not(part) => Self::Not(Box::new(part.without_named(is_excluded))),
            Self::Named(field, _) if is_excluded(&field) => Self::NOTHING,
            other => other,
        }
    }

    /// Matches lines that both filters match.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self::All(vec![self, other]).simplify()
    }
}
