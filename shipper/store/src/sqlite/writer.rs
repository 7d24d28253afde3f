//! The only writer of a store. It reopens the path when it leads to another file.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use rusqlite::config::DbConfig;

use crate::batch::Batch;
use crate::disposition::{Cause, CauseKind, Disposition, WriteError};
use crate::error::{OpenError, ReadyError};
use crate::file_mode::FileMode;
use crate::query::NamedFields;
use crate::sqlite::checkpoint::Checkpointer;
use crate::sqlite::failure::{open_error, write_error};
use crate::sqlite::file::{self, Change, OpenFiles};
use crate::sqlite::migrate;
use crate::sqlite::readers::Readers;
use crate::sqlite::retention::{RetentionPolicy, RetentionStep};
use crate::sqlite::schema::{self, SchemaState};
use crate::sqlite::write::{WriteConnection, configure, connect};
use crate::timestamp::Timestamp;

/// The error if a store has other user-named fields than the settings.
pub(crate) const OTHER_FIELDS: &str =
    "the store has other named fields: run `shipper bootstrap`, or allow it with --bootstrap apply";

/// Changes of an embedded store's file while it was open: deleted, moved or replaced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileChanges {
    /// Number of changes since the store was opened.
    pub count: u64,
    /// The latest change.
    pub last: Option<Cause>,
}

/// The writing connection.
#[derive(Debug)]
pub(crate) struct Writer {
    path: PathBuf,
    mode: FileMode,
    /// `None` while the path leads to another file that is not opened yet, or the disk is too full to open the file.
    open: Mutex<Option<OpenStore>>,
    /// This process's other connections to the file.
    readers: Arc<Readers>,
    /// The user-named fields that bootstrap applied or checked; a replaced file must have them, too.
    fields: Mutex<Option<(NamedFields, bool)>>,
    changes: Mutex<FileChanges>,
}

/// An open store. Fields are dropped in this order.
#[derive(Debug)]
struct OpenStore {
    /// Stops before the connection is closed.
    checkpointer: Checkpointer,
    writing: Arc<Mutex<WriteConnection>>,
    files: Arc<OpenFiles>,
}

impl Writer {
    /// Opens the file, and creates its directory, the file and its tables if they are missing. If the disk is too full
    /// for that, the next operation tries again.
    pub(crate) fn open(path: &Path, mode: FileMode, readers: Arc<Readers>) -> Result<Self, OpenError> {
        let folder = file::folder(path);
        mode.create_dir_all(folder).map_err(|source| OpenError::Folder { path: folder.to_owned(), source })?;
        let open = match OpenStore::open(path, mode) {
            Err(OpenError::Full { .. }) => Mutex::new(None),
            opened => Mutex::new(Some(opened?)),
        };
        Ok(Self { path: path.to_owned(), mode, open, readers, fields: Mutex::default(), changes: Mutex::default() })
    }

    pub(crate) fn write(&self, batch: &Batch) -> Result<Vec<Disposition>, WriteError> {
        self.run(|writing| writing.write(batch))
    }

    /// Activates user-named fields, starting with the newest lines. Returns whether they differed. Without `apply`,
    /// only compares.
    pub(crate) fn set_fields(&self, fields: &NamedFields, apply: bool) -> Result<bool, WriteError> {
        let changed = self.run(|writing| writing.set_fields(fields, apply))?;
        *self.fields.lock() = Some((fields.clone(), apply));
        Ok(changed)
    }

    pub(crate) fn retain(&self, policy: &RetentionPolicy, now: Timestamp) -> Result<RetentionStep, WriteError> {
        self.run(|writing| writing.retain(policy, now))
    }

    /// Whether the file is open. It is while a write is in progress.
    pub(crate) fn is_open(&self) -> bool {
        self.open.try_lock().is_none_or(|open| open.is_some())
    }

    pub(crate) fn changes(&self) -> FileChanges {
        self.changes.lock().clone()
    }

    /// Checks that the path leads to the open file, and reopens it otherwise.
    pub(crate) fn check(&self) -> Result<(), WriteError> {
        // A write in progress does this check itself.
        let Some(mut open) = self.open.try_lock() else { return Ok(()) };
        if let Some(change) = open.as_ref().and_then(|opened| opened.files.change()) {
            self.close(&mut open, change)?;
        }
        self.ensure_open(&mut open).map(drop)
    }

    pub(crate) fn ready(&self) -> Result<(), ReadyError> {
        let ready_error = |error: WriteError| match error {
            WriteError::Unavailable(cause) => ReadyError::Unavailable(cause),
            other => ReadyError::Refused(other.cause().clone()),
        };
        self.check().map_err(ready_error)?;
        // A write in progress is not a problem.
        let Some(open) = self.open.try_lock() else { return Ok(()) };
        let Some(opened) = open.as_ref() else { return Ok(()) };
        let result = opened.lock().connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()));
        result.map_err(|error| ready_error(write_error(&error)))
    }

    /// Runs `work` on the open store. The result counts only if the path still leads to its files afterwards.
    fn run<T>(&self, work: impl FnOnce(&mut WriteConnection) -> rusqlite::Result<T>) -> Result<T, WriteError> {
        let mut open = self.open.lock();
        let opened = self.ensure_open(&mut open)?;
        let result = work(&mut opened.lock());
        if let Some(change) = opened.files.change() {
            self.close(&mut open, change)?;
            return Err(WriteError::Unavailable(change.cause(&self.path)));
        }
        result.map_err(|error| write_error(&error))
    }

    /// Returns the open store, and opens it if necessary.
    fn ensure_open<'o>(&self, open: &'o mut Option<OpenStore>) -> Result<&'o mut OpenStore, WriteError> {
        let opened = match open.take() {
            Some(opened) => opened,
            None => self.reopen()?,
        };
        Ok(open.insert(opened))
    }

    fn reopen(&self) -> Result<OpenStore, WriteError> {
        let opened = OpenStore::open(&self.path, self.mode).map_err(|error| {
            let cause = Cause::new(0, error.to_string());
            match error {
                OpenError::NoFolder { .. } => WriteError::Refused(cause.with_kind(CauseKind::FolderMissing)),
                OpenError::Replaced { .. } => WriteError::Unavailable(cause.with_kind(CauseKind::FileReplaced)),
                _ => WriteError::Refused(cause),
            }
        })?;
        if let Some((fields, apply)) = &*self.fields.lock() {
            let differs = opened.lock().set_fields(fields, *apply).map_err(|error| write_error(&error))?;
            if differs && !apply {
                return Err(WriteError::Refused(Cause::new(0, OTHER_FIELDS).with_kind(CauseKind::NotInPlace)));
            }
        }
        Ok(opened)
    }

    /// Closes a store whose path leads elsewhere. If its WAL was replaced, it stays open until the WAL's content is in
    /// the file.
    fn close(&self, open: &mut Option<OpenStore>, change: Change) -> Result<(), WriteError> {
        let Some(opened) = open.as_ref() else { return Ok(()) };
        let cause = change.cause(&self.path);
        match change {
            Change::WalReplaced if !opened.checkpoint_all() => return Err(WriteError::Unavailable(cause)),
            // Completes a file that was moved. A deleted one does not need it.
            Change::Missing | Change::Replaced => drop(opened.checkpoint_all()),
            Change::Overwritten => opened.discard_wal(),
            Change::WalReplaced => {}
        }
        // A single remaining connection of this process would keep the old shared memory for all of them.
        self.readers.close_idle();
        let files = Arc::clone(&opened.files);
        *open = None;
        if change != Change::WalReplaced {
            files.remove_sidecars();
        }
        let mut changes = self.changes.lock();
        *changes = FileChanges { count: changes.count + 1, last: Some(cause) };
        Ok(())
    }
}

impl OpenStore {
    /// Opens the file at a path, and creates it and its tables if they are missing.
    fn open(path: &Path, mode: FileMode) -> Result<Self, OpenError> {
        let refused = |error: rusqlite::Error| open_error(path, &error);
        let file = file::PendingFile::open_or_create(path, mode)?;
        let mut connection = connect(path).map_err(refused)?;
        // Do not change the file before it is known to be a store.
        let mut found = schema::inspect(&connection).map_err(refused)?;
        if matches!(found, SchemaState::Empty | SchemaState::Old(_) | SchemaState::Current) {
            configure(&connection).map_err(refused)?;
            migrate::upgrade(&mut connection).map_err(refused)?;
            found = schema::create(&mut connection).map_err(refused)?;
        }
        found.check_usable(path)?;
        let files = Arc::new(file.into_open_files()?);
        let writing = Arc::new(Mutex::new(WriteConnection::new(connection)));
        let watched = Arc::clone(&files);
        let checkpointer = Checkpointer::start(path, Arc::clone(&writing), move || watched.change().is_none())
            .map_err(|reason| OpenError::File { path: path.to_owned(), reason })?;
        let opened = Self { checkpointer, writing, files };
        opened.checkpointer.watch(&mut opened.lock().connection).map_err(refused)?;
        Ok(opened)
    }

    fn lock(&self) -> MutexGuard<'_, WriteConnection> {
        self.writing.lock()
    }

    /// Copies the WAL to the file. Returns whether that is complete.
    fn checkpoint_all(&self) -> bool {
        let checkpoint = "PRAGMA wal_checkpoint(FULL)";
        let result = self
            .lock()
            .connection
            .query_row(checkpoint, [], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?)));
        result.is_ok_and(|(busy, frames, brought_in)| busy == 0 && frames == brought_in)
    }

    /// Prevents that the WAL is copied to a file that was overwritten.
    fn discard_wal(&self) {
        // This can't fail: the option exists.
        let _ = self.lock().connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::BatchBuilder;
    use crate::id::{GenerationId, LineId};

    fn open(path: &Path) -> Writer {
        Writer::open(path, FileMode::default(), Arc::new(Readers::new(path))).unwrap()
    }

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
    fn a_full_disk_leaves_the_file_unchanged_and_a_retry_succeeds() {
        let folder = tempfile::tempdir().unwrap();
        let writer = open(&folder.path().join("logs.db"));
        assert_eq!(writer.write(&batch(0..500)).unwrap(), vec![Disposition::Stored; 500]);
        let pages = |most: i64| {
            let open = writer.open.lock();
            let writing = open.as_ref().unwrap().lock();
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
        let open = writer.open.lock();
        let writing = open.as_ref().unwrap().lock();
        let count =
            |of: &str| -> i64 { writing.connection.query_row(&format!("SELECT {of}"), [], |row| row.get(0)).unwrap() };
        assert_eq!(
            (count("count(*) FROM logs"), count("max(id) FROM logs"), count("sum(lines) FROM runs")),
            (3_000, 2_999, 2_048)
        );
    }

    #[test]
    fn writes_are_synced_after_a_failed_retention_step() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("logs.db");
        let writer = open(&path);
        let synchronous = || -> i64 {
            let open = writer.open.lock();
            let writing = open.as_ref().unwrap().lock();
            writing.connection.pragma_query_value(None, "synchronous", |row| row.get(0)).unwrap()
        };
        const FULL: i64 = 2;
        assert_eq!(synchronous(), FULL);
        let policy = RetentionPolicy { age: None, bytes: Some(0) };
        writer.retain(&policy, Timestamp::now()).unwrap();
        writer.write(&batch(0..10)).unwrap();
        assert_eq!(synchronous(), FULL);
        // Another program's change of the tables makes the step fail.
        let other = rusqlite::Connection::open(&path).unwrap();
        other.execute_batch("ALTER TABLE removed RENAME TO elsewhere").unwrap();
        writer.retain(&policy, Timestamp::now()).unwrap_err();
        other.execute_batch("ALTER TABLE elsewhere RENAME TO removed").unwrap();
        writer.write(&batch(10..20)).unwrap();
        assert_eq!(synchronous(), FULL);
    }
}
