//! What the journal knows of each generation: the sum of its records.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use store::{GenerationId, Timestamp};

use super::record::Record;
use super::trail::Trail;

/// Arrival marks of one generation beyond its checkpoint, and one before. Of more, none is noted, and what comes then has
/// arrived with the last. In the journal they take some 400 KiB, and until it is written anew four times as much.
pub const MARKS_MAX: usize = 4_096;

/// With each so many marks that stand, a new one must be twice as far from the last, beginning with two seconds: so
/// [`MARKS_MAX`] reach over 194 days, and what waits for long loses little of when it came.
const MARKS_A_STEP: usize = 256;

/// Which file a generation is a life of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileIdentity {
    /// Its name when last seen. One that is not UTF-8 is written as a list of its bytes.
    #[serde(with = "crate::disk::path")]
    pub path: PathBuf,
    /// The device that it is on.
    pub device: u64,
    /// Its number there.
    pub inode: u64,
    /// When it was created, in nanoseconds since the Unix epoch, where the file system knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub born_ns: Option<i64>,
    /// Birth time of the file that the life began in, if the life goes on in another one: a rotated copy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub life_born_ns: Option<i64>,
    /// Bytes before are not lines of this generation: another generation has them, or the settings skip them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub start: u64,
    /// How many of its first bytes the fingerprint covers.
    pub fingerprint_len: u64,
    /// CRC-32 of those bytes.
    pub fingerprint: u32,
    /// Of a compressed file; everything else that is known of it, but for device, number and birth, is its content's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packed: Option<Packed>,
}

/// A compressed file as it was when it was decoded to its end. While it stays so its content does, and is not measured
/// again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packed {
    /// Its size on the disk.
    pub disk_len: u64,
    /// When it was last written, in nanoseconds since the Unix epoch.
    pub written_ns: i64,
    /// The length of its content.
    pub len: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// What the journal knows of one generation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// Which file, unless it is a spool segment.
    pub file: Option<FileIdentity>,
    /// Every line before this offset is disposed of.
    pub checkpoint: u64,
    /// No line from this offset on was handed on before the restart, if that is known.
    pub horizon: Option<u64>,
    /// Arrival marks after the one that the generation's birth is: offset and milliseconds since the Unix epoch.
    marks: Vec<(u64, i64)>,
    /// Fingerprints of the bytes right before earlier checkpoints, and of what was read beyond, of a file.
    pub trail: Trail,
}

impl Entry {
    /// When the byte at `offset` arrived, by the mark at or before it.
    #[must_use]
    pub fn arrived(&self, generation: &GenerationId, offset: u64) -> Timestamp {
        let after = self.marks.partition_point(|mark| mark.0 <= offset);
        let unix_ms = match after.checked_sub(1) {
            Some(place) => self.marks[place].1,
            None => i64::try_from(generation.created_unix_ms()).unwrap_or(i64::MAX),
        };
        Timestamp::from_unix_ms(unix_ms)
    }

    /// How long the file was at least when it was last looked at.
    #[must_use]
    pub fn known_len(&self) -> u64 {
        let marked = self.marks.last().map_or(0, |mark| mark.0);
        marked.max(self.trail.last().map_or(0, |tail| tail.end)).max(self.horizon.unwrap_or(0))
    }

    /// Where the first mark after `offset` stands.
    #[must_use]
    pub fn next_mark(&self, offset: u64) -> Option<u64> {
        self.marks.get(self.marks.partition_point(|mark| mark.0 <= offset)).map(|mark| mark.0)
    }

    /// Whether a mark at `offset` would say something new: it never goes before one that stands.
    fn is_behind(&self, offset: u64) -> bool {
        self.marks.last().is_none_or(|last| last.0 < offset)
    }

    /// Whether it would, and there is room for it. What the journal holds already is taken in any case: lines were sent by it.
    pub(super) fn takes_mark(&self, offset: u64, unix_ms: i64) -> bool {
        let doublings = self.marks.len() / MARKS_A_STEP;
        let apart_ms = if doublings == 0 { 0 } else { 1_000 << doublings };
        let is_apart = self.marks.last().is_none_or(|last| last.1.abs_diff(unix_ms) >= apart_ms);
        self.marks.len() < MARKS_MAX && is_apart && self.is_behind(offset)
    }

    /// Forgets marks behind `offset`.
    pub(super) fn forget_marks(&mut self, offset: u64) {
        self.marks.retain(|mark| mark.0 <= offset);
    }

    /// Forgets marks that no line after the checkpoint needs.
    fn prune(&mut self) {
        let needed = self.marks.partition_point(|mark| mark.0 <= self.checkpoint).saturating_sub(1);
        self.marks.drain(..needed);
    }
}

/// The entries of all generations.
pub(super) type Entries = BTreeMap<GenerationId, Entry>;

/// Adds a record to what is known.
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

/// Takes back the last mark.
pub(super) fn unmark(generation: &GenerationId, entries: &mut Entries) {
    if let Some(entry) = entries.get_mut(generation) {
        entry.marks.pop();
    }
}

/// Appends the records that an entry is the sum of.
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
