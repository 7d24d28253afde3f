//! The read side: a few read-only connections, opened when they are needed.
//!
//! A file that is not there yet, or has no tables yet, is an empty store; one that was there and is missing has no answer. That
//! the file, its WAL or its shared memory was replaced by another is noticed before each search.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::absence::{Absence, AbsenceKind};
use crate::disposition::{Cause, CauseKind};
use crate::error::{OpenError, SearchError};
use crate::scope::Scope;
use crate::search::Search;
use crate::sqlite::failure::{is_damage, search_error};
use crate::sqlite::file::{self, FileId, FileIds};
use crate::sqlite::reading::{DEADLINE, Reading};
use crate::sqlite::schema::{self, Found};
use crate::sqlite::search;
use crate::sqlite::snapshot::Snapshot;

/// Connections kept open between searches; more are opened when more search at once, and closed again.
const KEPT_CONNECTIONS: usize = 4;

/// Pages that each connection keeps in memory: the terms that searches go by again and again.
const CACHE_KIB: i64 = 8 * 1024;

/// How long a reader waits for a lock, which readers need only while a file is being made or recovered.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

/// Reads that run at once, each on a thread and a connection of its own; the others wait for their turn.
pub(crate) const READS_AT_ONCE: usize = 8;

/// A file counts as damaged for this long after the last read that found it so, unless another read is answered before.
const DAMAGE_KNOWN: Duration = Duration::from_secs(60);

/// Steps of SQLite's machine between two looks at the clock.
const STEPS_PER_LOOK: i32 = 10_000;

/// What several reads that belong together say where the file was replaced between two of them.
const REPLACED: &str = "the store's file was deleted or replaced by another before the answer was whole: ask again";

/// What a reader says of a file that its writer has yet to bring up to date.
const OLD: &str = "it has the schema of an earlier version; the shipper brings it up to date when it starts";

/// Connections to one file. None of them writes.
#[derive(Debug)]
pub(crate) struct Readers {
    path: PathBuf,
    idle: Mutex<Idle>,
    /// For reads at once.
    turns: Arc<Semaphore>,
    /// What the last read found that found the file damaged, until another is answered.
    damage: Mutex<Option<Damage>>,
    /// A store was read at the path.
    was_there: AtomicBool,
}

/// A file that a read found damaged.
#[derive(Clone, Debug)]
struct Damage {
    file: FileId,
    cause: Cause,
    seen: Instant,
}

#[derive(Debug, Default)]
struct Idle {
    /// The files that they are open on.
    file: Option<FileIds>,
    connections: Vec<Connection>,
}

impl Readers {
    pub(crate) fn new(path: &Path) -> Self {
        let turns = Arc::new(Semaphore::new(READS_AT_ONCE));
        Self {
            path: path.to_owned(),
            idle: Mutex::default(),
            turns,
            damage: Mutex::default(),
            was_there: AtomicBool::new(false),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Waits until a read may run; it does for as long as this is held.
    pub(crate) async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        // It is never closed.
        Arc::clone(&self.turns).acquire_owned().await.ok()
    }

    #[cfg(test)]
    pub(crate) fn turns_left(&self) -> usize {
        self.turns.available_permits()
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
        let unseen =
            |error: io::Error| SearchError::Refused(Cause::new(0, format!("can't look at the store's file: {error}")));
        let was_there = self.was_there.load(Ordering::Relaxed);
        let kind = match std::fs::metadata(&self.path) {
            Ok(metadata) if metadata.len() > 0 => return Ok(None),
            Ok(_) if was_there => AbsenceKind::Emptied,
            Ok(_) => AbsenceKind::NotCreated,
            Err(error) if !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Err(unseen(error));
            }
            Err(_) if was_there => AbsenceKind::Gone,
            Err(_) if file::is_broken_link(&self.path) => AbsenceKind::BrokenLink,
            Err(_) if file::folder(&self.path).is_dir() => AbsenceKind::NotCreated,
            Err(_) => AbsenceKind::NoFolder,
        };
        Ok(Some(Absence { path: self.path.clone(), kind }))
    }

    /// The files at the path; `None` where no store is there yet.
    fn files(&self) -> Result<Option<FileIds>, SearchError> {
        match self.absence()? {
            Some(absence) if matches!(absence.kind, AbsenceKind::Gone | AbsenceKind::Emptied) => {
                self.let_go();
                Err(gone(absence.kind))
            }
            Some(_) => Ok(None),
            // It may have gone since.
            None => Ok(FileIds::of(&self.path).ok().flatten()),
        }
    }

    /// Whether a search would have an answer.
    pub(crate) fn ready(&self) -> Result<(), SearchError> {
        let (reading, newest) = (Reading::here(), Search { limit: 1, ..Search::default() });
        self.run(&reading, |connection| search::page(&Snapshot::begin(connection, &reading)?, &Scope::All, &newest))?;
        let file = FileIds::of(&self.path).ok().flatten();
        let damage = self.damage().clone();
        match damage.filter(|damage| file.is_some_and(|file| file.database == damage.file)) {
            Some(damage) if damage.seen.elapsed() < DAMAGE_KNOWN => Err(SearchError::Refused(damage.cause)),
            _ => Ok(()),
        }
    }

    /// Runs `work` on a state of the store; `None` when there is none yet.
    pub(crate) fn with_snapshot<T>(
        &self,
        reading: &Reading,
        work: impl FnOnce(&Snapshot<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, SearchError> {
        self.with_connection(reading, |connection| work(&Snapshot::begin(connection, reading)?))
    }

    /// Runs `work` on a connection to a store with tables; `None` when there is none yet.
    pub(crate) fn with_connection<T>(
        &self,
        reading: &Reading,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, SearchError> {
        let done = self.run(reading, work)?;
        *self.damage() = None;
        Ok(done)
    }

    fn run<T>(
        &self,
        reading: &Reading,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, SearchError> {
        if reading.is_over() {
            return Err(SearchError::TimedOut { seconds: DEADLINE.as_secs() });
        }
        let file = self.files()?;
        if !reading.may_be_of(file.map(|file| file.database)) {
            return Err(SearchError::Unavailable(Cause::new(0, REPLACED).of_kind(CauseKind::FileReplaced)));
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
        let found = schema::look(&connection).map_err(failed)?;
        if let Some(obstacle) = found.obstacle() {
            return Err(SearchError::Refused(Cause::new(0, obstacle)));
        }
        match found {
            Found::Empty if self.was_there.load(Ordering::Relaxed) => return Err(gone(AbsenceKind::Emptied)),
            Found::Empty => return Ok(None),
            Found::Old(_) => return Err(SearchError::Unavailable(Cause::new(0, OLD))),
            Found::Current | Found::Newer(_) | Found::Foreign => {}
        }
        self.was_there.store(true, Ordering::Relaxed);
        let bounds = reading.clone();
        connection.progress_handler(STEPS_PER_LOOK, Some(move || bounds.is_over())).map_err(failed)?;
        let done = work(&connection).map_err(failed)?;
        connection.progress_handler(0, None::<fn() -> bool>).map_err(failed)?;
        self.give_back(file, connection);
        Ok(Some(done))
    }

    /// Closes the connections that nobody uses at the moment.
    pub(crate) fn let_go(&self) {
        self.idle().connections.clear();
    }

    fn damage(&self) -> MutexGuard<'_, Option<Damage>> {
        self.damage.lock().unwrap_or_else(PoisonError::into_inner)
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

/// What a search says of a store that was read before.
fn gone(kind: AbsenceKind) -> SearchError {
    SearchError::Unavailable(Cause::new(0, kind.to_string()).of_kind(CauseKind::FileReplaced))
}
