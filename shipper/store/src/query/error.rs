//! Where a query is wrong, and what would be right.

use std::fmt;

/// A place in a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Bytes before it.
    pub byte: usize,
    /// Its character, counted from 1.
    pub column: usize,
}

/// A query that can't be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at column {}: {found}; {expected}", place.column)]
pub struct QueryError {
    /// Where it is wrong.
    pub place: Place,
    /// What stands there.
    pub found: String,
    /// What would be right there.
    pub expected: String,
}

/// Characters of a query that an error repeats.
const SHOWN_CHARS: usize = 40;

impl QueryError {
    /// An error at this byte of the query, which lies between two characters.
    pub(super) fn new(query: &str, byte: usize, found: impl Into<String>, expected: impl Into<String>) -> Self {
        let column = query.get(..byte).map_or(0, |before| before.chars().count()) + 1;
        Self { place: Place { byte, column }, found: found.into(), expected: expected.into() }
    }
}

/// A part of a query as an error repeats it: cut, and with control characters escaped.
pub(super) fn shown(part: &str) -> impl fmt::Display {
    let mut text: String = part.chars().take(SHOWN_CHARS).flat_map(char::escape_debug).collect();
    if part.chars().nth(SHOWN_CHARS).is_some() {
        text.push('…');
    }
    format!("`{text}`")
}
