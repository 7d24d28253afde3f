//! Reads the dead letters of a state directory.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use store::{GenerationId, LineId};

use super::discarded::Discarded;
use super::layout::{BadLetter, id_of, path_of, sequences};
use super::{DIR, DeadLetter, replayed};
use crate::disk::Disk;
use crate::ndjson::for_each_line;

/// A dead letter read from its file.
#[derive(Debug)]
pub struct StoredLetter<'a> {
    /// The number of its file.
    pub sequence: u64,
    /// Its line.
    pub id: LineId,
    /// Its content.
    pub letter: DeadLetter<'a>,
}

/// Passes all letters that were neither replayed nor discarded to `take`, oldest first, without changing anything.
/// Returns invalid lines.
///
/// # Errors
/// File system errors, and errors of `take`.
pub fn read<D: Disk>(
    disk: &D,
    state_dir: &Path,
    take: impl FnMut(StoredLetter<'_>) -> io::Result<()>,
) -> io::Result<Vec<BadLetter>> {
    read_with(disk, state_dir, &Discarded::read(disk, state_dir)?, take)
}

/// Like [`read`], with the discarded letters given.
pub(crate) fn read_with<D: Disk>(
    disk: &D,
    state_dir: &Path,
    discarded: &Discarded,
    mut take: impl FnMut(StoredLetter<'_>) -> io::Result<()>,
) -> io::Result<Vec<BadLetter>> {
    let dir = state_dir.join(DIR);
    let mut bad = Vec::new();
    for sequence in sequences(disk, &dir)? {
        let replayed = replayed::read(disk, &dir, sequence)?;
        let path = path_of(&dir, sequence);
        for_each_line(&disk.open(&path)?, |line| {
            let letter = serde_json::from_slice::<DeadLetter<'_>>(line.bytes).ok();
            let found = letter.and_then(|letter| Some(StoredLetter { sequence, id: letter.id.parse().ok()?, letter }));
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

/// The number of letters in all files, including replayed and discarded ones, and their generations.
///
/// # Errors
/// File system errors.
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
