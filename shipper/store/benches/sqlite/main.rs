//! The embedded store over many lines: lines written a CPU-second, how long a batch takes, and how long the usual questions.
//!
//! `cargo bench -p store --bench sqlite` writes a million contract lines of about 343 bytes, each hundred-thousand told by
//! itself; with `-- 10` it writes ten million. CPU seconds are the whole process's, user and system, with the making of the
//! lines taken off. A batch's time is what its writer waits, one batch after the other without a pause, the sync of the
//! disk in it; the time in which it was ready to go on and other programs had the processor is taken off. Beside it stands
//! what it takes to append as many bytes to a file and to sync that, and nothing else.
//!
//! One request is looked for in a program that was just started, with the file in the system's memory and without (`dd`
//! drops it from there), besides in one that runs. `bare` programs over rusqlite write the same lines: one has the usual
//! B-tree indexes and FTS5, which answer most of the same questions; one fills the store's own tables, given what to put
//! there, so that it reads no JSON, cuts no words and sorts nothing.
#![allow(missing_docs, clippy::print_stdout, clippy::unwrap_used)]

mod bare;
mod lines;

use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use store::{EngineSettings, Filter, Keep, Order, Scope, Search, Store, Target, Timestamp};

use crate::lines::{BATCH_LINES, STEP_LINES, batches, request_id, time};

/// Lines that the bare programs write at most: no more than it takes for their figures to be steady.
const BARE_MAX_LINES: u64 = 2_000_000;

/// Lines that are written while retention takes out others.
const RETAINING_LINES: u64 = 300_000;

/// What a program is told that only looks for one request.
const ASK: &str = "ask-for";

fn main() {
    let arguments: Vec<_> = std::env::args().collect();
    // One thread that works and lives on, for the stopwatch.
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
    let own = steps.told("store");
    tell_waits(&format!("a batch of {BATCH_LINES} lines"), &waits);
    let batch_bytes = bytes / waits.len();
    tell_waits("as many bytes appended and synced", &appends(folder.path(), batch_bytes, waits.len().min(2_000)));
    println!("on disk: {} bytes a line, from {} sent", file_bytes / steps.lines, bytes as u64 / steps.lines);
    searches(&store, steps.lines).await;
    drop(store);
    one_request_first(&path, &request_id(steps.lines / 2));
    let same = bare::same_tables(folder.path(), &path, total.min(BARE_MAX_LINES));
    println!("written: {:.2} of bare rusqlite with the same tables, given what to put there", own / same);
    let usual = bare::usual_indexes(folder.path(), total.min(BARE_MAX_LINES));
    println!("written: {:.2} of bare rusqlite with the usual indexes and FTS5", own / usual);
    while_retaining(&path, steps.lines, file_bytes).await;
}

async fn open(path: &Path) -> Store {
    Store::open_writer(&Target::Sqlite(path.to_owned()), &EngineSettings::default()).await.unwrap()
}

/// Writes a batch; milliseconds.
async fn wait(store: &Store, batch: &store::Batch) -> f64 {
    let began = Stopwatch::start();
    store.write(batch).await.unwrap();
    began.milliseconds()
}

/// Time that passes, but for that in which a thread was ready to go on and another program had the processor, as
/// `/proc/self/task/*/schedstat` counts it of the main thread and of the one that works while it waits.
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

fn tell_waits(name: &str, waits: &[f64]) {
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

/// How long the disk takes by itself.
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

/// Writes on while retention takes out a fifth of the file.
async fn while_retaining(path: &Path, written: u64, file_bytes: u64) {
    let store = open(path).await;
    let keep = Keep { bytes: Some(file_bytes / 5 * 4), age: None };
    let retaining = tokio::spawn({
        let store = store.clone();
        async move {
            let (mut lines, mut longest) = (0, Duration::ZERO);
            loop {
                let began = Instant::now();
                let step = store.retain(&keep, Timestamp::now()).await.unwrap();
                (lines, longest) = (lines + step.lines, longest.max(began.elapsed()));
                let Some(pause) = step.more else { return (lines, longest) };
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
    tell_waits("a batch while old lines are taken out", &waits);
    let (lines, longest) = retaining.await.unwrap();
    println!("taken out: {lines} lines, the longest step {:.1} ms", longest.as_secs_f64() * 1e3);
}

/// What a program that was just started does: opens the store, finds a request, and tells how long it took.
async fn ask(path: &Path, id: &str) {
    let began = Stopwatch::start();
    let store = Store::open_reader(&Target::Sqlite(path.to_owned()), &EngineSettings::default()).await.unwrap();
    let search = Search { order: Order::OldestFirst, ..Search::of(Filter::request(id)) };
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
                println!("found: the file could not be dropped from memory");
                return;
            }
        }
        let asked = Command::new(std::env::current_exe().unwrap()).arg(ASK).arg(path).arg(id).output().unwrap();
        let said = String::from_utf8(asked.stdout).unwrap();
        println!("found: one request by a program just started, the file {name}: {}", said.trim());
    }
}

/// Figures by steps of [`STEP_LINES`].
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

    /// Lines a CPU-second over the last million, or over all where there are fewer.
    pub(crate) fn told(&self, name: &str) -> f64 {
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
    let of = |query: &str| Search::of(query.parse().unwrap());
    for (name, search) in [
        ("one request", Search { order: Order::OldestFirst, ..Search::of(Filter::request(middle)) }),
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

/// User and system time of this process in seconds, as `/proc/self/stat` counts it in hundredths.
pub(crate) fn cpu_now() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let after_name = stat.rsplit(')').next().unwrap();
    after_name.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<f64>().unwrap() / 100.0).sum()
}
