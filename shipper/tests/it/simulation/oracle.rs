//! What must be true in the end: where every line rests, as which document, and that nothing else rests anywhere.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::Path;

use shipper::document::EARLIEST;
use shipper::verify::known::Known;
use store::{GenerationId, LineId, Timestamp};

use super::disk::{Held, SimDisk};
use super::engine::{self, Engine};
use super::files::SECRET;
use super::service::{LINE_MAX_BYTES, number_in};

/// Where the lines of a seed rest.
pub(super) struct Rest {
    /// Documents that were sent of a line, the stored one or the dead letter's first; and how often it rests somewhere.
    lines: HashMap<LineId, Vec<engine::Held>>,
    places: HashMap<LineId, u32>,
}

/// Of a missing line, what is known.
#[derive(Debug)]
#[expect(dead_code, reason = "shown where a line is missing")]
pub(super) struct Missing {
    pub(super) id: LineId,
    pub(super) text: String,
    /// Its segment was not removed.
    pub(super) is_there: bool,
}

impl Rest {
    /// Gathers what the store and the dead letters hold.
    pub(super) fn of(engine: Engine, disk: &SimDisk) -> Self {
        let mut places: HashMap<LineId, u32> = engine.documents.keys().map(|id| (*id, 1)).collect();
        let mut lines = engine.documents;
        for (id, held) in dead_letters(disk) {
            *places.entry(id).or_default() += 1;
            lines.entry(id).or_default().push(held);
        }
        Self { lines, places }
    }

    /// That every line of the segments rests in one place, as the document that it must be, and gives those that do not
    /// rest anywhere.
    pub(super) fn judge_segments(&self, disk: &SimDisk) -> Vec<Missing> {
        let mut missing = Vec::new();
        let mut ever = HashMap::new();
        for held in disk.segments() {
            for (offset, line) in split(&held.bytes) {
                let id = LineId { generation: held.generation, offset };
                if !held.is_gone && !self.lines.contains_key(&id) {
                    missing.push(Missing {
                        id,
                        text: String::from_utf8_lossy(line).into_owned(),
                        is_there: held.is_there,
                    });
                }
            }
            ever.insert(held.generation, held);
        }
        for (id, places) in &self.places {
            let shown =
                || self.lines[id].iter().map(|held| String::from_utf8_lossy(&held.document)).collect::<Vec<_>>();
            // Those of files are judged by their numbers.
            let Some(held) = ever.get(&id.generation) else {
                assert_eq!(*places, 1, "{id} rests in {places} places: {:#?}", shown());
                continue;
            };
            // As it was before a power loss, and as that left it: `docs/simulation.md` has it among what is open.
            let most = if is_changed(held, id.offset) { 2 } else { 1 };
            assert!((1..=most).contains(places), "{id} rests in {places} places: {:#?}", shown());
            self.judge_documents(*id, held);
        }
        missing
    }

    /// That each document of a line is that of its bytes, before or after a power loss, and the same each time.
    fn judge_documents(&self, id: LineId, held: &Held) {
        let mut seen: BTreeMap<&[u8], &engine::Held> = BTreeMap::new();
        for sent in &self.lines[&id] {
            let length = usize::try_from(place(&sent.document, "length")).unwrap();
            let start = usize::try_from(id.offset).unwrap();
            let versions = held.before.iter().chain([&held.bytes]);
            let mut bytes = versions.filter_map(|bytes| bytes.get(start..start + length));
            let own = bytes.find(|bytes| is_document_of(bytes, id, &sent.document, &sent.index));
            let text = || String::from_utf8_lossy(&sent.document).into_owned();
            let own = own.unwrap_or_else(|| panic!("{id} went to {} as {}", sent.index, text()));
            if let Some(other) = seen.insert(own, sent) {
                let other = String::from_utf8_lossy(&other.document);
                panic!("{id} was sent again as another document: {other}, then {}", text());
            }
        }
    }

    /// That the lines of each life stand end to end, from its beginning on.
    pub(super) fn judge_ends(&self) {
        let mut lines: BTreeMap<GenerationId, BTreeMap<u64, u64>> = BTreeMap::new();
        for (id, sent) in &self.lines {
            if text_after(&sent[0].document, "file").is_some() {
                lines.entry(id.generation).or_default().insert(id.offset, place(&sent[0].document, "length"));
            }
        }
        for (generation, lines) in lines {
            let mut end = 0;
            for (offset, length) in lines {
                assert_eq!(offset, end, "the lines of {generation} do not stand end to end");
                end = offset + length;
            }
        }
    }

    /// That what the state directory calls done rests without a gap, also of what is long gone: what `shipper verify` holds
    /// a store to.
    pub(super) fn judge_known(&self, disk: &SimDisk) {
        let mut lines: HashMap<GenerationId, BTreeMap<u64, u64>> = HashMap::new();
        for (id, sent) in &self.lines {
            lines.entry(id.generation).or_default().insert(id.offset, id.offset + place(&sent[0].document, "length"));
        }
        // A hole joins lines: of one that was stored before by itself, the rest is then taken for stored.
        let has_hole = |held: &Held| memchr::memmem::find(&held.bytes, b"\0\0").is_some();
        let holed: HashSet<_> = disk.segments().into_iter().filter(has_hole).map(|held| held.generation).collect();
        let known = Known::read(disk, Path::new(super::STATE)).unwrap();
        for (id, generation) in known.generations.iter().filter(|(id, _)| !holed.contains(id)) {
            let mut rests = lines.remove(id).unwrap_or_default();
            rests.extend(generation.skipped.iter().map(|skipped| (skipped.start, skipped.end)));
            let whole_to = rests.iter().fold(0, |end, (from, to)| if *from <= end { end.max(*to) } else { end });
            assert!(
                whole_to >= generation.proven_to,
                "{id} is said to rest up to {}, and does up to {whole_to}: {generation:?}",
                generation.proven_to
            );
        }
    }

    /// That nothing was read that no pattern names.
    pub(super) fn judge_secrets(&self) {
        let is_secret = |held: &engine::Held| memchr::memmem::find(&held.document, SECRET.as_bytes()).is_some();
        let secret = self.lines.iter().find(|(_, sent)| sent.iter().any(is_secret)).map(|(id, _)| id.to_string());
        assert_eq!(secret, None, "a file that no pattern names was read");
    }

    /// How often each numbered line rests somewhere, by what it is.
    pub(super) fn numbers(&self) -> HashMap<u64, Vec<(LineId, &engine::Held)>> {
        let mut numbers: HashMap<u64, Vec<_>> = HashMap::new();
        for (id, sent) in &self.lines {
            // A hole joins lines that were sent by themselves before.
            let has = |text: &[u8]| memchr::memmem::find(&sent[0].document, text).is_some();
            let is_hole = has(br"\u0000\u0000") || has(b"\"leading_nuls\"");
            if let Some(number) = number_in(&sent[0].document).filter(|_| !is_hole) {
                numbers.entry(number).or_default().push((*id, &sent[0]));
            }
        }
        numbers
    }
}

/// Whether a power loss left another line at an offset than had been there.
fn is_changed(held: &Held, offset: u64) -> bool {
    let line = |bytes| split(bytes).find(|(start, _)| *start == offset).map(|(_, line)| line.to_vec());
    let now = line(&held.bytes);
    held.before.iter().any(|before| line(before) != now)
}

/// The lines of a segment with their newlines, by offset.
pub(super) fn split(bytes: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    let mut offset = 0;
    bytes.split_inclusive(|byte| *byte == b'\n').map(move |line| {
        let start = offset;
        offset += line.len() as u64;
        (start, line)
    })
}

/// That each dead letter was given up for what it is, and not for how the store was.
pub(super) fn judge_reasons(disk: &SimDisk, request_max_bytes: usize) {
    for bytes in disk.files_under(&format!("{}/dead-letters", super::STATE)) {
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let Ok(letter) = serde_json::from_slice::<shipper::dead_letters::DeadLetter<'_>>(line) else { continue };
            let document = letter.document.get();
            let has = |texts: [&str; 2]| texts.iter().any(|text| document.contains(text));
            let is_right = match letter.status {
                400 => has([engine::POISON, engine::SPOILER]),
                500 => has([engine::CRASHER, engine::BREAKER]),
                // With its action, which has some hundred bytes.
                413 => document.len() + 150 > request_max_bytes,
                _ => false,
            };
            assert!(is_right, "given up with {} and {:?}: {document}", letter.status, letter.reason);
        }
    }
}

/// The dead letters on disk. What a power loss tore is none.
pub(super) fn dead_letters(disk: &SimDisk) -> Vec<(LineId, engine::Held)> {
    let mut dead = Vec::new();
    for bytes in disk.files_under(&format!("{}/dead-letters", super::STATE)) {
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let Ok(letter) = serde_json::from_slice::<shipper::dead_letters::DeadLetter<'_>>(line) else { continue };
            let (generation, offset) = letter.id.split_once('-').unwrap();
            let generation: GenerationId = generation.parse().unwrap();
            let id = LineId { generation, offset: u64::from_str_radix(offset, 16).unwrap() };
            let document = letter.document.get().as_bytes().to_vec();
            dead.push((id, engine::Held { index: letter.index.clone(), document }));
        }
    }
    dead
}

/// A number of `origin`.
pub(super) fn place(document: &[u8], key: &str) -> u64 {
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

/// What is in the list under a key of a document.
fn list_after<'a>(document: &'a [u8], key: &str) -> Option<&'a str> {
    let key = format!("\"{key}\":[");
    let at = memchr::memmem::rfind(document, key.as_bytes())? + key.len();
    let end = memchr::memchr(b']', &document[at..])?;
    std::str::from_utf8(&document[at..at + end]).ok()
}

/// The text of a member of a document, the last of its name.
pub(super) fn text_after<'a>(document: &'a [u8], key: &str) -> Option<&'a str> {
    let key = format!("\"{key}\":\"");
    let at = memchr::memmem::rfind(document, key.as_bytes())? + key.len();
    let end = memchr::memchr(b'"', &document[at..])?;
    std::str::from_utf8(&document[at..at + end]).ok()
}

fn is_document_of(line: &[u8], id: LineId, document: &[u8], index: &str) -> bool {
    let text = line.strip_suffix(b"\n").unwrap_or(line);
    let name = text_after(document, "stream").unwrap_or_default();
    let source = format!("\"stream\":\"{name}\"");
    Expected { text, id, length: line.len() as u64, source: &source }.is_met(document, index)
}

/// What a line's document must be, told by other means than the shipper's own.
pub(super) struct Expected<'a> {
    /// The line without its newline.
    pub(super) text: &'a [u8],
    pub(super) id: LineId,
    pub(super) length: u64,
    /// The members of `origin` that name the source.
    pub(super) source: &'a str,
}

impl Expected<'_> {
    /// Whether a document is it, but for the time of arrival, which it tells, and whether it is in the right index.
    pub(super) fn is_met(&self, document: &[u8], index: &str) -> bool {
        let nuls = self.text.iter().take_while(|byte| **byte == 0).count();
        let text = &self.text[nuls..];
        let cut = text.len().saturating_sub(LINE_MAX_BYTES);
        let kept = &text[..text.len() - cut];
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

/// A line that passes as an object; of the lines that the services write.
struct Passed {
    text: String,
    /// The members of `origin` that tell what was changed.
    changed: String,
}

impl Passed {
    /// The line as it has to be passed on, else why it is wrapped.
    fn of(kept: &[u8], cut: usize, has_hole: bool, document: &[u8]) -> Result<Self, &'static str> {
        let otherwise = if cut > 0 { "too_long" } else { "not_json" };
        let Ok(text) = std::str::from_utf8(kept) else { return Err(if cut > 0 { "too_long" } else { "not_utf8" }) };
        let (mut text, mut changes, mut end) = (text.to_owned(), Vec::new(), String::new());
        let mut note = |condition: bool, change: &'static str| {
            if condition {
                changes.push(change);
            }
        };
        // What a hole makes of a line, or joins with the one behind it, is not made again here.
        if text.contains('\0') {
            return Self::as_it_is(document).ok_or(otherwise);
        }
        if cut > 0 && text.contains(|character| character < ' ') {
            let is_cut = list_after(document, "changed").is_some_and(|changed| changed.contains("too_long"));
            return Self::as_it_is(document).filter(|_| is_cut).ok_or("too_long");
        }
        if cut > 0 {
            text = closed(&text).ok_or(otherwise)?;
            let told = place_or_none(document, "cut_bytes").ok_or(otherwise)?;
            if !(cut as u64..cut as u64 + 40).contains(&told) {
                return Err("cut_bytes");
            }
            end = format!(",\"cut_bytes\":{told}");
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
            // A hole may be in any of the line's texts: only the kinds are compared, not the keys.
            let told = list_after(document, "changed").ok_or(otherwise)?;
            let kinds = |list: &str| -> BTreeSet<String> {
                list.split(',').map(|entry| entry.trim_matches('"').split(':').next().unwrap().to_owned()).collect()
            };
            if kinds(told) != kinds(&changes.join(",")) {
                return Err("changed");
            }
            changed = format!(",\"changed\":[{told}]");
        }
        Ok(Self { text, changed: changed + &end })
    }
}

impl Passed {
    /// A line with a hole in it that was cut: no more is said of it than that it is an object, and is said to be cut.
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

/// The object that the beginning of a cut line is, closed where it can be with the most of it kept.
fn closed(text: &str) -> Option<String> {
    (1..=text.len()).rev().filter_map(|at| text.get(..at)).find_map(|start| {
        // A word that ends at the cut may go on.
        let ends = if start.ends_with(['"', '}']) { ["\"}", "}"] } else { ["\"}", "\"}"] };
        ends.into_iter().map(|end| format!("{start}{end}")).find(|text| {
            let is_object =
                |text: &str| serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(text).is_ok();
            is_object(text)
        })
    })
}

/// A line's own time, unless it is absurd.
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

/// A text as a JSON string, control characters escaped as the shipper does.
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
