//! What one line costs between the reader and the store: check, splice and batch, in memory, on one core.

use std::io::Write as _;
use std::time::Instant;

use shipper::document::{Documents, LineView, Place};
use store::{BatchBuilder, GenerationId, Timestamp};

const LINES: u64 = 2_000_000;
const BATCH_BYTES: usize = 2 * 1024 * 1024;

fn main() -> std::io::Result<()> {
    let record = "{\"timestamp\":\"2026-11-23T18:51:20.123456Z\",\"service\":\"backend\",\"level\":\"info\",\"message\":\"request done\",\"request_id\":\"0d5ad0b4-6ec7-4c2c-9d5e-000000000001\",\"project_id\":\"p-1\",\"target\":\"access\",\"method\":\"GET\",\"endpoint\":\"/api/projects/{project_id}/logs\",\"status\":200,\"duration_ms\":1.234,\"outcome\":\"answered\",\"note\":\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"}";
    let plain = "Nov 23 18:51:20 host program[123]: something happened that nobody wrote down as JSON, as so often";
    let mut out = std::io::stdout().lock();
    for (name, line) in [("record", record), ("plain text", plain)] {
        let mut documents = Documents::new("host", "shipper", "service");
        let arrived = Timestamp::parse(b"2026-11-23T18:51:21Z").unwrap_or(Timestamp::from_unix_ms(0));
        let generation = GenerationId::new(1_795_000_000_000, &[7; 10]);
        let origin = documents.origin(&Place::Stream("stdout".to_owned()), generation);
        let mut batch = BatchBuilder::new("app-logs");
        let length = line.len() as u64 + 1;
        let started = Instant::now();
        for number in 0..LINES {
            let line = LineView { offset: number * length, length, bytes: line.as_bytes(), cut_bytes: 0 };
            documents.push(&mut batch, &origin, &line, arrived);
            if batch.bytes() >= BATCH_BYTES {
                std::hint::black_box(batch.finish(BATCH_BYTES + 4_096));
            }
        }
        let nanos = started.elapsed().as_nanos() as f64 / LINES as f64;
        writeln!(out, "{name} of {length} bytes: {nanos:.0} ns a line, {:.0} lines a second", 1e9 / nanos)?;
    }
    Ok(())
}
