//! Brings a document that is not a contract record into the contract's form, for the embedded store.
//!
//! This is what the ingest pipeline (`infra/elasticsearch/ingest-pipeline.json`) does in an engine, step for step; one
//! corpus, run through both, holds them to the same result. Known shapes are bunyan (and pino), tracing-subscriber's
//! JSON and ECS; of any other object the contract's fields are taken where they have a usable value. A value that
//! stands where a contract field belongs, and can't be it, moves to `origin.replaced`, so nothing is lost.

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
use crate::normalise::table::VALUES;
use crate::record::Record;

/// The service of lines that do not name theirs.
const UNKNOWN_SERVICE: &str = "unknown";

/// A document under work.
struct Draft<'a> {
    document: Object<'a>,
    /// Values that made room for a contract field, by their key.
    replaced: Object<'a>,
}

impl Draft<'_> {
    /// Removes `key` and keeps its value aside, beside one that is there; a null is nothing to keep.
    fn replace(&mut self, key: impl Into<Cow<'static, str>>) {
        let key = key.into();
        if let Some(mut value) = self.document.remove(&key).filter(|value| value != "null") {
            if let Some(before) = self.replaced.text(&key) {
                value = format!("[{before},{value}]").into();
            }
            self.replaced.insert(key, value);
        }
    }

    /// The names that stand below a field that holds a value.
    fn below_a_value(&self) -> Vec<String> {
        let below = |key: &&str| key.split_once('.').is_some_and(|(outer, _)| VALUES.contains(&outer));
        self.document.keys().filter(below).map(str::to_owned).collect()
    }
}

/// The fields of a document and the document in the contract's form.
///
/// # Errors
/// When it is no JSON object.
pub(crate) fn normalise(text: &str, generation: GenerationId) -> Result<(Record<'static>, String), String> {
    let document = Object::parse(text).map_err(|error| format!("not a JSON object: {error}"))?;
    let mut draft = Draft { document, replaced: Object::default() };
    let is_origin = draft.document.object("origin").is_some();
    let kept = if is_origin { draft.document.remove("origin") } else { None };
    let mut origin = kept.as_deref().and_then(|text| Object::parse(text).ok()).unwrap_or_default();
    // The shipper has moved values there too.
    let before = origin.remove("replaced");
    draft.replaced = before.as_deref().and_then(|text| Object::parse(text).ok()).unwrap_or_default();
    draft.replace("origin");
    let (time, timestamp) = time::take(&mut draft, &origin, generation);
    let level = level::take(&mut draft);
    let service = fields::take_service(&mut draft).unwrap_or_else(|| UNKNOWN_SERVICE.to_owned());
    let message = fields::take_message(&mut draft);
    if draft.document.object("event").is_none() {
        draft.replace("event");
    }
    let request_id = fields::take_id(&mut draft, "request_id");
    let project_id = fields::take_id(&mut draft, "project_id");
    for key in draft.below_a_value() {
        draft.replace(key);
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

/// Whether a value under a key at a document's top, as JSON writes it, says what that key is for. Of most keys every
/// value but null does; a level or a time has to be one that can be read, an id or a message a text or a whole number.
#[must_use]
pub fn is_usable(key: &str, value: &str) -> bool {
    if table::LEVEL_KEYS.contains(&key) {
        return level::read(&object::scalar(value), true).is_some();
    }
    if table::TIME_KEYS.contains(&key) {
        return time::read_time(value).is_some();
    }
    match key {
        "message" | "service" | "request_id" | "project_id" => fields::text(&object::scalar(value)).is_some(),
        _ => value != "null",
    }
}

/// The document's text: the contract's fields first, then the rest, then its origin.
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
