//! A journal read without changing it: how far its records are good, and what they add up to.

use std::io;
use std::path::Path;

use super::entry::{Entries, apply};
use super::record::{Record, VERSION};
use super::{JournalError, NAME, read_whole};
use crate::disk::Disk;

/// A journal as it was found.
#[derive(Debug, Default)]
pub struct Found {
    /// What it knows of each generation.
    pub entries: Entries,
    /// How many of its bytes are good; what follows is torn.
    pub good_bytes: u64,
    /// Its length.
    pub bytes: u64,
    /// Records behind the first one that is not good, which are good by themselves.
    pub stranded_records: u64,
}

/// Reads the journal in `dir` and changes nothing; one that is not there knows nothing.
///
/// # Errors
/// [`JournalError`]; a torn end is no error.
pub fn read<D: Disk>(disk: &D, dir: &Path) -> Result<Found, JournalError> {
    let path = dir.join(NAME);
    let failed = |error| JournalError::Io { path: path.clone(), error };
    let file = match disk.open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::default()),
        opened => opened.map_err(failed)?,
    };
    let bytes = read_whole(&file).map_err(failed)?;
    let mut found = Found { bytes: bytes.len() as u64, ..Found::default() };
    let good = replay(&bytes, &path, &mut found.entries)?;
    found.good_bytes = good as u64;
    found.stranded_records =
        bytes[good..].split(|byte| *byte == b'\n').filter(|line| Record::decode(line).is_some()).count() as u64;
    Ok(found)
}

/// Applies the records of `bytes` and says how far they are good.
pub(super) fn replay(bytes: &[u8], path: &Path, entries: &mut Entries) -> Result<usize, JournalError> {
    let mut good = 0;
    while let Some(end) = memchr::memchr(b'\n', &bytes[good..]) {
        let Some(record) = Record::decode(&bytes[good..good + end]) else { break };
        if let Record::Journal { version } = record
            && version > VERSION
        {
            return Err(JournalError::Newer { path: path.to_owned(), found: version });
        }
        apply(record, entries);
        good += end + 1;
    }
    Ok(good)
}
