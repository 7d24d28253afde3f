//! Reading JSON lines as strictly as an engine does: a key that stands twice in an object, at any depth, is refused.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Reads one line.
///
/// # Errors
/// It is not JSON, or an object in it has a key twice.
pub fn parse(line: &str) -> Result<Value, serde_json::Error> {
    serde_json::from_str::<Strict>(line).map(|strict| strict.0)
}

/// Reads all lines of a text, each of which has to end; panics with the line that can't be read.
#[track_caller]
pub fn parse_all(text: &str) -> Vec<Value> {
    assert!(text.is_empty() || text.ends_with('\n'), "the last line has no end: {text:?}");
    text.lines().map(|line| parse(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

/// Reads the lines that ended so far, for a look at a file that is still written to.
#[track_caller]
pub fn parse_ended(text: &str) -> Vec<Value> {
    parse_all(&text[..text.rfind('\n').map_or(0, |end| end + 1)])
}

/// The lines of one request, in their order.
pub fn of_request<'a>(lines: &'a [Value], request_id: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["request_id"] == request_id).collect()
}

/// Whether a line is a request's access line: the one that says how it ended.
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
        formatter.write_str("a JSON value without a key twice in an object")
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
                return Err(A::Error::custom(format_args!("the key {key:?} stands twice")));
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
    fn a_key_twice_is_refused_at_any_depth() {
        for line in [r#"{"a":1,"a":1}"#, r#"{"b":{"a":1,"a":2}}"#, r#"{"b":[{"a":1,"\u0061":2}]}"#] {
            assert!(parse(line).unwrap_err().to_string().contains("stands twice"), "{line}");
        }
        let line = r#"{"a":{"a":[1,-2,3.5,"x",true,null]}}"#;
        assert_eq!(parse(line).unwrap(), serde_json::from_str::<Value>(line).unwrap());
    }

    #[test]
    fn only_ended_lines_are_read_from_a_growing_file() {
        assert_eq!(parse_ended("{}\n{\"a").len(), 1);
        assert_eq!(parse_ended("{\"a").len(), 0);
    }
}
