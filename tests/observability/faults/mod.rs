//! Real faults on real parts. Each test ships a load of numbered lines while it injects a fault repeatedly. In the end the
//! engine has each accepted line once.
//!
//! `make test` runs a reduced form, `make soak` the full one for `SOAK_MINUTES` per fault. `SOAK_SEED` determines the random
//! choices but not the timing of the load and the machine, so a seed repeats the plan and not the exact run.

mod disk_full;
mod drop_oldest;
mod engine_faults;
mod kills;
mod limits;
mod network;
mod refusals;
mod rotation;
mod rotation_matrix;
mod secured;
mod self_signed;
mod small_disk;

use std::fs::OpenOptions;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use observability_tests::engine::Engine;
use observability_tests::numbers::{Load, Tally};
use observability_tests::program::{Program, Start};
use observability_tests::random::Random;
use observability_tests::scrape::Scrape;
use observability_tests::{port, wait};
use tempfile::TempDir;

use crate::test_store::{assert_accounting_holds, lines_with_outcome, unique_name};

/// The schedule and progress of one fault test.
struct Soak {
    name: &'static str,
    random: Random,
    seed: u64,
    began: Instant,
    at_least: Duration,
    rounds_wanted: u64,
    rounds: u64,
}

impl Soak {
    /// Runs `reduced` rounds in `make test`; in `make soak` at least `full` rounds and `SOAK_MINUTES`.
    fn new(name: &'static str, reduced: u64, full: u64) -> Self {
        let number = |name: &str| std::env::var(name).ok().map(|value| value.parse::<u64>().expect("a number"));
        let minutes = number("SOAK_MINUTES");
        let seed = number("SOAK_SEED").unwrap_or_else(Random::any_seed);
        Self {
            name,
            random: Random::new(seed),
            seed,
            began: Instant::now(),
            at_least: Duration::from_secs(60 * minutes.unwrap_or(0)),
            rounds_wanted: if minutes.is_some() { full } else { reduced },
            rounds: 0,
        }
    }

    /// Whether another round is due.
    fn continues(&mut self) -> bool {
        let continues = self.rounds < self.rounds_wanted || self.began.elapsed() < self.at_least;
        self.rounds += u64::from(continues);
        continues
    }

    /// Sleeps for a random time within the range while the load continues.
    fn pause_ms(&mut self, range: std::ops::Range<u64>) {
        std::thread::sleep(Duration::from_millis(self.random.within(range)));
    }

    /// Prints a summary, shown with `--nocapture` as in `make soak`.
    fn report(&self, lines: u64, what: &str) {
        let (name, seed, rounds) = (self.name, self.seed, self.rounds);
        let seconds = self.began.elapsed().as_secs_f64();
        eprintln!("soak: {name}: seed {seed}, {seconds:.1} s, {rounds} rounds, {lines} lines each once{what}");
    }
}

impl Drop for Soak {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("soak: {} failed in round {} with SOAK_SEED={}", self.name, self.rounds, self.seed);
        }
    }
}

/// A file that a load writes to, and a state directory for the shipper.
struct Bench {
    project: String,
    folder: TempDir,
}

impl Bench {
    fn new(name: &str) -> Self {
        Self { project: unique_name(name), folder: tempfile::tempdir().unwrap() }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("app.log")
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// Starts a load that appends to the file.
    fn load(&self, lines_per_second: u64) -> Load {
        let mut file = OpenOptions::new().create(true).append(true).open(self.file()).unwrap();
        Load::start(&self.project, lines_per_second, move |lines| file.write_all(lines))
    }

    /// A shipper of the file with short timeouts.
    fn shipper(&self, to: &str) -> Start {
        shipper(to, &self.state()).arg("--file").arg(self.file())
    }

    /// Ships the rest of the file.
    #[track_caller]
    fn finish(&self, to: &str) {
        let mut shipper = self.shipper(to).arg("--until-idle").start();
        assert_eq!(shipper.exit_code(), 0, "{}", shipper.stderr());
        verify(to, &self.state());
    }

    #[track_caller]
    fn assert_each_once(&self, engine: &Engine, count: u64) {
        assert!(count > 0);
        Tally::of(engine, &self.project).assert_each_once(count);
    }
}

/// `shipper run` with short timeouts.
fn shipper(to: &str, state: &Path) -> Start {
    Start::program("shipper")
        .args(["run", "--to", to, "--retry-max-ms", "500", "--request-timeout-ms", "3000", "--state-dir"])
        .arg(state)
}

/// Starts a shipper with an admin address and returns both.
#[track_caller]
fn following(start: Start) -> (Program, SocketAddr) {
    let admin = port::free_address();
    (start.args(["--admin-listen", &admin.to_string()]).start_healthy(admin), admin)
}

/// Waits until all lines have their outcome. Asserts that the accounting holds and all lines are stored.
#[track_caller]
fn wait_until_shipped(admin: SocketAddr, lines: u64) -> Scrape {
    let scrape = wait::until_within(Duration::from_secs(180), &format!("all {lines} lines have their outcome"), || {
        let scrape = Scrape::of(admin);
        let read = scrape.metric("shipper_lines_read_total", &[]);
        (read >= lines as f64 && scrape.metric("shipper_lines_pending", &[]) == 0.0).then_some(scrape)
    });
    assert_accounting_holds(&scrape);
    assert_eq!((lines_with_outcome(&scrape, "dropped"), lines_with_outcome(&scrape, "dead_lettered")), (0.0, 0.0));
    scrape
}

/// Peak resident memory of a process in MiB.
fn peak_mib(program: &Program) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", program.pid().as_raw_nonzero())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}

/// Asserts with `shipper verify` that the store has all lines of the state directory.
#[track_caller]
fn verify(to: &str, state: &Path) {
    let mut verify = Start::program("shipper").args(["verify", "--to", to, "--state-dir"]).arg(state).start();
    assert_eq!(verify.exit_code(), 0, "{} {}", verify.stdout(), verify.stderr());
}

/// As [`verify`], except that bytes destroyed by a rotation may be missing.
#[track_caller]
fn verify_what_is_left(to: &str, state: &Path) {
    let arguments = ["verify", "--json", "--to", to, "--state-dir"];
    let mut verify = Start::program("shipper").args(arguments).arg(state).start();
    let code = verify.exit_code();
    let report: serde_json::Value = serde_json::from_str(&verify.stdout()).unwrap();
    let missing = report["sums"]["missing"]["listed"].as_array().unwrap();
    assert!(missing.iter().all(|missing| missing["is_destroyed"] == true), "{report}");
    assert_eq!(report["sums"]["duplicates"]["count"], 0, "{report}");
    assert_eq!(code, i32::from(!missing.is_empty()), "{report} {}", verify.stderr());
}
