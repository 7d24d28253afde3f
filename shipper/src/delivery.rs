//! Sees batches to their store: what to send when and to which host, and what an answer means for each line.
//!
//! It does no I/O, and gets time and randomness from outside. A batch becomes a *parcel*; a parcel is sent, and its
//! answer settles some lines and leaves others, which go again. Nothing is given up here: a line leaves when it is stored
//! or a dead letter, and not before. Order is not promised: what fails goes behind what waits.
//!
//! In flow order: `parcel` is what waits, `shut` what waits for an index, `request_size` how large a request may be,
//! [`hosts`] who gets the next, `answers` what comes of it, and `health` what the store took lately.
//!
//! * No answer, or a refusal of everything: the host is ejected for a backoff, and the parcel goes to another. With all
//!   hosts ejected the sink pauses.
//! * Too large: the parcel is split, and the size is remembered. Rejected as a whole: it is halved until the line that
//!   spoils it stands alone.
//! * A line that stands alone is a dead letter only when the store took others since it was first rejected, or took others
//!   before and rejects it several times. So a store that is down, or never takes anything, makes no dead letters.
//! * What fails again and again while others get through holds up no others: it goes by itself, ever smaller, behind them.
//!   A line that is answered with the store's own error (5xx but 502 to 504) is a dead letter after
//!   [`DeliverySettings::poison_attempts`] tries by itself over [`DeliverySettings::poison_span`], each with a line
//!   written into the same index before it and no failure but its own.
//! * Lines of an index that is refused by itself wait in `shut`, and others go on.

mod answers;
mod backoff;
mod blocked_indices;
mod health;
pub mod hosts;
mod in_flight;
mod request_size;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use store::{Batch, Cause, Disposition};

use backoff::Backoff;
use blocked_indices::BlockedIndices;
pub use blocked_indices::BlockedReport;
use health::Health;
use hosts::{HostId, HostReport, Hosts, Ticket};
use in_flight::InFlight;
pub use in_flight::InFlightId;
use request_size::RequestSize;

/// Parcels up to which one that fails is halved though nothing says that the store is well.
const HALVED_ON_TRIAL_MAX: usize = 32;

/// A parcel that failed so often in a row is halved: each time while others got through, or, on trial, in any case.
const HALVED_AFTER: u32 = 3;

/// A line alone that is rejected so often is a dead letter though nothing else came to go by, if the store ever took anything.
const GIVEN_UP_AFTER: u32 = 5;

/// How patient and how eager delivery is.
#[derive(Clone, Debug)]
pub struct DeliverySettings {
    /// The store's hosts, by name; one that is nameless where there are none.
    pub hosts: Vec<String>,
    /// Requests on their way at once, to each host.
    pub requests_in_flight: usize,
    /// The first backoff is between nothing and this.
    pub retry_min: Duration,
    /// No backoff is longer than this.
    pub retry_max: Duration,
    /// A line that the store fails over is given up after so many tries by itself,
    pub poison_attempts: u32,
    /// and not before this long.
    pub poison_span: Duration,
}

/// A request to send.
#[derive(Clone, Debug)]
pub struct Request {
    /// What its answer is to be given under.
    pub id: InFlightId,
    /// Who gets it.
    pub host: HostId,
    /// What it carries.
    pub batch: Batch,
}

/// Lines that an answer settled: a batch, and what became of each of its lines.
#[derive(Debug)]
pub struct Settled {
    /// The lines.
    pub batch: Batch,
    /// One for each line; [`Disposition::Retry`] for those that go again.
    pub dispositions: Vec<Disposition>,
    /// How often these lines were sent.
    pub attempts: u32,
}

/// Why a host, or the whole store, gets nothing at the moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryError {
    /// The store's words.
    pub cause: Cause,
    /// Its operator has to mend something: waiting alone does not help.
    pub refused: bool,
}

/// What went again, by cause, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RetryCounts {
    /// Requests without a usable answer.
    pub unavailable: u64,
    /// Requests that the store refused for a reason that its operator has to mend.
    pub refused: u64,
    /// Requests that were split because of their size.
    pub too_large: u64,
    /// Requests that the store rejected as they were.
    pub rejected: u64,
    /// Lines that the store could not take for the moment, of requests that it answered.
    pub lines: u64,
}

/// All parcels.
#[derive(Debug)]
pub struct Delivery {
    settings: DeliverySettings,
    backoff: Backoff,
    waiting: VecDeque<InFlight>,
    sent: HashMap<InFlightId, (InFlight, Ticket)>,
    /// The next request's number: what health calls a mark.
    next_id: u64,
    bytes: usize,
    hosts: Hosts,
    size: RequestSize,
    health: Health,
    shut: BlockedIndices,
    /// What the store said to a request that can't be made smaller, until it takes another.
    rejected: Option<Cause>,
    retries: RetryCounts,
}

impl Delivery {
    /// Nothing to deliver yet.
    #[must_use]
    pub fn new(settings: DeliverySettings) -> Self {
        let backoff = Backoff { min: settings.retry_min, max: settings.retry_max };
        Self {
            hosts: Hosts::new(&settings.hosts, settings.requests_in_flight, backoff),
            settings,
            backoff,
            waiting: VecDeque::new(),
            sent: HashMap::new(),
            next_id: 0,
            bytes: 0,
            size: RequestSize::default(),
            health: Health::default(),
            shut: BlockedIndices::new(backoff),
            rejected: None,
            retries: RetryCounts::default(),
        }
    }

    /// Takes a batch.
    pub fn offer(&mut self, batch: Batch) {
        self.push_back(InFlight::new(batch));
    }

    fn push_back(&mut self, parcel: InFlight) {
        if parcel.lines() > 0 {
            self.bytes += parcel.batch.body().len();
            self.waiting.push_back(parcel);
        }
    }

    fn push_front(&mut self, parcel: InFlight) {
        if parcel.lines() > 0 {
            self.bytes += parcel.batch.body().len();
            self.waiting.push_front(parcel);
        }
    }

    /// Bytes of all bodies that are here.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether nothing is here.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.is_all_shut() && self.shut.is_empty()
    }

    /// Whether nothing is here but what waits for indices that take no lines.
    fn is_all_shut(&self) -> bool {
        self.waiting.is_empty() && self.sent.is_empty()
    }

    /// A body of more bytes is split before it goes; `None` while the store has taken any size.
    #[must_use]
    pub fn request_max_bytes(&self) -> Option<usize> {
        self.size.allowed()
    }

    /// Why the store takes nothing, while that is so.
    #[must_use]
    pub fn delivery_error(&self) -> Option<DeliveryError> {
        let rejected = || self.rejected.clone().map(|cause| DeliveryError { cause, refused: true });
        // Until it takes something else, an index that is refused may be all of it.
        let is_all = || !self.health.is_taking_since(self.shut.since());
        let shut = || self.shut.report().filter(|_| is_all()).map(|shut| shut.delivery_error);
        self.hosts.delivery_error().cloned().or_else(rejected).or_else(shut)
    }

    /// What waits for indices that take no lines, while others go on.
    #[must_use]
    pub fn shut(&self) -> Option<BlockedReport> {
        self.shut.report()
    }

    /// Each host.
    #[must_use]
    pub fn hosts(&self) -> Vec<HostReport> {
        self.hosts.report()
    }

    /// What went again so far.
    #[must_use]
    pub fn retries(&self) -> RetryCounts {
        self.retries
    }

    /// The next request to send now, if there is one.
    pub fn next(&mut self, now: Duration) -> Option<Request> {
        if let Some(probe) = self.probe_shut(now) {
            return Some(probe);
        }
        loop {
            let place = self.waiting.iter().position(|parcel| parcel.not_before <= now)?;
            let parcel = &self.waiting[place];
            let host = self.hosts.choose(now, parcel.failures > 0, parcel.failed_at)?;
            let mut parcel = self.waiting.remove(place)?;
            if !self.shut.is_empty() {
                match self.keep_shut(parcel) {
                    Some(rest) => parcel = rest,
                    None => continue,
                }
            }
            if let Some(rest) = self.split_off_excess(&mut parcel) {
                self.waiting.insert(place, rest);
            }
            return Some(self.send(parcel, host));
        }
    }

    fn send(&mut self, mut parcel: InFlight, host: HostId) -> Request {
        parcel.attempts += 1;
        let id = InFlightId(self.next_id);
        self.next_id += 1;
        let batch = parcel.batch.clone();
        let ticket = self.hosts.send(host);
        self.sent.insert(id, (parcel, ticket));
        Request { id, host, batch }
    }

    /// A line of an index that took none, to see whether it does. It is no good probe of a host.
    fn probe_shut(&mut self, now: Duration) -> Option<Request> {
        self.shut.probe_at().filter(|at| *at <= now)?;
        let host = self.hosts.choose(now, true, None)?;
        let (name, line) = self.shut.take_probe(now)?;
        let request = self.send(line, host);
        self.shut.sent_probe(request.id, name);
        Some(request)
    }

    /// Keeps back the lines of indices that take none; gives the others.
    fn keep_shut(&mut self, parcel: InFlight) -> Option<InFlight> {
        let is_shut = |place: usize| self.shut.has(parcel.batch.index_name(place));
        let (shut, open): (Vec<_>, Vec<_>) = (0..parcel.lines()).partition(|place| is_shut(*place));
        if shut.is_empty() {
            return Some(parcel);
        }
        for (name, places) in by_index(&parcel.batch, &shut) {
            // It is shut, so that nothing comes back.
            if let Some(part) = self.shut.keep(name, parcel.part(places)) {
                self.waiting.push_back(part);
            }
        }
        (!open.is_empty()).then(|| parcel.part(open))
    }

    /// Cuts a parcel to what a request may have; gives the rest.
    fn split_off_excess(&self, parcel: &mut InFlight) -> Option<InFlight> {
        let allowed = self.size.allowed().filter(|allowed| parcel.batch.body().len() > *allowed)?;
        let fitting = parcel.batch.lines_within(allowed).max(1);
        if fitting >= parcel.lines() {
            return None;
        }
        let rest = parcel.part(fitting..parcel.lines());
        *parcel = parcel.part(0..fitting);
        Some(rest)
    }

    /// When [`Delivery::next`] will have something that it does not have now, unless an answer comes before.
    #[must_use]
    pub fn next_at(&self) -> Option<Duration> {
        let waiting = self.waiting.iter().map(|parcel| parcel.not_before);
        let earliest = waiting.chain(self.shut.probe_at()).min()?;
        Some(earliest.max(self.hosts.free_at()?))
    }
}

/// Places of a batch's lines, by their index.
fn by_index<'b>(batch: &'b Batch, places: &[usize]) -> BTreeMap<&'b str, Vec<usize>> {
    let mut by_index = BTreeMap::<_, Vec<_>>::new();
    for place in places {
        by_index.entry(batch.index_name(*place)).or_default().push(*place);
    }
    by_index
}

#[cfg(test)]
mod tests;
