//! Delivery: which request to send next and to which host, and what its answer means for each line.
//!
//! It does no I/O, and gets time and randomness as arguments. A batch becomes a request. Its answer settles some lines;
//! the others are retried until they are stored or dead letters. Order is not preserved: retries go behind what waits.
//!
//! # Judgement
//!
//! `verdict::judge` is a pure function of the answer, the request's history and the store's health. `tests/verdicts.rs`
//! is its table, with a row for each case; the reasons are in ADR 11.
//!
//! * No usable answer, or a refusal of everything: the host is ejected for a backoff, and the request is retried at
//!   another host. With all hosts ejected delivery pauses.
//! * A request that fails again although the store took later ones is a *suspect*. Its failures are its own fault, not
//!   the host's: it waits for its own backoff, and at the third failure it is bisected.
//! * Too large: the request is bisected, and `request_size` remembers the size. Rejected: it is bisected until the
//!   invalid line is alone.
//! * A line that is rejected alone is a dead letter once the store took others since the first rejection, or after five
//!   rejections by a store that ever took anything. So a store that accepts nothing causes no dead letters.
//! * A line that gets the store's own error by itself (5xx, but not 502 to 504) is *poison*, and a dead letter after
//!   [`DeliverySettings::poison_attempts`] over [`DeliverySettings::poison_span`]. An attempt counts if, since the last
//!   one, the store wrote into the same index and no request failed but suspects.
//! * An index that is refused while others are not is blocked: its lines wait in `blocked_indices`.

mod answers;
mod backoff;
mod blocked_indices;
mod health;
pub mod hosts;
mod in_flight;
mod request_size;
mod verdict;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use store::{Batch, Cause, Disposition};

use blocked_indices::BlockedIndices;
pub use blocked_indices::BlockedReport;
use health::Health;
use hosts::{HostId, HostReport, Hosts, Ticket};
use in_flight::InFlight;
pub use in_flight::InFlightId;
use request_size::RequestSize;

/// Bounds of delivery.
#[derive(Clone, Debug)]
pub struct DeliverySettings {
    /// Names of the store's hosts; empty for a store without any, which counts as one host.
    pub hosts: Vec<String>,
    /// Maximum number of concurrent requests per host.
    pub requests_in_flight: usize,
    /// Upper bound of the first backoff.
    pub retry_min: Duration,
    /// Upper bound of any backoff.
    pub retry_max: Duration,
    /// Minimum number of attempts, before a line that the store fails over is a dead letter.
    pub poison_attempts: u32,
    /// Minimum time between the first and the last of them.
    pub poison_span: Duration,
}

/// A request to send.
#[derive(Clone, Debug)]
pub struct Request {
    /// Identifies the request in [`Delivery::answer`].
    pub id: InFlightId,
    /// The host to send it to.
    pub host: HostId,
    /// The lines to send.
    pub batch: Batch,
}

/// Lines that an answer settled: a batch, and the disposition of each of its lines.
#[derive(Debug)]
pub struct Settled {
    /// The lines.
    pub batch: Batch,
    /// One for each line; [`Disposition::Retry`] for those that are not settled.
    pub dispositions: Vec<Disposition>,
    /// How often these lines were sent.
    pub attempts: u32,
}

/// Why a host, an index or the whole store accepts nothing at the moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryError {
    /// The store's reason.
    pub cause: Cause,
    /// Whether the store's operator has to act: waiting alone does not help.
    pub refused: bool,
}

/// Retries by cause, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RetryCounts {
    /// Requests without a usable answer.
    pub unavailable: u64,
    /// Requests that the store refused for a reason that its operator has to remove.
    pub refused: u64,
    /// Requests that were too large.
    pub too_large: u64,
    /// Requests that the store rejected as a whole.
    pub rejected: u64,
    /// Lines to retry, of requests that the store answered line by line.
    pub lines: u64,
}

/// All requests: those that wait, those that are sent, and those of blocked indices.
#[derive(Debug)]
pub struct Delivery {
    settings: DeliverySettings,
    waiting: VecDeque<InFlight>,
    sent: HashMap<InFlightId, (InFlight, Ticket)>,
    /// The next request's number: what [`health`] calls a mark.
    next_id: u64,
    bytes: usize,
    hosts: Hosts,
    size: RequestSize,
    health: Health,
    blocked: BlockedIndices,
    /// Why the store rejected a request that was not bisected, until it takes anything.
    rejected: Option<Cause>,
    retries: RetryCounts,
}

impl Delivery {
    /// A delivery without requests.
    #[must_use]
    pub fn new(settings: DeliverySettings) -> Self {
        Self {
            hosts: Hosts::new(&settings.hosts, settings.requests_in_flight),
            settings,
            waiting: VecDeque::new(),
            sent: HashMap::new(),
            next_id: 0,
            bytes: 0,
            size: RequestSize::default(),
            health: Health::default(),
            blocked: BlockedIndices::default(),
            rejected: None,
            retries: RetryCounts::default(),
        }
    }

    /// Adds a batch to what waits.
    pub fn offer(&mut self, batch: Batch) {
        self.push_back(InFlight::new(batch, 0));
    }

    fn push_back(&mut self, request: InFlight) {
        if request.lines() > 0 {
            self.bytes += request.batch.body().len();
            self.waiting.push_back(request);
        }
    }

    /// Bytes of the bodies of all requests.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether there are no requests.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.sent.is_empty() && self.blocked.is_empty()
    }

    /// Size above which a body is split before it is sent; `None` while the store has refused no size.
    #[must_use]
    pub fn request_max_bytes(&self) -> Option<usize> {
        self.size.allowed()
    }

    /// Why the store accepts nothing, if that is so.
    #[must_use]
    pub fn delivery_error(&self) -> Option<DeliveryError> {
        let rejected = || self.rejected.clone().map(|cause| DeliveryError { cause, refused: true });
        // Until the store takes something else, no other index may be open.
        let is_all = || !self.health.has_taken_since(self.blocked.since);
        let blocked = || self.blocked().filter(|_| is_all()).map(|blocked| blocked.delivery_error);
        self.hosts.delivery_error().cloned().or_else(rejected).or_else(blocked)
    }

    /// The blocked indices, if there are any.
    #[must_use]
    pub fn blocked(&self) -> Option<BlockedReport> {
        self.blocked.report()
    }

    /// The hosts, in the order of the settings.
    #[must_use]
    pub fn hosts(&self) -> Vec<HostReport> {
        self.hosts.report()
    }

    /// Retries since the start.
    #[must_use]
    pub fn retries(&self) -> RetryCounts {
        self.retries
    }

    /// The next request to send at `now`, if there is one.
    pub fn next(&mut self, now: Duration) -> Option<Request> {
        if let Some(probe) = self.next_probe(now) {
            return Some(probe);
        }
        loop {
            let index = self.waiting.iter().position(|request| request.not_before <= now)?;
            let request = &self.waiting[index];
            let host = self.hosts.choose(now, request.failures > 0, request.avoid)?;
            let mut request = self.waiting.remove(index)?;
            if !self.blocked.is_empty() {
                match self.hold_back_blocked(request) {
                    Some(open) => request = open,
                    None => continue,
                }
            }
            if let Some(excess) = self.split_off_excess(&mut request) {
                self.waiting.insert(index, excess);
            }
            return Some(self.send(request, host));
        }
    }

    fn send(&mut self, mut request: InFlight, host: HostId) -> Request {
        request.attempts += 1;
        let id = InFlightId(self.next_id);
        self.next_id += 1;
        let batch = request.batch.clone();
        let ticket = self.hosts.send(host);
        self.sent.insert(id, (request, ticket));
        Request { id, host, batch }
    }

    /// A probe of a blocked index, if one is due. It is no good probe of an ejected host.
    fn next_probe(&mut self, now: Duration) -> Option<Request> {
        let host = self.hosts.choose(now, true, None)?;
        let (name, line) = self.blocked.take_probe(now)?;
        let request = self.send(line, host);
        self.blocked.sent_probe(request.id, name);
        Some(request)
    }

    /// Moves the lines of blocked indices out of a request; returns the other lines.
    fn hold_back_blocked(&mut self, request: InFlight) -> Option<InFlight> {
        let is_blocked = |line: &usize| self.blocked.contains(request.batch.index_name(*line));
        let (blocked, open): (Vec<_>, Vec<_>) = (0..request.lines()).partition(is_blocked);
        if blocked.is_empty() {
            return Some(request);
        }
        for (index, lines) in by_index(&request.batch, &blocked) {
            self.waiting.extend(self.blocked.keep(index, request.part(lines)));
        }
        (!open.is_empty()).then(|| request.part(open))
    }

    /// Truncates a request to the size that the store takes; returns the lines that were cut off.
    fn split_off_excess(&self, request: &mut InFlight) -> Option<InFlight> {
        let allowed = self.size.allowed().filter(|allowed| request.batch.body().len() > *allowed)?;
        let fitting = request.batch.lines_within(allowed).max(1);
        if fitting >= request.lines() {
            return None;
        }
        let excess = request.part(fitting..request.lines());
        *request = request.part(0..fitting);
        Some(excess)
    }

    /// When [`Delivery::next`] will return a request that it does not return now, unless an answer comes before.
    #[must_use]
    pub fn next_at(&self) -> Option<Duration> {
        let waiting = self.waiting.iter().map(|request| request.not_before);
        let earliest = waiting.chain(self.blocked.probe_at()).min()?;
        Some(earliest.max(self.hosts.free_at()?))
    }
}

/// Lines of a batch, grouped by index name.
fn by_index<'b>(batch: &'b Batch, lines: &[usize]) -> BTreeMap<&'b str, Vec<usize>> {
    let mut by_index = BTreeMap::<_, Vec<_>>::new();
    for line in lines {
        by_index.entry(batch.index_name(*line)).or_default().push(*line);
    }
    by_index
}

#[cfg(test)]
mod tests;
