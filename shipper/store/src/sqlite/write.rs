//! The write side: one connection, one transaction a batch.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, TransactionBehavior, params};

use crate::batch::Batch;
use crate::disposition::{Cause, Disposition};
use crate::id::GenerationId;
use crate::query::NamedFields;
use crate::sqlite::fields::Namings;
use crate::sqlite::line::{self, Line, Taken};
use crate::sqlite::merge;
use crate::sqlite::retain::{self, Keep, Retained};
use crate::sqlite::runs;
use crate::sqlite::sizes::Sizes;
use crate::sqlite::tail::Tail;
use crate::timestamp::Timestamp;

/// How long a write waits for another program's; then the batch is tried again later.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Pages that the connection keeps in memory.
const CACHE_KIB: i64 = 16 * 1024;

/// The WAL is cut back to this after a checkpoint: to what it may become before the writer sees to it, so that it is not cut
/// and made longer again and again.
const WAL_KEPT_BYTES: i64 = 64 * 1024 * 1024;

const INSERT: &str = r#"
INSERT INTO logs (id, time, source, "offset", length, document) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
ON CONFLICT (source, "offset") DO NOTHING
"#;

const INSERT_SOURCE: &str = "INSERT INTO sources (generation) VALUES (?1) ON CONFLICT DO NOTHING";

const FIND_SOURCE: &str = "SELECT id FROM sources WHERE generation = ?1";

/// A connection to the file at a path, which has to be there.
pub(crate) fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    Ok(connection)
}

/// Sets what holds for the connection that writes.
pub(crate) fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    // Only of a file that is still empty; of any other it stays as it is.
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    // Sources of lines are made and found here, and none is taken out.
    connection.pragma_update(None, "foreign_keys", false)?;
    connection.pragma_update(None, "journal_size_limit", WAL_KEPT_BYTES)
}

/// What writes: the connection, and what it knows of the newest lines.
#[derive(Debug)]
pub(crate) struct Writing {
    pub(crate) connection: Connection,
    /// None when it has to be read from the file.
    tail: Option<Tail>,
    /// Changes when another program writes, which may have named other fields.
    seen: i64,
    /// Commits are on disk before they are answered.
    is_synced: bool,
}

impl Writing {
    pub(crate) fn new(connection: Connection) -> Self {
        Self { connection, tail: None, seen: 0, is_synced: true }
    }

    /// Writes a batch in one transaction. When that fails, the file is as it was, and the tail is read from it again.
    pub(crate) fn write(&mut self, batch: &Batch) -> rusqlite::Result<Vec<Disposition>> {
        let tail = self.tail.take();
        self.set_synced(true)?;
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let seen = transaction.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0))?;
        let tail = tail.filter(|_| seen == self.seen);
        self.seen = seen;
        let mut tail = current(&transaction, tail)?;
        let dispositions = write(&transaction, &mut tail, batch)?;
        transaction.commit()?;
        self.tail = Some(tail);
        Ok(dispositions)
    }

    /// Does one step of retention, which is not synced: what a power loss undoes of it is done again.
    pub(crate) fn retain(&mut self, keep: &Keep, now: Timestamp) -> rusqlite::Result<Retained> {
        self.set_synced(false)?;
        retain::step(&mut self.connection, keep, now)
    }

    /// Whether commits are on disk before they are answered from now on. It is set before each, so that nothing that goes wrong
    /// in between leaves it as it was for another.
    fn set_synced(&mut self, is_synced: bool) -> rusqlite::Result<()> {
        if is_synced != self.is_synced {
            self.connection.pragma_update(None, "synchronous", if is_synced { "FULL" } else { "NORMAL" })?;
            self.is_synced = is_synced;
        }
        Ok(())
    }

    pub(crate) fn name(&mut self, fields: &NamedFields, apply: bool) -> rusqlite::Result<bool> {
        self.set_synced(true)?;
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let namings = Namings::read(&transaction)?;
        if !apply {
            return Ok(namings.fields() != *fields);
        }
        let changed = namings.put(&transaction, fields, runs::end(&transaction)?)?;
        transaction.commit()?;
        // The newest lines are indexed by them, too.
        self.tail = self.tail.take().filter(|_| !changed);
        Ok(changed)
    }
}

/// The tail as it was, or read from the file where another program wrote since.
pub(crate) fn current(connection: &Connection, tail: Option<Tail>) -> rusqlite::Result<Tail> {
    let last: Option<i64> = connection.prepare_cached("SELECT max(id) FROM logs")?.query_row([], |row| row.get(0))?;
    let end = runs::end(connection)?;
    let next = last.map_or(0, |last| last + 1).max(end);
    match tail {
        Some(tail) if tail.next() == next && tail.first() == end => Ok(tail),
        _ => Tail::read(connection, end),
    }
}

fn write(connection: &Connection, tail: &mut Tail, batch: &Batch) -> rusqlite::Result<Vec<Disposition>> {
    let mut dispositions = Vec::with_capacity(batch.lines().len());
    let mut insert = connection.prepare_cached(INSERT)?;
    let mut sources = Sources { connection, last: None };
    let sizes = Sizes::of(connection)?;
    for (place, line) in batch.lines().iter().enumerate() {
        let source = sources.of(line.id.generation)?;
        let mut put = |time: i64, document: &str| {
            let (offset, length) = (line.id.offset.cast_signed(), line.length.cast_signed());
            insert.execute(params![tail.next(), time, source, offset, length, document])
        };
        let (added, line) = match line::take(batch.document(place), line.id.generation) {
            Err(reason) => {
                dispositions.push(Disposition::DeadLetter(Cause::new(0, reason)));
                continue;
            }
            Ok(Taken::AsItIs(line, document)) => (put(line.time, document)?, (line, document)),
            Ok(Taken::Normalised(time, document)) => {
                let added = put(time.unix_micros(), &document)?;
                if added == 1 {
                    tail.add(&Line::of(time, &document), &document);
                    seal(connection, tail, sizes)?;
                }
                dispositions.push(if added == 1 { Disposition::Stored } else { Disposition::AlreadyStored });
                continue;
            }
        };
        if added == 1 {
            tail.add(&line.0, line.1);
            seal(connection, tail, sizes)?;
        }
        dispositions.push(if added == 1 { Disposition::Stored } else { Disposition::AlreadyStored });
    }
    Ok(dispositions)
}

/// Makes a run of the newest lines when there are enough, and now and then a little of a large one.
pub(crate) fn seal(connection: &Connection, tail: &mut Tail, sizes: Sizes) -> rusqlite::Result<()> {
    if tail.is_full(sizes.small) {
        tail.seal(connection)?;
        if merge::is_due(tail.next(), sizes) {
            merge::step(connection, sizes)?;
        }
    }
    Ok(())
}

/// The rows of generations, each looked up once in a row of lines.
struct Sources<'c> {
    connection: &'c Connection,
    last: Option<(GenerationId, i64)>,
}

impl Sources<'_> {
    fn of(&mut self, generation: GenerationId) -> rusqlite::Result<i64> {
        if let Some((_, source)) = self.last.filter(|(last, _)| *last == generation) {
            return Ok(source);
        }
        self.connection.prepare_cached(INSERT_SOURCE)?.execute([generation.as_str()])?;
        let mut find = self.connection.prepare_cached(FIND_SOURCE)?;
        let source = find.query_row([generation.as_str()], |row| row.get(0))?;
        self.last = Some((generation, source));
        Ok(source)
    }
}
