//! The subscriber layer that writes each event as one record of the log contract.
//!
//! No lock is held while code of the service runs, such as a value's `Debug`, because it may log or panic. A line that is
//! logged while another one is being formatted gets its own buffers.

use std::cell::{Cell, RefCell};

use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_log::NormalizeEvent;
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::line::{JsonVisitor, LineBuffer, SpanFields};
use super::writer::LogWriter;
use super::{clock, escape};
use crate::context::RequestContext;

thread_local! {
    static BUFFER: Cell<Option<Box<LineBuffer>>> = const { Cell::new(None) };
    /// Request of lines logged outside its span: the access line, and lines of destructors.
    static OVERRIDE: RefCell<Option<RequestContext>> = const { RefCell::new(None) };
}

/// Maximum capacity of a buffer that is kept for the next line.
const MAX_KEPT_BYTES: usize = 256 * 1024;

/// Runs `code` so that its log lines on this thread have the ids in `context`.
pub(crate) fn with_context(context: &RequestContext, code: impl FnOnce()) {
    // while the thread ends the thread-local may be destroyed; the lines then have no ids
    let Ok(before) = OVERRIDE.try_with(|request| request.replace(Some(context.clone()))) else { return code() };
    let _restore = Restore(before);
    code();
}

/// Restores the previous override, also after a panic.
struct Restore(Option<RequestContext>);

impl Drop for Restore {
    fn drop(&mut self) {
        let _ = OVERRIDE.try_with(|request| request.replace(self.0.take()));
    }
}

/// Layer that writes events as records of the log contract.
#[derive(Debug)]
pub(crate) struct RecordLayer {
    /// `","service":"…","level":"`
    service: Vec<u8>,
    writer: LogWriter,
}

impl RecordLayer {
    pub(crate) fn new(service: &str, writer: LogWriter) -> Self {
        let mut text = b"\",\"service\":".to_vec();
        escape::string(&mut text, service);
        text.extend_from_slice(b",\"level\":\"");
        Self { service: text, writer }
    }

    fn assemble(&self, buffer: &mut LineBuffer, level: Level, target: &str, context: Option<&RequestContext>) {
        let LineBuffer { line, message, fields, .. } = buffer;
        line.extend_from_slice(b"{\"timestamp\":\"");
        clock::write_now(line);
        line.extend_from_slice(&self.service);
        line.extend_from_slice(match level {
            Level::ERROR => b"error",
            Level::WARN => b"warn",
            Level::INFO => b"info",
            Level::DEBUG => b"debug",
            Level::TRACE => b"trace",
        });
        line.extend_from_slice(b"\",\"message\":");
        line.extend_from_slice(if message.is_empty() { b"\"\"" } else { message });
        id(line, b",\"request_id\":", context.map(RequestContext::request_id));
        id(line, b",\"project_id\":", context.and_then(RequestContext::project_id));
        if let Some(trace_id) = context.and_then(RequestContext::trace_id) {
            id(line, b",\"trace_id\":", Some(trace_id));
            id(line, b",\"span_id\":", context.and_then(RequestContext::span_id));
        }
        line.extend_from_slice(b",\"target\":");
        escape::string(line, target);
        line.extend_from_slice(fields);
        line.extend_from_slice(b"}\n");
    }
}

/// Appends an id or `null`. Ids have no characters that need escaping.
fn id(line: &mut Vec<u8>, key: &[u8], id: Option<&str>) {
    line.extend_from_slice(key);
    match id {
        Some(id) => {
            line.push(b'"');
            line.extend_from_slice(id.as_bytes());
            line.push(b'"');
        }
        None => line.extend_from_slice(b"null"),
    }
}

impl<S> Layer<S> for RecordLayer
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if attributes.is_empty() {
            return;
        }
        let mut fields = SpanFields::default();
        attributes.record(&mut JsonVisitor(&mut fields));
        if let Some(span) = context.span(id).filter(|_| !fields.is_empty()) {
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let mut fields = SpanFields::default();
        values.record(&mut JsonVisitor(&mut fields));
        let Some(span) = context.span(id).filter(|_| !fields.is_empty()) else { return };
        let mut extensions = span.extensions_mut();
        match extensions.get_mut::<SpanFields>() {
            Some(known) => known.merge(fields),
            None => extensions.insert(fields),
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut buffer = BUFFER.try_with(Cell::take).ok().flatten().unwrap_or_default();
        buffer.clear();
        event.record(&mut JsonVisitor(&mut *buffer));

        let mut request = OVERRIDE.try_with(|request| request.borrow().clone()).ok().flatten();
        for span in context.event_scope(event).into_iter().flatten() {
            let extensions = span.extensions();
            if let Some(fields) = extensions.get::<SpanFields>() {
                buffer.append_span(fields);
            }
            if request.is_none() {
                request = extensions.get::<RequestContext>().cloned();
            }
        }
        let from_log = event.normalized_metadata();
        let metadata = from_log.as_ref().unwrap_or_else(|| event.metadata());
        if metadata.target() == "access" && !buffer.has_field("status") {
            buffer.fields.extend_from_slice(b",\"status\":null");
        }
        self.assemble(&mut buffer, *metadata.level(), metadata.target(), request.as_ref());
        self.writer.push(&buffer.line);
        if buffer.line.capacity() <= MAX_KEPT_BYTES {
            // while the thread ends the thread-local may be destroyed
            let _ = BUFFER.try_with(|kept| kept.set(Some(buffer)));
        }
    }
}
