//! Search requests and results, for engines and the embedded store alike.

use std::fmt;
use std::str::FromStr;

use serde_json::value::RawValue;

use crate::id::{GenerationId, MAX_OFFSET};
use crate::query::Filter;
use crate::timestamp::Timestamp;

/// Maximum number of lines in a page; a larger [`Search::limit`] is reduced to it.
pub const MAX_LIMIT: usize = 1_000;

/// Maximum size of a page's lines in bytes; a larger [`Search::bytes`] is reduced to it.
pub const MAX_PAGE_BYTES: usize = 16 * 1024 * 1024;

/// Selects lines and their order. The default is the newest 100 lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Search {
    /// Only lines that match this filter.
    pub filter: Filter,
    /// Only lines at or after this time.
    pub from: Option<Timestamp>,
    /// Only lines before this time.
    pub to: Option<Timestamp>,
    /// The order of the lines.
    pub order: Order,
    /// Maximum number of lines, from 1 to [`MAX_LIMIT`].
    pub limit: usize,
    /// Maximum size of the lines in bytes, up to [`MAX_PAGE_BYTES`]. A page that would exceed it ends early, with a
    /// cursor. It always has room for one line. An engine's response is read completely before it is cut.
    pub bytes: usize,
    /// Cursor of the previous page.
    pub cursor: Option<Cursor>,
}

impl Default for Search {
    fn default() -> Self {
        Self {
            filter: Filter::EVERY,
            from: None,
            to: None,
            order: Order::default(),
            limit: 100,
            bytes: MAX_PAGE_BYTES,
            cursor: None,
        }
    }
}

impl Search {
    /// Searches the newest 100 lines that match a filter.
    #[must_use]
    pub fn new(filter: Filter) -> Self {
        Self { filter, ..Self::default() }
    }

    /// Returns the limit within its bounds.
    pub(crate) fn bounded_limit(&self) -> usize {
        self.limit.clamp(1, MAX_LIMIT)
    }
}

/// Returns how many of these lines fit into `bytes`; the first one always does.
pub(crate) fn fit_count<'l>(lines: impl IntoIterator<Item = &'l RawValue>, bytes: usize) -> usize {
    let mut left = bytes.min(MAX_PAGE_BYTES);
    let fits = |(index, line): &(usize, &RawValue)| {
        let length = line.get().len();
        let fits = *index == 0 || length <= left;
        left = left.saturating_sub(length);
        fits
    };
    lines.into_iter().enumerate().take_while(fits).count()
}

/// Limits the size of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageLimits {
    /// Maximum number of lines, from 1 to [`MAX_LIMIT`].
    pub lines: usize,
    /// Maximum size of the lines in bytes, up to [`MAX_PAGE_BYTES`]. One line always fits.
    pub bytes: usize,
}

impl PageLimits {
    /// Limits the number of lines, but not their size.
    #[must_use]
    pub fn new(lines: usize) -> Self {
        Self { lines, bytes: MAX_PAGE_BYTES }
    }
}

/// Order of lines by time; lines of the same time are sorted by generation and offset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// Oldest line first.
    OldestFirst,
    /// Newest line first.
    #[default]
    NewestFirst,
}

/// A page of search results.
#[derive(Debug, Default)]
pub struct SearchPage {
    /// The stored documents, one JSON object each.
    pub lines: Vec<Box<RawValue>>,
    /// Cursor of the next page; `None` on the last page.
    pub next: Option<Cursor>,
    /// Cursor of the first line. A search in the opposite order from here returns the lines before this page.
    pub first: Option<Cursor>,
}

/// A line and its position in its source.
#[derive(Debug)]
pub struct SourceLine {
    /// Offset of the line in its source.
    pub offset: u64,
    /// The stored document.
    pub line: Box<RawValue>,
}

/// How far around an offset a restricted scope can look, in bytes to each side. A fixed distance reveals neither the
/// number nor the length of hidden lines.
pub const AROUND_MAX_BYTES: u64 = 8 * 1024 * 1024;

/// Lines of a source around an offset, in the order of the source.
#[derive(Debug, Default)]
pub struct Around {
    /// The lines.
    pub lines: Vec<SourceLine>,
    /// Lines before this offset were not examined or did not fit; there may be none. `None` if as many lines were found
    /// as requested, or if all were examined.
    pub earlier: Option<u64>,
    /// The same for lines at or after this offset.
    pub later: Option<u64>,
}

/// A position between two pages. It is valid for the same filters, in either order.
///
/// It is the position of the last line returned, so it stays valid while lines are added. Its text is opaque, consists
/// of the characters `0-9 a-z . _ -`, and is at most [`Cursor::MAX_TEXT`] bytes long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Microseconds since the Unix epoch.
    pub(crate) micros: i64,
    /// Nanoseconds beyond `micros`, which engines keep; less than 1,000.
    pub(crate) nanos: u16,
    /// `None` for documents that were not written by the shipper and have no origin.
    pub(crate) origin: Option<(GenerationId, u64)>,
}

/// The text is not a cursor returned by a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid cursor: expected the value of `next` from the previous page")]
pub struct ParseCursorError;

impl Cursor {
    /// Maximum length of a cursor's text in bytes.
    pub const MAX_TEXT: usize = 80;
}

impl fmt::Display for Cursor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{:03}", self.micros, self.nanos)?;
        match self.origin {
            Some((generation, offset)) => write!(formatter, "_{generation}_{offset}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Cursor {
    type Err = ParseCursorError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > Self::MAX_TEXT {
            return Err(ParseCursorError);
        }
        let mut parts = text.splitn(3, '_');
        let (micros, nanos) = parts.next().and_then(|time| time.split_once('.')).ok_or(ParseCursorError)?;
        let nanos = Some(nanos).filter(|nanos| nanos.len() == 3).and_then(|nanos| nanos.parse().ok());
        let origin = match (parts.next(), parts.next()) {
            (None, _) => None,
            (Some(generation), Some(offset)) => {
                let generation = generation.parse().map_err(|_| ParseCursorError)?;
                Some((generation, offset.parse().map_err(|_| ParseCursorError)?))
            }
            (Some(_), None) => return Err(ParseCursorError),
        };
        if origin.is_some_and(|(_, offset)| offset > MAX_OFFSET) {
            return Err(ParseCursorError);
        }
        let micros = micros.parse().map_err(|_| ParseCursorError)?;
        let cursor = Self { micros, nanos: nanos.ok_or(ParseCursorError)?, origin };
        // A number has several spellings; accept only the one that `Display` writes.
        if cursor.to_string() == text { Ok(cursor) } else { Err(ParseCursorError) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_cursor_round_trips_through_its_text(micros in any::<i64>(), nanos in 0..1_000_u16, offset in proptest::option::of(0..=MAX_OFFSET)) {
            let generation = GenerationId::new(1, &[7; 10]);
            let cursor = Cursor { micros, nanos, origin: offset.map(|offset| (generation, offset)) };
            let text = cursor.to_string();
            prop_assert!(text.len() <= Cursor::MAX_TEXT, "{}", text);
            prop_assert_eq!(text.parse(), Ok(cursor));
        }

        #[test]
        fn parsing_any_text_does_not_panic(text in ".{0,90}") {
            let _ = text.parse::<Cursor>();
        }
    }

    #[test]
    fn other_texts_are_rejected() {
        for text in [
            "",
            "1",
            "1.0",
            "1.+01",
            "1.000_",
            "1.000_xyz_1",
            "1.000_00000000000000000000000000000000",
            "1.000_00000000000000000000000000000000_281474976710656",
            "01.000",
            "+1.000",
        ] {
            assert_eq!(text.parse::<Cursor>(), Err(ParseCursorError), "{text}");
        }
    }
}
