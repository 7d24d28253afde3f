//! Checks one line: is it a JSON object that every store takes, and does it meet the log record's contract?
//!
//! Engines refuse, or take half of, what a lenient parser lets through: a key twice in an object, bytes that are not
//! UTF-8, nesting without end. So a line is checked in full, in one pass, before it is passed on as it is. Checking does
//! no I/O, takes no time from a clock and, once warm, allocates nothing.

mod keys;
mod scan;

use store::Timestamp;

use keys::Keys;
use scan::Scan;

/// Objects and arrays may be nested this deep.
pub const MAX_DEPTH: usize = 100;

/// The key that the shipper's own additions stand under.
pub const RESERVED_KEY: &str = "origin";

/// Why a line can't be passed on as it is.
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
    /// It has the key `origin` itself.
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
        match Scan::new(line, &mut self.keys).line() {
            Ok(object) => Check::Object(object),
            Err(flaw) => Check::Wrap(flaw),
        }
    }
}

/// The contract's fields that a scan has seen, and the times.
#[derive(Clone, Copy, Debug, Default)]
struct Members {
    seen: u8,
    timestamp: Option<Timestamp>,
    at_timestamp: Option<Timestamp>,
    time: Option<Timestamp>,
}

/// A top-level value, as far as the contract asks.
#[derive(Clone, Copy, Debug)]
enum Value<'a> {
    /// A string's text between its quotes, as written.
    Text(&'a [u8]),
    Null,
    Other,
}

impl Members {
    const ALL: u8 = 0b11_1111;

    fn note(&mut self, key: &[u8], value: Value<'_>) {
        let text = matches!(value, Value::Text(_));
        let text_or_null = text || matches!(value, Value::Null);
        let time = |value| if let Value::Text(text) = value { Timestamp::parse(text) } else { None };
        let (bit, met) = match key {
            b"timestamp" => {
                self.timestamp = time(value);
                // The contract's time is UTC, written with `Z`.
                (0, self.timestamp.is_some() && matches!(value, Value::Text([.., b'Z'])))
            }
            b"service" => (1, text),
            b"level" => (2, matches!(value, Value::Text(b"trace" | b"debug" | b"info" | b"warn" | b"error"))),
            b"message" => (3, text),
            b"request_id" => (4, text_or_null),
            b"project_id" => (5, text_or_null),
            b"@timestamp" => {
                self.at_timestamp = time(value);
                return;
            }
            b"time" => {
                self.time = time(value);
                return;
            }
            _ => return,
        };
        self.seen |= u8::from(met) << bit;
    }
}

#[cfg(test)]
mod tests;
