//! Formats the fields of events and spans as JSON, with each key at most once per line.
//!
//! The event's fields take precedence over those of the innermost span, and inner spans over outer ones. A field named
//! like a key of the record, or like the shipper's `origin`, gets the prefix `field_`.

use std::error::Error;
use std::fmt;

use tracing::field::{Field, Visit};

use super::escape;
use crate::causes;

/// Whether a key is reserved for the record itself.
fn is_reserved(name: &str) -> bool {
    matches!(
        name,
        "timestamp"
            | "service"
            | "level"
            | "message"
            | "request_id"
            | "project_id"
            | "trace_id"
            | "span_id"
            | "target"
            | "origin"
    )
}

/// Whether tracing-log adds this field to describe a record's origin.
fn is_from_log(name: &str) -> bool {
    matches!(name, "log.target" | "log.module_path" | "log.file" | "log.line")
}

/// A field's key, with the prefix `field_` if it is renamed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key {
    renamed: bool,
    name: &'static str,
}

impl Key {
    fn of(name: &'static str) -> Self {
        Self { renamed: is_reserved(name), name }
    }

    /// Whether both are written as the same key.
    fn is(self, other: Self) -> bool {
        let as_written = |renamed: Self, plain: Self| plain.name.strip_prefix("field_") == Some(renamed.name);
        match (self.renamed, other.renamed) {
            (true, false) => as_written(self, other),
            (false, true) => as_written(other, self),
            _ => self.name == other.name,
        }
    }

    /// Appends `,"key":`.
    fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(if self.renamed { b",\"field_" } else { b",\"" });
        escape::escape(out, self.name.as_bytes());
        out.extend_from_slice(b"\":");
    }
}

/// Buffers for one line, reused by the thread's next one.
#[derive(Debug, Default)]
pub(crate) struct LineBuffer {
    /// The complete line.
    pub(crate) line: Vec<u8>,
    /// The message as a JSON string; empty if the event has none.
    pub(crate) message: Vec<u8>,
    /// `,"key":value` for each field.
    pub(crate) fields: Vec<u8>,
    keys: Vec<Key>,
}

impl LineBuffer {
    pub(crate) fn clear(&mut self) {
        self.line.clear();
        self.message.clear();
        self.fields.clear();
        self.keys.clear();
    }

    fn has(&self, key: Key) -> bool {
        self.keys.iter().any(|known| known.is(key))
    }

    pub(crate) fn has_field(&self, name: &'static str) -> bool {
        self.has(Key::of(name))
    }

    /// Appends the fields of a span whose keys the line does not have yet.
    pub(crate) fn append_span(&mut self, span: &SpanFields) {
        for (key, value) in &span.0 {
            if !self.has(*key) {
                self.keys.push(*key);
                key.write(&mut self.fields);
                self.fields.extend_from_slice(value);
            }
        }
    }
}

/// The fields of a span with JSON values, stored in its extensions.
#[derive(Debug, Default)]
pub(crate) struct SpanFields(Vec<(Key, Vec<u8>)>);

impl SpanFields {
    /// Merges fields recorded later, which replace earlier values.
    pub(crate) fn merge(&mut self, newer: Self) {
        for (key, value) in newer.0 {
            match self.0.iter_mut().find(|(known, _)| known.is(key)) {
                Some(field) => field.1 = value,
                None => self.0.push((key, value)),
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Receives the fields of an event or span.
pub(crate) trait Fields {
    /// Starts a field. Returns the buffer to append its value to and whether the value must be a string, or `None` to skip
    /// the field.
    fn start_field(&mut self, name: &'static str) -> Option<(&mut Vec<u8>, bool)>;
}

impl Fields for LineBuffer {
    fn start_field(&mut self, name: &'static str) -> Option<(&mut Vec<u8>, bool)> {
        if name == "message" {
            return self.message.is_empty().then_some((&mut self.message, true));
        }
        if is_from_log(name) {
            return None;
        }
        let key = Key::of(name);
        if self.has(key) {
            return None;
        }
        self.keys.push(key);
        key.write(&mut self.fields);
        Some((&mut self.fields, false))
    }
}

impl Fields for SpanFields {
    fn start_field(&mut self, name: &'static str) -> Option<(&mut Vec<u8>, bool)> {
        let key = Key::of(name);
        self.0.retain(|(known, _)| !known.is(key));
        self.0.push((key, Vec::new()));
        self.0.last_mut().map(|(_, value)| (value, false))
    }
}

/// Visitor that writes each field as JSON.
pub(crate) struct JsonVisitor<'a, F>(pub(crate) &'a mut F);

impl<F: Fields> JsonVisitor<'_, F> {
    fn write(&mut self, field: &Field, value: impl fmt::Display, is_json: bool) {
        use std::io::Write;
        let Some((out, must_be_string)) = self.0.start_field(field.name()) else { return };
        let quote: &[u8] = if must_be_string || !is_json { b"\"" } else { b"" };
        out.extend_from_slice(quote);
        // writing to a vector can't fail
        let _ = write!(out, "{value}");
        out.extend_from_slice(quote);
    }
}

impl<F: Fields> Visit for JsonVisitor<'_, F> {
    fn record_str(&mut self, field: &Field, value: &str) {
        if let Some((out, _)) = self.0.start_field(field.name()) {
            escape::string(out, value);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if let Some((out, _)) = self.0.start_field(field.name()) {
            escape::debug(out, value);
        }
    }

    /// Writes an error with its causes: `first: second: third`.
    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.record_str(field, &causes::chain(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.write(field, value, true);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.write(field, value, true);
    }

    /// Writes a string, because search engines do not support numbers beyond 64 bits.
    fn record_i128(&mut self, field: &Field, value: i128) {
        self.write(field, value, false);
    }

    /// Writes a string, because search engines do not support numbers beyond 64 bits.
    fn record_u128(&mut self, field: &Field, value: u128) {
        self.write(field, value, false);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.write(field, value, true);
    }

    /// Writes infinities and NaN, which JSON does not have, as null.
    fn record_f64(&mut self, field: &Field, value: f64) {
        let Some((out, must_be_string)) = self.0.start_field(field.name()) else { return };
        let quote: &[u8] = if must_be_string { b"\"" } else { b"" };
        out.extend_from_slice(quote);
        // writing a number to a vector can't fail
        let _ = serde_json::to_writer(&mut *out, &value);
        out.extend_from_slice(quote);
    }
}
