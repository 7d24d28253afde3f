//! User-named fields in the simple model: parsed with `serde_json`, and compared value by value.

use std::collections::BTreeSet;

use serde_json::Value;
use store::query::words::words;
use store::{FieldTest, FieldType, NamedField, Timestamp};

use super::is_within;

/// Whether a line's field satisfies a test.
pub(super) fn meets(line: &Value, field: &NamedField, test: &FieldTest) -> bool {
    let mut values = Vec::new();
    at(line, field.name(), &mut values);
    values.retain(|value| is_of(field.kind(), value));
    let words_of = |value: &Value| words(&text(value)).map(|word| word.into_owned()).collect::<Vec<_>>();
    match test {
        FieldTest::Any => !values.is_empty(),
        FieldTest::OneOf(wanted) => values.iter().any(|value| wanted.contains(&text(value))),
        FieldTest::Words(wanted) => {
            let own: Vec<_> = values.iter().flat_map(words_of).collect();
            words(wanted).count() > 0 && words(wanted).all(|word| own.contains(&word.into_owned()))
        }
        FieldTest::Phrase(wanted) => {
            let wanted: Vec<_> = words(wanted).map(|word| word.into_owned()).collect();
            let has = |own: Vec<String>| (0..own.len()).any(|start| own[start..].starts_with(&wanted));
            !wanted.is_empty() && values.iter().map(words_of).any(has)
        }
        FieldTest::Between(from, to) => values.iter().any(|value| {
            let own = if field.kind() == FieldType::Date { time(value) } else { whole(value) };
            own.is_some_and(|own| own >= *from && own <= *to)
        }),
        FieldTest::Number(bounds) => values.iter().any(|value| number(value).is_some_and(|own| is_within(bounds, own))),
        FieldTest::Is(truth) => values.iter().any(|value| text(value) == truth.to_string()),
    }
}

/// Returns the values of a line's field as text.
pub(super) fn texts(line: &Value, field: &NamedField) -> BTreeSet<String> {
    let mut values = Vec::new();
    at(line, field.name(), &mut values);
    values.iter().filter(|value| is_of(field.kind(), value)).map(text).collect()
}

/// Returns the scalars at a path, ignoring what does not fit it.
fn at(value: &Value, path: &str, found: &mut Vec<Value>) {
    match value {
        Value::Object(members) => {
            for (key, value) in members {
                match path.strip_prefix(key.as_str()) {
                    Some("") => {
                        let mut scalars = Vec::new();
                        if flat(value, &mut scalars) {
                            found.extend(scalars);
                        }
                    }
                    Some(rest) if rest.starts_with('.') && is_of_objects(value) => at(value, &rest[1..], found),
                    _ => {}
                }
            }
        }
        Value::Array(elements) => elements.iter().for_each(|element| at(element, path, found)),
        _ => {}
    }
}

fn is_of_objects(value: &Value) -> bool {
    match value {
        Value::Array(elements) => elements.iter().all(is_of_objects),
        other => other.is_object() || other.is_null(),
    }
}

/// Adds the scalars of a value. Returns whether it contains no object.
fn flat(value: &Value, scalars: &mut Vec<Value>) -> bool {
    match value {
        Value::Object(_) => false,
        Value::Array(elements) => elements.iter().all(|element| flat(element, scalars)),
        Value::Null => true,
        scalar => {
            scalars.push(scalar.clone());
            true
        }
    }
}

fn is_of(kind: FieldType, value: &Value) -> bool {
    match kind {
        FieldType::Keyword => text(value).encode_utf16().count() <= 1_024,
        FieldType::Text => true,
        FieldType::Long => whole(value).is_some(),
        FieldType::Double => number(value).is_some(),
        FieldType::Boolean => ["true", "false"].contains(&&*text(value)),
        FieldType::Date => time(value).is_some(),
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn number(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str()?.trim().parse().ok()).filter(|number: &f64| number.is_finite())
}

#[expect(clippy::cast_possible_truncation, reason = "the numbers here that are not whole are small")]
fn whole(value: &Value) -> Option<i64> {
    let exact = match value {
        Value::String(text) => text.parse().ok(),
        other => other.as_i64(),
    };
    let is_padded = value.as_str().is_some_and(|text| text.trim() != text);
    exact.or_else(|| number(value).filter(|_| !is_padded).map(|number| number as i64))
}

fn time(value: &Value) -> Option<i64> {
    let text = value.as_str()?;
    let whole = if text.len() == 10 { format!("{text}T00:00:00Z") } else { text.to_owned() };
    (text.len() == 10 || text.contains('T'))
        .then(|| Timestamp::parse(whole.as_bytes()))
        .flatten()
        .map(Timestamp::unix_ms)
}
