//! What one line costs between the reader and the store: check, splice and batch, in memory, in CPU time.

use std::io::{Error, Result, Write as _};

use shipper::document::Documents;
use shipper::reader::LineView;
use shipper::record::ChangeSet;
use shipper::sources::{Source, StreamSource};
use store::{BatchBuilder, GenerationId, Timestamp};

/// Enough that the clock's ticks, of 10 ms for the most part, tell to a hundredth.
const LINES: u64 = 5_000_000;
const BATCH_BYTES: usize = 2 * 1024 * 1024;

fn main() -> Result<()> {
    let record = "{\"timestamp\":\"2026-11-23T18:51:20.123456Z\",\"service\":\"backend\",\"level\":\"info\",\"message\":\"request done\",\"request_id\":\"0d5ad0b4-6ec7-4c2c-9d5e-000000000001\",\"project_id\":\"p-1\",\"target\":\"access\",\"method\":\"GET\",\"endpoint\":\"/api/projects/{project_id}/logs\",\"status\":200,\"duration_ms\":1.234,\"outcome\":\"answered\",\"note\":\"xxxxxxxxxxxxxxxxxxxxxxxxxx\"}";
    let foreign = "{\"v\":0,\"name\":\"other\",\"msg\":\"an \\\"escape\\\" and a number\",\"level\":30,\"ts\":1795000000.5,\"fields\":{\"a\":[1,2,3],\"b\":{\"c\":true}}}";
    let plain = "Nov 23 18:51:20 host program[123]: something happened that nobody wrote down as JSON, as so often";
    let mut out = std::io::stdout().lock();
    for (name, line) in [("record", record), ("foreign object", foreign), ("plain text", plain)] {
        let length = line.len() as u64 + 1;
        let seconds = push(line)?;
        let nanos = seconds * 1e9 / LINES as f64;
        let per_second = LINES as f64 / seconds;
        writeln!(out, "{name} of {length} bytes: {nanos:.0} ns a line, {per_second:.0} lines a CPU-second")?;
    }
    Ok(())
}

/// Pushes a line [`LINES`] times; the CPU seconds that it took.
fn push(line: &str) -> Result<f64> {
    let mut documents = Documents::new("host", "shipper", "service");
    let arrived = Timestamp::parse(b"2026-11-23T18:51:21Z").unwrap_or(Timestamp::from_unix_ms(0));
    let generation = GenerationId::new(1_795_000_000_000, &[7; 10]);
    let origin = documents.origin(&Source::Stream(StreamSource::new("stdout")), generation);
    let mut batch = BatchBuilder::new("app-logs");
    let length = line.len() as u64 + 1;
    let started = cpu_seconds()?;
    for number in 0..LINES {
        let line = LineView {
            offset: number * length,
            length,
            bytes: std::hint::black_box(line).as_bytes(),
            cut_bytes: 0,
            written: None,
            changes: ChangeSet::default(),
        };
        documents.push(&mut batch, &origin, &line, arrived);
        if batch.bytes() >= BATCH_BYTES {
            std::hint::black_box(batch.finish(BATCH_BYTES + 4_096));
        }
    }
    Ok(cpu_seconds()? - started)
}

/// CPU time of this process so far, user's and system's: fields 14 and 15 of `/proc/self/stat` (proc(5)).
fn cpu_seconds() -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields).split_whitespace();
    let ticks: Vec<u64> = fields.skip(11).take(2).map_while(|field| field.parse().ok()).collect();
    let [user, system] = ticks[..] else { return Err(Error::other("not a stat line")) };
    Ok((user + system) as f64 / rustix::param::clock_ticks_per_second() as f64)
}
