//! A clock that is set back, with real files: by hours, over midnight, while lines arrive, between two processes and
//! before a retry. The store is a fake that keeps everything it receives.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use shipper::clock::ClockReading;
use shipper::completed::Completed;
use shipper::dead_letters::DeadLetters;
use shipper::delivery::Request;
use shipper::disk::RealDisk;
use shipper::document::Documents;
use shipper::encoding::LineEncoding;
use shipper::files::{FileSettings, Files, ReadFrom};
use shipper::journal::{self, Journal};
use shipper::ledger::Ledger;
use shipper::pipeline::{Pipeline, Shared};
use shipper::random::Random;
use shipper::sources::FileFormat;
use shipper::spool::{Appended, OnFull, Spool, SpoolSettings, Writer};
use shipper::sync::RankedMutex;
use store::{Cause, Disposition, Timestamp, WriteError};

use crate::settings::pipeline_settings;

/// Room for a few lines, so that segments are created at each of the clock's times.
const SEGMENT_BYTES: u64 = 100;

/// The clock's times: back over midnight, back within a second, forward, and back by two years.
const TIMES: [&str; 7] = [
    "2026-11-24T00:30:00Z",
    "2026-11-23T22:10:00Z",
    "2026-11-23T22:09:59.500Z",
    "2026-11-24T00:31:00Z",
    "2026-11-26T12:00:00Z",
    "2024-01-01T00:00:00Z",
    "2026-11-24T00:40:00Z",
];

/// One run of the program.
struct Process {
    pipeline: Pipeline<RealDisk>,
    ledger: Arc<RankedMutex<Ledger>>,
    writer: Writer<RealDisk>,
}

/// The state that outlives it.
struct World {
    dir: tempfile::TempDir,
    now: ClockReading,
    /// What was sent with each id: index and document.
    sent: BTreeMap<String, BTreeSet<(String, String)>>,
    requests: usize,
    random: u64,
}

impl World {
    fn new() -> Self {
        let now = ClockReading { wall: Timestamp::from_unix_ms(0), elapsed: Duration::ZERO };
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("state")).unwrap();
        Self { dir, now, sent: BTreeMap::new(), requests: 0, random: 1 }
    }

    fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    fn random(&mut self) -> Random {
        self.random += 1 << 32;
        let mut next = self.random;
        Box::new(move || {
            next += 1;
            next
        })
    }

    fn start(&mut self) -> Process {
        let state = self.state();
        let ledger = Arc::new(RankedMutex::new(Ledger::default()));
        let journal = Arc::new(RankedMutex::new(Journal::open(RealDisk, &state).unwrap()));
        let bounds = SpoolSettings { max_bytes: 1 << 20, segment_bytes: SEGMENT_BYTES, on_full: OnFull::Wait };
        let (accounts, notes) = (Arc::clone(&ledger), Arc::clone(&journal));
        let spool = Arc::new(Spool::open(RealDisk, &state, bounds, accounts, notes, self.random()).unwrap());
        let files = FileSettings {
            encoding: LineEncoding::default(),
            patterns: vec![self.dir.path().join("*.log").display().to_string()],
            scan_interval: Duration::from_millis(100),
            until_idle: false,
            state_dir: state.clone(),
            format: FileFormat::Lines,
            exclude: Vec::new(),
            max_open_files: 1_000,
            read_from: ReadFrom::Beginning,
            ignore_older: None,
            read_compressed: false,
        };
        let files = Files::new(RealDisk, files, Arc::clone(&journal), self.random());
        let completed = Completed::open(RealDisk, &state).unwrap();
        let shared =
            Shared { disk: RealDisk, ledger: Arc::clone(&ledger), journal, spool: Arc::clone(&spool), completed };
        let dead_letters = DeadLetters::open(RealDisk, &state, u64::MAX).unwrap();
        let documents = Documents::new("host", "shipper", "service");
        let pipeline = Pipeline::new(pipeline_settings(3), shared, files, documents, dead_letters, self.random());
        Process { pipeline, ledger, writer: spool.writer("stdout") }
    }

    /// Writes a line to the stream and one to the file, without times.
    fn write(&self, process: &mut Process, number: usize) {
        let line = format!("stream line {number}\n");
        let taken = process.writer.append(line.as_bytes(), self.now.wall).unwrap();
        assert_eq!(taken, Appended::Accepted(line.len()));
        let mut file = OpenOptions::new().create(true).append(true).open(self.dir.path().join("app.log")).unwrap();
        writeln!(file, "file line {number}").unwrap();
    }

    /// Runs the program for a while. The store keeps what it receives, and acknowledges requests selected by `says_so`.
    fn run(&mut self, process: &mut Process, time: Duration, says_so: impl Fn(usize) -> bool) {
        let end = self.now.elapsed + time;
        while self.now.elapsed < end {
            for Request { id, batch, .. } in process.pipeline.tick(self.now) {
                let mut answer = Vec::new();
                for (place, line) in batch.lines().iter().enumerate() {
                    let document = String::from_utf8(batch.document(place).to_vec()).unwrap();
                    let sent = self.sent.entry(line.id.to_string()).or_default();
                    answer.push(if sent.is_empty() { Disposition::Stored } else { Disposition::AlreadyStored });
                    sent.insert((batch.index_name(place).to_owned(), document));
                }
                self.requests += 1;
                let answer = match says_so(self.requests) {
                    true => Ok(answer),
                    false => Err(WriteError::Unavailable(Cause::new(0, "the connection was reset"))),
                };
                process.pipeline.answer(id, answer, self.now);
            }
            self.now.elapsed += Duration::from_millis(20);
            self.now.wall = Timestamp::from_unix_micros(self.now.wall.unix_micros() + 20_000);
        }
        let counts = process.ledger.lock().snapshot();
        assert!(counts.is_balanced(), "{counts:?}");
    }

    /// In each generation of the journal, a mark starts where the previous one ends.
    fn check_marks(&self) -> usize {
        let known = journal::read(&RealDisk, &self.state()).unwrap();
        assert_eq!(known.bad, []);
        let mut marks = 0;
        for entry in known.entries.values() {
            let mut at = 0;
            while let Some(next) = entry.next_mark(at) {
                assert!(next > at, "{next} after {at}");
                (at, marks) = (next, marks + 1);
            }
        }
        marks
    }

    /// The content of the segments in the order of their names, in which they are read.
    fn spooled(&self) -> String {
        let folder = self.state().join("spool/stdout");
        let mut names: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        names.sort();
        names.iter().map(|name| std::fs::read_to_string(name).unwrap()).collect()
    }
}

fn says_nothing(_: usize) -> bool {
    false
}

#[test]
fn a_clock_set_back_changes_no_line_or_index_and_loses_or_duplicates_nothing() {
    let (mut world, mut number, mut marks) = (World::new(), 0, 0);
    let mut process = world.start();
    // The store acknowledges nothing, so all lines are pending and retried.
    for time in TIMES {
        world.now.wall = Timestamp::parse(time.as_bytes()).unwrap();
        for _ in 0..3 {
            world.write(&mut process, number);
            number += 1;
        }
        world.run(&mut process, Duration::from_millis(1_500), says_nothing);
        marks = marks.max(world.check_marks());
        assert_eq!(
            world.spooled(),
            (0..number).map(|number| format!("stream line {number}\n")).collect::<String>(),
            "segments are not in the order in which they were written"
        );
    }
    assert!(marks > TIMES.len(), "{marks} marks: the clock's steps left none");
    // A kill, and a restart with an even earlier clock; then with a later one.
    for time in ["2020-02-29T23:59:59Z", "2026-11-27T00:00:00Z"] {
        drop(process);
        world.now.wall = Timestamp::parse(time.as_bytes()).unwrap();
        process = world.start();
        world.write(&mut process, number);
        number += 1;
        world.run(&mut process, Duration::from_secs(5), says_nothing);
        world.check_marks();
    }
    world.run(&mut process, Duration::from_secs(60), |request| request.is_multiple_of(2));
    assert!(process.ledger.lock().snapshot().pending == 0, "all lines have their outcome");

    let mut messages = BTreeMap::new();
    let mut indices = BTreeSet::new();
    for (id, sent) in &world.sent {
        let [(index, document)] = &sent.iter().collect::<Vec<_>>()[..] else { panic!("{id} went as {sent:?}") };
        let document: serde_json::Value = serde_json::from_str(document).unwrap();
        *messages.entry(document["message"].as_str().unwrap().to_owned()).or_insert(0) += 1;
        indices.insert(index.clone());
    }
    let expected = (0..number).flat_map(|number| [format!("stream line {number}"), format!("file line {number}")]);
    assert_eq!(messages, expected.map(|message| (message, 1)).collect());
    // The lines are in several indices; otherwise the test would show little.
    assert!(indices.len() >= 3, "{indices:?}");
}
