//! The lines to write: contract records of about 343 bytes with their origin, five for each request.

use store::{Batch, BatchBuilder, GenerationId, LineId, Timestamp};

/// Lines in a batch, as in the shipper under load.
pub(crate) const BATCH_LINES: u64 = 2_000;

/// Lines in a step, for which results are printed.
pub(crate) const STEP_LINES: u64 = 100_000;

const LINES_PER_REQUEST: u64 = 5;

/// Returns the batches of a step.
pub(crate) fn batches(first: u64) -> Vec<Batch> {
    (0..STEP_LINES / BATCH_LINES).map(|number| batch(first + number * BATCH_LINES)).collect()
}

fn batch(first: u64) -> Batch {
    let mut builder = BatchBuilder::new("app-logs");
    for line in first..first + BATCH_LINES {
        // A segment holds some thousands of lines.
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

pub(crate) fn message(line: u64) -> String {
    let words = ["accepted", "packed", "sent", "declined", "returned", "weighed", "billed"][line as usize % 7];
    format!("order-{} of customer {} was {words}", line % 100_000, line % 9_973)
}

pub(crate) fn project_id(line: u64) -> String {
    format!("project-{:02}", line / LINES_PER_REQUEST % 40)
}

pub(crate) fn time(line: u64) -> Timestamp {
    Timestamp::from_unix_micros(1_795_000_000_000_000 + line.cast_signed() * 137)
}

/// Looks random, like a UUID, so that its index is written in random order.
pub(crate) fn request_id(line: u64) -> String {
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
