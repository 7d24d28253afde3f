//! Splits the bytes of a spool segment or a file into lines.
//!
//! A reader is positioned at the start of a line and keeps no bytes between two calls, so that a thousand readers need
//! no more memory than one. An incomplete line is read again later. A line longer than the limit is truncated, with the
//! number of bytes cut. Finding its end may take many calls, each of which reads [`SCAN_BYTES`] at most.
//!
//! NUL bytes at the start of a line are not part of its text. They are the hole left by a writer that continues at its
//! old offset after its file was truncated. The line is passed without them, however many there are; its offset and
//! length are those in the file.

pub(crate) mod utf16;

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

use store::Timestamp;

use crate::disk::DiskFile;
use crate::record::{Change, ChangeSet};

/// Size of one read.
pub const CHUNK_BYTES: usize = 256 * 1024;

/// Maximum number of bytes that one call scans for the end of a line longer than the limit.
pub const SCAN_BYTES: u64 = 16 * 1024 * 1024;

/// A line as it was read.
#[derive(Clone, Copy, Debug)]
pub struct LineView<'a> {
    /// Offset of its first byte in its generation.
    pub offset: u64,
    /// Its length there in bytes, including its newline.
    pub length: u64,
    /// Its bytes without the newline, truncated at the limit.
    pub bytes: &'a [u8],
    /// Number of bytes cut.
    pub cut_bytes: u64,
    /// When it was written, if its entry contains a time. It then counts as the time of arrival.
    pub written: Option<Timestamp>,
    /// Changes made while reading.
    pub changes: ChangeSet,
}

/// The result of a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Chunk {
    /// Offset of the first line.
    pub start: u64,
    /// Offset after the last line.
    pub end: u64,
    /// Number of lines.
    pub lines: u64,
    /// Whether more lines may be available now.
    pub more: bool,
}

/// Reads lines from a file.
#[derive(Debug)]
pub struct Reader<F> {
    file: Arc<F>,
    /// Offset of the next line.
    offset: u64,
    /// There is no newline between `offset` and here. It is ahead of `offset` only within a line longer than the limit.
    scanned: u64,
    /// There are only NULs between `offset` and here, as far as `scanned`.
    text: u64,
    line_max_bytes: usize,
}

impl<F: DiskFile> Reader<F> {
    /// Creates a reader at `offset`, which must be the start of a line.
    pub fn new(file: Arc<F>, offset: u64, line_max_bytes: usize) -> Self {
        Self { file, offset, scanned: offset, text: offset, line_max_bytes }
    }

    /// Offset of the next line.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Moves back to `offset`, which must be the start of a line.
    pub fn rewind(&mut self, offset: u64) {
        (self.offset, self.scanned, self.text) = (offset, offset, offset);
    }

    /// Continues in another file with the same content up to here.
    pub fn move_to(&mut self, file: Arc<F>) {
        *self = Self::new(file, self.offset, self.line_max_bytes);
    }

    /// The file being read.
    #[must_use]
    pub fn file(&self) -> &Arc<F> {
        &self.file
    }

    /// Passes lines that end before `end` to `take`, until it breaks (after accepting a line) or a chunk has been read.
    /// With `ended`, text before `end` without a newline is a line too. `buffer` is scratch space.
    ///
    /// # Errors
    /// File system errors. The position is unchanged then.
    pub fn read(
        &mut self,
        buffer: &mut Vec<u8>,
        end: u64,
        ended: bool,
        mut take: impl FnMut(LineView<'_>) -> ControlFlow<()>,
    ) -> io::Result<Chunk> {
        let start = self.offset;
        let mut chunk = Chunk { start, end: start, ..Chunk::default() };
        if self.offset >= end {
            return Ok(chunk);
        }
        if self.scanned > self.offset {
            return self.read_long(buffer, end, ended, take);
        }
        let got = self.fill(buffer, start, CHUNK_BYTES, end)?;
        let reached_end = start + got as u64 >= end;
        let mut at = 0;
        while let Some(length) = memchr::memchr(b'\n', &buffer[at..got]) {
            let broke = take(self.view(&buffer[at..at + length], length as u64 + 1));
            at += length + 1;
            self.offset += length as u64 + 1;
            chunk.lines += 1;
            if broke.is_break() {
                break;
            }
        }
        if at < got && reached_end && ended && memchr::memchr(b'\n', &buffer[at..got]).is_none() {
            let _ = take(self.view(&buffer[at..got], (got - at) as u64));
            self.offset = end;
            chunk.lines += 1;
        }
        (self.scanned, self.text) = (self.offset, self.offset);
        chunk.end = self.offset;
        chunk.more = self.offset < end && (!reached_end || chunk.lines > 0 && at < got);
        if chunk.lines == 0 && !reached_end {
            // No newline in a whole chunk.
            self.scanned = start + got as u64;
            self.text = start + leading_nuls(&buffer[..got]) as u64;
            return self.read_long(buffer, end, ended, take);
        }
        Ok(chunk)
    }

    /// Continues to search for the end of a line longer than a chunk.
    fn read_long(
        &mut self,
        buffer: &mut Vec<u8>,
        end: u64,
        ended: bool,
        mut take: impl FnMut(LineView<'_>) -> ControlFlow<()>,
    ) -> io::Result<Chunk> {
        let start = self.offset;
        let mut chunk = Chunk { start, end: start, ..Chunk::default() };
        let stop = end.min(self.scanned + SCAN_BYTES);
        let mut newline = None;
        buffer.resize(CHUNK_BYTES, 0);
        while self.scanned < stop && newline.is_none() {
            let wanted = usize::try_from(stop - self.scanned).unwrap_or(usize::MAX).min(CHUNK_BYTES);
            let got = self.file.read_at(&mut buffer[..wanted], self.scanned)?;
            if got == 0 {
                return Ok(chunk);
            }
            if self.text == self.scanned {
                self.text += leading_nuls(&buffer[..got]) as u64;
            }
            newline = memchr::memchr(b'\n', &buffer[..got]).map(|at| self.scanned + at as u64);
            self.scanned = newline.unwrap_or(self.scanned + got as u64);
        }
        let next = match newline {
            Some(newline) => newline + 1,
            None if self.scanned >= end && ended => end,
            None => {
                chunk.more = self.scanned < end;
                return Ok(chunk);
            }
        };
        let (text, text_end) = (self.text, newline.unwrap_or(end));
        let kept = usize::try_from(text_end - text).unwrap_or(usize::MAX).min(self.line_max_bytes);
        let got = self.fill(buffer, text, kept, text_end)?;
        if got < kept {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let cut_bytes = text_end - text - kept as u64;
        let mut changes = ChangeSet::default();
        if text > start {
            changes.insert(Change::LeadingNuls);
        }
        let bytes = &buffer[..kept];
        let _ = take(LineView { offset: start, length: next - start, bytes, cut_bytes, written: None, changes });
        self.rewind(next);
        Ok(Chunk { start, end: next, lines: 1, more: next < end })
    }

    /// Reads up to `wanted` bytes from `start`, but not beyond `end`.
    fn fill(&self, buffer: &mut Vec<u8>, start: u64, wanted: usize, end: u64) -> io::Result<usize> {
        let wanted = usize::try_from(end - start).unwrap_or(usize::MAX).min(wanted);
        if buffer.len() < wanted {
            buffer.resize(wanted, 0);
        }
        self.file.read_at(&mut buffer[..wanted], start)
    }

    #[inline(always)]
    fn view<'a>(&self, line: &'a [u8], length: u64) -> LineView<'a> {
        let (mut text, mut changes) = (line, ChangeSet::default());
        if line.first() == Some(&0) {
            text = &line[leading_nuls(line)..];
            changes.insert(Change::LeadingNuls);
        }
        let kept = text.len().min(self.line_max_bytes);
        let cut_bytes = (text.len() - kept) as u64;
        LineView { offset: self.offset, length, bytes: &text[..kept], cut_bytes, written: None, changes }
    }
}

/// The number of NULs at the start of `bytes`.
fn leading_nuls(bytes: &[u8]) -> usize {
    const BLOCK: usize = 64;
    // Compilers vectorize a comparison of whole blocks.
    let blocks =
        bytes.chunks_exact(BLOCK).take_while(|block| block.iter().fold(0, |any, byte| any | byte) == 0).count();
    let start = blocks * BLOCK;
    start + bytes[start..].iter().take_while(|byte| **byte == 0).count()
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use proptest::prelude::*;

    use super::*;

    /// Reads every line of `bytes`, while the visible end of the file grows by `steps`.
    fn read_all(bytes: &[u8], steps: &[usize], line_max_bytes: usize) -> Vec<(u64, u64, Vec<u8>, u64)> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        let mut reader = Reader::new(Arc::new(file), 0, line_max_bytes);
        let (mut lines, mut buffer, mut end) = (Vec::new(), Vec::new(), 0);
        for step in steps.iter().copied().chain([bytes.len()]) {
            end = (end + step).min(bytes.len());
            let ended = end == bytes.len();
            loop {
                let take = |line: LineView<'_>| {
                    lines.push((line.offset, line.length, line.bytes.to_vec(), line.cut_bytes));
                    if lines.len() % 3 == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                };
                if !reader.read(&mut buffer, end as u64, ended, take).unwrap().more {
                    break;
                }
            }
        }
        assert_eq!(reader.offset(), bytes.len() as u64);
        lines
    }

    fn expected(bytes: &[u8], line_max_bytes: usize) -> Vec<(u64, u64, Vec<u8>, u64)> {
        let mut offset = 0;
        let split = bytes.split_inclusive(|byte| *byte == b'\n');
        split
            .map(|line| {
                let text = line.strip_suffix(b"\n").unwrap_or(line);
                let text = &text[text.iter().position(|byte| *byte != 0).unwrap_or(text.len())..];
                let kept = text.len().min(line_max_bytes);
                let start = offset;
                offset += line.len() as u64;
                (start, line.len() as u64, text[..kept].to_vec(), (text.len() - kept) as u64)
            })
            .collect()
    }

    #[test]
    fn only_long_lines_are_truncated() {
        let mut bytes = b"before\n".to_vec();
        bytes.extend(std::iter::repeat_n(b'x', 3 * CHUNK_BYTES + 17));
        bytes.extend_from_slice(b"\nafter\nopen");
        for limit in [10, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES] {
            assert_eq!(
                read_all(&bytes, &[100, CHUNK_BYTES, 2 * CHUNK_BYTES], limit),
                expected(&bytes, limit),
                "{limit}"
            );
        }
    }

    /// A hole is not part of the line after it, however long it is and however the file grows.
    #[test]
    fn holes_are_skipped() {
        for hole in [1, 63, 64, 65, 1_000, CHUNK_BYTES - 7, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES] {
            for text in [&b"payment failed"[..], b"", &[b'x'; 2_000], b"a\0\0b"] {
                let bytes = [b"before\n", &vec![0; hole][..], text, b"\n\0\nafter\n\0\0open"].concat();
                for steps in [&[][..], &[100, CHUNK_BYTES, CHUNK_BYTES], &[7 + hole], &[hole]] {
                    let lines = read_all(&bytes, steps, 1_000);
                    assert_eq!(lines, expected(&bytes, 1_000), "{hole} before {}", text.len());
                    assert_eq!(lines[1].2, text[..text.len().min(1_000)]);
                }
            }
        }
    }

    proptest! {
        #[test]
        fn however_a_file_grows_its_lines_are_the_same(
            lines in proptest::collection::vec(proptest::collection::vec(prop_oneof![3 => any::<u8>(), 1 => Just(0)], 0..30), 0..20),
            steps in proptest::collection::vec(0_usize..50, 0..20),
            limit in 1_usize..40,
        ) {
            let bytes = lines.join(&b'\n');
            prop_assert_eq!(read_all(&bytes, &steps, limit), expected(&bytes, limit));
        }
    }
}
