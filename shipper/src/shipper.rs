//! The pipeline, running: on the real disk, by the real clock, against a real store.
//!
//! Three threads do the work. Whoever carries a stream appends it to the spool ([`StreamWriter`]). One thread runs the
//! pipeline and waits for nothing but news: bytes, answers, deadlines. One makes the spool durable at its interval, so
//! that a slow disk holds up neither. Requests to the store run as tasks of the caller's runtime.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::fs::FlockOperation;
use store::{Disposition, LineId, Timestamp, WriteError};
use tokio::sync::oneshot;

use crate::config::Settings;
use crate::dead_letters::DeadLetters;
use crate::delivery::{ParcelId, Request};
use crate::disk::{Disk, RealDisk};
use crate::document::Documents;
use crate::files::Files;
use crate::journal::{Journal, JournalError};
use crate::ledger::{Ledger, Snapshot};
use crate::moment::Clock;
use crate::past::Past;
use crate::pipeline::{Pipeline, Report, Shared};
use crate::retention::{self, Removals};
use crate::sink::Sink;
use crate::spool::{Appended, Random, Spool, Writer, lock};
use crate::told::{tell_of_hosts, tell_of_trouble};

/// How long a writer that found no room, or a disk that said no, waits before it asks again.
const ROOM_WAIT: Duration = Duration::from_millis(250);

/// The pipeline looks around at least this often.
const IDLE_WAIT: Duration = Duration::from_secs(1);

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

/// What everyone may ask a running shipper.
pub struct Status {
    ledger: Arc<Mutex<Ledger>>,
    journal: Arc<Mutex<Journal<RealDisk>>>,
    report: Mutex<Report>,
    removals: Arc<Removals>,
    spool_max_bytes: u64,
    told_unbalanced: AtomicBool,
    in_flight_max_bytes: u64,
}

impl Status {
    /// The books at one moment. That they balance is looked at each time; should they ever not, a metric and the log
    /// say so.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let books = lock(&self.ledger).snapshot();
        if !books.is_balanced() && !self.told_unbalanced.swap(true, Ordering::Relaxed) {
            tracing::error!(
                ?books,
                "the books do not balance: a line was counted wrongly, which is a fault of the shipper"
            );
        }
        debug_assert!(books.is_balanced(), "{books:?}");
        books
    }

    /// How long ago the oldest line that waits arrived, to the second, as arrival marks are; zero when none waits.
    #[must_use]
    pub fn lag(&self, now: Timestamp) -> Duration {
        let waiting = lock(&self.ledger).waiting_from();
        let journal = lock(&self.journal);
        let arrived = |line: &LineId| journal.get(&line.generation).arrived(&line.generation, line.offset);
        let micros = waiting.iter().map(arrived).min().map_or(0, |oldest| now.unix_micros() - oldest.unix_micros());
        Duration::from_secs(u64::try_from(micros).unwrap_or(0) / 1_000_000)
    }

    /// What the pipeline tells of itself.
    #[must_use]
    pub fn report(&self) -> Report {
        lock(&self.report).clone()
    }

    /// Lines that were taken out of the embedded store because they need not be kept, and their bytes.
    #[must_use]
    pub fn removed(&self) -> (u64, u64) {
        self.removals.get()
    }

    /// The spool's bound in bytes.
    #[must_use]
    pub fn spool_max_bytes(&self) -> u64 {
        self.spool_max_bytes
    }

    /// Bytes of batches above which nothing is read.
    #[must_use]
    pub fn in_flight_max_bytes(&self) -> u64 {
        self.in_flight_max_bytes
    }

    /// Whether lines get to their store.
    ///
    /// # Errors
    /// Why they do not, in a sentence.
    pub fn ready(&self) -> Result<(), String> {
        let report = lock(&self.report);
        if report.dead_letters.is_full {
            return Err(report.dead_letters.no_room());
        }
        match (&report.trouble, &report.disk_error) {
            (Some(trouble), _) if trouble.refused => Err(format!("the store refuses writes: {}", trouble.cause)),
            (Some(trouble), _) => Err(format!("the store does not answer: {}", trouble.cause)),
            (None, Some(error)) => Err(format!("the state directory can't be written: {error}")),
            (None, None) => Ok(()),
        }
    }
}

/// News for the pipeline's thread.
enum News {
    /// There are bytes to read.
    Bytes,
    /// The store answered.
    Answer(ParcelId, Result<Vec<Disposition>, WriteError>),
    /// No more input; tell when all is done, and then end.
    Finish { close_files: bool, done: oneshot::Sender<()> },
    /// End now.
    Stop,
}

/// Tells the pipeline that there are bytes, once for any number of appends.
#[derive(Clone)]
struct Bell {
    news: Sender<News>,
    rung: Arc<AtomicBool>,
}

impl Bell {
    fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            // A pipeline that has ended needs no news.
            let _ = self.news.send(News::Bytes);
        }
    }
}

/// A shipper at work.
pub struct Shipper {
    status: Arc<Status>,
    spool: Arc<Spool<RealDisk>>,
    bell: Bell,
    stopping: Arc<AtomicBool>,
    until_idle: bool,
    threads: Vec<JoinHandle<()>>,
    _held: Held,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finished {
    /// Lines that are taken and not disposed of; they wait in the spool.
    pub waiting_lines: u64,
}

impl Shipper {
    /// Locks the state directory, opens the store, puts in place what it needs, and begins with what waits.
    /// A store that does not answer is no error: lines wait until it does. Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(settings: &Settings) -> Result<Self, StartError> {
        let state_dir = settings.state_dir();
        let held = Held::made(state_dir)?;
        let unusable = |reason: String| StartError::StateDir { path: state_dir.to_owned(), reason };
        let ledger = Arc::new(Mutex::new(Ledger::default()));
        let journal = Journal::open(RealDisk, state_dir).map_err(|error| match error {
            JournalError::Io { .. } | JournalError::Newer { .. } => unusable(error.to_string()),
        })?;
        let journal = Arc::new(Mutex::new(journal));
        let io = |error: io::Error| unusable(error.to_string());
        let spool =
            Spool::open(RealDisk, state_dir, settings.spool(), Arc::clone(&ledger), Arc::clone(&journal), random());
        let spool = Arc::new(spool.map_err(io)?);
        let dead_letters = DeadLetters::open(RealDisk, state_dir, settings.dead_letters_max_bytes()).map_err(io)?;
        let files = Files::new(RealDisk, settings.files(), Arc::clone(&journal), random());
        let sink = Arc::new(Sink::open(settings).await?);
        let removals = Arc::default();
        retention::spawn(sink.store().clone(), settings.keep(), &removals);
        let documents = Documents::new(settings.host(), settings.name(), settings.service());
        let shared = Shared {
            disk: RealDisk,
            ledger: Arc::clone(&ledger),
            journal: Arc::clone(&journal),
            spool: Arc::clone(&spool),
            past: Past::open(RealDisk, state_dir).map_err(io)?,
        };
        let mut shape = settings.pipeline();
        shape.delivery.hosts = sink.hosts();
        let pipeline = Pipeline::new(shape, shared, files, documents, dead_letters, random());

        let (news, inbox) = mpsc::channel();
        let bell = Bell { news, rung: Arc::new(AtomicBool::new(false)) };
        let (spool_max_bytes, in_flight_max_bytes) =
            (settings.spool().max_bytes, settings.pipeline().in_flight_max_bytes as u64);
        let report = Mutex::default();
        let status = Arc::new(Status {
            ledger,
            journal,
            report,
            removals,
            spool_max_bytes,
            in_flight_max_bytes,
            told_unbalanced: AtomicBool::new(false),
        });
        let stopping = Arc::new(AtomicBool::new(false));
        let runner = Runner {
            pipeline,
            inbox,
            bell: bell.clone(),
            sink,
            runtime: tokio::runtime::Handle::current(),
            status: Arc::clone(&status),
            finishing: None,
        };
        let threads = vec![
            spawn("pipeline", move || runner.run()).map_err(io)?,
            spawn_syncer(Arc::clone(&spool), Arc::clone(&stopping), settings.spool_sync_interval()).map_err(io)?,
        ];
        let until_idle = settings.files().until_idle;
        Ok(Self { status, spool, bell, stopping, until_idle, threads, _held: held })
    }

    /// A writer for a stream of this name. A stream has one at a time.
    #[must_use]
    pub fn stream(&self, name: &str) -> StreamWriter {
        StreamWriter { writer: self.spool.writer(name), bell: self.bell.clone(), stopping: Arc::clone(&self.stopping) }
    }

    /// What everyone may ask.
    #[must_use]
    pub fn status(&self) -> Arc<Status> {
        Arc::clone(&self.status)
    }

    /// There is no more input: ships what is left, until all is disposed of or `enough` resolves. What is not shipped then
    /// stays in the spool, or unread in its file, for the next process.
    pub async fn finish(mut self, enough: impl Future<Output = ()>) -> Finished {
        let (done, is_done) = oneshot::channel();
        let _ = self.bell.news.send(News::Finish { close_files: !self.until_idle, done });
        tokio::select! {
            // Whether it is done or its thread has ended, there is nothing more to wait for.
            _ = is_done => {}
            () = enough => {}
        }
        self.stopping.store(true, Ordering::Release);
        let _ = self.bell.news.send(News::Stop);
        for thread in self.threads.drain(..) {
            thread.thread().unpark();
            if thread.join().is_err() {
                tracing::error!("a thread of the shipper panicked");
            }
        }
        if let Err(error) = self.spool.sync() {
            tracing::error!(%error, "the spool could not be made durable");
        }
        Finished { waiting_lines: self.status.snapshot().waiting }
    }
}

/// A state directory that no other process uses as long as this is there.
#[derive(Debug)]
pub struct Held {
    _lock: std::fs::File,
}

impl Held {
    /// Holds a directory, which is made if it is not there.
    ///
    /// # Errors
    /// [`StartError::StateDir`], [`StartError::Locked`].
    pub fn made(state_dir: &Path) -> Result<Self, StartError> {
        RealDisk.create_dir_all(state_dir).map_err(|error| unusable(state_dir, error.to_string()))?;
        Self::existing(state_dir)
    }

    /// Holds a directory that is there.
    ///
    /// # Errors
    /// [`StartError::StateDir`], [`StartError::Locked`].
    pub fn existing(state_dir: &Path) -> Result<Self, StartError> {
        let failed = |error: io::Error| unusable(state_dir, error.to_string());
        if !state_dir.is_dir() {
            return Err(unusable(state_dir, "there is no such directory".to_owned()));
        }
        let file = RealDisk.open_append(&state_dir.join("lock")).map_err(failed)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { _lock: file }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(StartError::Locked { path: state_dir.to_owned() }),
            Err(error) => Err(failed(error.into())),
        }
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

/// Appends a stream to the spool.
pub struct StreamWriter {
    writer: Writer<RealDisk>,
    bell: Bell,
    stopping: Arc<AtomicBool>,
}

impl StreamWriter {
    /// Takes all of `bytes`, which may block as `on_full` says.
    ///
    /// # Errors
    /// The shipper is stopping and there is no room for the rest.
    pub fn append(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        let mut told = false;
        while !bytes.is_empty() {
            let appended = self.writer.append(bytes, Timestamp::now());
            self.bell.ring();
            match appended {
                Ok(Appended::Taken(count)) => {
                    bytes = &bytes[count..];
                    continue;
                }
                Ok(Appended::Full) => {}
                Err(error) => {
                    if !std::mem::replace(&mut told, true) {
                        tracing::error!(%error, "the spool can't be written; it is tried again");
                    }
                }
            }
            if self.stopping.load(Ordering::Acquire) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.writer.spool().wait_for_room(ROOM_WAIT);
        }
        Ok(())
    }

    /// The stream is at its end.
    pub fn finish(mut self) {
        self.writer.seal();
        self.bell.ring();
    }
}

/// The pipeline's thread.
struct Runner {
    pipeline: Pipeline<RealDisk>,
    inbox: Receiver<News>,
    bell: Bell,
    sink: Arc<Sink>,
    runtime: tokio::runtime::Handle,
    status: Arc<Status>,
    finishing: Option<oneshot::Sender<()>>,
}

impl Runner {
    fn run(mut self) {
        let clock = Clock::default();
        let (mut trouble, mut ejected) = (None, Vec::new());
        loop {
            let now = clock.now();
            for request in self.pipeline.tick(now) {
                self.send(request);
            }
            let _looked_at = self.status.snapshot();
            let report = self.pipeline.report();
            tell_of_trouble(&mut trouble, &report);
            tell_of_hosts(&mut ejected, &report);
            *lock(&self.status.report) = report;
            if self.finishing.is_some() && self.pipeline.is_done() {
                // Nobody waits for it any more if the deadline came first.
                let _ = self.finishing.take().map(|done| done.send(()));
            }
            let due = self.pipeline.next_tick_at().map(|at| at.saturating_sub(clock.now().elapsed));
            let wait = due.unwrap_or(IDLE_WAIT).min(IDLE_WAIT);
            let goes_on = match self.inbox.recv_timeout(wait) {
                Ok(news) => self.take(news, clock),
                Err(RecvTimeoutError::Timeout) => true,
                Err(RecvTimeoutError::Disconnected) => false,
            };
            if !goes_on {
                break;
            }
        }
        if let Err(error) = self.pipeline.close(clock.now()) {
            tracing::error!(%error, "the last checkpoints could not be written: their lines will be sent again");
        }
        *lock(&self.status.report) = self.pipeline.report();
    }

    /// Takes news, and all that came with it; false to end.
    fn take(&mut self, first: News, clock: Clock) -> bool {
        let mut next = Some(first);
        while let Some(news) = next {
            match news {
                News::Bytes => self.bell.rung.store(false, Ordering::Release),
                News::Answer(id, answer) => self.pipeline.answer(id, answer, clock.now()),
                News::Finish { close_files, done } => {
                    if close_files {
                        self.pipeline.close_files();
                    }
                    self.pipeline.flush();
                    self.finishing = Some(done);
                }
                News::Stop => return false,
            }
            next = self.inbox.try_recv().ok();
        }
        true
    }

    fn send(&self, request: Request) {
        let (sink, news) = (Arc::clone(&self.sink), self.bell.news.clone());
        self.runtime.spawn(async move {
            let answer = sink.write(request.host, &request.batch).await;
            let _ = news.send(News::Answer(request.id, answer));
        });
    }
}
