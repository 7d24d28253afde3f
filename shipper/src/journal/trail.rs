//! Fingerprints of what was read of a file, to recognise the file or a copy of it later.

use std::io;

use serde::{Deserialize, Serialize};

use crate::disk::DiskFile;

/// Maximum number of bytes covered by a fingerprint.
pub const TAIL_BYTES: u64 = 256;

/// Maximum number of fingerprints of a generation.
pub const TRAIL_MAX: usize = 16;

/// A fingerprint of the bytes before an offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tail {
    /// Offset after the last byte.
    pub end: u64,
    /// Number of bytes covered: [`TAIL_BYTES`], or all if there are fewer.
    pub len: u64,
    /// CRC-32 of those bytes.
    pub crc: u32,
}

impl Tail {
    /// The fingerprint of the bytes of a file before `end`; `None` if the file is shorter.
    ///
    /// # Errors
    /// File system errors.
    pub fn read(file: &impl DiskFile, end: u64) -> io::Result<Option<Self>> {
        let mut bytes = [0; TAIL_BYTES as usize];
        let len = end.min(TAIL_BYTES);
        let wanted = usize::try_from(len).unwrap_or(0);
        let got = file.read_at(&mut bytes[..wanted], end - len)?;
        Ok((got == wanted).then(|| Self { end, len, crc: crc32fast::hash(&bytes[..got]) }))
    }

    /// Whether a file has these bytes at this offset.
    ///
    /// # Errors
    /// File system errors, in which case the answer is unknown.
    pub fn matches(&self, file: &impl DiskFile) -> io::Result<bool> {
        Ok(Self::read(file, self.end)?.is_some_and(|tail| tail == *self))
    }
}

/// Fingerprints at increasing offsets, dense near the end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trail(Vec<Tail>);

impl Trail {
    /// Inserts a fingerprint. Beyond [`TRAIL_MAX`], the one closest to its neighbours, relative to its distance from
    /// the end, is removed.
    pub fn push(&mut self, tail: Tail) {
        self.0.retain(|known| known.end != tail.end);
        self.0.insert(self.0.partition_point(|known| known.end < tail.end), tail);
        if self.0.len() > TRAIL_MAX {
            let last = self.0.last().map_or(0, |last| last.end);
            let gap = |index: &usize| self.0[index + 1].end - self.0[index - 1].end;
            let closeness = |index: &usize| u128::from(gap(index)) * 1_000 / u128::from(last - self.0[*index].end);
            if let Some(index) = (1..self.0.len() - 1).min_by_key(closeness) {
                self.0.remove(index);
            }
        }
    }

    /// Adds a fingerprint, if it covers any bytes.
    pub fn extend(&mut self, tail: Option<Tail>) {
        tail.filter(|tail| tail.len > 0).into_iter().for_each(|tail| self.push(tail));
    }

    /// Removes the fingerprints that end after `offset`.
    pub fn shorten(&mut self, offset: u64) {
        self.0.retain(|tail| tail.end <= offset);
    }

    /// As [`Trail::shorten`], of a copy.
    #[must_use]
    pub fn shortened(&self, offset: u64) -> Self {
        let mut shortened = self.clone();
        shortened.shorten(offset);
        shortened
    }

    /// The first fingerprint.
    #[must_use]
    pub fn first(&self) -> Option<&Tail> {
        self.0.first()
    }

    /// The last fingerprint that ends at or before `offset`.
    #[must_use]
    pub fn before(&self, offset: u64) -> Option<&Tail> {
        self.0.iter().rfind(|tail| tail.end <= offset)
    }

    /// The last fingerprint that matches a file of `len` bytes.
    ///
    /// # Errors
    /// File system errors.
    pub fn held_by(&self, file: &impl DiskFile, len: u64) -> io::Result<Option<&Tail>> {
        for tail in self.0.iter().rev().filter(|tail| tail.end <= len) {
            if tail.matches(file)? {
                return Ok(Some(tail));
            }
        }
        Ok(None)
    }

    /// The last fingerprint.
    #[must_use]
    pub fn last(&self) -> Option<&Tail> {
        self.0.last()
    }

    /// All fingerprints, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Tail> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trail_is_limited_and_dense_near_its_end() {
        let mut trail = Trail::default();
        for end in 1..=1_000 {
            trail.push(Tail { end, len: 1, crc: 0 });
        }
        let ends: Vec<_> = trail.iter().map(|tail| tail.end).collect();
        assert!(ends.len() <= TRAIL_MAX && ends.is_sorted());
        assert_eq!(ends[ends.len() - 4..], [997, 998, 999, 1_000]);
        assert!(ends[0] < 800, "{ends:?}");
        assert_eq!(trail.before(998).map(|tail| tail.end), Some(998));
    }

    #[test]
    fn a_tail_detects_a_rewritten_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "one\ntwo\n").unwrap();
        let open = std::fs::File::open(file.path()).unwrap();
        let tail = Tail::read(&open, 8).unwrap().unwrap();
        assert!(tail.matches(&open).unwrap());
        let mut trail = Trail::default();
        for end in [4, 8] {
            trail.extend(Tail::read(&open, end).unwrap());
        }
        let held = |open, len| trail.held_by(open, len).unwrap().map(|tail| tail.end);
        assert_eq!([3, 7, 8].map(|len| held(&open, len)), [None, Some(4), Some(8)]);
        assert_eq!(Tail::read(&open, 9).unwrap(), None);
        std::fs::write(file.path(), "one\ntwO\nthree\n").unwrap();
        assert!(!tail.matches(&open).unwrap());
        assert_eq!(held(&open, 14), Some(4));
    }
}
