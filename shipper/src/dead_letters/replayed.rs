//! Which dead letters a replay has put into a store.
//!
//! # On disk
//!
//! `STATE/dead-letters/SEQUENCE.replayed` holds `{"at","id","outcome"}` a line, for letters of the file of that number.
//! A mark is written once the store has answered, so a letter without one may rest in the store all the same, and is then
//! answered with "already stored" when it is replayed again. Once all letters of a file have their marks, the file is
//! removed, and its marks after it.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use store::{LineId, Timestamp};

use super::DIR;
use super::at_rest::{id_of, path_of, sequences};
use super::discarded::Discarded;
use crate::disk::{Disk, DiskFile, append_whole};
use crate::ndjson::for_each_line;

/// What became of a letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplayOutcome {
    /// The replay put it into the store.
    Stored,
    /// It was in the store before.
    AlreadyStored,
}

#[derive(Serialize)]
struct Mark {
    at: String,
    id: String,
    outcome: ReplayOutcome,
}

/// Sets marks, and removes files. Whoever does holds the state directory's lock.
#[derive(Debug)]
pub struct Marks<D: Disk> {
    disk: D,
    state_dir: PathBuf,
    dir: PathBuf,
}

impl<D: Disk> Marks<D> {
    /// The marks under a state directory.
    #[must_use]
    pub fn open(disk: D, state_dir: &Path) -> Self {
        Self { disk, state_dir: state_dir.to_owned(), dir: state_dir.join(DIR) }
    }

    /// Marks letters of the file of a number, durably.
    ///
    /// # Errors
    /// As the file system says; the letters may then be replayed again.
    pub fn mark(&mut self, sequence: u64, lines: &[(LineId, ReplayOutcome)], at: Timestamp) -> io::Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        let file = self.disk.open_append(&marks_of(&self.dir, sequence))?;
        let len = file.stat()?.len;
        // A mark that was torn before is a line of its own, and none.
        let mut bytes = if len > 0 { b"\n".to_vec() } else { Vec::new() };
        for (id, outcome) in lines {
            let mark = Mark { at: at.to_string(), id: id.to_string(), outcome: *outcome };
            // Writing plain fields to memory does not fail.
            let _ = serde_json::to_writer(&mut bytes, &mark);
            bytes.push(b'\n');
        }
        append_whole(&file, len, &bytes)?;
        file.sync()?;
        self.disk.sync_dir(&self.dir)
    }

    /// Removes the files of which every letter has its mark or is discarded.
    ///
    /// # Errors
    /// As the file system says.
    pub fn remove_done(&mut self) -> io::Result<()> {
        let discarded = Discarded::read(&self.disk, &self.state_dir)?;
        for sequence in sequences(&self.disk, &self.dir)? {
            let replayed = read(&self.disk, &self.dir, sequence)?;
            let path = path_of(&self.dir, sequence);
            let (mut letters, mut is_done) = (0, true);
            for_each_line(&self.disk.open(&path)?, |line| {
                letters += 1;
                // What is no letter is kept for whoever repairs it.
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

    /// Removes marks whose letters are gone.
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

/// The letters of the file of a number that have their marks.
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
    fn a_mark_behind_a_torn_one_counts() {
        let dir = tempfile::tempdir().unwrap();
        let letters = dir.path().join(DIR);
        std::fs::create_dir(&letters).unwrap();
        let ids = [0, 7].map(|offset| LineId { generation: GenerationId::new(1, &[0; 10]), offset });
        let at = Timestamp::from_unix_ms(0);
        Marks::open(RealDisk, dir.path()).mark(0, &[(ids[0], ReplayOutcome::Stored)], at).unwrap();
        let path = letters.join("00000000.replayed");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{text}{}", &text[..text.len() - 9])).unwrap();
        Marks::open(RealDisk, dir.path()).mark(0, &[(ids[1], ReplayOutcome::AlreadyStored)], at).unwrap();
        let marked = read(&RealDisk, &letters, 0).unwrap();
        assert!(ids.iter().all(|id| marked.contains(id)), "{marked:?}");
    }
}
