//! Checks at the end of a seed: where every line is, as which document, and that nothing else is stored.

mod document;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use shipper::verify::known::Known;
use store::{GenerationId, LineId};

use super::disk::{Held, SimDisk};
use super::engine::{self, Engine};
use super::files::SECRET;
use super::service::number_in;
use document::is_document_of;
pub(super) use document::{Expected, place, text_after};

/// Where the lines of a seed are.
pub(super) struct Rest {
    /// Documents that were sent for each line, the stored one or the dead letter's first; and in how many places the
    /// line is.
    lines: HashMap<LineId, Vec<engine::Held>>,
    places: HashMap<LineId, u32>,
    /// Lines that the store confirmed and that were lost with its file.
    gone: HashSet<LineId>,
}

/// What is known of a missing line.
#[derive(Debug)]
#[expect(dead_code, reason = "shown where a line is missing")]
pub(super) struct Missing {
    pub(super) id: LineId,
    pub(super) text: String,
    /// Its segment was not removed.
    pub(super) is_there: bool,
}

impl Rest {
    /// Collects what the store and the dead letters hold.
    pub(super) fn of(engine: Engine, disk: &SimDisk) -> Self {
        let held = engine.file.into_lines();
        // Lines that no store confirmed or holds are nowhere.
        let mut lines = engine.documents;
        lines.retain(|id, _| held.contains(id) || engine.confirmed.contains(id));
        let gone = lines.keys().filter(|id| !held.contains(id)).copied().collect();
        let mut places: HashMap<LineId, u32> = lines.keys().map(|id| (*id, 1)).collect();
        for (id, held) in dead_letters(disk) {
            *places.entry(id).or_default() += 1;
            lines.entry(id).or_default().push(held);
        }
        Self { lines, places, gone }
    }

    /// Asserts that every line of the segments is in one place, as its document; returns those that are nowhere.
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
            // Lines of files are checked by their numbers.
            let Some(held) = ever.get(&id.generation) else {
                // A rotated name makes the document longer, and perhaps too large, after it was stored under the old
                // name.
                let lengths = || self.lines[id].iter().map(|held| held.document.len());
                let most = if lengths().next() < lengths().next_back() { 2 } else { 1 };
                assert!((1..=most).contains(places), "{id} rests in {places} places: {:#?}", shown());
                continue;
            };
            // The line before a power loss, and what that left of it: see the open faults in `docs/simulation.md`.
            let most = if is_changed(held, id.offset) { 2 } else { 1 };
            assert!((1..=most).contains(places), "{id} rests in {places} places: {:#?}", shown());
            self.judge_documents(*id, held);
        }
        missing
    }

    /// Asserts that each document of a line matches its bytes, before or after a power loss, and is the same each time.
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

    /// Returns the number of generations that begin with a line of this text.
    pub(super) fn count_at_beginning(&self, text: &str) -> u64 {
        let has_text = |sent: &[engine::Held]| memchr::memmem::find(&sent[0].document, text.as_bytes()).is_some();
        self.lines.iter().filter(|(id, sent)| id.offset == 0 && has_text(sent)).count() as u64
    }

    /// Asserts that the lines of each life are contiguous from its beginning.
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
                assert_eq!(offset, end, "the lines of {generation} are not contiguous");
                end = offset + length;
            }
        }
    }

    /// Asserts that what the state directory lists as complete is stored without a gap, including segments deleted long
    /// ago. `shipper verify` requires the same of a store.
    pub(super) fn judge_known(&self, disk: &SimDisk) {
        let mut lines: HashMap<GenerationId, BTreeMap<u64, u64>> = HashMap::new();
        for (id, sent) in &self.lines {
            lines.entry(id.generation).or_default().insert(id.offset, id.offset + place(&sent[0].document, "length"));
        }
        // A hole joins lines. If one of them was stored alone before, the rest counts as stored.
        let has_hole = |held: &Held| memchr::memmem::find(&held.bytes, b"\0\0").is_some();
        let holed: HashSet<_> = disk.segments().into_iter().filter(has_hole).map(|held| held.generation).collect();
        let known = Known::read(disk, Path::new(super::STATE)).unwrap();
        for (id, generation) in known.generations.iter().filter(|(id, _)| !holed.contains(id)) {
            let mut rests = lines.remove(id).unwrap_or_default();
            rests.extend(generation.skipped.iter().map(|skipped| (skipped.start, skipped.end)));
            let whole_to = rests.iter().fold(0, |end, (from, to)| if *from <= end { end.max(*to) } else { end });
            assert!(
                whole_to >= generation.checkpoint,
                "{id} is reported as stored up to {}, and is up to {whole_to}: {generation:?}",
                generation.checkpoint
            );
        }
    }

    /// Asserts that `shipper verify` names all lines that were lost with the store's file: each is before the end of
    /// what is listed as complete.
    pub(super) fn judge_gone(&self, disk: &SimDisk) {
        let known = Known::read(disk, Path::new(super::STATE)).unwrap();
        // What a power loss removed, and what was dropped, is not listed as complete.
        let is_whole = |held: &Held| held.before.is_empty() && !held.is_gone;
        let changed: HashSet<_> =
            disk.segments().iter().filter(|held| !is_whole(held)).map(|held| held.generation).collect();
        for id in self.gone.iter().filter(|id| !changed.contains(&id.generation)) {
            let proven = known.generations.get(&id.generation).filter(|known| known.dropped_bytes == 0);
            let is_given_up = known.generations.get(&id.generation).is_some_and(|known| known.dropped_bytes > 0);
            assert!(
                is_given_up || proven.is_some_and(|known| id.offset < known.checkpoint),
                "{id} is missing, and nothing reports it"
            );
        }
    }

    /// Asserts that no file was read that no pattern matches.
    pub(super) fn judge_secrets(&self) {
        let is_secret = |held: &engine::Held| memchr::memmem::find(&held.document, SECRET.as_bytes()).is_some();
        let secret = self.lines.iter().find(|(_, sent)| sent.iter().any(is_secret)).map(|(id, _)| id.to_string());
        assert_eq!(secret, None, "a file that no pattern names was read");
    }

    /// Returns the places of each numbered line.
    pub(super) fn numbers(&self) -> HashMap<u64, Vec<(LineId, &engine::Held)>> {
        let mut numbers: HashMap<u64, Vec<_>> = HashMap::new();
        for (id, sent) in &self.lines {
            // A hole joins lines that were sent alone before.
            let has = |text: &[u8]| memchr::memmem::find(&sent[0].document, text).is_some();
            let is_hole =
                has(br"\u0000\u0000") || has(b"\"leading_nuls\"") && text_after(&sent[0].document, "file").is_none();
            if let Some(number) = number_in(&sent[0].document).filter(|_| !is_hole) {
                numbers.entry(number).or_default().push((*id, &sent[0]));
            }
        }
        numbers
    }
}

/// Returns whether a power loss changed the line at an offset.
fn is_changed(held: &Held, offset: u64) -> bool {
    let line = |bytes| split(bytes).find(|(start, _)| *start == offset).map(|(_, line)| line.to_vec());
    let now = line(&held.bytes);
    held.before.iter().any(|before| line(before) != now)
}

/// Returns the lines of a segment with their newlines, by offset.
pub(super) fn split(bytes: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    let mut offset = 0;
    bytes.split_inclusive(|byte| *byte == b'\n').map(move |line| {
        let start = offset;
        offset += line.len() as u64;
        (start, line)
    })
}

/// Asserts that each dead letter is justified by its line, not by the state of the store.
pub(super) fn judge_reasons(disk: &SimDisk, request_max_bytes: usize) {
    for bytes in disk.files_under(&format!("{}/dead-letters", super::STATE)) {
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let Ok(letter) = serde_json::from_slice::<shipper::dead_letters::DeadLetter<'_>>(line) else { continue };
            let document = letter.document.get();
            let has = |texts: [&str; 2]| texts.iter().any(|text| document.contains(text));
            let is_right = match letter.status {
                400 => has([engine::POISON, engine::SPOILER]),
                500 => has([engine::CRASHER, engine::BREAKER]),
                // The action has about a hundred bytes.
                413 => document.len() + 150 > request_max_bytes,
                _ => false,
            };
            assert!(is_right, "dead letter with {} and {:?}: {document}", letter.status, letter.reason);
        }
    }
}

/// Returns the dead letters on disk, without those that a power loss tore.
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
