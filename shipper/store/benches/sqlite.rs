//! The embedded store over many lines: lines written a CPU-second, and how long the usual questions take.
//!
//! `cargo bench -p store --bench sqlite` writes a million contract lines of about 343 bytes, each hundred-thousand told by
//! itself; with `-- 10` it writes ten million. CPU seconds are the whole process's, user and system, with the making of the
//! lines taken off. Beside it stand bare programs over rusqlite that write the same lines, with the same pragmas and as
//! many a transaction: one fills the same tables, given what to put there, and one has the usual B-tree indexes and
//! FTS5, as version 1 of the store's file had.
#![allow(missing_docs, clippy::print_stdout, clippy::unwrap_used)]

use std::path::Path;
use std::time::Instant;

use rusqlite::Connection;
use store::{
    Batch, BatchBuilder, EngineSettings, Filter, GenerationId, LineId, Order, Scope, Search, Store, Target, Timestamp,
};

/// Lines a batch, as the shipper makes them under load.
const BATCH_LINES: u64 = 2_000;

/// Each step's figures are printed.
const STEP_LINES: u64 = 100_000;

const LINES_PER_REQUEST: u64 = 5;

fn main() {
    let millions: u64 = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(1);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(run(millions * 1_000_000));
}

async fn run(total: u64) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("logs.db");
    let store = Store::open_writer(&Target::Sqlite(path.clone()), &EngineSettings::default()).await.unwrap();
    let mut steps = Steps::default();
    let mut longest = 0.0_f64;
    let mut bytes = 0;
    while steps.lines < total {
        let batches = batches(steps.lines);
        let (cpu, began) = (cpu_now(), Instant::now());
        for batch in &batches {
            let batch_began = Instant::now();
            store.write(batch).await.unwrap();
            longest = longest.max(batch_began.elapsed().as_secs_f64() * 1e3);
        }
        steps.add("store", cpu_now() - cpu, began);
        bytes += batches.iter().map(|batch| batch.body().len()).sum::<usize>();
    }
    let file_bytes = std::fs::metadata(&path).unwrap().len();
    let own = steps.told("store");
    println!("longest write of {BATCH_LINES} lines: {longest:.0} ms");
    println!("on disk: {} bytes a line, from {} sent", file_bytes / steps.lines, bytes as u64 / steps.lines);
    searches(&store, steps.lines).await;
    drop(store);
    // The bare programs need no more lines than it takes for their figures to be steady.
    let bare_lines = total.min(BARE_MAX_LINES);
    let same = bare_same_tables(folder.path(), &path, bare_lines);
    println!("written: {:.2} of bare rusqlite with the same tables, given what to put there", own / same);
    let usual = bare_usual_indexes(folder.path(), bare_lines);
    println!("written: {:.2} of bare rusqlite with the usual indexes and FTS5", own / usual);
}

/// Lines that the bare programs write at most.
const BARE_MAX_LINES: u64 = 2_000_000;

fn batches(first: u64) -> Vec<Batch> {
    (0..STEP_LINES / BATCH_LINES).map(|number| batch(first + number * BATCH_LINES)).collect()
}

/// Figures by steps of [`STEP_LINES`].
#[derive(Default)]
struct Steps {
    lines: u64,
    cpu_seconds: Vec<f64>,
}

impl Steps {
    fn add(&mut self, name: &str, cpu: f64, began: Instant) {
        self.lines += STEP_LINES;
        self.cpu_seconds.push(cpu);
        let rate = |seconds: f64| as_f64(STEP_LINES) / seconds;
        let wall = began.elapsed().as_secs_f64();
        println!("{name}: {:>9} lines: {:>7.0} a CPU-second, {:>7.0} a second", self.lines, rate(cpu), rate(wall));
    }

    /// Lines a CPU-second over the last million, or over all where there are fewer.
    fn told(&self, name: &str) -> f64 {
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

fn bare(path: &Path, tables: &str) -> Connection {
    let connection = Connection::open(path).unwrap();
    let pragmas = "PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
                   PRAGMA cache_size = -16384; PRAGMA wal_autocheckpoint = 4096;";
    connection.execute_batch(pragmas).unwrap();
    connection.execute_batch(tables).unwrap();
    connection.execute("INSERT INTO sources (id, generation) VALUES (1, 'g')", []).unwrap();
    connection
}

/// Fills tables as the store has them, with rows as the store made them.
fn bare_same_tables(folder: &Path, made: &Path, total: u64) -> f64 {
    let made = Connection::open(made).unwrap();
    let tables = "SELECT group_concat(sql, ';') FROM sqlite_schema WHERE type != 'view' AND sql IS NOT NULL";
    let tables: String = made.query_row(tables, [], |row| row.get(0)).unwrap();
    let mut connection = bare(&folder.join("same.db"), &tables);
    let mut steps = Steps::default();
    while steps.lines < total {
        let batches = batches(steps.lines);
        let range = [steps.lines, steps.lines + STEP_LINES];
        let runs: Vec<Vec<rusqlite::types::Value>> =
            rows(&made, "SELECT * FROM runs WHERE first >= ?1 AND first < ?2", range);
        let terms = rows(&made, "SELECT * FROM terms WHERE run >= ?1 AND run < ?2 ORDER BY run, first", range);
        let (cpu, began) = (cpu_now(), Instant::now());
        for (number, batch) in batches.iter().enumerate() {
            let transaction = connection.transaction().unwrap();
            {
                let insert =
                    "INSERT INTO logs VALUES (?1, ?2, 1, ?1, 343, ?3) ON CONFLICT (source, \"offset\") DO NOTHING";
                let mut insert = transaction.prepare_cached(insert).unwrap();
                for place in 0..batch.lines().len() {
                    let line = steps.lines + number as u64 * BATCH_LINES + place as u64;
                    let document = std::str::from_utf8(batch.document(place)).unwrap();
                    insert.execute((line.cast_signed(), time(line).unix_micros(), document)).unwrap();
                }
                if number + 1 == batches.len() {
                    let mut insert =
                        transaction.prepare_cached("INSERT INTO runs VALUES (?1, ?2, ?3, ?4, ?5, ?6)").unwrap();
                    for row in &runs {
                        insert.execute(rusqlite::params_from_iter(row)).unwrap();
                    }
                    let mut insert = transaction.prepare_cached("INSERT INTO terms VALUES (?1, ?2, ?3)").unwrap();
                    for row in &terms {
                        insert.execute(rusqlite::params_from_iter(row)).unwrap();
                    }
                }
            }
            transaction.commit().unwrap();
        }
        steps.add("bare, same tables", cpu_now() - cpu, began);
    }
    steps.told("bare, same tables")
}

fn rows(made: &Connection, select: &str, range: [u64; 2]) -> Vec<Vec<rusqlite::types::Value>> {
    let mut statement = made.prepare(select).unwrap();
    let columns = statement.column_count();
    let rows =
        statement.query_map(range.map(u64::cast_signed), |row| (0..columns).map(|column| row.get(column)).collect());
    rows.unwrap().map(Result::unwrap).collect()
}

/// Fills tables with B-tree indexes and FTS5, which answer most of the same questions.
fn bare_usual_indexes(folder: &Path, total: u64) -> f64 {
    let mut connection = bare(&folder.join("usual.db"), include_str!("../tests/lines/version_1.sql"));
    let mut steps = Steps::default();
    while steps.lines < total {
        let batches = batches(steps.lines);
        let (cpu, began) = (cpu_now(), Instant::now());
        for (number, batch) in batches.iter().enumerate() {
            let transaction = connection.transaction().unwrap();
            {
                let insert = "INSERT INTO logs (id, time, source, \"offset\", service, level, request_id, project_id, document)
                              VALUES (?1, ?2, 1, ?1, 'shop', 'info', ?3, ?4, ?5) ON CONFLICT (source, \"offset\") DO NOTHING";
                let mut insert = transaction.prepare_cached(insert).unwrap();
                let mut words =
                    transaction.prepare_cached("INSERT INTO logs_text (rowid, message) VALUES (?1, ?2)").unwrap();
                for place in 0..batch.lines().len() {
                    let line = steps.lines + number as u64 * BATCH_LINES + place as u64;
                    let document = std::str::from_utf8(batch.document(place)).unwrap();
                    let at =
                        (line.cast_signed(), time(line).unix_micros(), request_id(line), project_id(line), document);
                    insert.execute(at).unwrap();
                    words.execute((line.cast_signed(), message(line))).unwrap();
                }
            }
            transaction.commit().unwrap();
        }
        steps.add("bare, usual indexes", cpu_now() - cpu, began);
    }
    steps.told("bare, usual indexes")
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
            let began = Instant::now();
            match store.search(&Scope::All, &search).await {
                Ok(page) => found = page.lines.len(),
                Err(error) => println!("{name}: {error}"),
            }
            times.push(began.elapsed().as_secs_f64() * 1e3);
        }
        println!("found: {name:<24} {found:>4} lines, first {:>8.2} ms, fifth {:>8.2} ms", times[0], times[4]);
    }
}

fn batch(first: u64) -> Batch {
    let mut builder = BatchBuilder::new("app-logs");
    for line in first..first + BATCH_LINES {
        // A segment holds some thousands of lines, and then another begins.
        let generation = GenerationId::new(1_795_000_000_000 + line / 200_000, &[7; 10]);
        let offset = line % 200_000 * 343;
        let level = if line % 50 == 0 { "error" } else { "info" };
        let document = format!(
            r#"{{"timestamp":"{}","service":"shop","level":"{level}","message":"{}","request_id":"{}","project_id":"{}","target":"shop::orders","method":"POST","endpoint":"/api/projects/{{project_id}}/orders","status":200,"duration_ms":{}.25,"outcome":"answered","trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","origin":{{"host":"node-1","shipper":"shop","stream":"stdout","generation":"{generation}","offset":{offset},"length":343}}}}"#,
            time(line),
            message(line),
            request_id(line),
            project_id(line),
            line % 300,
        );
        builder.push(LineId { generation, offset }, 343, time(line).day(), |body| {
            body.extend_from_slice(document.as_bytes());
        });
    }
    builder.finish(0)
}

fn message(line: u64) -> String {
    let words = ["accepted", "packed", "sent", "declined", "returned", "weighed", "billed"][line as usize % 7];
    format!("order-{} of customer {} was {words}", line % 100_000, line % 9_973)
}

fn project_id(line: u64) -> String {
    format!("project-{:02}", line / LINES_PER_REQUEST % 40)
}

fn time(line: u64) -> Timestamp {
    Timestamp::from_unix_micros(1_795_000_000_000_000 + line.cast_signed() * 137)
}

/// Random in appearance, as a UUID is, so that its index is written all over.
fn request_id(line: u64) -> String {
    let request = line / LINES_PER_REQUEST;
    let high = request.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let low = high.rotate_left(31).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    format!(
        "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xfff,
        low >> 52,
        low & 0xffff_ffff_ffff
    )
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn as_f64(number: u64) -> f64 {
    number as f64
}

/// User and system time of this process in seconds, as `/proc/self/stat` counts it in hundredths.
fn cpu_now() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let after_name = stat.rsplit(')').next().unwrap();
    after_name.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<f64>().unwrap() / 100.0).sum()
}
