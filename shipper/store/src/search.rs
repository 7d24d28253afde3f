//! What is asked of a store, and what it answers: the same for an engine and for the embedded store.

use std::fmt;
use std::str::FromStr;

use serde_json::value::RawValue;

use crate::id::{GenerationId, MAX_OFFSET};
use crate::query::Filter;
use crate::timestamp::Timestamp;

/// No page holds more lines than this; a greater [`Search::limit`] is taken as this.
pub const MAX_LIMIT: usize = 1_000;

/// No page holds more bytes of lines than this; a greater [`Search::bytes`] is taken as this.
pub const MAX_PAGE_BYTES: usize = 16 * 1024 * 1024;

/// Which lines, in what order. The default is the newest hundred of all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Search {
    /// Only lines that this finds.
    pub filter: Filter,
    /// Only lines at this time or later.
    pub from: Option<Timestamp>,
    /// Only lines before this time.
    pub to: Option<Timestamp>,
    /// Which come first.
    pub order: Order,
    /// How many lines at most; at least one, at most [`MAX_LIMIT`].
    pub limit: usize,
    /// How many bytes of lines at most: a page ends early, with a cursor, before its lines are longer together. One line
    /// always fits. At most [`MAX_PAGE_BYTES`]. An engine's answer is read whole before it is cut.
    pub bytes: usize,
    /// Where the last page ended.
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
    /// The newest hundred of the lines that a filter finds.
    #[must_use]
    pub fn of(filter: Filter) -> Self {
        Self { filter, ..Self::default() }
    }

    /// The limit within its bounds.
    pub(crate) fn bounded_limit(&self) -> usize {
        self.limit.clamp(1, MAX_LIMIT)
    }
}

/// How many of these lines have room together; the first always has.
pub(crate) fn fitting<'l>(lines: impl IntoIterator<Item = &'l RawValue>, bytes: usize) -> usize {
    let mut left = bytes.min(MAX_PAGE_BYTES);
    let fits = |(index, line): &(usize, &RawValue)| {
        let length = line.get().len();
        let fits = *index == 0 || length <= left;
        left = left.saturating_sub(length);
        fits
    };
    lines.into_iter().enumerate().take_while(fits).count()
}

/// What an answer has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Lines at most; at least one, at most [`MAX_LIMIT`].
    pub lines: usize,
    /// Bytes of lines at most, at most [`MAX_PAGE_BYTES`]. One line always fits.
    pub bytes: usize,
}

impl Room {
    /// Room for this many lines, however long they are.
    #[must_use]
    pub fn of(lines: usize) -> Self {
        Self { lines, bytes: MAX_PAGE_BYTES }
    }
}

/// The order of lines by time; lines of the same time stand by generation and offset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// As they were written.
    OldestFirst,
    /// The latest at the top.
    #[default]
    NewestFirst,
}

/// Lines that were found.
#[derive(Debug, Default)]
pub struct Page {
    /// The documents as the store holds them, one JSON object each.
    pub lines: Vec<Box<RawValue>>,
    /// Where to go on; `None` when this is all.
    pub next: Option<Cursor>,
    /// The place of the first line: a search in the other order that goes on from there finds what stands before this page.
    pub first: Option<Cursor>,
}

/// A line of a source, at its place.
#[derive(Debug)]
pub struct SourceLine {
    /// Bytes of the source before it.
    pub offset: u64,
    /// The document as the store holds it.
    pub line: Box<RawValue>,
}

/// Whoever does not see all lines is shown what stands within so many bytes of a source to each side of a place, and goes on
/// from there: how long the others' lines are, and how many, changes neither.
pub const AROUND_MAX_BYTES: u64 = 8 * 1024 * 1024;

/// Lines of a source around a place, in its order.
#[derive(Debug, Default)]
pub struct Around {
    /// The lines.
    pub lines: Vec<SourceLine>,
    /// Lines that begin before this place were not looked at, or had no room, whether there are any or not; none where as
    /// many were found as were asked for, or all were looked at.
    pub earlier: Option<u64>,
    /// The same of lines that begin here or later.
    pub later: Option<u64>,
}

/// The place between two pages, good for the search (filters) that it came from, in either order.
///
/// It is the position of the last line given, so it stays right while lines come in. Its text is opaque, of the
/// characters `0-9 a-z . _ -` only, and at most [`Cursor::MAX_TEXT`] long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Microseconds since the Unix epoch,
    pub(crate) micros: i64,
    /// and nanoseconds beyond them, which engines keep; under 1,000.
    pub(crate) nanos: u16,
    /// None for documents that no shipper wrote; those have neither.
    pub(crate) origin: Option<(GenerationId, u64)>,
}

/// The text is not a cursor that a page gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a cursor: pass on what the last page gave as next")]
pub struct ParseCursorError;

impl Cursor {
    /// A longer text is no cursor.
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
        // A number can be written in more ways than one; only ours is a cursor.
        if cursor.to_string() == text { Ok(cursor) } else { Err(ParseCursorError) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_cursor_is_its_text(micros in any::<i64>(), nanos in 0..1_000_u16, offset in proptest::option::of(0..=MAX_OFFSET)) {
            let generation = GenerationId::new(1, &[7; 10]);
            let cursor = Cursor { micros, nanos, origin: offset.map(|offset| (generation, offset)) };
            let text = cursor.to_string();
            prop_assert!(text.len() <= Cursor::MAX_TEXT, "{}", text);
            prop_assert_eq!(text.parse(), Ok(cursor));
        }

        #[test]
        fn any_text_is_read_without_a_panic(text in ".{0,90}") {
            let _ = text.parse::<Cursor>();
        }
    }

    #[test]
    fn other_texts_are_no_cursors() {
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
