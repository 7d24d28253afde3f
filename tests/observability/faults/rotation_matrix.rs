//! The real logrotate in every combination of how it rotates, what it does to rotated files, and what the pattern names,
//! under load, while the shipper is killed, stopped and started again.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use observability_tests::numbers::Load;
use observability_tests::program::{Program, Start, installed};
use observability_tests::wait;
use serde_json::Value;

use super::rotation::{Reopened, rotation};
use super::{Bench, Soak, shipper, verify, verify_what_is_left};

const LINES_PER_SECOND: u64 = 150;

/// Log messages of which each stands for a file whose unread end may be lost.
const LOSSES: [&str; 3] = [
    "file truncated without a rotated copy",
    "file deleted or rewritten while the shipper was stopped",
    "file deleted before its last line was read",
];

#[derive(Clone, Copy, Debug)]
struct Combination {
    copies: bool,
    /// `compress`, `delaycompress`, `dateext` or nothing.
    rotated: &'static str,
    pattern: &'static str,
}

impl Combination {
    fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for copies in [false, true] {
            for rotated in ["compress", "delaycompress", "dateext", ""] {
                for pattern in ["app.log", "app.log*"] {
                    all.push(Self { copies, rotated, pattern });
                }
            }
        }
        all
    }

    fn directives(self) -> String {
        let how = if self.copies { "copytruncate" } else { "create" };
        let rotated = match self.rotated {
            "delaycompress" => "compress\n  delaycompress",
            "dateext" => "nocompress\n  dateext\n  dateformat -%Y%m%d-%s",
            "" => "nocompress",
            other => other,
        };
        format!("{how}\n  {rotated}")
    }

    /// Whether logrotate itself may destroy lines: those written after it read the file, and before it cut or deleted it.
    /// Where it renames, that is one write at most: the service looks before each whether its file still has its name, and
    /// gzip would have to read the file's end between that look and the write. With `delaycompress` not even that.
    fn destroys(self) -> bool {
        self.copies || self.rotated == "compress"
    }
}

/// One combination under load.
struct Case {
    combination: Combination,
    bench: Bench,
    logrotate: PathBuf,
    program: Program,
    /// Warnings of possible losses, by every process so far.
    losses: usize,
    /// What every process before this one logged.
    log: String,
    rotations: usize,
}

impl Case {
    fn new(combination: Combination, logrotate: &Path) -> Self {
        let bench = Bench::new("rotation-matrix");
        let program = Self::command(&bench, combination).start();
        Self {
            combination,
            bench,
            logrotate: logrotate.to_owned(),
            program,
            losses: 0,
            log: String::new(),
            rotations: 0,
        }
    }

    fn command(bench: &Bench, combination: Combination) -> Start {
        let pattern = bench.folder.path().join(combination.pattern);
        let start = shipper(&Self::store(bench), &bench.state()).args(["--scan-interval-ms", "200", "--file"]);
        start.arg(pattern)
    }

    fn store(bench: &Bench) -> String {
        format!("sqlite:{}", bench.folder.path().join("logs.db").display())
    }

    fn load(&self) -> Load {
        let mut file = Reopened::new(self.bench.file());
        if self.combination.copies {
            return self.bench.load(LINES_PER_SECOND);
        }
        Load::start(&self.bench.project, LINES_PER_SECOND, move |lines| file.write(lines))
    }

    fn take_losses(&mut self) {
        let log = self.program.stderr();
        self.log.push_str(&log);
        self.losses += log.lines().filter(|line| LOSSES.iter().any(|loss| line.contains(loss))).count();
    }

    fn end(&mut self, orderly: bool) {
        if orderly {
            assert_eq!(self.program.stop(), 0, "{:?}: {}", self.combination, self.program.stderr());
        } else {
            self.program.kill();
        }
        self.take_losses();
    }

    fn restart(&mut self) {
        self.program = Self::command(&self.bench, self.combination).start();
    }

    /// A rotation, with or without an end of the shipper before it, during it, or after it.
    fn round(&mut self, soak: &mut Soak, load: &Load) {
        let (when, orderly) = (soak.random.within(0..4), soak.random.within(0..3) == 0);
        if when == 0 {
            self.end(orderly);
        }
        let directives = self.combination.directives();
        let command = &mut rotation(&self.logrotate, self.bench.folder.path(), &directives);
        let rotation = command.stderr(std::process::Stdio::piped()).spawn().unwrap();
        if when == 1 {
            soak.pause_ms(0..30);
            self.end(orderly);
        }
        self.rotations += 1;
        let output = rotation.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let rotated_at = load.written();
        if when == 2 {
            soak.pause_ms(0..400);
            self.end(orderly);
        }
        if when < 3 {
            self.restart();
        }
        // A file that no scan sees before it is rotated out of the pattern is nobody's. That is not tried here.
        self.until_stored(rotated_at + LINES_PER_SECOND / 5);
    }

    /// Until a line of this number or a later one is stored: the file in which it stands has been seen.
    fn until_stored(&self, number: u64) {
        let what = format!("{:?}: line {number} or a later one is stored", self.combination);
        wait::until_within(Duration::from_secs(60), &what, || {
            self.stored().keys().next_back().is_some_and(|last| *last >= number).then_some(())
        });
    }

    /// How often the store holds each line; asserts that it holds nothing that is no line. The last line in a copy that
    /// was made while it was written may be torn.
    fn stored(&self) -> BTreeMap<u64, u64> {
        let store = Self::store(&self.bench);
        if !self.bench.folder.path().join("logs.db").exists() {
            return BTreeMap::new();
        }
        let mut export = Start::program("shipper").args(["export", &store]).start();
        assert_eq!(export.exit_code(), 0, "{}", export.stderr());
        let mut counts = BTreeMap::new();
        for line in export.stdout().lines() {
            let document: Value = serde_json::from_str(line).unwrap();
            let message = document["message"].as_str().unwrap_or_default();
            let is_torn = self.combination.copies && message.starts_with("{\"timestamp\":\"");
            match document["status"].as_u64() {
                Some(number) if document["project_id"] == *self.bench.project => {
                    *counts.entry(number).or_default() += 1
                }
                _ => assert!(is_torn, "{:?}: this is no line: {line}", self.combination),
            }
        }
        counts
    }

    /// All is stored that is left in files, compressed or not, and nothing twice.
    fn judge(mut self, lines: u64) -> String {
        let combination = self.combination;
        let in_files = numbers(self.bench.folder.path());
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let stored = self.stored();
            let unread: Vec<_> = in_files.iter().filter(|(number, _)| !stored.contains_key(number)).collect();
            if unread.is_empty() {
                break;
            }
            let log = || format!("{}{}", self.log, self.program.stderr());
            assert!(Instant::now() < deadline, "{combination:?}: in files and not stored: {unread:?}\n{}", log());
            std::thread::sleep(Duration::from_millis(50));
        }
        self.end(true);
        // Another process finds nothing that was not read.
        let mut last = Self::command(&self.bench, combination).arg("--until-idle").start();
        assert_eq!(last.exit_code(), 0, "{combination:?}: {}", last.stderr());
        self.losses += LOSSES.iter().map(|loss| last.stderr().matches(loss).count()).sum::<usize>();
        let (store, state) = (Self::store(&self.bench), self.bench.state());
        if combination.destroys() {
            verify_what_is_left(&store, &state)
        } else {
            verify(&store, &state)
        }
        let stored = self.stored();
        let doubled: Vec<_> = stored.iter().filter(|(_, count)| **count > 1).map(|(number, _)| *number).collect();
        assert_eq!(doubled, [0_u64; 0], "{combination:?}: stored twice");
        let missing: BTreeSet<u64> = (0..lines).filter(|number| !stored.contains_key(number)).collect();
        if !combination.destroys() {
            assert!(missing.is_empty(), "{combination:?}: lines are missing: {missing:?}");
        } else if !combination.copies {
            // The lines of a write follow each other.
            let is_first = |number: &&u64| number.checked_sub(1).is_none_or(|before| !missing.contains(&before));
            let (writes, rotations) = (missing.iter().filter(is_first).count(), self.rotations);
            assert!(writes <= rotations, "{combination:?}: {rotations} rotations, missing: {missing:?}");
        }
        if missing.is_empty() && !combination.copies {
            let log = || format!("{}{}", self.log, last.stderr());
            assert_eq!(self.losses, 0, "{combination:?}: nothing is lost, and losses are logged:\n{}", log());
        }
        format!("{combination:?}: {} of {lines} lines, {} losses logged", stored.len(), self.losses)
    }
}

/// The numbers of the whole lines in a folder's logs, compressed or not, with the file and the place in it.
fn numbers(folder: &Path) -> BTreeMap<u64, (String, usize)> {
    let mut numbers = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if !name.starts_with("app.log") {
            continue;
        }
        let output = Command::new("gzip").args(["-dcf"]).arg(&path).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let mut offset = 0;
        for line in output.stdout.split_inclusive(|byte| *byte == b'\n') {
            let whole = line.strip_suffix(b"\n").and_then(|line| serde_json::from_slice::<Value>(line).ok());
            if let Some(number) = whole.and_then(|line| line["status"].as_u64()) {
                numbers.insert(number, (name.clone(), offset));
            }
            offset += line.len();
        }
    }
    numbers
}

fn try_combination(combination: Combination, logrotate: &Path) -> String {
    let mut soak = Soak::new("logrotate in combination", 4, 40);
    let mut case = Case::new(combination, logrotate);
    let load = case.load();
    case.until_stored(0);
    while soak.continues() {
        let began = Instant::now();
        soak.pause_ms(300..900);
        // The date in a rotated name has whole seconds.
        std::thread::sleep(Duration::from_millis(1_050).saturating_sub(began.elapsed()));
        case.round(&mut soak, &load);
    }
    let lines = load.stop();
    let judged = case.judge(lines);
    soak.report(lines, &format!(" that were left: {judged}"));
    judged
}

#[test]
fn of_each_combination_of_logrotates_directives_each_line_that_is_left_is_stored_once() {
    let logrotate = installed("logrotate");
    let failed: Vec<Combination> = std::thread::scope(|scope| {
        let tried = Combination::all().into_iter().map(|combination| {
            let logrotate = &logrotate;
            (combination, scope.spawn(move || try_combination(combination, logrotate)))
        });
        let tried: Vec<_> = tried.collect();
        tried.into_iter().filter_map(|(combination, tried)| tried.join().err().map(|_| combination)).collect()
    });
    assert!(failed.is_empty(), "{failed:?}");
}
