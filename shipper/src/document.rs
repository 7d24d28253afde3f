//! Makes the document of a line: the line's own bytes with `origin` spliced in, or the line wrapped.
//!
//! A line that can be passed on stays as it is up to its closing brace; `origin` follows, which says where the line
//! came from:
//!
//! `"origin":{"host","shipper","stream"|"file","generation","offset","length"[,"received"][,"wrapped"][,"cut_bytes"]}`
//!
//! A line that can't becomes a record of its own, with the line as `message`, as well as UTF-8 can show it, and
//! `origin.wrapped` naming the [flaw](Flaw). The same line, with the same arrival, always gives the same bytes.
//!
//! A line's day, and with it its index, is that of its own time, unless it has none or an absurd one: before
//! [`EARLIEST`], or more than [`AHEAD_MAX_DAYS`] after it arrived. Then it is the day of its arrival, which
//! `origin.received` tells.

use std::io::Write as _;

use store::{BatchBuilder, GenerationId, LineId, Timestamp};

use crate::record::{Check, Checker, Flaw, Object};

/// A time before this one, 2000-01-01, is absurd.
pub const EARLIEST: Timestamp = Timestamp::from_unix_ms(946_684_800_000);

/// A time so many days after the line's arrival is absurd.
pub const AHEAD_MAX_DAYS: i64 = 366;

const AHEAD_MAX_MICROS: i64 = AHEAD_MAX_DAYS * 86_400_000_000;

/// Where a generation lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A stream carried by the shipper, such as a service's stdout.
    Stream(String),
    /// A file, by its name.
    File(String),
}

/// A line as it was read.
#[derive(Clone, Copy, Debug)]
pub struct LineView<'a> {
    /// Offset of its first byte in its generation.
    pub offset: u64,
    /// Its length in bytes there, with its newline.
    pub length: u64,
    /// Its bytes without the newline, cut at the limit.
    pub bytes: &'a [u8],
    /// How many bytes were cut.
    pub cut_bytes: u64,
}

/// A generation's part of `origin`, made once.
#[derive(Debug)]
pub struct Origin {
    generation: GenerationId,
    /// `"origin":{…,"offset":`
    head: Vec<u8>,
    /// Times up to this one are not absurd, whenever the line arrived after the generation's birth.
    surely_sane_until: Timestamp,
}

/// What a line was when it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It met the contract.
    Record,
    /// A JSON object of another shape.
    Foreign,
    /// It had to be wrapped.
    Wrapped(Flaw),
}

/// What [`Documents::push`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// What the line was.
    pub kind: Kind,
    /// The document or its index relies on the time of arrival.
    pub used_arrival: bool,
}

/// Makes documents.
#[derive(Debug)]
pub struct Documents {
    /// `"origin":{"host":…,"shipper":…,`
    head: Vec<u8>,
    /// `","service":…,"level":"info","message":"`
    wrapped_middle: Vec<u8>,
    checker: Checker,
}

impl Documents {
    /// Documents shipped from `host` by the shipper called `shipper`; wrapped lines are of `service`.
    #[must_use]
    pub fn new(host: &str, shipper: &str, service: &str) -> Self {
        let (mut head, mut wrapped_middle) = (Vec::new(), Vec::new());
        head.extend_from_slice(b"\"origin\":{\"host\":\"");
        escape(host, &mut head);
        head.extend_from_slice(b"\",\"shipper\":\"");
        escape(shipper, &mut head);
        head.extend_from_slice(b"\",");
        wrapped_middle.extend_from_slice(b"\",\"service\":\"");
        escape(service, &mut wrapped_middle);
        wrapped_middle.extend_from_slice(b"\",\"level\":\"info\",\"message\":\"");
        Self { head, wrapped_middle, checker: Checker::new() }
    }

    /// The part of `origin` that all lines of a generation share.
    #[must_use]
    pub fn origin(&self, place: &Place, generation: GenerationId) -> Origin {
        let mut head = self.head.clone();
        let (key, name) = match place {
            Place::Stream(name) => ("stream", name),
            Place::File(name) => ("file", name),
        };
        head.extend_from_slice(format!("\"{key}\":\"").as_bytes());
        escape(name, &mut head);
        head.extend_from_slice(format!("\",\"generation\":\"{generation}\",\"offset\":").as_bytes());
        let born = Timestamp::from_unix_ms(i64::try_from(generation.born_unix_ms()).unwrap_or(i64::MAX));
        let surely_sane_until = Timestamp::from_unix_micros(born.unix_micros().saturating_add(AHEAD_MAX_MICROS));
        Origin { generation, head, surely_sane_until }
    }

    /// Checks a line that arrived at `arrived` and adds its document to a batch.
    pub fn push(
        &mut self,
        batch: &mut BatchBuilder,
        origin: &Origin,
        line: &LineView<'_>,
        arrived: Timestamp,
    ) -> Pushed {
        let check = if line.cut_bytes > 0 { Check::Wrap(Flaw::TooLong) } else { self.checker.check(line.bytes) };
        let id = LineId { generation: origin.generation, offset: line.offset };
        match check {
            Check::Object(object) => {
                let kind = if object.is_record { Kind::Record } else { Kind::Foreign };
                let (own, asked_arrival) = own_time(&object, origin, arrived);
                let day = own.unwrap_or(arrived).day();
                let received = own.is_none().then_some(arrived);
                batch.push(id, line.length, day, |body| splice(body, line, &object, origin, received));
                Pushed { kind, used_arrival: asked_arrival }
            }
            Check::Wrap(flaw) => {
                batch.push(id, line.length, arrived.day(), |body| self.wrap(body, line, flaw, origin, arrived));
                Pushed { kind: Kind::Wrapped(flaw), used_arrival: true }
            }
        }
    }

    fn wrap(&self, body: &mut Vec<u8>, line: &LineView<'_>, flaw: Flaw, origin: &Origin, arrived: Timestamp) {
        // Writing to memory does not fail.
        let _ = write!(body, "{{\"timestamp\":\"{arrived}");
        body.extend_from_slice(&self.wrapped_middle);
        let text = line.bytes.strip_suffix(b"\r").unwrap_or(line.bytes);
        for part in text.utf8_chunks() {
            escape(part.valid(), body);
            if !part.invalid().is_empty() {
                body.extend_from_slice("\u{fffd}".as_bytes());
            }
        }
        body.extend_from_slice(b"\",\"request_id\":null,\"project_id\":null,");
        write_origin(body, line, origin, None);
        let _ = write!(body, ",\"wrapped\":\"{}\"", flaw.as_str());
        if line.cut_bytes > 0 {
            let _ = write!(body, ",\"cut_bytes\":{}", line.cut_bytes);
        }
        body.extend_from_slice(b"}}");
    }
}

/// The line's own time if it is not absurd, and whether telling took the time of arrival.
fn own_time(object: &Object, origin: &Origin, arrived: Timestamp) -> (Option<Timestamp>, bool) {
    let Some(time) = object.time.filter(|time| *time >= EARLIEST) else { return (None, true) };
    // A mark is never before the generation's birth, so most times need no look at it.
    if time <= origin.surely_sane_until {
        return (Some(time), false);
    }
    let sane = time.unix_micros() <= arrived.unix_micros().saturating_add(AHEAD_MAX_MICROS);
    (sane.then_some(time), true)
}

fn splice(body: &mut Vec<u8>, line: &LineView<'_>, object: &Object, origin: &Origin, received: Option<Timestamp>) {
    body.extend_from_slice(&line.bytes[..object.closing_brace]);
    if !object.is_empty {
        body.push(b',');
    }
    write_origin(body, line, origin, received);
    body.extend_from_slice(b"}}");
}

/// Writes `origin` without its closing brace.
fn write_origin(body: &mut Vec<u8>, line: &LineView<'_>, origin: &Origin, received: Option<Timestamp>) {
    body.extend_from_slice(&origin.head);
    write_number(body, line.offset);
    body.extend_from_slice(b",\"length\":");
    write_number(body, line.length);
    if let Some(received) = received {
        let _ = write!(body, ",\"received\":\"{received}\"");
    }
}

fn write_number(body: &mut Vec<u8>, number: u64) {
    let mut digits = [0; 20];
    let (mut at, mut rest) = (digits.len(), number);
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    body.extend_from_slice(&digits[at..]);
}

/// Appends a text as it stands between the quotes of a JSON string.
fn escape(text: &str, into: &mut Vec<u8>) {
    let mut plain = 0;
    for (at, byte) in text.bytes().enumerate() {
        if byte >= b' ' && byte != b'"' && byte != b'\\' && byte != 0x7f {
            continue;
        }
        into.extend_from_slice(&text.as_bytes()[plain..at]);
        plain = at + 1;
        match byte {
            b'"' => into.extend_from_slice(b"\\\""),
            b'\\' => into.extend_from_slice(b"\\\\"),
            b'\n' => into.extend_from_slice(b"\\n"),
            b'\r' => into.extend_from_slice(b"\\r"),
            b'\t' => into.extend_from_slice(b"\\t"),
            _ => into.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
        }
    }
    into.extend_from_slice(&text.as_bytes()[plain..]);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    const ARRIVED: Timestamp = Timestamp::from_unix_ms(1_795_000_000_123);

    fn push(line: &[u8], cut_bytes: u64) -> (Pushed, String, String) {
        let generation = GenerationId::new(1_795_000_000_000, &[1; 10]);
        let mut documents = Documents::new("ho\"st", "edge", "plain");
        let origin = documents.origin(&Place::Stream("stdout".to_owned()), generation);
        let mut batch = BatchBuilder::new("app-logs");
        let length = line.len() as u64 + cut_bytes + 1;
        let line = LineView { offset: 7, length, bytes: line, cut_bytes };
        let pushed = documents.push(&mut batch, &origin, &line, ARRIVED);
        let batch = batch.finish(0);
        let document = String::from_utf8(batch.document(0).to_vec()).unwrap();
        (pushed, document, batch.index_name(0).to_owned())
    }

    #[test]
    fn a_line_passes_as_it_is_with_its_origin() {
        let (pushed, document, index) = push(b" {\"timestamp\":\"2026-11-23T18:51:20Z\", \"a\" : 1 } \r", 0);
        assert_eq!(pushed, Pushed { kind: Kind::Foreign, used_arrival: false });
        assert_eq!(
            document,
            " {\"timestamp\":\"2026-11-23T18:51:20Z\", \"a\" : 1 ,\"origin\":{\"host\":\"ho\\\"st\",\"shipper\":\"edge\",\
             \"stream\":\"stdout\",\"generation\":\"01a1ee51e6007101810101010101010101\",\"offset\":7,\"length\":50}}"
                .replace("01a1ee51e6007101810101010101010101", &GenerationId::new(1_795_000_000_000, &[1; 10]).to_string())
        );
        assert_eq!(index, "app-logs-2026.11.23");
        assert!(push(b"{}", 0).1.starts_with("{\"origin\":"));
    }

    #[test]
    fn plain_text_is_wrapped() {
        let (pushed, document, index) = push(b"a \"b\"\x00\xff\r", 3);
        assert_eq!(pushed, Pushed { kind: Kind::Wrapped(Flaw::TooLong), used_arrival: true });
        let value: Value = serde_json::from_str(&document).unwrap();
        assert_eq!(value["message"], "a \"b\"\u{0}\u{fffd}");
        assert_eq!((&value["service"], &value["level"]), (&"plain".into(), &"info".into()));
        assert_eq!(value["timestamp"], ARRIVED.to_string());
        assert_eq!((&value["origin"]["wrapped"], &value["origin"]["cut_bytes"]), (&"too_long".into(), &3.into()));
        assert_eq!(index, format!("app-logs-{}", ARRIVED.day()));
    }

    #[test]
    fn an_absurd_time_does_not_choose_the_index() {
        for (time, sane) in [
            ("1970-01-01T00:00:00Z", false),
            ("9999-12-31T23:59:59Z", false),
            ("2001-01-01T00:00:00Z", true),
            ("2027-01-01T00:00:00Z", true),
        ] {
            let (pushed, document, index) = push(format!("{{\"timestamp\":\"{time}\"}}").as_bytes(), 0);
            assert_eq!(pushed.used_arrival, !sane, "{time}");
            assert_eq!(document.contains("\"received\":"), !sane, "{time}");
            assert_eq!(index == format!("app-logs-{}", ARRIVED.day()), !sane, "{time}");
        }
    }

    proptest! {
        #[test]
        fn every_line_becomes_an_object_with_its_origin(line in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..80),
            "\\{\"[a-c]\":(1|\"x\"|null|\\{\\}),\"[a-c]\":[0-9]{1,5}\\}".prop_map(String::into_bytes),
        ]) {
            let (pushed, document, _) = push(&line, 0);
            prop_assert_eq!(Checker::new().check(document.replace("\"origin\"", "\"o\"").as_bytes()).is_object(), true);
            let mut value: Value = serde_json::from_str(&document).unwrap();
            let origin = value.as_object_mut().unwrap().remove("origin").unwrap();
            prop_assert_eq!(&origin["length"], line.len() + 1);
            if !matches!(pushed.kind, Kind::Wrapped(_)) {
                prop_assert_eq!(value, serde_json::from_slice::<Value>(&line).unwrap());
            }
        }
    }

    impl Check {
        fn is_object(&self) -> bool {
            matches!(self, Self::Object(_))
        }
    }
}
