//! The stages put together: from bytes that lie in a file to lines that rest in a store.
//!
//! A [`Pipeline`] does one [`tick`](Pipeline::tick) at a time and never waits: it reads, batches, says what to send,
//! takes [answers](Pipeline::answer), moves checkpoints and removes what is done. Who runs it decides when, with which
//! clock, on which disk and against which store, so that a simulation can be all of these.
//!
//! Bounds: `in_flight_max_bytes` for all batches that are built or under way; above it nothing is read, and what comes
//! meanwhile waits in the spool or in its files.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use store::{Batch, BatchBuilder, Disposition, GenerationId, LineId, Timestamp, WriteError};

use crate::dead_letters::{DeadLetterCounts, DeadLetters};
use crate::delivery::hosts::HostReport;
use crate::delivery::{Delivery, DeliverySettings, ParcelId, Request, RetryCounts, Trouble};
use crate::disk::Disk;
use crate::document::{Documents, Kind, Origin, Place};
use crate::files::{FileCounts, FileEvent, Files};
use crate::journal::Journal;
use crate::ledger::{Fate, Ledger};
use crate::lines::Lines;
use crate::moment::Moment;
use crate::past::{Note, Past};
use crate::record::Flaw;
use crate::spool::{Random, Spool, lock};

/// Space that a batch's buffer begins with, beyond its bound: the last line goes over it.
const BATCH_SLACK_BYTES: usize = 4 * 1024;

/// How long a disk that said no is left alone.
const DISK_RETRY: Duration = Duration::from_millis(250);

/// What shapes the pipeline.
#[derive(Clone, Debug)]
pub struct PipelineSettings {
    /// Indices are named `<index_prefix>-YYYY.MM.DD`.
    pub index_prefix: String,
    /// A batch is done at so many lines,
    pub batch_max_lines: usize,
    /// or so many bytes of body,
    pub batch_max_bytes: usize,
    /// or this long after its first line was read.
    pub batch_max_age: Duration,
    /// Bytes of all batches together, above which nothing is read; one batch may go over it.
    pub in_flight_max_bytes: usize,
    /// Of a longer line, so many bytes are kept.
    pub line_max_bytes: usize,
    /// How often checkpoints are written down.
    pub checkpoint_interval: Duration,
    /// When batches go and go again.
    pub delivery: DeliverySettings,
}

/// Lines by what they were when they came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KindCounts {
    /// They met the contract.
    pub record: u64,
    /// JSON objects of another shape.
    pub foreign: u64,
    /// Wrapped, by flaw, in the order of [`Flaw::ALL`].
    pub wrapped: [u64; Flaw::ALL.len()],
}

/// What the pipeline tells of itself besides the ledger's books.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Lines by what they were.
    pub kinds: KindCounts,
    /// Requests sent.
    pub requests: u64,
    /// What went again.
    pub retries: RetryCounts,
    /// Why the store gets nothing, while that is so.
    pub trouble: Option<Trouble>,
    /// The store's hosts.
    pub hosts: Vec<HostReport>,
    /// Bytes of all batches that are built or under way.
    pub in_flight_bytes: usize,
    /// What was seen of files that can't be counted in lines.
    pub files: FileCounts,
    /// What the disk said last, while it says no.
    pub disk_error: Option<String>,
    /// The dead letters at rest, and their bound; at it nothing is sent.
    pub dead_letters: DeadLetterCounts,
}

/// A generation that is being read.
struct Source<F> {
    lines: Lines<F>,
    origin: Origin,
    /// Checkpoint as the journal has it.
    journaled: u64,
    /// How far a file goes; `None` for a spool segment, whose end the ledger knows.
    file: Option<FileEnd>,
    /// The last read failed, and that was told.
    is_unreadable: bool,
}

/// How far a file goes.
#[derive(Clone, Copy, Debug)]
struct FileEnd {
    end: u64,
    /// It ends there for good; whether the journal may then forget it.
    ended: Option<Ended>,
}

/// What to do with a file's generation once all of it is disposed of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    /// The file is gone, or will not be asked for again.
    Forget,
    /// The file is still there: a later process must know how far it was read.
    Keep,
}

/// Everything shared with the writers of the spool and with whoever asks for counts.
pub struct Shared<D: Disk> {
    /// The disk.
    pub disk: D,
    /// The books.
    pub ledger: Arc<Mutex<Ledger>>,
    /// What must be known after a crash.
    pub journal: Arc<Mutex<Journal<D>>>,
    /// The queue.
    pub spool: Arc<Spool<D>>,
    /// What is still known of what is done.
    pub past: Past<D>,
}

/// All stages.
pub struct Pipeline<D: Disk> {
    settings: PipelineSettings,
    shared: Shared<D>,
    documents: Documents,
    files: Files<D>,
    /// Files are not read any more.
    files_closed: bool,
    sources: BTreeMap<GenerationId, Source<D::File>>,
    /// Segments that were given up: from where on, and of which stream they were.
    given_up: BTreeMap<GenerationId, (u64, String)>,
    /// Generations that the past knows and that are not closed yet.
    noted: BTreeSet<GenerationId>,
    builder: BatchBuilder,
    /// When the builder got its first line.
    builder_since: Option<Duration>,
    /// A line of the builder relies on an arrival mark.
    builder_used_arrival: bool,
    /// A batch that may not go before the journal is synced.
    held: Option<Batch>,
    delivery: Delivery,
    dead_letters: DeadLetters<D>,
    report: Report,
    buffer: Vec<u8>,
    random: Random,
    checkpoint_due: Duration,
    disk_retry_at: Option<Duration>,
    flush: bool,
}

impl<D: Disk> Pipeline<D> {
    /// A pipeline over what is open.
    #[must_use]
    pub fn new(
        settings: PipelineSettings,
        shared: Shared<D>,
        files: Files<D>,
        documents: Documents,
        dead_letters: DeadLetters<D>,
        random: Random,
    ) -> Self {
        let builder = BatchBuilder::new(&settings.index_prefix);
        let delivery = Delivery::new(settings.delivery.clone());
        let pipeline = Self {
            settings,
            shared,
            documents,
            files,
            files_closed: false,
            sources: BTreeMap::new(),
            given_up: BTreeMap::new(),
            noted: BTreeSet::new(),
            builder,
            builder_since: None,
            builder_used_arrival: false,
            held: None,
            delivery,
            dead_letters,
            report: Report::default(),
            buffer: Vec::new(),
            random,
            checkpoint_due: Duration::ZERO,
            disk_retry_at: None,
            flush: false,
        };
        pipeline.forget_the_gone();
        pipeline
    }

    /// Drops from the journal the segments that were removed before it could say so.
    fn forget_the_gone(&self) {
        let mut journal = lock(&self.shared.journal);
        let ledger = lock(&self.shared.ledger);
        let gone = |(generation, entry): (&GenerationId, &crate::journal::Entry)| {
            (entry.file.is_none() && ledger.progress(generation).is_none()).then_some(*generation)
        };
        let gone: Vec<_> = journal.entries().filter_map(gone).collect();
        gone.into_iter().for_each(|generation| journal.retire(generation));
    }

    /// From now on batches do not wait for more lines: the sources are at their end.
    pub fn flush(&mut self) {
        self.flush = true;
    }

    /// Stops reading files; what of them is under way is still seen to its end.
    pub fn close_files(&mut self) {
        self.files_closed = true;
    }

    /// One round of everything that can be done now; gives the requests to send.
    pub fn tick(&mut self, now: Moment) -> Vec<Request> {
        if self.disk_retry_at.is_none_or(|at| at <= now.elapsed) {
            let done = self.work_on_disk(now);
            self.disk_retry_at = done.is_err().then_some(now.elapsed + DISK_RETRY);
            self.report.disk_error = done.err().map(|error| error.to_string());
        }
        let mut requests = Vec::new();
        // A letter without room is a line without a place to rest: no more of them until there is.
        if self.dead_letters.counts().is_full {
            return requests;
        }
        while let Some(request) = self.delivery.next(now.elapsed) {
            self.report.requests += 1;
            requests.push(request);
        }
        requests
    }

    fn work_on_disk(&mut self, now: Moment) -> io::Result<()> {
        self.settle_dead_letters()?;
        self.make_room(now.wall)?;
        self.read(now)?;
        self.finish_aged_batch(now)?;
        if self.checkpoint_due <= now.elapsed {
            self.write_checkpoints()?;
            self.checkpoint_due = now.elapsed + self.settings.checkpoint_interval;
        }
        self.retire_done(now.wall)
    }

    /// Takes the store's answer to a request.
    pub fn answer(&mut self, id: ParcelId, answer: Result<Vec<Disposition>, WriteError>, now: Moment) {
        let random = (self.random)();
        let Some(settled) = self.delivery.answer(id, answer, now.elapsed, random) else { return };
        let lines = settled.batch.lines();
        for (place, disposition) in settled.dispositions.iter().enumerate() {
            if let Disposition::DeadLetter(cause) = disposition {
                self.dead_letters.add(&settled.batch, place, cause, settled.attempts, now.wall);
            }
        }
        let fates = lines.iter().zip(&settled.dispositions).filter_map(|(line, disposition)| match disposition {
            Disposition::Stored => Some((line.id, Fate::Stored)),
            Disposition::AlreadyStored => Some((line.id, Fate::AlreadyStored)),
            Disposition::Retry(_) | Disposition::DeadLetter(_) => None,
        });
        lock(&self.shared.ledger).settle(fates);
    }

    /// When the next tick is due if nothing happens before; `None` where only an event can give it work.
    #[must_use]
    pub fn next_tick_at(&self) -> Option<Duration> {
        let aged = self.builder_since.map(|since| since + self.settings.batch_max_age);
        let checkpoint = self.has_unwritten_checkpoint().then_some(self.checkpoint_due);
        let files = self.files.poll_at().filter(|_| !self.files_closed);
        [aged, checkpoint, files, self.delivery.next_at(), self.disk_retry_at].into_iter().flatten().min()
    }

    /// Bytes of all batches that are built or under way; never more than `in_flight_max_bytes` and one batch.
    #[must_use]
    pub fn bytes_in_flight(&self) -> usize {
        self.delivery.bytes() + self.builder.bytes() + self.held.as_ref().map_or(0, |batch| batch.body().len())
    }

    /// Whether every line that was taken is disposed of: all of the spool, and of the files what was there to read,
    /// or after [`Pipeline::close_files`] what was read.
    #[must_use]
    pub fn is_done(&self) -> bool {
        let closed = |generation: &GenerationId| {
            self.files_closed && self.sources.get(generation).is_some_and(|source| source.file.is_some())
        };
        let ledger = lock(&self.shared.ledger);
        let all_done = ledger.generations().all(|(generation, progress)| progress.is_done() || closed(&generation));
        all_done && ledger.snapshot().waiting == 0 && (self.files_closed || self.files.is_scanned())
    }

    /// What the pipeline tells of itself.
    #[must_use]
    pub fn report(&self) -> Report {
        Report {
            kinds: self.report.kinds,
            requests: self.report.requests,
            retries: self.delivery.retries(),
            trouble: self.delivery.trouble(),
            hosts: self.delivery.hosts(),
            in_flight_bytes: self.bytes_in_flight(),
            files: self.files.counts(),
            disk_error: self.report.disk_error.clone(),
            dead_letters: self.dead_letters.counts(),
        }
    }

    /// Writes down, as the last thing, how far everything is.
    ///
    /// # Errors
    /// As the file system says; lines may then go again under their ids.
    pub fn close(&mut self, now: Moment) -> io::Result<()> {
        self.settle_dead_letters()?;
        self.write_checkpoints()?;
        self.retire_done(now.wall)?;
        let mut journal = lock(&self.shared.journal);
        for (generation, source) in self.sources.iter().filter(|(_, source)| source.file.is_some()) {
            journal.horizon(*generation, source.lines.offset());
        }
        journal.sync()
    }

    fn settle_dead_letters(&mut self) -> io::Result<()> {
        let dead = self.dead_letters.sync()?;
        if !dead.is_empty() {
            lock(&self.shared.ledger).settle(dead.into_iter().map(|id| (id, Fate::DeadLettered)));
        }
        Ok(())
    }

    /// Gives up the oldest segment where `on_full` says so and a writer waits for room.
    fn make_room(&mut self, now: Timestamp) -> io::Result<()> {
        while let Some(generation) = self.shared.spool.to_drop() {
            let read_to = self.sources.get(&generation).map(|source| source.lines.offset());
            let progress = lock(&self.shared.ledger).progress(&generation);
            // Lines under way may yet be stored; should this process end before, they are given up as well.
            let checkpoint = progress.map_or(0, |progress| progress.checkpoint);
            let stream = self.shared.spool.segment(&generation).map_or_else(String::new, |segment| segment.stream);
            self.given_up.insert(generation, (checkpoint, stream.clone()));
            // Room comes first: a disk that is full takes the note once there is some.
            let _ = self.note_end(generation, now);
            self.noted.remove(&generation);
            self.shared.spool.remove(&generation).inspect_err(|_| {
                // It is still there, and may yet be shipped.
                self.given_up.remove(&generation);
            })?;
            self.given_up.insert(generation, (read_to.unwrap_or(checkpoint), stream));
            let lost = lock(&self.shared.ledger).lose(generation);
            self.sources.remove(&generation);
            tracing::error!(%generation, lost_lines = lost, "the spool is full: its oldest segment was given up");
        }
        Ok(())
    }

    fn read(&mut self, now: Moment) -> io::Result<()> {
        self.open_segments();
        self.look_at_files(now)?;
        let generations: Vec<_> = self.sources.keys().copied().collect();
        for generation in generations {
            while self.has_capacity() {
                if !self.read_chunk(generation, now)? {
                    break;
                }
            }
        }
        Ok(())
    }

    fn has_capacity(&self) -> bool {
        self.held.is_none() && self.bytes_in_flight() < self.settings.in_flight_max_bytes
    }

    fn open_segments(&mut self) {
        for generation in self.shared.spool.generations() {
            if self.sources.contains_key(&generation) {
                continue;
            }
            let Some(segment) = self.shared.spool.segment(&generation) else { continue };
            let Some(progress) = lock(&self.shared.ledger).progress(&generation) else { continue };
            let place = Place::Stream(segment.stream);
            let origin = self.documents.origin(&place, generation);
            let lines = Lines::new(&place, segment.file, progress.checkpoint, self.settings.line_max_bytes);
            let journaled = progress.checkpoint;
            self.sources.insert(generation, Source { lines, origin, journaled, file: None, is_unreadable: false });
        }
    }

    fn look_at_files(&mut self, now: Moment) -> io::Result<()> {
        if self.files_closed {
            return Ok(());
        }
        let sources = &self.sources;
        let position = |generation: &GenerationId| sources.get(generation).map_or(0, |source| source.lines.offset());
        for event in self.files.poll(now, position)? {
            self.apply(event);
        }
        Ok(())
    }

    fn apply(&mut self, event: FileEvent<D::File>) {
        match event {
            FileEvent::Opened { generation, file, place, offset } => {
                let origin = self.documents.origin(&place, generation);
                let lines = Lines::new(&place, file, offset, self.settings.line_max_bytes);
                let file = Some(FileEnd { end: offset, ended: None });
                lock(&self.shared.ledger).open(generation, offset, offset, 0);
                self.sources
                    .insert(generation, Source { lines, origin, journaled: offset, file, is_unreadable: false });
            }
            FileEvent::Grown { generation, end } => {
                if let Some(file) = self.sources.get_mut(&generation).and_then(|source| source.file.as_mut()) {
                    file.end = end;
                }
            }
            FileEvent::Moved { generation, file } => {
                if let Some(source) = self.sources.get_mut(&generation) {
                    source.lines.move_to(file);
                }
            }
            FileEvent::Ended { generation, forget } => {
                if let Some(file) = self.sources.get_mut(&generation).and_then(|source| source.file.as_mut()) {
                    file.ended = Some(if forget { Ended::Forget } else { Ended::Keep });
                }
            }
        }
    }

    /// Reads one chunk of a generation into the builder; says whether there is more to be had right away.
    fn read_chunk(&mut self, generation: GenerationId, now: Moment) -> io::Result<bool> {
        let Some(source) = self.sources.get_mut(&generation) else { return Ok(false) };
        let Some(progress) = lock(&self.shared.ledger).progress(&generation) else { return Ok(false) };
        let batch_max_bytes = batch_max_bytes(&self.settings, &self.delivery);
        let offset = source.lines.offset();
        let (end, ended) = match source.file {
            Some(_) if self.files_closed => return Ok(false),
            Some(file) => (file.end, file.ended.is_some()),
            None => (progress.end, progress.sealed),
        };
        if offset >= end {
            if source.file.is_some() && ended && !progress.sealed {
                lock(&self.shared.ledger).seal(generation, 0);
            }
            return Ok(false);
        }
        let entry = lock(&self.shared.journal).get(&generation);
        let mut arrived = entry.arrived(&generation, offset);
        let mut next_mark = entry.next_mark(offset).unwrap_or(u64::MAX);
        let (builder, documents, settings) = (&mut self.builder, &mut self.documents, &self.settings);
        let (kinds, dead_letters, origin) = (&mut self.report.kinds, &self.dead_letters, &source.origin);
        let (mut used_arrival, mut dead) = (false, Vec::new());
        let mut lines_end = offset;
        let chunk = source.lines.read(&mut self.buffer, end, ended, |line| {
            if line.offset >= next_mark {
                arrived = entry.arrived(&generation, line.offset);
                next_mark = entry.next_mark(line.offset).unwrap_or(u64::MAX);
            }
            let id = LineId { generation, offset: line.offset };
            lines_end = line.offset + line.length;
            if dead_letters.contains(&id) {
                dead.push((id, Fate::DeadLettered));
                return ControlFlow::Continue(());
            }
            let pushed = documents.push(builder, origin, &line, arrived);
            used_arrival |= pushed.used_arrival;
            kinds.add(pushed.kind);
            let full = builder.count() >= settings.batch_max_lines || builder.bytes() >= batch_max_bytes;
            if full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        let chunk = match chunk {
            // It is asked again, and holds up no other. What can't be read of the spool is the state directory's trouble.
            Err(error) if source.file.is_some() => {
                if !std::mem::replace(&mut source.is_unreadable, true) {
                    tracing::warn!(%generation, offset, %error, "can't read a file at the moment; it is tried again");
                }
                return Ok(false);
            }
            chunk => chunk?,
        };
        source.is_unreadable = false;
        if chunk.end > chunk.start {
            let mut ledger = lock(&self.shared.ledger);
            match source.file {
                Some(_) => ledger.read(generation, chunk.start, chunk.end, chunk.lines),
                None => ledger.hand(generation, chunk.start, chunk.end, chunk.lines),
            }
            ledger.settle(dead);
            if chunk.end > lines_end {
                self.shared.past.note(&Note::Skipped { generation, from: lines_end, to: chunk.end });
            }
        } else if let Some(file) = source.file.as_mut().filter(|_| ended && !chunk.more) {
            // It is shorter than it was: what is not there any more can't be read.
            file.end = source.lines.file_len()?.clamp(offset, end);
        }
        let at_file_end = source.file.is_some_and(|file| file.ended.is_some() && source.lines.offset() >= file.end);
        if at_file_end {
            lock(&self.shared.ledger).seal(generation, 0);
        }
        self.builder_used_arrival |= used_arrival;
        if self.builder.count() > 0 && self.builder_since.is_none() {
            self.builder_since = Some(now.elapsed);
        }
        let full = self.builder.count() >= self.settings.batch_max_lines;
        if full || self.builder.bytes() >= batch_max_bytes {
            self.finish_batch()?;
        }
        Ok(chunk.more)
    }

    fn finish_aged_batch(&mut self, now: Moment) -> io::Result<()> {
        if let Some(batch) = self.held.take() {
            self.offer(batch)?;
        }
        let aged = self.builder_since.is_some_and(|since| now.elapsed >= since + self.settings.batch_max_age);
        if aged || self.flush && self.builder.count() > 0 { self.finish_batch() } else { Ok(()) }
    }

    fn finish_batch(&mut self) -> io::Result<()> {
        // Buffers of full size only while batches get full.
        let full = self.builder.bytes() >= self.settings.batch_max_bytes / 2;
        let capacity = if full { self.settings.batch_max_bytes + BATCH_SLACK_BYTES } else { 0 };
        let batch = self.builder.finish(capacity);
        self.builder_since = None;
        if std::mem::take(&mut self.builder_used_arrival) {
            return self.offer(batch);
        }
        self.delivery.offer(batch);
        Ok(())
    }

    /// Offers a batch that relies on arrival marks: those must be durable first, or after a power loss the lines would
    /// get other days and other texts under their ids.
    fn offer(&mut self, batch: Batch) -> io::Result<()> {
        let mut journal = lock(&self.shared.journal);
        if !journal.is_synced()
            && let Err(error) = journal.sync()
        {
            drop(journal);
            self.held = Some(batch);
            return Err(error);
        }
        drop(journal);
        self.delivery.offer(batch);
        Ok(())
    }

    fn has_unwritten_checkpoint(&self) -> bool {
        let ledger = lock(&self.shared.ledger);
        let moved = |(generation, source): (&GenerationId, &Source<D::File>)| {
            ledger.progress(generation).is_some_and(|progress| progress.checkpoint > source.journaled)
        };
        self.sources.iter().any(moved)
    }

    fn write_checkpoints(&mut self) -> io::Result<()> {
        self.sync_past()?;
        let mut journal = lock(&self.shared.journal);
        let ledger = lock(&self.shared.ledger);
        for (generation, source) in &mut self.sources {
            let Some(progress) = ledger.progress(generation) else { continue };
            if progress.checkpoint > source.journaled {
                journal.checkpoint(*generation, progress.checkpoint);
                source.journaled = progress.checkpoint;
            }
        }
        drop(ledger);
        journal.write()
    }

    /// Removes segments of which nothing is left to do, and forgets them.
    fn retire_done(&mut self, now: Timestamp) -> io::Result<()> {
        let done =
            |(generation, progress): (GenerationId, crate::ledger::Progress)| progress.is_done().then_some(generation);
        let done: Vec<_> = lock(&self.shared.ledger).generations().filter_map(done).collect();
        for generation in done {
            if !self.is_kept(&generation) {
                self.note_end(generation, now)?;
            }
            self.shared.spool.remove(&generation)?;
            let kept = self.is_kept(&generation);
            self.sources.remove(&generation);
            self.given_up.remove(&generation);
            self.noted.remove(&generation);
            self.dead_letters.forget(&generation);
            let mut journal = lock(&self.shared.journal);
            let mut ledger = lock(&self.shared.ledger);
            match ledger.progress(&generation) {
                Some(progress) if kept => journal.checkpoint(generation, progress.checkpoint),
                _ => journal.retire(generation),
            }
            ledger.close(&generation);
        }
        Ok(())
    }

    /// Whether the journal goes on knowing a generation of which all is disposed of.
    fn is_kept(&self, generation: &GenerationId) -> bool {
        let file = self.sources.get(generation).and_then(|source| source.file);
        file.is_some_and(|file| file.ended == Some(Ended::Keep))
    }

    /// Notes, durably unless the disk is full, how far a generation went that nothing else will tell of.
    fn note_end(&mut self, generation: GenerationId, now: Timestamp) -> io::Result<()> {
        let end = lock(&self.shared.ledger).progress(&generation).map_or(0, |progress| progress.end);
        if end == 0 || !self.noted.insert(generation) {
            return Ok(());
        }
        let given_up = self.given_up.get(&generation).cloned();
        let segment = self.shared.spool.segment(&generation).map(|segment| segment.stream);
        let stream = segment.or_else(|| given_up.as_ref().map(|(_, stream)| stream.clone()));
        let file = lock(&self.shared.journal).get(&generation).file;
        let source = match (stream, file) {
            (Some(stream), _) => format!("stream {stream}"),
            (None, file) => format!("file {}", file.map_or_else(String::new, |file| file.path.display().to_string())),
        };
        let given_up_from = given_up.map(|(from, _)| from);
        self.shared.past.note(&Note::Ended { generation, source, end, given_up_from, unix_ms: now.unix_ms() });
        self.sync_past().inspect_err(|_| {
            self.noted.remove(&generation);
        })
    }

    /// Makes the notes durable. A full disk takes them later: what is removed meanwhile makes room for them.
    fn sync_past(&mut self) -> io::Result<()> {
        match self.shared.past.sync() {
            Err(error) if error.kind() == io::ErrorKind::StorageFull => Ok(()),
            synced => synced,
        }
    }
}

/// A batch is done at so many bytes: what the settings say, or somewhat less than the store takes at once, so that a
/// batch's last line does not go over it.
fn batch_max_bytes(settings: &PipelineSettings, delivery: &Delivery) -> usize {
    let taken = delivery.request_max_bytes().unwrap_or(usize::MAX);
    settings.batch_max_bytes.min(taken - taken / 8)
}

impl KindCounts {
    fn add(&mut self, kind: Kind) {
        match kind {
            Kind::Record => self.record += 1,
            Kind::Foreign => self.foreign += 1,
            Kind::Wrapped(flaw) => self.wrapped[flaw as usize] += 1,
        }
    }
}
