//! Parses JSON lines as strictly as an engine: an object with a duplicate key, at any depth, is an error.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Parses one line.
///
/// # Errors
/// Returns an error if it is not JSON or has a duplicate key.
pub fn parse(line: &str) -> Result<Value, serde_json::Error> {
    serde_json::from_str::<Strict>(line).map(|strict| strict.0)
}

/// Parses all lines of a text, which must end with a newline. Panics with the first invalid line.
#[track_caller]
pub fn parse_all(text: &str) -> Vec<Value> {
    assert!(text.is_empty() || text.ends_with('\n'), "the last line has no newline: {text:?}");
    text.lines().map(|line| parse(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

/// Parses the complete lines of a file that is still being written.
#[track_caller]
pub fn parse_complete(text: &str) -> Vec<Value> {
    parse_all(&text[..text.rfind('\n').map_or(0, |end| end + 1)])
}

/// The lines of one request, in order.
pub fn of_request<'a>(lines: &'a [Value], request_id: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["request_id"] == request_id).collect()
}

/// Whether a line is an access line: it has the request's outcome.
pub fn is_access_line(line: &Value) -> bool {
    line.get("outcome").is_some()
}

struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Strict)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value without duplicate keys")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("not a number"))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(Strict(value)) = access.next_element()? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some((key, Strict(value))) = access.next_entry::<String, Strict>()? {
            if object.contains_key(&key) {
                return Err(A::Error::custom(format_args!("duplicate key {key:?}")));
            }
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duplicate_key_is_rejected_at_any_depth() {
        for line in [r#"{"a":1,"a":1}"#, r#"{"b":{"a":1,"a":2}}"#, r#"{"b":[{"a":1,"\u0061":2}]}"#] {
            assert!(parse(line).unwrap_err().to_string().contains("duplicate key"), "{line}");
        }
        let line = r#"{"a":{"a":[1,-2,3.5,"x",true,null]}}"#;
        assert_eq!(parse(line).unwrap(), serde_json::from_str::<Value>(line).unwrap());
    }

    #[test]
    fn only_complete_lines_of_a_growing_file_are_parsed() {
        assert_eq!(parse_complete("{}\n{\"a").len(), 1);
        assert_eq!(parse_complete("{\"a").len(), 0);
    }
}
