//! A stored line, read for people: its contract's fields, its access line's, its origin, and the rest as it stands.

use std::collections::BTreeMap;

use serde_json::value::RawValue;
use serde_json::{Map, Value};
use store::{GenerationId, Level, Timestamp};

/// A field's value is shown up to so many characters; the line as JSON has all of it.
pub const SHOWN_MAX_CHARS: usize = 2_000;

/// No request takes longer; what an access line says beyond it is not taken for a time.
const TOOK_MAX_MS: f64 = 366.0 * 24.0 * 3_600_000.0;

/// Fields of the contract and of the access line, which a page shows in their own places.
const NAMED: [&str; 9] =
    ["timestamp", "service", "level", "message", "request_id", "project_id", "origin", "event", "@timestamp"];

/// A line.
#[derive(Clone, Debug, Default)]
pub struct Line {
    /// When it was written; none where the line's own words can't be read as a time.
    pub time: Option<Timestamp>,
    /// As the line has it.
    pub timestamp: String,
    /// Who wrote it.
    pub service: String,
    /// How grave it is.
    pub level: Option<Level>,
    /// What it says.
    pub message: String,
    /// Of which request.
    pub request_id: Option<String>,
    /// Of which project.
    pub project_id: Option<String>,
    /// How a request ended, in its access line.
    pub access: Option<Access>,
    /// Where it was read.
    pub origin: Option<Origin>,
    /// The other fields, by name, those of objects by their path.
    pub fields: Vec<(String, String)>,
    /// All of it.
    pub json: String,
}

/// What an access line says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Access {
    /// The request's method.
    pub method: String,
    /// Its route's pattern.
    pub endpoint: String,
    /// The answer's status; none where none was sent.
    pub status: Option<u16>,
    /// Until its body ended, as the line has it.
    pub duration_ms: Option<f64>,
    /// What became of it.
    pub outcome: String,
}

impl Access {
    /// Whether the service failed: an answer of 500 or more, or none that came to its end for the service's sake.
    #[must_use]
    pub fn is_failure(&self) -> bool {
        self.status.is_some_and(|status| status >= 500) || ["panic", "body_failed"].contains(&self.outcome.as_str())
    }

    /// Whether it can be an example of how a request goes well.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.outcome == "answered" && self.status.is_some_and(|status| status < 400)
    }

    /// Until its body ended, in microseconds; none where the line does not say, or says what no request takes.
    #[must_use]
    pub fn took_us(&self) -> Option<i64> {
        let ms = self.duration_ms.filter(|ms| (0.0..=TOOK_MAX_MS).contains(ms));
        ms.map(|ms| (ms * 1_000.0).round() as i64)
    }

    /// The status, or a word for none.
    #[must_use]
    pub fn status_text(&self) -> String {
        self.status.map_or_else(|| "no response".to_owned(), |status| status.to_string())
    }
}

/// A line's place at its source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Which life of the source.
    pub generation: GenerationId,
    /// Of its first byte.
    pub offset: u64,
    /// In bytes, with its newline; 0 where the line does not tell.
    pub length: u64,
    /// The source as people call it: a file, a stream or a container's service.
    pub source: String,
}

impl Line {
    /// Reads a stored document. What can't be read stays empty.
    #[must_use]
    pub fn read(document: &str) -> Self {
        let (object, json) = match serde_json::from_str(document) {
            Ok(Value::Object(object)) => {
                let json = serde_json::to_string_pretty(&object).unwrap_or_default();
                (object, json)
            }
            _ => match loosely(document) {
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

    /// What it says; of an access line, of which request and how that ended.
    #[must_use]
    pub fn said(&self) -> String {
        match &self.access {
            Some(access) => format!("{} {} → {}", access.method, access.endpoint, access.status_text()),
            None => self.message.clone(),
        }
    }

    /// Hours to milliseconds of when it was written, for a list whose days are said elsewhere.
    #[must_use]
    pub fn clock(&self) -> &str {
        self.timestamp.get(11..23).unwrap_or(&self.timestamp)
    }

    /// The day that it was written.
    #[must_use]
    pub fn day(&self) -> &str {
        self.timestamp.get(..10).unwrap_or_default()
    }

    /// The level's name; a word for none.
    #[must_use]
    pub fn level_name(&self) -> &'static str {
        self.level.map_or("none", Level::as_str)
    }

    /// A name for the line within a page: its place at its source, by which a link finds it again.
    #[must_use]
    pub fn anchor(&self) -> Option<String> {
        self.origin.as_ref().map(|origin| format!("l-{}-{}", origin.generation, origin.offset))
    }

    /// Where the lines around it are.
    #[must_use]
    pub fn surroundings(&self) -> Option<String> {
        self.origin.as_ref().map(|origin| format!("/sources/{}/{}", origin.generation, origin.offset))
    }
}

/// An object in which a value that can't be held here, a number out of range or a deep nest, is its text.
fn loosely(document: &str) -> Option<Map<String, Value>> {
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
        Value::String(text) => fields.push((name.to_owned(), cut(text))),
        other => fields.push((name.to_owned(), cut(&other.to_string()))),
    }
}

/// A text, cut with a mark where it is too long to be shown.
#[must_use]
pub fn cut(text: &str) -> String {
    match text.char_indices().nth(SHOWN_MAX_CHARS) {
        Some((end, _)) => format!("{}… (truncated; see JSON)", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_and_nothing_of_it_is_lost() {
        let line = Line::read(
            r#"{"timestamp":"2026-11-24T10:00:00.123456Z","service":"s","level":"warn","message":"m","request_id":"r",
                "project_id":null,"method":"GET","endpoint":"/a/{id}","status":null,"duration_ms":1.5,
                "outcome":"client_gone","deep":{"a":[1,2],"b":"x"},
                "origin":{"host":"h","stream":"stdout","generation":"0193a1b2c3d4e5f60718293a4b5c6d7e","offset":7,"length":9}}"#,
        );
        assert_eq!((line.clock(), line.day(), line.level_name()), ("10:00:00.123", "2026-11-24", "warn"));
        let access = line.access.as_ref().unwrap();
        assert!(access.status.is_none() && access.took_us() == Some(1_500) && !access.is_good());
        let origin = line.origin.as_ref().unwrap();
        assert_eq!((origin.offset, origin.length, origin.source.as_str()), (7, 9, "stdout on h"));
        assert!(line.fields.contains(&("deep.b".to_owned(), "x".to_owned())), "{:?}", line.fields);
        assert!(line.json.contains("\"deep\""));
    }

    #[test]
    fn a_value_that_can_not_be_held_takes_nothing_else_with_it() {
        for odd in ["1e999", &format!("{}{}", "[".repeat(300), "]".repeat(300))] {
            let document =
                format!(r#"{{"timestamp":"2026-11-24T10:00:00Z","message":"m","request_id":"r","odd":{odd}}}"#);
            let line = Line::read(&document);
            assert_eq!((line.message.as_str(), line.request_id.as_deref()), ("m", Some("r")));
            assert_eq!(line.fields, [("odd".to_owned(), cut(odd))]);
            assert!(line.time.is_some() && line.json == document);
        }
    }

    #[test]
    fn what_is_no_record_is_shown_as_it_is() {
        assert_eq!(Line::read("not json").message, "not json");
        let odd = Line::read(r#"{"timestamp":1,"level":"loud","origin":3}"#);
        assert!(odd.time.is_none() && odd.level.is_none() && odd.origin.is_none());
        assert!(cut(&"ä".repeat(SHOWN_MAX_CHARS + 1)).contains('…'));
    }
}
