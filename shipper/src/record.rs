//! Checks one line: is it a JSON object that every store takes, and does it meet the log record's contract?
//!
//! Engines refuse, or take half of, what a lenient parser lets through: a key twice in an object, bytes that are not
//! UTF-8, nesting without end. So a line is checked in full before it is passed on as it is: its bytes are
//! marked, then read once by the grammar, with the keys and the contract's members looked at on
//! the way. Checking does no I/O, takes no time from a clock and, once warm, allocates nothing.

mod keys;
mod marks;
mod members;
mod scan;

use store::Timestamp;

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
    /// It has the key `origin` itself, or one that engines take for their own, such as `_id`.
    ReservedKey,
    /// It is nested deeper than [`MAX_DEPTH`].
    TooDeep,
    /// It is longer than the limit, and was cut.
    TooLong,
}

impl Flaw {
    /// All flaws, in the order of their discriminants.
    pub const ALL: [Self; 7] = [
        Self::NotJson,
        Self::NotObject,
        Self::NotUtf8,
        Self::DuplicateKey,
        Self::ReservedKey,
        Self::TooDeep,
        Self::TooLong,
    ];

    /// The flaw as documents and metrics name it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotJson => "not_json",
            Self::NotObject => "not_object",
            Self::NotUtf8 => "not_utf8",
            Self::DuplicateKey => "duplicate_key",
            Self::ReservedKey => "reserved_key",
            Self::TooDeep => "too_deep",
            Self::TooLong => "too_long",
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
