//! Values of user-named fields in a document, as engines read them by their mapping.
//!
//! A field is at the path of its name; each dot is either part of a key or separates nested objects. Values that do not
//! fit the path (an object instead of a value, or a value instead of an object) are ignored. The ingest pipeline moves
//! them aside, since an engine would reject the line.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::{FieldType, KEYWORD_MAX, NamedField, is_below};
use crate::json::{Members, ScalarText, each_scalar, elements};
use crate::query::Number;
use crate::timestamp::Timestamp;

/// A value, by the type of its field.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value<'d> {
    /// Of keywords and texts.
    Text(Cow<'d, str>),
    /// Of integers, and of dates in milliseconds since the Unix epoch.
    Integer(i64),
    Number(Number),
    Boolean(bool),
}

/// Calls `with` for each value of some fields in a document, with the field's index.
pub(crate) fn each_value<'d>(document: &'d str, fields: &[&NamedField], mut with: impl FnMut(usize, Value<'d>)) {
    let meets = |name: &str, key: &str| name == key || is_below(name, key) || is_below(key, name);
    let is_wanted = |key: &str| fields.iter().any(|field| meets(field.name(), key));
    let Ok(Members(members)) = Members::parse_where(document, &is_wanted) else { return };
    let mut with = |index: usize, scalar| {
        if let Some(value) = fields.get(index).and_then(|field| read(field.kind(), scalar)) {
            with(index, value);
        }
    };
    for (key, value) in members {
        collect_at(&mut key.into_owned(), value, fields, &mut with);
    }
}

/// Calls `with` for each scalar of a field at or below a path.
fn collect_at<'d>(
    path: &mut String,
    value: &'d RawValue,
    fields: &[&NamedField],
    with: &mut impl FnMut(usize, ScalarText<'d>),
) {
    if let Some(index) = fields.iter().position(|field| field.name() == path) {
        let mut found = Vec::new();
        if each_scalar(value, &mut |scalar| found.push(scalar)) {
            found.into_iter().for_each(|scalar| with(index, scalar));
        }
    } else if fields.iter().any(|field| is_below(field.name(), path)) && has_only_objects(value) {
        collect_below(path, value, fields, with);
    }
}

/// Does the same for the members of an object, or of the objects in a list.
fn collect_below<'d>(
    path: &mut String,
    value: &'d RawValue,
    fields: &[&NamedField],
    with: &mut impl FnMut(usize, ScalarText<'d>),
) {
    if value.get().starts_with('[') {
        elements(value).into_iter().for_each(|element| collect_below(path, element, fields, with));
    } else if let Ok(Members(members)) = Members::parse(value.get()) {
        let length = path.len();
        for (key, value) in members {
            path.push('.');
            path.push_str(&key);
            collect_at(path, value, fields, with);
            path.truncate(length);
        }
    }
}

/// Whether a value and its nested lists contain only objects and nulls.
fn has_only_objects(value: &RawValue) -> bool {
    match value.get().as_bytes().first() {
        Some(b'[') => elements(value).into_iter().all(has_only_objects),
        first => matches!(first, Some(b'{' | b'n')),
    }
}

/// Returns the value that an engine indexes.
fn read<'d>(kind: FieldType, scalar: ScalarText<'d>) -> Option<Value<'d>> {
    let text = &*scalar.text;
    match kind {
        FieldType::Keyword => {
            let fits = text.len() <= KEYWORD_MAX || text.encode_utf16().count() <= KEYWORD_MAX;
            fits.then_some(Value::Text(scalar.text))
        }
        FieldType::Text => Some(Value::Text(scalar.text)),
        FieldType::Long => integer(text, scalar.is_string).map(Value::Integer),
        FieldType::Double => {
            // As Java parses a number in a string.
            let trimmed = text.trim_matches(|character: char| character <= ' ');
            let digits = trimmed
                .strip_suffix(['d', 'D', 'f', 'F'])
                .filter(|rest| rest.ends_with(|last: char| last.is_ascii_digit() || last == '.'));
            digits.unwrap_or(trimmed).parse().ok().and_then(Number::new).map(Value::Number)
        }
        FieldType::Boolean => text.parse().ok().map(Value::Boolean),
        FieldType::Date => scalar.is_string.then(|| date(text)).flatten().map(Value::Integer),
    }
}

/// Parses an integer, or the integer part of another number.
fn integer(text: &str, is_string: bool) -> Option<i64> {
    if let Ok(whole) = text.parse() {
        return Some(whole);
    }
    if is_string && let Some((before, after)) = text.split_once('.') {
        let has_digits = before.ends_with(|last: char| last.is_ascii_digit());
        if has_digits && after.bytes().all(|byte| byte.is_ascii_digit()) {
            return before.parse().ok();
        }
    }
    #[expect(clippy::cast_possible_truncation, reason = "it lies within")]
    text.parse::<f64>().ok().filter(|number| number.abs() < 9_223_372_036_854_775_808.0).map(|number| number as i64)
}

/// Parses `2026-11-23`, or `2026-11-23T18:51:20.5Z` with any offset, capital letters and up to nine digits, as
/// milliseconds.
fn date(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    if bytes.len() == 10 {
        return day(text).map(Timestamp::unix_ms);
    }
    let digits = bytes.get(20..)?.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let in_form = bytes.get(10) == Some(&b'T')
        && !bytes.ends_with(b"z")
        && bytes.get(17..19) != Some(b"60")
        && (bytes.get(19) != Some(&b'.') || digits <= 9);
    let offset = bytes.get(bytes.len().saturating_sub(6)..)?;
    // Java's offsets end at 18 hours.
    let in_java = bytes.ends_with(b"Z") || offset.get(1..).is_some_and(|offset| offset <= b"18:00".as_slice());
    Timestamp::parse(bytes).filter(|_| in_form && in_java).map(Timestamp::unix_ms)
}

/// Parses a day such as `2026-11-23` as its first moment.
pub(crate) fn day(text: &str) -> Option<Timestamp> {
    if text.len() == 10 { Timestamp::parse(format!("{text}T00:00:00Z").as_bytes()) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::NamedFields;

    fn values(document: &str, name: &str, kind: FieldType) -> Vec<Value<'static>> {
        // The other field must not make a difference.
        let fields = NamedFields::new([(name.to_owned(), kind), ("o.other".to_owned(), FieldType::Long)]).unwrap();
        let fields: Vec<_> = fields.iter().collect();
        let index = fields.iter().position(|field| field.name() == name).unwrap();
        let mut values = Vec::new();
        each_value(document, &fields, |own, value| {
            if own == index {
                values.push(match value {
                    Value::Text(text) => Value::Text(Cow::Owned(text.into_owned())),
                    Value::Integer(whole) => Value::Integer(whole),
                    Value::Number(number) => Value::Number(number),
                    Value::Boolean(truth) => Value::Boolean(truth),
                });
            }
        });
        values
    }

    #[test]
    fn paths_use_dots_and_nested_objects() {
        for (document, found) in [
            (r#"{"o":{"id":7}}"#, &[7][..]),
            (r#"{"o.id":7}"#, &[7]),
            (r#"{"o.id":7,"o":{"id":8}}"#, &[7, 8]),
            (r#"{"o":[{"id":1},null,[{"id":[2,[3,null]]}]]}"#, &[1, 2, 3]),
            (r#"{"o":{"id":7,"x":{"id":8},"x.y":1}}"#, &[7]),
            (r#"{"o":7}"#, &[]),
            (r#"{"o":[{"id":1},7]}"#, &[]),
            (r#"{"o":{"id":{"x":1}}}"#, &[]),
            (r#"{"o":{"id":[1,{"x":1}]}}"#, &[]),
            (r#"{"o.id.x":1,"o.id":2}"#, &[2]),
            (r#"{"o":{"id":1,"other":{}}}"#, &[1]),
            (r#"{"o":[{"id":1},{"id":{"x":1}},[null]]}"#, &[1]),
            (r#"{"o":[{"id":1},[7]]}"#, &[]),
            (r#"{"o":[{"id.x":1,"id":2}]}"#, &[2]),
            (r#"{"id":1,"x":{"o":{"id":1}},"o":null}"#, &[]),
            (r#"[{"o":{"id":7}}]"#, &[]),
        ] {
            let expected: Vec<_> = found.iter().map(|whole| Value::Integer(*whole)).collect();
            assert_eq!(values(document, "o.id", FieldType::Long), expected, "{document}");
        }
    }

    /// Expected values as indexed by Elasticsearch and OpenSearch.
    #[test]
    fn values_are_read_as_engines_read_them() {
        let whole = |value| Some(Value::Integer(value));
        let number = |value| Some(Value::Number(Number::new(value).unwrap()));
        let text = |value: &str| Some(Value::Text(Cow::Owned(value.to_owned())));
        for (kind, json, expected) in [
            (FieldType::Long, "5", whole(5)),
            (FieldType::Long, "-5.7", whole(-5)),
            (FieldType::Long, "\"5.7\"", whole(5)),
            (FieldType::Long, "\" 5 \"", None),
            (FieldType::Long, "\"5e3\"", whole(5_000)),
            (FieldType::Long, "9223372036854775807", whole(i64::MAX)),
            (FieldType::Long, "9223372036854775808", None),
            (FieldType::Long, "\"9223372036854775807.9\"", whole(i64::MAX)),
            (FieldType::Long, "\"9007199254740993.5\"", whole(9_007_199_254_740_993)),
            (FieldType::Long, "1e400", None),
            (FieldType::Long, "\"\"", None),
            (FieldType::Long, "\"x\"", None),
            (FieldType::Long, "true", None),
            (FieldType::Long, "\".5\"", whole(0)),
            (FieldType::Long, "\"5.\"", whole(5)),
            (FieldType::Long, "\".\"", None),
            (FieldType::Double, "5", number(5.0)),
            (FieldType::Double, "\"\\t5\\n\"", number(5.0)),
            (FieldType::Double, "\"5d\"", number(5.0)),
            (FieldType::Double, "\"NaN\"", None),
            (FieldType::Double, "1e400", None),
            (FieldType::Double, "\"1_0\"", None),
            (FieldType::Boolean, "true", Some(Value::Boolean(true))),
            (FieldType::Boolean, "\"false\"", Some(Value::Boolean(false))),
            (FieldType::Boolean, "\"yes\"", None),
            (FieldType::Boolean, "1", None),
            (FieldType::Keyword, "7", text("7")),
            (FieldType::Keyword, "true", text("true")),
            (FieldType::Keyword, "\"\"", text("")),
            (FieldType::Date, "\"2026-01-01\"", whole(1_767_225_600_000)),
            (FieldType::Date, "\"2026-01-01T00:00:00.123456789+01:00\"", whole(1_767_222_000_123)),
            (FieldType::Date, "\"2026-01-01T00:00:00-00:30\"", whole(1_767_227_400_000)),
            (FieldType::Date, "\"2026-01-01T00:00:00+18:00\"", whole(1_767_160_800_000)),
            (FieldType::Date, "\"2026-01-01T00:00:00+18:01\"", None),
            (FieldType::Date, "\"2026-01-01T00:00:00+23:00\"", None),
            (FieldType::Date, "\"0001-01-01\"", whole(-62_135_596_800_000)),
            (FieldType::Date, "\"2026-01-01T00:00:60Z\"", None),
            (FieldType::Date, "\"2026-01-01t00:00:00z\"", None),
            (FieldType::Date, "\"2026-01-01T00:00:00\"", None),
            (FieldType::Date, "\"2026-01-01T00:00:00.1234567890Z\"", None),
            (FieldType::Date, "\"2026-02-30\"", None),
            (FieldType::Date, "\"2026-01-01 \"", None),
            (FieldType::Date, "\"2026\"", None),
            (FieldType::Date, "1767225600000", None),
        ] {
            let found = values(&format!("{{\"x\":{json}}}"), "x", kind);
            assert_eq!(found.first(), expected.as_ref(), "{kind} {json}");
        }
        let long = format!("{{\"x\":\"{}\"}}", "x".repeat(KEYWORD_MAX + 1));
        assert_eq!(values(&long, "x", FieldType::Keyword), []);
        assert_eq!(values(&long, "x", FieldType::Text).len(), 1);
    }
}
