//! The expected document of a line, built independently of the shipper's code.

use std::collections::BTreeSet;

use shipper::record::EARLIEST;
use store::{LineId, Timestamp};

use crate::simulation::service::LINE_MAX_BYTES;

/// Returns a number in `origin`.
pub(in crate::simulation) fn place(document: &[u8], key: &str) -> u64 {
    place_or_none(document, key).unwrap()
}

fn place_or_none(document: &[u8], key: &str) -> Option<u64> {
    number_after(document, &format!("\"{key}\":"))
}

fn number_after(document: &[u8], key: &str) -> Option<u64> {
    let at = memchr::memmem::rfind(document, key.as_bytes())? + key.len();
    let digits = document[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(&document[at..at + digits]).ok()?.parse().ok()
}

/// Returns the list under a key of a document.
fn list_after<'a>(document: &'a [u8], key: &str) -> Option<&'a str> {
    let key = format!("\"{key}\":[");
    let at = memchr::memmem::rfind(document, key.as_bytes())? + key.len();
    let end = memchr::memchr(b']', &document[at..])?;
    std::str::from_utf8(&document[at..at + end]).ok()
}

/// Returns the text of the last member of this name.
pub(in crate::simulation) fn text_after<'a>(document: &'a [u8], key: &str) -> Option<&'a str> {
    let key = format!("\"{key}\":\"");
    let at = memchr::memmem::rfind(document, key.as_bytes())? + key.len();
    let end = memchr::memchr(b'"', &document[at..])?;
    std::str::from_utf8(&document[at..at + end]).ok()
}

pub(super) fn is_document_of(line: &[u8], id: LineId, document: &[u8], index: &str) -> bool {
    let text = line.strip_suffix(b"\n").unwrap_or(line);
    let name = text_after(document, "stream").unwrap_or_default();
    let source = format!("\"stream\":\"{name}\"");
    Expected { text, id, length: line.len() as u64, source: &source, unit: 1 }.is_met(document, index)
}

/// The expected document of a line.
pub(in crate::simulation) struct Expected<'a> {
    /// The line without its newline.
    pub(in crate::simulation) text: &'a [u8],
    pub(in crate::simulation) id: LineId,
    pub(in crate::simulation) length: u64,
    /// Members of `origin` that name the source.
    pub(in crate::simulation) source: &'a str,
    /// Bytes per character at the source if it is not UTF-8; then all are ASCII.
    pub(in crate::simulation) unit: usize,
}

impl Expected<'_> {
    /// Returns whether a document is the expected one, except for the time of arrival, and its index is right.
    pub(in crate::simulation) fn is_met(&self, document: &[u8], index: &str) -> bool {
        let nuls = self.text.iter().take_while(|byte| **byte == 0).count();
        let text = &self.text[nuls..];
        let kept = &text[..text.len().min(LINE_MAX_BYTES / self.unit)];
        let cut = (text.len() - kept.len()) * self.unit;
        let origin = format!(
            "\"origin\":{{\"host\":\"host\",\"shipper\":\"shipper\",{},\"generation\":\"{}\",\"offset\":{},\"length\":{}",
            self.source, self.id.generation, self.id.offset, self.length
        );
        let (expected, day) = match Passed::of(kept, cut, nuls > 0, document) {
            Err(flaw) => {
                let arrived = text_after_first(document, "timestamp");
                let mut end = if nuls > 0 { ",\"changed\":[\"leading_nuls\"]".to_owned() } else { String::new() };
                end += &if cut > 0 { format!(",\"cut_bytes\":{cut}") } else { String::new() };
                let kept = if cut > 0 { kept } else { kept.strip_suffix(b"\r").unwrap_or(kept) };
                let expected = format!(
                    "{{\"timestamp\":\"{arrived}\",\"service\":\"service\",\"level\":\"info\",\"message\":{},\
                     \"request_id\":null,\"project_id\":null,{origin},\"wrapped\":\"{flaw}\"{end}}}}}",
                    quoted(&String::from_utf8_lossy(kept))
                );
                (expected, arrived.to_owned())
            }
            Ok(passed) => {
                let head = passed.text.trim_end().strip_suffix('}').unwrap();
                let head = if head.trim_end() == "{" { head.to_owned() } else { format!("{head},") };
                let own = own_time(&passed.text);
                let received = text_after(document, "received").unwrap_or_default();
                let end = if own.is_some() { String::new() } else { format!(",\"received\":\"{received}\"") };
                (format!("{head}{origin}{end}{}}}}}", passed.changed), own.unwrap_or(received).to_owned())
            }
        };
        let day = Timestamp::parse(day.as_bytes()).map(|time| format!("app-logs-{}", time.day()));
        expected.as_bytes() == document && day.as_deref() == Some(index)
    }
}

/// A line that is passed on as an object, of the lines that services write.
struct Passed {
    text: String,
    /// Members of `origin` that list the changes.
    changed: String,
}

impl Passed {
    /// Returns the line as it must be passed on, or the reason why it is wrapped.
    fn of(kept: &[u8], cut: usize, has_hole: bool, document: &[u8]) -> Result<Self, &'static str> {
        let otherwise = if cut > 0 { "too_long" } else { "not_json" };
        let Ok(text) = std::str::from_utf8(kept) else { return Err(if cut > 0 { "too_long" } else { "not_utf8" }) };
        let (mut text, mut changes, mut end) = (text.to_owned(), Vec::new(), String::new());
        let mut note = |condition: bool, change: &'static str| {
            if condition {
                changes.push(change);
            }
        };
        // The effects of a hole on a line, or on one joined to it, are not modelled.
        if text.contains('\0') {
            return Self::as_it_is(document).ok_or(otherwise);
        }
        if cut > 0 && text.contains(|character| character < ' ') {
            let is_cut = list_after(document, "changed").is_some_and(|changed| changed.contains("too_long"));
            return Self::as_it_is(document).filter(|_| is_cut).ok_or("too_long");
        }
        if cut > 0 {
            text = closed(&text).ok_or(otherwise)?;
            let stated = place_or_none(document, "cut_bytes").ok_or(otherwise)?;
            if !(cut as u64..cut as u64 + 40).contains(&stated) {
                return Err("cut_bytes");
            }
            end = format!(",\"cut_bytes\":{stated}");
        }
        let before = text.strip_suffix('\r').map_or(text.len(), str::len);
        let has_control = text[..before].contains(|character: char| character < ' ');
        let escaped = |text: &str| {
            text.chars()
                .map(|c| if c < ' ' { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() })
                .collect::<String>()
        };
        text = escaped(&text[..before]) + &text[before..];
        let is_half = text.contains(r"\ud83d");
        text = text.replace(r"\ud83d", "\u{fffd}");
        match serde_json::from_str::<serde_json::Value>(&text) {
            Err(_) => return Err(otherwise),
            Ok(serde_json::Value::Object(_)) => {}
            Ok(_) => return Err(if is_half { otherwise } else { "not_object" }),
        }
        let twice = text.split_once(",\"n\":\"twice\"").map(|(first, rest)| (first.to_owned(), rest.to_owned()));
        note(has_hole, "leading_nuls");
        note(cut > 0, "too_long");
        note(has_control, "control_character:n");
        note(is_half, "lone_surrogate:n");
        if let Some((first, rest)) = twice {
            note(true, "duplicate_key:n");
            end = format!(",\"replaced\":{first}}}{end}");
            text = format!("{{\"n\":\"twice\"{rest}");
        } else if let Some(rest) = text.strip_prefix("{\"origin\":{},") {
            note(true, "reserved_key:origin");
            end = format!(",\"replaced\":{{\"origin\":{{}}}}{end}");
            text = format!("{{{rest}");
        }
        let mut changed =
            if changes.is_empty() { String::new() } else { format!(",\"changed\":[\"{}\"]", changes.join("\",\"")) };
        if has_control {
            // A hole may be in any text of the line: only the kinds are compared, not the keys.
            let stated = list_after(document, "changed").ok_or(otherwise)?;
            let kinds = |list: &str| -> BTreeSet<String> {
                list.split(',').map(|entry| entry.trim_matches('"').split(':').next().unwrap().to_owned()).collect()
            };
            if kinds(stated) != kinds(&changes.join(",")) {
                return Err("changed");
            }
            changed = format!(",\"changed\":[{stated}]");
        }
        Ok(Self { text, changed: changed + &end })
    }
}

impl Passed {
    /// Checks a truncated line with a hole: that it is an object, and marked as truncated.
    fn as_it_is(document: &[u8]) -> Option<Self> {
        let document = std::str::from_utf8(document).ok()?;
        let object = serde_json::from_str::<serde_json::Value>(document).ok()?;
        if object["origin"]["wrapped"].is_string() {
            return None;
        }
        let (head, _) = document.rsplit_once("\"origin\":{\"host\"")?;
        let (_, changed) = document.rsplit_once(",\"changed\"")?;
        let changed = format!(",\"changed\"{}", changed.strip_suffix("}}")?);
        Some(Self { text: format!("{}}}", head.strip_suffix(',').unwrap_or(head)), changed })
    }
}

/// Returns the object that the beginning of a truncated line is, closed where most of it is kept.
fn closed(text: &str) -> Option<String> {
    (1..=text.len()).rev().filter_map(|at| text.get(..at)).find_map(|start| {
        // A word that ends at the truncation may be incomplete.
        let ends = if start.ends_with(['"', '}']) { ["\"}", "}"] } else { ["\"}", "\"}"] };
        ends.into_iter().map(|end| format!("{start}{end}")).find(|text| {
            let is_object =
                |text: &str| serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(text).is_ok();
            is_object(text)
        })
    })
}

/// Returns a line's own time, unless it is absurd.
fn own_time(text: &str) -> Option<&str> {
    let time = text_after(text.as_bytes(), "timestamp").or_else(|| text_after(text.as_bytes(), "time"))?;
    let parsed = Timestamp::parse(time.as_bytes())?;
    (parsed >= EARLIEST && !time.starts_with("9999")).then_some(time)
}

fn text_after_first<'a>(document: &'a [u8], key: &str) -> &'a str {
    let key = format!("\"{key}\":\"");
    let Some(at) = memchr::memmem::find(document, key.as_bytes()) else { return "" };
    let text = &document[at + key.len()..];
    std::str::from_utf8(&text[..memchr::memchr(b'"', text).unwrap_or(0)]).unwrap_or_default()
}

/// Returns a text as a JSON string, with control characters escaped as the shipper does.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            character if character.is_control() => quoted.push_str(&format!("\\u{:04x}", u32::from(character))),
            character => quoted.push(character),
        }
    }
    quoted + "\""
}
