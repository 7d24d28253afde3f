//! What tells one file, and one life of it, from others: device, number, and a fingerprint of its first bytes.

use std::io;
use std::path::Path;

use crate::disk::{DiskFile, Stat};
use crate::journal::FileIdentity;

/// Bytes at the beginning of a file that tell it from others.
pub const FINGERPRINT_BYTES: u64 = 1024;

impl FileIdentity {
    /// The identity of a file that was opened by this name.
    ///
    /// # Errors
    /// As the file system says of the file.
    pub(super) fn of(file: &impl DiskFile, path: &Path, stat: &Stat) -> io::Result<Self> {
        let mut beginning = [0; FINGERPRINT_BYTES as usize];
        let got = file.read_at(&mut beginning, 0)?;
        Ok(Self {
            path: path.to_owned(),
            device: stat.device,
            inode: stat.inode,
            fingerprint_len: got as u64,
            fingerprint: crc32fast::hash(&beginning[..got]),
        })
    }

    /// Whether a file of this length has more beginning than the fingerprint covers.
    pub(super) fn can_grow(&self, len: u64) -> bool {
        self.fingerprint_len < FINGERPRINT_BYTES.min(len)
    }

    /// Whether it is the same file, whatever life of it.
    pub(super) fn is_same(&self, stat: &Stat) -> bool {
        (self.device, self.inode) == (stat.device, stat.inode)
    }

    /// Whether a file's first bytes are those that the fingerprint was made of.
    ///
    /// # Errors
    /// As the file system says of the file, which is then neither like it nor unlike it.
    pub(super) fn begins_alike(&self, file: &impl DiskFile) -> io::Result<bool> {
        let mut beginning = [0; FINGERPRINT_BYTES as usize];
        let wanted = usize::try_from(self.fingerprint_len).unwrap_or(0).min(beginning.len());
        let got = file.read_at(&mut beginning[..wanted], 0)?;
        Ok(got == wanted && crc32fast::hash(&beginning[..got]) == self.fingerprint)
    }
}
