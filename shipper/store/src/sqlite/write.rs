//! The write side: one connection, one transaction a batch.

use std::borrow::Cow;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, Statement, TransactionBehavior, params};

use crate::batch::Batch;
use crate::disposition::{Cause, Disposition, WriteError};
use crate::error::{OpenError, ReadyError};
use crate::id::GenerationId;
use crate::normalise::normalise;
use crate::record::{self, Record};
use crate::sqlite::failure::write_error;
use crate::sqlite::schema::{self, Found};

/// How long a write waits for another program's; then the batch is tried again later.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Pages that the connection keeps in memory.
const CACHE_KIB: i64 = 16 * 1024;

/// The WAL is brought into the file after a write that makes it longer than this, 16 MiB of pages of 4 KiB. Pages that
/// many writes change are then written once. Readers hold it up no longer than one search takes.
const WAL_CHECKPOINT_PAGES: i64 = 4_096;

/// The WAL is cut back to this after a checkpoint.
const WAL_KEPT_BYTES: i64 = 16 * 1024 * 1024;

const INSERT: &str = r#"
INSERT INTO logs (time, source, "offset", service, level, request_id, project_id, document)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
ON CONFLICT (source, "offset") DO NOTHING
"#;

const INSERT_SOURCE: &str = "INSERT INTO sources (generation) VALUES (?1) ON CONFLICT DO NOTHING";

const FIND_SOURCE: &str = "SELECT id FROM sources WHERE generation = ?1";

const INSERT_TEXT: &str = "INSERT INTO logs_text (rowid, message) VALUES (?1, ?2)";

/// The one connection that writes.
#[derive(Debug)]
pub(crate) struct Writer {
    connection: Mutex<Connection>,
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
        if matches!(found, Found::Empty | Found::Current) {
            prepare(&connection).map_err(refused)?;
            found = schema::make(&mut connection).map_err(refused)?;
        }
        found.usable(path)?;
        Ok(Self { connection: Mutex::new(connection) })
    }

    /// A panic elsewhere leaves no transaction open: it is rolled back when dropped.
    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn write(&self, batch: &Batch) -> Result<Vec<Disposition>, WriteError> {
        write(&mut self.lock(), batch).map_err(|error| write_error(&error))
    }

    pub(crate) fn ready(&self) -> Result<(), ReadyError> {
        // A lock held by a write that is going on is no sign of trouble.
        let Ok(connection) = self.connection.try_lock() else { return Ok(()) };
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(())).map_err(|error| {
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
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    connection.pragma_update(None, "wal_autocheckpoint", WAL_CHECKPOINT_PAGES)?;
    connection.pragma_update(None, "journal_size_limit", WAL_KEPT_BYTES)
}

fn write(connection: &mut Connection, batch: &Batch) -> rusqlite::Result<Vec<Disposition>> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut dispositions = Vec::with_capacity(batch.lines().len());
    {
        let mut insert = transaction.prepare_cached(INSERT)?;
        let mut insert_text = transaction.prepare_cached(INSERT_TEXT)?;
        let mut sources = Sources { connection: &transaction, last: None };
        for (place, line) in batch.lines().iter().enumerate() {
            let source = sources.of(line.id.generation)?;
            dispositions.push(match read(batch.document(place), line.id.generation) {
                Err(cause) => Disposition::DeadLetter(cause),
                Ok((record, document)) if insert_record(&mut insert, source, line.id.offset, &record, &document)? => {
                    insert_text.execute(params![transaction.last_insert_rowid(), record.message])?;
                    Disposition::Stored
                }
                Ok(_) => Disposition::AlreadyStored,
            });
        }
    }
    transaction.commit()?;
    Ok(dispositions)
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

/// A document's fields and its text, which is new where it had to be brought into the contract's form.
fn read(document: &[u8], generation: GenerationId) -> Result<(Record<'_>, Cow<'_, str>), Cause> {
    let text = std::str::from_utf8(document).map_err(|error| Cause::new(0, error.to_string()))?;
    if let Some(record) = record::read(text) {
        return Ok((record, Cow::Borrowed(text)));
    }
    let (record, text) = normalise(text, generation).map_err(|reason| Cause::new(0, reason))?;
    Ok((record, Cow::Owned(text)))
}

/// Whether the row is new.
fn insert_record(
    insert: &mut Statement<'_>,
    source: i64,
    offset: u64,
    record: &Record<'_>,
    document: &str,
) -> rusqlite::Result<bool> {
    let inserted = insert.execute(params![
        record.time.unix_micros(),
        source,
        offset.cast_signed(),
        record.service,
        record.level.as_str(),
        record.request_id,
        record.project_id,
        document,
    ])?;
    Ok(inserted == 1)
}
