//! How far a possible copy of a file reaches, compared with what was read of the original.

use std::io;

use super::identity::FINGERPRINT_MIN_BYTES;
use crate::disk::DiskFile;
use crate::journal::{FileIdentity, Tail, Trail};

/// How far a copy reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Extent {
    /// It ends before the read offset of the original.
    Shorter,
    /// It ends at the read offset.
    Read,
    /// It continues after the read offset.
    Longer,
}

/// Offset up to which a file is compared with what was read of `cut`. It may be after `read_to`: generations with the
/// same start may differ later. A compressed file is not decoded further if the bytes before `read_to` are sufficient.
pub(super) fn compared_to(cut: &FileIdentity, file: &impl DiskFile, len: u64, read_to: u64) -> u64 {
    if file.is_read_forward() && read_to > cut.fingerprint_len { read_to.min(len) } else { len }
}

/// How far a copy of `cut`, which was read up to `read_to`, reaches; `None` if the file is not a copy.
///
/// # Errors
/// File system errors, in which case it is unknown.
pub(super) fn extent(
    cut: &FileIdentity,
    file: &impl DiskFile,
    len: u64,
    read_to: u64,
    trail: &Trail,
) -> io::Result<Option<Extent>> {
    // The fingerprint covers what was seen, and a copy may lack the end of that.
    let is_telling = |tail: &Tail| len < cut.fingerprint_len && tail.len >= FINGERPRINT_MIN_BYTES;
    if cut.fingerprint_len == 0 || !trail.before(len).is_some_and(is_telling) && !cut.begins_alike(file)? {
        return Ok(None);
    }
    for end in [read_to.min(len), compared_to(cut, file, len, read_to)] {
        if let Some(tail) = trail.before(end)
            && !tail.matches(file)?
        {
            return Ok(None);
        }
    }
    Ok(Some(match len.cmp(&read_to) {
        std::cmp::Ordering::Less => Extent::Shorter,
        std::cmp::Ordering::Equal => Extent::Read,
        std::cmp::Ordering::Greater => Extent::Longer,
    }))
}
