//! What is still known of a generation of which nothing is left to do, so that a store can be asked long after whether
//! it holds all of it.
//!
//! # On disk
//!
//! `STATE/past/SEQUENCE.log` holds one note a line: the CRC-32 of the rest in 8 hexadecimal digits, a space, and a JSON
//! object. `ended` says how far a generation went; `skipped`, which of its bytes are no lines for a store, such as
//! what a container wrote to stderr behind its last line; `destroyed`, which were in a file when it was truncated or
//! deleted, and not read yet. A line whose sum is wrong is passed over, and a generation's
//! last note counts. A file is begun anew at [`FILE_BYTES`], and of more than [`MAX_FILES`] the oldest is removed.
//!
//! A note is durable before the segment that it tells of is removed, unless the disk is full: then removing comes first.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use store::GenerationId;

use crate::disk::{Disk, DiskFile, append_whole};
use crate::ndjson::for_each_line;

/// After this many bytes the next file begins.
pub const FILE_BYTES: u64 = 4 * 1024 * 1024;

/// So many files are kept; together they tell of some 80,000 generations.
pub const MAX_FILES: usize = 4;

/// Notes that the disk does not take are kept up to this many bytes; what comes then is not noted.
const UNWRITTEN_MAX_BYTES: usize = 1024 * 1024;

pub(crate) const DIR: &str = "past";

/// One note.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Note {
    /// These bytes are no line for a store.
    Skipped {
        /// Whose bytes.
        generation: GenerationId,
        /// Where they begin,
        from: u64,
        /// and where they end.
        to: u64,
    },
    /// These bytes were seen in a file and went with it before all of their lines were stored. Those that were under way
    /// may be in the store.
    Destroyed {
        /// Whose bytes.
        generation: GenerationId,
        /// What it was a life of, for people.
        source: String,
        /// Where they begin,
        from: u64,
        /// and where they end.
        to: u64,
    },
    /// Nothing is left to do.
    Ended {
        /// Of which generation.
        generation: GenerationId,
        /// What it was a life or a part of, for people.
        source: String,
        /// Where it ends.
        end: u64,
        /// From where on it was given up, because the spool was full.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        given_up_from: Option<u64>,
        /// When, in milliseconds since the Unix epoch.
        unix_ms: i64,
    },
}

impl Note {
    /// The generation that it says the end of.
    #[must_use]
    pub fn ended(&self) -> Option<GenerationId> {
        match self {
            Self::Ended { generation, .. } => Some(*generation),
            Self::Skipped { .. } | Self::Destroyed { .. } => None,
        }
    }
}

/// The notes, open for more.
#[derive(Debug)]
pub struct Completed<D: Disk> {
    disk: D,
    dir: PathBuf,
    sequences: Vec<u64>,
    active: Option<(D::File, u64)>,
    /// What stands at the end of the file may be no whole line.
    is_suspect: bool,
    unwritten: Vec<u8>,
}

impl<D: Disk> Completed<D> {
    /// Opens the notes under a state directory.
    ///
    /// # Errors
    /// As the file system says.
    pub fn open(disk: D, state_dir: &Path) -> io::Result<Self> {
        let dir = state_dir.join(DIR);
        disk.create_dir_all(&dir)?;
        disk.sync_dir(state_dir)?;
        let sequences = sequences(&disk, &dir)?;
        let mut past = Self { disk, dir, sequences, active: None, is_suspect: true, unwritten: Vec::new() };
        if let Some(last) = past.sequences.last() {
            let file = past.disk.open_append(&past.path(*last))?;
            // The process that made it may have ended before it made its name durable.
            past.disk.sync_dir(&past.dir)?;
            let len = file.stat()?.len;
            past.active = Some((file, len));
        }
        Ok(past)
    }

    fn path(&self, sequence: u64) -> PathBuf {
        self.dir.join(format!("{sequence:08}.log"))
    }

    /// Notes something; it is durable once [`Completed::sync`] returns.
    pub fn note(&mut self, note: &Note) {
        if self.unwritten.len() > UNWRITTEN_MAX_BYTES {
            return;
        }
        // A note has no map with keys that are not text, the one thing that can't be written as JSON.
        let json = serde_json::to_string(note).unwrap_or_default();
        self.unwritten.extend_from_slice(format!("{:08x} {json}\n", crc32fast::hash(json.as_bytes())).as_bytes());
    }

    /// Makes what was noted durable.
    ///
    /// # Errors
    /// As the file system says; then the next call tries again.
    pub fn sync(&mut self) -> io::Result<()> {
        if self.unwritten.is_empty() {
            return Ok(());
        }
        let (file, len) = match &mut self.active {
            Some(active) if active.1 < FILE_BYTES => active,
            active => {
                let next = self.sequences.last().map_or(0, |last| last + 1);
                let file = self.disk.open_append(&self.dir.join(format!("{next:08}.log")))?;
                self.disk.sync_dir(&self.dir)?;
                self.sequences.push(next);
                active.insert((file, 0))
            }
        };
        // Whatever stands there is a line of its own, and none of the notes.
        let mut bytes = if self.is_suspect && *len > 0 { b"\n".to_vec() } else { Vec::new() };
        bytes.extend_from_slice(&self.unwritten);
        self.is_suspect = true;
        let written = append_whole(file, *len, &bytes).and_then(|()| file.sync());
        *len = file.stat().map_or(*len + bytes.len() as u64, |stat| stat.len);
        written?;
        self.is_suspect = false;
        self.unwritten.clear();
        while self.sequences.len() > MAX_FILES {
            self.disk.remove(&self.path(self.sequences[0]))?;
            self.sequences.remove(0);
        }
        Ok(())
    }
}

/// What the notes say.
#[derive(Debug, Default)]
pub struct Notes {
    /// The notes in the order in which they were made.
    pub notes: Vec<Note>,
    /// There were older ones, which are gone.
    pub is_cut: bool,
    /// Lines that are none: file, offset, and length with the newline.
    pub bad: Vec<(PathBuf, u64, u64)>,
}

/// Reads the notes under a state directory and changes nothing.
///
/// # Errors
/// As the file system says; a folder that is not there has none.
pub fn read<D: Disk>(disk: &D, state_dir: &Path) -> io::Result<Notes> {
    let dir = state_dir.join(DIR);
    let mut notes = Notes::default();
    for (place, sequence) in sequences(disk, &dir)?.into_iter().enumerate() {
        notes.is_cut |= place == 0 && sequence > 0;
        let path = dir.join(format!("{sequence:08}.log"));
        let file = match disk.open(&path) {
            // A shipper at work removes the oldest.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            opened => opened?,
        };
        for_each_line(&file, |line| {
            match decode(line.bytes) {
                Some(note) => notes.notes.push(note),
                None if line.bytes.is_empty() => {}
                None => notes.bad.push((path.clone(), line.offset, line.length())),
            }
            Ok(())
        })?;
    }
    Ok(notes)
}

fn sequences<D: Disk>(disk: &D, dir: &Path) -> io::Result<Vec<u64>> {
    crate::ndjson::sequences(disk, dir, ".log")
}

fn decode(line: &[u8]) -> Option<Note> {
    if line.get(8) != Some(&b' ') {
        return None;
    }
    let (sum, json) = (std::str::from_utf8(&line[..8]).ok()?, &line[9..]);
    (u32::from_str_radix(sum, 16).ok()? == crc32fast::hash(json)).then(|| serde_json::from_slice(json).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::RealDisk;

    fn ended(number: u64) -> Note {
        let generation = GenerationId::new(number, &[0; 10]);
        Note::Ended { generation, source: "stream stdout".to_owned(), end: number, given_up_from: None, unix_ms: 1 }
    }

    #[test]
    fn notes_survive_a_reopen_and_a_torn_end() {
        let dir = tempfile::tempdir().unwrap();
        let mut past = Completed::open(RealDisk, dir.path()).unwrap();
        past.note(&ended(1));
        past.sync().unwrap();
        let path = dir.path().join("past/00000000.log");
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, [&whole[..], &whole[..20]].concat()).unwrap();
        let mut past = Completed::open(RealDisk, dir.path()).unwrap();
        past.note(&ended(2));
        past.sync().unwrap();
        let notes = read(&RealDisk, dir.path()).unwrap();
        assert_eq!(notes.notes, [ended(1), ended(2)]);
        assert_eq!(notes.bad, [(path, whole.len() as u64, 21)]);
        assert!(!notes.is_cut);
    }

    #[test]
    fn they_are_bounded_and_say_so() {
        let dir = tempfile::tempdir().unwrap();
        let mut past = Completed::open(RealDisk, dir.path()).unwrap();
        for round in 0..7_u64 {
            for number in 0..30_000 {
                past.note(&ended(round * 30_000 + number));
                if number % 1_000 == 0 {
                    past.sync().unwrap();
                }
            }
        }
        past.sync().unwrap();
        let notes = read(&RealDisk, dir.path()).unwrap();
        assert!(notes.is_cut && notes.bad.is_empty());
        assert_eq!(notes.notes.last(), Some(&ended(209_999)));
        assert_eq!(std::fs::read_dir(dir.path().join("past")).unwrap().count(), MAX_FILES);
    }
}
