//! What the pipeline tells of itself besides the ledger's books.

use crate::dead_letters::{self, DeadLetterCounts};
use crate::delivery::hosts::HostReport;
use crate::delivery::{BlockedReport, DeliveryError, RetryCounts};
use crate::document::Kind;
use crate::files::FileReport;
use crate::record::{Change, ChangeSet, Flaw};

/// Lines by what they were when they came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KindCounts {
    /// They met the contract.
    pub record: u64,
    /// JSON objects of another shape.
    pub foreign: u64,
    /// Wrapped, by flaw, in the order of [`Flaw::WRAPPED`].
    pub wrapped: [u64; Flaw::WRAPPED.len()],
    /// Changed, by change, in the order of [`Change::ALL`]; a line may have several.
    pub changed: [u64; Change::ALL.len()],
}

/// What the pipeline tells of itself besides the ledger's books.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Lines by what they were.
    pub kinds: KindCounts,
    /// Requests sent.
    pub requests: u64,
    /// What went again.
    pub retries: RetryCounts,
    /// Why the store takes nothing, while that is so.
    pub delivery_error: Option<DeliveryError>,
    /// What waits for indices that take no lines, whether or not others go on.
    pub shut: Option<BlockedReport>,
    /// The store's hosts.
    pub hosts: Vec<HostReport>,
    /// Bytes of all batches that are built or under way.
    pub in_flight_bytes: usize,
    /// The files that are followed, and those that are not read.
    pub files: FileReport,
    /// What the disk said last, while it says no.
    pub disk_error: Option<String>,
    /// The dead letters at rest, and their bound; at it nothing is sent.
    pub dead_letters: DeadLetterCounts,
}

/// Why lines wait: the same word in the metrics, in the log and in what `/readyz` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    /// One of a closed set: those of [`store::CauseKind`], [`dead_letters::CAUSE`] and `disk`.
    pub cause: &'static str,
    /// A sentence.
    pub reason: String,
}

impl Report {
    /// Why lines wait, while they do: all of them, or those of an index.
    #[must_use]
    pub fn obstacle(&self) -> Option<Obstacle> {
        if self.dead_letters.is_full {
            return Some(Obstacle { cause: dead_letters::CAUSE, reason: self.dead_letters.no_room() });
        }
        let of_store = |delivery_error: &DeliveryError, said: &str| Obstacle {
            cause: delivery_error.cause.kind.as_str(),
            reason: format!("{said}: {}", delivery_error.cause),
        };
        match (&self.delivery_error, &self.disk_error, &self.shut) {
            (Some(delivery_error), _, _) if delivery_error.refused => {
                Some(of_store(delivery_error, "the store refuses writes"))
            }
            (Some(delivery_error), _, _) => Some(of_store(delivery_error, "the store does not answer")),
            (None, Some(error), _) => {
                let reason = format!("the state directory can't be written: {error}");
                Some(Obstacle { cause: "disk", reason })
            }
            (None, None, Some(shut)) => {
                Some(of_store(&shut.delivery_error, "others go on, but the store refuses some"))
            }
            (None, None, None) => None,
        }
    }
}

impl KindCounts {
    #[inline]
    pub(super) fn add(&mut self, kind: Kind, changes: ChangeSet) {
        if !changes.is_empty() {
            changes.iter().for_each(|change| self.changed[change as usize] += 1);
        }
        match kind {
            Kind::Record => self.record += 1,
            Kind::Foreign => self.foreign += 1,
            Kind::Wrapped(flaw) => self.wrapped[flaw.wrapped_index()] += 1,
        }
    }
}
