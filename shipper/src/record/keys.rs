//! The keys of the objects that a scan is in, to tell when one comes twice.
//!
//! Most objects have a few short keys: those are compared by length and first eight bytes. An object with more than
//! [`LINEAR_KEYS`] keys gets a hash set, seeded at random, so that a hundred thousand names cost no more than linear
//! time. Keys written with escapes are compared by what they mean.

use std::collections::HashSet;
use std::ops::Range;

/// Up to so many keys of one object are compared one by one.
const LINEAR_KEYS: usize = 24;

/// Scratch space that is not given back between two lines.
const KEPT_BYTES: usize = 64 * 1024;

#[derive(Clone, Copy, Debug)]
struct Key {
    /// Its first eight bytes.
    head: u64,
    start: u32,
    len: u32,
    /// It stands in the decoded text and not in the line.
    decoded: bool,
}

/// Keys of nested objects: a stack of frames.
#[derive(Debug, Default)]
pub(super) struct Keys {
    keys: Vec<Key>,
    /// Keys that were written with escapes, decoded.
    decoded: Vec<u8>,
    /// For the objects with many keys: where their frame begins, and their keys.
    large: Vec<(usize, HashSet<Box<[u8]>>)>,
}

impl Keys {
    pub(super) fn clear(&mut self) {
        self.keys.clear();
        self.decoded.clear();
        self.large.clear();
        if self.keys.capacity() * size_of::<Key>() > KEPT_BYTES || self.decoded.capacity() > KEPT_BYTES {
            *self = Self::default();
        }
    }

    /// Begins an object; its frame is what [`Keys::end`] gets.
    pub(super) fn begin(&self) -> usize {
        self.keys.len()
    }

    /// Ends the object of `frame`.
    pub(super) fn end(&mut self, frame: usize) {
        self.keys.truncate(frame);
        if self.large.last().is_some_and(|(start, _)| *start == frame) {
            self.large.pop();
        }
    }

    /// Adds a key of the object of `frame`; false if it has that key already.
    pub(super) fn add(&mut self, frame: usize, line: &[u8], text: Range<usize>, escaped: bool) -> bool {
        let key = if escaped {
            let start = self.decoded.len();
            decode(&line[text], &mut self.decoded);
            key(&self.decoded[start..], start, true)
        } else {
            key(&line[text.clone()], text.start, false)
        };
        let fresh = if self.keys.len() - frame < LINEAR_KEYS {
            !self.keys[frame..].iter().any(|other| self.same(line, &key, other))
        } else {
            self.add_to_set(frame, line, &key)
        };
        self.keys.push(key);
        fresh
    }

    /// The decoded text of the key added last, if it was written with escapes.
    pub(super) fn last_decoded(&self) -> &[u8] {
        self.keys.last().map_or(&[], |key| self.text(&[], key))
    }

    fn same(&self, line: &[u8], one: &Key, other: &Key) -> bool {
        one.head == other.head
            && one.len == other.len
            && (one.len <= 8 || self.text(line, one) == self.text(line, other))
    }

    fn text<'a>(&'a self, line: &'a [u8], key: &Key) -> &'a [u8] {
        let range = key.start as usize..(key.start + key.len) as usize;
        if key.decoded { &self.decoded[range] } else { &line[range] }
    }

    #[cold]
    fn add_to_set(&mut self, frame: usize, line: &[u8], key: &Key) -> bool {
        if self.large.last().is_none_or(|(start, _)| *start != frame) {
            let texts = self.keys[frame..].iter().map(|key| Box::from(self.text(line, key))).collect();
            self.large.push((frame, texts));
        }
        let text = Box::from(self.text(line, key));
        self.large.last_mut().is_some_and(|(_, keys)| keys.insert(text))
    }
}

fn key(text: &[u8], start: usize, decoded: bool) -> Key {
    let head = match text.first_chunk::<8>() {
        Some(first) => u64::from_le_bytes(*first),
        None => text.iter().rev().fold(0, |head, byte| head << 8 | u64::from(*byte)),
    };
    // A line's length is bounded far below 4 GiB by its limit.
    Key { head, start: start as u32, len: text.len() as u32, decoded }
}

/// Appends what a JSON string's text means; it must be valid.
fn decode(text: &[u8], into: &mut Vec<u8>) {
    let mut at = 0;
    while at < text.len() {
        if text[at] != b'\\' {
            into.push(text[at]);
            at += 1;
            continue;
        }
        at += 2;
        match text[at - 1] {
            b'b' => into.push(8),
            b'f' => into.push(12),
            b'n' => into.push(b'\n'),
            b'r' => into.push(b'\r'),
            b't' => into.push(b'\t'),
            b'u' => {
                let mut code = super::scan::hex4(&text[at..]).unwrap_or(0);
                at += 4;
                if (0xd800..0xdc00).contains(&code) {
                    let low = text.get(at + 2..).and_then(super::scan::hex4).unwrap_or(0xdc00);
                    at += 6;
                    code = 0x1_0000 + ((code - 0xd800) << 10) + (low.wrapping_sub(0xdc00) & 0x3ff);
                }
                let char = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
                into.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
            }
            other => into.push(other),
        }
    }
}
