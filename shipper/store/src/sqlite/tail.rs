//! The newest lines, which are not part of a run yet, in memory.
//!
//! The file holds them as rows. The structure is rebuilt from those after a restart, or after another program wrote to
//! the file.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use rusqlite::Connection;

use crate::pattern::write_pattern;
use crate::query::words::words;
use crate::sqlite::bits;
use crate::sqlite::fields::{FieldCodes, IndexedFields};
use crate::sqlite::ids;
use crate::sqlite::line::Line;
use crate::sqlite::runs::{self, Run};
use crate::sqlite::terms::{self, BlockWriter, CODES, PATTERN, STATUS, WORD};

/// A small run being built.
#[derive(Debug)]
pub(crate) struct Tail {
    /// Id of the first line.
    first: i64,
    times: Vec<i64>,
    durations: Vec<(u16, f64)>,
    sets: HashMap<Box<[u8]>, Vec<u16>, RandomState>,
    /// Lines that have a field, by its code.
    having: [Vec<u16>; CODES],
    /// User-named fields.
    named: FieldCodes,
    /// Buffers, kept to reuse their memory.
    term: Vec<u8>,
    pattern: String,
}

impl Tail {
    /// Reads the lines after the last run from their rows.
    pub(crate) fn read(connection: &Connection, first: i64) -> rusqlite::Result<Self> {
        let mut tail = Self::empty(first, IndexedFields::read(connection)?.codes());
        let select = "SELECT id, time, document FROM logs WHERE id >= ?1 ORDER BY id";
        let mut statement = connection.prepare_cached(select)?;
        let mut rows = statement.query([first])?;
        while let Some(row) = rows.next()? {
            let id: i64 = row.get(0)?;
            let time = row.get(1)?;
            // A deleted row leaves a gap in the ids.
            while tail.next() < id {
                tail.times.push(time);
            }
            let document = row.get_ref(2)?.as_str()?;
            tail.add(&Line::from_stored(time, document), document);
        }
        Ok(tail)
    }

    fn empty(first: i64, named: FieldCodes) -> Self {
        Self {
            first,
            times: Vec::new(),
            durations: Vec::new(),
            sets: HashMap::default(),
            having: std::array::from_fn(|_| Vec::new()),
            named,
            term: Vec::new(),
            pattern: String::new(),
        }
    }

    /// Returns the id of the first line.
    pub(crate) fn first(&self) -> i64 {
        self.first
    }

    /// Returns the id of the next line.
    pub(crate) fn next(&self) -> i64 {
        self.first + i64::try_from(self.times.len()).unwrap_or(i64::MAX)
    }

    /// Whether there are enough lines for a run of `small` lines.
    pub(crate) fn is_full(&self, small: i64) -> bool {
        self.next() - self.first >= small
    }

    /// Returns the durations of the lines in milliseconds, with their indices, which do not decrease.
    pub(crate) fn durations(&self) -> &[(u16, f64)] {
        &self.durations
    }

    /// Calls `with` for each term that begins with `prefix`, in order, and its set in a run of `lines` lines.
    pub(crate) fn each_with_prefix(&self, prefix: &[u8], lines: usize, mut with: impl FnMut(&[u8], &[u8])) {
        let mut bytes = Vec::new();
        let has_terms = self.has_terms();
        for (term, indices) in self.sorted(&has_terms).into_iter().filter(|(term, _)| term.starts_with(prefix)) {
            bytes.clear();
            bits::encode(&mut bytes, indices, lines);
            with(term, &bytes);
        }
    }

    /// Returns the terms of lines that have a field.
    fn has_terms(&self) -> [[u8; 2]; CODES] {
        std::array::from_fn(|code| terms::has_field(u8::try_from(code).unwrap_or(0)))
    }

    /// Returns all terms in order, with the indices of their lines.
    fn sorted<'t>(&'t self, has_terms: &'t [[u8; 2]; CODES]) -> Vec<(&'t [u8], &'t [u16])> {
        let mut sets: Vec<(&[u8], &[u16])> =
            self.sets.iter().map(|(term, indices)| (&**term, indices.as_slice())).collect();
        let having = has_terms.iter().zip(&self.having).filter(|(_, indices)| !indices.is_empty());
        sets.extend(having.map(|(head, indices)| (head.as_slice(), indices.as_slice())));
        // Most terms differ in their first eight bytes, so comparing these first avoids reading the terms themselves.
        let mut keyed: Vec<_> = sets.into_iter().map(|(term, indices)| (sort_key(term), term, indices)).collect();
        keyed.sort_unstable_by(|one, other| (one.0, one.1).cmp(&(other.0, other.1)));
        keyed.into_iter().map(|(_, term, indices)| (term, indices)).collect()
    }

    /// Adds the line with the [next](Self::next) id and its document.
    pub(crate) fn add(&mut self, line: &Line<'_>, document: &str) {
        let index = u16::try_from(self.times.len()).unwrap_or(u16::MAX);
        self.times.push(line.time);
        for (field, value) in &line.texts {
            let code = field.code();
            self.put(code, value.as_bytes(), index);
            if let Some(indices) =
                self.having.get_mut(usize::from(code)).filter(|indices| indices.last() != Some(&index))
            {
                indices.push(index);
            }
        }
        for status in &line.statuses {
            self.put(STATUS, &terms::status(*status)[1..], index);
        }
        self.durations.extend(line.durations.iter().map(|duration| (index, *duration)));
        for word in words(&line.message) {
            self.put(WORD, word.as_bytes(), index);
        }
        let named = std::mem::take(&mut self.named);
        named.each_term(document, |kind, term| self.put(kind, term, index));
        self.named = named;
        let mut pattern = std::mem::take(&mut self.pattern);
        pattern.clear();
        write_pattern(&line.message, &mut pattern);
        self.put(PATTERN, pattern.as_bytes(), index);
        self.pattern = pattern;
    }

    fn put(&mut self, kind: u8, value: &[u8], index: u16) {
        if !self.put_known(kind, value, index) {
            let term = self.term.as_slice().into();
            self.sets.insert(term, vec![index]);
        }
    }

    /// Adds the index to an existing term. Returns `false` if the term is new; it is then in `self.term`.
    fn put_known(&mut self, kind: u8, value: &[u8], index: u16) -> bool {
        self.term.clear();
        self.term.push(kind);
        self.term.extend_from_slice(value);
        let Some(indices) = self.sets.get_mut(self.term.as_slice()) else { return false };
        if indices.last() != Some(&index) {
            indices.push(index);
        }
        true
    }

    /// Writes the lines as a run and starts the next one.
    pub(crate) fn seal(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let has_terms = self.has_terms();
        let sets = self.sorted(&has_terms).into_iter();
        let run = Run { first: self.first, times: &self.times, durations: &self.durations };
        write_run(connection, &run, sets)?;
        *self = Self::empty(self.next(), std::mem::take(&mut self.named));
        Ok(())
    }
}

/// Writes a small run with its terms, in ascending order.
pub(crate) fn write_run<'t>(
    connection: &Connection,
    run: &Run<'_>,
    sets: impl Iterator<Item = (&'t [u8], &'t [u16])>,
) -> rusqlite::Result<()> {
    let mut blocks = BlockWriter::new(connection, run.first);
    let (mut bytes, mut hashes) = (Vec::new(), Vec::new());
    for (term, indices) in sets {
        bytes.clear();
        bits::encode(&mut bytes, indices, run.times.len());
        blocks.push(term, &bytes)?;
        if ids::is_looked_up(term) {
            hashes.push(ids::hash(term));
        }
    }
    blocks.finish()?;
    ids::put_small(connection, run.first, &hashes)?;
    runs::put(connection, run, None)
}

/// Returns the first eight bytes of a term as a number with the same order.
fn sort_key(term: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    let length = term.len().min(8);
    bytes[..length].copy_from_slice(&term[..length]);
    u64::from_be_bytes(bytes)
}
