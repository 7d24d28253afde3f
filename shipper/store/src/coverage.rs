//! Coverage of a source: whether a generation's lines are stored without a gap. It lets completeness be checked against
//! the store itself.
//!
//! Each stored line has its generation, its offset there and its length including the newline. If a range is complete,
//! the lengths of its lines add up to the length of the range, and each line begins where the one before it ends.
//! Answers contain offsets and lengths but no log content, so these queries take no scope.

use std::ops::Range;

use crate::id::LineId;

/// Maximum number of [spans](crate::Store::spans) in one answer.
pub const MAX_SPANS: usize = 10_000;

/// Maximum number of [steps](crate::Store::coverage_in_steps) in one query.
pub const MAX_STEPS: u64 = 1_024;

/// Maximum number of [ids](crate::StoreAudit::document_counts) in one query.
pub const MAX_IDS: usize = 1_000;

/// Maximum number of lines for which [`Coverage::distinct`] reveals duplicates. Within it, `distinct` is less than
/// [`Coverage::lines`] if a line is stored twice. Engines count distinct values by 25-bit hashes; up to 5,792 of them,
/// the estimate is never rounded up by a whole line.
pub const DISTINCT_UP_TO: u64 = 4_096;

/// What is stored of the lines that begin in a range of a generation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Number of lines. A line stored twice counts twice.
    pub lines: u64,
    /// Sum of the lines' lengths at their source, in bytes.
    pub bytes: u64,
    /// Number of distinct offsets. An engine estimates it; see [`DISTINCT_UP_TO`].
    pub distinct: u64,
    /// Offset of the first line.
    pub first: Option<u64>,
    /// End offset of the last line. Not set for [steps](crate::Store::coverage_in_steps).
    pub last_end: Option<u64>,
}

impl Coverage {
    /// Whether the lines cover `offsets` by their total length, first offset and end offset. `offsets` must begin and
    /// end at line boundaries. This does not detect a missing line that is made up for by a duplicate of the same
    /// length.
    #[must_use]
    pub fn is_complete(&self, offsets: &Range<u64>) -> bool {
        let length = offsets.end.saturating_sub(offsets.start);
        let ends = length == 0 || (self.first, self.last_end) == (Some(offsets.start), Some(offsets.end));
        ends && self.bytes == length
    }
}

/// The position of a line in its generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Offset of the first byte.
    pub offset: u64,
    /// Length in bytes including the newline; 0 if the document does not contain it.
    pub length: u64,
    /// Name of the index that holds the line. `None` in the embedded store.
    pub index: Option<String>,
}

/// What the store's own retention has removed from a generation, by age or size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Number of lines.
    pub lines: u64,
    /// Sum of the lines' lengths at their source, in bytes.
    pub bytes: u64,
}

/// Number of stored documents with a line's id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentCount {
    /// The line's id.
    pub id: LineId,
    /// Number of documents with this id, each in a different index.
    pub documents: u64,
}
