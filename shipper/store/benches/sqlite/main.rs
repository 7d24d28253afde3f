//! Benchmarks of the embedded store: lines written per CPU second, and durations of batches and common queries.
//!
//! `cargo bench -p store --bench sqlite` writes a million contract lines of about 343 bytes, and prints the results of
//! each hundred thousand; with `-- 10` it writes ten million. CPU seconds are user and system time of the whole
//! process, without the time for generating the lines. The duration of a batch is how long its writer waits, with one
//! batch after the other and including the sync to disk. Time in which the writer was ready but other programs had the
//! CPU is subtracted. For comparison, the time to append and sync as many bytes to a file is printed.
//!
//! One request is searched for in a newly started process, with the file cached and uncached (`dd` drops it from the
//! page cache), and in a running one. The minimal programs in `bare` use rusqlite to write the same lines: one has
//! common B-tree indexes and FTS5, which can answer most of the same queries. The other fills the store's own tables
//! with prepared rows, so that it parses no JSON, splits no words and sorts nothing.
#![allow(missing_docs, clippy::print_stdout, clippy::unwrap_used)]

mod bare;
mod lines;

use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use store::{EngineSettings, Filter, Order, RetentionPolicy, Scope, Search, Store, StoreWriter, Target, Timestamp};

use crate::lines::{BATCH_LINES, STEP_LINES, batches, request_id, time};

/// Maximum number of lines that the minimal programs write; enough for stable results.
const BARE_MAX_LINES: u64 = 2_000_000;

/// Number of lines written while retention runs.
const RETAINING_LINES: u64 = 300_000;

/// The argument of a process that only searches for one request.
const ASK: &str = "ask-for";

fn main() {
    let arguments: Vec<_> = std::env::args().collect();
    // One thread that works and stays alive, for the stopwatch.
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.max_blocking_threads(1).thread_keep_alive(Duration::from_secs(86_400)).enable_all().build();
    let runtime = runtime.unwrap();
    if let Some(at) = arguments.iter().position(|argument| argument == ASK) {
        return runtime.block_on(ask(Path::new(&arguments[at + 1]), &arguments[at + 2]));
    }
    let millions: u64 = arguments.iter().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(1);
    runtime.block_on(run(millions * 1_000_000));
}

async fn run(total: u64) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("logs.db");
    let store = open(&path).await;
    let (mut steps, mut waits, mut bytes) = (Steps::default(), Vec::new(), 0);
    while steps.lines < total {
        let batches = batches(steps.lines);
        let (cpu, began) = (cpu_now(), Instant::now());
        for batch in &batches {
            waits.push(wait(&store, batch).await);
        }
        steps.add("store", cpu_now() - cpu, began);
        bytes += batches.iter().map(|batch| batch.body().len()).sum::<usize>();
    }
    let file_bytes = std::fs::metadata(&path).unwrap().len();
    let own = steps.rate("store");
    print_waits(&format!("a batch of {BATCH_LINES} lines"), &waits);
    let batch_bytes = bytes / waits.len();
    print_waits("as many bytes appended and synced", &appends(folder.path(), batch_bytes, waits.len().min(2_000)));
    println!("on disk: {} bytes a line, from {} sent", file_bytes / steps.lines, bytes as u64 / steps.lines);
    searches(&store.reader(), steps.lines).await;
    drop(store);
    one_request_first(&path, &request_id(steps.lines / 2));
    let same = bare::same_tables(folder.path(), &path, total.min(BARE_MAX_LINES));
    println!("written: {:.2} of bare rusqlite with the same tables and prepared rows", own / same);
    let usual = bare::usual_indexes(folder.path(), total.min(BARE_MAX_LINES));
    println!("written: {:.2} of bare rusqlite with common indexes and FTS5", own / usual);
    while_retaining(&path, steps.lines, file_bytes).await;
}

async fn open(path: &Path) -> StoreWriter {
    StoreWriter::open(&Target::Sqlite(path.to_owned()), &EngineSettings::default()).await.unwrap()
}

/// Writes a batch and returns the duration in milliseconds.
async fn wait(store: &StoreWriter, batch: &store::Batch) -> f64 {
    let began = Stopwatch::start();
    store.write(batch).await.unwrap();
    began.milliseconds()
}

/// Measures elapsed time minus the time in which a thread was ready but another program had the CPU. That time is read
/// from `/proc/self/task/*/schedstat` for the main thread and the one that works while it waits.
struct Stopwatch {
    began: Instant,
    passed_over: Duration,
}

impl Stopwatch {
    fn start() -> Self {
        Self { began: Instant::now(), passed_over: passed_over() }
    }

    fn milliseconds(&self) -> f64 {
        let passed = self.began.elapsed();
        passed.saturating_sub(passed_over().saturating_sub(self.passed_over)).as_secs_f64() * 1e3
    }
}

fn passed_over() -> Duration {
    let mut all = Duration::ZERO;
    for task in std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
        let read = |name: &str| std::fs::read_to_string(task.path().join(name)).unwrap_or_default();
        if read("comm").starts_with("store-") {
            continue;
        }
        let waited = read("schedstat").split_whitespace().nth(1).and_then(|nanoseconds| nanoseconds.parse().ok());
        all += Duration::from_nanos(waited.unwrap_or(0));
    }
    all
}

fn print_waits(name: &str, waits: &[f64]) {
    let mut sorted = waits.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = |thousandths: usize| sorted[(sorted.len() * thousandths).div_ceil(1_000).max(1) - 1];
    println!(
        "waited: {name}: half {:.1} ms, p99 {:.1} ms, p99.9 {:.1} ms, longest {:.1} ms",
        rank(500),
        rank(990),
        rank(999),
        rank(1_000)
    );
}

/// Measures how long the disk alone takes.
fn appends(folder: &Path, bytes: usize, count: usize) -> Vec<f64> {
    let path = folder.join("appended");
    let mut file = std::fs::File::create(&path).unwrap();
    let body = vec![7; bytes];
    let mut append = || {
        let began = Stopwatch::start();
        file.write_all(&body).unwrap();
        file.sync_data().unwrap();
        began.milliseconds()
    };
    let waits = (0..count).map(|_| append()).collect();
    std::fs::remove_file(path).unwrap();
    waits
}

/// Writes while retention deletes a fifth of the file.
async fn while_retaining(path: &Path, written: u64, file_bytes: u64) {
    let store = open(path).await;
    let keep = RetentionPolicy { bytes: Some(file_bytes / 5 * 4), age: None };
    let retaining = tokio::spawn({
        let store = store.clone();
        async move {
            let (mut lines, mut longest) = (0, Duration::ZERO);
            loop {
                let began = Instant::now();
                let step = store.retain(&keep, Timestamp::now()).await.unwrap();
                (lines, longest) = (lines + step.lines, longest.max(began.elapsed()));
                let Some(pause) = step.next_after else { return (lines, longest) };
                tokio::time::sleep(pause).await;
            }
        }
    });
    let mut waits = Vec::new();
    for step in 0..RETAINING_LINES / STEP_LINES {
        for batch in &batches(written + step * STEP_LINES) {
            waits.push(wait(&store, batch).await);
        }
    }
    print_waits("a batch while retention runs", &waits);
    let (lines, longest) = retaining.await.unwrap();
    println!("deleted: {lines} lines, the longest step {:.1} ms", longest.as_secs_f64() * 1e3);
}

/// A newly started process: opens the store, searches for a request, and prints the duration.
async fn ask(path: &Path, id: &str) {
    let began = Stopwatch::start();
    let store = Store::open(&Target::Sqlite(path.to_owned()), &EngineSettings::default()).await.unwrap();
    let search = Search { order: Order::OldestFirst, ..Search::new(Filter::request(id)) };
    let lines = store.search(&Scope::All, &search).await.unwrap().lines.len();
    println!("{lines} lines, {:.2} ms", began.milliseconds());
}

fn one_request_first(path: &Path, id: &str) {
    std::fs::File::open(path).unwrap().sync_all().unwrap();
    for (name, is_dropped) in [("in the system's memory", false), ("on the disk", true), ("on the disk", true)] {
        if is_dropped {
            let input = format!("if={}", path.display());
            let dropped = Command::new("dd").args([&input, "iflag=nocache", "count=0", "status=none"]).status();
            if !dropped.is_ok_and(|status| status.success()) {
                println!("found: the file could not be dropped from the page cache");
                return;
            }
        }
        let output = Command::new(std::env::current_exe().unwrap()).arg(ASK).arg(path).arg(id).output().unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        println!("found: one request in a new process, the file {name}: {}", printed.trim());
    }
}

/// Results by steps of [`STEP_LINES`].
#[derive(Default)]
pub(crate) struct Steps {
    pub(crate) lines: u64,
    cpu_seconds: Vec<f64>,
}

impl Steps {
    pub(crate) fn add(&mut self, name: &str, cpu: f64, began: Instant) {
        self.lines += STEP_LINES;
        self.cpu_seconds.push(cpu);
        let rate = |seconds: f64| as_f64(STEP_LINES) / seconds;
        let wall = began.elapsed().as_secs_f64();
        println!("{name}: {:>9} lines: {:>7.0} a CPU-second, {:>7.0} a second", self.lines, rate(cpu), rate(wall));
    }

    /// Returns lines per CPU second over the last million, or over all if there are fewer.
    pub(crate) fn rate(&self, name: &str) -> f64 {
        let last = &self.cpu_seconds[self.cpu_seconds.len().saturating_sub(10)..];
        let rate = |steps: &[f64]| as_f64(STEP_LINES) * as_f64(steps.len() as u64) / steps.iter().sum::<f64>();
        println!(
            "{name}: {:.0} lines a CPU-second over all, {:.0} over the last million",
            rate(&self.cpu_seconds),
            rate(last)
        );
        rate(last)
    }
}

async fn searches(store: &Store, written: u64) {
    let middle = request_id(written / 2);
    let at = |line: u64| Some(time(line));
    let of = |query: &str| Search::new(query.parse().unwrap());
    for (name, search) in [
        ("one request", Search { order: Order::OldestFirst, ..Search::new(Filter::request(middle)) }),
        ("a project's last 100", of("project_id:project-07")),
        ("the last 100 errors", of("level:error")),
        ("an hour's first 100", Search { from: at(written / 3), order: Order::OldestFirst, ..Search::default() }),
        ("a rare word", of("order-4711")),
        ("a word of one line in 7", of("declined")),
        ("that word and a project", of("project_id:project-07 declined")),
        ("that word where it is not", of("service:none declined")),
        ("a word of every line", of("customer")),
    ] {
        let mut times: Vec<_> = Vec::new();
        let mut found = 0;
        for _ in 0..5 {
            let began = Stopwatch::start();
            match store.search(&Scope::All, &search).await {
                Ok(page) => found = page.lines.len(),
                Err(error) => println!("{name}: {error}"),
            }
            times.push(began.milliseconds());
        }
        println!("found: {name:<24} {found:>4} lines, first {:>8.2} ms, fifth {:>8.2} ms", times[0], times[4]);
    }
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn as_f64(number: u64) -> f64 {
    number as f64
}

/// Returns user and system time of this process in seconds; `/proc/self/stat` counts hundredths.
pub(crate) fn cpu_now() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let after_name = stat.rsplit(')').next().unwrap();
    after_name.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<f64>().unwrap() / 100.0).sum()
}
