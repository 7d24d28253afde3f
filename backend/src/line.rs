//! A stored line, parsed for display: the contract's fields, those of access lines, its origin, and all others.

use std::collections::BTreeMap;

use serde_json::value::RawValue;
use serde_json::{Map, Value};
use store::{GenerationId, Level, Timestamp};

/// Maximum characters of a field's value; the JSON of the line is complete.
pub const SHOWN_MAX_CHARS: usize = 2_000;

/// Longer durations are implausible and ignored.
const TOOK_MAX_MS: f64 = 366.0 * 24.0 * 3_600_000.0;

/// Fields that pages show separately.
const NAMED: [&str; 9] =
    ["timestamp", "service", "level", "message", "request_id", "project_id", "origin", "event", "@timestamp"];

/// A line.
#[derive(Clone, Debug, Default)]
pub struct Line {
    /// Its time; none if the timestamp is invalid.
    pub time: Option<Timestamp>,
    /// The timestamp as it is in the line.
    pub timestamp: String,
    /// The service that wrote it.
    pub service: String,
    /// Its level.
    pub level: Option<Level>,
    /// Its message.
    pub message: String,
    /// Its request.
    pub request_id: Option<String>,
    /// Its project.
    pub project_id: Option<String>,
    /// The fields of an access line.
    pub access: Option<Access>,
    /// Its position in its source.
    pub origin: Option<Origin>,
    /// The other fields by name; those in objects by their path.
    pub fields: Vec<(String, String)>,
    /// The whole line as JSON.
    pub json: String,
}

/// The fields of an access line.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Access {
    /// The request's method.
    pub method: String,
    /// Its route's pattern.
    pub endpoint: String,
    /// The status of the response; none if none was sent.
    pub status: Option<u16>,
    /// Duration until the body ended, as it is in the line.
    pub duration_ms: Option<f64>,
    /// Its outcome.
    pub outcome: String,
}

impl Access {
    /// Whether the service failed: a status of 500 or above, a panic, or a body that failed.
    #[must_use]
    pub fn is_failure(&self) -> bool {
        self.status.is_some_and(|status| status >= 500) || ["panic", "body_failed"].contains(&self.outcome.as_str())
    }

    /// Whether it is an example of a successful request.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.outcome == "answered" && self.status.is_some_and(|status| status < 400)
    }

    /// Duration until the body ended, in microseconds; none if it is absent or implausible.
    #[must_use]
    pub fn took_us(&self) -> Option<i64> {
        let ms = self.duration_ms.filter(|ms| (0.0..=TOOK_MAX_MS).contains(ms));
        ms.map(|ms| (ms * 1_000.0).round() as i64)
    }

    /// The status, or `no response`.
    #[must_use]
    pub fn status_text(&self) -> String {
        self.status.map_or_else(|| "no response".to_owned(), |status| status.to_string())
    }
}

/// A line's position in its source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Its generation.
    pub generation: GenerationId,
    /// Offset of its first byte.
    pub offset: u64,
    /// Bytes with the newline; 0 if it is not recorded.
    pub length: u64,
    /// The name of the source: a file, a stream or a container's service.
    pub source: String,
}

impl Line {
    /// Parses a stored document. Invalid fields stay empty.
    #[must_use]
    pub fn parse(document: &str) -> Self {
        let (object, json) = match serde_json::from_str(document) {
            Ok(Value::Object(object)) => {
                let json = serde_json::to_string_pretty(&object).unwrap_or_default();
                (object, json)
            }
            _ => match parse_lossy(document) {
                Some(object) => (object, document.to_owned()),
                None => return Self { message: document.to_owned(), json: document.to_owned(), ..Self::default() },
            },
        };
        let text = |name: &str| object.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let id = |name: &str| object.get(name).and_then(Value::as_str).map(str::to_owned);
        let timestamp = text("timestamp");
        Self {
            time: Timestamp::parse(timestamp.as_bytes()),
            service: text("service"),
            level: text("level").parse().ok(),
            message: text("message"),
            request_id: id("request_id"),
            project_id: id("project_id"),
            access: access(&object),
            origin: object.get("origin").and_then(origin),
            fields: fields(&object),
            json,
            timestamp,
        }
    }

    /// Its message; for an access line, the request and its status.
    #[must_use]
    pub fn title(&self) -> String {
        match &self.access {
            Some(access) => format!("{} {} → {}", access.method, access.endpoint, access.status_text()),
            None => self.message.clone(),
        }
    }

    /// The time of day, to the millisecond.
    #[must_use]
    pub fn clock(&self) -> &str {
        self.timestamp.get(11..23).unwrap_or(&self.timestamp)
    }

    /// The date.
    #[must_use]
    pub fn day(&self) -> &str {
        self.timestamp.get(..10).unwrap_or_default()
    }

    /// Date and time of day, to the millisecond.
    #[must_use]
    pub fn datetime(&self) -> String {
        format!("{} {}", self.day(), self.clock())
    }

    /// The level's name, or `none`.
    #[must_use]
    pub fn level_name(&self) -> &'static str {
        self.level.map_or("none", Level::as_str)
    }

    /// The path of the page with the surrounding lines.
    #[must_use]
    pub fn surroundings(&self) -> Option<String> {
        self.origin.as_ref().map(|origin| format!("/sources/{}/{}", origin.generation, origin.offset))
    }
}

/// Parses an object whose values may be too large or too deep: such a value becomes its JSON text.
fn parse_lossy(document: &str) -> Option<Map<String, Value>> {
    let values: BTreeMap<String, &RawValue> = serde_json::from_str(document).ok()?;
    let read = |raw: &RawValue| serde_json::from_str(raw.get()).unwrap_or_else(|_| Value::from(raw.get()));
    Some(values.into_iter().map(|(name, raw)| (name, read(raw))).collect())
}

fn access(object: &Map<String, Value>) -> Option<Access> {
    let text = |name: &str| object.get(name).and_then(Value::as_str).map(str::to_owned);
    Some(Access {
        outcome: text("outcome")?,
        method: text("method")?,
        endpoint: text("endpoint")?,
        status: object.get("status").and_then(Value::as_u64).and_then(|status| u16::try_from(status).ok()),
        duration_ms: object.get("duration_ms").and_then(Value::as_f64),
    })
}

fn origin(value: &Value) -> Option<Origin> {
    let text = |name: &str| value.get(name).and_then(Value::as_str);
    let source =
        text("compose_service").or(text("file")).or(text("stream")).or(text("container")).unwrap_or("unknown source");
    let host = text("host").unwrap_or_default();
    Some(Origin {
        generation: text("generation")?.parse().ok()?,
        offset: value.get("offset")?.as_u64()?,
        length: value.get("length").and_then(Value::as_u64).unwrap_or_default(),
        source: if host.is_empty() { source.to_owned() } else { format!("{source} on {host}") },
    })
}

fn fields(object: &Map<String, Value>) -> Vec<(String, String)> {
    let mut fields = Vec::new();
    for (name, value) in object.iter().filter(|(name, _)| !NAMED.contains(&name.as_str())) {
        flatten(name, value, &mut fields);
    }
    fields
}

fn flatten(name: &str, value: &Value, fields: &mut Vec<(String, String)>) {
    match value {
        Value::Object(object) if !object.is_empty() => {
            object.iter().for_each(|(inner, value)| flatten(&format!("{name}.{inner}"), value, fields));
        }
        Value::String(text) => fields.push((name.to_owned(), truncated(text))),
        other => fields.push((name.to_owned(), truncated(&other.to_string()))),
    }
}

/// Truncates a text that is too long to be shown.
#[must_use]
pub fn truncated(text: &str) -> String {
    match text.char_indices().nth(SHOWN_MAX_CHARS) {
        Some((end, _)) => format!("{}… (truncated; see JSON)", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_fields_of_a_line_are_parsed() {
        let line = Line::parse(
            r#"{"timestamp":"2026-11-24T10:00:00.123456Z","service":"s","level":"warn","message":"m","request_id":"r",
                "project_id":null,"method":"GET","endpoint":"/a/{id}","status":null,"duration_ms":1.5,
                "outcome":"client_gone","deep":{"a":[1,2],"b":"x"},
                "origin":{"host":"h","stream":"stdout","generation":"0193a1b2c3d4e5f60718293a4b5c6d7e","offset":7,"length":9}}"#,
        );
        assert_eq!((line.clock(), line.day(), line.level_name()), ("10:00:00.123", "2026-11-24", "warn"));
        let access = line.access.as_ref().unwrap();
        assert!(access.status.is_none() && access.took_us() == Some(1_500) && !access.is_success());
        let origin = line.origin.as_ref().unwrap();
        assert_eq!((origin.offset, origin.length, origin.source.as_str()), (7, 9, "stdout on h"));
        assert!(line.fields.contains(&("deep.b".to_owned(), "x".to_owned())), "{:?}", line.fields);
        assert!(line.json.contains("\"deep\""));
    }

    #[test]
    fn a_value_that_is_too_large_or_too_deep_becomes_text() {
        for odd in ["1e999", &format!("{}{}", "[".repeat(300), "]".repeat(300))] {
            let document =
                format!(r#"{{"timestamp":"2026-11-24T10:00:00Z","message":"m","request_id":"r","odd":{odd}}}"#);
            let line = Line::parse(&document);
            assert_eq!((line.message.as_str(), line.request_id.as_deref()), ("m", Some("r")));
            assert_eq!(line.fields, [("odd".to_owned(), truncated(odd))]);
            assert!(line.time.is_some() && line.json == document);
        }
    }

    #[test]
    fn a_document_that_is_not_a_record_is_shown_unchanged() {
        assert_eq!(Line::parse("not json").message, "not json");
        let odd = Line::parse(r#"{"timestamp":1,"level":"loud","origin":3}"#);
        assert!(odd.time.is_none() && odd.level.is_none() && odd.origin.is_none());
        assert!(truncated(&"ä".repeat(SHOWN_MAX_CHARS + 1)).contains('…'));
    }
}
