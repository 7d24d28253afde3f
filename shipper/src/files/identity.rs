//! What tells one file, and one life of it, from others: device, inode, birth time, and a fingerprint of its first bytes.
//! The fingerprints of what was read further on are the [trail](crate::journal::Trail)'s.

use std::io;
use std::path::Path;

use crate::disk::{DiskFile, Stat};
use crate::journal::{FileIdentity, Packed, Trail};

/// Bytes at the beginning of a file that tell it from others.
pub const FINGERPRINT_BYTES: u64 = 1024;

/// A shorter fingerprint is no proof by itself.
pub(super) const FINGERPRINT_MIN_BYTES: u64 = 16;

/// A number that no two files of a device have at the same time.
pub(super) type Inode = (u64, u64);

impl Stat {
    /// Device and inode.
    pub(super) fn key(&self) -> Inode {
        (self.device, self.inode)
    }

    /// Whether nothing seems to have been done to the file since.
    pub(super) fn is_unchanged(&self, since: &Self) -> bool {
        let seen = |stat: &Self| (stat.disk_len(), stat.written_ns, stat.changed_ns);
        seen(self) == seen(since)
    }

    /// Whether it is the same file and nothing was written to it since, whatever it is called now.
    pub(super) fn has_same_content(&self, since: &Self) -> bool {
        let seen = |stat: &Self| (stat.key(), stat.born_ns, stat.disk_len(), stat.written_ns);
        seen(self) == seen(since)
    }

    /// What a compressed file that is read is like.
    fn packed(&self) -> Option<Packed> {
        self.packed_len.map(|disk_len| Packed { disk_len, written_ns: self.written_ns, len: self.len })
    }
}

impl FileIdentity {
    /// The identity of a file that was opened by this name.
    ///
    /// # Errors
    /// As the file system says of the file.
    pub(super) fn of(file: &impl DiskFile, path: &Path, stat: &Stat) -> io::Result<Self> {
        let mut beginning = [0; FINGERPRINT_BYTES as usize];
        let got = file.read_at(&mut beginning, 0)?.min(usize::try_from(stat.len).unwrap_or(usize::MAX));
        Ok(Self {
            path: path.to_owned(),
            device: stat.device,
            inode: stat.inode,
            born_ns: stat.born_ns,
            life_born_ns: None,
            start: 0,
            fingerprint_len: got as u64,
            fingerprint: crc32fast::hash(&beginning[..got]),
            packed: stat.packed(),
        })
    }

    /// The same life in another file.
    pub(super) fn moved_to(&self, path: &Path, stat: &Stat) -> Self {
        Self {
            path: path.to_owned(),
            device: stat.device,
            inode: stat.inode,
            born_ns: stat.born_ns,
            life_born_ns: self.life_born_ns.or(self.born_ns.filter(|born_ns| Some(*born_ns) != stat.born_ns)),
            packed: stat.packed(),
            ..self.clone()
        }
    }

    /// Birth time of the file that the life began in.
    pub(super) fn life_born_ns(&self) -> Option<i64> {
        self.life_born_ns.or(self.born_ns)
    }

    /// What is known of a compressed file, as it is on the disk, with its content's length, if it was not written to since it
    /// was decoded.
    pub(super) fn as_unpacked(&self, stat: &Stat) -> Option<Stat> {
        let packed = self.packed.filter(|it| (it.disk_len, it.written_ns) == (stat.disk_len(), stat.written_ns))?;
        Some(stat.unpacked(packed.len))
    }

    /// The same life with what its file, found at `path`, shows of itself now.
    ///
    /// # Errors
    /// As the file system says of the file.
    pub(super) fn refreshed(&self, file: &impl DiskFile, path: &Path, stat: &Stat) -> io::Result<Self> {
        Ok(Self { start: self.start, life_born_ns: self.life_born_ns, ..Self::of(file, path, stat)? })
    }

    /// Device and inode.
    pub(super) fn key(&self) -> Inode {
        (self.device, self.inode)
    }

    /// Whether a file of this length has more beginning than the fingerprint covers.
    pub(super) fn can_grow(&self, len: u64) -> bool {
        self.fingerprint_len < FINGERPRINT_BYTES.min(len)
    }

    /// Whether it is the same file, whatever life of it. An inode is reused; its birth time tells.
    pub(super) fn is_same(&self, stat: &Stat) -> bool {
        self.key() == stat.key() && self.born_ns.zip(stat.born_ns).is_none_or(|(then, now)| then == now)
    }

    /// As [`FileIdentity::is_same`], where a restart may have given the device another number: then only a birth time
    /// shows that it is the same file.
    pub(super) fn is_same_after_restart(&self, stat: &Stat) -> bool {
        self.is_same(stat) || self.inode == stat.inode && self.born_ns.is_some() && self.born_ns == stat.born_ns
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

    /// Whether a file still holds what was read of this life, up to `read_to` at least, as far as fingerprints show. One
    /// that is shorter than what was read beyond was cut, unless a power loss took its end, which `may_be_shorter` says: then
    /// the bytes right before `read_to`, or some behind it, are enough.
    ///
    /// # Errors
    /// As the file system says of the file.
    pub(super) fn holds(
        &self,
        file: &impl DiskFile,
        len: u64,
        read_to: u64,
        trail: &Trail,
        may_be_shorter: bool,
    ) -> io::Result<bool> {
        let is_shorter = trail.last().is_some_and(|tail| tail.end > len);
        if len < read_to || is_shorter && !may_be_shorter {
            return Ok(false);
        }
        // What else was known may be of an end that a power loss took, whether or not others stand in its place.
        if may_be_shorter
            && let Some(tail) = trail.held_by(file, len)?
            && tail.end >= read_to
            && tail.len >= FINGERPRINT_MIN_BYTES
        {
            return Ok(true);
        }
        if !self.begins_alike(file)? {
            return Ok(false);
        }
        trail.before(len).map_or(Ok(true), |tail| tail.matches(file))
    }
}
