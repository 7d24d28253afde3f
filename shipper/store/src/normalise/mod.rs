//! Brings a document that is not a contract record into the contract's form, for the embedded store.
//!
//! This is what the ingest pipeline (`infra/elasticsearch/ingest-pipeline.json`) does in an engine, step for step; one
//! corpus, run through both, holds them to the same result. Known shapes are bunyan (and pino), tracing-subscriber's
//! JSON and ECS; of any other object the contract's fields are taken where they have a usable value. A value that
//! stands where a contract field belongs, and can't be it, moves to `origin.replaced`, so nothing is lost.

mod fields;
mod time;

use std::borrow::Cow;

use serde_json::{Map, Value};

use crate::id::GenerationId;
use crate::level::Level;
use crate::record::Record;

/// The service of lines that do not name theirs.
const UNKNOWN_SERVICE: &str = "unknown";

/// A document under work.
struct Draft {
    document: Map<String, Value>,
    /// Values that made room for a contract field, by their key.
    replaced: Map<String, Value>,
}

impl Draft {
    /// Removes `key` and keeps its value aside; a null is nothing to keep.
    fn replace(&mut self, key: &str) {
        if let Some(value) = self.document.remove(key).filter(|value| !value.is_null()) {
            self.replaced.insert(key.to_owned(), value);
        }
    }
}

/// The fields of a document and the document in the contract's form.
///
/// # Errors
/// When it is no JSON object.
pub(crate) fn normalise(text: &str, generation: GenerationId) -> Result<(Record<'static>, String), String> {
    let document = serde_json::from_str(text).map_err(|error| format!("not a JSON object: {error}"))?;
    let mut draft = Draft { document, replaced: Map::new() };
    let mut origin = match draft.document.remove("origin") {
        Some(Value::Object(origin)) => origin,
        Some(other) => {
            draft.replaced.insert("origin".to_owned(), other);
            Map::new()
        }
        None => Map::new(),
    };
    let (time, timestamp) = time::take(&mut draft, &origin, generation);
    let level = fields::take_level(&mut draft);
    let service = fields::take_service(&mut draft).unwrap_or_else(|| UNKNOWN_SERVICE.to_owned());
    let message = fields::take_message(&mut draft);
    let request_id = fields::take_id(&mut draft, "request_id");
    let project_id = fields::take_id(&mut draft, "project_id");
    if !draft.replaced.is_empty() {
        origin.insert("replaced".to_owned(), Value::Object(draft.replaced));
    }
    let text = compose(&timestamp, &service, level, &message, [&request_id, &project_id], draft.document, origin);
    let record = Record {
        time,
        service: Cow::Owned(service),
        level,
        message: Cow::Owned(message),
        request_id: request_id.map(Cow::Owned),
        project_id: project_id.map(Cow::Owned),
    };
    Ok((record, text))
}

/// The document's text: the contract's fields first, then the rest, then its origin.
fn compose(
    timestamp: &str,
    service: &str,
    level: Level,
    message: &str,
    [request_id, project_id]: [&Option<String>; 2],
    rest: Map<String, Value>,
    origin: Map<String, Value>,
) -> String {
    let id = |id: &Option<String>| id.clone().map_or(Value::Null, Value::String);
    let mut fields = vec![
        ("timestamp".to_owned(), Value::String(timestamp.to_owned())),
        ("service".to_owned(), Value::String(service.to_owned())),
        ("level".to_owned(), Value::String(level.to_string())),
        ("message".to_owned(), Value::String(message.to_owned())),
        ("request_id".to_owned(), id(request_id)),
        ("project_id".to_owned(), id(project_id)),
    ];
    fields.extend(rest);
    if !origin.is_empty() {
        fields.push(("origin".to_owned(), Value::Object(origin)));
    }
    let mut text = String::from("{");
    for (place, (key, value)) in fields.into_iter().enumerate() {
        if place > 0 {
            text.push(',');
        }
        text.push_str(&Value::String(key).to_string());
        text.push(':');
        text.push_str(&value.to_string());
    }
    text.push('}');
    text
}
