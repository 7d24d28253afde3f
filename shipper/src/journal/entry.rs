//! What the journal knows about a generation: the sum of its records.

use std::collections::BTreeMap;

use store::{GenerationId, Timestamp};

use super::identity::FileIdentity;
use super::record::Record;
use super::trail::Trail;

/// Maximum number of arrival marks of a generation: one before its checkpoint and the rest after it. Beyond that no
/// marks are added, and bytes count as arrived with the last one. In the journal they take some 400 KiB, and four times
/// as much before compaction.
pub const MARKS_MAX: usize = 4_096;

/// The minimum distance of a new mark starts at two seconds and doubles with each group of this many marks.
/// [`MARKS_MAX`] marks thus cover 194 days, and the arrival of lines that are pending for long loses little precision.
const MARKS_A_STEP: usize = 256;

/// What the journal knows about a generation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// Its file, unless it is a spool segment.
    pub file: Option<FileIdentity>,
    /// Every line before this offset has its outcome.
    pub checkpoint: u64,
    /// No line at or after this offset was dispatched before the restart, if known.
    pub horizon: Option<u64>,
    /// Arrival marks, except that of the generation's creation: offset and milliseconds since the Unix epoch.
    marks: Vec<(u64, i64)>,
    /// Fingerprints of a file: before earlier checkpoints, and of what was read after the last one.
    pub trail: Trail,
}

impl Entry {
    /// The arrival time of the byte at `offset`: that of the last mark at or before it.
    #[must_use]
    pub fn arrived(&self, generation: &GenerationId, offset: u64) -> Timestamp {
        let after = self.marks.partition_point(|mark| mark.0 <= offset);
        let unix_ms = match after.checked_sub(1) {
            Some(place) => self.marks[place].1,
            None => i64::try_from(generation.created_unix_ms()).unwrap_or(i64::MAX),
        };
        Timestamp::from_unix_ms(unix_ms)
    }

    /// The minimum length of the file when it was last scanned.
    #[must_use]
    pub fn known_len(&self) -> u64 {
        let marked = self.marks.last().map_or(0, |mark| mark.0);
        marked.max(self.trail.last().map_or(0, |tail| tail.end)).max(self.horizon.unwrap_or(0))
    }

    /// Offset of the first mark after `offset`.
    #[must_use]
    pub fn next_mark(&self, offset: u64) -> Option<u64> {
        self.marks.get(self.marks.partition_point(|mark| mark.0 <= offset)).map(|mark| mark.0)
    }

    /// Whether a mark at `offset` would add information: it must come after all existing marks.
    fn is_behind(&self, offset: u64) -> bool {
        self.marks.last().is_none_or(|last| last.0 < offset)
    }

    /// Whether a mark would add information, and there is room for it. Marks read from the journal are always accepted,
    /// since lines were sent with them.
    pub(super) fn accepts_mark(&self, offset: u64, unix_ms: i64) -> bool {
        let doublings = self.marks.len() / MARKS_A_STEP;
        let apart_ms = if doublings == 0 { 0 } else { 1_000 << doublings };
        let is_apart = self.marks.last().is_none_or(|last| last.1.abs_diff(unix_ms) >= apart_ms);
        self.marks.len() < MARKS_MAX && is_apart && self.is_behind(offset)
    }

    /// Removes marks after `offset`.
    pub(super) fn forget_marks(&mut self, offset: u64) {
        self.marks.retain(|mark| mark.0 <= offset);
    }

    /// Removes marks that no line after the checkpoint needs.
    fn prune(&mut self) {
        let needed = self.marks.partition_point(|mark| mark.0 <= self.checkpoint).saturating_sub(1);
        self.marks.drain(..needed);
    }
}

/// The entries of all generations.
pub(super) type Entries = BTreeMap<GenerationId, Entry>;

/// Applies a record.
pub(super) fn apply(record: Record, entries: &mut Entries) {
    match record {
        Record::Journal { .. } | Record::Looked { .. } | Record::Boot { .. } => {}
        Record::Read { generation, tail } => entries.entry(generation).or_default().trail.push(tail),
        Record::File { generation, identity } => {
            let entry = entries.entry(generation).or_default();
            // The checkpoint at `start` is another record, which an interrupted write may have lost.
            entry.checkpoint = entry.checkpoint.max(identity.start);
            entry.file = Some(identity);
        }
        Record::Mark { generation, offset, unix_ms } => {
            let entry = entries.entry(generation).or_default();
            if entry.is_behind(offset) {
                entry.marks.push((offset, unix_ms));
            }
        }
        Record::Horizon { generation, offset } => entries.entry(generation).or_default().horizon = Some(offset),
        Record::Checkpoint { generation, offset, tail } => {
            let entry = entries.entry(generation).or_default();
            entry.checkpoint = entry.checkpoint.max(offset);
            if let Some(tail) = tail {
                entry.trail.push(tail);
            }
            entry.prune();
        }
        Record::Retired { generation } => {
            entries.remove(&generation);
        }
    }
}

/// Removes the last mark.
pub(super) fn remove_last_mark(generation: &GenerationId, entries: &mut Entries) {
    if let Some(entry) = entries.get_mut(generation) {
        entry.marks.pop();
    }
}

/// Appends the records of an entry.
pub(super) fn encode_entry(generation: GenerationId, entry: &Entry, bytes: &mut Vec<u8>) {
    if let Some(identity) = &entry.file {
        Record::File { generation, identity: identity.clone() }.encode(bytes);
    }
    for tail in entry.trail.iter() {
        Record::Read { generation, tail: *tail }.encode(bytes);
    }
    Record::Checkpoint { generation, offset: entry.checkpoint, tail: None }.encode(bytes);
    if let Some(offset) = entry.horizon {
        Record::Horizon { generation, offset }.encode(bytes);
    }
    for &(offset, unix_ms) in &entry.marks {
        Record::Mark { generation, offset, unix_ms }.encode(bytes);
    }
}
