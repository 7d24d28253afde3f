//! Files that others write and rotate, on the real disk, by a clock that the test moves. The store is a fake that takes
//! everything, since what is tested is what gets to it.

mod copied;
mod missed;
mod parked;
mod renamed;
mod rotated;
mod turns;

use std::collections::{BTreeMap, VecDeque};
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use shipper::clock::ClockReading;
use shipper::completed::Completed;
use shipper::dead_letters::DeadLetters;
use shipper::delivery::{InFlightId, Request};
use shipper::disk::RealDisk;
use shipper::document::Documents;
use shipper::encoding::LineEncoding;
use shipper::files::{FileSettings, Files, ReadFrom};
use shipper::journal::Journal;
use shipper::ledger::{Counts, Ledger};
use shipper::pipeline::{Pipeline, Report, Shared};
use shipper::random::Random;
use shipper::sources::FileFormat;
use shipper::spool::{OnFull, Spool, SpoolSettings};
use shipper::sync::RankedMutex;
use store::{Disposition, Timestamp};

use crate::settings::pipeline_settings;

/// A fake store: document id to message.
type Stored = BTreeMap<String, String>;

struct Rig {
    ledger: Arc<RankedMutex<Ledger>>,
    pipeline: Pipeline<RealDisk>,
    /// Answers of the store, and when each is there.
    answers: VecDeque<(Duration, InFlightId, Vec<Disposition>)>,
}

/// What outlives a process.
struct World {
    dir: tempfile::TempDir,
    stored: Stored,
    now: ClockReading,
    random: u64,
    /// All rotated names are followed.
    follows_rotated: bool,
    /// Compressed ones too, and all rotated names are followed.
    reads_compressed: bool,
    max_open_files: usize,
    /// How long the store takes for an answer.
    answers_after: Duration,
}

impl World {
    fn new() -> Self {
        let now = ClockReading { wall: Timestamp::parse(b"2026-11-23T12:00:00Z").unwrap(), elapsed: Duration::ZERO };
        Self {
            dir: tempfile::tempdir().unwrap(),
            stored: Stored::new(),
            now,
            random: 1,
            follows_rotated: false,
            reads_compressed: false,
            max_open_files: 1_000,
            answers_after: Duration::ZERO,
        }
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join("app.log")
    }

    fn start(&mut self, until_idle: bool) -> Rig {
        let state = self.dir.path().join("state");
        std::fs::create_dir_all(&state).unwrap();
        let ledger = Arc::new(RankedMutex::new(Ledger::default()));
        let journal = Arc::new(RankedMutex::new(Journal::open(RealDisk, &state).unwrap()));
        let (log, seed) = (self.log(), &mut self.random);
        let mut random = || -> Random {
            *seed += 1 << 32;
            let mut next = *seed;
            Box::new(move || {
                next += 1;
                next
            })
        };
        let spool_settings = SpoolSettings { max_bytes: 1 << 20, segment_bytes: 1 << 18, on_full: OnFull::Wait };
        let (accounts, notes) = (Arc::clone(&ledger), Arc::clone(&journal));
        let spool = Spool::open(RealDisk, &state, spool_settings, accounts, notes, random()).unwrap();
        let pattern = if self.follows_rotated || self.reads_compressed { "*.log*" } else { "*.log" };
        let settings = FileSettings {
            encoding: LineEncoding::default(),
            patterns: vec![log.with_file_name(pattern).display().to_string()],
            scan_interval: Duration::from_secs(1),
            until_idle,
            state_dir: state.clone(),
            format: FileFormat::Lines,
            exclude: Vec::new(),
            max_open_files: self.max_open_files,
            read_from: ReadFrom::Beginning,
            ignore_older: None,
            read_compressed: self.reads_compressed,
        };
        let files = Files::new(RealDisk, settings, Arc::clone(&journal), random());
        let shared = Shared {
            disk: RealDisk,
            ledger: Arc::clone(&ledger),
            journal,
            spool: Arc::new(spool),
            completed: Completed::open(RealDisk, &state).unwrap(),
        };
        let dead_letters = DeadLetters::open(RealDisk, &state, u64::MAX).unwrap();
        let documents = Documents::new("host", "shipper", "service");
        let pipeline = Pipeline::new(pipeline_settings(100), shared, files, documents, dead_letters, random());
        Rig { ledger, pipeline, answers: VecDeque::new() }
    }

    /// Lets the program run for this long.
    fn run(&mut self, rig: &mut Rig, time: Duration) {
        let end = self.now.elapsed + time;
        while self.now.elapsed < end {
            for Request { id, batch, .. } in rig.pipeline.tick(self.now) {
                let mut answer = Vec::new();
                for (place, line) in batch.lines().iter().enumerate() {
                    let document: serde_json::Value = serde_json::from_slice(batch.document(place)).unwrap();
                    let message = document["message"].as_str().unwrap().to_owned();
                    let before = self.stored.insert(line.id.to_string(), message);
                    answer.push(if before.is_some() { Disposition::AlreadyStored } else { Disposition::Stored });
                }
                rig.answers.push_back((self.now.elapsed + self.answers_after, id, answer));
            }
            while rig.answers.front().is_some_and(|(due, ..)| *due <= self.now.elapsed)
                && let Some((_, id, answer)) = rig.answers.pop_front()
            {
                rig.pipeline.answer(id, Ok(answer), self.now);
            }
            self.now.elapsed += Duration::from_millis(20);
            self.now.wall = Timestamp::from_unix_micros(self.now.wall.unix_micros() + 20_000);
        }
        assert!(rig.counts().is_balanced(), "{:?}", rig.counts());
    }

    /// The messages in the store, sorted.
    fn messages(&self) -> Vec<&str> {
        let mut messages: Vec<_> = self.stored.values().map(String::as_str).collect();
        messages.sort_unstable();
        messages
    }
}

impl Rig {
    fn counts(&self) -> Counts {
        self.ledger.lock().snapshot()
    }

    fn report(&self) -> Report {
        self.pipeline.report()
    }

    /// An orderly end.
    fn close(mut self) {
        self.pipeline.close_files();
        self.pipeline.close(THE_END).unwrap();
    }
}

fn append(path: &Path, text: &str) {
    OpenOptions::new().append(true).create(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

/// When programs end.
const THE_END: ClockReading =
    ClockReading { wall: Timestamp::from_unix_ms(2_000_000_000_000), elapsed: Duration::from_secs(3_600) };

const A_WHILE: Duration = Duration::from_secs(3);

#[test]
fn a_growing_file_is_followed_and_an_open_line_waited_for() {
    let mut world = World::new();
    append(&world.log(), "one\ntw");
    let mut rig = world.start(false);
    world.run(&mut rig, A_WHILE);
    assert_eq!(world.messages(), ["one"]);
    append(&world.log(), "o\nthree\n");
    world.run(&mut rig, A_WHILE);
    assert_eq!(world.messages(), ["one", "three", "two"]);
}

#[test]
fn a_renamed_file_is_read_to_its_end_and_the_new_one_from_its_beginning() {
    let mut world = World::new();
    append(&world.log(), "one\n");
    let mut rig = world.start(false);
    world.run(&mut rig, A_WHILE);
    let rotated = world.dir.path().join("app.log.1");
    std::fs::rename(world.log(), &rotated).unwrap();
    append(&rotated, "two\n");
    append(&world.log(), "three\n");
    world.run(&mut rig, A_WHILE);
    append(&rotated, "late\n");
    world.run(&mut rig, A_WHILE);
    assert_eq!(world.messages(), ["late", "one", "three", "two"]);
    assert_eq!(rig.report().files.counts.truncated, 0);
}

#[test]
fn a_file_renamed_out_of_the_pattern_is_read_however_late_it_grows() {
    let mut world = World::new();
    append(&world.log(), "one\n");
    let mut rig = world.start(false);
    world.run(&mut rig, A_WHILE);
    let rotated = world.dir.path().join("app.log.1");
    // Whoever writes it keeps its descriptor.
    let mut writer = OpenOptions::new().append(true).open(world.log()).unwrap();
    std::fs::rename(world.log(), &rotated).unwrap();
    world.run(&mut rig, A_WHILE);
    append(&world.log(), "two\n");
    for late in ["late 1\n", "late 2\n"] {
        world.run(&mut rig, Duration::from_secs(90));
        writer.write_all(late.as_bytes()).unwrap();
        world.run(&mut rig, A_WHILE);
    }
    assert_eq!(world.messages(), ["late 1", "late 2", "one", "two"]);
    // Once more, with another process, and under the next name.
    rig.close();
    std::fs::rename(&rotated, world.dir.path().join("app.log.2")).unwrap();
    let mut rig = world.start(false);
    world.run(&mut rig, Duration::from_secs(90));
    writer.write_all(b"late 3\n").unwrap();
    world.run(&mut rig, A_WHILE);
    assert_eq!(world.messages(), ["late 1", "late 2", "late 3", "one", "two"]);
    assert_eq!(rig.report().files.counts.given_up, 0);
}

#[test]
fn a_file_that_is_given_up_after_a_rename_is_counted() {
    let mut world = World::new();
    append(&world.log(), "one\n");
    let mut rig = world.start(false);
    world.run(&mut rig, A_WHILE);
    std::fs::rename(world.log(), world.dir.path().join("elsewhere.txt")).unwrap();
    world.run(&mut rig, A_WHILE);
    append(&world.dir.path().join("elsewhere.txt"), "two\n");
    world.run(&mut rig, Duration::from_secs(90));
    assert_eq!(world.messages(), ["one", "two"]);
    assert_eq!(rig.report().files.counts.given_up, 1);
}

#[test]
fn what_copytruncate_took_away_is_found_in_the_copy() {
    let mut world = World::new();
    append(&world.log(), "a first line that is long enough to tell\n");
    let mut rig = world.start(false);
    world.run(&mut rig, A_WHILE);
    append(&world.log(), "unread when it was copied\n");
    std::fs::copy(world.log(), world.dir.path().join("app.log.1")).unwrap();
    OpenOptions::new().write(true).truncate(true).open(world.log()).unwrap();
    append(&world.log(), "new\n");
    world.run(&mut rig, A_WHILE);
    let expected = ["a first line that is long enough to tell", "new", "unread when it was copied"];
    assert_eq!(world.messages(), expected);
    assert_eq!((rig.report().files.counts.truncated, rig.report().files.counts.suspected_losses), (1, 0));
}

#[test]
fn a_copy_of_a_file_that_was_empty_at_the_last_look_is_counted() {
    let mut world = World::new();
    append(&world.log(), "");
    let mut rig = world.start(false);
    world.run(&mut rig, A_WHILE);
    append(&world.log(), "written, copied and truncated between two looks\n");
    std::fs::copy(world.log(), world.dir.path().join("app.log.1")).unwrap();
    OpenOptions::new().write(true).truncate(true).open(world.log()).unwrap();
    world.run(&mut rig, A_WHILE);
    assert_eq!(rig.report().files.counts.missed, 1);
    append(&world.log(), "new\n");
    world.run(&mut rig, A_WHILE);
    assert_eq!((world.messages(), rig.report().files.counts.missed), (vec!["new"], 1));
    // A copy of what is still there is nothing that was missed.
    std::fs::copy(world.log(), world.dir.path().join("app.log.2")).unwrap();
    world.run(&mut rig, A_WHILE);
    assert_eq!(rig.report().files.counts.missed, 1);
}

fn gzip(path: &Path) {
    let status = std::process::Command::new("gzip").arg(path).status().unwrap();
    assert!(status.success());
}

#[test]
fn what_was_read_is_not_read_again_out_of_the_compressed_file() {
    let mut world = World::new();
    world.reads_compressed = true;
    append(&world.log(), "one, which is long enough to tell\n");
    let mut rig = world.start(false);
    world.run(&mut rig, A_WHILE);
    for (number, late) in [(1, Duration::ZERO), (2, Duration::from_secs(200))] {
        let rotated = world.dir.path().join("app.log.1");
        std::fs::rename(world.log(), &rotated).unwrap();
        append(&world.log(), &format!("{number}, which is long enough to tell\n"));
        world.run(&mut rig, A_WHILE + late);
        let mut writer = OpenOptions::new().append(true).open(&rotated).unwrap();
        gzip(&rotated);
        // It keeps its descriptor, and does not know of the rename.
        writer.write_all(format!("{number}, written to a deleted file\n").as_bytes()).unwrap();
        std::fs::rename(
            world.dir.path().join("app.log.1.gz"),
            world.dir.path().join(format!("app.log.{}.gz", number + 1)),
        )
        .unwrap();
        world.run(&mut rig, Duration::from_secs(300));
    }
    let expected = [
        "1, which is long enough to tell",
        "1, written to a deleted file",
        "2, which is long enough to tell",
        "2, written to a deleted file",
        "one, which is long enough to tell",
    ];
    assert_eq!(world.messages(), expected);
    assert_eq!((rig.counts().read, rig.report().files.counts.given_up), (5, 0));
    rig.close();
    let mut rig = world.start(false);
    world.run(&mut rig, A_WHILE);
    assert_eq!((world.messages().len(), rig.counts().read), (5, 0));
}

/// Also where nothing else is noted in the journal, it knows when the file was last seen whole.
#[test]
fn a_strangers_file_that_was_there_before_an_idle_shipper_was_killed_is_no_copy() {
    let mut world = World::new();
    world.now.wall = Timestamp::from_unix_micros(Timestamp::now().unix_micros() - 3_000_000);
    let read = "a first line that is long enough to tell\n";
    append(&world.log(), read);
    let mut rig = world.start(false);
    world.run(&mut rig, Duration::from_secs(2));
    append(&world.dir.path().join("app.log.1"), &format!("{read}secret\n"));
    let journal = world.dir.path().join("state/journal");
    let len = || std::fs::metadata(&journal).unwrap().len();
    let before = len();
    world.run(&mut rig, Duration::from_secs(60));
    assert!(len() < before + 500, "{before} bytes, a minute later {}", len());
    drop(rig);
    std::fs::write(world.log(), "new\n").unwrap();
    let mut rig = world.start(false);
    world.run(&mut rig, A_WHILE);
    assert_eq!(world.messages(), [read.trim_end(), "new"]);
    assert_eq!(rig.report().files.counts.vanished, 1);
}

#[test]
fn a_file_cut_without_a_copy_is_counted() {
    let mut world = World::new();
    append(&world.log(), "a first line that is long enough to tell\n");
    let mut rig = world.start(false);
    world.run(&mut rig, A_WHILE);
    std::fs::write(world.log(), "another beginning, longer than the first line of the file before it was cut\n")
        .unwrap();
    world.run(&mut rig, A_WHILE);
    assert_eq!(world.messages().len(), 2);
    assert_eq!(rig.report().files.counts.suspected_losses, 1);
}

#[test]
fn a_restart_goes_on_where_it_was() {
    let mut world = World::new();
    append(&world.log(), "one\n");
    let mut rig = world.start(false);
    world.run(&mut rig, A_WHILE);
    rig.close();
    append(&world.log(), "two\n");
    let rotated = world.dir.path().join("app.log.1");
    std::fs::rename(world.log(), &rotated).unwrap();
    append(&world.log(), "three\n");
    let mut rig = world.start(false);
    world.run(&mut rig, A_WHILE);
    assert_eq!(world.messages(), ["one", "three", "two"]);
    assert_eq!(rig.counts().read, 2, "nothing is read again");
}

#[test]
fn a_kill_doubles_nothing() {
    let mut world = World::new();
    append(&world.log(), "one\ntwo\n");
    let mut rig = world.start(false);
    world.run(&mut rig, Duration::from_millis(90));
    assert_eq!(world.messages(), ["one", "two"]);
    // No checkpoint was written yet, and none is: the process was killed.
    drop(rig);
    append(&world.log(), "three\n");
    let mut rig = world.start(false);
    world.run(&mut rig, A_WHILE);
    assert_eq!(world.messages(), ["one", "three", "two"]);
}

#[test]
fn until_idle_ends_with_what_was_there_and_takes_an_open_line_that_stays_as_it_is() {
    let mut world = World::new();
    append(&world.log(), "one\nopen");
    let mut rig = world.start(true);
    world.run(&mut rig, Duration::from_secs(5));
    assert!(rig.pipeline.is_done());
    assert_eq!(world.messages(), ["one", "open"]);
    rig.pipeline.close(THE_END).unwrap();
    append(&world.log(), "ed\ntwo\n");
    let mut rig = world.start(true);
    world.run(&mut rig, Duration::from_secs(1));
    assert!(rig.pipeline.is_done());
    assert_eq!(world.messages(), ["ed", "one", "open", "two"]);
}

#[test]
fn until_idle_leaves_a_line_that_is_being_written_to_the_next_start() {
    let mut world = World::new();
    let long = "x".repeat(200_000);
    append(&world.log(), &format!("one\n{long}"));
    let mut rig = world.start(true);
    world.run(&mut rig, Duration::from_secs(1));
    assert!(!rig.pipeline.is_done(), "whoever writes the line may go on");
    assert_eq!(world.messages(), ["one"]);
    append(&world.log(), "ed\ntwo\nthr");
    world.run(&mut rig, Duration::from_secs(1));
    assert!(rig.pipeline.is_done());
    assert_eq!(world.messages(), ["one"], "what is there at the first look is read, and nothing torn");
    rig.pipeline.close(THE_END).unwrap();
    append(&world.log(), "ee\n");
    let mut rig = world.start(true);
    world.run(&mut rig, Duration::from_secs(1));
    assert!(rig.pipeline.is_done());
    assert_eq!(world.messages(), ["one", "three", "two", &format!("{long}ed")]);
}

#[test]
fn until_idle_is_done_at_once_where_there_is_nothing() {
    let mut world = World::new();
    let mut rig = world.start(true);
    world.run(&mut rig, Duration::from_millis(40));
    assert!(rig.pipeline.is_done());
}

/// The kernel answers a read of a process's first page with "Input/output error".
#[test]
fn a_file_that_can_not_be_read_holds_up_no_other_and_is_read_once_it_can() {
    let mut world = World::new();
    let bad = world.log().with_file_name("a.log");
    std::os::unix::fs::symlink("/proc/self/mem", &bad).unwrap();
    append(&world.log(), "good 1\n");
    let mut rig = world.start(false);
    world.run(&mut rig, A_WHILE);
    append(&world.log(), "good 2\n");
    world.run(&mut rig, A_WHILE);
    assert_eq!(world.messages(), ["good 1", "good 2"]);
    std::fs::remove_file(&bad).unwrap();
    append(&bad, "bad 1\n");
    world.run(&mut rig, A_WHILE);
    assert_eq!(world.messages(), ["bad 1", "good 1", "good 2"]);
}
