//! What the pipeline tells of itself besides the ledger's books.

use crate::dead_letters::DeadLetterCounts;
use crate::delivery::hosts::HostReport;
use crate::delivery::{RetryCounts, Trouble};
use crate::document::Kind;
use crate::files::FileCounts;
use crate::record::Flaw;

/// Lines by what they were when they came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KindCounts {
    /// They met the contract.
    pub record: u64,
    /// JSON objects of another shape.
    pub foreign: u64,
    /// Wrapped, by flaw, in the order of [`Flaw::ALL`].
    pub wrapped: [u64; Flaw::ALL.len()],
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
    /// Why the store gets nothing, while that is so.
    pub trouble: Option<Trouble>,
    /// The store's hosts.
    pub hosts: Vec<HostReport>,
    /// Bytes of all batches that are built or under way.
    pub in_flight_bytes: usize,
    /// What was seen of files that can't be counted in lines.
    pub files: FileCounts,
    /// What the disk said last, while it says no.
    pub disk_error: Option<String>,
    /// The dead letters at rest, and their bound; at it nothing is sent.
    pub dead_letters: DeadLetterCounts,
}

impl KindCounts {
    pub(super) fn add(&mut self, kind: Kind) {
        match kind {
            Kind::Record => self.record += 1,
            Kind::Foreign => self.foreign += 1,
            Kind::Wrapped(flaw) => self.wrapped[flaw as usize] += 1,
        }
    }
}
