//! Spool, reader, batch, delivery, ledger and journal against a modelled disk and a modelled store, step by step in an
//! order that a seed decides, with a crash at any step and a reopen after it.
//!
//! The oracle: in every state the accounting equation holds; and when all is over, each line that was taken rests in
//! exactly one place, the store or the dead letters, or was given up and counted where `on_full` had to; and nothing
//! else rests anywhere. `SIMULATION_SEEDS=N` runs N seeds, `SIMULATION_SEED=S` runs one.

mod disk;
mod engine;
mod random;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use shipper::dead_letters::DeadLetters;
use shipper::delivery::{DeliverySettings, ParcelId};
use shipper::document::Documents;
use shipper::files::{FileSettings, Files, Format};
use shipper::journal::Journal;
use shipper::ledger::Ledger;
use shipper::moment::Moment;
use shipper::pipeline::{Pipeline, PipelineSettings, Shared};
use shipper::spool::{Appended, OnFull, Spool, SpoolSettings, Writer};
use store::{Batch, Timestamp};

use disk::{Crash, SimDisk};
use engine::{Engine, POISON, SPOILER};
use random::Random;

const STATE: &str = "/state";

/// One life of the program.
struct Process {
    ledger: Arc<Mutex<Ledger>>,
    spool: Arc<Spool<SimDisk>>,
    writer: Writer<SimDisk>,
    pipeline: Pipeline<SimDisk>,
    /// Requests on their way.
    requests: Vec<(ParcelId, Batch)>,
}

/// A seed's whole world.
struct World {
    seed: u64,
    random: Random,
    disk: SimDisk,
    engine: Engine,
    now: Moment,
    settings: SpoolSettings,
    /// Bytes that wait in the pipe.
    pipe: Vec<u8>,
    next_line: u64,
    lost: u64,
}

fn pipeline_settings(random: &mut Random) -> PipelineSettings {
    PipelineSettings {
        index_prefix: "app-logs".to_owned(),
        batch_max_lines: random.between(1, 8),
        batch_max_bytes: random.between(200, 4_000),
        batch_max_age: Duration::from_millis(50),
        in_flight_max_bytes: random.between(500, 8_000),
        line_max_bytes: 200,
        checkpoint_interval: Duration::from_millis(100),
        delivery: DeliverySettings {
            requests_in_flight: random.between(1, 3),
            retry_min: Duration::from_millis(10),
            retry_max: Duration::from_millis(500),
        },
    }
}

impl World {
    fn new(seed: u64, on_full: OnFull) -> Self {
        let mut random = Random::new(seed);
        let max_bytes = if on_full == OnFull::DropOldest { 2_000 } else { random.between(2_000, 20_000) as u64 };
        Self {
            seed,
            disk: SimDisk::new(random.next()),
            engine: Engine::default(),
            now: Moment { wall: Timestamp::parse(b"2026-11-23T23:59:50Z").unwrap(), elapsed: Duration::ZERO },
            settings: SpoolSettings { max_bytes, segment_bytes: max_bytes / 8, on_full },
            pipe: Vec::new(),
            next_line: 0,
            lost: 0,
            random,
        }
    }

    /// Opens everything; `None` when the machine stops meanwhile.
    fn open(&mut self) -> Option<Process> {
        let state = Path::new(STATE);
        let ledger = Arc::new(Mutex::new(Ledger::default()));
        let journal = Arc::new(Mutex::new(Journal::open(self.disk.clone(), state).ok()?));
        let mut seeds = [0; 3].map(|_: i32| Random::new(self.random.next()));
        let [spool_random, files_random, pipeline_random] =
            std::mem::replace(&mut seeds, [0; 3].map(|_| Random::new(0)));
        let boxed = |mut random: Random| -> shipper::spool::Random { Box::new(move || random.next()) };
        let spool = Spool::open(
            self.disk.clone(),
            state,
            self.settings,
            Arc::clone(&ledger),
            Arc::clone(&journal),
            boxed(spool_random),
        );
        let spool = Arc::new(spool.ok()?);
        let dead_letters = DeadLetters::open(self.disk.clone(), state).ok()?;
        let file_settings = FileSettings {
            patterns: Vec::new(),
            scan_interval: Duration::from_secs(1),
            until_idle: false,
            state_dir: state.to_owned(),
            format: Format::Lines,
        };
        let files = Files::new(self.disk.clone(), file_settings, Arc::clone(&journal), boxed(files_random));
        let shared =
            Shared { disk: self.disk.clone(), ledger: Arc::clone(&ledger), journal, spool: Arc::clone(&spool) };
        let documents = Documents::new("host", "shipper", "service");
        let settings = pipeline_settings(&mut self.random);
        let pipeline = Pipeline::new(settings, shared, files, documents, dead_letters, boxed(pipeline_random));
        let writer = spool.writer("stdout");
        Some(Process { ledger, spool, writer, pipeline, requests: Vec::new() })
    }

    /// The service writes another line.
    fn write_line(&mut self) {
        let number = self.next_line;
        self.next_line += 1;
        let wall = self.now.wall;
        let line = match self.random.between(0, 9) {
            0 => format!("plain text {number}"),
            1 => format!("{{\"n\":{number},\"note\":\"{POISON}\"}}"),
            2 if self.random.one_in(4) => format!("{{\"n\":{number},\"note\":\"{SPOILER}\"}}"),
            3 => format!("{{\"n\":{number},\"n\":{number}}}"),
            4 if self.random.one_in(3) => format!("{number} {}", "long ".repeat(self.random.between(30, 200))),
            5 => String::new(),
            6 => format!("{{\"n\":{number}}}"),
            _ => format!(
                "{{\"timestamp\":\"{wall}\",\"service\":\"s\",\"level\":\"info\",\"message\":\"{number}\",\
                 \"request_id\":null,\"project_id\":null}}"
            ),
        };
        self.pipe.extend_from_slice(line.as_bytes());
        self.pipe.push(b'\n');
    }

    /// One step of the program, or of the world around it.
    fn step(&mut self, process: &mut Process) {
        match self.random.between(0, 9) {
            0..=2 => self.write_line(),
            3 | 4 => self.append(process),
            5 | 6 => process.requests.extend(process.pipeline.tick(self.now)),
            7 => self.answer(process),
            8 => drop(process.spool.sync()),
            _ => self.pass_time(),
        }
        let counts = process.ledger.lock().unwrap().snapshot();
        assert!(counts.is_balanced(), "seed {}: {counts:?}", self.seed);
    }

    fn append(&mut self, process: &mut Process) {
        if self.pipe.is_empty() {
            return;
        }
        let count = self.random.between(1, self.pipe.len());
        if let Ok(Appended::Taken(taken)) = process.writer.append(&self.pipe[..count], self.now.wall) {
            self.pipe.drain(..taken);
        }
    }

    fn answer(&mut self, process: &mut Process) {
        if process.requests.is_empty() {
            return;
        }
        let place = self.random.between(0, process.requests.len() - 1);
        let (id, batch) = process.requests.swap_remove(place);
        let answer = self.engine.write(&batch, &mut self.random);
        process.pipeline.answer(id, answer, self.now);
    }

    fn pass_time(&mut self) {
        let millis = self.random.between(1, 900);
        self.now.elapsed += Duration::from_millis(millis as u64);
        // The calendar's clock goes its own way, and sometimes back.
        let back = self.random.one_in(10);
        let moved = i64::try_from(millis).unwrap() * if back { -3_000 } else { 1_000 };
        self.now.wall = Timestamp::from_unix_micros(self.now.wall.unix_micros() + moved);
    }

    /// No more faults and no more input: everything comes to its end.
    fn come_to_rest(&mut self, process: &mut Process) {
        self.engine.calm = true;
        self.disk.full_one_in(0);
        for _ in 0..20_000 {
            if self.pipe.is_empty() {
                process.writer.seal();
            } else {
                self.append(process);
            }
            process.pipeline.flush();
            process.requests.extend(process.pipeline.tick(self.now));
            self.answer(process);
            self.now.elapsed += Duration::from_millis(100);
            if self.pipe.is_empty() && process.pipeline.is_done() {
                process.pipeline.close().unwrap();
                return;
            }
        }
        panic!("seed {}: never done: {:?}", self.seed, process.ledger.lock().unwrap().snapshot());
    }

    /// Where every line of every segment rests, and that nothing else does.
    fn judge(&self) {
        let dead = self.dead_letters();
        let mut missing = Vec::new();
        for (id, line) in self.disk.segments().iter().flat_map(lines_of) {
            let places = usize::from(self.engine.documents.contains_key(&id)) + usize::from(dead.contains_key(&id));
            assert!(places <= 1, "seed {}: {id} rests in {places} places", self.seed);
            if places == 0 {
                missing.push((id, line));
            }
        }
        assert_eq!(missing.len() as u64, self.lost, "seed {}: lines without a disposition: {missing:?}", self.seed);
        assert!(dead.values().all(|count| *count == 1), "seed {}: a line is a dead letter twice", self.seed);
        let ever: BTreeSet<_> = self.disk.segments_ever().iter().flat_map(lines_of).map(|(id, _)| id).collect();
        for id in self.engine.documents.keys().chain(dead.keys()) {
            assert!(ever.contains(id), "seed {}: {id} rests somewhere and was never taken", self.seed);
        }
    }

    fn dead_letters(&self) -> BTreeMap<String, u32> {
        let mut dead = BTreeMap::new();
        for bytes in self.disk.files_under(&Path::new(STATE).join("dead-letters")) {
            for line in String::from_utf8(bytes).unwrap().lines() {
                let letter: serde_json::Value = serde_json::from_str(line).unwrap();
                *dead.entry(letter["id"].as_str().unwrap().to_owned()).or_default() += 1;
            }
        }
        dead
    }
}

/// The lines of a segment, by document id.
fn lines_of((path, bytes): (&PathBuf, &Vec<u8>)) -> Vec<(String, String)> {
    let generation = path.file_stem().unwrap().to_str().unwrap();
    let mut offset = 0;
    let split = bytes.split_inclusive(|byte| *byte == b'\n');
    split
        .map(|line| {
            let id = format!("{generation}-{offset:012x}");
            offset += line.len();
            (id, String::from_utf8_lossy(line).into_owned())
        })
        .collect()
}

/// Runs a seed in which the spool has room, and the process and the machine end at any step.
fn run_with_crashes(seed: u64) {
    let mut world = World::new(seed, OnFull::Wait);
    world.disk.full_one_in(40);
    for _ in 0..world.random.between(0, 6) {
        let steps = world.random.between(1, 400) as u64;
        world.disk.stop_after(Some(steps));
        if let Some(mut process) = world.open() {
            for _ in 0..400 {
                world.step(&mut process);
                if world.disk.has_stopped() {
                    break;
                }
            }
        }
        // What is in the pipe dies with its writer.
        world.pipe.clear();
        let crash = if world.random.one_in(2) { Crash::Kill } else { Crash::PowerLoss };
        world.disk.crash(crash);
    }
    world.disk.full_one_in(0);
    let mut process = world.open().expect("nothing stops it any more");
    world.come_to_rest(&mut process);
    world.judge();
}

/// Runs a seed in which the spool runs full and the oldest lines are given up.
fn run_with_a_full_spool(seed: u64) {
    let mut world = World::new(seed, OnFull::DropOldest);
    let mut process = world.open().expect("nothing stops it");
    for _ in 0..600 {
        world.step(&mut process);
    }
    world.come_to_rest(&mut process);
    world.lost = process.ledger.lock().unwrap().snapshot().lost;
    world.judge();
}

#[test]
fn every_line_has_one_disposition_whatever_happens() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let seeds = match number("SIMULATION_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SIMULATION_SEEDS").unwrap_or(4_000),
    };
    for seed in seeds {
        let run = || {
            run_with_crashes(seed);
            run_with_a_full_spool(seed);
        };
        if let Err(panic) = std::panic::catch_unwind(run) {
            eprintln!("run it again: SIMULATION_SEED={seed} cargo test -p shipper --test it simulation");
            std::panic::resume_unwind(panic);
        }
    }
}
