//! Sets of the lines of a run that match.

use rusqlite::Connection;

use crate::sqlite::bits::{self, Bits};
use crate::sqlite::runs::RunInfo;
use crate::sqlite::terms;

/// The lines of a run that match a filter.
#[derive(Clone, Debug)]
pub(crate) struct Matches {
    /// Lines that match for certain.
    pub(crate) certain: Bits,
    /// Lines that may match, including the certain ones.
    pub(crate) possible: Bits,
}

impl Matches {
    pub(crate) fn exactly(bits: Bits) -> Self {
        Self { certain: bits.clone(), possible: bits }
    }

    pub(crate) fn none() -> Self {
        Self::exactly(Bits::none())
    }

    pub(crate) fn all(run: &RunInfo) -> Self {
        Self::exactly(Bits::first(run.lines))
    }
}

/// Returns the lines that have a term.
pub(crate) fn lines_with_term(connection: &Connection, run: &RunInfo, term: &[u8]) -> rusqlite::Result<Bits> {
    let mut bits = Bits::none();
    if let Some(set) = terms::find(connection, run.terms, term)? {
        bits::add(&mut bits, &set, run.lines);
    }
    Ok(bits)
}
