//! File names of the dead letters, and what identifies a letter in them.

use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use store::LineId;

use super::DeadLetter;
use crate::disk::Disk;

/// An invalid line of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadLetter {
    /// The file.
    pub path: PathBuf,
    /// Its offset.
    pub offset: u64,
    /// Its length, including the newline.
    pub length: u64,
    /// Whether it is an incomplete last line: being written, or left by a process that ended.
    pub is_torn_end: bool,
}

/// The numbers of the files, in order.
pub(super) fn sequences<D: Disk>(disk: &D, dir: &Path) -> io::Result<Vec<u64>> {
    crate::ndjson::sequences(disk, dir, ".ndjson")
}

pub(super) fn path_of(dir: &Path, sequence: u64) -> PathBuf {
    dir.join(format!("{sequence:08}.ndjson"))
}

/// Whether a line is a complete letter. An incomplete one is not valid JSON.
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
