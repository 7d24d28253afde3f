//! The read side: a few read-only connections, opened on demand.
//!
//! A file that does not exist yet, or has no tables yet, is an empty store. Once it was read, its removal makes reads
//! fail. Before each read, the file, its WAL and its shared memory are checked for replacement.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};
use rusqlite::{Connection, OpenFlags};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::disposition::{Cause, CauseKind};
use crate::error::{OpenError, SearchError};
use crate::missing_store::{MissingKind, MissingStore};
use crate::scope::Scope;
use crate::search::Search;
use crate::sqlite::failure::{is_damage, search_error};
use crate::sqlite::file::{self, FileId, FileIds};
use crate::sqlite::read_context::{DEADLINE, ReadContext};
use crate::sqlite::schema::{self, SchemaState};
use crate::sqlite::search;
use crate::sqlite::snapshot::Snapshot;

/// Maximum number of idle connections; more are opened on demand and closed afterwards.
const KEPT_CONNECTIONS: usize = 4;

/// Page cache of each connection, for terms that searches use repeatedly.
const CACHE_KIB: i64 = 8 * 1024;

/// How long a reader waits for a lock. Readers need locks only while a file is created or recovered.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

/// Maximum number of concurrent reads, each on its own thread and connection; others wait.
pub(crate) const MAX_CONCURRENT_READS: usize = 8;

/// How long a file counts as damaged after the last read that found damage, unless another read succeeds.
const DAMAGE_KNOWN: Duration = Duration::from_secs(60);

/// Number of SQLite's virtual machine steps between two checks of the time limit.
const STEPS_PER_LOOK: i32 = 10_000;

/// The error when the file was replaced between two reads that belong together.
const REPLACED: &str = "the store's file was deleted or replaced while it was being read: retry";

/// The error when the writer has not upgraded the file yet.
const OLD: &str = "it has an older schema version; the shipper upgrades it when it starts";

/// Read-only connections to one file.
#[derive(Debug)]
pub(crate) struct Readers {
    path: PathBuf,
    idle: Mutex<Idle>,
    /// Slots for concurrent reads.
    slots: Arc<Semaphore>,
    /// The last damage found, until another read succeeds.
    damage: Mutex<Option<Damage>>,
    /// Whether a store was read at the path.
    was_read: AtomicBool,
}

/// A damaged file.
#[derive(Clone, Debug)]
struct Damage {
    file: FileId,
    cause: Cause,
    seen: Instant,
}

#[derive(Debug, Default)]
struct Idle {
    /// The files that the connections are open on.
    file: Option<FileIds>,
    connections: Vec<Connection>,
}

impl Readers {
    pub(crate) fn new(path: &Path) -> Self {
        let slots = Arc::new(Semaphore::new(MAX_CONCURRENT_READS));
        Self {
            path: path.to_owned(),
            idle: Mutex::default(),
            slots,
            damage: Mutex::default(),
            was_read: AtomicBool::new(false),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Waits for a free slot, which is taken until the permit is dropped.
    pub(crate) async fn acquire(&self) -> Option<OwnedSemaphorePermit> {
        // The semaphore is never closed.
        Arc::clone(&self.slots).acquire_owned().await.ok()
    }

    #[cfg(test)]
    pub(crate) fn free_slots(&self) -> usize {
        self.slots.available_permits()
    }

    /// Checks that the file, if it exists, is a store of a known version.
    pub(crate) fn check(&self) -> Result<(), OpenError> {
        let refused = |error: rusqlite::Error| OpenError::File { path: self.path.clone(), reason: error.to_string() };
        let io_error = |error: io::Error| OpenError::File { path: self.path.clone(), reason: error.to_string() };
        let Some(file) = FileIds::from_path(&self.path).map_err(io_error)? else { return Ok(()) };
        let connection = self.connection(file).map_err(refused)?;
        let found = schema::inspect(&connection).map_err(refused)?;
        found.check_usable(&self.path)?;
        self.was_read.fetch_or(found == SchemaState::Current, Ordering::Relaxed);
        self.release(file, connection);
        Ok(())
    }

    /// Returns why there is nothing at the path, or `None` if there is.
    ///
    /// # Errors
    /// When the path can't be examined, for example for missing permissions.
    pub(crate) fn missing(&self) -> Result<Option<MissingStore>, SearchError> {
        let io_error =
            |error: io::Error| SearchError::Refused(Cause::new(0, format!("can't examine the store's file: {error}")));
        let was_read = self.was_read.load(Ordering::Relaxed);
        let kind = match std::fs::metadata(&self.path) {
            Ok(metadata) if metadata.len() > 0 => return Ok(None),
            Ok(_) if was_read => MissingKind::Emptied,
            Ok(_) => MissingKind::NotCreated,
            Err(error) if !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Err(io_error(error));
            }
            Err(_) if was_read => MissingKind::Deleted,
            Err(_) if file::is_broken_link(&self.path) => MissingKind::BrokenLink,
            Err(_) if file::folder(&self.path).is_dir() => MissingKind::NotCreated,
            Err(_) => MissingKind::NoFolder,
        };
        Ok(Some(MissingStore { path: self.path.clone(), kind }))
    }

    /// Returns the files at the path, or `None` if there is no store yet.
    fn files(&self) -> Result<Option<FileIds>, SearchError> {
        match self.missing()? {
            Some(missing) if matches!(missing.kind, MissingKind::Deleted | MissingKind::Emptied) => {
                self.close_idle();
                Err(missing_error(missing.kind))
            }
            Some(_) => Ok(None),
            // It may have been deleted meanwhile.
            None => Ok(FileIds::from_path(&self.path).ok().flatten()),
        }
    }

    /// Checks that a search would succeed.
    pub(crate) fn ready(&self) -> Result<(), SearchError> {
        let (context, newest) = (ReadContext::blocking(), Search { limit: 1, ..Search::default() });
        self.run(&context, |connection| search::page(&Snapshot::begin(connection, &context)?, &Scope::All, &newest))?;
        let file = FileIds::from_path(&self.path).ok().flatten();
        let damage = self.damage().clone();
        match damage.filter(|damage| file.is_some_and(|file| file.database == damage.file)) {
            Some(damage) if damage.seen.elapsed() < DAMAGE_KNOWN => Err(SearchError::Refused(damage.cause)),
            _ => Ok(()),
        }
    }

    /// Runs `work` on a snapshot. Returns `None` if there is no store yet.
    pub(crate) fn with_snapshot<T>(
        &self,
        context: &ReadContext,
        work: impl FnOnce(&Snapshot<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, SearchError> {
        self.with_connection(context, |connection| work(&Snapshot::begin(connection, context)?))
    }

    /// Runs `work` on a connection to a store with tables. Returns `None` if there is no store yet.
    pub(crate) fn with_connection<T>(
        &self,
        context: &ReadContext,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, SearchError> {
        let result = self.run(context, work)?;
        *self.damage() = None;
        Ok(result)
    }

    fn run<T>(
        &self,
        context: &ReadContext,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, SearchError> {
        if context.is_expired() {
            return Err(SearchError::TimedOut { seconds: DEADLINE.as_secs() });
        }
        let file = self.files()?;
        if !context.allows(file.map(|file| file.database)) {
            return Err(SearchError::Unavailable(Cause::new(0, REPLACED).with_kind(CauseKind::FileReplaced)));
        }
        let Some(file) = file else { return Ok(None) };
        let failed = |error: rusqlite::Error| {
            let failure = search_error(&error, DEADLINE.as_secs());
            if let SearchError::Refused(cause) = &failure
                && is_damage(&error)
            {
                let (cause, seen) = (cause.clone(), Instant::now());
                *self.damage() = Some(Damage { file: file.database, cause, seen });
            }
            failure
        };
        let mut connection = self.connection(file).map_err(failed)?;
        let found = schema::inspect(&connection).map_err(failed)?;
        if let Some(rejection) = found.rejection() {
            return Err(SearchError::Refused(Cause::new(0, rejection)));
        }
        match found {
            SchemaState::Empty if self.was_read.load(Ordering::Relaxed) => {
                return Err(missing_error(MissingKind::Emptied));
            }
            SchemaState::Empty => return Ok(None),
            SchemaState::Old(_) => return Err(SearchError::Unavailable(Cause::new(0, OLD))),
            SchemaState::Current | SchemaState::Newer(_) | SchemaState::Foreign => {}
        }
        self.was_read.store(true, Ordering::Relaxed);
        let bounds = context.clone();
        connection.progress_handler(STEPS_PER_LOOK, Some(move || bounds.is_expired())).map_err(failed)?;
        let result = work(&connection).map_err(failed)?;
        connection.progress_handler(0, None::<fn() -> bool>).map_err(failed)?;
        self.release(file, connection);
        Ok(Some(result))
    }

    /// Closes idle connections.
    pub(crate) fn close_idle(&self) {
        self.idle().connections.clear();
    }

    fn damage(&self) -> MutexGuard<'_, Option<Damage>> {
        self.damage.lock()
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock()
    }

    /// Takes an idle connection to this file, or opens one.
    fn connection(&self, file: FileIds) -> rusqlite::Result<Connection> {
        {
            let mut idle = self.idle();
            if idle.file != Some(file) {
                *idle = Idle { file: Some(file), connections: Vec::new() };
            }
            if let Some(connection) = idle.connections.pop() {
                return Ok(connection);
            }
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.path, flags)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
        Ok(connection)
    }

    fn release(&self, file: FileIds, connection: Connection) {
        let mut idle = self.idle();
        if idle.file == Some(file) && idle.connections.len() < KEPT_CONNECTIONS {
            idle.connections.push(connection);
        }
    }
}

/// Returns the error for a store that was read before and is missing.
fn missing_error(kind: MissingKind) -> SearchError {
    SearchError::Unavailable(Cause::new(0, kind.to_string()).with_kind(CauseKind::FileReplaced))
}
