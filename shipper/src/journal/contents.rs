//! Reads a journal without changing it: the state that its records describe, and the invalid ranges.
//!
//! Each record is valid on its own, so records after an invalid range count. An invalid range is harmless if it can
//! result from an interrupted write: data that was not synced may be incomplete, or zeros after a power loss, and
//! nothing relied on it. Any other invalid range was a record.

use std::io;
use std::path::Path;

use super::entry::{Entries, apply};
use super::record::{Record, VERSION};
use super::{JournalError, NAME, read_whole};
use crate::disk::Disk;

/// Why a range of a journal is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// An incomplete write at the end.
    TornEnd,
    /// It contains zeros, left by a power loss in data that was not synced.
    Hole,
    /// It was a record and was modified, by a bad disk or by hand.
    Damage,
}

/// An invalid range of a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidRange {
    /// Its offset.
    pub offset: u64,
    /// Its length, including the last newline.
    pub bytes: u64,
    /// Why it is invalid.
    pub fault: Fault,
}

/// The content of a journal.
#[derive(Debug, Default)]
pub struct Contents {
    /// The entries of all generations.
    pub entries: Entries,
    /// The boot id of the machine when it was last written.
    pub(super) boot_id: Option<String>,
    /// Time of the last file scan in nanoseconds since the Unix epoch; 0 if unknown.
    pub(super) last_scan_ns: i64,
    /// Invalid ranges, in order.
    pub bad: Vec<InvalidRange>,
    /// Whether the first record is not the present version.
    pub(super) lacks_header: bool,
}

impl Contents {
    /// Fails if any record was modified.
    ///
    /// # Errors
    /// [`JournalError::Damaged`].
    pub(super) fn check(&self, path: &Path) -> Result<(), JournalError> {
        match self.bad.iter().find(|bad| bad.fault == Fault::Damage) {
            None => Ok(()),
            Some(InvalidRange { offset, bytes, .. }) => {
                Err(JournalError::Damaged { path: path.to_owned(), offset: *offset, bytes: *bytes })
            }
        }
    }
}

/// Reads the journal in `dir` without changing it. A missing one is empty.
///
/// # Errors
/// [`JournalError`]. Invalid ranges are not errors.
pub fn read<D: Disk>(disk: &D, dir: &Path) -> Result<Contents, JournalError> {
    let path = dir.join(NAME);
    let failed = |error| JournalError::Io { path: path.clone(), error };
    let file = match disk.open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Contents::default()),
        opened => opened.map_err(failed)?,
    };
    replay(&read_whole(&file).map_err(failed)?, &path)
}

/// Like [`read`], but rejects a damaged journal.
///
/// # Errors
/// [`JournalError`]. A torn end or a hole is not an error.
pub fn entries<D: Disk>(disk: &D, dir: &Path) -> Result<Entries, JournalError> {
    let found = read(disk, dir)?;
    found.check(&dir.join(NAME))?;
    Ok(found.entries)
}

/// Applies all records of `bytes`.
pub(super) fn replay(bytes: &[u8], path: &Path) -> Result<Contents, JournalError> {
    let mut found = Contents::default();
    let (mut at, mut bad_from) = (0, None);
    while at < bytes.len() {
        let end = memchr::memchr(b'\n', &bytes[at..]).map(|length| at + length);
        match end.and_then(|end| Record::decode(&bytes[at..end])) {
            Some(Record::Journal { version }) if version > VERSION => {
                return Err(JournalError::Newer { path: path.to_owned(), found: version });
            }
            Some(record) => {
                // The version of an older journal is updated before a record that older programs can't read is written.
                found.lacks_header |= at == 0 && !matches!(record, Record::Journal { version: VERSION });
                if let Some(from) = bad_from.take() {
                    let fault = if bytes[from..at].contains(&0) { Fault::Hole } else { Fault::Damage };
                    found.bad.push(bad(from, at, fault));
                }
                match &record {
                    Record::Looked { unix_ns } => found.last_scan_ns = *unix_ns,
                    Record::Boot { id } => found.boot_id = Some(id.clone()),
                    _ => {}
                }
                apply(record, &mut found.entries);
            }
            None => {
                found.lacks_header |= at == 0;
                bad_from.get_or_insert(at);
            }
        }
        at = end.map_or(bytes.len(), |end| end + 1);
    }
    if let Some(from) = bad_from {
        found.bad.push(bad(from, bytes.len(), Fault::TornEnd));
    }
    Ok(found)
}

fn bad(from: usize, to: usize, fault: Fault) -> InvalidRange {
    InvalidRange { offset: from as u64, bytes: (to - from) as u64, fault }
}
