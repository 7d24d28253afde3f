//! Parses the value of a numeric field.

use std::ops::Bound;

use super::super::{Bounds, Number, NumberField};

/// Describes the valid values.
pub(super) fn expected(field: NumberField) -> String {
    match field {
        NumberField::Status => "write a status such as `status:404`, `status:5xx`, `status:400..404`, `status:>=500` or `status:*`",
        NumberField::DurationMs => {
            "write milliseconds such as `duration_ms:>=250`, `duration_ms:10..20.5`, `duration_ms:<1` or `duration_ms:*`"
        }
    }
    .to_owned()
}

/// Parses a number or a range. Returns `None` for anything else, and for an empty range.
pub(super) fn bounds(field: NumberField, text: &str) -> Option<Bounds> {
    if text == "*" {
        return Some(Bounds::ANY);
    }
    if let (NumberField::Status, [class @ b'1'..=b'9', b'x', b'x']) = (field, text.as_bytes()) {
        let low = f64::from(class - b'0') * 100.0;
        return Some(Bounds::between(Number::new(low)?, Number::new(low + 99.0)?));
    }
    match field {
        NumberField::Status => range(whole, text),
        NumberField::DurationMs => range(decimal, text),
    }
}

/// Parses a range of numbers.
pub(super) fn range(number: impl Fn(&str) -> Option<Number>, text: &str) -> Option<Bounds> {
    let (from, to) = sides(text, number)?;
    let empty = matches!((from, to), (Bound::Included(from), Bound::Included(to)) if from > to);
    (!empty).then_some(Bounds { from, to })
}

/// Parses `n`, `>n`, `>=n`, `<n`, `<=n`, `n..m`, `n..` or `..m`, with `one` for each side.
pub(super) fn sides<T: Copy>(text: &str, one: impl Fn(&str) -> Option<T>) -> Option<(Bound<T>, Bound<T>)> {
    if let Some((from, to)) = text.split_once("..") {
        let side = |text: &str| match text {
            "" => Some(Bound::Unbounded),
            text => one(text).map(Bound::Included),
        };
        let (from, to) = (side(from)?, side(to)?);
        return (text != "..").then_some((from, to));
    }
    Some(if let Some(text) = text.strip_prefix(">=") {
        (Bound::Included(one(text)?), Bound::Unbounded)
    } else if let Some(text) = text.strip_prefix("<=") {
        (Bound::Unbounded, Bound::Included(one(text)?))
    } else if let Some(text) = text.strip_prefix('>') {
        (Bound::Excluded(one(text)?), Bound::Unbounded)
    } else if let Some(text) = text.strip_prefix('<') {
        (Bound::Unbounded, Bound::Excluded(one(text)?))
    } else {
        let exactly = Bound::Included(one(text)?);
        (exactly, exactly)
    })
}

/// Parses digits with an optional sign.
fn whole(text: &str) -> Option<Number> {
    is_plain(text).then(|| text.parse::<i32>().ok()).flatten().and_then(|whole| Number::new(f64::from(whole)))
}

/// Parses digits with an optional sign and fraction.
pub(super) fn decimal(text: &str) -> Option<Number> {
    is_plain(text).then(|| text.parse().ok()).flatten().and_then(Number::new)
}

fn is_plain(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') && !digits.is_empty()
}
