//! The read side: a few read-only connections, opened when they are needed.
//!
//! A file that is not there yet, or has no tables yet, is an empty store; one that was there and is missing has no answer. That
//! the file, its WAL or its shared memory was replaced by another is noticed before each search.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};

use crate::absence::{Absence, AbsenceKind};
use crate::disposition::{Cause, CauseKind};
use crate::error::{OpenError, SearchError};
use crate::scope::Scope;
use crate::search::{Page, Search};
use crate::sqlite::failure::search_error;
use crate::sqlite::file::{self, FileId, FileIds};
use crate::sqlite::schema::{self, Found};
use crate::sqlite::search;
use crate::sqlite::snapshot::Snapshot;

/// Connections kept open between searches; more are opened when more search at once, and closed again.
const KEPT_CONNECTIONS: usize = 4;

/// Pages that each connection keeps in memory: the terms that searches go by again and again.
const CACHE_KIB: i64 = 8 * 1024;

/// How long a reader waits for a lock, which readers need only while a file is being made or recovered.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

/// A search ends after this long, so that no one's question holds the file's old pages for long.
const DEADLINE: Duration = Duration::from_secs(10);

/// Steps of SQLite's machine between two looks at the clock.
const STEPS_PER_LOOK: i32 = 10_000;

/// What a reader says of a file that its writer has yet to bring up to date.
const OLD: &str = "it has the schema of an earlier version; the shipper brings it up to date when it starts";

/// Connections to one file. None of them writes.
#[derive(Debug)]
pub(crate) struct Readers {
    path: PathBuf,
    idle: Mutex<Idle>,
    /// A store was read at the path.
    was_there: AtomicBool,
}

#[derive(Debug, Default)]
struct Idle {
    /// The files that they are open on.
    file: Option<FileIds>,
    connections: Vec<Connection>,
}

impl Readers {
    pub(crate) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), idle: Mutex::default(), was_there: AtomicBool::new(false) }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the file, if it is there, is a store that is known here.
    pub(crate) fn check(&self) -> Result<(), OpenError> {
        let refused = |error: rusqlite::Error| OpenError::File { path: self.path.clone(), reason: error.to_string() };
        let unseen = |error: io::Error| OpenError::File { path: self.path.clone(), reason: error.to_string() };
        let Some(file) = FileIds::of(&self.path).map_err(unseen)? else { return Ok(()) };
        let connection = self.connection(file).map_err(refused)?;
        let found = schema::look(&connection).map_err(refused)?;
        found.usable(&self.path)?;
        self.was_there.fetch_or(found == Found::Current, Ordering::Relaxed);
        self.give_back(file, connection);
        Ok(())
    }

    /// Why there is nothing at the path, where that is so.
    ///
    /// # Errors
    /// When that can't be seen, such as for want of rights.
    pub(crate) fn absence(&self) -> Result<Option<Absence>, SearchError> {
        let unseen = |error: io::Error| {
            let reason = format!("can't look at {}: {error}", self.path.display());
            SearchError::Refused(Cause::new(0, reason))
        };
        if FileId::of(&self.path).map_err(unseen)?.is_some() {
            return Ok(None);
        }
        let kind = match (self.was_there.load(Ordering::Relaxed), file::folder(&self.path).is_dir()) {
            (true, _) => AbsenceKind::Gone,
            (false, true) => AbsenceKind::NotCreated,
            (false, false) => AbsenceKind::NoFolder,
        };
        Ok(Some(Absence { path: self.path.clone(), kind }))
    }

    /// The files at the path; `None` where no store is there yet.
    fn files(&self) -> Result<Option<FileIds>, SearchError> {
        match self.absence()? {
            Some(absence) if absence.kind == AbsenceKind::Gone => {
                self.let_go();
                let cause = Cause::new(0, absence.kind.to_string()).of_kind(CauseKind::FileReplaced);
                Err(SearchError::Unavailable(cause))
            }
            Some(_) => Ok(None),
            // It may have gone since.
            None => Ok(FileIds::of(&self.path).ok().flatten()),
        }
    }

    /// Whether a search would have an answer.
    pub(crate) fn ready(&self) -> Result<(), SearchError> {
        self.with_connection(|_| Ok(())).map(drop)
    }

    pub(crate) fn search(&self, scope: &Scope, search: &Search) -> Result<Page, SearchError> {
        Ok(self.with_snapshot(|snapshot| search::page(snapshot, scope, search))?.unwrap_or_default())
    }

    /// Runs `work` on a state of the store; `None` when there is none yet.
    pub(crate) fn with_snapshot<T>(
        &self,
        work: impl FnOnce(&Snapshot<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, SearchError> {
        self.with_connection(|connection| work(&Snapshot::begin(connection, Instant::now() + DEADLINE)?))
    }

    /// Runs `work` on a connection to a store with tables; `None` when there is none yet.
    pub(crate) fn with_connection<T>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, SearchError> {
        let Some(file) = self.files()? else { return Ok(None) };
        let failed = |error: rusqlite::Error| search_error(&error, DEADLINE.as_secs());
        let mut connection = self.connection(file).map_err(failed)?;
        let found = schema::look(&connection).map_err(failed)?;
        found.usable(&self.path).map_err(|error| SearchError::Refused(Cause::new(0, error.to_string())))?;
        match found {
            Found::Empty => return Ok(None),
            Found::Old(_) => return Err(SearchError::Unavailable(Cause::new(0, OLD))),
            Found::Current | Found::Newer(_) | Found::Foreign => {}
        }
        self.was_there.store(true, Ordering::Relaxed);
        let ends = Instant::now() + DEADLINE;
        connection.progress_handler(STEPS_PER_LOOK, Some(move || Instant::now() >= ends)).map_err(failed)?;
        let done = work(&connection).map_err(failed)?;
        connection.progress_handler(0, None::<fn() -> bool>).map_err(failed)?;
        self.give_back(file, connection);
        Ok(Some(done))
    }

    /// Closes the connections that nobody uses at the moment.
    pub(crate) fn let_go(&self) {
        self.idle().connections.clear();
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection to this file, which is kept nowhere until it is given back.
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

    fn give_back(&self, file: FileIds, connection: Connection) {
        let mut idle = self.idle();
        if idle.file == Some(file) && idle.connections.len() < KEPT_CONNECTIONS {
            idle.connections.push(connection);
        }
    }
}
