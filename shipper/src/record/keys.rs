//! Detects duplicate keys in the objects of a scan.
//!
//! Most objects have a few short keys: one word of bits shows for nearly every key that it is new, and the others are
//! compared by length and first eight bytes. An object with more than [`LINEAR_KEYS`] keys gets a randomly seeded hash
//! table, so that a hundred thousand names take only linear time. Keys with escapes are compared by their decoded text.
//! Memory is limited by the line's length: at most four words per key, and the decoded text.

use std::hash::{BuildHasher as _, RandomState};

use super::KEPT_BYTES;

/// Maximum number of keys of an object that are compared one by one.
const LINEAR_KEYS: usize = 24;

/// Number of hash tables kept between two lines.
const KEPT_TABLES: usize = 4;

/// A key in the form used for comparison.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    /// Its first eight bytes, padded with zeros.
    pub(super) head: u64,
    start: u32,
    /// Its length times two, plus one if it is in the decoded text and not in the line.
    len: u32,
}

/// The keys of an object.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    start: usize,
    /// Bits set by its keys. A key whose bit is not set is new.
    seen: u64,
}

/// The hash table of an object with many keys: the index of a key in [`Keys::keys`] plus one, or zero.
#[derive(Debug, Default)]
struct Table {
    frame: usize,
    /// Number of the object's keys in it. The others were known to be new without it.
    count: usize,
    slots: Vec<u32>,
}

/// The keys of nested objects: a stack of frames.
#[derive(Debug, Default)]
pub(super) struct Keys {
    keys: Vec<Key>,
    /// Decoded keys with escapes.
    decoded: Vec<u8>,
    /// The first `open` ones belong to objects of the scan, outermost first.
    tables: Vec<Table>,
    open: usize,
    seed: RandomState,
    #[cfg(test)]
    compared: usize,
}

impl Keys {
    #[inline(always)]
    pub(super) fn clear(&mut self) {
        self.keys.clear();
        self.decoded.clear();
        self.open = 0;
        let key_bytes = self.keys.capacity() * size_of::<Key>();
        if key_bytes.max(self.decoded.capacity()) > KEPT_BYTES || !self.tables.is_empty() {
            self.give_back();
        }
    }

    #[cold]
    fn give_back(&mut self) {
        self.keys.shrink_to(KEPT_BYTES / size_of::<Key>());
        self.decoded.shrink_to(KEPT_BYTES);
        self.tables.truncate(KEPT_TABLES);
        for table in &mut self.tables {
            table.slots.clear();
            table.slots.shrink_to(KEPT_BYTES / KEPT_TABLES / size_of::<u32>());
        }
    }

    /// Starts an object.
    #[inline(always)]
    pub(super) fn begin(&self) -> Frame {
        Frame { start: self.keys.len(), seen: 0 }
    }

    /// Ends the object of `frame`.
    #[inline(always)]
    pub(super) fn end(&mut self, frame: Frame) {
        self.keys.truncate(frame.start);
        if self.open > 0 && self.tables[self.open - 1].frame == frame.start {
            self.open -= 1;
        }
    }

    /// The key at `start..end` of the line.
    #[inline(always)]
    pub(super) fn plain(line: &[u8], start: usize, end: usize) -> Key {
        Key::new(line, start, end, false)
    }

    /// A key written with escapes.
    #[cold]
    pub(super) fn escaped(&mut self, text: &[u8]) -> Key {
        let start = self.decoded.len();
        decode(text, &mut self.decoded);
        Key::new(&self.decoded, start, self.decoded.len(), true)
    }

    /// Adds a key to the object of `frame`; returns whether it is new there.
    #[inline(always)]
    pub(super) fn add(&mut self, frame: &mut Frame, line: &[u8], key: Key) -> bool {
        // The multiplier is 2^64 divided by the golden ratio: the high bits of the product depend on all lower bits.
        let hash = key.head.wrapping_add(u64::from(key.len >> 1)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let bit = 1 << (hash >> 58);
        let is_new = frame.seen & bit == 0 || self.is_new(frame.start, line, key);
        frame.seen |= bit;
        self.keys.push(key);
        is_new
    }

    /// The text of a key.
    #[inline(always)]
    pub(super) fn text<'a>(&'a self, line: &'a [u8], key: Key) -> &'a [u8] {
        let from = if key.len & 1 == 0 { line } else { &self.decoded };
        &from[key.start as usize..key.start as usize + (key.len >> 1) as usize]
    }

    #[inline(never)]
    fn is_new(&mut self, frame: usize, line: &[u8], key: Key) -> bool {
        if self.keys.len() - frame >= LINEAR_KEYS {
            return self.add_to_table(frame, line, key);
        }
        !self.keys[frame..].iter().any(|other| self.same(line, key, *other))
    }

    fn same(&self, line: &[u8], one: Key, other: Key) -> bool {
        one.head == other.head
            && one.len >> 1 == other.len >> 1
            && (one.len >> 1 <= 8 || self.text(line, one) == self.text(line, other))
    }

    /// Adds the key that will be at the end of `keys` to its object's table, which is created if necessary; returns
    /// whether it is new.
    #[cold]
    fn add_to_table(&mut self, frame: usize, line: &[u8], key: Key) -> bool {
        if self.open == 0 || self.tables[self.open - 1].frame != frame {
            if self.open == self.tables.len() {
                self.tables.push(Table::default());
            }
            let table = &mut self.tables[self.open];
            (table.frame, table.count) = (frame, 0);
            table.slots.clear();
            self.open += 1;
        }
        let mut table = std::mem::take(&mut self.tables[self.open - 1]);
        let count = self.keys.len() - frame;
        if count * 2 >= table.slots.len() {
            table.count = 0;
            table.slots.clear();
            table.slots.resize((count * 4).next_power_of_two(), 0);
        }
        for place in frame + table.count..self.keys.len() {
            self.insert(&mut table.slots, line, place, self.keys[place]);
        }
        let is_new = self.insert(&mut table.slots, line, self.keys.len(), key);
        table.count = count + 1;
        self.tables[self.open - 1] = table;
        is_new
    }

    /// Finds the key's slot by linear probing; returns false if it is there already.
    fn insert(&mut self, slots: &mut [u32], line: &[u8], place: usize, key: Key) -> bool {
        let mask = slots.len() - 1;
        let mut slot = self.seed.hash_one(self.text(line, key)) as usize & mask;
        // At most half of the slots are in use.
        while slots[slot] != 0 {
            #[cfg(test)]
            {
                self.compared += 1;
            }
            if self.same(line, key, self.keys[slots[slot] as usize - 1]) {
                return false;
            }
            slot = (slot + 1) & mask;
        }
        // The length limit of a line keeps the number of keys far below 2^31.
        slots[slot] = place as u32 + 1;
        true
    }
}

impl Key {
    #[inline(always)]
    fn new(from: &[u8], start: usize, end: usize, decoded: bool) -> Self {
        let len = end - start;
        let head = match from[start..].first_chunk::<8>() {
            Some(first) if len >= 8 => u64::from_le_bytes(*first),
            Some(first) => u64::from_le_bytes(*first) & ((1 << (8 * len)) - 1),
            None => head(&from[start..end]),
        };
        Self { head, start: start as u32, len: (len as u32) << 1 | u32::from(decoded) }
    }
}

/// The first eight bytes of a text, lowest first, padded with zeros.
pub(super) const fn head(text: &[u8]) -> u64 {
    let (mut head, mut at) = (0, 0);
    while at < text.len() && at < 8 {
        head |= (text[at] as u64) << (8 * at);
        at += 1;
    }
    head
}

/// Appends the decoded text of a valid JSON string.
pub(super) fn decode(text: &[u8], into: &mut Vec<u8>) {
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
                let mut code = hex4(&text[at..]).unwrap_or(0);
                at += 4;
                if (0xd800..0xdc00).contains(&code) {
                    let low = text.get(at + 2..).and_then(hex4).unwrap_or(0xdc00);
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

/// The value of four hexadecimal digits.
pub(super) fn hex4(text: &[u8]) -> Option<u32> {
    let digits = text.first_chunk::<4>()?;
    digits.iter().try_fold(0, |value, digit| Some(value << 4 | char::from(*digit).to_digit(16)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_of_a_hundred_thousand_keys_takes_few_comparisons() {
        let mut line = Vec::new();
        let mut keys = Keys::default();
        let mut frame = keys.begin();
        for round in 0..2 {
            for n in 0..100_000 {
                let start = line.len();
                line.extend_from_slice(format!("the same first bytes {n}").as_bytes());
                let key = Keys::plain(&line, start, line.len());
                assert_eq!(keys.add(&mut frame, &line, key), round == 0, "{n} in round {round}");
            }
        }
        assert!(keys.compared < 2_000_000, "{}", keys.compared);
        keys.end(frame);
        assert_eq!((keys.keys.len(), keys.open), (0, 0));
        keys.clear();
        let kept = (keys.keys.capacity() * size_of::<Key>()).max(keys.tables[0].slots.capacity() * 4);
        assert!(kept <= KEPT_BYTES, "{kept}");
    }
}
