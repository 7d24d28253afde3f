//! What an answer means for the request's lines and for the host that gave it.
//!
//! [`judge`] is a function of the answer, the [request](InFlight) with its history, and the store's health as
//! [`Evidence`]. `tests/verdicts.rs` is its table, with a row for each case, and ADR 11 has the reasons.

use std::time::Duration;

use store::{Cause, CauseKind, Disposition, WriteError};

use super::hosts::HostVerdict::{self, Answered, Failed, Refused, Slowed, Took, Unknown};
use super::in_flight::{InFlight, State};

/// A request is bisected at this many failures in a row, if the store took others in between or there is room to try.
const BISECT_AT_FAILURES: u32 = 3;

/// There is room to bisect without evidence while delivery holds fewer requests than this.
pub(super) const TRIAL_REQUESTS_MAX: usize = 32;

/// After this many rejections the next one needs no evidence but that the store ever took anything.
const REJECTIONS_MAX: u32 = 5;

/// Maximum number of failures in a row that are the requests' own fault. When a store goes down, its suspects fail too.
const OWN_FAULTS_MAX: u32 = 64;

/// An answer: a disposition for each line, or no usable answer.
pub(super) type Answer = Result<Vec<Disposition>, WriteError>;

/// What the store took, in the order of what it proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Taken {
    /// Nothing ever.
    Nothing,
    /// Something, but nothing that was sent after the request's last failure.
    Before,
    /// Something that was sent after the request's last failure.
    Since,
    /// The same, and lines in each index of those that failed.
    SinceInIndex,
}

/// The store's health, as far as it bears on one request, and the limits for poison.
#[derive(Clone, Copy, Debug)]
pub(super) struct Evidence {
    pub(super) now: Duration,
    pub(super) poison_attempts: u32,
    pub(super) poison_span: Duration,
    pub(super) taken: Taken,
    /// Whether another request failed since this one's last failure, perhaps by the store's fault.
    pub(super) others_failed: bool,
    /// Failures in a row that were the requests' own fault, since the store took something.
    pub(super) own_faults: u32,
    /// Requests that delivery holds, apart from this one and from those of blocked indices.
    pub(super) requests: usize,
}

/// What to do after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Verdict<'a> {
    pub(super) host: HostVerdict<'a>,
    /// For the lines that failed: all of a request without a usable answer, else those with [`LineVerdict::Fail`].
    pub(super) next: Next,
    /// The state of the lines that failed.
    pub(super) state: State,
}

/// What becomes of the lines that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// No line failed.
    Settle,
    /// Retry as soon as a host is free, another one if possible.
    Retry,
    /// Retry after the request's own backoff.
    RetryLater,
    /// Retry in two halves.
    Bisect,
    /// Retry in two halves after the request's own backoff.
    BisectLater,
    /// Retry after the request's own backoff, and report delivery as paused until the store accepts something.
    Pause,
    /// Never retry.
    DeadLetter,
}

/// What becomes of a line that has its own answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LineVerdict {
    /// It is stored or a dead letter.
    Settle,
    /// Its index accepts no lines: block the index.
    Block,
    /// The store fails over it: [`Verdict::next`] decides.
    Fail,
    /// The host has too much to do: retry after a backoff, with a new history.
    Busy,
    /// Retry after a backoff, with a new history.
    Retry,
}

impl LineVerdict {
    pub(super) fn new(disposition: &Disposition) -> Self {
        use CauseKind::{Address, Block, Busy, Failing, MissingIndex, NotInPlace, Rights, ShardLimit};
        let Disposition::Retry(cause) = disposition else { return Self::Settle };
        match cause.kind {
            Rights | Block | MissingIndex | ShardLimit | NotInPlace | Address => Self::Block,
            Failing => Self::Fail,
            Busy => Self::Busy,
            _ => Self::Retry,
        }
    }
}

/// Judges the answer to a request.
pub(super) fn judge<'a>(answer: &'a Answer, request: &InFlight, store: &Evidence) -> Verdict<'a> {
    let may_bisect = request.lines() > 1;
    let may_try = may_bisect && store.requests < TRIAL_REQUESTS_MAX;
    let verdict = |host, next| Verdict { host, next, state: request.state };
    match answer {
        Ok(dispositions) => judge_lines(dispositions, request, store),
        Err(WriteError::Unavailable(cause)) if cause.kind == CauseKind::Busy => verdict(Failed(cause), Next::Retry),
        Err(WriteError::Unavailable(cause)) => judge_failure(cause, may_try, request, store),
        // Fewer lines have a shorter answer.
        Err(WriteError::ResponseTooLong(cause)) if may_try => verdict(Failed(cause), Next::Bisect),
        Err(WriteError::ResponseTooLong(cause)) => verdict(Failed(cause), Next::Retry),
        Err(WriteError::Refused(cause)) => verdict(Refused(cause), Next::Retry),
        Err(WriteError::TooLarge(cause)) => judge_rejection(cause, may_bisect, request, store),
        Err(WriteError::Rejected(cause)) => judge_rejection(cause, may_try, request, store),
    }
}

/// Judges an answer for each line.
fn judge_lines<'a>(dispositions: &'a [Disposition], request: &InFlight, store: &Evidence) -> Verdict<'a> {
    let (mut counts, mut first_cause) = ([0_usize; 5], None);
    for disposition in dispositions {
        let line = LineVerdict::new(disposition);
        counts[line as usize] += 1;
        if let (Disposition::Retry(cause), true) = (disposition, line != LineVerdict::Block) {
            first_cause.get_or_insert(cause);
        }
    }
    let [settled, _, failed, busy, _] = counts;
    let state = if failed > 0 { request.state.after_failure(store) } else { request.state };
    let host = match first_cause {
        // A blocked index says nothing about the host.
        None if settled == 0 => Answered,
        Some(_) if settled > 0 && busy > 0 => Slowed,
        Some(cause) if settled == 0 && cause.kind == CauseKind::Failing && state.is_at_fault(store) => Unknown,
        Some(cause) if settled == 0 => Failed(cause),
        _ => Took,
    };
    if failed == 0 {
        return Verdict { host, next: Next::Settle, state };
    }
    let state = state.after_own_error(host, store);
    Verdict { host, next: if state.is_proven(store) { Next::DeadLetter } else { Next::RetryLater }, state }
}

/// Judges a request without a usable answer.
fn judge_failure<'a>(cause: &'a Cause, may_try: bool, request: &InFlight, store: &Evidence) -> Verdict<'a> {
    let state = request.state.after_failure(store);
    let is_own = state.is_at_fault(store);
    let host = if is_own { Unknown } else { Failed(cause) };
    let next = if is_own { Next::RetryLater } else { Next::Retry };
    if request.lines() == 1 {
        let is_error = cause.kind == CauseKind::Failing;
        let state = if is_error { state.after_own_error(host, store) } else { state };
        return Verdict { host, next: if is_error && state.is_proven(store) { Next::DeadLetter } else { next }, state };
    }
    let is_repeated = request.failures + 1 >= BISECT_AT_FAILURES;
    let is_tried = may_try && is_repeated && matches!(cause.kind, CauseKind::Failing | CauseKind::TimedOut);
    let next = match is_own {
        true if is_tried || state.failures() >= BISECT_AT_FAILURES => Next::BisectLater,
        false if is_tried => Next::Bisect,
        _ => next,
    };
    Verdict { host, next, state }
}

/// Judges a request that the store rejects as it is, or for its size; `may_try` is whether to bisect without evidence.
fn judge_rejection<'a>(cause: &'a Cause, may_try: bool, request: &InFlight, store: &Evidence) -> Verdict<'a> {
    let is_alone = request.lines() == 1;
    // The evidence that the request is at fault and not the store.
    let needed = |times| if times < REJECTIONS_MAX { Taken::Since } else { Taken::Before };
    let times = match request.state {
        State::Rejected { times } if store.taken < needed(times) => times,
        State::Rejected { .. } | State::Invalid => {
            let next = if is_alone { Next::DeadLetter } else { Next::Bisect };
            return Verdict { host: Answered, next, state: State::Invalid };
        }
        _ => 0,
    };
    Verdict {
        // The store may reject everything: an ejected host is not sent line after line.
        host: if is_alone && times > 0 { Refused(cause) } else { Answered },
        next: if may_try { Next::Bisect } else { Next::Pause },
        state: State::Rejected { times: times.saturating_add(1) },
    }
}

impl State {
    /// After a failure: the request's own fault if the store took others since the last one.
    fn after_failure(self, store: &Evidence) -> Self {
        match self {
            _ if store.taken < Taken::Since => self,
            Self::Clear => Self::Suspect { failures: 2 },
            Self::Suspect { failures } => Self::Suspect { failures: failures.saturating_add(1) },
            Self::Rejected { .. } => Self::Invalid,
            Self::Poison { .. } | Self::Invalid => self,
        }
    }

    /// After the store's own error for each line by itself. Counting starts over if anything else failed.
    fn after_own_error(self, host: HostVerdict<'_>, store: &Evidence) -> Self {
        let is_unsound = store.others_failed || matches!(host, Failed(_));
        match self {
            Self::Poison { .. } if is_unsound => Self::Suspect { failures: self.failures() },
            _ if is_unsound || store.taken < Taken::SinceInIndex => self,
            Self::Poison { failures, since } => Self::Poison { failures: failures.saturating_add(1), since },
            _ => Self::Poison { failures: 1, since: store.now },
        }
    }

    /// Failures by its own fault. Poison does not count the first; an invalid request is bisected at once.
    fn failures(self) -> u32 {
        match self {
            Self::Suspect { failures } => failures,
            Self::Poison { failures, .. } => failures.saturating_add(1),
            Self::Invalid => BISECT_AT_FAILURES,
            Self::Clear | Self::Rejected { .. } => 0,
        }
    }

    /// Whether a failure is the request's own fault and not the store's.
    fn is_at_fault(self, store: &Evidence) -> bool {
        self.failures() > 0 && store.own_faults < OWN_FAULTS_MAX
    }

    /// Whether the store fails over these lines for certain.
    fn is_proven(self, store: &Evidence) -> bool {
        let Self::Poison { failures, since } = self else { return false };
        failures >= store.poison_attempts && store.now.saturating_sub(since) >= store.poison_span
    }
}
