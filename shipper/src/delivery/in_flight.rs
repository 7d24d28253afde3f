//! A batch on its way, and what became of it so far.

use std::time::Duration;

use store::Batch;

use super::hosts::HostId;

/// Names a request on its way. Later ones are greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InFlightId(pub(super) u64);

/// Lines that go together.
#[derive(Debug)]
pub(super) struct InFlight {
    pub(super) batch: Batch,
    /// How often it was sent.
    pub(super) attempts: u32,
    pub(super) not_before: Duration,
    /// How often in a row it failed.
    pub(super) failures: u32,
    /// It failed again though the store took others: its failures are taken for its own fault from then on.
    pub(super) is_suspect: bool,
    /// How often it failed though the store took others.
    pub(super) contradicted: u32,
    /// The mark at its last failure.
    pub(super) last_failed: Option<u64>,
    /// How often the store rejected it as it was, which says more than that it failed,
    pub(super) rejections: u32,
    /// and the mark at the first time.
    pub(super) first_rejected: Option<u64>,
    /// Where it failed last.
    pub(super) failed_at: Option<HostId>,
    /// How often its lines were answered with an error of the store's own, though the store was sound; since when.
    pub(super) doubts: u32,
    pub(super) doubted_since: Duration,
}

impl InFlight {
    pub(super) fn new(batch: Batch) -> Self {
        Self {
            batch,
            attempts: 0,
            not_before: Duration::ZERO,
            failures: 0,
            is_suspect: false,
            contradicted: 0,
            last_failed: None,
            rejections: 0,
            first_rejected: None,
            failed_at: None,
            doubts: 0,
            doubted_since: Duration::ZERO,
        }
    }

    pub(super) fn lines(&self) -> usize {
        self.batch.lines().len()
    }

    /// It failed, and `mark` is the next request's number.
    pub(super) fn fail(&mut self, mark: u64, host: HostId) {
        self.failures = self.failures.saturating_add(1);
        self.last_failed = Some(mark);
        self.failed_at = Some(host);
    }

    /// The store does not take it as it is.
    pub(super) fn reject(&mut self, mark: u64, host: HostId) {
        self.fail(mark, host);
        self.rejections = self.rejections.saturating_add(1);
        self.first_rejected.get_or_insert(mark);
    }

    /// Some of its lines, with its history. They are copied: a part must not keep the bytes of the whole, which nobody
    /// would count any more.
    pub(super) fn part(&self, places: impl IntoIterator<Item = usize>) -> Self {
        Self { batch: self.batch.select(places), ..*self }
    }
}
