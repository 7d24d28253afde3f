//! Where other loggers store the contract's fields.

use serde_json::Value;

use crate::normalise::Draft;
use crate::normalise::object::Object;
use crate::normalise::table::{MESSAGE_KEYS, PROJECT_ID_KEYS, REQUEST_ID_KEYS};

/// Reads a string or an integer as text; empty strings are not usable.
pub(super) fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => number.as_i64().map(|whole| whole.to_string()),
        _ => None,
    }
}

/// Takes `service`; ECS `service.name`, dotted or nested; bunyan's `name`; or `service` in a tracing event's fields or
/// spans.
pub(super) fn take_service(draft: &mut Draft<'_>) -> Option<String> {
    let mut taken = draft.document.scalar("service").as_ref().and_then(text);
    if taken.is_some() {
        draft.document.remove("service");
    } else {
        taken = take_nested(draft, "service", "name", text);
        draft.set_aside("service");
    }
    if taken.is_none() {
        taken = take(draft, "service.name", text);
    }
    // bunyan and pino write `hostname` next to `name` and `msg`; elsewhere `name` can mean anything.
    if taken.is_none() && draft.document.contains_key("msg") && draft.document.contains_key("hostname") {
        taken = take(draft, "name", text);
    }
    taken.or_else(|| in_context(&draft.document, "service"))
}

/// Takes `message`; bunyan's `msg`; `message` in a tracing event's fields; or [`MESSAGE_KEYS`]. The default is empty.
pub(super) fn take_message(draft: &mut Draft<'_>) -> String {
    let message = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        other => text(other),
    };
    let mut taken = take(draft, "message", message);
    draft.set_aside("message");
    if taken.is_none() {
        taken = take(draft, "msg", message);
    }
    if taken.is_none() {
        taken = take_nested(draft, "fields", "message", message);
    }
    for key in MESSAGE_KEYS {
        if taken.is_none() {
            taken = take(draft, key, |value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned));
        }
    }
    taken.unwrap_or_default()
}

/// Takes `key`, GELF's key, or the same in a tracing event's fields or spans; for the request id also ECS
/// `http.request.id`.
pub(super) fn take_id(draft: &mut Draft<'_>, key: &'static str) -> Option<String> {
    let mut taken = take(draft, key, text);
    draft.set_aside(key);
    let is_request = key == "request_id";
    for other in if is_request { REQUEST_ID_KEYS } else { PROJECT_ID_KEYS } {
        taken = taken.or_else(|| take(draft, other, text));
    }
    let document = &draft.document;
    taken.or_else(|| in_context(document, key)).or_else(|| if is_request { from_ecs(document) } else { None })
}

/// Reads ECS `http.request.id`, nested or dotted. It is not removed.
fn from_ecs(document: &Object<'_>) -> Option<String> {
    let nested = document.object("http").and_then(|http| http.object("request")?.scalar("id"));
    nested.as_ref().and_then(text).or_else(|| document.scalar("http.request.id").as_ref().and_then(text))
}

/// Removes `key` if its value is usable.
pub(super) fn take<T>(draft: &mut Draft<'_>, key: &str, read: impl Fn(&Value) -> Option<T>) -> Option<T> {
    let taken = draft.document.scalar(key).as_ref().and_then(read);
    if taken.is_some() {
        draft.document.remove(key);
    }
    taken
}

/// Removes `key` from the object at `outer` if its value is usable, and the object if it is then empty.
pub(super) fn take_nested<T>(
    draft: &mut Draft<'_>,
    outer: &'static str,
    key: &str,
    read: impl Fn(&Value) -> Option<T>,
) -> Option<T> {
    let mut object = draft.document.object(outer)?;
    let taken = read(&object.scalar(key)?)?;
    object.remove(key);
    let rest = (!object.is_empty()).then(|| object.to_string());
    match rest {
        Some(rest) => draft.document.insert(outer, rest),
        None => drop(draft.document.remove(outer)),
    }
    Some(taken)
}

/// Reads `key` from a tracing event's fields, else its span, else the enclosing spans from the inside out. It is not
/// removed.
fn in_context(document: &Object<'_>, key: &str) -> Option<String> {
    let within = |object: &Object<'_>| object.scalar(key).as_ref().and_then(text);
    document
        .object("fields")
        .and_then(|fields| within(&fields))
        .or_else(|| document.object("span").and_then(|span| within(&span)))
        .or_else(|| document.objects("spans").iter().rev().find_map(within))
}
