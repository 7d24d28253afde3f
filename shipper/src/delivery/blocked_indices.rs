//! Indices that accept no lines while others do: read-only, closed, or missing and not to be created.
//!
//! Their lines wait here by index and hold up no others. A *probe* finds out whether an index takes lines again: one of
//! its lines, sent like any other, one at a time for all indices. After a refused probe the next index is probed. After
//! [`PROBES_IN_A_ROW`], or after each index once, comes a backoff. However many indices are blocked and however many
//! lines wait, few requests are sent for them.
//!
//! Lines that wait here count as in flight. At `in_flight_max_bytes` nothing more is read, and then everything waits.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use store::Cause;

use super::DeliveryError;
use super::backoff::Backoff;
use super::in_flight::{InFlight, InFlightId};
use super::verdict::LineVerdict;

/// Maximum number of probes between two backoffs.
const PROBES_IN_A_ROW: usize = 32;

/// A blocked index and its lines.
#[derive(Debug)]
struct Index {
    cause: Cause,
    requests: VecDeque<InFlight>,
}

/// Blocked indices, as reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockedReport {
    /// Number of blocked indices.
    pub indices: usize,
    /// Number of lines that wait for them, without the one that is sent as a probe.
    pub lines: usize,
    /// Why one of them is blocked, with its name.
    pub delivery_error: DeliveryError,
}

/// All blocked indices.
#[derive(Debug, Default)]
pub(super) struct BlockedIndices {
    indices: HashMap<String, Index>,
    /// Their names, the next to probe first.
    order: VecDeque<String>,
    lines: usize,
    /// The mark when the last of them was blocked.
    pub(super) since: u64,
    /// Backoffs in a row after which no index was open.
    failures: u32,
    probe_at: Duration,
    /// Probes since the last backoff.
    probes: usize,
    /// The probe in flight.
    probe: Option<(InFlightId, String)>,
}

impl BlockedIndices {
    pub(super) fn is_empty(&self) -> bool {
        self.indices.is_empty()
    }

    pub(super) fn contains(&self, index: &str) -> bool {
        self.indices.contains_key(index)
    }

    /// Blocks an index; `mark` is the next request's number.
    pub(super) fn block(&mut self, name: &str, cause: Cause, mark: u64, backoff: Backoff) {
        if let Some(index) = self.indices.get_mut(name) {
            index.cause = cause;
            return;
        }
        self.since = mark;
        if self.indices.is_empty() {
            self.failures = 0;
            self.back_off(backoff);
        }
        self.indices.insert(name.to_owned(), Index { cause, requests: VecDeque::new() });
        self.order.push_back(name.to_owned());
    }

    /// Keeps lines of a blocked index; gives them back if it is not blocked.
    pub(super) fn keep(&mut self, name: &str, request: InFlight) -> Option<InFlight> {
        let Some(index) = self.indices.get_mut(name) else { return Some(request) };
        self.lines += request.lines();
        index.requests.push_back(request);
        None
    }

    /// When the next probe is due; `None` while one is in flight.
    pub(super) fn probe_at(&self) -> Option<Duration> {
        (self.probe.is_none() && self.lines > 0).then_some(self.probe_at)
    }

    /// The line to probe with, if that is due, and its index.
    pub(super) fn take_probe(&mut self, now: Duration) -> Option<(String, InFlight)> {
        self.probe_at().filter(|at| *at <= now)?;
        for _ in 0..self.order.len() {
            let name = self.order.pop_front()?;
            self.order.push_back(name.clone());
            let requests = &mut self.indices.get_mut(&name)?.requests;
            // Its only line was sent with other lines before the index was blocked, and may come back.
            let Some(request) = requests.pop_front() else { continue };
            let probe = request.part(0..1);
            if request.lines() > 1 {
                requests.push_front(request.part(1..request.lines()));
            }
            self.lines -= 1;
            return Some((name, probe));
        }
        None
    }

    /// Notes that a probe was sent.
    pub(super) fn sent_probe(&mut self, id: InFlightId, name: String) {
        self.probe = Some((id, name));
    }

    /// Handles the answer to the line of a probe, if the request was one; returns the lines that may be sent now.
    pub(super) fn probe_answered(&mut self, id: InFlightId, line: LineVerdict, backoff: Backoff) -> VecDeque<InFlight> {
        let Some((_, name)) = self.probe.take_if(|(probe, _)| *probe == id) else { return VecDeque::new() };
        let has_lines = self.indices.get(&name).is_some_and(|index| !index.requests.is_empty());
        match line {
            LineVerdict::Settle => return self.open(&name, backoff.now),
            LineVerdict::Block => {
                self.probes += 1;
                if self.probes >= self.indices.len().min(PROBES_IN_A_ROW) {
                    self.back_off(backoff);
                }
            }
            LineVerdict::Fail | LineVerdict::Busy | LineVerdict::Retry if has_lines => self.back_off(backoff),
            // The probe is retried as any other request, and no line is left to probe with.
            LineVerdict::Fail | LineVerdict::Busy | LineVerdict::Retry => return self.open(&name, backoff.now),
        }
        VecDeque::new()
    }

    fn back_off(&mut self, backoff: Backoff) {
        self.failures = self.failures.saturating_add(1);
        self.probes = 0;
        self.probe_at = backoff.until(self.failures);
    }

    /// An index takes lines: the others are probed at once, since the same repair may have opened them.
    fn open(&mut self, name: &str, now: Duration) -> VecDeque<InFlight> {
        self.order.retain(|other| other != name);
        let requests = self.indices.remove(name).map(|index| index.requests).unwrap_or_default();
        self.lines -= requests.iter().map(InFlight::lines).sum::<usize>();
        self.failures = 0;
        self.probes = 0;
        self.probe_at = now;
        requests
    }

    /// `None` if no index is blocked.
    pub(super) fn report(&self) -> Option<BlockedReport> {
        let name = self.indices.keys().min()?;
        let cause = &self.indices.get(name)?.cause;
        let more = match self.indices.len() - 1 {
            0 => String::new(),
            1 => " (and another index)".to_owned(),
            more => format!(" (and {more} more indices)"),
        };
        let reason = format!("index {name}{more} is blocked: {}", cause.reason);
        let cause = Cause::new(cause.status, reason).with_kind(cause.kind);
        let delivery_error = DeliveryError { cause, refused: true };
        Some(BlockedReport { indices: self.indices.len(), lines: self.lines, delivery_error })
    }
}
