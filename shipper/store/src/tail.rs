//! Following new lines in the order in which the store received them.

use std::fmt;
use std::str::FromStr;

use serde_json::value::RawValue;

/// New lines, and the cursor of the next page.
#[derive(Debug)]
pub struct TailPage {
    /// The matching lines, in the order in which the store received them.
    pub lines: Vec<Box<RawValue>>,
    /// The position after everything examined, whether it matched or not.
    pub cursor: TailCursor,
    /// Whether the store already has more lines than were examined.
    pub more: bool,
    /// Whether lines right after the requested cursor are no longer available: the cursor belongs to another store, or
    /// the lines were removed.
    pub gap: bool,
}

/// A position in the order in which a store receives lines. It is valid for any filter. Its text is at most
/// [`TailCursor::MAX_TEXT`] bytes long and fits a `Last-Event-ID` header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TailCursor(pub(crate) TailPosition);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TailPosition {
    /// Embedded store: after this row.
    Row(i64),
    /// Engine: a position in each index.
    Indices {
        /// When [`IndexPosition::seen`] was read, in milliseconds since the Unix epoch.
        seen_unix_ms: i64,
        /// Sorted by name.
        indices: Vec<IndexPosition>,
    },
}

/// A position in one index. Engines number documents in sequence, but a number may become visible before a smaller one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IndexPosition {
    /// The index name without the prefix.
    pub(crate) suffix: String,
    /// All documents up to this sequence number were returned; -1 for none.
    pub(crate) returned: i64,
    /// The largest sequence number seen.
    pub(crate) seen: i64,
}

/// The text is not a cursor returned by a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid cursor: expected the cursor of the previous page")]
pub struct ParseTailCursorError;

/// Maximum number of indices in a cursor, the last ones by name. Lines added to other indices are missed.
pub(crate) const MAX_INDICES: usize = 64;

/// Maximum length of an index name after the prefix.
pub(crate) const MAX_SUFFIX: usize = 40;

impl TailCursor {
    /// Maximum length of a cursor's text in bytes.
    pub const MAX_TEXT: usize = 8_000;
}

impl fmt::Display for TailCursor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            TailPosition::Row(row) => write!(formatter, "r{row}"),
            TailPosition::Indices { seen_unix_ms, indices } => {
                write!(formatter, "i{seen_unix_ms}")?;
                for IndexPosition { suffix, returned, seen } in indices {
                    write!(formatter, ",{suffix}:{returned}:{seen}")?;
                }
                Ok(())
            }
        }
    }
}

impl FromStr for TailCursor {
    type Err = ParseTailCursorError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let cursor = parse_position(text).map(Self).ok_or(ParseTailCursorError)?;
        // A position has several spellings; accept only the one that `Display` writes.
        if cursor.to_string() == text { Ok(cursor) } else { Err(ParseTailCursorError) }
    }
}

fn parse_position(text: &str) -> Option<TailPosition> {
    if text.len() > TailCursor::MAX_TEXT {
        return None;
    }
    if let Some(row) = text.strip_prefix('r') {
        return row.parse().ok().filter(|row| *row >= 0).map(TailPosition::Row);
    }
    let mut parts = text.strip_prefix('i')?.split(',');
    let seen_unix_ms = parts.next()?.parse().ok()?;
    let index = |text: &str| {
        let mut parts = text.splitn(3, ':');
        let (suffix, returned, seen) = (parts.next()?, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let fits = is_valid_suffix(suffix) && returned >= -1 && seen >= returned;
        fits.then(|| IndexPosition { suffix: suffix.to_owned(), returned, seen })
    };
    let indices = parts.map(index).collect::<Option<Vec<_>>>()?;
    (indices.len() <= MAX_INDICES).then_some(TailPosition::Indices { seen_unix_ms, indices })
}

/// Whether a cursor can contain an index with this suffix.
pub(crate) fn is_valid_suffix(suffix: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_' | b'.');
    (1..=MAX_SUFFIX).contains(&suffix.len()) && suffix.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_round_trips_through_its_text() {
        for text in ["r0", "r17", "i0", "i1,2026.11.23:-1:4", "i9,2026.11.23:5:5,2026.11.24:0:9"] {
            assert_eq!(text.parse::<TailCursor>().unwrap().to_string(), text);
        }
        for text in ["", "r", "r-1", "r01", "i", "i1,a:1", "i1,a:1:0", "i1,A:1:1", "i1,a:1:1,", "x", "i1,a:1:1:1"] {
            assert_eq!(text.parse::<TailCursor>(), Err(ParseTailCursorError), "{text}");
        }
        let index = IndexPosition { suffix: "x".repeat(MAX_SUFFIX), returned: i64::MAX, seen: i64::MAX };
        let longest = TailPosition::Indices { seen_unix_ms: i64::MIN, indices: vec![index; MAX_INDICES] };
        assert!(TailCursor(longest).to_string().len() <= TailCursor::MAX_TEXT);
    }
}
