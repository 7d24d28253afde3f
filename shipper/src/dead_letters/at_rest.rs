//! The letters as they lie in their files, for whoever looks at them.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use store::{GenerationId, LineId};

use super::discarded::Discarded;
use super::{DIR, DeadLetter, replayed};
use crate::disk::Disk;
use crate::ndjson::for_each_line;

/// A letter as it lies there.
#[derive(Debug)]
pub struct Found<'a> {
    /// Which file.
    pub sequence: u64,
    /// Its line.
    pub id: LineId,
    /// The letter.
    pub letter: DeadLetter<'a>,
}

/// A line of a file that is no letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadLetter {
    /// Which file.
    pub path: PathBuf,
    /// Where in it.
    pub offset: u64,
    /// How long it is, with its newline.
    pub length: u64,
    /// It is the last one and is cut short: a process writes it, or ended while it did.
    pub is_torn_end: bool,
}

/// Gives the letters that no replay has put into a store and nobody has discarded to `take`, oldest first, and changes
/// nothing; returns what is no letter.
///
/// # Errors
/// As the file system or `take` says.
pub fn read<D: Disk>(
    disk: &D,
    state_dir: &Path,
    take: impl FnMut(Found<'_>) -> io::Result<()>,
) -> io::Result<Vec<BadLetter>> {
    read_beside(disk, state_dir, &Discarded::read(disk, state_dir)?, take)
}

/// As [`read`], beside what is known to be discarded.
pub(crate) fn read_beside<D: Disk>(
    disk: &D,
    state_dir: &Path,
    discarded: &Discarded,
    mut take: impl FnMut(Found<'_>) -> io::Result<()>,
) -> io::Result<Vec<BadLetter>> {
    let dir = state_dir.join(DIR);
    let mut bad = Vec::new();
    for sequence in sequences(disk, &dir)? {
        let replayed = replayed::read(disk, &dir, sequence)?;
        let path = path_of(&dir, sequence);
        for_each_line(&disk.open(&path)?, |line| {
            let letter = serde_json::from_slice::<DeadLetter<'_>>(line.bytes).ok();
            let found = letter.and_then(|letter| Some(Found { sequence, id: letter.id.parse().ok()?, letter }));
            match found {
                Some(found) if replayed.contains(&found.id) || discarded.contains(&found.id) => Ok(()),
                Some(found) => take(found),
                None => {
                    let (offset, length, is_torn_end) = (line.offset, line.length(), !line.is_whole);
                    bad.push(BadLetter { path: path.clone(), offset, length, is_torn_end });
                    Ok(())
                }
            }
        })?;
    }
    Ok(bad)
}

/// How many letters lie there, those among them that are none any more, and of which generations.
///
/// # Errors
/// As the file system says.
pub fn census<D: Disk>(disk: &D, state_dir: &Path) -> io::Result<(u64, BTreeSet<GenerationId>)> {
    let dir = state_dir.join(DIR);
    let (mut letters, mut generations) = (0, BTreeSet::new());
    for sequence in sequences(disk, &dir)? {
        for_each_line(&disk.open(&path_of(&dir, sequence))?, |line| {
            letters += 1;
            generations.extend(id_of(line.bytes).map(|id| id.generation));
            Ok(())
        })?;
    }
    Ok((letters, generations))
}

/// The numbers of the files, in order.
pub(super) fn sequences<D: Disk>(disk: &D, dir: &Path) -> io::Result<Vec<u64>> {
    crate::ndjson::sequences(disk, dir, ".ndjson")
}

pub(super) fn path_of(dir: &Path, sequence: u64) -> PathBuf {
    dir.join(format!("{sequence:08}.ndjson"))
}

/// Whether a line is a letter to its end: what is cut short is no JSON.
pub(super) fn is_letter(line: &[u8]) -> bool {
    serde_json::from_slice::<DeadLetter<'_>>(line).is_ok()
}

pub(super) fn id_of(line: &[u8]) -> Option<LineId> {
    #[derive(Deserialize)]
    struct Id<'a> {
        id: &'a str,
    }
    serde_json::from_slice::<Id<'_>>(line).ok()?.id.parse().ok()
}
