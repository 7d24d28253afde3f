//! What became of the lines of one write.

/// What a store said of one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// It rests in the store, put there by this write.
    Stored,
    /// It was there before: an earlier write took it and its answer was lost.
    AlreadyStored,
    /// The store could not take it now and may take it later.
    Retry(Cause),
    /// The store will never take it as it is.
    DeadLetter(Cause),
}

/// A store's own words about a line or a request that it did not take.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Cause {
    /// The HTTP status of the item or request; 0 where there is none (no answer, the embedded store).
    pub status: u16,
    /// What kind of trouble it is.
    pub kind: CauseKind,
    /// The reason, at most [`Cause::MAX_REASON_BYTES`] long, without the line itself.
    pub reason: String,
}

impl Cause {
    /// Longer reasons are cut here.
    pub const MAX_REASON_BYTES: usize = 1024;

    /// A cause whose reason is cut to its bound, of the kind that its status tells.
    #[must_use]
    pub fn new(status: u16, reason: impl Into<String>) -> Self {
        let mut reason = reason.into();
        if reason.len() > Self::MAX_REASON_BYTES {
            let end = (0..=Self::MAX_REASON_BYTES).rev().find(|end| reason.is_char_boundary(*end)).unwrap_or(0);
            reason.truncate(end);
        }
        Self { status, kind: CauseKind::of_status(status), reason }
    }

    /// The same, of a kind that more than the status tells.
    #[must_use]
    pub fn of_kind(self, kind: CauseKind) -> Self {
        Self { kind, ..self }
    }
}

/// Kinds of trouble with a store: a closed set, for metrics and for what to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CauseKind {
    /// No connection, or none that brought an answer.
    Unreachable,
    /// No answer within the deadline.
    TimedOut,
    /// An answer that is cut, is not of the form, or speaks of another number of lines.
    Unreadable,
    /// Too much at once: 429, a full queue, a circuit breaker.
    Busy,
    /// Not all of it is there: 502, 503, 504.
    Unavailable,
    /// It fails over what it was given: any other 5xx.
    Failing,
    /// Credentials or rights: 401, 403, 407.
    Rights,
    /// An index or the cluster takes no writes: read-only, or a disk past its flood stage.
    Block,
    /// There is no such index, and none is made.
    MissingIndex,
    /// There is no room for another index's shards.
    ShardLimit,
    /// Pipeline or template are missing, foreign, or can't be put in place.
    NotInPlace,
    /// Something else that is not this store's API answers, or the address is wrong.
    Address,
    /// It takes no request of this size: 413.
    TooLarge,
    /// It does not take this request or line as it is: any other 4xx.
    Rejected,
    /// The embedded store's file or disk.
    Storage,
    /// The embedded store's file was deleted, moved or replaced while it was open.
    FileReplaced,
    /// The embedded store's folder is missing.
    FolderMissing,
}

impl CauseKind {
    /// All of them.
    pub const ALL: [Self; 17] = [
        Self::Unreachable,
        Self::TimedOut,
        Self::Unreadable,
        Self::Busy,
        Self::Unavailable,
        Self::Failing,
        Self::Rights,
        Self::Block,
        Self::MissingIndex,
        Self::ShardLimit,
        Self::NotInPlace,
        Self::Address,
        Self::TooLarge,
        Self::Rejected,
        Self::Storage,
        Self::FileReplaced,
        Self::FolderMissing,
    ];

    /// Its name in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::TimedOut => "timed_out",
            Self::Unreadable => "unreadable",
            Self::Busy => "busy",
            Self::Unavailable => "unavailable",
            Self::Failing => "failing",
            Self::Rights => "rights",
            Self::Block => "block",
            Self::MissingIndex => "missing_index",
            Self::ShardLimit => "shard_limit",
            Self::NotInPlace => "not_in_place",
            Self::Address => "address",
            Self::TooLarge => "too_large",
            Self::Rejected => "rejected",
            Self::Storage => "storage",
            Self::FileReplaced => "file_replaced",
            Self::FolderMissing => "folder_missing",
        }
    }

    const fn of_status(status: u16) -> Self {
        match status {
            0 => Self::Storage,
            100..=299 => Self::Unreadable,
            429 => Self::Busy,
            502..=504 => Self::Unavailable,
            500.. => Self::Failing,
            401 | 403 | 407 => Self::Rights,
            413 => Self::TooLarge,
            300..=399 | 404 | 405 => Self::Address,
            _ => Self::Rejected,
        }
    }
}

/// Why a whole write has no dispositions. None of these loses a line; each asks for another next step.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// No answer, or one that tells nothing (connection, time-out, 429, 5xx, a cut body): what the store holds is
    /// unknown, so all of it again after a backoff.
    #[error("the store did not take the batch: {0}")]
    Unavailable(Cause),
    /// The answer is longer than is read: what the store holds is unknown, so all of it again after a backoff, in
    /// smaller requests, whose answers are shorter.
    #[error("the store's answer can't be read: {0}")]
    AnswerTooLong(Cause),
    /// The store refuses every write for a reason its operator has to mend (rights, an index block, a full disk):
    /// pause, say so, and try again.
    #[error("the store refuses writes: {0}")]
    Refused(Cause),
    /// The request is larger than the store takes: split it.
    #[error("the store takes no request of this size: {0}")]
    TooLarge(Cause),
    /// This request, as it is, can't be taken: halve it until the line that spoils it stands alone.
    #[error("the store rejects the batch: {0}")]
    Rejected(Cause),
}

impl WriteError {
    /// The store's own words.
    #[must_use]
    pub fn cause(&self) -> &Cause {
        match self {
            Self::Unavailable(cause)
            | Self::AnswerTooLong(cause)
            | Self::Refused(cause)
            | Self::TooLarge(cause)
            | Self::Rejected(cause) => cause,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_cut_between_characters() {
        let cause = Cause::new(400, "ä".repeat(Cause::MAX_REASON_BYTES));
        assert!(cause.reason.len() <= Cause::MAX_REASON_BYTES && cause.reason.chars().all(|c| c == 'ä'));
    }
}
