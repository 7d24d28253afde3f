//! Marks the bytes that end a run of plain text in a JSON string: a quote, a backslash, a control character.
//!
//! A branchless loop over blocks, which compilers vectorize. The parser then jumps from mark to mark, eight bytes at a
//! time, instead of checking each byte.

use super::KEPT_BYTES;

/// Number of bytes marked together.
const BLOCK: usize = 64;

/// A mark for each byte of a line: zero for plain text. Eight marks are a word, lowest first.
#[derive(Debug, Default)]
pub(super) struct Marks(Vec<u64>);

const BLOCK_WORDS: usize = BLOCK / 8;

impl Marks {
    /// The marks of `line`, and whether it is ASCII. The byte after its end is marked too.
    pub(super) fn mark(&mut self, line: &[u8]) -> (&[u64], bool) {
        let (blocks, rest) = line.as_chunks::<BLOCK>();
        let words = (blocks.len() + 1) * BLOCK_WORDS;
        if self.0.len() < words || self.0.len() > words.max(KEPT_BYTES / 8) {
            self.0 = vec![0; words];
        }
        let (marks, _) = self.0.as_chunks_mut::<BLOCK_WORDS>();
        for (marks, block) in marks.iter_mut().zip(blocks) {
            mark(block, marks);
        }
        let mut last = [b'"'; BLOCK];
        last[..rest.len()].copy_from_slice(rest);
        mark(&last, &mut marks[blocks.len()]);
        (&self.0, blocks.as_flattened().is_ascii() && last.is_ascii())
    }
}

#[inline(always)]
fn mark(block: &[u8; BLOCK], marks: &mut [u64; BLOCK_WORDS]) {
    let bytes = block.map(|byte| {
        let stops = (byte == b'"') | (byte == b'\\') | (byte < b' ');
        if stops { 0xff } else { 0 }
    });
    for (word, bytes) in marks.iter_mut().zip(bytes.as_chunks::<8>().0) {
        *word = u64::from_le_bytes(*bytes);
    }
}

/// Offset of the first mark from `at` on.
#[inline(always)]
pub(super) fn next(marks: &[u64], at: usize) -> usize {
    let mut place = at / 8;
    let mut word = marks.get(place).map_or(0, |word| *word >> (at % 8 * 8) << (at % 8 * 8));
    while word == 0 {
        place += 1;
        let Some(next) = marks.get(place) else { break };
        word = *next;
    }
    place * 8 + word.trailing_zeros() as usize / 8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_mark_is_the_next_special_byte_or_the_end() {
        let mut marks = Marks::default();
        for length in (0..200).chain([0, 100_000, 7]) {
            let line: Vec<u8> = (0..length).map(|n| if n % 37 == 5 { b"\"\\\x1f\0"[n % 4] } else { b'#' }).collect();
            let (marks, is_ascii) = marks.mark(&line);
            assert!(is_ascii);
            for from in 0..=length.min(300) {
                let model = line[from..].iter().position(|byte| *byte != b'#').map_or(length, |place| from + place);
                assert_eq!(next(marks, from), model, "from {from} of {length}");
            }
        }
    }
}
