//! Large responses: a stream's memory is bounded, whatever its length, and a client that does not read is disconnected.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use observability_tests::http;
use observability_tests::program::executable;
use serde_json::Value;

use crate::rig::Backend;

/// Number of lines in the store, 300 bytes each.
const LINES: usize = 200_000;

/// Maximum growth of the memory while all lines, more than 60 MB, are streamed.
const GROWTH_MAX_KIB: u64 = 24 * 1024;

/// A store with [`LINES`] lines.
fn store() -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let mut text = String::new();
    for line in 0..LINES {
        let (minute, second, filling) = (line / 60 % 60, line % 60, "all of it was paid in time ".repeat(5));
        writeln!(
            text,
            r#"{{"timestamp":"2026-11-23T12:{minute:02}:{second:02}.000Z","service":"shop","level":"info","message":"order {line}: {filling}","request_id":null,"project_id":"a"}}"#
        )
        .unwrap();
    }
    std::fs::write(folder.path().join("lines"), text).unwrap();
    let store = format!("sqlite:{}", folder.path().join("logs.db").display());
    let shipped = Command::new(executable("shipper"))
        .args(["run", "--until-idle", "--to", &store, "--state-dir", "state", "--file", "lines"])
        .current_dir(folder.path())
        .stdout(Stdio::null())
        .status();
    assert!(shipped.unwrap().success());
    (folder, store)
}

/// A memory figure of the service in KiB: `VmRSS`, or `VmHWM` for the peak.
fn memory(backend: &Backend, figure: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", backend.program.pid().as_raw_nonzero())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(figure)).unwrap();
    line.trim_start_matches(':').trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn a_long_stream_uses_little_memory_and_ends_if_nobody_reads_it() {
    let (_folder, store) = store();
    let backend = Backend::start(&[("STORE", &store), ("BACKEND_STALL_TIMEOUT_S", "1")]);
    // fill the caches first, such as SQLite's page cache
    backend.get("/api/logs?limit=1000");
    let before = memory(&backend, "VmRSS");
    let headers: [(&str, &[u8]); 2] = [("Accept", b"application/x-ndjson"), ("X-Request-Id", b"taken")];
    let stream = http::open(backend.address, "GET", "/api/logs?order=oldest", &headers, b"").unwrap();
    let mut count = 0;
    for line in BufReader::new(stream).lines().map(Result::unwrap).filter(|line| line.starts_with('{')) {
        if count % 1_000 == 0 {
            let line: Value = serde_json::from_str(&line).unwrap();
            assert!(line["message"].as_str().unwrap().starts_with("order "), "{line}");
        }
        count += 1;
    }
    assert_eq!(count, LINES);
    let growth = memory(&backend, "VmHWM").saturating_sub(before);
    assert!(growth < GROWTH_MAX_KIB, "from {before} KiB by {growth} KiB");
    assert_eq!(backend.access_line("taken")["outcome"], "answered");

    // a client that stays connected without reading
    let headers = [headers[0], ("X-Request-Id", b"not-taken")];
    let stalled = http::open(backend.address, "GET", "/api/logs", &headers, b"").unwrap();
    assert_eq!(backend.access_line("not-taken")["outcome"], "body_cut");
    // a client that reads slowly is not disconnected
    let headers = [headers[0], ("X-Request-Id", b"taken-slowly")];
    let slow = http::open(backend.address, "GET", "/api/logs?limit=60000", &headers, b"").unwrap();
    let mut lines = 0;
    for line in BufReader::new(slow).lines().map(Result::unwrap).filter(|line| line.starts_with('{')) {
        assert!(line.ends_with('}'));
        lines += 1;
        if lines % 10_000 == 0 {
            std::thread::sleep(std::time::Duration::from_millis(600));
        }
    }
    assert_eq!((lines, &backend.access_line("taken-slowly")["outcome"]), (60_000, &"answered".into()));
    drop(stalled);
}
