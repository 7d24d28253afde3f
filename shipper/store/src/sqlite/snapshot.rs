//! A consistent view of the file for one read, with a time limit.

use std::cell::OnceCell;
use std::ops::Range;

use memchr::memchr;
use memchr::memmem::Finder;
use rusqlite::{Connection, OptionalExtension as _, Transaction, ffi};

use crate::id::GenerationId;
use crate::query::Filter;
use crate::scope::Scope;
use crate::sqlite::bits::Bits;
use crate::sqlite::fields::IndexedFields;
use crate::sqlite::ids;
use crate::sqlite::matches::Matches;
use crate::sqlite::read_context::ReadContext;
use crate::sqlite::runs::{self, RunInfo};
use crate::sqlite::select;
use crate::sqlite::sizes::Sizes;
use crate::sqlite::tail::Tail;
use crate::sqlite::terms;

/// Number of rows between two checks of the time limit.
const ROWS_PER_LOOK: usize = 256;

/// Maximum number of lines whose times are read from their rows; for more, the run's times are read.
const TIMES_BY_ROW: u64 = 64;

/// A consistent view of the file.
pub(crate) struct Snapshot<'c> {
    transaction: Transaction<'c>,
    context: ReadContext,
    tail: OnceCell<Tail>,
    indexed: OnceCell<IndexedFields>,
}

/// Lines with consecutive ids: a run, or the newest lines, which are not in a run.
pub(crate) enum Chunk {
    /// A run with terms.
    Run(RunInfo),
    /// The newest lines, without terms. `earliest` and `latest` are those of the lines.
    Tail(RunInfo),
}

impl Chunk {
    pub(crate) fn info(&self) -> &RunInfo {
        match self {
            Self::Run(info) | Self::Tail(info) => info,
        }
    }
}

/// A row of `logs`.
pub(crate) struct Row {
    pub(crate) source: i64,
    pub(crate) offset: i64,
    pub(crate) document: String,
}

impl<'c> Snapshot<'c> {
    /// Starts a snapshot within the limits of `context`.
    pub(crate) fn begin(connection: &'c Connection, context: &ReadContext) -> rusqlite::Result<Self> {
        Ok(Self {
            transaction: connection.unchecked_transaction()?,
            context: context.clone(),
            tail: OnceCell::new(),
            indexed: OnceCell::new(),
        })
    }

    pub(crate) fn connection(&self) -> &Connection {
        &self.transaction
    }

    /// Returns the user-named fields.
    pub(crate) fn indexed_fields(&self) -> rusqlite::Result<&IndexedFields> {
        if let Some(indexed) = self.indexed.get() {
            return Ok(indexed);
        }
        let indexed = IndexedFields::read(self.connection())?;
        Ok(self.indexed.get_or_init(|| indexed))
    }

    /// Fails if the time limit has expired or the read was cancelled.
    pub(crate) fn check_deadline(&self) -> rusqlite::Result<()> {
        if !self.context.is_expired() {
            return Ok(());
        }
        Err(rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_INTERRUPT), None))
    }

    /// Returns all lines that a filter may match, in order of arrival, as whole chunks: those with times in `[from,
    /// to)`. If the filter requires ids, runs that can't contain them are left out.
    pub(crate) fn chunks(
        &self,
        scope: &Scope,
        filter: &Filter,
        from: Option<i64>,
        to: Option<i64>,
    ) -> rusqlite::Result<Vec<Chunk>> {
        let mut runs = runs::infos(self.connection(), 0..i64::MAX)?;
        if let Some(terms) = ids::required_terms(filter) {
            let mut may = ids::may_have(self.connection(), Sizes::read(self.connection())?, &runs, &terms)?;
            if *scope != Scope::All {
                ids::pad(&mut may, &terms);
            }
            let mut may = may.into_iter();
            runs.retain(|_| may.next() != Some(false));
        }
        let mut chunks: Vec<_> = runs.into_iter().map(Chunk::Run).collect();
        let first = runs::end(self.connection())?;
        let select = "SELECT max(id) - ?1 + 1, min(time), max(time) FROM logs WHERE id >= ?1";
        let tail = self.connection().prepare_cached(select)?.query_row([first], |row| {
            let lines: Option<i64> = row.get(0)?;
            Ok(lines.map(|lines| (usize::try_from(lines).unwrap_or(0), row.get(1), row.get(2))))
        })?;
        if let Some((lines, earliest, latest)) = tail {
            chunks.push(Chunk::Tail(RunInfo { first, lines, earliest: earliest?, latest: latest?, terms: first }));
        }
        chunks.retain(|chunk| {
            let info = chunk.info();
            from.is_none_or(|from| info.latest >= from) && to.is_none_or(|to| info.earliest < to)
        });
        Ok(chunks)
    }

    /// Returns the matching lines of a chunk. In the tail, every line is read, so the result is exact.
    pub(crate) fn matches(&self, chunk: &Chunk, scope: &Scope, filter: &Filter) -> rusqlite::Result<Matches> {
        self.check_deadline()?;
        match chunk {
            Chunk::Run(run) => select::matches(self.connection(), self.indexed_fields()?, run, scope, filter),
            Chunk::Tail(tail) => {
                let (mut bits, indexed) = (Bits::none(), self.indexed_fields()?);
                let needle = needle(filter).map(|needle| Finder::new(needle.as_bytes()));
                let lacks = |document: &str| {
                    let document = document.as_bytes();
                    // If the document contains escapes, the value may be there in another form.
                    needle.as_ref().is_some_and(|needle| needle.find(document).is_none())
                        && memchr(b'\\', document).is_none()
                };
                self.each_line(tail.first..tail.end(), |id, _, document| {
                    if !lacks(document) && indexed.is_match(id, scope, filter, document) {
                        bits.set(index_of(tail, id));
                    }
                })?;
                Ok(Matches { certain: bits.clone(), possible: bits })
            }
        }
    }

    /// Calls `with` for each term of a chunk that begins with `prefix`, in order, and its set.
    pub(crate) fn each_term(
        &self,
        chunk: &Chunk,
        prefix: &[u8],
        with: impl FnMut(&[u8], &[u8]),
    ) -> rusqlite::Result<()> {
        match chunk {
            Chunk::Run(run) => terms::each_with_prefix(self.connection(), run.terms, prefix, with),
            Chunk::Tail(tail) => {
                self.tail(tail.first)?.each_with_prefix(prefix, tail.lines, with);
                Ok(())
            }
        }
    }

    /// Returns the durations of a chunk's lines in milliseconds, with their indices, which do not decrease.
    pub(crate) fn durations(&self, chunk: &Chunk) -> rusqlite::Result<Vec<(u16, f64)>> {
        match chunk {
            Chunk::Run(run) => runs::durations(self.connection(), run.first),
            Chunk::Tail(tail) => Ok(self.tail(tail.first)?.durations().to_vec()),
        }
    }

    /// Returns the newest lines with their terms, which are built once.
    fn tail(&self, first: i64) -> rusqlite::Result<&Tail> {
        if let Some(tail) = self.tail.get() {
            return Ok(tail);
        }
        let tail = Tail::read(self.connection(), first)?;
        Ok(self.tail.get_or_init(|| tail))
    }

    /// Returns the time of each line of a chunk by index. The time at an index without a row is arbitrary.
    pub(crate) fn times(&self, chunk: &Chunk) -> rusqlite::Result<Vec<i64>> {
        match chunk {
            Chunk::Run(run) => runs::times(self.connection(), run.first),
            Chunk::Tail(tail) => {
                let mut times = vec![tail.earliest; tail.lines];
                let mut statement = self.connection().prepare_cached("SELECT id, time FROM logs WHERE id >= ?1")?;
                let mut rows = statement.query([tail.first])?;
                while let Some(row) = rows.next()? {
                    if let Some(time) = times.get_mut(index_of(tail, row.get(0)?)) {
                        *time = row.get(1)?;
                    }
                }
                Ok(times)
            }
        }
    }

    /// Returns the times of some lines of a chunk, with their indices.
    pub(crate) fn times_of(&self, chunk: &Chunk, indices: &Bits) -> rusqlite::Result<Vec<(i64, usize)>> {
        if matches!(chunk, Chunk::Run(_)) && indices.count() > TIMES_BY_ROW {
            let times = self.times(chunk)?;
            return Ok(indices.iter().filter_map(|index| times.get(index).map(|time| (*time, index))).collect());
        }
        let mut statement = self.connection().prepare_cached("SELECT time FROM logs WHERE id = ?1")?;
        let mut timed = Vec::new();
        for index in indices.iter() {
            let id = chunk.info().first + i64::try_from(index).unwrap_or(i64::MAX);
            timed.extend(statement.query_row([id], |row| row.get(0)).optional()?.map(|time| (time, index)));
        }
        Ok(timed)
    }

    /// Returns the lines of a chunk in `[from, to)`, or `None` if that is all of them.
    pub(crate) fn within(&self, chunk: &Chunk, from: Option<i64>, to: Option<i64>) -> rusqlite::Result<Option<Bits>> {
        let info = chunk.info();
        if from.is_none_or(|from| info.earliest >= from) && to.is_none_or(|to| info.latest < to) {
            return Ok(None);
        }
        let mut bits = Bits::none();
        for (index, time) in self.times(chunk)?.into_iter().enumerate() {
            if from.is_none_or(|from| time >= from) && to.is_none_or(|to| time < to) {
                bits.set(index);
            }
        }
        Ok(Some(bits))
    }

    /// Calls `with` for each line in a range of ids, in order: id, time, document.
    pub(crate) fn each_line(&self, ids: Range<i64>, mut with: impl FnMut(i64, i64, &str)) -> rusqlite::Result<()> {
        let select = "SELECT id, time, document FROM logs WHERE id >= ?1 AND id < ?2 ORDER BY id";
        let mut statement = self.connection().prepare_cached(select)?;
        let mut rows = statement.query([ids.start, ids.end])?;
        let mut count = 0;
        while let Some(row) = rows.next()? {
            count += 1;
            if count % ROWS_PER_LOOK == 0 {
                self.check_deadline()?;
            }
            with(row.get(0)?, row.get(1)?, row.get_ref(2)?.as_str()?);
        }
        Ok(())
    }

    /// Returns a line's row, or `None` if it was deleted.
    pub(crate) fn row(&self, id: i64) -> rusqlite::Result<Option<Row>> {
        let select = r#"SELECT source, "offset", document FROM logs WHERE id = ?1"#;
        let mut statement = self.connection().prepare_cached(select)?;
        let row = statement
            .query_row([id], |row| Ok(Row { source: row.get(0)?, offset: row.get(1)?, document: row.get(2)? }));
        row.optional()
    }

    /// Returns the generation of a source.
    pub(crate) fn generation(&self, source: i64) -> rusqlite::Result<Option<GenerationId>> {
        let mut statement = self.connection().prepare_cached("SELECT generation FROM sources WHERE id = ?1")?;
        let generation: Option<String> = statement.query_row([source], |row| row.get(0)).optional()?;
        Ok(generation.and_then(|generation| generation.parse().ok()))
    }
}

/// Returns a text that every matching line contains, unless the line contains escapes.
fn needle(filter: &Filter) -> Option<&str> {
    match filter {
        Filter::All(parts) => parts.iter().find_map(needle),
        Filter::Is(_, values) => match values.as_slice() {
            [value] if value.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\' | b'/')) => {
                Some(value)
            }
            _ => None,
        },
        _ => None,
    }
}

/// Returns the index of a line in a chunk.
pub(crate) fn index_of(chunk: &RunInfo, id: i64) -> usize {
    usize::try_from(id - chunk.first).unwrap_or(usize::MAX)
}
