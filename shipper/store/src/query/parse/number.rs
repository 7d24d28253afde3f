//! What stands after the colon of a field of numbers.

use std::ops::Bound;

use super::super::{Bounds, Number, NumberField};

/// What would be right.
pub(super) fn expected(field: NumberField) -> String {
    match field {
        NumberField::Status => "write a status such as `status:404`, `status:5xx`, `status:400..404`, `status:>=500` or `status:*`",
        NumberField::DurationMs => {
            "write milliseconds such as `duration_ms:>=250`, `duration_ms:10..20.5`, `duration_ms:<1` or `duration_ms:*`"
        }
    }
    .to_owned()
}

/// Reads a number or a range; `None` for anything else, and for a range without anything in it.
pub(super) fn bounds(field: NumberField, text: &str) -> Option<Bounds> {
    if text == "*" {
        return Some(Bounds::ANY);
    }
    if let (NumberField::Status, [class @ b'1'..=b'9', b'x', b'x']) = (field, text.as_bytes()) {
        let low = f64::from(class - b'0') * 100.0;
        return Some(Bounds::between(Number::new(low)?, Number::new(low + 99.0)?));
    }
    if let Some((from, to)) = text.split_once("..") {
        let side = |text: &str| match text {
            "" => Some(Bound::Unbounded),
            text => number(field, text).map(Bound::Included),
        };
        let (from, to) = (side(from)?, side(to)?);
        let empty = matches!((from, to), (Bound::Included(from), Bound::Included(to)) if from > to);
        return (text != ".." && !empty).then_some(Bounds { from, to });
    }
    let (from, to) = if let Some(text) = text.strip_prefix(">=") {
        (Bound::Included(number(field, text)?), Bound::Unbounded)
    } else if let Some(text) = text.strip_prefix("<=") {
        (Bound::Unbounded, Bound::Included(number(field, text)?))
    } else if let Some(text) = text.strip_prefix('>') {
        (Bound::Excluded(number(field, text)?), Bound::Unbounded)
    } else if let Some(text) = text.strip_prefix('<') {
        (Bound::Unbounded, Bound::Excluded(number(field, text)?))
    } else {
        return number(field, text).map(Bounds::exactly);
    };
    Some(Bounds { from, to })
}

/// Digits, with a sign and a fraction where the field has them.
fn number(field: NumberField, text: &str) -> Option<Number> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') && !digits.is_empty();
    match field {
        NumberField::Status if plain => Number::new(f64::from(text.parse::<i32>().ok()?)),
        NumberField::DurationMs if plain => Number::new(text.parse().ok()?),
        _ => None,
    }
}
