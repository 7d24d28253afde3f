//! Checkpoints the WAL in the background, on a thread and a connection of its own.
//!
//! Most pages are copied while batches are written. Then the writer is paused briefly for the few pages added
//! meanwhile, so that the WAL restarts from its beginning. If the disk can't keep up and the WAL grows much longer, the
//! writer runs the checkpoint itself, which slows it down to the speed of the disk.

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex, MutexGuard};
use rusqlite::hooks::Wal;
use rusqlite::{Connection, OpenFlags};

/// WAL size at which a checkpoint starts: 16 MiB in pages of 4 KiB. Pages changed by many writes are then copied once.
/// A reader delays a checkpoint by no more than the duration of a search.
const START_PAGES: i32 = 4_096;

/// WAL size at which the writer runs the checkpoint itself: 64 MiB.
const WRITER_PAGES: i32 = 16_384;

/// Maximum number of pages to copy while the writer is paused, unless [`ROUNDS_MAX`] is reached.
const PAUSED_PAGES: i64 = 256;

/// Maximum number of checkpoints before the writer is paused for all remaining pages.
const ROUNDS_MAX: usize = 4;

/// The background thread. Dropping this stops it.
#[derive(Debug)]
pub(crate) struct Checkpointer {
    signal: Arc<Signal>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread waits for.
#[derive(Debug, Default)]
struct Signal {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    is_due: bool,
    is_stopped: bool,
}

impl Signal {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    fn notify(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.notify_one();
    }

    /// Waits for work. Returns `false` on shutdown.
    fn wait(&self) -> bool {
        let mut state = self.lock();
        while !state.is_due && !state.is_stopped {
            self.changed.wait(&mut state);
        }
        state.is_due = false;
        !state.is_stopped
    }
}

impl Checkpointer {
    /// Starts the thread for the file at `path`. Holding the lock of `writing` pauses writes. While `is_there` returns
    /// `false`, because the path leads to another file, no checkpoint runs.
    pub(crate) fn start<W: Send + 'static>(
        path: &Path,
        writing: Arc<Mutex<W>>,
        is_there: impl Fn() -> bool + Send + 'static,
    ) -> Result<Self, String> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let own = Connection::open_with_flags(path, flags).map_err(|error| error.to_string())?;
        own.pragma_update(None, "synchronous", "FULL").map_err(|error| error.to_string())?;
        let signal = Arc::new(Signal::default());
        let waiter = Arc::clone(&signal);
        let thread = std::thread::Builder::new().name("store-checkpoint".to_owned()).spawn(move || {
            while waiter.wait() {
                // A failed checkpoint is retried after the next write.
                if is_there() {
                    let _ = run(&own, &writing);
                }
            }
        });
        Ok(Self { signal, thread: Some(thread.map_err(|error| error.to_string())?) })
    }

    /// Installs the hook that reports the WAL's size after each write.
    pub(crate) fn watch(&self, writer: &mut Connection) -> rusqlite::Result<()> {
        let signal = Arc::clone(&self.signal);
        writer.wal_hook(Some(move |wal: &mut Wal, pages| {
            if pages >= WRITER_PAGES {
                let _ = wal.checkpoint();
            } else if pages >= START_PAGES {
                signal.notify(|state| state.is_due = true);
            }
            Ok(())
        }))
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        self.signal.notify(|state| state.is_stopped = true);
        if let Some(thread) = self.thread.take() {
            // The thread has no result.
            let _ = thread.join();
        }
    }
}

fn run<W>(own: &Connection, writing: &Mutex<W>) -> rusqlite::Result<()> {
    let mut done = 0;
    for _ in 0..ROUNDS_MAX {
        let before = std::mem::replace(&mut done, checkpoint(own)?);
        // Few pages were added during the last checkpoint, so even fewer will be during the next.
        if done - before <= PAUSED_PAGES {
            break;
        }
    }
    let _held = writing.lock();
    checkpoint(own).map(drop)
}

/// Runs a checkpoint, as far as readers allow. Returns the number of copied pages of the WAL.
fn checkpoint(own: &Connection) -> rusqlite::Result<i64> {
    own.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| row.get(2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wal_restarts_while_lines_are_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("some.db");
        let mut connection = Connection::open(&path).unwrap();
        connection.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE some (data BLOB)").unwrap();
        let writing = Arc::new(Mutex::new(()));
        let checkpointer = Checkpointer::start(&path, Arc::clone(&writing), || true).unwrap();
        checkpointer.watch(&mut connection).unwrap();
        let page = vec![7_u8; 4_000];
        // Four times the WAL size at which the writer runs the checkpoint itself.
        for _ in 0..4 * WRITER_PAGES / 64 {
            let _held = writing.lock();
            let transaction = connection.transaction().unwrap();
            for _ in 0..64 {
                transaction.execute("INSERT INTO some VALUES (?1)", [&page]).unwrap();
            }
            transaction.commit().unwrap();
        }
        let pages = std::fs::metadata(folder.path().join("some.db-wal")).unwrap().len() / 4_096;
        assert!(pages < 2 * u64::try_from(WRITER_PAGES).unwrap(), "{pages} pages");
        drop(checkpointer);
        assert!(writing.try_lock().is_some());
    }
}
