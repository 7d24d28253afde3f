//! Lines that the store rejects permanently, kept with the reason.
//!
//! # On disk
//!
//! `STATE/dead-letters/SEQUENCE.ndjson` holds one JSON object per line:
//! `{"at","id","index","status","reason","attempts","length","document"}`. `id` is the line's document id, which names
//! its generation and its offset there; `length` is the line's length at the source in bytes; `document` is the
//! rejected document, from which the line can be restored: it is the line with `origin` added, or contains the line as
//! `message` if `origin.wrapped` says so. A new file is started at [`FILE_BYTES`], or at a quarter of the limit.
//!
//! A line is a dead letter once it is durable here. After a restart its id is known, and it is neither sent nor written
//! again. It stops being a dead letter when a [replay](replayed) has stored it, or when it is [discarded].
//!
//! # The limit
//!
//! All files together have at most `max_bytes`. Further rejected lines are not dropped: they stay pending,
//! [`DeadLetters::counts`] reports that the limit is reached, and the pipeline sends nothing more. So only requests in
//! flight can add to them.

pub mod discarded;
mod layout;
mod reading;
pub mod replayed;

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use store::{Batch, Cause, GenerationId, LineId, Timestamp};

use self::discarded::Discarded;
pub use self::layout::BadLetter;
use self::layout::{id_of, is_letter, path_of, sequences};
pub(crate) use self::reading::read_with;
pub use self::reading::{StoredLetter, census, read};
use crate::disk::{Disk, DiskFile, append_whole, is_whole};
use crate::ndjson::for_each_line;

/// Maximum size of a file.
pub const FILE_BYTES: u64 = 64 * 1024 * 1024;

/// Minimum number of files within the limit.
const MIN_FILES: u64 = 4;

/// The cause reported while the limit is reached, in addition to the causes of the store.
pub const CAUSE: &str = "dead_letters";

pub(crate) const DIR: &str = "dead-letters";

/// A dead letter, as written to disk.
#[derive(Debug, Serialize, Deserialize)]
pub struct DeadLetter<'a> {
    /// When it was rejected, RFC 3339.
    pub at: String,
    /// The line's document id.
    pub id: String,
    /// The index that it was sent to.
    pub index: String,
    /// The store's status for it; 0 if there is none.
    pub status: u16,
    /// The store's reason.
    pub reason: String,
    /// Number of times it was sent.
    pub attempts: u32,
    /// Its length at the source in bytes, including its newline.
    pub length: u64,
    /// The rejected document.
    #[serde(borrow)]
    pub document: &'a RawValue,
}

/// Number and size of the dead letters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeadLetterCounts {
    /// Letters that were neither replayed nor discarded.
    pub letters: u64,
    /// Total size of their files.
    pub bytes: u64,
    /// Limit of `bytes`.
    pub max_bytes: u64,
    /// Whether there is no room for the next letter.
    pub is_full: bool,
}

impl DeadLetterCounts {
    /// The reason reported while the limit is reached.
    #[must_use]
    pub fn no_room(&self) -> String {
        let Self { letters, bytes, max_bytes, .. } = self;
        format!(
            "the dead letters are full ({letters} in {bytes} of {max_bytes} bytes): stop the shipper, see `shipper \
             dead-letters list`, replay them once their cause is fixed, discard them, or raise dead_letters_max_bytes"
        )
    }
}

/// The dead letters of a state directory.
pub struct DeadLetters<D: Disk> {
    disk: D,
    dir: PathBuf,
    active: Option<(D::File, u64)>,
    /// A file that may end with letters that are not durable, and its length without them.
    suspect: Option<(D::File, u64)>,
    next_sequence: u64,
    known: HashMap<GenerationId, HashSet<u64>>,
    counts: DeadLetterCounts,
    pending: VecDeque<(LineId, Vec<u8>)>,
}

impl<D: Disk> DeadLetters<D> {
    /// Opens the folder and reads the ids. A torn last line is cut off: it was not durable, so its line had no outcome.
    /// One that lacks only its newline is valid; nothing is appended to it.
    ///
    /// # Errors
    /// File system errors.
    pub fn open(disk: D, state_dir: &Path, max_bytes: u64) -> io::Result<Self> {
        let dir = state_dir.join(DIR);
        disk.create_dir_all(&dir)?;
        disk.sync_dir(state_dir)?;
        disk.sync_dir(&dir)?;
        let mut known: HashMap<_, HashSet<_>> = HashMap::new();
        let mut counts = DeadLetterCounts { max_bytes, ..DeadLetterCounts::default() };
        let discarded = Discarded::read(&disk, state_dir)?;
        for id in discarded.after_checkpoints(&disk, state_dir)? {
            known.entry(id.generation).or_default().insert(id.offset);
        }
        let sequences = sequences(&disk, &dir)?;
        for sequence in &sequences {
            let file = disk.open_append(&path_of(&dir, *sequence))?;
            let replayed = replayed::read(&disk, &dir, *sequence)?;
            let mut whole_bytes = 0;
            for_each_line(&file, |line| {
                if line.is_whole || is_letter(line.bytes) {
                    whole_bytes = line.offset + line.length();
                    if let Some(id) = id_of(line.bytes).filter(|id| !replayed.contains(id) && !discarded.contains(id)) {
                        known.entry(id.generation).or_default().insert(id.offset);
                        counts.letters += 1;
                    }
                }
                Ok(())
            })?;
            if whole_bytes < file.stat()?.len {
                file.truncate(whole_bytes)?;
            }
            // The previous process may have ended between write and sync. Known letters must be durable.
            file.sync()?;
            counts.bytes += whole_bytes;
        }
        Ok(Self {
            disk,
            dir,
            active: None,
            suspect: None,
            next_sequence: sequences.last().map_or(0, |last| last + 1),
            known,
            counts,
            pending: VecDeque::new(),
        })
    }

    /// Whether a line is a dead letter.
    #[must_use]
    pub fn contains(&self, id: &LineId) -> bool {
        !self.known.is_empty() && self.known.get(&id.generation).is_some_and(|known| known.contains(&id.offset))
    }

    /// Number and size of the dead letters.
    #[must_use]
    pub fn counts(&self) -> DeadLetterCounts {
        self.counts
    }

    /// Forgets the lines of a generation before `offset`, which are not looked up again.
    pub fn forget_before(&mut self, generation: &GenerationId, offset: u64) {
        if let Some(known) = self.known.get_mut(generation) {
            known.retain(|known| *known >= offset);
            if known.is_empty() {
                self.known.remove(generation);
            }
        }
    }

    /// Adds a line of `batch`. It is a dead letter once [`DeadLetters::sync`] returns it.
    pub fn add(&mut self, batch: &Batch, place: usize, cause: &Cause, attempts: u32, at: Timestamp) {
        let line = batch.lines()[place];
        // A document is JSON. If one is not, it is kept as a string, so that its line is not pending forever.
        let document = String::from_utf8_lossy(batch.document(place));
        let is_json = serde_json::from_str::<&RawValue>(&document).is_ok();
        let text = if is_json { document } else { serde_json::Value::from(document).to_string().into() };
        let document = serde_json::from_str(&text).unwrap_or(RawValue::NULL);
        let letter = DeadLetter {
            at: at.to_string(),
            id: line.id.to_string(),
            index: batch.index_name(place).to_owned(),
            status: cause.status,
            reason: cause.reason.clone(),
            attempts,
            length: line.length,
            document,
        };
        // Serializing plain fields to memory can't fail.
        let mut written = serde_json::to_vec(&letter).unwrap_or_default();
        written.push(b'\n');
        self.pending.push_back((line.id, written));
    }

    /// Makes added letters durable, as far as the limit allows, and returns their lines.
    ///
    /// # Errors
    /// File system errors. Nothing is final then, and the next call tries again.
    pub fn sync(&mut self) -> io::Result<Vec<LineId>> {
        let mut room = self.counts.max_bytes.saturating_sub(self.counts.bytes);
        let mut bytes = Vec::new();
        let mut ids = Vec::new();
        for (id, letter) in &self.pending {
            let Some(left) = room.checked_sub(letter.len() as u64) else { break };
            room = left;
            bytes.extend_from_slice(letter);
            ids.push(*id);
        }
        if !ids.is_empty() {
            self.write(&bytes)?;
        }
        self.pending.drain(..ids.len());
        self.counts.bytes += bytes.len() as u64;
        self.counts.letters += ids.len() as u64;
        self.counts.is_full = !self.pending.is_empty();
        for id in &ids {
            self.known.entry(id.generation).or_default().insert(id.offset);
        }
        Ok(ids)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some((file, len)) = &self.suspect {
            // What was written must be removed durably before it is written to another file.
            file.truncate(*len)?;
            file.sync()?;
            self.suspect = None;
        }
        let file_bytes = FILE_BYTES.min(self.counts.max_bytes / MIN_FILES);
        let (file, len) = match &mut self.active {
            Some(active) if active.1 < file_bytes => active,
            active => {
                let file = self.disk.open_append(&path_of(&self.dir, self.next_sequence))?;
                self.next_sequence += 1;
                self.disk.sync_dir(&self.dir)?;
                active.insert((file, 0))
            }
        };
        if let Err(error) = append_whole(file, *len, bytes) {
            if !is_whole(file, *len) {
                self.suspect = self.active.take();
            }
            return Err(error);
        }
        if let Err(error) = file.sync() {
            // After a failed sync the content on disk is unknown: write to another file.
            self.suspect = self.active.take();
            return Err(error);
        }
        *len += bytes.len() as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use store::BatchBuilder;

    use super::*;
    use crate::disk::RealDisk;

    #[test]
    fn a_restart_keeps_dead_letters_and_removes_a_torn_one() {
        let dir = tempfile::tempdir().unwrap();
        let mut builder = BatchBuilder::new("app-logs");
        let ids = [0, 7].map(|offset| LineId { generation: GenerationId::new(1, &[0; 10]), offset });
        for id in ids {
            builder.push(id, 7, Timestamp::from_unix_ms(0).day(), |body| body.extend_from_slice(b"{\"a\":1}"));
        }
        let batch = builder.finish(0);
        let mut letters = DeadLetters::open(RealDisk, dir.path(), u64::MAX).unwrap();
        for place in 0..2 {
            letters.add(&batch, place, &Cause::new(400, "mapping"), 1, Timestamp::from_unix_ms(0));
        }
        assert_eq!(letters.sync().unwrap(), ids);
        let path = dir.path().join("dead-letters/00000000.ndjson");
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(
            text.lines().next().unwrap(),
            format!(
                "{{\"at\":\"1970-01-01T00:00:00.000000Z\",\"id\":\"{}\",\"index\":\"app-logs-1970.01.01\",\"status\":400,\
                 \"reason\":\"mapping\",\"attempts\":1,\"length\":7,\"document\":{{\"a\":1}}}}",
                ids[0]
            )
        );
        std::fs::write(&path, &text[..text.len() - 3]).unwrap();
        let letters = DeadLetters::open(RealDisk, dir.path(), u64::MAX).unwrap();
        assert!(letters.contains(&ids[0]) && !letters.contains(&ids[1]));
        // It is valid without its newline.
        std::fs::write(&path, &text[..text.len() - 1]).unwrap();
        let letters = DeadLetters::open(RealDisk, dir.path(), u64::MAX).unwrap();
        assert!(ids.iter().all(|id| letters.contains(id)));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), &text[..text.len() - 1]);
        let mut seen = Vec::new();
        let bad = read(&RealDisk, dir.path(), |found| {
            seen.push(found.id);
            Ok(())
        });
        assert_eq!((bad.unwrap(), seen), (vec![], ids.to_vec()));
        std::fs::write(&path, &text[..text.len() - 3]).unwrap();
        DeadLetters::open(RealDisk, dir.path(), u64::MAX).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 1);
    }

    #[test]
    fn letters_wait_at_the_limit_and_a_replay_makes_room() {
        let dir = tempfile::tempdir().unwrap();
        let generation = GenerationId::new(1, &[0; 10]);
        let mut builder = BatchBuilder::new("app-logs");
        for offset in 0..8 {
            let id = LineId { generation, offset };
            builder.push(id, 1, Timestamp::from_unix_ms(0).day(), |body| body.extend_from_slice(b"{\"a\":1}"));
        }
        let batch = builder.finish(0);
        // Room for four files with one letter each.
        let mut letters = DeadLetters::open(RealDisk, dir.path(), 900).unwrap();
        for place in 0..8 {
            letters.add(&batch, place, &Cause::new(400, "mapping"), 1, Timestamp::from_unix_ms(0));
        }
        let first = letters.sync().unwrap();
        assert!((1..8).contains(&first.len()), "{first:?}");
        assert!(letters.counts().is_full && letters.counts().bytes <= 900);
        assert_eq!(letters.sync().unwrap(), []);

        let ids: Vec<_> = first.iter().map(|id| (*id, replayed::ReplayOutcome::Stored)).collect();
        let mut marks = replayed::ReplayMarks::open(RealDisk, dir.path());
        marks.mark(0, &ids[..1], Timestamp::from_unix_ms(0)).unwrap();
        let mut seen = Vec::new();
        let mut look = || {
            seen.clear();
            let bad = read(&RealDisk, dir.path(), |found| {
                seen.push(found.id);
                Ok(())
            });
            assert_eq!(bad.unwrap(), []);
            seen.clone()
        };
        assert_eq!(look(), first[1..]);
        let letters = DeadLetters::open(RealDisk, dir.path(), 900).unwrap();
        assert_eq!(letters.counts().letters, first.len() as u64 - 1, "a replayed one does not count");
        marks.mark(0, &ids[1..], Timestamp::from_unix_ms(0)).unwrap();
        assert_eq!(look(), []);
        marks.remove_done().unwrap();
        let letters = DeadLetters::open(RealDisk, dir.path(), 900).unwrap();
        assert_eq!((letters.counts().letters, letters.counts().bytes), (0, 0));
        assert!(first.iter().all(|id| !letters.contains(id)));
    }
}
