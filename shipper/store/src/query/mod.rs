//! What lines are asked for: the query language and the type that it is read into.
//!
//! A text is read into a [`Filter`] once, or refused with the [`Place`] where it is wrong; a filter is written as a text
//! that reads as the same filter. What a filter means is said by [`Filter::matches`], line by
//! line, with [words] as engines make them; both kinds of store answer so. Only the fields named in [`Field`] and
//! [`NumberField`], and those that the user named ([`NamedFields`]), can be searched, because only those are indexed.
//!
//! | a query | finds lines |
//! | --- | --- |
//! | `payment failed` | whose message has both words, in any order and case |
//! | `"payment failed"` | that have them in a row |
//! | `level:error service:shop` | of both values |
//! | `level:>=warn`, `service:(shop OR billing)` | of one of several values |
//! | `endpoint:"/orders/{id}"`, `pod:*` | of a value with any characters; with any value |
//! | `status:5xx`, `status:400..404`, `duration_ms:>=250` | of a number in a range |
//! | `order.id:>=7`, `due:2026-11-23` | of a field that the user named, by its type |
//! | `a OR b`, `NOT a`, `-a`, `(a OR b) c` | either; those without; both, one of them being either |

mod bounds;
mod display;
mod error;
mod facts;
mod field;
mod matches;
pub(crate) mod named;
mod parse;
mod plain;
pub mod words;

pub use bounds::{Bounds, Number};
pub use error::{Place, QueryError};
pub use facts::Facts;
pub use field::{Field, NumberField, ParseFieldError};
pub use named::{
    FieldType, MAX_FIELDS, MAX_NAME_BYTES, MAX_NAME_PARTS, NamedField, NamedFields, NamedFieldsError, NamedTest,
    ParseFieldTypeError,
};
pub use parse::{MAX_DEPTH, MAX_QUERY_BYTES, MAX_TERMS, MAX_WORDS};

use crate::level::Level;

/// Which lines are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    /// Lines that all of these find; without any, every line.
    All(Vec<Filter>),
    /// Lines that at least one of these finds; without any, no line.
    Any(Vec<Filter>),
    /// Lines that this does not find.
    Not(Box<Filter>),
    /// Lines whose field has one of these values, exactly.
    Is(Field, Vec<String>),
    /// Lines that have the field.
    Has(Field),
    /// Lines whose message has all words of this text, in any order. A text without a word finds nothing.
    Words(String),
    /// Lines whose message has the words of this text in a row. A text without a word finds nothing.
    Phrase(String),
    /// Lines whose field is a number within these bounds.
    Number(NumberField, Bounds),
    /// Lines whose field, one that the user named, meets this.
    Named(NamedField, NamedTest),
}

impl Default for Filter {
    /// Every line.
    fn default() -> Self {
        Self::EVERY
    }
}

impl Filter {
    /// Finds every line.
    pub const EVERY: Self = Self::All(Vec::new());

    /// Finds no line.
    pub const NOTHING: Self = Self::Any(Vec::new());

    /// Lines of this value.
    pub fn is(field: Field, value: impl Into<String>) -> Self {
        Self::Is(field, vec![value.into()])
    }

    /// Lines of this request.
    pub fn request(id: impl Into<String>) -> Self {
        Self::is(Field::RequestId, id)
    }

    /// Lines of this project.
    pub fn project(id: impl Into<String>) -> Self {
        Self::is(Field::ProjectId, id)
    }

    /// Lines of one of these levels.
    pub fn levels(levels: impl IntoIterator<Item = Level>) -> Self {
        Self::Is(Field::Level, levels.into_iter().map(|level| level.as_str().to_owned()).collect())
    }

    /// Access lines: one a request, with its endpoint, status and duration.
    #[must_use]
    pub fn access_lines() -> Self {
        Self::is(Field::Target, "access")
    }

    /// Calls `with` for each field in it that the user named.
    pub(crate) fn each_named<'f>(&'f self, with: &mut impl FnMut(&'f NamedField)) {
        match self {
            Self::All(parts) | Self::Any(parts) => parts.iter().for_each(|part| part.each_named(with)),
            Self::Not(part) => part.each_named(with),
            Self::Named(field, _) => with(field),
            _ => {}
        }
    }

    /// The same, where no line has the named fields that `is_out` says of.
    pub(crate) fn without_named(self, is_out: &impl Fn(&NamedField) -> bool) -> Self {
        let each = |parts: Vec<Self>| parts.into_iter().map(|part| part.without_named(is_out)).collect();
        match self {
            Self::All(parts) => Self::All(each(parts)),
            Self::Any(parts) => Self::Any(each(parts)),
            Self::Not(part) => Self::Not(Box::new(part.without_named(is_out))),
            Self::Named(field, _) if is_out(&field) => Self::NOTHING,
            other => other,
        }
    }

    /// Lines that this and `other` find.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self::All(vec![self, other]).plain()
    }
}
