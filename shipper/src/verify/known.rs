//! What a state directory says that a store must hold.

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

/// Where the bytes of a generation may still lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lies {
    /// In a spool segment.
    Segment {
        /// Of which stream.
        stream: String,
        /// Its file.
        path: PathBuf,
    },
    /// In a file that others write.
    File(FileIdentity),
    /// Nowhere any more.
    Gone,
}

/// One generation.
#[derive(Clone, Debug)]
pub struct Generation {
    /// What it is a life or a part of, for people.
    pub source: String,
    /// Every line that begins before is disposed of, and not by being given up.
    pub proven_to: u64,
    /// Bytes behind that were given up because the spool was full; lines that were under way then may rest in the store.
    pub given_up_bytes: u64,
    /// Bytes behind that wait.
    pub waiting_bytes: u64,
    /// When nothing of it was left to do, in milliseconds since the Unix epoch.
    pub ended_unix_ms: Option<i64>,
    /// Bytes that went with their file before all of their lines were stored.
    pub destroyed: Vec<Range<u64>>,
    /// Bytes that are no lines for a store.
    pub skipped: Vec<Range<u64>>,
    /// Dead letters: where each begins, and how long it is.
    pub dead: BTreeMap<u64, u64>,
    /// Dead letters that someone discarded: where each began, and how long it was.
    pub discarded: BTreeMap<u64, u64>,
    /// Where its bytes are.
    pub lies: Lies,
    /// What the journal knows.
    pub entry: Entry,
}

/// All that a state directory knows.
#[derive(Debug, Default)]
pub struct Known {
    /// The generations, in the order of their birth.
    pub generations: BTreeMap<GenerationId, Generation>,
    /// There were older ones, which are not known any more.
    pub is_cut: bool,
    /// Notes of what is done that can't be read.
    pub bad_notes: u64,
}

impl Known {
    /// Reads a state directory and changes nothing. The journal is read first: what it calls disposed of was so, and
    /// durably, before anything else is looked at.
    ///
    /// # Errors
    /// [`VerifyError::Journal`], [`VerifyError::Io`].
    pub fn read<D: Disk>(disk: &D, state_dir: &Path) -> Result<Self, VerifyError> {
        let failed = |path: PathBuf| move |error: io::Error| VerifyError::Io { path, error };
        let mut known = Self::default();
        for (generation, entry) in journal::entries(disk, state_dir)? {
            known.generations.insert(generation, Generation::of(entry));
        }
        let notes = completed::read(disk, state_dir).map_err(failed(state_dir.join("past")))?;
        known.is_cut = notes.is_cut;
        known.bad_notes = notes.bad.len() as u64;
        notes.notes.into_iter().for_each(|note| known.note(note));
        known.look_at_spool(disk, &state_dir.join("spool")).map_err(failed(state_dir.join("spool")))?;
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
                let known = self.generations.entry(generation).or_insert_with(|| Generation::of(Entry::default()));
                // The same bytes may be passed over again after a restart.
                if known.skipped.iter().all(|range| range.end <= from || to <= range.start) {
                    known.skipped.push(from..to);
                }
            }
            Note::Destroyed { generation, source, from, to } => {
                let known = self.generations.entry(generation).or_insert_with(|| Generation::of(Entry::default()));
                known.source = source;
                // A process that ended before the generation did notes it again.
                let is_apart = |range: &Range<u64>| range.end < from || to < range.start;
                let touching = known.destroyed.extract_if(.., |range| !is_apart(range));
                let whole =
                    touching.fold(from..to, |whole, range| whole.start.min(range.start)..whole.end.max(range.end));
                known.destroyed.push(whole);
            }
            Note::Ended { generation, source, end, given_up_from, unix_ms } => {
                let known = self.generations.entry(generation).or_insert_with(|| Generation::of(Entry::default()));
                known.source = source;
                known.proven_to = given_up_from.unwrap_or(end).min(end);
                known.given_up_bytes = end - known.proven_to;
                known.ended_unix_ms = Some(unix_ms);
            }
        }
    }

    fn look_at_spool<D: Disk>(&mut self, disk: &D, spool: &Path) -> io::Result<()> {
        for stream in streams(disk, spool)? {
            for (generation, path) in segments(disk, &spool.join(&stream))? {
                let len = match disk.open(&path).and_then(|file| file.stat()) {
                    Ok(stat) => stat.len,
                    // Done, and removed, since the folder was read.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    Err(error) => return Err(error),
                };
                let known = self.generations.entry(generation).or_insert_with(|| Generation::of(Entry::default()));
                known.source = format!("stream {stream}");
                known.waiting_bytes = len.saturating_sub(known.proven_to + known.given_up_bytes);
                known.lies = Lies::Segment { stream: stream.clone(), path };
            }
        }
        Ok(())
    }
}

impl Generation {
    fn of(entry: Entry) -> Self {
        let start = entry.file.as_ref().map_or(0, |file| file.start);
        let (source, lies) = match &entry.file {
            Some(file) => (format!("file {}", path::text(&file.path)), Lies::File(file.clone())),
            None => ("a spool segment".to_owned(), Lies::Gone),
        };
        Self {
            source,
            proven_to: entry.checkpoint,
            given_up_bytes: 0,
            waiting_bytes: 0,
            ended_unix_ms: None,
            destroyed: Vec::new(),
            // Bytes before are another generation's, or the settings skip them.
            skipped: Some(0..start).filter(|range| !range.is_empty()).into_iter().collect(),
            dead: BTreeMap::new(),
            discarded: BTreeMap::new(),
            lies,
            entry,
        }
    }
}
