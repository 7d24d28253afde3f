//! Brings the WAL into the file beside the writer, on a thread and a connection of its own.
//!
//! The most of it is done while batches are written; then, with the writer held up for a moment, the little that came
//! meanwhile, so that the WAL is used from its beginning again. Where the disk can't follow and the WAL gets much longer,
//! the writer does it itself, and is as slow as the disk.

use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use rusqlite::hooks::Wal;
use rusqlite::{Connection, OpenFlags};

/// The WAL is brought into the file when it is longer than this, 16 MiB of pages of 4 KiB. Pages that many writes change
/// are then written once. Readers hold it up no longer than one search takes.
const BEGIN_PAGES: i32 = 4_096;

/// When it is longer than this, 64 MiB, the writer brings it into the file itself.
const WRITERS_PAGES: i32 = 16_384;

/// So few pages are done while the writer waits.
const LITTLE_PAGES: i64 = 256;

/// After so many looks at what came meanwhile, the writer is held up for whatever is left.
const ROUNDS_MAX: usize = 4;

/// The thread. It ends when this is dropped.
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
    is_over: bool,
}

impl Signal {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.notify_one();
    }

    /// Waits for work; `false` when it is over.
    fn wait(&self) -> bool {
        let mut state = self.lock();
        while !state.is_due && !state.is_over {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.is_due = false;
        !state.is_over
    }
}

impl Checkpointer {
    /// Begins for the file at `path`. While `writing` is locked nothing is written; nothing is done while `is_there` says that
    /// the path leads to another file.
    pub(crate) fn begin<W: Send + 'static>(
        path: &Path,
        writing: Arc<Mutex<W>>,
        is_there: impl Fn() -> bool + Send + 'static,
    ) -> Result<Self, String> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let own = Connection::open_with_flags(path, flags).map_err(|error| error.to_string())?;
        own.pragma_update(None, "synchronous", "FULL").map_err(|error| error.to_string())?;
        let signal = Arc::new(Signal::default());
        let waits = Arc::clone(&signal);
        let thread = std::thread::Builder::new().name("store-checkpoint".to_owned()).spawn(move || {
            while waits.wait() {
                // What could not be done now is tried again after the next write.
                if is_there() {
                    let _ = bring_in(&own, &writing);
                }
            }
        });
        Ok(Self { signal, thread: Some(thread.map_err(|error| error.to_string())?) })
    }

    /// Is told by the connection that writes how long the WAL is.
    pub(crate) fn watch(&self, writer: &mut Connection) -> rusqlite::Result<()> {
        let signal = Arc::clone(&self.signal);
        writer.wal_hook(Some(move |wal: &mut Wal, pages| {
            if pages >= WRITERS_PAGES {
                let _ = wal.checkpoint();
            } else if pages >= BEGIN_PAGES {
                signal.tell(|state| state.is_due = true);
            }
            Ok(())
        }))
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        self.signal.tell(|state| state.is_over = true);
        if let Some(thread) = self.thread.take() {
            // It has nothing to say, whatever became of it.
            let _ = thread.join();
        }
    }
}

fn bring_in<W>(own: &Connection, writing: &Mutex<W>) -> rusqlite::Result<()> {
    let mut done = 0;
    for _ in 0..ROUNDS_MAX {
        let before = std::mem::replace(&mut done, checkpoint(own)?);
        // What comes while little is done is less still.
        if done - before <= LITTLE_PAGES {
            break;
        }
    }
    let _held = writing.lock().unwrap_or_else(PoisonError::into_inner);
    checkpoint(own).map(drop)
}

/// Brings in what is there, as far as readers allow; how much of the WAL is in the file now, in pages.
fn checkpoint(own: &Connection) -> rusqlite::Result<i64> {
    own.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| row.get(2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wal_is_used_from_its_beginning_again_while_lines_are_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("some.db");
        let mut connection = Connection::open(&path).unwrap();
        connection.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE some (data BLOB)").unwrap();
        let writing = Arc::new(Mutex::new(()));
        let checkpointer = Checkpointer::begin(&path, Arc::clone(&writing), || true).unwrap();
        checkpointer.watch(&mut connection).unwrap();
        let page = vec![7_u8; 4_000];
        // Four times what the WAL may be before the writer sees to it.
        for _ in 0..4 * WRITERS_PAGES / 64 {
            let _held = writing.lock().unwrap();
            let transaction = connection.transaction().unwrap();
            for _ in 0..64 {
                transaction.execute("INSERT INTO some VALUES (?1)", [&page]).unwrap();
            }
            transaction.commit().unwrap();
        }
        let pages = std::fs::metadata(folder.path().join("some.db-wal")).unwrap().len() / 4_096;
        assert!(pages < 2 * u64::try_from(WRITERS_PAGES).unwrap(), "{pages} pages");
        drop(checkpointer);
        assert!(writing.try_lock().is_ok());
    }
}
