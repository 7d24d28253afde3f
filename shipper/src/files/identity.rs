//! Identifies files and their generations by device, inode, creation time and a fingerprint of the first bytes.
//! Fingerprints of later bytes are in the [trail](crate::journal::Trail).

use std::io;
use std::path::Path;

use crate::disk::{DiskFile, Stat};
use crate::journal::{FileIdentity, Packed, Trail};

/// Number of bytes at the start of a file that are used for identification.
pub const FINGERPRINT_BYTES: u64 = 1024;

/// A shorter fingerprint is not sufficient.
pub(super) const FINGERPRINT_MIN_BYTES: u64 = 16;

/// Device and inode, unique at any time.
pub(super) type Inode = (u64, u64);

impl Stat {
    /// Device and inode.
    pub(super) fn key(&self) -> Inode {
        (self.device, self.inode)
    }

    /// Whether the file seems unchanged.
    pub(super) fn is_unchanged(&self, since: &Self) -> bool {
        let seen = |stat: &Self| (stat.disk_len(), stat.written_ns, stat.changed_ns);
        seen(self) == seen(since)
    }

    /// Whether it is the same file with unchanged content, under any name.
    pub(super) fn has_same_content(&self, since: &Self) -> bool {
        let seen = |stat: &Self| (stat.key(), stat.born_ns, stat.disk_len(), stat.written_ns);
        seen(self) == seen(since)
    }

    /// The metadata of a compressed file that is read.
    fn packed(&self) -> Option<Packed> {
        self.packed_len.map(|disk_len| Packed { disk_len, written_ns: self.written_ns, len: self.len })
    }
}

impl FileIdentity {
    /// The identity of a file opened at a path.
    ///
    /// # Errors
    /// File system errors.
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

    /// The same generation in another file.
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

    /// Creation time of the file in which the generation started.
    pub(super) fn life_born_ns(&self) -> Option<i64> {
        self.life_born_ns.or(self.born_ns)
    }

    /// The metadata of a compressed file with the length of its content, if it was not modified since it was decoded.
    pub(super) fn as_unpacked(&self, stat: &Stat) -> Option<Stat> {
        let packed = self.packed.filter(|it| (it.disk_len, it.written_ns) == (stat.disk_len(), stat.written_ns))?;
        Some(stat.unpacked(packed.len))
    }

    /// The same generation, updated from its file at `path`.
    ///
    /// # Errors
    /// File system errors.
    pub(super) fn refreshed(&self, file: &impl DiskFile, path: &Path, stat: &Stat) -> io::Result<Self> {
        Ok(Self { start: self.start, life_born_ns: self.life_born_ns, ..Self::of(file, path, stat)? })
    }

    /// Device and inode.
    pub(super) fn key(&self) -> Inode {
        (self.device, self.inode)
    }

    /// Whether a file of this length has more bytes to fingerprint.
    pub(super) fn can_grow(&self, len: u64) -> bool {
        self.fingerprint_len < FINGERPRINT_BYTES.min(len)
    }

    /// Whether it is the same file, in any generation. An inode may be reused; the creation time shows that.
    pub(super) fn is_same(&self, stat: &Stat) -> bool {
        self.key() == stat.key() && self.born_ns.zip(stat.born_ns).is_none_or(|(then, now)| then == now)
    }

    /// Like [`FileIdentity::is_same`], if a reboot may have changed the device number: then only the creation time
    /// identifies the file.
    pub(super) fn is_same_after_restart(&self, stat: &Stat) -> bool {
        self.is_same(stat) || self.inode == stat.inode && self.born_ns.is_some() && self.born_ns == stat.born_ns
    }

    /// Whether a file's first bytes match the fingerprint.
    ///
    /// # Errors
    /// File system errors, in which case it is unknown.
    pub(super) fn begins_alike(&self, file: &impl DiskFile) -> io::Result<bool> {
        let mut beginning = [0; FINGERPRINT_BYTES as usize];
        let wanted = usize::try_from(self.fingerprint_len).unwrap_or(0).min(beginning.len());
        let got = file.read_at(&mut beginning[..wanted], 0)?;
        Ok(got == wanted && crc32fast::hash(&beginning[..got]) == self.fingerprint)
    }

    /// Whether a file still has what was read of this generation, at least up to `read_to`, according to fingerprints.
    /// A file shorter than what was read was truncated, unless a power loss took its end (`may_be_shorter`): then the
    /// bytes before `read_to`, or some after it, are sufficient.
    ///
    /// # Errors
    /// File system errors.
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
        // Other fingerprints may be of an end that a power loss took, whether or not it was replaced.
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
