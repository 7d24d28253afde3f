//! Parses the value of a user-named field, by its type.

use std::ops::Bound;

use super::super::named::value::day;
use super::super::{FieldTest, FieldType, Filter, NamedField, QueryError};
use super::scan::Token;
use super::{Parser, number, shown};
use crate::timestamp::Timestamp;

/// Milliseconds in a day.
const DAY_MS: i64 = 86_400_000;

impl Parser<'_> {
    /// Parses what follows the `name:` of a user-named field.
    pub(super) fn named(&mut self, field: NamedField, after: usize) -> Result<Filter, QueryError> {
        let (at, token) = self.value(after, field.name())?;
        if let Token::Word("*") = token {
            self.count(at, "")?;
            return Ok(Filter::Named(field, FieldTest::Any));
        }
        let test = match (field.kind(), token) {
            (FieldType::Keyword, Token::Open) => FieldTest::OneOf(self.list(field.name(), false)?),
            (FieldType::Keyword, token) => FieldTest::OneOf(vec![self.one_value(field.name(), false, at, token)?]),
            (FieldType::Text, Token::Quoted(raw)) => match self.phrase(at, raw)? {
                Filter::Phrase(text) => FieldTest::Phrase(text),
                other => return Ok(other),
            },
            (FieldType::Text, Token::Word(raw)) => match self.word(at, raw)? {
                Filter::Words(text) => FieldTest::Words(text),
                other => return Ok(other),
            },
            (kind, Token::Word(text)) => {
                self.count(at, "")?;
                let test = typed(kind, text);
                test.ok_or_else(|| self.error(at, shown(text).to_string(), expected(&field)))?
            }
            (..) => return Err(self.error(at, "no value", expected(&field))),
        };
        Ok(Filter::Named(field, test))
    }
}

/// Describes the valid values.
fn expected(field: &NamedField) -> String {
    match field.kind() {
        FieldType::Keyword => format!("write `{field}:value` or `{field}:\"a value\"`"),
        FieldType::Text => format!("expected a word or a quoted text after `{field}:`"),
        FieldType::Long => {
            format!("write an integer such as `{field}:7`, `{field}:>=7`, `{field}:1..7` or `{field}:*`")
        }
        FieldType::Double => {
            format!("write a number such as `{field}:0.5`, `{field}:>=0.5`, `{field}:0..1.5` or `{field}:*`")
        }
        FieldType::Boolean => format!("write `{field}:true`, `{field}:false` or `{field}:*`"),
        FieldType::Date => format!(
            "write a day or a time such as `{field}:2026-11-23`, `{field}:>=2026-11-23T18:00:00Z`, \
             `{field}:2026-11-01..2026-11-23` or `{field}:*`"
        ),
    }
}

/// Parses a value or a range. Returns `None` for anything else, and for an empty range.
fn typed(kind: FieldType, text: &str) -> Option<FieldTest> {
    match kind {
        FieldType::Keyword | FieldType::Text => None,
        FieldType::Boolean => text.parse().ok().map(FieldTest::Is),
        FieldType::Double => number::range(number::decimal, text).map(FieldTest::Number),
        FieldType::Long => {
            let whole = |text: &str| {
                let whole = text.strip_prefix('+').is_none().then(|| text.parse().ok()).flatten()?;
                Some((whole, whole))
            };
            between(whole, text)
        }
        FieldType::Date => between(time, text).filter(|test| match test {
            FieldTest::Between(from, to) => {
                (*from == i64::MIN || is_in_calendar(*from)) && (*to == i64::MAX || is_in_calendar(*to))
            }
            _ => true,
        }),
    }
}

/// Parses a day or a time as its first and last millisecond.
fn time(text: &str) -> Option<(i64, i64)> {
    if let Some(first) = day(text) {
        return Some((first.unix_ms(), first.unix_ms() + DAY_MS - 1));
    }
    let time = Timestamp::parse(text.as_bytes())?.unix_ms();
    is_in_calendar(time).then_some((time, time))
}

/// Whether a time is in the years 0001 to 9999, which can be written.
fn is_in_calendar(ms: i64) -> bool {
    let (year, ..) = Timestamp::from_unix_ms(ms).day().civil();
    (1..=9_999).contains(&year)
}

/// Parses a range, with `one` returning the first and the last number of each side.
fn between(one: impl Fn(&str) -> Option<(i64, i64)>, text: &str) -> Option<FieldTest> {
    let (from, to) = number::sides(text, &one)?;
    let from = match from {
        Bound::Unbounded => i64::MIN,
        Bound::Included((first, _)) => first,
        Bound::Excluded((_, last)) => last.checked_add(1)?,
    };
    let to = match to {
        Bound::Unbounded => i64::MAX,
        Bound::Included((_, last)) => last,
        Bound::Excluded((first, _)) => first.checked_sub(1)?,
    };
    (from <= to).then_some(FieldTest::Between(from, to))
}
