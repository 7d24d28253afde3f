//! Checks one line: is it a JSON object that every store takes, and does it meet the log record's contract?
//!
//! Engines refuse, or take half of, what a lenient parser lets through: a key twice in an object, bytes that are not
//! UTF-8, nesting without end. So a line is checked in full before it is passed on as it is: its bytes are
//! marked, then read once by the grammar, with the keys and the contract's members looked at on
//! the way. Checking does no I/O, takes no time from a clock and, once warm, allocates nothing.
//!
//! A line that is refused may still be one whose meaning is plain. `repair` makes it one that passes, and
//! says what was changed.

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

/// Objects and arrays may be nested this deep.
pub const MAX_DEPTH: usize = 100;

/// The key that the shipper's own additions stand under.
pub const RESERVED_KEY: &str = "origin";

/// Scratch space that is not given back between two lines, for each use.
const KEPT_BYTES: usize = 64 * 1024;

/// Why a line can't be passed on as it is; of several reasons, that it is not UTF-8 comes first, then what is wrong
/// with its form, then what kind of value it is, then its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// It is not JSON.
    NotJson,
    /// It is JSON, and not an object.
    NotObject,
    /// It holds bytes that are not UTF-8.
    NotUtf8,
    /// An object in it has a key twice.
    DuplicateKey,
    /// It has the key `origin` itself, or one that engines refuse or take for their own, such as `_id` or `a..b`.
    RefusedKey,
    /// It is nested deeper than [`MAX_DEPTH`].
    TooDeep,
    /// It is longer than the limit, and was cut.
    TooLong,
    /// A number in it is one that engines can't read: a whole one beyond 64 bits, or one that no double holds.
    LargeNumber,
}

impl Flaw {
    /// Those for which a line is wrapped when it can't be repaired. An object with any other can always be.
    pub const WRAPPED: [Self; 5] = [Self::NotJson, Self::NotObject, Self::NotUtf8, Self::TooDeep, Self::TooLong];

    /// The place of the flaw in [`Flaw::WRAPPED`]. One that is never a reason to wrap counts as [`Flaw::NotJson`].
    #[must_use]
    pub fn wrapped_index(self) -> usize {
        Self::WRAPPED.iter().position(|flaw| *flaw == self).unwrap_or(0)
    }

    /// The flaw as documents and metrics name it.
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

/// A line that can be passed on as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Object {
    /// Position of the closing brace of the whole object.
    pub closing_brace: usize,
    /// It has no members.
    pub is_empty: bool,
    /// Its own time: the first of `timestamp`, `@timestamp` and `time` that is an RFC 3339 text.
    pub time: Option<Timestamp>,
    /// It meets the contract: all six fields are there, each of its type.
    pub is_record: bool,
}

/// What a check found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// It can be passed on as it is.
    Object(Object),
    /// It has to be wrapped.
    Wrap(Flaw),
}

/// Checks lines; keeps its scratch space from one to the next.
#[derive(Debug, Default)]
pub struct Checker {
    marks: Marks,
    keys: Keys,
}

impl Checker {
    /// A checker.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Checks a line, given without its newline.
    pub fn check(&mut self, line: &[u8]) -> Check {
        self.keys.clear();
        let (marks, is_ascii) = self.marks.of(line);
        // A line that is not UTF-8 is that before it is anything else.
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
