//! Lines out of bytes that lie in a file: the same for spool segments and for files that others write.
//!
//! A reader stands at the beginning of a line and keeps no bytes of it between two calls, so that a thousand readers
//! cost no more memory than one; what was read of a line whose end is not there yet is read again. A line longer than
//! the limit is given with its first bytes and the count of those cut; finding its end takes many calls, each of which
//! looks at no more than [`SCAN_BYTES`].
//!
//! NUL bytes at a line's beginning are no part of its text: they are the hole that a writer leaves which goes on at its old
//! offset after its file was truncated. Such a line is given without them, however many they are; its offset and length
//! are those in the file.

pub(crate) mod utf16;

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::disk::DiskFile;
use crate::document::LineView;
use crate::record::{Change, ChangeSet};

/// Bytes of one read.
pub const CHUNK_BYTES: usize = 256 * 1024;

/// Bytes that one call looks at for the end of a line that is longer than the limit.
pub const SCAN_BYTES: u64 = 16 * 1024 * 1024;

/// What a call gave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Chunk {
    /// Offset of the first line given.
    pub start: u64,
    /// Offset after the last line given.
    pub end: u64,
    /// How many lines.
    pub lines: u64,
    /// There is more to be had right away.
    pub more: bool,
}

/// A place in a file.
#[derive(Debug)]
pub struct Reader<F> {
    file: Arc<F>,
    /// The beginning of the next line.
    offset: u64,
    /// No newline stands between `offset` and here; only ever ahead of it in a line longer than the limit.
    scanned: u64,
    /// Nothing but NULs stands between `offset` and here, as far as `scanned` goes.
    text: u64,
    line_max_bytes: usize,
}

impl<F: DiskFile> Reader<F> {
    /// A reader at `offset`, which must be the beginning of a line.
    pub fn new(file: Arc<F>, offset: u64, line_max_bytes: usize) -> Self {
        Self { file, offset, scanned: offset, text: offset, line_max_bytes }
    }

    /// The beginning of the next line.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Goes back to `offset`, which must be the beginning of a line.
    pub fn rewind(&mut self, offset: u64) {
        (self.offset, self.scanned, self.text) = (offset, offset, offset);
    }

    /// Goes on in another file, which is the same up to here.
    pub fn move_to(&mut self, file: Arc<F>) {
        *self = Self::new(file, self.offset, self.line_max_bytes);
    }

    /// The file that it reads.
    #[must_use]
    pub fn file(&self) -> &Arc<F> {
        &self.file
    }

    /// Gives lines that end before `end` to `take`, until it breaks (after a line that it took) or a chunk is done.
    /// With `ended`, what stands before `end` without a newline is a line too. `buffer` is scratch space.
    ///
    /// # Errors
    /// As the file system says; the reader stays where it is.
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
            // Not one newline in a whole chunk.
            self.scanned = start + got as u64;
            self.text = start + nuls(&buffer[..got]) as u64;
            return self.read_long(buffer, end, ended, take);
        }
        Ok(chunk)
    }

    /// Goes on looking for the end of a line that is longer than a chunk.
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
                self.text += nuls(&buffer[..got]) as u64;
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

    /// Reads up to `wanted` bytes from `start` on that stand before `end`.
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
            text = &line[nuls(line)..];
            changes.insert(Change::LeadingNuls);
        }
        let kept = text.len().min(self.line_max_bytes);
        let cut_bytes = (text.len() - kept) as u64;
        LineView { offset: self.offset, length, bytes: &text[..kept], cut_bytes, written: None, changes }
    }
}

/// How many NULs `bytes` begins with.
fn nuls(bytes: &[u8]) -> usize {
    const BLOCK: usize = 64;
    // All bytes of a block at once, which compilers turn into vector instructions.
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

    /// Every line of `bytes`, read while the file's visible end grows by `steps`.
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
    fn long_lines_are_cut_and_their_neighbours_are_not() {
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

    /// A hole is no part of the line after it, however long it is and however the file grows.
    #[test]
    fn holes_are_left_out() {
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
