//! Sees batches to their store: what to send when and to which host, and what an answer means for each line.
//!
//! It does no I/O, and gets time and randomness from outside. A batch becomes a *parcel*; a parcel is sent, and its
//! answer settles some lines and leaves others, which go again. Nothing is given up here: a line leaves when it is stored
//! or a dead letter, and not before. Order is not promised: what fails goes behind what waits.
//!
//! In flow order: `parcel` is what waits, `request_size` how large a request may be, [`hosts`] who gets the next, `answers`
//! what comes of it, and `evidence` what the store took lately.
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

mod answers;
mod backoff;
mod evidence;
pub mod hosts;
mod parcel;
mod request_size;

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use store::{Batch, Cause, Disposition};

use backoff::Backoff;
use evidence::Evidence;
use hosts::{HostId, HostReport, Hosts, Ticket};
use parcel::Parcel;
pub use parcel::ParcelId;
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
    pub id: ParcelId,
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
pub struct Trouble {
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
    waiting: VecDeque<Parcel>,
    sent: HashMap<ParcelId, (Parcel, Ticket)>,
    /// The next request's number: what evidence calls a mark.
    next_id: u64,
    bytes: usize,
    hosts: Hosts,
    size: RequestSize,
    evidence: Evidence,
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
            evidence: Evidence::default(),
            rejected: None,
            retries: RetryCounts::default(),
        }
    }

    /// Takes a batch.
    pub fn offer(&mut self, batch: Batch) {
        self.push_back(Parcel::new(batch));
    }

    fn push_back(&mut self, parcel: Parcel) {
        if parcel.lines() > 0 {
            self.bytes += parcel.batch.body().len();
            self.waiting.push_back(parcel);
        }
    }

    fn push_front(&mut self, parcel: Parcel) {
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
        self.waiting.is_empty() && self.sent.is_empty()
    }

    /// A body of more bytes is split before it goes; `None` while the store has taken any size.
    #[must_use]
    pub fn request_max_bytes(&self) -> Option<usize> {
        self.size.allowed()
    }

    /// Why the store gets nothing, while that is so.
    #[must_use]
    pub fn trouble(&self) -> Option<Trouble> {
        let rejected = || self.rejected.clone().map(|cause| Trouble { cause, refused: true });
        self.hosts.trouble().cloned().or_else(rejected)
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
        let place = self.waiting.iter().position(|parcel| parcel.not_before <= now)?;
        let parcel = &self.waiting[place];
        let host = self.hosts.choose(now, parcel.failures > 0, parcel.failed_at)?;
        let mut parcel = self.waiting.remove(place)?;
        if let Some(rest) = self.split_off_excess(&mut parcel) {
            self.waiting.insert(place, rest);
        }
        parcel.attempts += 1;
        let id = ParcelId(self.next_id);
        self.next_id += 1;
        let batch = parcel.batch.clone();
        let ticket = self.hosts.send(host);
        self.sent.insert(id, (parcel, ticket));
        Some(Request { id, host, batch })
    }

    /// Cuts a parcel to what a request may have; gives the rest.
    fn split_off_excess(&self, parcel: &mut Parcel) -> Option<Parcel> {
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
        let earliest = self.waiting.iter().map(|parcel| parcel.not_before).min()?;
        Some(earliest.max(self.hosts.free_at()?))
    }
}

#[cfg(test)]
mod tests;
