//! Expected counts of a process, from the answers of the modelled store. Each count is compared separately: a line that
//! is counted under another name leaves every sum correct.

use std::collections::HashSet;

use shipper::delivery::RetryCounts;
use shipper::ledger::Counts;
use shipper::pipeline::Report;
use store::{CauseKind, Disposition, LineId, WriteError};

use super::disk::SimDisk;
use super::oracle::dead_letters;

/// Answers that one process got.
pub(super) struct Tally {
    requests: u64,
    stored: u64,
    already_stored: u64,
    retries: RetryCounts,
    /// Lines that were dead letters before it started.
    dead_before: HashSet<LineId>,
}

impl Tally {
    pub(super) fn new(disk: &SimDisk) -> Self {
        let dead_before = dead_letters(disk).into_iter().map(|(id, _)| id).collect();
        Self { requests: 0, stored: 0, already_stored: 0, retries: RetryCounts::default(), dead_before }
    }

    pub(super) fn sent(&mut self, requests: usize) {
        self.requests += requests as u64;
    }

    /// Adds the answer to a request of `lines` lines.
    pub(super) fn answered(&mut self, lines: usize, answer: &Result<Vec<Disposition>, WriteError>) {
        match answer {
            Ok(dispositions) if dispositions.len() == lines => self.settled(dispositions),
            Ok(_) | Err(WriteError::Unavailable(_) | WriteError::ResponseTooLong(_)) => self.retries.unavailable += 1,
            Err(WriteError::Refused(_)) => self.retries.refused += 1,
            Err(WriteError::TooLarge(_)) => self.retries.too_large += 1,
            Err(WriteError::Rejected(_)) => self.retries.rejected += 1,
        }
    }

    fn settled(&mut self, dispositions: &[Disposition]) {
        let count = |is: fn(&Disposition) -> bool| dispositions.iter().filter(|one| is(one)).count() as u64;
        self.stored += count(|one| *one == Disposition::Stored);
        self.already_stored += count(|one| *one == Disposition::AlreadyStored);
        let of_index = |one: &Disposition| matches!(one, Disposition::Retry(cause) if matches!(cause.kind, CauseKind::Block | CauseKind::ShardLimit));
        match dispositions.iter().all(of_index) {
            true => self.retries.refused += 1,
            false => self.retries.lines += count(|one| matches!(one, Disposition::Retry(_))),
        }
    }

    /// Asserts that the process counts what it was answered.
    pub(super) fn judge(&self, counts: &Counts, report: &Report, may_lose: bool) {
        assert_eq!(
            (counts.stored, counts.already_stored, report.requests, report.retries),
            (self.stored, self.already_stored, self.requests, self.retries),
            "stored, already stored, requests and retries are not what the store answered"
        );
        assert!(may_lose || counts.dropped == 0, "{counts:?}");
    }

    /// Asserts that it counts the dead letters that it wrote, once all are on disk. Those of an earlier process are
    /// counted when their lines are read again.
    pub(super) fn judge_dead_letters(&self, counts: &Counts, disk: &SimDisk) {
        let dead: HashSet<_> = dead_letters(disk).into_iter().map(|(id, _)| id).collect();
        let written = dead.difference(&self.dead_before).count() as u64;
        let most = written + self.dead_before.len() as u64;
        assert!((written..=most).contains(&counts.dead_lettered), "{written} letters were written: {counts:?}");
    }
}
