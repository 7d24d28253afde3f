//! State of the pipeline for metrics, the log and `/readyz`, apart from the ledger's counts.

use crate::dead_letters::{self, DeadLetterCounts};
use crate::delivery::hosts::HostReport;
use crate::delivery::{BlockedReport, DeliveryError, RetryCounts};
use crate::document::Kind;
use crate::files::FileReport;
use crate::record::{Change, ChangeSet, Flaw};

/// Counts of lines by what they were when they were read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KindCounts {
    /// Records of the contract.
    pub record: u64,
    /// JSON objects of another shape.
    pub foreign: u64,
    /// Wrapped lines by flaw, in the order of [`Flaw::WRAPPED`].
    pub wrapped: [u64; Flaw::WRAPPED.len()],
    /// Changed lines by change, in the order of [`Change::ALL`]. A line may have several.
    pub changed: [u64; Change::ALL.len()],
}

/// State of the pipeline, apart from the ledger's counts.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Counts of lines by what they were.
    pub kinds: KindCounts,
    /// Number of requests sent.
    pub requests: u64,
    /// Retries since the start.
    pub retries: RetryCounts,
    /// Why the store accepts nothing, if so.
    pub delivery_error: Option<DeliveryError>,
    /// Indices that accept no lines, and how many lines wait for them.
    pub blocked: Option<BlockedReport>,
    /// The store's hosts.
    pub hosts: Vec<HostReport>,
    /// Bytes of all batches that are being built or delivered.
    pub in_flight_bytes: usize,
    /// Files that are followed, and those that are not read.
    pub files: FileReport,
    /// Why the state directory can't be written, while that is so.
    pub disk_error: Option<String>,
    /// Dead letters and their limit, at which nothing is sent.
    pub dead_letters: DeadLetterCounts,
}

/// Why lines are pending, in the same words in metrics, log and `/readyz`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    /// One of a closed set: [`store::CauseKind`], [`dead_letters::CAUSE`] or `disk`.
    pub cause: &'static str,
    /// A sentence.
    pub reason: String,
}

impl Report {
    /// Why lines can't be delivered, while that is so: all of them, or those of an index.
    #[must_use]
    pub fn obstacle(&self) -> Option<Obstacle> {
        if self.dead_letters.is_full {
            return Some(Obstacle { cause: dead_letters::CAUSE, reason: self.dead_letters.no_room() });
        }
        let obstacle_of_store = |error: &DeliveryError, summary: &str| Obstacle {
            cause: error.cause.kind.as_str(),
            reason: format!("{summary}: {}", error.cause),
        };
        match (&self.delivery_error, &self.disk_error, &self.blocked) {
            (Some(error), _, _) if error.refused => Some(obstacle_of_store(error, "the store rejects writes")),
            (Some(error), _, _) => Some(obstacle_of_store(error, "the store does not respond")),
            (None, Some(error), _) => {
                let reason = format!("the state directory can't be written: {error}");
                Some(Obstacle { cause: "disk", reason })
            }
            (None, None, Some(blocked)) => Some(obstacle_of_store(&blocked.delivery_error, "other indices take lines")),
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
