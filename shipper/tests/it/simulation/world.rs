//! The world of a seed, and its steps.

mod rest;
mod stopped;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use shipper::clock::ClockReading;
use shipper::completed::Completed;
use shipper::dead_letters::DeadLetters;
use shipper::delivery::Request;
use shipper::document::Documents;
use shipper::encoding::LineEncoding;
use shipper::files::{FileSettings, Files, ReadFrom};
use shipper::journal::{Entry, Journal};
use shipper::ledger::{Counts, Ledger};
use shipper::pipeline::{Pipeline, Shared};
use shipper::sources::FileFormat;
use shipper::spool::{Appended, OnFull, Spool, Writer};
use shipper::sync::RankedMutex;
use store::{Batch, GenerationId, Timestamp, WriteError};

use super::STATE;
use super::checkpoints::Checkpoints;
use super::disk::{Crash, Faults, SimDisk};
use super::durable;
use super::engine::{Engine, Held, Shuts, StoreFile};
use super::files::{Kind, LOGS, Logs};
use super::oracle::{Rest, judge_reasons};
use super::plan::Plan;
use super::random::Random;
use super::service::{Lines, number_in};
use super::tally::Tally;

/// Maximum size that one more line adds to a batch: its action, and a document of which every byte is escaped.
const LINE_ADDS_MAX_BYTES: usize = 2_000;

/// A service's standard output and its reader.
struct Stream {
    writer: Writer<SimDisk>,
    /// Unread bytes in the pipe.
    pipe: Vec<u8>,
}

/// One process of the shipper.
pub(super) struct Process {
    ledger: Arc<RankedMutex<Ledger>>,
    journal: Arc<RankedMutex<Journal<SimDisk>>>,
    spool: Arc<Spool<SimDisk>>,
    streams: Vec<Stream>,
    pipeline: Pipeline<SimDisk>,
    /// Requests in flight.
    requests: Vec<Request>,
    /// Size of the smallest request that was found too large.
    too_large: Option<usize>,
    checkpoints: Checkpoints,
    tally: Tally,
}

/// Everything that outlives a process.
pub(super) struct World {
    pub(super) plan: Plan,
    random: Random,
    disk: SimDisk,
    engine: Engine,
    lines: Lines,
    logs: Option<Logs>,
    now: ClockReading,
    /// Lines dropped by `on_full`, as counted by the processes.
    lost: u64,
    /// Dropped lines that were never in a segment.
    never_taken: u64,
    /// A process was killed since lines can be dropped.
    ended_unasked: bool,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let plan = Plan::new(seed, &mut random);
        let wall = Timestamp::parse(b"2026-11-23T23:59:50Z").unwrap();
        let shuts = Shuts::new(Random::new(!seed), plan.shuts, plan.shut_for_good);
        let file = StoreFile::new(Random::new(!seed ^ 1), plan.store_changes);
        let disk = SimDisk::new(random.fork(), &[STATE, LOGS]);
        disk.set_time(wall);
        if plan.lacks_births {
            disk.forget_births();
        }
        Self {
            disk,
            engine: Engine::new(plan.weather, plan.request_max_bytes, plan.pipeline.delivery.hosts.len(), shuts, file),
            lines: Lines::new(random.fork(), plan.hopeless, !plan.stays_full),
            logs: plan.files.map(|kind| Logs::new(kind, &plan, random.fork())),
            now: ClockReading { wall, elapsed: Duration::ZERO },
            lost: 0,
            never_taken: 0,
            ended_unasked: false,
            random,
            plan,
        }
    }

    /// Runs the seed to its end.
    pub(super) fn run(mut self) {
        for _ in 0..self.plan.crashes {
            self.disk.set_faults(self.plan.faults);
            let steps = self.random.between(1, 600) as u64;
            self.disk.stop_after(Some(steps));
            let process = self.open();
            let mut process = self.live(process);
            if let Some(process) = &mut process {
                self.lost += process.counts().dropped;
                let requests = std::mem::take(&mut process.requests);
                requests.into_iter().for_each(|request| self.orphan(request.batch));
            }
            drop(process);
            self.ended_unasked = true;
            if let Some(logs) = &mut self.logs {
                logs.forget_notes(&self.disk);
            }
            let power_lost = self.plan.power_losses && self.random.one_in(2);
            self.disk.set_faults(Faults::default());
            self.disk.crash(if power_lost { Crash::PowerLoss } else { Crash::Kill });
            self.change_files_while_stopped(power_lost);
            if self.plan.notes_are_whole() {
                durable::judge_removed(&self.disk);
            }
        }
        self.disk.set_faults(self.plan.faults);
        let process = self.open();
        let process = self.live(process);
        self.disk.set_faults(Faults::default());
        self.disk.set_full(false);
        let mut process = match process {
            Some(process) => process,
            None => {
                self.disk.crash(Crash::Kill);
                self.open().expect("nothing stops it any more")
            }
        };
        self.come_to_rest(&mut process);
        self.lost += process.counts().dropped;
        process.tally.judge_dead_letters(&process.counts(), &self.disk);
        drop(process);
        if !self.plan.stays_full {
            durable::judge_end(&self.disk);
        }
        self.judge();
    }

    fn orphan(&mut self, batch: Batch) {
        if self.random.one_in(2) {
            self.engine.orphan(batch);
        }
    }

    fn live(&mut self, process: Option<Process>) -> Option<Process> {
        let mut process = process?;
        for _ in 0..self.plan.steps {
            self.step(&mut process);
            if self.disk.has_stopped() {
                break;
            }
        }
        Some(process)
    }

    /// Starts a process; `None` if the disk failed meanwhile.
    fn open(&mut self) -> Option<Process> {
        let state = Path::new(STATE);
        let ledger = Arc::new(RankedMutex::new(Ledger::default()));
        let journal = Arc::new(RankedMutex::new(Journal::open(self.disk.clone(), state).ok()?));
        let mut boxed = || -> shipper::random::Random {
            let mut random = self.random.fork();
            Box::new(move || random.next())
        };
        let spool =
            Spool::open(self.disk.clone(), state, self.plan.spool, Arc::clone(&ledger), Arc::clone(&journal), boxed());
        let spool = Arc::new(spool.ok()?);
        let dead_letters = DeadLetters::open(self.disk.clone(), state, u64::MAX).ok()?;
        let format = match self.plan.files {
            Some(Kind::Docker) => FileFormat::Docker(shipper::sources::docker::Labels::default()),
            _ => FileFormat::Lines,
        };
        let settings = FileSettings {
            encoding: LineEncoding::default(),
            patterns: self.plan.files.iter().map(|kind| kind.pattern()).collect(),
            scan_interval: Duration::from_secs(1),
            until_idle: false,
            state_dir: state.to_owned(),
            format,
            exclude: Vec::new(),
            max_open_files: self.plan.max_open_files,
            read_from: ReadFrom::Beginning,
            ignore_older: None,
            read_compressed: false,
        };
        let files = Files::new(self.disk.clone(), settings, Arc::clone(&journal), boxed());
        let shared = Shared {
            disk: self.disk.clone(),
            ledger: Arc::clone(&ledger),
            journal: Arc::clone(&journal),
            spool: Arc::clone(&spool),
            completed: Completed::open(self.disk.clone(), state).ok()?,
        };
        let documents = Documents::new("host", "shipper", "service");
        let pipeline = Pipeline::new(self.plan.pipeline.clone(), shared, files, documents, dead_letters, boxed());
        let stream = |number| Stream { writer: spool.writer(&format!("stdout-{number}")), pipe: Vec::new() };
        let streams = (0..self.plan.streams).map(stream).collect();
        let checkpoints = Checkpoints::default();
        let (requests, tally) = (Vec::new(), Tally::new(&self.disk));
        Some(Process { tally, ledger, journal, spool, streams, pipeline, requests, too_large: None, checkpoints })
    }

    /// Makes one step of the process or its environment.
    fn step(&mut self, process: &mut Process) {
        match self.random.between(0, 12) {
            0..=2 => self.write_lines(process),
            3 | 4 => self.append(process),
            5..=7 => self.tick(process),
            8 | 9 => self.answer(process),
            10 => self.sync(process),
            11 => drop(self.engine.take_late(&mut self.random)),
            _ => self.pass_time(),
        }
        if self.random.one_in(self.plan.full_spells) {
            self.disk.set_full(true);
        } else if self.random.one_in(20) {
            self.disk.set_full(false);
        }
        self.engine.change_hosts(&mut self.random);
        self.engine.change_indices();
        self.engine.change_file();
        let counts = process.counts();
        assert!(counts.is_balanced(), "{counts:?}");
    }

    /// A service writes.
    fn write_lines(&mut self, process: &mut Process) {
        let Self { logs, engine, disk, lines, now, random, .. } = self;
        if let Some(logs) = logs
            && (process.streams.is_empty() || random.one_in(2))
        {
            let journal = process.journal.lock();
            logs.learn(disk, |path| {
                let of_path = |(generation, entry): (&GenerationId, &Entry)| {
                    entry.file.as_ref().is_some_and(|file| file.path == Path::new(path)).then_some(*generation)
                };
                journal.entries().filter_map(of_path).max()
            });
            drop(journal);
            let rests = |number| {
                let is_it = |sent: &Vec<Held>| number_in(&sent[0].document) == Some(number);
                engine.documents.iter().any(|(id, sent)| engine.confirmed.contains(id) && is_it(sent))
            };
            let looked_at = process.pipeline.report().files.looked_at;
            logs.step(disk, lines, now.wall, looked_at, rests);
        } else if !process.streams.is_empty() {
            let chosen = random.between(0, process.streams.len() - 1);
            let pipe = &mut process.streams[chosen].pipe;
            pipe.extend_from_slice(&lines.line(now.wall, false).1);
            pipe.push(b'\n');
        }
    }

    fn append(&mut self, process: &mut Process) {
        for stream in &mut process.streams {
            if stream.pipe.is_empty() {
                continue;
            }
            let count = self.random.between(1, stream.pipe.len());
            let appended = stream.writer.append(&stream.pipe[..count], self.now.wall);
            if let Ok(Appended::Accepted(count) | Appended::Dropped(count)) = appended {
                let bytes: Vec<u8> = stream.pipe.drain(..count).collect();
                if matches!(appended, Ok(Appended::Dropped(_))) {
                    self.never_taken += memchr::memchr_iter(b'\n', &bytes).count() as u64;
                }
            }
        }
    }

    fn tick(&mut self, process: &mut Process) {
        let requests = process.pipeline.tick(self.now);
        for request in &requests {
            let (size, lines) = (request.batch.body().len(), request.batch.lines().len());
            let known = process.too_large.unwrap_or(usize::MAX);
            assert!(lines == 1 || size < known, "{size} bytes were sent, of which {known} were too large");
        }
        process.tally.sent(requests.len());
        process.requests.extend(requests);
        self.judge_hosts(process);
        let held = process.pipeline.bytes_in_flight();
        let settings = &self.plan.pipeline;
        // Reading stops at the budget. The batch that was started below it may exceed it by its last line.
        let most = settings.in_flight_max_bytes + settings.batch_max_bytes + LINE_ADDS_MAX_BYTES;
        assert!(held <= most, "{held} bytes in flight, of {} and one batch", settings.in_flight_max_bytes);
        let journal = process.journal.lock();
        process.checkpoints.judge(&journal, &self.disk, &self.engine);
    }

    /// Asserts that no host has more requests in flight than allowed, plus a probe.
    fn judge_hosts(&self, process: &Process) {
        let delivery = &self.plan.pipeline.delivery;
        for host in 0..delivery.hosts.len() {
            let count = process.requests.iter().filter(|request| request.host.0 == host).count();
            assert!(count <= delivery.requests_in_flight + 1, "{count} requests are on their way to host {host}");
        }
    }

    fn answer(&mut self, process: &mut Process) {
        if process.requests.is_empty() {
            return;
        }
        let place = self.random.between(0, process.requests.len() - 1);
        let request = process.requests.swap_remove(place);
        let answer = self.engine.write(request.host.0, &request.batch, &mut self.random);
        if matches!(answer, Err(WriteError::TooLarge(_))) {
            let size = request.batch.body().len();
            process.too_large = Some(process.too_large.map_or(size, |known| known.min(size)));
        }
        if let Ok(answer) = &answer {
            self.engine.note_answer(&request.batch, answer);
        }
        process.tally.answered(request.batch.lines().len(), &answer);
        process.pipeline.answer(request.id, answer, self.now);
        let may_lose = self.plan.spool.on_full == OnFull::DropOldest;
        process.tally.judge(&process.counts(), &process.pipeline.report(), may_lose);
    }

    fn sync(&mut self, process: &Process) {
        if process.spool.sync().is_ok() {
            self.disk.promise_segments();
        }
    }

    fn pass_time(&mut self) {
        let is_long = self.random.one_in(self.plan.long_pauses);
        let millis = if is_long { 61_000 } else { self.random.between(1, 900) };
        self.now.elapsed += Duration::from_millis(millis as u64);
        // The wall clock runs separately, and sometimes jumps back.
        let back = self.random.one_in(self.plan.clock_jumps);
        let moved = i64::try_from(millis).unwrap() * if back { -3_000 } else { 1_000 };
        self.now.wall = Timestamp::from_unix_micros(self.now.wall.unix_micros() + moved);
        self.disk.set_time(self.now.wall);
    }

    fn judge(self) {
        let Self { engine, disk, logs, plan, lost, never_taken, ended_unasked, .. } = self;
        judge_reasons(&disk, plan.request_max_bytes);
        let rest = Rest::of(engine, &disk);
        let missing = rest.judge_segments(&disk);
        if plan.spool.on_full == OnFull::DropOldest && ended_unasked {
            // A counted line may have been stored by an earlier process, and a process that was killed after it dropped
            // a line did not count it. But only dropped lines may be missing.
            assert!(missing.iter().all(|line| !line.is_there), "lines without a disposition: {missing:?}");
        } else {
            assert_eq!(missing.len() as u64, lost - never_taken, "lines without a disposition: {missing:?}");
        }
        rest.judge_known(&disk);
        if plan.notes_are_whole() {
            rest.judge_gone(&disk);
        }
        rest.judge_secrets();
        let numbers = rest.numbers();
        for (number, places) in &numbers {
            let describe =
                |(id, held): &(_, &super::engine::Held)| format!("{id}: {}", String::from_utf8_lossy(&held.document));
            assert!(
                places.len() == 1,
                "line {number} rests under {} ids: {:#?}",
                places.len(),
                places.iter().map(describe).collect::<Vec<_>>()
            );
        }
        if let Some(logs) = logs {
            logs.judge(&rest, &numbers);
        }
    }
}

impl Process {
    fn counts(&self) -> Counts {
        self.ledger.lock().snapshot()
    }
}
