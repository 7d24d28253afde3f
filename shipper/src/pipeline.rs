//! Connects the stages: from bytes in a file to lines in a store.
//!
//! A [`Pipeline`] performs one [`tick`](Pipeline::tick) at a time and never waits: it reads, batches, returns requests
//! to send, handles [answers](Pipeline::answer), advances checkpoints and removes completed generations. The caller
//! decides when, and with which clock, disk and store, so that a simulation can provide all of them.
//!
//! `in_flight_max_bytes` limits the total size of all batches being built or delivered. Above it nothing is read, and
//! input stays in the spool or in its files.

mod assembly;
mod completion;
mod open_generations;
mod reading;
mod report;
mod settings;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use store::{Disposition, GenerationId, WriteError};

use self::assembly::Assembly;
use self::completion::Completions;
use self::open_generations::OpenGenerations;
pub use self::report::{KindCounts, Obstacle, Report};
pub use self::settings::PipelineSettings;
use crate::clock::ClockReading;
use crate::completed::Completed;
use crate::dead_letters::DeadLetters;
use crate::delivery::{Delivery, DeliveryError, InFlightId, Request};
use crate::disk::Disk;
use crate::document::Documents;
use crate::files::Files;
use crate::journal::Journal;
use crate::ledger::{Ledger, Outcome};
use crate::random::Random;
use crate::spool::Spool;
use crate::sync::RankedMutex;

/// How long to wait after a disk error.
const DISK_RETRY: Duration = Duration::from_millis(250);

/// State shared with the writers of the spool and with the status.
pub struct Shared<D: Disk> {
    /// The disk.
    pub disk: D,
    /// The accounts of all lines.
    pub ledger: Arc<RankedMutex<Ledger>>,
    /// The state that survives a crash.
    pub journal: Arc<RankedMutex<Journal<D>>>,
    /// The spool.
    pub spool: Arc<Spool<D>>,
    /// The notes of completed generations.
    pub completed: Completed<D>,
}

/// The pipeline.
pub struct Pipeline<D: Disk> {
    settings: PipelineSettings,
    shared: Shared<D>,
    documents: Documents,
    files: Files<D>,
    /// Whether files are not read any more.
    files_closed: bool,
    open_generations: OpenGenerations<D::File>,
    assembly: Assembly,
    delivery: Delivery,
    dead_letters: DeadLetters<D>,
    completions: Completions,
    report: Report,
    buffer: Vec<u8>,
    /// Number of chunks without a line in the last tick.
    empty_chunks: usize,
    random: Random,
    checkpoint_due: Duration,
    disk_retry_at: Option<Duration>,
}

impl<D: Disk> Pipeline<D> {
    /// Creates a pipeline.
    #[must_use]
    pub fn new(
        settings: PipelineSettings,
        shared: Shared<D>,
        files: Files<D>,
        documents: Documents,
        dead_letters: DeadLetters<D>,
        random: Random,
    ) -> Self {
        let open_generations = OpenGenerations::new(settings.line_max_bytes, settings.encoding);
        let assembly = Assembly::new(&settings);
        let delivery = Delivery::new(settings.delivery.clone());
        let pipeline = Self {
            settings,
            shared,
            documents,
            files,
            files_closed: false,
            open_generations,
            assembly,
            delivery,
            dead_letters,
            completions: Completions::default(),
            report: Report::default(),
            buffer: Vec::new(),
            empty_chunks: 0,
            random,
            checkpoint_due: Duration::ZERO,
            disk_retry_at: None,
        };
        pipeline.forget_removed();
        pipeline
    }

    /// Stops batches from waiting for more lines: the sources have ended.
    pub fn flush(&mut self) {
        self.assembly.flush();
    }

    /// Stops reading files. Dispatched lines are still delivered.
    pub fn close_files(&mut self) {
        self.files_closed = true;
    }

    /// Does everything that is possible now, and returns the requests to send.
    pub fn tick(&mut self, now: ClockReading) -> Vec<Request> {
        if self.disk_retry_at.is_none_or(|at| at <= now.elapsed) {
            let done = self.work_on_disk(now);
            self.disk_retry_at = done.is_err().then_some(now.elapsed + DISK_RETRY);
            self.report.disk_error = done.err().map(|error| error.to_string());
        }
        let mut requests = Vec::new();
        // No more lines are sent while there is no room for dead letters.
        if self.dead_letters.counts().is_full {
            return requests;
        }
        while let Some(request) = self.delivery.next(now.elapsed) {
            self.report.requests += 1;
            requests.push(request);
        }
        requests
    }

    /// Performs every step, even if one before it failed: on a full disk, steps that write can't succeed before one
    /// that removes has made room. Steps that remove come first.
    fn work_on_disk(&mut self, now: ClockReading) -> io::Result<()> {
        let made_room = self.make_room(now.wall);
        let settled = self.settle_dead_letters();
        let retired = self.retire_done(now.wall);
        let read = self.read(now);
        let offered = self.assembly.offer_due(now, &self.shared.journal, &mut self.delivery);
        let mut written = Ok(());
        if self.checkpoint_due <= now.elapsed {
            self.checkpoint_due = now.elapsed + self.settings.checkpoint_interval;
            written = self.write_checkpoints();
        }
        made_room.and(settled).and(retired).and(read).and(offered).and(written)
    }

    /// Handles the store's answer to a request.
    pub fn answer(&mut self, id: InFlightId, answer: Result<Vec<Disposition>, WriteError>, now: ClockReading) {
        let random = (self.random)();
        let Some(settled) = self.delivery.answer(id, answer, now.elapsed, random) else { return };
        let lines = settled.batch.lines();
        for (place, disposition) in settled.dispositions.iter().enumerate() {
            if let Disposition::DeadLetter(cause) = disposition {
                self.dead_letters.add(&settled.batch, place, cause, settled.attempts, now.wall);
            }
        }
        let fates = lines.iter().zip(&settled.dispositions).filter_map(|(line, disposition)| match disposition {
            Disposition::Stored => Some((line.id, Outcome::Stored)),
            Disposition::AlreadyStored => Some((line.id, Outcome::AlreadyStored)),
            Disposition::Retry(_) | Disposition::DeadLetter(_) => None,
        });
        self.shared.ledger.lock().settle(fates);
    }

    /// When the next tick is due if nothing happens before; `None` if only an event can cause work.
    #[must_use]
    pub fn next_tick_at(&self) -> Option<Duration> {
        let has_unwritten = self.open_generations.has_unwritten_checkpoint(&self.shared.ledger.lock());
        let checkpoint = has_unwritten.then_some(self.checkpoint_due);
        let files = self.files.poll_at().filter(|_| !self.files_closed);
        let unread = self.was_cut_short().then_some(Duration::ZERO);
        let on_disk = [self.assembly.due_at(), checkpoint, files, unread].into_iter().flatten().min();
        // A failed disk is not used before its retry time.
        [self.disk_retry_at.or(on_disk), self.delivery.next_at()].into_iter().flatten().min()
    }

    /// Bytes of all batches that are being built, delivered or held for a blocked index; at most `in_flight_max_bytes`
    /// and one batch.
    #[must_use]
    pub fn bytes_in_flight(&self) -> usize {
        self.delivery.bytes() + self.assembly.bytes()
    }

    /// Whether every accepted line has its outcome: all of the spool, and of the files everything that can be read, or
    /// everything that was read before [`Pipeline::close_files`].
    #[must_use]
    pub fn is_done(&self) -> bool {
        let closed = |generation: &GenerationId| self.files_closed && self.open_generations.is_file(generation);
        let ledger = self.shared.ledger.lock();
        let all_done = ledger.generations().all(|(generation, progress)| progress.is_done() || closed(&generation));
        all_done && ledger.snapshot().pending == 0 && (self.files_closed || self.files.is_scanned())
    }

    /// The state of the pipeline, for metrics and the log.
    #[must_use]
    pub fn report(&self) -> Report {
        Report {
            kinds: self.report.kinds,
            requests: self.report.requests,
            retries: self.delivery.retries(),
            delivery_error: self.delivery_error(),
            blocked: self.delivery.blocked(),
            hosts: self.delivery.hosts(),
            in_flight_bytes: self.bytes_in_flight(),
            files: self.files.report(),
            disk_error: self.report.disk_error.clone(),
            dead_letters: self.dead_letters.counts(),
        }
    }

    /// Why nothing is delivered. At `in_flight_max_bytes` nothing is read; if all of that is held for blocked indices,
    /// nothing else is delivered.
    fn delivery_error(&self) -> Option<DeliveryError> {
        let is_full = || self.bytes_in_flight() >= self.settings.in_flight_max_bytes;
        self.delivery
            .delivery_error()
            .or_else(|| self.delivery.blocked().filter(|_| is_full()).map(|blocked| blocked.delivery_error))
    }

    /// Writes the last checkpoints.
    ///
    /// # Errors
    /// File system errors. Lines may be sent again with the same ids then.
    pub fn close(&mut self, now: ClockReading) -> io::Result<()> {
        let settled = self.settle_dead_letters();
        let retired = self.retire_done(now.wall);
        let written = self.write_checkpoints();
        let mut journal = self.shared.journal.lock();
        self.open_generations.note_horizons(&mut journal);
        self.files.looked_at().into_iter().for_each(|at| journal.scanned(at));
        settled.and(retired).and(written).and(journal.sync())
    }

    fn settle_dead_letters(&mut self) -> io::Result<()> {
        let dead = self.dead_letters.sync()?;
        if !dead.is_empty() {
            self.shared.ledger.lock().settle(dead.into_iter().map(|id| (id, Outcome::DeadLettered)));
        }
        Ok(())
    }

    fn write_checkpoints(&mut self) -> io::Result<()> {
        self.shared.sync_completed()?;
        let mut journal = self.shared.journal.lock();
        self.open_generations.note_checkpoints(&self.shared.ledger.lock(), &mut journal);
        self.files.looked_at().into_iter().for_each(|at| journal.scanned(at));
        journal.write()
    }
}
