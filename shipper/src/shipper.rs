//! The pipeline, running: on the real disk, by the real clock, against a real store.
//!
//! Three threads do the work. Whoever carries a stream appends it to the spool ([`StreamWriter`]). One thread runs the
//! pipeline and waits for nothing but news: bytes, answers, deadlines. One makes the spool durable at its interval, so
//! that a slow disk holds up neither. Requests to the store run as tasks of the caller's runtime.

mod held;
mod runner;
mod status;
mod stream;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

pub use self::held::Held;
use self::runner::{Bell, Runner};
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
use crate::retention;
use crate::sink::Sink;
use crate::spool::{Random, Spool};
use crate::store_watch;

/// Why shipping can't begin. Each has its exit code.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The state directory can't be made, read or written.
    #[error("can't use the state directory {path}: {reason}; give another one with --state-dir")]
    StateDir {
        /// The directory.
        path: PathBuf,
        /// What was said.
        reason: String,
    },
    /// A file of the state directory is damaged, and what is lost of it can't be told.
    #[error("{0}")]
    Damaged(String),
    /// Another process holds the state directory.
    #[error("another shipper uses the state directory {path}; stop it or give another one with --state-dir")]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// The store can't be opened.
    #[error("can't open the store: {0}")]
    Store(String),
    /// The store has something in place that must not be written over, or lacks what is needed.
    #[error("the store can't be made ready: {0}")]
    Bootstrap(String),
}

/// A shipper at work.
pub struct Shipper {
    status: Arc<Status>,
    spool: Arc<Spool<RealDisk>>,
    bell: Bell,
    stopping: Arc<AtomicBool>,
    until_idle: bool,
    encoding: LineEncoding,
    threads: Vec<JoinHandle<()>>,
    _held: Held,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finished {
    /// Lines that are taken and not disposed of; they wait in the spool, or in their files.
    pub waiting_lines: u64,
    /// Those of them that wait in their files.
    pub pending_in_files: u64,
}

impl Shipper {
    /// Locks the state directory, opens the store, puts in place what it needs, and begins with what waits.
    /// A store that does not answer is no error: lines wait until it does. Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(settings: &Settings) -> Result<Self, StartError> {
        let state_dir = settings.state_dir();
        let unusable = |reason: String| StartError::StateDir { path: state_dir.to_owned(), reason };
        let locked_dir = state_dir.to_owned();
        let held = tokio::task::spawn_blocking(move || Held::made(&locked_dir)).await;
        let held = held.map_err(|error| unusable(error.to_string()))??;
        let ledger = Arc::new(Mutex::new(Ledger::default()));
        let journal = Journal::open(RealDisk, state_dir).map_err(|error| match error {
            JournalError::Damaged { .. } => StartError::Damaged(error.to_string()),
            JournalError::Io { .. } | JournalError::Newer { .. } => unusable(error.to_string()),
        })?;
        let journal = Arc::new(Mutex::new(journal));
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
            past: Completed::open(RealDisk, state_dir).map_err(io)?,
        };
        let mut shape = settings.pipeline();
        shape.delivery.hosts = sink.hosts();
        let pipeline = Pipeline::new(shape, shared, files, documents, dead_letters, random());

        let status = Arc::new(Status::new(ledger, journal, removals, watch, settings));
        let (runner, bell) = Runner::new(pipeline, sink, Arc::clone(&status), UnreadNote::new(state_dir));
        let stopping = Arc::new(AtomicBool::new(false));
        let threads = vec![
            spawn("pipeline", move || runner.run()).map_err(io)?,
            spawn_syncer(Arc::clone(&spool), Arc::clone(&stopping), settings.spool_sync_interval()).map_err(io)?,
        ];
        let until_idle = settings.files().until_idle;
        let encoding = settings.encoding();
        Ok(Self { status, spool, bell, stopping, until_idle, encoding, threads, _held: held })
    }

    /// A writer for a stream of this name. A stream has one at a time.
    #[must_use]
    pub fn stream(&self, name: &str) -> StreamWriter {
        StreamWriter {
            writer: self.spool.writer(name),
            decoder: StreamDecoder::new(self.encoding),
            bell: self.bell.clone(),
            stopping: Arc::clone(&self.stopping),
        }
    }

    /// What everyone may ask.
    #[must_use]
    pub fn status(&self) -> Arc<Status> {
        Arc::clone(&self.status)
    }

    /// There is no more input: ships what is left, until all is disposed of or `enough` resolves. What is not shipped then
    /// stays in the spool, or unread in its file, for the next process.
    pub async fn finish(mut self, enough: impl Future<Output = ()>) -> Finished {
        let is_done = self.bell.finish(!self.until_idle);
        tokio::select! {
            // Whether it is done or its thread has ended, there is nothing more to wait for.
            _ = is_done => {}
            () = enough => {}
        }
        self.stopping.store(true, Ordering::Release);
        self.bell.stop();
        for thread in self.threads.drain(..) {
            thread.thread().unpark();
            if thread.join().is_err() {
                tracing::error!("a thread of the shipper panicked");
            }
        }
        if let Err(error) = self.spool.sync() {
            tracing::error!(%error, "the spool could not be made durable");
        }
        let (waiting_lines, pending_in_files) = (self.status.snapshot().pending, self.status.pending_in_files());
        Finished { waiting_lines, pending_in_files }
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

/// Makes the spool durable at its interval, until the shipper stops.
fn spawn_syncer(
    spool: Arc<Spool<RealDisk>>,
    stopping: Arc<AtomicBool>,
    interval: Duration,
) -> io::Result<JoinHandle<()>> {
    spawn("spool-sync", move || {
        while !stopping.load(Ordering::Acquire) {
            std::thread::park_timeout(interval);
            if let Err(error) = spool.sync() {
                tracing::error!(%error, "the spool could not be made durable; it is tried again");
            }
        }
    })
}
