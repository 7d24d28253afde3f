//! Writes a filter as a query text that parses as the same filter.

use std::fmt;
use std::ops::Bound;

use super::{Bounds, FieldTest, FieldType, Filter, NamedField};
use crate::timestamp::Timestamp;

/// Keywords of the language.
pub(super) const KEYWORDS: [&str; 3] = ["AND", "OR", "NOT"];

/// The syntactic context of a filter, which determines whether it needs parentheses.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
enum Context {
    /// On its own, or in parentheses.
    Top,
    /// An operand of OR.
    Or,
    /// An operand of AND.
    And,
    /// The operand of NOT.
    Not,
}

impl fmt::Display for Filter {
    /// Writes a query that parses as [`Filter::simplify`] of this filter.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(formatter, self, Context::Top)
    }
}

fn write(formatter: &mut fmt::Formatter<'_>, filter: &Filter, context: Context) -> fmt::Result {
    match filter {
        Filter::All(parts) if parts.is_empty() => formatter.write_str("*"),
        Filter::Any(parts) if parts.is_empty() => nothing(formatter, context),
        Filter::All(parts) => joined(formatter, parts, " ", Context::And, context > Context::Or),
        Filter::Any(parts) => joined(formatter, parts, " OR ", Context::Or, context > Context::Top),
        Filter::Not(part) => {
            formatter.write_str("NOT ")?;
            write(formatter, part, Context::Not)
        }
        Filter::Is(field, values) => write_one_of(formatter, field.name(), values, context),
        Filter::Has(field) => write!(formatter, "{field}:*"),
        Filter::Words(text) => write_words(formatter, None, text, context),
        Filter::Phrase(text) => write_quoted(formatter, text),
        Filter::Number(field, bounds) => write_bounds(formatter, field.name(), bounds, context),
        Filter::Named(field, test) => write_named(formatter, field, test, context),
    }
}

fn write_named(
    formatter: &mut fmt::Formatter<'_>,
    field: &NamedField,
    test: &FieldTest,
    context: Context,
) -> fmt::Result {
    match test {
        FieldTest::Any => write!(formatter, "{field}:*"),
        FieldTest::OneOf(values) => write_one_of(formatter, field.name(), values, context),
        FieldTest::Words(text) => write_words(formatter, Some(field.name()), text, context),
        FieldTest::Phrase(text) => {
            write!(formatter, "{field}:")?;
            write_quoted(formatter, text)
        }
        FieldTest::Between(from, to) => {
            let number = |value: i64| match field.kind() {
                FieldType::Date => Timestamp::from_unix_ms(value).to_string(),
                _ => value.to_string(),
            };
            match (*from, *to) {
                (i64::MIN, i64::MAX) => write!(formatter, "{field}:*"),
                (from, to) if from > to => nothing(formatter, context),
                (i64::MIN, to) => write!(formatter, "{field}:<={}", number(to)),
                (from, i64::MAX) => write!(formatter, "{field}:>={}", number(from)),
                (from, to) if from == to => write!(formatter, "{field}:{}", number(from)),
                (from, to) => write!(formatter, "{field}:{}..{}", number(from), number(to)),
            }
        }
        FieldTest::Number(bounds) => write_bounds(formatter, field.name(), bounds, context),
        FieldTest::Is(truth) => write!(formatter, "{field}:{truth}"),
    }
}

/// Writes `field:value` or `field:(one OR other)`.
fn write_one_of(formatter: &mut fmt::Formatter<'_>, field: &str, values: &[String], context: Context) -> fmt::Result {
    match values {
        [] => nothing(formatter, context),
        [value] => {
            write!(formatter, "{field}:")?;
            write_value(formatter, value)
        }
        [first, rest @ ..] => {
            write!(formatter, "{field}:(")?;
            write_value(formatter, first)?;
            for value in rest {
                formatter.write_str(" OR ")?;
                write_value(formatter, value)?;
            }
            formatter.write_str(")")
        }
    }
}

fn nothing(formatter: &mut fmt::Formatter<'_>, context: Context) -> fmt::Result {
    formatter.write_str(if context == Context::Not { "(NOT *)" } else { "NOT *" })
}

fn joined(
    formatter: &mut fmt::Formatter<'_>,
    parts: &[Filter],
    between: &str,
    context: Context,
    in_parentheses: bool,
) -> fmt::Result {
    if in_parentheses {
        formatter.write_str("(")?;
    }
    for (number, part) in parts.iter().enumerate() {
        if number > 0 {
            formatter.write_str(between)?;
        }
        write(formatter, part, context)?;
    }
    formatter.write_str(if in_parentheses { ")" } else { "" })
}

/// Writes the words of a text, each for the field or for the message.
fn write_words(formatter: &mut fmt::Formatter<'_>, field: Option<&str>, text: &str, context: Context) -> fmt::Result {
    let words: Vec<_> = text.split_whitespace().collect();
    if words.is_empty() {
        return nothing(formatter, context);
    }
    let in_parentheses = context == Context::Not && words.len() > 1;
    if in_parentheses {
        formatter.write_str("(")?;
    }
    for (number, word) in words.iter().enumerate() {
        if number > 0 {
            formatter.write_str(" ")?;
        }
        if let Some(field) = field {
            write!(formatter, "{field}:")?;
        }
        for (offset, character) in word.char_indices() {
            let is_special = matches!(character, '(' | ')' | '"' | '\\' | ':' | '*');
            if is_special || offset == 0 && (character == '-' || KEYWORDS.contains(word)) {
                formatter.write_str("\\")?;
            }
            write!(formatter, "{character}")?;
        }
    }
    formatter.write_str(if in_parentheses { ")" } else { "" })
}

fn write_value(formatter: &mut fmt::Formatter<'_>, value: &str) -> fmt::Result {
    let plain = |character: char| !(character.is_whitespace() || matches!(character, '(' | ')' | '"' | '\\' | '*'));
    if !value.is_empty() && value.chars().all(plain) && !KEYWORDS.contains(&value) {
        return formatter.write_str(value);
    }
    write_quoted(formatter, value)
}

fn write_quoted(formatter: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    write!(formatter, "\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn write_bounds(formatter: &mut fmt::Formatter<'_>, field: &str, bounds: &Bounds, context: Context) -> fmt::Result {
    match (bounds.from, bounds.to) {
        (Bound::Unbounded, Bound::Unbounded) => write!(formatter, "{field}:*"),
        (Bound::Included(from), Bound::Unbounded) => write!(formatter, "{field}:>={from}"),
        (Bound::Excluded(from), Bound::Unbounded) => write!(formatter, "{field}:>{from}"),
        (Bound::Unbounded, Bound::Included(to)) => write!(formatter, "{field}:<={to}"),
        (Bound::Unbounded, Bound::Excluded(to)) => write!(formatter, "{field}:<{to}"),
        (Bound::Included(from), Bound::Included(to)) if from == to => write!(formatter, "{field}:{from}"),
        (Bound::Included(from), Bound::Included(to)) => write!(formatter, "{field}:{from}..{to}"),
        (from, to) => {
            let in_parentheses = context > Context::Or;
            formatter.write_str(if in_parentheses { "(" } else { "" })?;
            write_bounds(formatter, field, &Bounds { from, to: Bound::Unbounded }, Context::And)?;
            formatter.write_str(" ")?;
            write_bounds(formatter, field, &Bounds { from: Bound::Unbounded, to }, Context::And)?;
            formatter.write_str(if in_parentheses { ")" } else { "" })
        }
    }
}
