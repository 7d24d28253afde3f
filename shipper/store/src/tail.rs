//! What came in since, in the order in which it came.

use std::fmt;
use std::str::FromStr;

use serde_json::value::RawValue;

/// What came in, and where to go on.
#[derive(Debug)]
pub struct TailPage {
    /// Lines that were found, in the order in which the store took them.
    pub lines: Vec<Box<RawValue>>,
    /// After them, and after all that was looked at.
    pub place: TailPlace,
    /// Whether more is there already than was looked at.
    pub more: bool,
    /// Whether something right after the place that was asked for can't be given any more: the place is of another store,
    /// or what came then was removed.
    pub gap: bool,
}

/// A place in the order in which a store takes lines, good for any filter. Its text is at most
/// [`TailPlace::MAX_TEXT`] long and fits a `Last-Event-ID`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TailPlace(pub(crate) Place);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Of the embedded store: after this row.
    Row(i64),
    /// Of an engine: in each index, by name and in its order.
    Indices {
        /// When [`IndexPlace::seen`] was, in milliseconds since the Unix epoch.
        seen_unix_ms: i64,
        /// Ordered by name.
        indices: Vec<IndexPlace>,
    },
}

/// A place in one index. Engines number what they take, but a number may be seen before the one below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IndexPlace {
    /// The index's name after the prefix.
    pub(crate) suffix: String,
    /// Up to here all was given, -1 for nothing.
    pub(crate) given: i64,
    /// Up to here something was seen.
    pub(crate) seen: i64,
}

/// The text is not a place that a page gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a place to go on from: pass on what the last page gave")]
pub struct ParseTailPlaceError;

/// A place tells of no more indices than this, the last by name; lines that come into others are missed.
pub(crate) const MAX_INDICES: usize = 64;

/// No longer name of an index is told of.
pub(crate) const MAX_SUFFIX: usize = 40;

impl TailPlace {
    /// A longer text is no place.
    pub const MAX_TEXT: usize = 8_000;
}

impl fmt::Display for TailPlace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Place::Row(row) => write!(formatter, "r{row}"),
            Place::Indices { seen_unix_ms, indices } => {
                write!(formatter, "i{seen_unix_ms}")?;
                for IndexPlace { suffix, given, seen } in indices {
                    write!(formatter, ",{suffix}:{given}:{seen}")?;
                }
                Ok(())
            }
        }
    }
}

impl FromStr for TailPlace {
    type Err = ParseTailPlaceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let place = read(text).map(Self).ok_or(ParseTailPlaceError)?;
        // A place can be written in more ways than one; only ours is a place.
        if place.to_string() == text { Ok(place) } else { Err(ParseTailPlaceError) }
    }
}

fn read(text: &str) -> Option<Place> {
    if text.len() > TailPlace::MAX_TEXT {
        return None;
    }
    if let Some(row) = text.strip_prefix('r') {
        return row.parse().ok().filter(|row| *row >= 0).map(Place::Row);
    }
    let mut parts = text.strip_prefix('i')?.split(',');
    let seen_unix_ms = parts.next()?.parse().ok()?;
    let index = |text: &str| {
        let mut parts = text.splitn(3, ':');
        let (suffix, given, seen) = (parts.next()?, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let fits = is_told_of(suffix) && given >= -1 && seen >= given;
        fits.then(|| IndexPlace { suffix: suffix.to_owned(), given, seen })
    };
    let indices = parts.map(index).collect::<Option<Vec<_>>>()?;
    (indices.len() <= MAX_INDICES).then_some(Place::Indices { seen_unix_ms, indices })
}

/// Whether a place can tell of an index by this name.
pub(crate) fn is_told_of(suffix: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_' | b'.');
    (1..=MAX_SUFFIX).contains(&suffix.len()) && suffix.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_its_text() {
        for text in ["r0", "r17", "i0", "i1,2026.11.23:-1:4", "i9,2026.11.23:5:5,2026.11.24:0:9"] {
            assert_eq!(text.parse::<TailPlace>().unwrap().to_string(), text);
        }
        for text in ["", "r", "r-1", "r01", "i", "i1,a:1", "i1,a:1:0", "i1,A:1:1", "i1,a:1:1,", "x", "i1,a:1:1:1"] {
            assert_eq!(text.parse::<TailPlace>(), Err(ParseTailPlaceError), "{text}");
        }
        let index = IndexPlace { suffix: "x".repeat(MAX_SUFFIX), given: i64::MAX, seen: i64::MAX };
        let longest = Place::Indices { seen_unix_ms: i64::MIN, indices: vec![index; MAX_INDICES] };
        assert!(TailPlace(longest).to_string().len() <= TailPlace::MAX_TEXT);
    }
}
