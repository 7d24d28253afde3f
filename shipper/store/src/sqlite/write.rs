//! The write side: one connection, and one transaction for each batch.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, TransactionBehavior, params};

use crate::batch::Batch;
use crate::disposition::{Cause, Disposition};
use crate::id::GenerationId;
use crate::query::NamedFields;
use crate::sqlite::fields::IndexedFields;
use crate::sqlite::line::{self, Line, Parsed};
use crate::sqlite::merge;
use crate::sqlite::retention::{self, RetentionPolicy, RetentionStep};
use crate::sqlite::runs;
use crate::sqlite::sizes::Sizes;
use crate::sqlite::tail::Tail;
use crate::timestamp::Timestamp;

/// How long a write waits for another program's lock; then the batch is retried later.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Page cache of the connection.
const CACHE_KIB: i64 = 16 * 1024;

/// Size to which the WAL is truncated after a checkpoint. It equals the size at which the writer runs checkpoints
/// itself, so that the file is not truncated and extended repeatedly.
const WAL_KEPT_BYTES: i64 = 64 * 1024 * 1024;

const INSERT: &str = r#"
INSERT INTO logs (id, time, source, "offset", length, document) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
ON CONFLICT (source, "offset") DO NOTHING
"#;

const INSERT_SOURCE: &str = "INSERT INTO sources (generation) VALUES (?1) ON CONFLICT DO NOTHING";

const FIND_SOURCE: &str = "SELECT id FROM sources WHERE generation = ?1";

/// Connects to an existing file.
pub(crate) fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    Ok(connection)
}

/// Configures the writing connection.
pub(crate) fn configure(connection: &Connection) -> rusqlite::Result<()> {
    // Takes effect only in an empty file; existing ones keep their mode.
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    // Sources are managed here and never deleted.
    connection.pragma_update(None, "foreign_keys", false)?;
    connection.pragma_update(None, "journal_size_limit", WAL_KEPT_BYTES)
}

/// The writing connection, and its knowledge of the newest lines.
#[derive(Debug)]
pub(crate) struct WriteConnection {
    pub(crate) connection: Connection,
    /// `None` if it has to be read from the file.
    tail: Option<Tail>,
    /// `PRAGMA data_version`. It changes when another program writes, which may also have named other fields.
    seen: i64,
    /// Whether commits are synced before they return.
    is_synced: bool,
}

impl WriteConnection {
    pub(crate) fn new(connection: Connection) -> Self {
        Self { connection, tail: None, seen: 0, is_synced: true }
    }

    /// Writes a batch in one transaction. If that fails, the file is unchanged, and the tail is read again.
    pub(crate) fn write(&mut self, batch: &Batch) -> rusqlite::Result<Vec<Disposition>> {
        let tail = self.tail.take();
        self.set_synced(true)?;
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let seen = transaction.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0))?;
        let tail = tail.filter(|_| seen == self.seen);
        self.seen = seen;
        let mut tail = current_tail(&transaction, tail)?;
        let dispositions = write(&transaction, &mut tail, batch)?;
        transaction.commit()?;
        self.tail = Some(tail);
        Ok(dispositions)
    }

    /// Runs one step of retention without syncing: if a power loss reverts it, it is repeated.
    pub(crate) fn retain(&mut self, policy: &RetentionPolicy, now: Timestamp) -> rusqlite::Result<RetentionStep> {
        self.set_synced(false)?;
        retention::step(&mut self.connection, policy, now)
    }

    /// Sets whether commits are synced before they return. Every operation sets it, so that an error in another one has
    /// no effect on it.
    fn set_synced(&mut self, is_synced: bool) -> rusqlite::Result<()> {
        if is_synced != self.is_synced {
            self.connection.pragma_update(None, "synchronous", if is_synced { "FULL" } else { "NORMAL" })?;
            self.is_synced = is_synced;
        }
        Ok(())
    }

    pub(crate) fn set_fields(&mut self, fields: &NamedFields, apply: bool) -> rusqlite::Result<bool> {
        self.set_synced(true)?;
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let indexed = IndexedFields::read(&transaction)?;
        if !apply {
            return Ok(indexed.fields() != *fields);
        }
        let changed = indexed.put(&transaction, fields, runs::end(&transaction)?)?;
        transaction.commit()?;
        // The newest lines are indexed by the new fields as well.
        self.tail = self.tail.take().filter(|_| !changed);
        Ok(changed)
    }
}

/// Returns the tail if it is current, or else reads it from the file.
pub(crate) fn current_tail(connection: &Connection, tail: Option<Tail>) -> rusqlite::Result<Tail> {
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
    let sizes = Sizes::read(connection)?;
    for (index, line) in batch.lines().iter().enumerate() {
        let source = sources.id_of(line.id.generation)?;
        let mut put = |time: i64, document: &str| {
            let (offset, length) = (line.id.offset.cast_signed(), line.length.cast_signed());
            insert.execute(params![tail.next(), time, source, offset, length, document])
        };
        let (inserted, line) = match line::parse(batch.document(index), line.id.generation) {
            Err(reason) => {
                dispositions.push(Disposition::DeadLetter(Cause::new(0, reason)));
                continue;
            }
            Ok(Parsed::Unchanged(line, document)) => (put(line.time, document)?, (line, document)),
            Ok(Parsed::Normalised(time, document)) => {
                let inserted = put(time.unix_micros(), &document)?;
                if inserted == 1 {
                    tail.add(&Line::from_fields(time, &document), &document);
                    seal(connection, tail, sizes)?;
                }
                dispositions.push(if inserted == 1 { Disposition::Stored } else { Disposition::AlreadyStored });
                continue;
            }
        };
        if inserted == 1 {
            tail.add(&line.0, line.1);
            seal(connection, tail, sizes)?;
        }
        dispositions.push(if inserted == 1 { Disposition::Stored } else { Disposition::AlreadyStored });
    }
    Ok(dispositions)
}

/// Turns a full tail into a run, and runs merge steps when they are due.
pub(crate) fn seal(connection: &Connection, tail: &mut Tail, sizes: Sizes) -> rusqlite::Result<()> {
    if tail.is_full(sizes.small) {
        tail.seal(connection)?;
        if merge::is_due(tail.next(), sizes) {
            merge::step(connection, sizes)?;
        }
    }
    Ok(())
}

/// Rows of `sources`, with a cache for consecutive lines of one generation.
struct Sources<'c> {
    connection: &'c Connection,
    last: Option<(GenerationId, i64)>,
}

impl Sources<'_> {
    fn id_of(&mut self, generation: GenerationId) -> rusqlite::Result<i64> {
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
