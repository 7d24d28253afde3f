//! The identity of a file as the journal keeps it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The file of a generation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileIdentity {
    /// Its path when last seen. One that is not UTF-8 is written as a list of bytes.
    #[serde(with = "crate::disk::path")]
    pub path: PathBuf,
    /// Its device.
    pub device: u64,
    /// Its inode.
    pub inode: u64,
    /// Its creation time in nanoseconds since the Unix epoch, if the file system knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub born_ns: Option<i64>,
    /// Creation time of the original file, if the generation continues in a rotated copy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub life_born_ns: Option<i64>,
    /// Start of the generation in the file. Bytes before it belong to another generation, or are skipped by the
    /// settings.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub start: u64,
    /// Number of bytes at the start of the file that the fingerprint covers.
    pub fingerprint_len: u64,
    /// CRC-32 of those bytes.
    pub fingerprint: u32,
    /// Set for a compressed file. All other fields except device, inode and creation time then describe its content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packed: Option<Packed>,
}

/// A compressed file when it was decoded completely. Its content is not measured again as long as this is unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packed {
    /// Its size on disk.
    pub disk_len: u64,
    /// Its modification time in nanoseconds since the Unix epoch.
    pub written_ns: i64,
    /// Length of its content.
    pub len: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}
