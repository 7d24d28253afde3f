//! Errors of a query: where it is wrong, and what is expected.

use std::fmt;

/// A query can't be parsed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at column {}: {found}; {expected}", column)]
pub struct QueryError {
    /// Offset of the error in bytes.
    pub offset: usize,
    /// Column of the error in characters, starting at 1.
    pub column: usize,
    /// What was found there.
    pub found: String,
    /// What was expected there.
    pub expected: String,
}

/// Maximum number of characters of the query that a message repeats.
const SHOWN_CHARS: usize = 40;

impl QueryError {
    /// Creates an error at a byte offset of the query, which must be a character boundary.
    pub(super) fn new(query: &str, offset: usize, found: impl Into<String>, expected: impl Into<String>) -> Self {
        let column = query.get(..offset).map_or(0, |before| before.chars().count()) + 1;
        Self { offset, column, found: found.into(), expected: expected.into() }
    }
}

/// Formats a part of a query for a message: truncated, and with control characters escaped.
pub(super) fn shown(part: &str) -> impl fmt::Display {
    let mut text: String = part.chars().take(SHOWN_CHARS).flat_map(char::escape_debug).collect();
    if part.chars().nth(SHOWN_CHARS).is_some() {
        text.push('…');
    }
    format!("`{text}`")
}
