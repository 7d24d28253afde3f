//! The search index: for each run, its terms and the lines that have them.
//!
//! A term is a kind of one byte and a value: a field's code and its text, a status, a word of the message, its pattern,
//! or "has the field". [User-named fields](crate::sqlite::fields) have kinds of their own. Codes are part of the file
//! format and are never reused.
//!
//! The sorted terms of a run are stored in blocks of about [`BLOCK_BYTES`], one row of `terms` each, which is found by
//! its first term. Within a block, a term is `shared, rest length, rest, set length, set`. Numbers are varints;
//! `shared` is the number of leading bytes in common with the previous term, and `set` is an encoded
//! [set](crate::sqlite::bits) of lines.

use std::ops::Range;

use rusqlite::{Connection, OptionalExtension as _, params};

use crate::sqlite::bits::{put_varint, take_varint};

/// Maximum size of a block, chosen so that its row fits a page of 4 KiB.
const BLOCK_BYTES: usize = 3_700;

/// Kind of statuses.
pub(crate) const STATUS: u8 = 40;
/// Kind of words of messages.
pub(crate) const WORD: u8 = 50;
/// Kind of patterns of messages.
pub(crate) const PATTERN: u8 = 60;
/// Kind of "has the field", followed by the field's code.
const HAS: u8 = 70;

/// Upper bound of field codes, exclusive.
pub(crate) const CODES: usize = 32;

/// Returns the term of a text.
pub(crate) fn term(kind: u8, value: &str) -> Vec<u8> {
    let mut term = Vec::with_capacity(1 + value.len());
    term.push(kind);
    term.extend_from_slice(value.as_bytes());
    term
}

/// Returns the term of lines that have the field with this code.
pub(crate) const fn has_field(code: u8) -> [u8; 2] {
    [HAS, code]
}

/// Returns the term of a status. Terms sort in numeric order.
pub(crate) fn status(number: i32) -> [u8; 5] {
    let mut term = [STATUS; 5];
    term[1..].copy_from_slice(&(number ^ i32::MIN).to_be_bytes());
    term
}

/// Returns the number of a status term.
pub(crate) fn status_of(term: &[u8]) -> Option<i32> {
    let bytes = term.get(1..5)?.try_into().ok()?;
    Some(i32::from_be_bytes(bytes) ^ i32::MIN)
}

/// Writes sorted terms in blocks.
pub(crate) struct BlockWriter<'c> {
    connection: &'c Connection,
    run: i64,
    first: Vec<u8>,
    last: Vec<u8>,
    data: Vec<u8>,
}

impl<'c> BlockWriter<'c> {
    pub(crate) fn new(connection: &'c Connection, run: i64) -> Self {
        Self { connection, run, first: Vec::new(), last: Vec::new(), data: Vec::with_capacity(2 * BLOCK_BYTES) }
    }

    /// Appends a term, which must be greater than the previous one, and its set.
    pub(crate) fn push(&mut self, term: &[u8], set: &[u8]) -> rusqlite::Result<()> {
        if !self.data.is_empty() && self.data.len() + set.len() + 16 > BLOCK_BYTES {
            self.finish()?;
        }
        let shared = if self.data.is_empty() {
            self.first.clear();
            self.first.extend_from_slice(term);
            0
        } else {
            self.last.iter().zip(term).take_while(|(last, own)| last == own).count()
        };
        put_varint(&mut self.data, shared as u64);
        put_varint(&mut self.data, (term.len() - shared) as u64);
        self.data.extend_from_slice(&term[shared..]);
        put_varint(&mut self.data, set.len() as u64);
        self.data.extend_from_slice(set);
        self.last.truncate(shared);
        self.last.extend_from_slice(&term[shared..]);
        Ok(())
    }

    /// Writes the current block.
    pub(crate) fn finish(&mut self) -> rusqlite::Result<()> {
        if !self.data.is_empty() {
            let insert = "INSERT INTO terms (run, first, data) VALUES (?1, ?2, ?3)";
            self.connection.prepare_cached(insert)?.execute(params![self.run, self.first, self.data])?;
            self.data.clear();
            self.last.clear();
        }
        Ok(())
    }
}

/// Calls `with` for each term of a block and its set, until it returns `false`. Returns whether it never did.
fn each_in(mut block: &[u8], mut with: impl FnMut(&[u8], &[u8]) -> bool) -> bool {
    let mut term = Vec::new();
    while !block.is_empty() {
        let shared = length(&mut block);
        let rest = length(&mut block);
        let Some((rest, after)) = block.split_at_checked(rest) else { return true };
        block = after;
        term.truncate(shared);
        term.extend_from_slice(rest);
        let set = length(&mut block);
        let Some((set, after)) = block.split_at_checked(set) else { return true };
        block = after;
        if !with(&term, set) {
            return false;
        }
    }
    true
}

fn length(block: &mut &[u8]) -> usize {
    usize::try_from(take_varint(block)).unwrap_or(usize::MAX)
}

/// Returns the set of a term in a run.
pub(crate) fn find(connection: &Connection, run: i64, term: &[u8]) -> rusqlite::Result<Option<Vec<u8>>> {
    let select = "SELECT data FROM terms WHERE run = ?1 AND first <= ?2 ORDER BY first DESC LIMIT 1";
    let mut statement = connection.prepare_cached(select)?;
    let found = statement.query_row(params![run, term], |row| {
        let mut found = None;
        each_in(row.get_ref(0)?.as_blob()?, |own, set| {
            if own == term {
                found = Some(set.to_vec());
            }
            own < term
        });
        Ok(found)
    });
    Ok(found.optional()?.flatten())
}

/// Calls `with` for each term of a run that begins with `prefix`, in order, and its set.
pub(crate) fn each_with_prefix(
    connection: &Connection,
    run: i64,
    prefix: &[u8],
    mut with: impl FnMut(&[u8], &[u8]),
) -> rusqlite::Result<()> {
    each_from(connection, run, prefix, |term, set| {
        let begins = term.starts_with(prefix);
        if begins {
            with(term, set);
        }
        begins
    })
}

/// Calls `with` for each term of a run in an inclusive range, in order, and its set.
pub(crate) fn each_between(
    connection: &Connection,
    run: i64,
    from: &[u8],
    to: &[u8],
    mut with: impl FnMut(&[u8], &[u8]),
) -> rusqlite::Result<()> {
    each_from(connection, run, from, |term, set| {
        let is_within = term <= to;
        if is_within {
            with(term, set);
        }
        is_within
    })
}

/// Calls `with` for each term of a run, starting at `from`, until it returns `false`.
fn each_from(
    connection: &Connection,
    run: i64,
    from: &[u8],
    mut with: impl FnMut(&[u8], &[u8]) -> bool,
) -> rusqlite::Result<()> {
    // Such terms may be at the end of the preceding block.
    let select = "SELECT data FROM terms WHERE run = ?1 AND first >= coalesce(
                      (SELECT first FROM terms WHERE run = ?1 AND first <= ?2 ORDER BY first DESC LIMIT 1), x'')
                  ORDER BY first";
    let mut statement = connection.prepare_cached(select)?;
    let mut rows = statement.query(params![run, from])?;
    while let Some(row) = rows.next()? {
        let continues = each_in(row.get_ref(0)?.as_blob()?, |term, set| term < from || with(term, set));
        if !continues {
            break;
        }
    }
    Ok(())
}

/// Returns the last term of a run.
pub(crate) fn last(connection: &Connection, run: i64) -> rusqlite::Result<Option<Vec<u8>>> {
    let select = "SELECT data FROM terms WHERE run = ?1 ORDER BY first DESC LIMIT 1";
    let last = connection.prepare_cached(select)?.query_row([run], |row| {
        let mut last = None;
        each_in(row.get_ref(0)?.as_blob()?, |term, _| {
            last = Some(term.to_vec());
            true
        });
        Ok(last)
    });
    Ok(last.optional()?.flatten())
}

/// Iterates over a run's terms, one block at a time.
pub(crate) struct TermReader {
    run: i64,
    first: Vec<u8>,
    block: Vec<u8>,
    at: usize,
    term: Vec<u8>,
    set: Range<usize>,
    blocks: usize,
}

impl TermReader {
    /// Starts after a term, or at the first one. Returns `None` if there is none.
    pub(crate) fn after(connection: &Connection, run: i64, after: Option<&[u8]>) -> rusqlite::Result<Option<Self>> {
        let (first, block) = (Vec::new(), Vec::new());
        let mut reader = Self { run, first, block, at: 0, term: Vec::new(), set: 0..0, blocks: 0 };
        let from = "SELECT first, data FROM terms WHERE run = ?1 AND first <= ?2 ORDER BY first DESC LIMIT 1";
        if let Some(after) = after {
            reader.read_block(connection, from, after)?;
        }
        while reader.advance(connection)? {
            if after.is_none_or(|after| reader.term.as_slice() > after) {
                return Ok(Some(reader));
            }
        }
        Ok(None)
    }

    pub(crate) fn term(&self) -> &[u8] {
        &self.term
    }

    pub(crate) fn set(&self) -> &[u8] {
        &self.block[self.set.clone()]
    }

    /// Returns the number of blocks read.
    pub(crate) fn blocks(&self) -> usize {
        self.blocks
    }

    /// Advances to the next term. Returns whether there is one.
    pub(crate) fn advance(&mut self, connection: &Connection) -> rusqlite::Result<bool> {
        if self.at >= self.block.len() {
            let first = std::mem::take(&mut self.first);
            let begin = "SELECT first, data FROM terms WHERE run = ?1 AND first >= ?2 ORDER BY first LIMIT 1";
            let next = "SELECT first, data FROM terms WHERE run = ?1 AND first > ?2 ORDER BY first LIMIT 1";
            if !self.read_block(connection, if self.block.is_empty() { begin } else { next }, &first)? {
                return Ok(false);
            }
        }
        let mut rest = &self.block[self.at..];
        let shared = length(&mut rest);
        let own = length(&mut rest);
        let Some((own, mut rest)) = rest.split_at_checked(own) else { return Ok(false) };
        self.term.truncate(shared);
        self.term.extend_from_slice(own);
        let set = length(&mut rest);
        let start = self.block.len() - rest.len();
        self.set = start..start.saturating_add(set).min(self.block.len());
        self.at = self.set.end;
        Ok(true)
    }

    /// Reads the block that a query finds for a term. Returns whether there is one.
    fn read_block(&mut self, connection: &Connection, select: &str, by: &[u8]) -> rusqlite::Result<bool> {
        let mut statement = connection.prepare_cached(select)?;
        let found = statement.query_row(params![self.run, by], |row| {
            self.first.clear();
            self.first.extend_from_slice(row.get_ref(0)?.as_blob()?);
            self.block.clear();
            self.block.extend_from_slice(row.get_ref(1)?.as_blob()?);
            Ok(())
        });
        (self.at, self.blocks) = (0, self.blocks + 1);
        Ok(found.optional()?.is_some())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn terms_are_found_again(terms in prop::collection::btree_map(
            prop::collection::vec(0..4_u8, 0..12), prop::collection::vec(any::<u8>(), 0..400), 0..200)) {
            let mut connection = Connection::open_in_memory().unwrap();
            crate::sqlite::schema::create(&mut connection).unwrap();
            for run in [0, 1_024] {
                let mut writer = BlockWriter::new(&connection, run);
                for (term, set) in &terms {
                    writer.push(term, set).unwrap();
                }
                writer.finish().unwrap();
            }
            for (term, set) in &terms {
                let found = find(&connection, 0, term).unwrap();
                prop_assert_eq!(found.as_ref(), Some(set));
            }
            for after in [None, Some(&[][..]), Some(&[1, 3][..]), Some(&[3, 3, 3, 3, 3][..])] {
                let mut found = Vec::new();
                let mut reader = TermReader::after(&connection, 1_024, after).unwrap();
                while let Some(read) = &mut reader {
                    found.push((read.term().to_vec(), read.set().to_vec()));
                    if !read.advance(&connection).unwrap() {
                        break;
                    }
                }
                let expected: Vec<_> = terms
                    .iter()
                    .filter(|(term, _)| after.is_none_or(|after| term.as_slice() > after))
                    .map(|(term, set)| (term.clone(), set.clone()))
                    .collect();
                prop_assert_eq!(found, expected);
            }
            prop_assert_eq!(last(&connection, 0).unwrap(), terms.keys().next_back().cloned());
            for prefix in [&[][..], &[2], &[1, 3], &[0, 0, 1], &[9]] {
                let mut found = BTreeMap::new();
                each_with_prefix(&connection, 1_024, prefix, |term, set| {
                    found.insert(term.to_vec(), set.to_vec());
                }).unwrap();
                let expected: BTreeMap<_, _> =
                    terms.iter().filter(|(term, _)| term.starts_with(prefix)).map(|(t, s)| (t.clone(), s.clone())).collect();
                prop_assert_eq!(found, expected);
                if !terms.contains_key(prefix) {
                    prop_assert_eq!(find(&connection, 0, prefix).unwrap(), None);
                }
            }
        }
    }

    #[test]
    fn codes_of_fields_are_below_those_of_other_kinds() {
        assert!(crate::query::Field::ALL.iter().all(|field| usize::from(field.code()) < CODES));
    }

    #[test]
    fn statuses_sort_as_numbers() {
        let numbers = [i32::MIN, -1, 0, 200, 404, i32::MAX];
        assert!(numbers.map(status).is_sorted());
        assert_eq!(numbers.map(|number| status_of(&status(number))), numbers.map(Some));
    }
}
