//! The write side: one connection, one transaction a batch.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, TransactionBehavior, params};

use crate::batch::Batch;
use crate::disposition::{Cause, Disposition, WriteError};
use crate::error::{OpenError, ReadyError};
use crate::id::GenerationId;
use crate::query::NamedFields;
use crate::sqlite::checkpoint::Checkpointer;
use crate::sqlite::failure::write_error;
use crate::sqlite::fields::Namings;
use crate::sqlite::line::{self, Line, Taken};
use crate::sqlite::merge;
use crate::sqlite::migrate;
use crate::sqlite::retain::{self, Keep, Retained};
use crate::sqlite::runs;
use crate::sqlite::schema::{self, Found};
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

/// The one connection that writes.
#[derive(Debug)]
pub(crate) struct Writer {
    /// Ends before the connection does.
    checkpointer: Checkpointer,
    writing: Arc<Mutex<Writing>>,
}

impl Writer {
    /// Opens the file, and makes its folder, itself and its tables where they are missing.
    pub(crate) fn open(path: &Path) -> Result<Self, OpenError> {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(|source| OpenError::Folder { path: folder.to_owned(), source })?;
        }
        let refused = |error: rusqlite::Error| OpenError::File { path: path.to_owned(), reason: error.to_string() };
        let mut connection = connect(path).map_err(refused)?;
        // Nothing is changed in a file before it is known to be a store.
        let mut found = schema::look(&connection).map_err(refused)?;
        if matches!(found, Found::Empty | Found::Old(_) | Found::Current) {
            prepare(&connection).map_err(refused)?;
            migrate::bring_up(&mut connection).map_err(refused)?;
            found = schema::make(&mut connection).map_err(refused)?;
        }
        found.usable(path)?;
        let writing = Arc::new(Mutex::new(Writing { connection, tail: None, seen: 0 }));
        let checkpointer = Checkpointer::begin(path, Arc::clone(&writing))
            .map_err(|reason| OpenError::File { path: path.to_owned(), reason })?;
        let writer = Self { checkpointer, writing };
        writer.checkpointer.watch(&mut writer.lock().connection).map_err(refused)?;
        Ok(writer)
    }

    /// A panic elsewhere leaves no transaction open: it is rolled back when dropped.
    fn lock(&self) -> MutexGuard<'_, Writing> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn write(&self, batch: &Batch) -> Result<Vec<Disposition>, WriteError> {
        self.lock().write(batch).map_err(|error| write_error(&error))
    }

    /// Puts fields in force, from the newest lines on; whether others were. Without `apply`, only says so.
    pub(crate) fn name(&self, fields: &NamedFields, apply: bool) -> Result<bool, WriteError> {
        self.lock().name(fields, apply).map_err(|error| write_error(&error))
    }

    pub(crate) fn retain(&self, keep: &Keep, now: Timestamp) -> Result<Retained, WriteError> {
        retain::step(&mut self.lock().connection, keep, now).map_err(|error| write_error(&error))
    }

    pub(crate) fn ready(&self) -> Result<(), ReadyError> {
        // A lock held by a write that is going on is no sign of trouble.
        let Ok(writing) = self.writing.try_lock() else { return Ok(()) };
        writing.connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(())).map_err(|error| {
            match write_error(&error) {
                WriteError::Unavailable(cause) => ReadyError::Unavailable(cause),
                other => ReadyError::Refused(other.cause().clone()),
            }
        })
    }
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    Ok(connection)
}

fn prepare(connection: &Connection) -> rusqlite::Result<()> {
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
struct Writing {
    connection: Connection,
    /// None when it has to be read from the file.
    tail: Option<Tail>,
    /// Changes when another program writes, which may have named other fields.
    seen: i64,
}

impl Writing {
    /// Writes a batch in one transaction. When that fails, the file is as it was, and the tail is read from it again.
    fn write(&mut self, batch: &Batch) -> rusqlite::Result<Vec<Disposition>> {
        let tail = self.tail.take();
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

    fn name(&mut self, fields: &NamedFields, apply: bool) -> rusqlite::Result<bool> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::BatchBuilder;
    use crate::id::LineId;

    fn batch(lines: std::ops::Range<u64>) -> Batch {
        let mut builder = BatchBuilder::new("x");
        for offset in lines {
            let generation = GenerationId::new(1, &[7; 10]);
            let time = Timestamp::from_unix_ms(1_795_000_000_000);
            builder.push(LineId { generation, offset }, 1, time.day(), |body| {
                let line = format!(
                    r#"{{"timestamp":"{time}","service":"s","level":"info","message":"line {offset}","request_id":null,"project_id":null}}"#
                );
                body.extend_from_slice(line.as_bytes());
            });
        }
        builder.finish(0)
    }

    #[test]
    fn a_full_disk_leaves_the_file_as_it_was_and_the_same_batch_goes_in_later() {
        let folder = tempfile::tempdir().unwrap();
        let writer = Writer::open(&folder.path().join("logs.db")).unwrap();
        assert_eq!(writer.write(&batch(0..500)).unwrap(), vec![Disposition::Stored; 500]);
        let pages = |most: i64| {
            let writing = writer.lock();
            let pages: i64 = writing.connection.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
            let pragma = format!("PRAGMA max_page_count = {}", pages + most);
            writing.connection.query_row(&pragma, [], |_| Ok(())).unwrap();
        };
        pages(3);
        for _ in 0..2 {
            let refused = writer.write(&batch(500..3_000)).unwrap_err();
            assert!(matches!(&refused, WriteError::Refused(cause) if cause.reason.contains("full")), "{refused:?}");
        }
        pages(1_000_000);
        assert_eq!(
            writer.write(&batch(400..3_000)).unwrap()[99..101],
            [Disposition::AlreadyStored, Disposition::Stored]
        );
        let writing = writer.lock();
        let count =
            |of: &str| -> i64 { writing.connection.query_row(&format!("SELECT {of}"), [], |row| row.get(0)).unwrap() };
        assert_eq!(
            (count("count(*) FROM logs"), count("max(id) FROM logs"), count("sum(lines) FROM runs")),
            (3_000, 2_999, 2_048)
        );
    }
}
