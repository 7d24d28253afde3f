//! What rests of a source: whether the lines of a generation stand end to end in a store, so that completeness can be
//! asked of the store itself.
//!
//! Each line tells its place: its generation, its offset there and its length with its newline. Within a generation the
//! lines of a range that is whole are as long together as the range, and each begins where the one before it ends.
//! These answers tell places and lengths and nothing of what the lines say, so they are asked without a
//! scope.

use std::ops::Range;

use crate::id::LineId;

/// One answer gives no more [spans](crate::Store::spans) than this.
pub const MAX_SPANS: usize = 10_000;

/// One question is of no more [steps](crate::Store::coverage_in_steps) than this.
pub const MAX_STEPS: u64 = 1_024;

/// One question is of no more [ids](crate::Store::resting) than this.
pub const MAX_IDS: usize = 1_000;

/// As long as a range has no more lines than this, [`Coverage::distinct`] is less than [`Coverage::lines`] where a line
/// rests twice. Engines count distinct values by hashes of 25 bits; up to 5,792 of them their estimate is never
/// rounded up by a whole line.
pub const DISTINCT_UP_TO: u64 = 4_096;

/// What rests of the lines that begin in a range of a generation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// How many lines; one that rests twice counts twice.
    pub lines: u64,
    /// Their lengths at their source together, in bytes.
    pub bytes: u64,
    /// How many different places they have, in an engine as it estimates it; see [`DISTINCT_UP_TO`].
    pub distinct: u64,
    /// Where the first of them begins.
    pub first: Option<u64>,
    /// Where the last of them ends; not told of [steps](crate::Store::coverage_in_steps).
    pub last_end: Option<u64>,
}

impl Coverage {
    /// Whether the lines are as long together as `offsets`, begin where it begins and end where it ends. `offsets` must
    /// begin and end with a line. A line that is missing and another of the same length that rests twice are not told
    /// apart here.
    #[must_use]
    pub fn is_whole(&self, offsets: &Range<u64>) -> bool {
        let length = offsets.end.saturating_sub(offsets.start);
        let ends = length == 0 || (self.first, self.last_end) == (Some(offsets.start), Some(offsets.end));
        ends && self.bytes == length
    }
}

/// A line's place in its generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Offset of its first byte.
    pub offset: u64,
    /// Its length in bytes, with its newline; 0 where the document does not tell.
    pub length: u64,
    /// The index that it rests in; none in the embedded store.
    pub index: Option<String>,
}

/// What a store has removed itself of a generation, because of its age or for room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// How many lines.
    pub lines: u64,
    /// Their lengths at their source together, in bytes.
    pub bytes: u64,
}

/// A line of which a store was asked, and how often it rests there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resting {
    /// The line.
    pub id: LineId,
    /// How many documents have its id, each in an index of its own.
    pub documents: u64,
}
