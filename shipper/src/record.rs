//! Checks a line: is it a JSON object that every store accepts, and does it meet the log record's contract?
//!
//! Engines reject, or partly ignore, things that a lenient parser accepts: duplicate keys, bytes that are not UTF-8,
//! unlimited nesting. So a line is checked completely before it is passed on unchanged: its bytes are marked, then
//! parsed once, with the keys and the contract's members checked on the way. The check does no I/O, reads no clock and,
//! after warm-up, allocates nothing.
//!
//! The meaning of a rejected line may still be clear. `repair` turns it into a valid one, and reports the changes.

mod change;
mod keys;
mod marks;
mod members;
mod refused;
mod repair;
mod scan;

use store::Timestamp;

pub(crate) use change::Changes;
pub use change::{Change, ChangeSet};
pub(crate) use repair::repair;

use keys::Keys;
use marks::Marks;
use scan::Scan;

/// Maximum nesting of objects and arrays.
pub const MAX_DEPTH: usize = 100;

/// Earlier times, before 2000-01-01, are implausible.
pub const EARLIEST: Timestamp = Timestamp::from_unix_ms(946_684_800_000);

/// The key of the shipper's own additions.
pub const RESERVED_KEY: &str = "origin";

/// Size of each scratch buffer that is kept between two lines.
const KEPT_BYTES: usize = 64 * 1024;

/// Why a line can't be passed on unchanged. Of several flaws, invalid UTF-8 has the highest priority, then invalid
/// syntax, then the type of the value, then its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// It is not JSON.
    NotJson,
    /// It is JSON, but not an object.
    NotObject,
    /// It contains bytes that are not UTF-8.
    NotUtf8,
    /// An object in it has a duplicate key.
    DuplicateKey,
    /// It has the key `origin`, or one that engines reject or reserve, such as `_id` or `a..b`.
    RefusedKey,
    /// It is nested deeper than [`MAX_DEPTH`].
    TooDeep,
    /// It is longer than the limit, and was truncated.
    TooLong,
    /// It contains a number that engines can't read: an integer with more than 64 bits, or one outside the range of a
    /// double.
    LargeNumber,
}

impl Flaw {
    /// Flaws for which a line is wrapped if it can't be repaired. An object with any other flaw can always be repaired.
    pub const WRAPPED: [Self; 5] = [Self::NotJson, Self::NotObject, Self::NotUtf8, Self::TooDeep, Self::TooLong];

    /// The index of the flaw in [`Flaw::WRAPPED`]. One that never causes wrapping counts as [`Flaw::NotJson`].
    #[must_use]
    pub fn wrapped_index(self) -> usize {
        Self::WRAPPED.iter().position(|flaw| *flaw == self).unwrap_or(0)
    }

    /// The flaw's name in documents and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotJson => "not_json",
            Self::NotObject => "not_object",
            Self::NotUtf8 => "not_utf8",
            Self::DuplicateKey => "duplicate_key",
            Self::RefusedKey => "refused_key",
            Self::TooDeep => "too_deep",
            Self::TooLong => "too_long",
            Self::LargeNumber => "large_number",
        }
    }
}

/// A line that can be passed on unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Object {
    /// Offset of the closing brace of the object.
    pub closing_brace: usize,
    /// Whether it has no members.
    pub is_empty: bool,
    /// Its own time: the first of `timestamp`, `@timestamp` and `time` that is an RFC 3339 string.
    pub time: Option<Timestamp>,
    /// Whether it meets the contract: all six fields are present with their types.
    pub is_record: bool,
}

/// The result of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// It can be passed on unchanged.
    Object(Object),
    /// It must be repaired or wrapped.
    Wrap(Flaw),
}

/// Checks lines. Keeps its scratch buffers from one line to the next.
#[derive(Debug, Default)]
pub struct Checker {
    marks: Marks,
    keys: Keys,
}

impl Checker {
    /// Creates a checker.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Checks a line without its newline.
    pub fn check(&mut self, line: &[u8]) -> Check {
        self.keys.clear();
        let (marks, is_ascii) = self.marks.mark(line);
        // Invalid UTF-8 has the highest priority.
        if !is_ascii && std::str::from_utf8(line).is_err() {
            return Check::Wrap(Flaw::NotUtf8);
        }
        match Scan::new(line, marks, &mut self.keys).line() {
            Ok(object) => Check::Object(object),
            Err(flaw) => Check::Wrap(flaw),
        }
    }
}

#[cfg(test)]
mod tests;
