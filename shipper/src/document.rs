//! Builds the document of a line: the line's own bytes with `origin` spliced in, or a record that wraps the line.
//!
//! A valid line is kept unchanged up to its closing brace, followed by `origin`, which describes its source:
//!
//! `"origin":{"host","shipper","stream"|"file"[,"container"][,"compose_service"],"generation","offset","length"[,"received"][,"wrapped"][,"changed"][,"replaced"][,"cut_bytes"]}`
//!
//! An object that a store would reject is changed as little as necessary: `origin.changed` lists each [change](Change),
//! with its key if there is one, and `origin.replaced` holds values that were moved. Any other line becomes the
//! `message` of a new record, as far as UTF-8 can represent it, and `origin.wrapped` names the [flaw](Flaw). The same
//! line with the same arrival always results in the same bytes.
//!
//! A line's day, and thereby its index, is that of its own time, unless it has none or an implausible one: before
//! [`EARLIEST`], or more than [`AHEAD_MAX_DAYS`] after its arrival. Then it is the day of its arrival, which
//! `origin.received` contains.

use std::io::Write as _;

use store::{BatchBuilder, GenerationId, LineId, Timestamp};

use crate::escape::escape;
use crate::reader::LineView;
use crate::record::{Change, ChangeSet, Changes, Check, Checker, EARLIEST, Flaw, Object, repair};
use crate::sources::Source;

/// Times more than this many days after the line's arrival are implausible.
pub const AHEAD_MAX_DAYS: i64 = 366;

const AHEAD_MAX_MICROS: i64 = AHEAD_MAX_DAYS * 86_400_000_000;

/// The part of `origin` that all lines of a generation share.
#[derive(Debug)]
pub struct Origin {
    generation: GenerationId,
    /// `,"origin":{…,"offset":`
    head: Vec<u8>,
    /// `","service":…,"level":"info","message":"`
    wrapped_middle: Vec<u8>,
    /// Times up to this one are plausible for any arrival after the generation's creation.
    plausible_until: Timestamp,
}

/// The kind of an input line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A record of the contract.
    Record,
    /// A JSON object of another shape.
    Foreign,
    /// A line that was wrapped.
    Wrapped(Flaw),
}

/// The result of [`Documents::push`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// The kind of the line.
    pub kind: Kind,
    /// The changes made to it.
    pub changes: ChangeSet,
    /// Whether the document or its index depends on the time of arrival, which is not part of the line.
    pub used_arrival: bool,
}

/// Builds documents.
#[derive(Debug)]
pub struct Documents {
    /// `,"origin":{"host":…,"shipper":…,`
    head: Vec<u8>,
    service: String,
    /// The last time of arrival and its text. Most adjacent lines share it.
    arrival: Option<(Timestamp, String)>,
    checker: Checker,
}

impl Documents {
    /// Documents shipped from `host` by the shipper named `shipper`; wrapped lines belong to `service`.
    #[must_use]
    pub fn new(host: &str, shipper: &str, service: &str) -> Self {
        let mut head = Vec::new();
        head.extend_from_slice(b",\"origin\":{\"host\":\"");
        escape(host, &mut head);
        head.extend_from_slice(b"\",\"shipper\":\"");
        escape(shipper, &mut head);
        head.extend_from_slice(b"\",");
        Self { head, service: service.to_owned(), arrival: None, checker: Checker::new() }
    }

    /// The part of `origin` that all lines of a generation share.
    #[must_use]
    pub fn origin(&self, source: &Source, generation: GenerationId) -> Origin {
        let mut head = self.head.clone();
        let source = source.describe();
        source.each_field(&mut |key, value| {
            head.extend_from_slice(format!("\"{key}\":\"").as_bytes());
            escape(value, &mut head);
            head.extend_from_slice(b"\",");
        });
        let service = source.service().unwrap_or(&self.service);
        head.extend_from_slice(format!("\"generation\":\"{generation}\",\"offset\":").as_bytes());
        let mut wrapped_middle = b"\",\"service\":\"".to_vec();
        escape(service, &mut wrapped_middle);
        wrapped_middle.extend_from_slice(b"\",\"level\":\"info\",\"message\":\"");
        let born = Timestamp::from_unix_ms(i64::try_from(generation.created_unix_ms()).unwrap_or(i64::MAX));
        let plausible_until = Timestamp::from_unix_micros(born.unix_micros().saturating_add(AHEAD_MAX_MICROS));
        Origin { generation, head, wrapped_middle, plausible_until }
    }

    /// Checks a line that arrived at `arrived`, and adds its document to a batch.
    pub fn push(
        &mut self,
        batch: &mut BatchBuilder,
        origin: &Origin,
        line: &LineView<'_>,
        arrived: Timestamp,
    ) -> Pushed {
        let (arrived, is_told) = line.written.map_or((arrived, false), |written| (written, true));
        let check = if line.cut_bytes > 0 { Check::Wrap(Flaw::TooLong) } else { self.checker.check(line.bytes) };
        let mut pushed = match check {
            Check::Object(object) if line.changes.is_empty() => {
                self.push_object(batch, origin, line, line.bytes, &object, arrived, &Changed::default())
            }
            check => self.push_changed(batch, origin, line, check, arrived),
        };
        pushed.used_arrival &= !is_told;
        pushed
    }

    /// Adds a valid line, or its repaired text.
    #[inline(always)]
    #[expect(clippy::too_many_arguments, reason = "a step of `push` that most lines need")]
    fn push_object(
        &mut self,
        batch: &mut BatchBuilder,
        origin: &Origin,
        line: &LineView<'_>,
        text: &[u8],
        object: &Object,
        arrived: Timestamp,
        changed: &Changed,
    ) -> Pushed {
        let id = LineId { generation: origin.generation, offset: line.offset };
        let kind = if object.is_record { Kind::Record } else { Kind::Foreign };
        let (own, used_arrival) = own_time(object, origin, arrived);
        let day = own.unwrap_or(arrived).day();
        let received = if own.is_none() { Some(arrival_text(&mut self.arrival, arrived)) } else { None };
        batch.push(id, line.length, day, |body| splice(body, line, text, object, origin, received, changed));
        Pushed { kind, changes: changed.changes.set(), used_arrival }
    }

    /// Adds a line that must be repaired or wrapped.
    #[cold]
    fn push_changed(
        &mut self,
        batch: &mut BatchBuilder,
        origin: &Origin,
        line: &LineView<'_>,
        check: Check,
        arrived: Timestamp,
    ) -> Pushed {
        let mut changed = Changed { changes: Changes::from(line.changes), ..Changed::default() };
        let (mut text, mut check) = (line.bytes, check);
        if let Some(rest) = text.strip_prefix(BYTE_ORDER_MARK) {
            changed.changes.note(Change::ByteOrderMark);
            text = rest;
            check = if line.cut_bytes > 0 { check } else { self.checker.check(text) };
        }
        let flaw = match check {
            Check::Object(object) => return self.push_object(batch, origin, line, text, &object, arrived, &changed),
            Check::Wrap(flaw) => flaw,
        };
        let mut of_text = Changes::default();
        if let Some(repaired) = repair(text, line.cut_bytes > 0, &mut of_text)
            && let Check::Object(object) = self.checker.check(&repaired.text)
        {
            changed.changes.extend(of_text);
            changed.replaced = repaired.replaced;
            changed.cut_bytes = line.cut_bytes + if line.cut_bytes > 0 { repaired.dropped as u64 } else { 0 };
            return self.push_object(batch, origin, line, &repaired.text, &object, arrived, &changed);
        }
        changed.cut_bytes = line.cut_bytes;
        let id = LineId { generation: origin.generation, offset: line.offset };
        let arrival = arrival_text(&mut self.arrival, arrived);
        batch.push(id, line.length, arrived.day(), |body| wrap(body, line, text, flaw, origin, arrival, &changed));
        Pushed { kind: Kind::Wrapped(flaw), changes: changed.changes.set(), used_arrival: true }
    }
}

/// The byte order mark of UTF-8.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// The members of `origin` for a line that was changed.
#[derive(Debug, Default)]
struct Changed {
    changes: Changes,
    /// The JSON object of replaced values, or empty.
    replaced: String,
    cut_bytes: u64,
}

impl Changed {
    /// Writes `[,"changed":[…]][,"replaced":{…}][,"cut_bytes":…]`.
    fn write(&self, body: &mut Vec<u8>) {
        for (index, entry) in self.changes.entries().enumerate() {
            body.extend_from_slice(if index == 0 { b",\"changed\":[\"" } else { b"\",\"" });
            escape(entry, body);
        }
        if !self.changes.set().is_empty() {
            body.extend_from_slice(b"\"]");
        }
        if !self.replaced.is_empty() {
            body.extend_from_slice(b",\"replaced\":");
            body.extend_from_slice(self.replaced.as_bytes());
        }
        if self.cut_bytes > 0 {
            // Writing to memory can't fail.
            let _ = write!(body, ",\"cut_bytes\":{}", self.cut_bytes);
        }
    }
}

/// The text of a time of arrival, formatted only if it differs from the last one.
fn arrival_text(last: &mut Option<(Timestamp, String)>, arrived: Timestamp) -> &str {
    let last = last.get_or_insert_with(|| (arrived, arrived.to_string()));
    if last.0 != arrived {
        *last = (arrived, arrived.to_string());
    }
    &last.1
}

/// The line's own time if it is plausible, and whether that depends on the time of arrival.
fn own_time(object: &Object, origin: &Origin, arrived: Timestamp) -> (Option<Timestamp>, bool) {
    let Some(time) = object.time.filter(|time| *time >= EARLIEST) else { return (None, true) };
    // A mark is never before the generation's creation, so most times need no closer check.
    if time <= origin.plausible_until {
        return (Some(time), false);
    }
    let sane = time.unix_micros() <= arrived.unix_micros().saturating_add(AHEAD_MAX_MICROS);
    (sane.then_some(time), true)
}

fn splice(
    body: &mut Vec<u8>,
    line: &LineView<'_>,
    text: &[u8],
    object: &Object,
    origin: &Origin,
    received: Option<&str>,
    changed: &Changed,
) {
    body.reserve(object.closing_brace + origin.head.len() + TAIL_MAX_BYTES);
    body.extend_from_slice(&text[..object.closing_brace]);
    let comma = usize::from(object.is_empty);
    body.extend_from_slice(&origin.head[comma..]);
    write_location(body, line);
    if let Some(received) = received {
        body.extend_from_slice(b",\"received\":\"");
        body.extend_from_slice(received.as_bytes());
        body.push(b'"');
    }
    if !changed.changes.set().is_empty() {
        changed.write(body);
    }
    body.extend_from_slice(b"}}");
}

fn wrap(
    body: &mut Vec<u8>,
    line: &LineView<'_>,
    text: &[u8],
    flaw: Flaw,
    origin: &Origin,
    arrival: &str,
    changed: &Changed,
) {
    body.reserve(origin.wrapped_middle.len() + text.len() + origin.head.len() + TAIL_MAX_BYTES);
    body.extend_from_slice(b"{\"timestamp\":\"");
    body.extend_from_slice(arrival.as_bytes());
    body.extend_from_slice(&origin.wrapped_middle);
    // The end of a truncated line is not its line end.
    let text = if line.cut_bytes == 0 { text.strip_suffix(b"\r").unwrap_or(text) } else { text };
    match std::str::from_utf8(text) {
        Ok(text) => escape(text, body),
        Err(_) => {
            for part in text.utf8_chunks() {
                escape(part.valid(), body);
                if !part.invalid().is_empty() {
                    body.extend_from_slice("\u{fffd}".as_bytes());
                }
            }
        }
    }
    body.extend_from_slice(b"\",\"request_id\":null,\"project_id\":null");
    body.extend_from_slice(&origin.head);
    write_location(body, line);
    body.extend_from_slice(b",\"wrapped\":\"");
    body.extend_from_slice(flaw.as_str().as_bytes());
    body.push(b'"');
    changed.write(body);
    body.extend_from_slice(b"}}");
}

/// Space for what follows `"offset":`, and for the fixed parts of a wrapped line.
const TAIL_MAX_BYTES: usize = 256;

/// Writes `<offset>,"length":<length>`, from the end, so that no digit has to be moved.
fn write_location(body: &mut Vec<u8>, line: &LineView<'_>) {
    const KEY: &[u8] = b",\"length\":";
    let mut text = [0; 20 + KEY.len() + 20];
    let key_end = write_number(&mut text, line.length);
    let key_start = key_end - KEY.len();
    text[key_start..key_end].copy_from_slice(KEY);
    let start = write_number(&mut text[..key_start], line.offset);
    body.extend_from_slice(&text[start..]);
}

/// Writes a number that ends at the end of `text`; returns its start.
fn write_number(text: &mut [u8], number: u64) -> usize {
    let (mut at, mut rest) = (text.len(), number);
    loop {
        at -= 1;
        text[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            return at;
        }
    }
}

#[cfg(test)]
mod tests;
