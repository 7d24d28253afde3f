//! Limits of one read: the file that may answer it, its time limit, and what it keeps alive.
//!
//! A read runs on a blocking thread, which can't be aborted. It therefore checks regularly whether it was cancelled.

use std::any::Any;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crate::sqlite::file::FileId;

/// Time limit of a read, so that none holds up the WAL for long.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);

tokio::task_local! {
    /// A guard that the reads of a task keep alive until they have ended.
    static GUARD: Arc<dyn Any + Send + Sync>;
}

/// Runs `future`. Each read of an embedded store that starts in it keeps `guard` alive until the read has ended, even
/// if the future is dropped earlier.
pub async fn with_read_guard<F: Future>(guard: Arc<dyn Any + Send + Sync>, future: F) -> F::Output {
    GUARD.scope(guard, future).await
}

/// Returns the guard of the current task.
pub(crate) fn current_guard() -> Option<Arc<dyn Any + Send + Sync>> {
    GUARD.try_with(Arc::clone).ok()
}

/// The file that answers several reads: the one that the path led to at the first read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pin(Arc<OnceLock<Option<FileId>>>);

impl Pin {
    /// Whether this file, or the lack of one, is the same as at the first read.
    fn is(&self, file: Option<FileId>) -> bool {
        *self.0.get_or_init(|| file) == file
    }
}

/// Limits of a read.
#[derive(Clone, Debug)]
pub(crate) struct ReadContext {
    pin: Option<Pin>,
    deadline: Instant,
    cancelled: Arc<AtomicBool>,
}

/// Cancels the read when dropped.
#[derive(Debug)]
pub(crate) struct CancelGuard(Arc<AtomicBool>);

impl ReadContext {
    /// Creates the limits of a read that starts now, and the handle that cancels it.
    pub(crate) fn new(pin: Option<Pin>) -> (Self, CancelGuard) {
        let cancelled = Arc::new(AtomicBool::new(false));
        (Self { pin, deadline: Instant::now() + DEADLINE, cancelled: Arc::clone(&cancelled) }, CancelGuard(cancelled))
    }

    /// Creates the limits of a read that its caller blocks on.
    pub(crate) fn blocking() -> Self {
        Self { pin: None, deadline: Instant::now() + DEADLINE, cancelled: Arc::default() }
    }

    /// Whether the time limit has expired or the read was cancelled.
    pub(crate) fn is_expired(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed) || Instant::now() >= self.deadline
    }

    /// Whether this file, or the lack of one, may answer the read.
    pub(crate) fn allows(&self, file: Option<FileId>) -> bool {
        self.pin.as_ref().is_none_or(|pin| pin.is(file))
    }
}

impl Drop for CancelGuard {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::task::Poll;

    use super::*;
    use crate::settings::EngineSettings;
    use crate::sqlite::Sqlite;
    use crate::sqlite::readers::MAX_CONCURRENT_READS;

    /// A read that does not end on its own.
    const ENDLESS: &str = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n";

    async fn store(folder: &std::path::Path) -> Sqlite {
        Sqlite::open_writer(&folder.join("logs.db"), &EngineSettings::default()).await.unwrap()
    }

    /// Starts a read that does not end on its own, and keeps `guard` alive.
    async fn begin(store: &Sqlite, held: &Arc<()>) -> tokio::task::JoinHandle<()> {
        let (store, (begun, has_begun)) = (store.clone(), mpsc::channel());
        let read = async move {
            let work = move |snapshot: &crate::sqlite::snapshot::Snapshot<'_>| {
                begun.send(()).unwrap();
                snapshot.connection().query_row(ENDLESS, [], |row| row.get::<_, i64>(0))
            };
            let _ = store.with_snapshot(work).await;
        };
        let task = tokio::spawn(with_read_guard(Arc::clone(held) as _, read));
        tokio::task::spawn_blocking(move || has_begun.recv().unwrap()).await.unwrap();
        task
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_cancelled_read_ends_and_drops_its_guard() {
        let folder = tempfile::tempdir().unwrap();
        let (store, held) = (store(folder.path()).await, Arc::new(()));
        let mut reads = Vec::new();
        for _ in 0..MAX_CONCURRENT_READS {
            reads.push(begin(&store, &held).await);
        }
        assert_eq!(Arc::strong_count(&held), 1 + 2 * MAX_CONCURRENT_READS, "by the task and by its read");
        // The next read waits for a slot; readiness is still reported.
        let mut next = Box::pin(store.fields());
        let waits = std::future::poll_fn(|context| Poll::Ready(next.as_mut().poll(context).is_pending())).await;
        assert!(waits && store.ready().await.is_ok());
        assert_eq!(store.readers.free_slots(), 0);
        let begun = Instant::now();
        reads.iter().for_each(tokio::task::JoinHandle::abort);
        assert!(next.await.is_ok());
        while Arc::strong_count(&held) > 1 {
            assert!(begun.elapsed() < DEADLINE / 2, "{} are held", Arc::strong_count(&held) - 1);
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_read_cancelled_before_it_starts_does_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path()).await;
        let (context, waiting) = ReadContext::new(None);
        drop(waiting);
        let found = store.readers.with_connection(&context, |_| -> rusqlite::Result<()> { panic!("it was read") });
        assert!(found.is_err());
    }
}
