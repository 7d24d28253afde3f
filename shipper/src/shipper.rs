//! Runs the pipeline with the real disk, clock and store.
//!
//! Three threads do the work. The reader of a stream appends it to the spool ([`StreamWriter`]). One thread runs the
//! pipeline and waits only for events: new bytes, answers, deadlines. One calls fsync on the spool at intervals, so
//! that a slow disk delays neither of the others. Requests to the store run as tasks of the caller's runtime.

mod runner;
mod state_dir_lock;
mod status;
mod stream;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use self::runner::{Notifier, Runner};
pub use self::state_dir_lock::StateDirLock;
pub use self::status::Status;
pub use self::stream::StreamWriter;
use crate::completed::Completed;
use crate::config::Settings;
use crate::dead_letters::DeadLetters;
use crate::disk::RealDisk;
use crate::document::Documents;
use crate::encoding::{LineEncoding, StreamDecoder};
use crate::files::{Files, UnreadNote};
use crate::journal::{Journal, JournalError};
use crate::ledger::Ledger;
use crate::pipeline::{Pipeline, Shared};
use crate::random::Random;
use crate::retention;
use crate::sink::Sink;
use crate::spool::Spool;
pub use crate::start_error::StartError;
use crate::store_watch;
use crate::sync::RankedMutex;

/// A running shipper.
pub struct Shipper {
    status: Arc<Status>,
    spool: Arc<Spool<RealDisk>>,
    notifier: Notifier,
    stopping: Arc<AtomicBool>,
    until_idle: bool,
    encoding: LineEncoding,
    threads: Vec<JoinHandle<()>>,
    _lock: StateDirLock,
}

/// What was left when it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finished {
    /// Pending lines, in the spool or in files.
    pub pending_lines: u64,
    /// Pending lines in files.
    pub pending_in_files: u64,
}

impl Shipper {
    /// Locks the state directory, opens and bootstraps the store, and starts to ship pending lines. A store that does
    /// not respond is not an error: lines stay pending until it does. Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(settings: &Settings) -> Result<Self, StartError> {
        let state_dir = settings.state_dir();
        let unusable = |reason: String| StartError::StateDir { path: state_dir.to_owned(), reason };
        let locked_dir = state_dir.to_owned();
        let lock = tokio::task::spawn_blocking(move || StateDirLock::create(&locked_dir)).await;
        let lock = lock.map_err(|error| unusable(error.to_string()))??;
        let ledger = Arc::new(RankedMutex::new(Ledger::default()));
        let journal = Journal::open(RealDisk, state_dir).map_err(|error| match error {
            JournalError::Damaged { .. } => StartError::Damaged(error.to_string()),
            JournalError::Io { .. } | JournalError::Newer { .. } => unusable(error.to_string()),
        })?;
        let journal = Arc::new(RankedMutex::new(journal));
        let io = |error: io::Error| match error.kind() {
            io::ErrorKind::InvalidData => StartError::Damaged(error.to_string()),
            _ => unusable(error.to_string()),
        };
        let spool =
            Spool::open(RealDisk, state_dir, settings.spool(), Arc::clone(&ledger), Arc::clone(&journal), random());
        let spool = Arc::new(spool.map_err(io)?);
        let dead_letters = DeadLetters::open(RealDisk, state_dir, settings.dead_letters_max_bytes()).map_err(io)?;
        let files = Files::new(RealDisk, settings.files(), Arc::clone(&journal), random());
        let sink = Arc::new(Sink::open(settings).await?);
        let removals = Arc::default();
        retention::spawn(sink.store().clone(), settings.keep(), &removals);
        let watch = Arc::default();
        store_watch::spawn(sink.store().clone(), settings.to(), &watch);
        let documents = Documents::new(settings.host(), settings.name(), settings.service());
        let shared = Shared {
            disk: RealDisk,
            ledger: Arc::clone(&ledger),
            journal: Arc::clone(&journal),
            spool: Arc::clone(&spool),
            completed: Completed::open(RealDisk, state_dir).map_err(io)?,
        };
        let mut pipeline_settings = settings.pipeline();
        pipeline_settings.delivery.hosts = sink.hosts();
        let pipeline = Pipeline::new(pipeline_settings, shared, files, documents, dead_letters, random());

        let status = Arc::new(Status::new(ledger, journal, removals, watch, settings));
        let (runner, notifier) = Runner::new(pipeline, sink, Arc::clone(&status), UnreadNote::new(state_dir));
        let stopping = Arc::new(AtomicBool::new(false));
        let threads = vec![
            spawn("pipeline", move || runner.run()).map_err(io)?,
            spawn_syncer(Arc::clone(&spool), Arc::clone(&stopping), settings.spool_sync_interval()).map_err(io)?,
        ];
        let until_idle = settings.files().until_idle;
        let encoding = settings.encoding();
        Ok(Self { status, spool, notifier, stopping, until_idle, encoding, threads, _lock: lock })
    }

    /// A writer for the stream with this name. A stream has one writer at a time.
    #[must_use]
    pub fn stream(&self, name: &str) -> StreamWriter {
        StreamWriter {
            writer: self.spool.writer(name),
            decoder: StreamDecoder::new(self.encoding),
            notifier: self.notifier.clone(),
            stopping: Arc::clone(&self.stopping),
        }
    }

    /// The status, shared with the admin port.
    #[must_use]
    pub fn status(&self) -> Arc<Status> {
        Arc::clone(&self.status)
    }

    /// Ends the input and ships pending lines, until every line has its outcome or `deadline` resolves. What is not
    /// shipped stays in the spool, or in its file, for the next start.
    pub async fn finish(mut self, deadline: impl Future<Output = ()>) -> Finished {
        let is_done = self.notifier.finish(!self.until_idle);
        tokio::select! {
            // Done, or the thread has ended.
            _ = is_done => {}
            () = deadline => {}
        }
        self.stopping.store(true, Ordering::Release);
        self.notifier.stop();
        for thread in self.threads.drain(..) {
            thread.thread().unpark();
            if thread.join().is_err() {
                tracing::error!("thread panicked");
            }
        }
        if let Err(error) = self.spool.sync() {
            tracing::error!(%error, "spool fsync failed");
        }
        let (pending_lines, pending_in_files) = (self.status.snapshot().pending, self.status.pending_in_files());
        Finished { pending_lines, pending_in_files }
    }
}

fn unusable(path: &Path, reason: String) -> StartError {
    StartError::StateDir { path: path.to_owned(), reason }
}

fn random() -> Random {
    Box::new(|| uuid::Uuid::new_v4().as_u64_pair().0.rotate_left(32) ^ uuid::Uuid::new_v4().as_u64_pair().1)
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name.to_owned()).spawn(work)
}

/// Calls fsync on the spool at intervals until the shipper stops.
fn spawn_syncer(
    spool: Arc<Spool<RealDisk>>,
    stopping: Arc<AtomicBool>,
    interval: Duration,
) -> io::Result<JoinHandle<()>> {
    spawn("spool-sync", move || {
        while !stopping.load(Ordering::Acquire) {
            std::thread::park_timeout(interval);
            if let Err(error) = spool.sync() {
                tracing::error!(%error, "spool fsync failed, retrying");
            }
        }
    })
}
