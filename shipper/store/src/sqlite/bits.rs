//! Sets of lines within one run: as a bitmap in memory, and in an encoded form in the file.
//!
//! An encoded set begins with a varint, `count << 2 | form`. The form is [`DELTAS`]: the varint distance of each index
//! from the previous one, starting from 0; [`BITMAP`]: one bit for each line of the run, the lowest first; or
//! [`WHOLE`]: every line of the run, without further bytes.

/// Maximum number of lines in a run.
pub(crate) const RUN_MAX: usize = 1 << 16;

const WORDS: usize = RUN_MAX / 64;
const DELTAS: u64 = 0;
const BITMAP: u64 = 1;
const WHOLE: u64 = 2;

/// Appends a number as a varint: seven bits in each byte, the lowest first.
pub(crate) fn put_varint(to: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        to.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    to.push(number.to_le_bytes()[0]);
}

/// Reads a varint from the front. A truncated one yields the bits that are there.
pub(crate) fn take_varint(from: &mut &[u8]) -> u64 {
    let (mut number, mut shift) = (0, 0);
    while let Some((byte, rest)) = from.split_first() {
        *from = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 || shift >= 63 {
            break;
        }
        shift += 7;
    }
    number
}

/// Maps small numbers of either sign to small unsigned numbers.
pub(crate) const fn zigzag(number: i64) -> u64 {
    (number.wrapping_shl(1) ^ (number >> 63)).cast_unsigned()
}

/// Reverses [`zigzag`].
pub(crate) const fn unzigzag(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -((number & 1).cast_signed())
}

/// A set of lines of a run, identified by their index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bits(Box<[u64; WORDS]>);

impl Bits {
    pub(crate) fn none() -> Self {
        Self(Box::new([0; WORDS]))
    }

    /// Creates a set of the first `lines` lines.
    pub(crate) fn first(lines: usize) -> Self {
        let mut bits = Self::none();
        let lines = lines.min(RUN_MAX);
        bits.0[..lines / 64].fill(u64::MAX);
        if !lines.is_multiple_of(64) {
            bits.0[lines / 64] = (1 << (lines % 64)) - 1;
        }
        bits
    }

    pub(crate) fn set(&mut self, index: usize) {
        if let Some(word) = self.0.get_mut(index / 64) {
            *word |= 1 << (index % 64);
        }
    }

    pub(crate) fn has(&self, index: usize) -> bool {
        self.0.get(index / 64).is_some_and(|word| word >> (index % 64) & 1 == 1)
    }

    pub(crate) fn and(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0.iter()).for_each(|(word, other)| *word &= other);
    }

    pub(crate) fn or(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0.iter()).for_each(|(word, other)| *word |= other);
    }

    /// Removes the lines of `other`.
    pub(crate) fn subtract(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0.iter()).for_each(|(word, other)| *word &= !other);
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.iter().map(|word| u64::from(word.count_ones())).sum()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    /// Iterates over the indices in ascending order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.0.iter().enumerate().flat_map(|(at, word)| {
            let mut rest = *word;
            std::iter::from_fn(move || {
                (rest != 0).then(|| {
                    let bit = rest.trailing_zeros() as usize;
                    rest &= rest - 1;
                    at * 64 + bit
                })
            })
        })
    }
}

/// Encodes ascending indices of a run of `lines` lines.
pub(crate) fn encode(to: &mut Vec<u8>, indices: &[u16], lines: usize) {
    let count = indices.len() as u64;
    if indices.len() == lines {
        return put_varint(to, count << 2 | WHOLE);
    }
    let bitmap = lines.div_ceil(8);
    // Most deltas take one byte, so a set of more lines than bitmap bytes is smaller as a bitmap.
    if indices.len() > bitmap {
        put_varint(to, count << 2 | BITMAP);
        let start = to.len();
        to.resize(start + bitmap, 0);
        for index in indices {
            to[start + usize::from(*index) / 8] |= 1 << (index % 8);
        }
        return;
    }
    put_varint(to, count << 2 | DELTAS);
    let mut last = 0;
    for index in indices {
        put_varint(to, u64::from(index - last));
        last = *index;
    }
}

/// Returns the number of lines in a set without decoding it.
pub(crate) fn count(mut set: &[u8]) -> u64 {
    take_varint(&mut set) >> 2
}

/// Calls `with` for each index of a set in a run of `lines` lines, in ascending order.
pub(crate) fn each(mut set: &[u8], lines: usize, mut with: impl FnMut(usize)) {
    let head = take_varint(&mut set);
    match head & 3 {
        WHOLE => (0..lines).for_each(with),
        BITMAP => {
            for (at, byte) in set.iter().enumerate() {
                let mut rest = *byte;
                while rest != 0 {
                    with(at * 8 + rest.trailing_zeros() as usize);
                    rest &= rest - 1;
                }
            }
        }
        _ => {
            let mut index = 0;
            for _ in 0..head >> 2 {
                if set.is_empty() {
                    break;
                }
                index += usize::try_from(take_varint(&mut set)).unwrap_or(RUN_MAX);
                with(index);
            }
        }
    }
}

/// Adds a set to `bits`.
pub(crate) fn add(bits: &mut Bits, mut set: &[u8], lines: usize) {
    let whole = set;
    let head = take_varint(&mut set);
    match head & 3 {
        WHOLE => bits.or(&Bits::first(lines)),
        BITMAP => {
            for (word, bytes) in bits.0.iter_mut().zip(set.chunks(8)) {
                let mut eight = [0; 8];
                eight[..bytes.len()].copy_from_slice(bytes);
                *word |= u64::from_le_bytes(eight);
            }
        }
        _ => each(whole, lines, |index| bits.set(index)),
    }
}

/// Returns the number of lines in both `bits` and a set.
pub(crate) fn count_among(bits: &Bits, set: &[u8], lines: usize) -> u64 {
    let mut rest = set;
    match take_varint(&mut rest) & 3 {
        WHOLE => bits.count(),
        BITMAP => {
            let mut own = Bits::none();
            add(&mut own, set, lines);
            own.and(bits);
            own.count()
        }
        _ => {
            let mut count = 0;
            each(set, lines, |index| count += u64::from(bits.has(index)));
            count
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn sets_round_trip(indices in prop::collection::btree_set(0..2_000_u16, 0..2_000), more in 0..500_usize) {
            let list: Vec<u16> = indices.iter().copied().collect();
            let lines = list.last().map_or(0, |last| usize::from(*last) + 1) + more;
            let mut bytes = Vec::new();
            encode(&mut bytes, &list, lines);
            prop_assert_eq!(count(&bytes), list.len() as u64);
            let mut bits = Bits::none();
            add(&mut bits, &bytes, lines);
            let mut each_place = Vec::new();
            each(&bytes, lines, |index| each_place.push(index));
            let expected: Vec<usize> = list.iter().map(|index| usize::from(*index)).collect();
            prop_assert_eq!(bits.iter().collect::<Vec<_>>(), expected.clone());
            prop_assert_eq!(each_place, expected.clone());
            let among: BTreeSet<usize> = expected.iter().copied().filter(|index| index % 3 == 0).collect();
            let mut third = Bits::none();
            among.iter().for_each(|index| third.set(*index));
            prop_assert_eq!(count_among(&third, &bytes, lines), among.len() as u64);
        }

        #[test]
        fn varints_round_trip(number in any::<i64>(), other in any::<u64>(), bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            prop_assert_eq!(unzigzag(zigzag(number)), number);
            let mut to = Vec::new();
            put_varint(&mut to, other);
            prop_assert_eq!(take_varint(&mut to.as_slice()), other);
            // Damaged bytes are read to their end and no farther.
            add(&mut Bits::none(), &bytes, RUN_MAX);
            let _ = count_among(&Bits::first(70), &bytes, RUN_MAX);
        }
    }

    #[test]
    fn whole_runs_and_parts_of_them() {
        for lines in [0, 1, 63, 64, 65, RUN_MAX] {
            let bits = Bits::first(lines);
            assert_eq!(bits.count(), lines as u64);
            assert_eq!(bits.is_empty(), lines == 0);
            let mut rest = Bits::first(RUN_MAX);
            rest.subtract(&bits);
            assert_eq!(rest.count(), (RUN_MAX - lines) as u64);
        }
    }
}
