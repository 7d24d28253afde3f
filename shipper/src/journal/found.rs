//! A journal read without changing it: what its records add up to, and which of its bytes are none.
//!
//! A record tells something that is true by itself, so those behind bytes that are none are taken all the same. Which
//! bytes may be none without anything being lost follows from how a file ends up: what was not synced may be there in part,
//! and a power loss may have left zeros in it, and nothing relied on that. What else is no record was one.

use std::io;
use std::path::Path;

use super::entry::{Entries, apply};
use super::record::{Record, VERSION};
use super::{JournalError, NAME, read_whole};
use crate::disk::Disk;

/// Why bytes of a journal are no records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Harm {
    /// They are its end, which was not written whole.
    TornEnd,
    /// There are zeros among them, which a power loss left in what was not synced.
    Hole,
    /// They were records, and something has changed them: a bad disk, or a hand.
    Damage,
}

/// Bytes of a journal that are no records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bad {
    /// Where they begin.
    pub offset: u64,
    /// How many there are, with the last newline.
    pub bytes: u64,
    /// Why.
    pub harm: Harm,
}

/// A journal as it was found.
#[derive(Debug, Default)]
pub struct Found {
    /// What it knows of each generation.
    pub entries: Entries,
    /// What named the run of the machine in which it was last written.
    pub(super) boot_id: Option<String>,
    /// When files were last looked at, in nanoseconds since the Unix epoch; 0 if that is not known.
    pub(super) looked_ns: i64,
    /// What of it is no record, in its order.
    pub bad: Vec<Bad>,
    /// It does not begin with the version that this program writes.
    pub(super) lacks_head: bool,
}

impl Found {
    /// What was changed since it was written, if anything was.
    ///
    /// # Errors
    /// [`JournalError::Damaged`].
    pub(super) fn check(&self, path: &Path) -> Result<(), JournalError> {
        match self.bad.iter().find(|bad| bad.harm == Harm::Damage) {
            None => Ok(()),
            Some(Bad { offset, bytes, .. }) => {
                Err(JournalError::Damaged { path: path.to_owned(), offset: *offset, bytes: *bytes })
            }
        }
    }
}

/// Reads the journal in `dir` and changes nothing; one that is not there knows nothing.
///
/// # Errors
/// [`JournalError`]; what is no record is no error.
pub fn read<D: Disk>(disk: &D, dir: &Path) -> Result<Found, JournalError> {
    let path = dir.join(NAME);
    let failed = |error| JournalError::Io { path: path.clone(), error };
    let file = match disk.open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::default()),
        opened => opened.map_err(failed)?,
    };
    replay(&read_whole(&file).map_err(failed)?, &path)
}

/// As [`read`], for whoever relies on what it knows.
///
/// # Errors
/// [`JournalError`]; a torn end, or a hole, is no error.
pub fn entries<D: Disk>(disk: &D, dir: &Path) -> Result<Entries, JournalError> {
    let found = read(disk, dir)?;
    found.check(&dir.join(NAME))?;
    Ok(found.entries)
}

/// What the records of `bytes` add up to.
pub(super) fn replay(bytes: &[u8], path: &Path) -> Result<Found, JournalError> {
    let mut found = Found::default();
    let (mut at, mut bad_from) = (0, None);
    while at < bytes.len() {
        let end = memchr::memchr(b'\n', &bytes[at..]).map(|length| at + length);
        match end.and_then(|end| Record::decode(&bytes[at..end])) {
            Some(Record::Journal { version }) if version > VERSION => {
                return Err(JournalError::Newer { path: path.to_owned(), found: version });
            }
            Some(record) => {
                // An older one is written again with its new version, before a record that older programs can't read.
                found.lacks_head |= at == 0 && !matches!(record, Record::Journal { version: VERSION });
                if let Some(from) = bad_from.take() {
                    let harm = if bytes[from..at].contains(&0) { Harm::Hole } else { Harm::Damage };
                    found.bad.push(bad(from, at, harm));
                }
                match &record {
                    Record::Looked { unix_ns } => found.looked_ns = *unix_ns,
                    Record::Boot { id } => found.boot_id = Some(id.clone()),
                    _ => {}
                }
                apply(record, &mut found.entries);
            }
            None => {
                found.lacks_head |= at == 0;
                bad_from.get_or_insert(at);
            }
        }
        at = end.map_or(bytes.len(), |end| end + 1);
    }
    if let Some(from) = bad_from {
        found.bad.push(bad(from, bytes.len(), Harm::TornEnd));
    }
    Ok(found)
}

fn bad(from: usize, to: usize, harm: Harm) -> Bad {
    Bad { offset: from as u64, bytes: (to - from) as u64, harm }
}
