//! The stores that tests ship lines to, with helpers to write and find lines.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;

use observability_tests::engine::Engine;
use observability_tests::program::{Program, Start};
use observability_tests::scrape::Scrape;
use observability_tests::{http, port};
use serde_json::{Value, json};
use tempfile::TempDir;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A store to ship lines to.
pub(crate) enum TestStore {
    /// An engine, and whether it has ingest processors.
    Engine(Engine, bool),
    /// The embedded store in this folder.
    Embedded(TempDir),
}

impl TestStore {
    pub(crate) fn engine() -> Self {
        Self::Engine(Engine::with_processors(), true)
    }

    pub(crate) fn bare_engine() -> Self {
        Self::Engine(Engine::bare(), false)
    }

    pub(crate) fn embedded() -> Self {
        Self::Embedded(tempfile::tempdir().unwrap())
    }

    /// The value of `--to` and `STORE`.
    pub(crate) fn target(&self) -> String {
        match self {
            Self::Engine(engine, _) => engine.url.clone(),
            Self::Embedded(folder) => format!("sqlite:{}", folder.path().join("logs.db").display()),
        }
    }

    /// A subcommand of the shipper with the options for this store.
    pub(crate) fn shipper(&self, subcommand: &str, state: &Path) -> Start {
        let start = Start::program("shipper").args(subcommand.split(' '));
        let start = start.args(["--to", &self.target(), "--state-dir"]).arg(state);
        match self {
            Self::Engine(_, false) => start.args(["--pipeline", "none"]),
            _ => start,
        }
    }

    /// Starts a log explorer over this store. Its own log lines are not shipped.
    pub(crate) fn explorer(&self) -> Explorer {
        let address = port::free_address();
        let start = Start::program("backend").env("LISTEN", address.to_string()).env("STORE", self.target());
        Explorer { _program: start.start_healthy(address), address }
    }
}

/// A log explorer that reads a store.
pub(crate) struct Explorer {
    _program: Program,
    address: SocketAddr,
}

impl Explorer {
    /// All lines of a request that fits in one response.
    pub(crate) fn request(&self, request_id: &str) -> Vec<Value> {
        let answer = http::get(self.address, &format!("/api/requests/{request_id}"));
        assert_eq!(answer.status, 200, "{}", answer.text());
        found_lines(&answer.json()).to_vec()
    }

    /// All lines of a project, page by page.
    pub(crate) fn project(&self, project: &str) -> Vec<Value> {
        let mut lines = Vec::new();
        let mut cursor = String::new();
        loop {
            let answer = http::get(self.address, &format!("/api/projects/{project}/logs?limit=500{cursor}"));
            assert_eq!(answer.status, 200, "{}", answer.text());
            let page = answer.json();
            lines.extend_from_slice(found_lines(&page));
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return lines,
            }
        }
    }
}

/// The lines in a search response.
pub(crate) fn found_lines(answer: &Value) -> &[Value] {
    answer["lines"].as_array().unwrap_or_else(|| panic!("{answer}"))
}

/// A unique name that no other test or earlier run uses.
pub(crate) fn unique_name(what: &str) -> String {
    format!("{what}-{}", uuid::Uuid::new_v4().simple())
}

pub(crate) fn now() -> String {
    OffsetDateTime::now_utc().format(&Rfc3339).unwrap()
}

/// Line `n` of a project, as a record of the contract.
pub(crate) fn record(project: &str, n: usize) -> String {
    let timestamp = OffsetDateTime::now_utc().replace_nanosecond(1_000_000).unwrap().format(&Rfc3339).unwrap();
    json!({ "timestamp": timestamp, "service": "numbers", "level": "info", "message": format!("line {n}"),
        "request_id": format!("{project}-r"), "project_id": project, "n": n })
    .to_string()
}

#[track_caller]
pub(crate) fn assert_is_time(value: &Value) {
    let time = OffsetDateTime::parse(value.as_str().unwrap_or_default(), &Rfc3339);
    assert!(time.is_ok(), "not a time: {value}");
}

/// Appends the next `count` lines of a project.
pub(crate) fn append(to: &mut impl Write, project: &str, written: &mut usize, count: usize) {
    let lines: String = (*written..*written + count).map(|n| record(project, n) + "\n").collect();
    to.write_all(lines.as_bytes()).unwrap();
    *written += count;
}

/// Asserts that the lines have each number in `0..count` once, and no other.
#[track_caller]
pub(crate) fn assert_each_once(lines: &[Value], count: usize) {
    let mut numbers: Vec<_> = lines.iter().map(|line| usize::try_from(line["n"].as_u64().unwrap()).unwrap()).collect();
    numbers.sort_unstable();
    let doubles: Vec<_> = numbers.windows(2).filter(|pair| pair[0] == pair[1]).collect();
    assert!(doubles.is_empty(), "stored twice: {doubles:?}");
    let found: BTreeSet<_> = numbers.into_iter().collect();
    let missing: Vec<_> = (0..count).filter(|n| !found.contains(n)).collect();
    assert!(missing.is_empty(), "{} of {count} are missing: {missing:?}", missing.len());
    assert_eq!(found.len(), count, "more than were written");
}

pub(crate) fn stored_lines(store: &TestStore, project: &str) -> Vec<Value> {
    match store {
        TestStore::Engine(engine, _) => {
            let hits = engine.search(&json!({ "term": { "project_id": project } }));
            hits.into_iter().map(|mut hit| hit["_source"].take()).collect()
        }
        TestStore::Embedded(_) => store.explorer().project(project),
    }
}

/// The numbers of a project's complete lines in all files of a folder.
pub(crate) fn numbers_in_files(folder: &Path, project: &str) -> Vec<usize> {
    numbers_under(folder, project, "n").into_iter().map(|n| usize::try_from(n).unwrap()).collect()
}

/// As [`numbers_in_files`], with the number under another key.
pub(crate) fn numbers_under(folder: &Path, project: &str, key: &str) -> Vec<u64> {
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            numbers.extend(numbers_under(&path, project, key));
            continue;
        }
        for line in std::fs::read(&path).unwrap().split_inclusive(|byte| *byte == b'\n') {
            let line = serde_json::from_slice::<Value>(line).unwrap_or_default();
            if line["project_id"] == project {
                numbers.push(line[key].as_u64().unwrap());
            }
        }
    }
    numbers
}

/// Asserts the accounting equation in a scrape of a shipper that has read lines.
#[track_caller]
pub(crate) fn assert_accounting_holds(scrape: &Scrape) {
    assert!(scrape.metric("shipper_lines_read_total", &[]) > 0.0, "no line was read");
    scrape.assert_accounting_holds();
}

/// The number of lines with an outcome in a scrape of the shipper.
pub(crate) fn lines_with_outcome(scrape: &Scrape, outcome: &str) -> f64 {
    let name = format!("shipper_lines_{outcome}_total");
    assert_eq!(scrape.all(&name, &[]).count(), 1, "no {name}");
    scrape.metric(&name, &[])
}
