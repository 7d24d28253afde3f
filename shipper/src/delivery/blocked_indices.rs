//! Indices of which the store takes no lines while it takes others: read-only, closed, not there and not to be made.
//!
//! Their lines wait here, by index, and hold up no others. Whether an index takes lines again a *probe* tells: one of its
//! lines, sent like any other, one at a time for all indices. A probe that is refused is followed by that of the next
//! index; after [`PROBES_IN_A_ROW`], or when all were asked, all rest for a backoff. So however many indices are shut, and
//! however many lines wait, few requests go there.
//!
//! What waits here is part of what is in flight: at that bound nothing is read any more, and then everything waits.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use store::{Cause, CauseKind};

use super::DeliveryError;
use super::backoff::Backoff;
use super::in_flight::{InFlight, InFlightId};

/// So many indices are asked between two rests.
const PROBES_IN_A_ROW: usize = 32;

/// What of an index is kept back.
#[derive(Debug)]
struct Index {
    cause: Cause,
    parcels: VecDeque<InFlight>,
}

/// What waits for indices that take no lines, as it is seen from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockedReport {
    /// How many indices.
    pub indices: usize,
    /// How many lines, without the one that is on its way as a probe.
    pub lines: usize,
    /// Why, of one of them, with its name.
    pub delivery_error: DeliveryError,
}

/// What a probe's answer says of its index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Probed {
    /// It takes lines.
    Open,
    /// It takes none, as the store says.
    Refused(Cause),
    /// Nothing.
    Unknown,
}

/// All indices that take no lines.
#[derive(Debug)]
pub(super) struct BlockedIndices {
    backoff: Backoff,
    indices: HashMap<String, Index>,
    /// Their names, the one that is asked next at the front.
    order: VecDeque<String>,
    lines: usize,
    /// The mark when the last of them was shut.
    since: u64,
    /// Rests in a row after which none was open.
    failures: u32,
    rest_until: Duration,
    /// Probes since the last rest.
    asked: usize,
    probe: Option<(InFlightId, String)>,
}

impl BlockedIndices {
    pub(super) fn new(backoff: Backoff) -> Self {
        Self {
            backoff,
            indices: HashMap::new(),
            order: VecDeque::new(),
            lines: 0,
            since: 0,
            failures: 0,
            rest_until: Duration::ZERO,
            asked: 0,
            probe: None,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.indices.is_empty()
    }

    /// Whether no line of this index is to go.
    pub(super) fn has(&self, index: &str) -> bool {
        self.indices.contains_key(index)
    }

    /// The mark when the last of those that are shut was.
    pub(super) fn since(&self) -> u64 {
        self.since
    }

    /// The store refused lines of an index, and `mark` is the next request's number.
    pub(super) fn shut(&mut self, name: &str, cause: Cause, mark: u64, now: Duration, random: u64) {
        if let Some(index) = self.indices.get_mut(name) {
            index.cause = cause;
            return;
        }
        self.since = mark;
        if self.indices.is_empty() {
            self.failures = 1;
            self.asked = 0;
            self.rest_until = now + self.backoff.after(1, random);
        }
        self.indices.insert(name.to_owned(), Index { cause, parcels: VecDeque::new() });
        self.order.push_back(name.to_owned());
    }

    /// Keeps lines of a shut index; gives them back where it is not shut.
    pub(super) fn keep(&mut self, name: &str, parcel: InFlight) -> Option<InFlight> {
        let Some(index) = self.indices.get_mut(name) else { return Some(parcel) };
        self.lines += parcel.lines();
        index.parcels.push_back(parcel);
        None
    }

    /// When a probe may go; none while one is on its way.
    pub(super) fn probe_at(&self) -> Option<Duration> {
        (self.probe.is_none() && self.lines > 0).then_some(self.rest_until)
    }

    /// A line to probe with, if that is due, and its index.
    pub(super) fn take_probe(&mut self, now: Duration) -> Option<(String, InFlight)> {
        if self.probe_at().is_none_or(|at| at > now) {
            return None;
        }
        for _ in 0..self.order.len() {
            let name = self.order.pop_front()?;
            self.order.push_back(name.clone());
            let parcels = &mut self.indices.get_mut(&name)?.parcels;
            // Its only line is on its way otherwise, and may come back.
            let Some(parcel) = parcels.pop_front() else { continue };
            let probe = parcel.part(0..1);
            if parcel.lines() > 1 {
                parcels.push_front(parcel.part(1..parcel.lines()));
            }
            self.lines -= 1;
            return Some((name, probe));
        }
        None
    }

    /// A probe is on its way.
    pub(super) fn sent_probe(&mut self, id: InFlightId, name: String) {
        self.probe = Some((id, name));
    }

    /// The index that this request was a probe of; it is on its way no more.
    pub(super) fn answered(&mut self, id: InFlightId) -> Option<String> {
        self.probe.take_if(|(probe, _)| *probe == id).map(|(_, name)| name)
    }

    /// Takes what a probe says; gives what may go now.
    pub(super) fn judge(&mut self, name: &str, probed: Probed, now: Duration, random: u64) -> VecDeque<InFlight> {
        match probed {
            Probed::Open => return self.open(name, now),
            Probed::Refused(cause) => {
                if let Some(index) = self.indices.get_mut(name) {
                    index.cause = cause;
                }
                self.asked += 1;
                if self.asked >= self.indices.len().min(PROBES_IN_A_ROW) {
                    self.rest(now, random);
                }
            }
            // The line goes its own way; where it was the only one, nobody would ask again.
            Probed::Unknown if self.indices.get(name).is_some_and(|index| index.parcels.is_empty()) => {
                return self.open(name, now);
            }
            Probed::Unknown => self.rest(now, random),
        }
        VecDeque::new()
    }

    fn rest(&mut self, now: Duration, random: u64) {
        self.failures = self.failures.saturating_add(1);
        self.asked = 0;
        self.rest_until = now + self.backoff.after(self.failures, random);
    }

    /// An index takes lines: the others are asked at once, since what was mended may be mended for all.
    fn open(&mut self, name: &str, now: Duration) -> VecDeque<InFlight> {
        self.order.retain(|other| other != name);
        let parcels = self.indices.remove(name).map(|index| index.parcels).unwrap_or_default();
        self.lines -= parcels.iter().map(InFlight::lines).sum::<usize>();
        self.failures = 0;
        self.asked = 0;
        self.rest_until = now;
        parcels
    }

    /// Nothing to tell where none is shut.
    pub(super) fn report(&self) -> Option<BlockedReport> {
        let name = self.indices.keys().min()?;
        let cause = &self.indices.get(name)?.cause;
        let more = match self.indices.len() - 1 {
            0 => String::new(),
            1 => " (and another index)".to_owned(),
            more => format!(" (and {more} more indices)"),
        };
        let told =
            Cause::new(cause.status, format!("no lines of {name}{more}: {}", cause.reason)).with_kind(cause.kind);
        let delivery_error = DeliveryError { cause: told, refused: true };
        Some(BlockedReport { indices: self.indices.len(), lines: self.lines, delivery_error })
    }
}

/// Whether a line that goes again was refused for its index's sake: its store's operator has to mend something.
pub(super) fn is_refusal(kind: CauseKind) -> bool {
    matches!(
        kind,
        CauseKind::Rights
            | CauseKind::Block
            | CauseKind::MissingIndex
            | CauseKind::ShardLimit
            | CauseKind::NotInPlace
            | CauseKind::Address
    )
}
