//! Records which dead letters a replay has stored.
//!
//! # On disk
//!
//! `STATE/dead-letters/SEQUENCE.replayed` holds one `{"at","id","outcome"}` per line, for the letters of the file with
//! the same number. A mark is written after the store has answered, so a letter without a mark may be stored too;
//! another replay is then answered with "already stored". When all letters of a file have marks the file is removed,
//! and then its marks.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use store::{LineId, Timestamp};

use super::DIR;
use super::discarded::Discarded;
use super::layout::{id_of, path_of, sequences};
use crate::disk::{Disk, DiskFile, append_whole};
use crate::ndjson::for_each_line;

/// The outcome of a replayed letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplayOutcome {
    /// Stored by the replay.
    Stored,
    /// Already in the store.
    AlreadyStored,
}

#[derive(Serialize)]
struct Mark {
    at: String,
    id: String,
    outcome: ReplayOutcome,
}

/// Writes marks and removes files. The caller must hold the lock of the state directory.
#[derive(Debug)]
pub struct ReplayMarks<D: Disk> {
    disk: D,
    state_dir: PathBuf,
    dir: PathBuf,
}

impl<D: Disk> ReplayMarks<D> {
    /// Opens the marks of a state directory.
    #[must_use]
    pub fn open(disk: D, state_dir: &Path) -> Self {
        Self { disk, state_dir: state_dir.to_owned(), dir: state_dir.join(DIR) }
    }

    /// Marks letters of the file with this number, durably.
    ///
    /// # Errors
    /// File system errors. The letters may be replayed again then.
    pub fn mark(&mut self, sequence: u64, lines: &[(LineId, ReplayOutcome)], at: Timestamp) -> io::Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        let file = self.disk.open_append(&marks_of(&self.dir, sequence))?;
        let len = file.stat()?.len;
        // A torn mark gets its own newline, and is ignored as invalid.
        let mut bytes = if len > 0 { b"\n".to_vec() } else { Vec::new() };
        for (id, outcome) in lines {
            let mark = Mark { at: at.to_string(), id: id.to_string(), outcome: *outcome };
            // Serializing plain fields to memory can't fail.
            let _ = serde_json::to_writer(&mut bytes, &mark);
            bytes.push(b'\n');
        }
        append_whole(&file, len, &bytes)?;
        file.sync()?;
        self.disk.sync_dir(&self.dir)
    }

    /// Removes the files whose letters are all replayed or discarded.
    ///
    /// # Errors
    /// File system errors.
    pub fn remove_done(&mut self) -> io::Result<()> {
        let discarded = Discarded::read(&self.disk, &self.state_dir)?;
        for sequence in sequences(&self.disk, &self.dir)? {
            let replayed = read(&self.disk, &self.dir, sequence)?;
            let path = path_of(&self.dir, sequence);
            let (mut letters, mut is_done) = (0, true);
            for_each_line(&self.disk.open(&path)?, |line| {
                letters += 1;
                // Invalid lines are kept for a repair.
                is_done &= id_of(line.bytes).is_some_and(|id| replayed.contains(&id) || discarded.contains(&id));
                Ok(())
            })?;
            if is_done && letters > 0 {
                self.disk.remove(&path)?;
                self.disk.sync_dir(&self.dir)?;
            }
        }
        self.remove_orphans()
    }

    /// Removes marks of deleted files.
    fn remove_orphans(&self) -> io::Result<()> {
        let letters = sequences(&self.disk, &self.dir)?;
        for name in self.disk.list(&self.dir)? {
            let sequence = name.strip_suffix(".replayed").and_then(|number| number.parse::<u64>().ok());
            if sequence.is_some_and(|sequence| !letters.contains(&sequence)) {
                self.disk.remove(&self.dir.join(name))?;
            }
        }
        self.disk.sync_dir(&self.dir)
    }
}

/// The replayed letters of the file with this number.
pub(super) fn read<D: Disk>(disk: &D, dir: &Path, sequence: u64) -> io::Result<HashSet<LineId>> {
    let mut ids = HashSet::new();
    let file = match disk.open(&marks_of(dir, sequence)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(ids),
        opened => opened?,
    };
    for_each_line(&file, |line| {
        ids.extend(id_of(line.bytes).filter(|_| line.is_whole));
        Ok(())
    })?;
    Ok(ids)
}

fn marks_of(dir: &Path, sequence: u64) -> PathBuf {
    dir.join(format!("{sequence:08}.replayed"))
}

#[cfg(test)]
mod tests {
    use store::GenerationId;

    use super::*;
    use crate::disk::RealDisk;

    #[test]
    fn a_mark_after_a_torn_one_counts() {
        let dir = tempfile::tempdir().unwrap();
        let letters = dir.path().join(DIR);
        std::fs::create_dir(&letters).unwrap();
        let ids = [0, 7].map(|offset| LineId { generation: GenerationId::new(1, &[0; 10]), offset });
        let at = Timestamp::from_unix_ms(0);
        ReplayMarks::open(RealDisk, dir.path()).mark(0, &[(ids[0], ReplayOutcome::Stored)], at).unwrap();
        let path = letters.join("00000000.replayed");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{text}{}", &text[..text.len() - 9])).unwrap();
        ReplayMarks::open(RealDisk, dir.path()).mark(0, &[(ids[1], ReplayOutcome::AlreadyStored)], at).unwrap();
        let marked = read(&RealDisk, &letters, 0).unwrap();
        assert!(ids.iter().all(|id| marked.contains(id)), "{marked:?}");
    }
}
