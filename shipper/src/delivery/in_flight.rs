//! A request with its history.

use std::time::Duration;

use store::Batch;

use super::hosts::HostId;

/// What earlier answers say about a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum State {
    /// Its failures, if any, may be the store's fault.
    #[default]
    Clear,
    /// It failed this often, while the store took other requests that were sent in between.
    Suspect { failures: u32 },
    /// A suspect that got the store's own error this often, each time after the store wrote into the same index and
    /// nothing else failed.
    Poison { failures: u32, since: Duration },
    /// The store rejected it this often.
    Rejected { times: u32 },
    /// It was rejected and failed again, although the store took others since: a line of it is invalid.
    Invalid,
}

/// Sequence number of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InFlightId(pub(super) u64);

/// Lines that are sent together, waiting or sent.
#[derive(Debug)]
pub(super) struct InFlight {
    pub(super) batch: Batch,
    /// How often the lines were sent.
    pub(super) attempts: u32,
    pub(super) not_before: Duration,
    /// Failures in a row.
    pub(super) failures: u32,
    /// The mark from which on what the store takes is evidence: at the last failure, or at the first of its rejections.
    pub(super) since: Option<u64>,
    /// The host that failed last, chosen last for the next try.
    pub(super) avoid: Option<HostId>,
    pub(super) state: State,
}

impl InFlight {
    /// Lines without a history, sent `attempts` times.
    pub(super) fn new(batch: Batch, attempts: u32) -> Self {
        Self { batch, attempts, not_before: Duration::ZERO, failures: 0, since: None, avoid: None, state: State::Clear }
    }

    pub(super) fn lines(&self) -> usize {
        self.batch.lines().len()
    }

    /// Notes a failure; `mark` is the next request's number.
    pub(super) fn fail(&mut self, mark: u64, state: State) {
        self.failures = self.failures.saturating_add(1);
        if !matches!((self.state, state), (State::Rejected { .. }, State::Rejected { .. })) {
            self.since = Some(mark);
        }
        self.state = state;
    }

    /// Some of its lines, with its history. They are copied, since a part must not keep the bytes of the whole, which
    /// are no longer counted.
    pub(super) fn part(&self, lines: impl IntoIterator<Item = usize>) -> Self {
        Self { batch: self.batch.select(lines), ..*self }
    }
}
