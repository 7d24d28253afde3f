//! What the store must hold, according to the state directory.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use store::GenerationId;

use super::VerifyError;
use crate::completed::{self, Note};
use crate::dead_letters::{self, discarded::Discarded};
use crate::disk::{Disk, DiskFile as _, path};
use crate::journal::{self, Entry, FileIdentity};
use crate::spool::{segments, streams};

/// Where the bytes of a generation are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// In a spool segment.
    Segment {
        /// The stream.
        stream: String,
        /// The segment.
        path: PathBuf,
    },
    /// In a file that other programs write.
    File(FileIdentity),
    /// Deleted.
    Deleted,
}

/// What the state directory says about a generation.
#[derive(Clone, Debug)]
pub struct Generation {
    /// The file or stream that it belongs to.
    pub source: String,
    /// Every line that starts before this offset has its outcome, and was not dropped.
    pub checkpoint: u64,
    /// Bytes after the checkpoint that were dropped because the spool was full. Lines in flight at that time may be
    /// stored.
    pub dropped_bytes: u64,
    /// Pending bytes after the checkpoint.
    pub pending_bytes: u64,
    /// When it was completed, in milliseconds since the Unix epoch.
    pub ended_unix_ms: Option<i64>,
    /// Bytes of a file that was truncated or deleted before all of their lines were stored.
    pub destroyed: Vec<Range<u64>>,
    /// Bytes that are not lines.
    pub skipped: Vec<Range<u64>>,
    /// Dead letters: offset and length.
    pub dead: BTreeMap<u64, u64>,
    /// Discarded dead letters: offset and length.
    pub discarded: BTreeMap<u64, u64>,
    /// Where its bytes are.
    pub location: Location,
    /// Its entry in the journal.
    pub entry: Entry,
}

/// Everything a state directory says about generations.
#[derive(Debug, Default)]
pub struct Known {
    /// The generations, in order of creation.
    pub generations: BTreeMap<GenerationId, Generation>,
    /// Whether notes of older generations were deleted.
    pub is_cut: bool,
    /// Number of damaged notes of completed generations.
    pub damaged_notes: u64,
}

impl Known {
    /// Reads a state directory without changing it. The journal is read first, so that what it calls processed was
    /// durable before anything else is read.
    ///
    /// # Errors
    /// [`VerifyError::Journal`], [`VerifyError::Io`].
    pub fn read<D: Disk>(disk: &D, state_dir: &Path) -> Result<Self, VerifyError> {
        let failed = |path: PathBuf| move |error: io::Error| VerifyError::Io { path, error };
        let mut known = Self::default();
        for (generation, entry) in journal::entries(disk, state_dir)? {
            known.generations.insert(generation, Generation::from_entry(entry));
        }
        let notes = completed::read(disk, state_dir).map_err(failed(state_dir.join("past")))?;
        known.is_cut = notes.is_cut;
        known.damaged_notes = notes.bad.len() as u64;
        notes.notes.into_iter().for_each(|note| known.note(note));
        known.read_spool(disk, &state_dir.join("spool")).map_err(failed(state_dir.join("spool")))?;
        let letters = dead_letters::read(disk, state_dir, |found| {
            if let Some(generation) = known.generations.get_mut(&found.id.generation) {
                generation.dead.insert(found.id.offset, found.letter.length);
            }
            Ok(())
        });
        letters.map_err(failed(state_dir.join("dead-letters")))?;
        let discarded = Discarded::read(disk, state_dir).map_err(failed(state_dir.join("dead-letters")))?;
        for (generation, lines) in discarded.lines() {
            if let Some(generation) = known.generations.get_mut(&generation) {
                generation.discarded = lines;
            }
        }
        Ok(known)
    }

    pub(super) fn note(&mut self, note: Note) {
        match note {
            Note::Skipped { generation, from, to } => {
                let known =
                    self.generations.entry(generation).or_insert_with(|| Generation::from_entry(Entry::default()));
                // The same bytes may be skipped again after a restart.
                if known.skipped.iter().all(|range| range.end <= from || to <= range.start) {
                    known.skipped.push(from..to);
                }
            }
            Note::Destroyed { generation, source, from, to } => {
                let known =
                    self.generations.entry(generation).or_insert_with(|| Generation::from_entry(Entry::default()));
                known.source = source;
                // A process that ended before the generation did notes it again.
                let is_apart = |range: &Range<u64>| range.end < from || to < range.start;
                let touching = known.destroyed.extract_if(.., |range| !is_apart(range));
                let whole =
                    touching.fold(from..to, |whole, range| whole.start.min(range.start)..whole.end.max(range.end));
                known.destroyed.push(whole);
            }
            Note::Ended { generation, source, end, given_up_from, unix_ms } => {
                let known =
                    self.generations.entry(generation).or_insert_with(|| Generation::from_entry(Entry::default()));
                known.source = source;
                known.checkpoint = given_up_from.unwrap_or(end).min(end);
                known.dropped_bytes = end - known.checkpoint;
                known.ended_unix_ms = Some(unix_ms);
            }
        }
    }

    fn read_spool<D: Disk>(&mut self, disk: &D, spool: &Path) -> io::Result<()> {
        for stream in streams(disk, spool)? {
            for (generation, path) in segments(disk, &spool.join(&stream))? {
                let len = match disk.open(&path).and_then(|file| file.stat()) {
                    Ok(stat) => stat.len,
                    // Completed and deleted after the folder was listed.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    Err(error) => return Err(error),
                };
                let known =
                    self.generations.entry(generation).or_insert_with(|| Generation::from_entry(Entry::default()));
                known.source = format!("stream {stream}");
                known.pending_bytes = len.saturating_sub(known.checkpoint + known.dropped_bytes);
                known.location = Location::Segment { stream: stream.clone(), path };
            }
        }
        Ok(())
    }
}

impl Generation {
    fn from_entry(entry: Entry) -> Self {
        let start = entry.file.as_ref().map_or(0, |file| file.start);
        let (source, location) = match &entry.file {
            Some(file) => (format!("file {}", path::text(&file.path)), Location::File(file.clone())),
            None => ("a spool segment".to_owned(), Location::Deleted),
        };
        Self {
            source,
            checkpoint: entry.checkpoint,
            dropped_bytes: 0,
            pending_bytes: 0,
            ended_unix_ms: None,
            destroyed: Vec::new(),
            // Bytes before the start belong to another generation, or are skipped by the settings.
            skipped: Some(0..start).filter(|range| !range.is_empty()).into_iter().collect(),
            dead: BTreeMap::new(),
            discarded: BTreeMap::new(),
            location,
            entry,
        }
    }
}
