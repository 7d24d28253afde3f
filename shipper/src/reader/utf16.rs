//! Splits a UTF-16 file into lines.
//!
//! Offsets, lengths and the limit of a line refer to the bytes in the file. A newline is complete when both of its
//! bytes are there. The byte order mark is read whenever the file is opened, so that the byte order is known at any
//! offset.

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::{CHUNK_BYTES, Chunk, LineView, SCAN_BYTES};
use crate::disk::DiskFile;
use crate::record::{Change, ChangeSet};

/// Size of a code unit in bytes.
const UNIT: usize = 2;

/// The byte order of a code unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ByteOrder {
    Little,
    Big,
}

impl ByteOrder {
    fn unit(self, bytes: [u8; UNIT]) -> u16 {
        match self {
            Self::Little => u16::from_le_bytes(bytes),
            Self::Big => u16::from_be_bytes(bytes),
        }
    }

    /// Offset of the first newline in `bytes`, which start with a complete unit.
    fn newline(self, bytes: &[u8]) -> Option<usize> {
        let (units, _) = bytes.as_chunks::<UNIT>();
        units.iter().position(|unit| self.unit(*unit) == u16::from(b'\n')).map(|place| place * UNIT)
    }

    /// Offset after the last newline in `bytes`, which start with a complete unit.
    pub(crate) fn after_last_newline(self, bytes: &[u8]) -> Option<usize> {
        let (units, _) = bytes.as_chunks::<UNIT>();
        units.iter().rposition(|unit| self.unit(*unit) == u16::from(b'\n')).map(|place| (place + 1) * UNIT)
    }

    /// Whether the last unit of `bytes`, which are complete units, is the first half of a surrogate pair.
    fn ends_in_pair(self, bytes: &[u8]) -> bool {
        let (units, _) = bytes.as_chunks::<UNIT>();
        units.last().is_some_and(|unit| (0xd800..0xdc00).contains(&self.unit(*unit)))
    }

    /// The text of a line without its newline and leading NULs, and the changes made to it.
    fn decode(self, bytes: &[u8]) -> (String, ChangeSet) {
        let (units, half) = bytes.as_chunks::<UNIT>();
        let mut changes = ChangeSet::default();
        let mut text = String::with_capacity(bytes.len());
        for unit in char::decode_utf16(units.iter().map(|unit| self.unit(*unit))) {
            text.push(unit.unwrap_or_else(|_| {
                changes.insert(Change::LoneSurrogate);
                char::REPLACEMENT_CHARACTER
            }));
        }
        if !half.is_empty() {
            changes.insert(Change::UndecodableBytes);
            text.push(char::REPLACEMENT_CHARACTER);
        }
        (text, changes)
    }
}

/// Reads lines from a UTF-16 file. Like [`Reader`](super::Reader), it keeps no bytes between two calls.
#[derive(Debug)]
pub(crate) struct Utf16Reader<F> {
    file: Arc<F>,
    order: ByteOrder,
    /// Offset of the next line.
    offset: u64,
    /// There is no newline between `offset` and here.
    scanned: u64,
    /// There are only NULs between `offset` and here, as far as `scanned`.
    text: u64,
    /// Maximum length of a line, a whole number of units.
    line_max_bytes: usize,
}

impl<F: DiskFile> Utf16Reader<F> {
    /// Creates a reader at `offset`, which must be the start of a line.
    pub(crate) fn new(file: Arc<F>, order: ByteOrder, offset: u64, line_max_bytes: usize) -> Self {
        let line_max_bytes = line_max_bytes.max(UNIT) / UNIT * UNIT;
        Self { file, order, offset, scanned: offset, text: offset, line_max_bytes }
    }

    /// Offset of the next line.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// Continues in another file with the same content up to here.
    pub(crate) fn move_to(&mut self, file: Arc<F>) {
        (self.file, self.scanned, self.text) = (file, self.offset, self.offset);
    }

    /// The file being read.
    pub(crate) fn file(&self) -> &Arc<F> {
        &self.file
    }

    /// Passes lines to `take`; see [`Reader::read`](super::Reader::read).
    ///
    /// # Errors
    /// File system errors. The position is unchanged then.
    pub(crate) fn read(
        &mut self,
        buffer: &mut Vec<u8>,
        end: u64,
        ended: bool,
        mut take: impl FnMut(LineView<'_>) -> ControlFlow<()>,
    ) -> io::Result<Chunk> {
        let start = self.offset;
        let mut chunk = Chunk { start, end: start, ..Chunk::default() };
        let stop = end.min(self.scanned + SCAN_BYTES);
        let (mut is_broken, mut is_short) = (false, false);
        while chunk.lines == 0 && self.scanned < stop {
            let from = self.scanned;
            let got = self.fill(buffer, from, CHUNK_BYTES, stop)?;
            let mut at = 0;
            while !is_broken && let Some(length) = self.order.newline(&buffer[at..got]) {
                let text_end = from + (at + length) as u64;
                self.skip_nuls(from, &buffer[..at + length]);
                at += length + UNIT;
                is_broken = if self.offset >= from {
                    let place = usize::try_from(self.offset - from).unwrap_or(usize::MAX);
                    self.pass(&buffer[place..at - UNIT], text_end + UNIT as u64, 0, &mut take)
                } else {
                    self.pass_long(text_end, text_end + UNIT as u64, &mut take)?
                };
                chunk.lines += 1;
            }
            self.skip_nuls(from, &buffer[..got]);
            // An incomplete unit is read again.
            self.scanned = if is_broken { self.offset } else { from + (got / UNIT * UNIT) as u64 };
            // The file was truncated, or ends with half a unit.
            is_short = got < UNIT;
            if is_short {
                break;
            }
        }
        let is_all = self.scanned + (UNIT as u64) > end;
        if ended && is_all && !is_broken && self.offset < end {
            self.pass_long(end, end, &mut take)?;
            self.scanned = end;
            chunk.lines += 1;
        }
        chunk.end = self.offset;
        chunk.more = self.offset < end && (is_broken || !is_all && !is_short);
        Ok(chunk)
    }

    /// Skips leading NULs of a line, as far as `bytes`, read from `from` on, show them.
    fn skip_nuls(&mut self, from: u64, bytes: &[u8]) {
        self.text = self.text.max(self.offset);
        // There is text before `from`.
        let Some(known) = self.text.checked_sub(from) else { return };
        let rest = bytes.get(usize::try_from(known).unwrap_or(usize::MAX)..).unwrap_or_default();
        self.text += leading_nuls(rest) as u64;
    }

    /// Passes the line from `offset` to `text_end`, of which only the start is read.
    fn pass_long(
        &mut self,
        text_end: u64,
        next: u64,
        take: &mut impl FnMut(LineView<'_>) -> ControlFlow<()>,
    ) -> io::Result<bool> {
        let mut beginning = Vec::new();
        let start = self.text.clamp(self.offset, text_end);
        let got = self.fill(&mut beginning, start, self.line_max_bytes, text_end)?;
        if got < usize::try_from(text_end - start).unwrap_or(usize::MAX).min(self.line_max_bytes) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let cut_bytes = text_end - start - got as u64;
        Ok(self.pass(&beginning[..got], next, cut_bytes, take))
    }

    /// Passes a line; returns whether to break.
    fn pass(
        &mut self,
        bytes: &[u8],
        next: u64,
        cut_bytes: u64,
        take: &mut impl FnMut(LineView<'_>) -> ControlFlow<()>,
    ) -> bool {
        let is_hole = self.text > self.offset;
        let bytes = &bytes[leading_nuls(bytes)..];
        let mut kept = bytes.len().min(self.line_max_bytes);
        if (cut_bytes > 0 || kept < bytes.len()) && self.order.ends_in_pair(&bytes[..kept]) {
            kept -= UNIT;
        }
        let (text, mut changes) = self.order.decode(&bytes[..kept]);
        if is_hole {
            changes.insert(Change::LeadingNuls);
        }
        let cut_bytes = cut_bytes + (bytes.len() - kept) as u64;
        let length = next - self.offset;
        let view = LineView { offset: self.offset, length, bytes: text.as_bytes(), cut_bytes, written: None, changes };
        let flow = take(view);
        self.offset = next;
        flow.is_break()
    }

    /// Reads up to `wanted` bytes from `start`, but not beyond `end`.
    fn fill(&self, buffer: &mut Vec<u8>, start: u64, wanted: usize, end: u64) -> io::Result<usize> {
        let wanted = usize::try_from(end - start).unwrap_or(usize::MAX).min(wanted);
        if buffer.len() < wanted {
            buffer.resize(wanted, 0);
        }
        self.file.read_at(&mut buffer[..wanted], start)
    }
}

/// The length of the NULs at the start of `bytes`.
fn leading_nuls(bytes: &[u8]) -> usize {
    let (units, _) = bytes.as_chunks::<UNIT>();
    units.iter().take_while(|unit| **unit == [0; UNIT]).count() * UNIT
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::encoding::LineEncoding;

    fn encoded(text: &str, order: ByteOrder) -> Vec<u8> {
        let bytes = |unit: u16| if order == ByteOrder::Little { unit.to_le_bytes() } else { unit.to_be_bytes() };
        text.encode_utf16().flat_map(bytes).collect()
    }

    /// Reads every line of `bytes` from `offset` on, while the visible end of the file grows by `step`.
    fn read_all(bytes: &[u8], offset: u64, step: usize, limit: usize) -> Vec<(u64, u64, String, u64)> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        let encoding = LineEncoding::default().for_file(&file, bytes.len() as u64, true).unwrap().unwrap();
        let order = encoding.utf16().unwrap();
        let mut reader = Utf16Reader::new(Arc::new(file), order, offset, limit);
        let (mut lines, mut buffer, mut end) = (Vec::new(), Vec::new(), usize::try_from(offset).unwrap());
        while end < bytes.len() {
            end = (end + step).min(bytes.len());
            loop {
                let take = |line: LineView<'_>| {
                    let text = String::from_utf8(line.bytes.to_vec()).unwrap();
                    lines.push((line.offset, line.length, text, line.cut_bytes));
                    if lines.len().is_multiple_of(3) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                };
                if !reader.read(&mut buffer, end as u64, end == bytes.len(), take).unwrap().more {
                    break;
                }
            }
        }
        assert_eq!(reader.offset(), bytes.len() as u64);
        lines
    }

    #[test]
    fn lines_are_contiguous_however_the_file_grows() {
        // A character with a newline byte, one with two units, and a line longer than a chunk.
        let long = "ä".repeat(CHUNK_BYTES);
        let texts = ["\u{feff}first\r", "\u{0a0a}\u{010a}", "", "\u{1f600} second", &long, "after", "open"];
        for order in [ByteOrder::Little, ByteOrder::Big] {
            let bytes = encoded(&texts.join("\n"), order);
            let mut offsets = Vec::new();
            for step in [101, CHUNK_BYTES - 1, bytes.len()] {
                let lines = read_all(&bytes, 0, step.max(bytes.len() / 500), 4 * CHUNK_BYTES);
                let found: Vec<_> = lines.iter().map(|line| line.2.as_str()).collect();
                assert!(found == texts, "{order:?} by {step}: {} lines", found.len());
                let mut end = 0;
                for (offset, length, _, cut_bytes) in &lines {
                    assert_eq!((*offset, *cut_bytes), (end, 0));
                    end += length;
                }
                assert_eq!(end, bytes.len() as u64);
                offsets = lines.iter().map(|line| line.0).collect();
            }
            // A process that starts at a checkpoint reads the encoding from the first bytes of the file.
            for (place, offset) in offsets.into_iter().enumerate() {
                let lines = read_all(&bytes, offset, bytes.len(), 4 * CHUNK_BYTES);
                assert!(lines.iter().map(|line| line.2.as_str()).eq(texts[place..].iter().copied()), "from {offset}");
            }
            let cut = read_all(&bytes, 0, bytes.len(), 1_000);
            assert_eq!((cut[4].2.chars().count(), cut[4].3), (500, 2 * CHUNK_BYTES as u64 - 1_000));
        }
    }

    #[test]
    fn invalid_text_is_replaced() {
        let mut bytes = encoded("\u{feff}a\n\0\0b?c\n", ByteOrder::Little);
        let place = bytes.iter().rposition(|byte| *byte == b'?').unwrap();
        bytes[place + 1] = 0xd8;
        bytes.push(b'x');
        let lines = read_all(&bytes, 0, bytes.len(), 1_000);
        let texts: Vec<_> = lines.iter().map(|line| line.2.as_str()).collect();
        assert_eq!(texts, ["\u{feff}a", "b\u{fffd}c", "\u{fffd}"]);
    }
    #[test]
    fn holes_are_skipped_before_the_limit_applies() {
        for units in [1, 400, 600, CHUNK_BYTES / 2, CHUNK_BYTES - 1, 3 * CHUNK_BYTES + 1] {
            let hole = "\0".repeat(units);
            let bytes = encoded(&format!("\u{feff}a\n{hole}after\n{hole}\n{hole}op\0en"), ByteOrder::Big);
            for step in [bytes.len(), CHUNK_BYTES - 1, (bytes.len() / 50).max(3)] {
                let lines = read_all(&bytes, 0, step, 1_000);
                let found: Vec<_> = lines.iter().map(|line| (&*line.2, line.3)).collect();
                assert_eq!(found, [("\u{feff}a", 0), ("after", 0), ("", 0), ("op\0en", 0)], "{units} by {step}");
            }
        }
    }

    #[test]
    fn a_line_is_truncated_at_a_character() {
        for filler in [400, 2 * CHUNK_BYTES] {
            let text = format!("\u{feff}a\u{1f600}\u{1f600}{}\nb", "x".repeat(filler));
            let bytes = encoded(&text, ByteOrder::Little);
            for (limit, kept) in
                [(5, "\u{feff}a"), (6, "\u{feff}a"), (8, "\u{feff}a\u{1f600}"), (10, "\u{feff}a\u{1f600}")]
            {
                let lines = read_all(&bytes, 0, bytes.len(), limit);
                let whole = encoded(kept, ByteOrder::Little).len() as u64;
                assert_eq!(lines[0].2, kept, "{limit}");
                assert_eq!(lines[0].3, lines[0].1 - 2 - whole, "{limit}");
            }
        }
    }
}
