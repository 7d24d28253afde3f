//! Numbered lines: a load that writes them, and a tally of those in an engine. The number is in the field `status`, which
//! the template maps as an integer, so that an aggregation can count it.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::engine::Engine;

/// Buckets per response.
const PAGE: usize = 10_000;

/// Interval between the load's writes.
const STEP: Duration = Duration::from_millis(10);

/// Line `n` of a project: a record of the contract, with its newline.
pub fn line(project: &str, timestamp: &str, n: u64) -> String {
    format!(
        "{{\"timestamp\":\"{timestamp}\",\"service\":\"numbers\",\"level\":\"info\",\"message\":\"line {n} of a load that \
         has words in it, as lines have\",\"request_id\":\"{project}-r\",\"project_id\":\"{project}\",\"status\":{n}}}\n"
    )
}

/// The current time in the records' format.
pub fn now() -> String {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let (days, seconds) = (since_epoch.as_secs() / 86_400, since_epoch.as_secs() % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", since_epoch.subsec_millis())
}

/// Converts days since 1970-01-01 to year, month and day.
fn civil(mut days: u64) -> (u64, u64, u64) {
    let is_leap = |year: u64| year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
    let mut year = 1970;
    while days >= 365 + u64::from(is_leap(year)) {
        days -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let lengths = [31, 28 + u64::from(is_leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while days >= lengths[month] {
        days -= lengths[month];
        month += 1;
    }
    (year, month as u64 + 1, days + 1)
}

/// A thread that writes a project's lines in order at a fixed rate.
#[derive(Debug)]
pub struct Load {
    stopped: Arc<AtomicBool>,
    written: Arc<AtomicU64>,
    thread: JoinHandle<()>,
}

impl Load {
    /// Starts with line 0. `write` gets a chunk of complete lines at a time; an error ends the load.
    pub fn start(
        project: &str,
        lines_per_second: u64,
        mut write: impl FnMut(&[u8]) -> io::Result<()> + Send + 'static,
    ) -> Self {
        let (stopped, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stop, count, project) = (Arc::clone(&stopped), Arc::clone(&written), project.to_owned());
        let thread = std::thread::spawn(move || {
            let began = Instant::now();
            let mut next = 0;
            while !stop.load(Ordering::Relaxed) {
                let due = (began.elapsed().as_millis() as u64 * lines_per_second / 1_000).min(next + lines_per_second);
                let timestamp = now();
                let chunk: String = (next..due).map(|n| line(&project, &timestamp, n)).collect();
                if write(chunk.as_bytes()).is_err() {
                    return;
                }
                next = next.max(due);
                count.store(next, Ordering::Relaxed);
                std::thread::sleep(STEP);
            }
        });
        Self { stopped, written, thread }
    }

    /// Number of lines written so far.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Stops the load and returns the number of complete lines written.
    #[track_caller]
    pub fn stop(self) -> u64 {
        self.stopped.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
        self.written.load(Ordering::Relaxed)
    }
}

/// Counts of a project's numbered lines in an engine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Number of documents by line number.
    pub counts: BTreeMap<u64, u64>,
}

impl Tally {
    /// Refreshes the engine and counts with a composite aggregation over the number, page by page.
    #[track_caller]
    pub fn of(engine: &Engine, project: &str) -> Self {
        let (status, answer) = engine.request("POST", "/app-logs-*/_refresh?ignore_unavailable=true", &Value::Null);
        assert_eq!(status, 200, "{answer}");
        let mut tally = Self::default();
        let mut composite = json!({ "size": PAGE, "sources": [{ "n": { "terms": { "field": "status" } } }] });
        loop {
            let body = json!({ "size": 0, "query": { "term": { "project_id": project } },
                "aggs": { "numbers": { "composite": composite } } });
            let (status, answer) = engine.request("POST", "/app-logs-*/_search?ignore_unavailable=true", &body);
            assert_eq!((status, &answer["_shards"]["failed"]), (200, &json!(0)), "{answer}");
            let Some(buckets) = answer["aggregations"]["numbers"]["buckets"].as_array().filter(|all| !all.is_empty())
            else {
                return tally;
            };
            tally.counts.extend(
                buckets
                    .iter()
                    .map(|bucket| (bucket["key"]["n"].as_u64().unwrap(), bucket["doc_count"].as_u64().unwrap())),
            );
            composite["after"] = answer["aggregations"]["numbers"]["after_key"].clone();
        }
    }

    /// Numbers with more than one document.
    pub fn doubled(&self) -> Vec<u64> {
        self.counts.iter().filter(|(_, count)| **count > 1).map(|(n, _)| *n).collect()
    }

    /// Asserts that the engine has each number in `0..count` once, and no other.
    #[track_caller]
    pub fn assert_each_once(&self, count: u64) {
        let missing: Vec<_> = (0..count).filter(|n| !self.counts.contains_key(n)).collect();
        let (first, last) = (missing.first(), missing.last());
        assert!(missing.is_empty(), "{} of {count} are missing, {first:?} to {last:?}", missing.len());
        assert_eq!(self.doubled(), [0_u64; 0], "stored twice");
        assert_eq!(self.counts.len() as u64, count, "more than were written");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_converted_to_dates() {
        for (days, date) in [(0, (1970, 1, 1)), (59, (1970, 3, 1)), (11_016, (2000, 2, 29)), (20_789, (2026, 12, 2))] {
            assert_eq!(civil(days), date);
        }
    }

    #[test]
    #[should_panic(expected = "1 of 3 are missing")]
    fn a_missing_line_is_detected() {
        Tally { counts: [(0, 1), (2, 1)].into() }.assert_each_once(3);
    }

    #[test]
    #[should_panic(expected = "stored twice")]
    fn a_duplicate_is_detected() {
        Tally { counts: [(0, 1), (1, 2)].into() }.assert_each_once(2);
    }
}
