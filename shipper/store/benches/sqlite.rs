//! The embedded store over many lines: lines written a CPU-second, and how long the usual searches take.
//!
//! `cargo bench -p store` writes a million contract lines of about 343 bytes, each hundred-thousand told by itself;
//! `cargo bench -p store -- 10` writes ten million. CPU seconds are the whole process's, user and system, with the
//! making of the lines taken off.
#![allow(missing_docs, clippy::print_stdout, clippy::unwrap_used)]

use std::time::Instant;

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
    let (mut written, mut cpu_seconds, mut bytes) = (0, 0.0, 0);
    while written < total {
        let batches: Vec<_> =
            (0..STEP_LINES / BATCH_LINES).map(|number| batch(written + number * BATCH_LINES)).collect();
        let (cpu, began) = (cpu_now(), Instant::now());
        for batch in &batches {
            store.write(batch).await.unwrap();
        }
        let (cpu, wall) = (cpu_now() - cpu, began.elapsed().as_secs_f64());
        written += STEP_LINES;
        cpu_seconds += cpu;
        bytes += batches.iter().map(|batch| batch.body().len()).sum::<usize>();
        let rate = |seconds: f64| as_f64(STEP_LINES) / seconds;
        println!("{written:>9} lines: {:>7.0} a CPU-second, {:>7.0} a second", rate(cpu), rate(wall));
    }
    let file_bytes = std::fs::metadata(&path).unwrap().len();
    println!("written: {:.0} lines a CPU-second over all", as_f64(written) / cpu_seconds);
    println!("on disk: {} bytes a line, from {} sent", file_bytes / written, bytes as u64 / written);
    searches(&store, written).await;
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
        let words = ["accepted", "packed", "sent", "declined", "returned", "weighed", "billed"][line as usize % 7];
        let document = format!(
            r#"{{"timestamp":"{}","service":"shop","level":"{level}","message":"order-{} of customer {} was {words}","request_id":"{}","project_id":"project-{:02}","target":"shop::orders","method":"POST","endpoint":"/api/projects/{{project_id}}/orders","status":200,"duration_ms":{}.25,"outcome":"answered","trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","origin":{{"host":"node-1","shipper":"shop","stream":"stdout","generation":"{generation}","offset":{offset},"length":343}}}}"#,
            time(line),
            line % 100_000,
            line % 9_973,
            request_id(line),
            line / LINES_PER_REQUEST % 40,
            line % 300,
        );
        builder.push(LineId { generation, offset }, 343, time(line).day(), |body| {
            body.extend_from_slice(document.as_bytes());
        });
    }
    builder.finish(0)
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
