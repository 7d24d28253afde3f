//! Notes about completed generations, so that a store can be verified long after.
//!
//! # On disk
//!
//! `STATE/past/SEQUENCE.log` holds one note per line: the CRC-32 of the rest in 8 hexadecimal digits, a space, and a
//! JSON object. `ended` gives the end of a completed generation; `skipped`, bytes of it that are not lines, such as
//! what a container wrote to stderr after its last line; `destroyed`, bytes that were in a file when it was truncated
//! or deleted, and had not been read. A line with a wrong checksum is ignored, and the last note of a generation
//! counts. A new file is started at [`FILE_BYTES`], and if there are more than [`MAX_FILES`] the oldest is removed.
//!
//! A note is durable before the segment that it describes is removed, unless the disk is full: then the segment is
//! removed first.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use store::GenerationId;

use crate::disk::{Disk, DiskFile, append_whole};
use crate::ndjson::for_each_line;

/// A new file is started at this size.
pub const FILE_BYTES: u64 = 4 * 1024 * 1024;

/// Maximum number of files; together they describe some 80,000 generations.
pub const MAX_FILES: usize = 4;

/// Maximum size of notes kept in memory while the disk fails. Further notes are dropped.
const UNWRITTEN_MAX_BYTES: usize = 1024 * 1024;

pub(crate) const DIR: &str = "past";

/// A note.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Note {
    /// Bytes that are not lines.
    Skipped {
        /// The generation.
        generation: GenerationId,
        /// Offset of the first byte.
        from: u64,
        /// Offset after the last byte.
        to: u64,
    },
    /// Bytes seen in a file that was truncated or deleted before all of their lines were stored. Lines in flight at
    /// that time may be stored.
    Destroyed {
        /// The generation.
        generation: GenerationId,
        /// Description of the source.
        source: String,
        /// Offset of the first byte.
        from: u64,
        /// Offset after the last byte.
        to: u64,
    },
    /// The generation is completed.
    Ended {
        /// The generation.
        generation: GenerationId,
        /// Description of the source.
        source: String,
        /// Its end.
        end: u64,
        /// Offset from which it was dropped because the spool was full.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        given_up_from: Option<u64>,
        /// When, in milliseconds since the Unix epoch.
        unix_ms: i64,
    },
}

impl Note {
    /// The generation that this note completes.
    #[must_use]
    pub fn ended(&self) -> Option<GenerationId> {
        match self {
            Self::Ended { generation, .. } => Some(*generation),
            Self::Skipped { .. } | Self::Destroyed { .. } => None,
        }
    }
}

/// The notes, open for writing.
#[derive(Debug)]
pub struct Completed<D: Disk> {
    disk: D,
    dir: PathBuf,
    sequences: Vec<u64>,
    active: Option<(D::File, u64)>,
    /// Whether the file may end in a torn line.
    is_suspect: bool,
    unwritten: Vec<u8>,
}

impl<D: Disk> Completed<D> {
    /// Opens the notes of a state directory.
    ///
    /// # Errors
    /// File system errors.
    pub fn open(disk: D, state_dir: &Path) -> io::Result<Self> {
        let dir = state_dir.join(DIR);
        disk.create_dir_all(&dir)?;
        disk.sync_dir(state_dir)?;
        let sequences = sequences(&disk, &dir)?;
        let mut past = Self { disk, dir, sequences, active: None, is_suspect: true, unwritten: Vec::new() };
        if let Some(last) = past.sequences.last() {
            let file = past.disk.open_append(&past.path(*last))?;
            // The process that created it may have ended before its name was durable.
            past.disk.sync_dir(&past.dir)?;
            let len = file.stat()?.len;
            past.active = Some((file, len));
        }
        Ok(past)
    }

    fn path(&self, sequence: u64) -> PathBuf {
        self.dir.join(format!("{sequence:08}.log"))
    }

    /// Adds a note, which is durable when [`Completed::sync`] returns.
    pub fn note(&mut self, note: &Note) {
        if self.unwritten.len() > UNWRITTEN_MAX_BYTES {
            return;
        }
        // Can't fail: a note has no maps.
        let json = serde_json::to_string(note).unwrap_or_default();
        self.unwritten.extend_from_slice(format!("{:08x} {json}\n", crc32fast::hash(json.as_bytes())).as_bytes());
    }

    /// Makes the notes durable.
    ///
    /// # Errors
    /// File system errors. The next call tries again.
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
        // A torn line gets its own newline, and is ignored as invalid.
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

/// The notes of a state directory.
#[derive(Debug, Default)]
pub struct Notes {
    /// The notes, in the order of writing.
    pub notes: Vec<Note>,
    /// Whether older ones were removed.
    pub is_cut: bool,
    /// Invalid lines: file, offset, and length including the newline.
    pub bad: Vec<(PathBuf, u64, u64)>,
}

/// Reads the notes of a state directory without changing anything.
///
/// # Errors
/// File system errors. A missing folder has no notes.
pub fn read<D: Disk>(disk: &D, state_dir: &Path) -> io::Result<Notes> {
    let dir = state_dir.join(DIR);
    let mut notes = Notes::default();
    for (place, sequence) in sequences(disk, &dir)?.into_iter().enumerate() {
        notes.is_cut |= place == 0 && sequence > 0;
        let path = dir.join(format!("{sequence:08}.log"));
        let file = match disk.open(&path) {
            // A running shipper may remove the oldest file.
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
    fn notes_survive_a_restart_and_a_torn_end() {
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
    fn the_number_of_files_is_limited_and_removals_are_reported() {
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
