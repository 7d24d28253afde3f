//! Converts a document that is not a contract record into one, for the embedded store.
//!
//! This does the same as the ingest pipeline (`infra/elasticsearch/ingest-pipeline.json`) does in an engine, step by
//! step; tests run one corpus through both and compare the results. Known formats are bunyan (and pino),
//! tracing-subscriber's JSON and ECS. In any other object, contract fields are used if their values are usable. A value
//! that is under a contract field's name but can't be used for it moves to `origin.replaced`, so that nothing is lost.

mod epoch;
mod fields;
mod level;
mod object;
pub(crate) mod table;
pub(crate) mod time;
mod time_text;

use std::borrow::Cow;

use crate::id::GenerationId;
use crate::level::Level;
use crate::normalise::object::{Object, quoted};
use crate::normalise::table::scalar_fields;
use crate::record::Record;

/// The service of lines that do not name one.
const UNKNOWN_SERVICE: &str = "unknown";

/// A document being normalised.
struct Draft<'a> {
    document: Object<'a>,
    /// Values moved aside to make room for a contract field, by key.
    replaced: Object<'a>,
}

impl Draft<'_> {
    /// Removes `key` and sets its value aside, next to any earlier one. Nulls are dropped.
    fn set_aside(&mut self, key: impl Into<Cow<'static, str>>) {
        let key = key.into();
        if let Some(mut value) = self.document.remove(&key).filter(|value| value != "null") {
            if let Some(before) = self.replaced.text(&key) {
                value = format!("[{before},{value}]").into();
            }
            self.replaced.insert(key, value);
        }
    }

    /// Returns the keys below a field that holds a scalar.
    fn keys_below_scalars(&self) -> Vec<String> {
        let below =
            |key: &&str| key.split_once('.').is_some_and(|(outer, _)| scalar_fields().any(|field| field == outer));
        self.document.keys().filter(below).map(str::to_owned).collect()
    }
}

/// Normalises a document. Returns its contract fields and its new text.
///
/// # Errors
/// When it is not a JSON object.
pub(crate) fn normalise(text: &str, generation: GenerationId) -> Result<(Record<'static>, String), String> {
    let document = Object::parse(text).map_err(|error| format!("not a JSON object: {error}"))?;
    let mut draft = Draft { document, replaced: Object::default() };
    let is_origin = draft.document.object("origin").is_some();
    let kept = if is_origin { draft.document.remove("origin") } else { None };
    let mut origin = kept.as_deref().and_then(|text| Object::parse(text).ok()).unwrap_or_default();
    // The shipper may have moved values there as well.
    let before = origin.remove("replaced");
    draft.replaced = before.as_deref().and_then(|text| Object::parse(text).ok()).unwrap_or_default();
    draft.set_aside("origin");
    let (time, timestamp) = time::take(&mut draft, &origin, generation);
    let level = level::take(&mut draft);
    let service = fields::take_service(&mut draft).unwrap_or_else(|| UNKNOWN_SERVICE.to_owned());
    let message = fields::take_message(&mut draft);
    if draft.document.object("event").is_none() {
        draft.set_aside("event");
    }
    let request_id = fields::take_id(&mut draft, "request_id");
    let project_id = fields::take_id(&mut draft, "project_id");
    for key in draft.keys_below_scalars() {
        draft.set_aside(key);
    }
    if !draft.replaced.is_empty() {
        origin.insert("replaced", draft.replaced.to_string());
    }
    let text = compose(&timestamp, &service, level, &message, [&request_id, &project_id], draft.document, &origin);
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

/// Whether a top-level value, in JSON notation, is usable for the purpose of its key. A level or a time must be
/// parseable; an id or a message must be a string or an integer. For most keys, every value except null is usable.
#[must_use]
pub fn is_usable(key: &str, value: &str) -> bool {
    if table::LEVEL_KEYS.contains(&key) {
        return level::read(&object::scalar(value), true).is_some();
    }
    if table::TIME_KEYS.contains(&key) {
        return time::parse_time(value).is_some();
    }
    match key {
        "message" | "service" | "request_id" | "project_id" => fields::text(&object::scalar(value)).is_some(),
        _ => value != "null",
    }
}

/// Writes the document: the contract's fields first, then the others, then its origin.
fn compose(
    timestamp: &str,
    service: &str,
    level: Level,
    message: &str,
    [request_id, project_id]: [&Option<String>; 2],
    rest: Object<'_>,
    origin: &Object<'_>,
) -> String {
    let id = |id: &Option<String>| id.as_deref().map_or_else(|| "null".to_owned(), quoted);
    let mut document = Object::default();
    for (key, text) in [
        ("timestamp", quoted(timestamp)),
        ("service", quoted(service)),
        ("level", quoted(level.as_str())),
        ("message", quoted(message)),
        ("request_id", id(request_id)),
        ("project_id", id(project_id)),
    ] {
        document.insert(key, text);
    }
    document.append(rest);
    if !origin.is_empty() {
        document.insert("origin", origin.to_string());
    }
    document.to_string()
}
