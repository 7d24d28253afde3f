//! Results of a write.

/// The result of writing one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// The line was stored by this write.
    Stored,
    /// The line was already stored: an earlier write succeeded and its response was lost.
    AlreadyStored,
    /// The store can't accept the line now, but may accept it later.
    Retry(Cause),
    /// The store will never accept the line.
    DeadLetter(Cause),
}

/// Why a store did not accept a line or a request, in the store's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Cause {
    /// HTTP status of the item or request; 0 without one (no response, or the embedded store).
    pub status: u16,
    /// The kind of problem.
    pub kind: CauseKind,
    /// The reason, at most [`Cause::MAX_REASON_BYTES`] long. It does not contain the line.
    pub reason: String,
}

impl Cause {
    /// Maximum length of a reason; longer ones are truncated.
    pub const MAX_REASON_BYTES: usize = 1024;

    /// Creates a cause of the kind that its status implies.
    #[must_use]
    pub fn new(status: u16, reason: impl Into<String>) -> Self {
        let mut reason = reason.into();
        if reason.len() > Self::MAX_REASON_BYTES {
            let end = (0..=Self::MAX_REASON_BYTES).rev().find(|end| reason.is_char_boundary(*end)).unwrap_or(0);
            reason.truncate(end);
        }
        Self { status, kind: CauseKind::from_status(status), reason }
    }

    /// Replaces the kind where it is known better than the status implies.
    #[must_use]
    pub fn with_kind(self, kind: CauseKind) -> Self {
        Self { kind, ..self }
    }
}

/// Kinds of problems with a store. A closed set, used in metrics and to decide how to continue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CauseKind {
    /// No connection, or one that broke before a response.
    Unreachable,
    /// No response within the timeout.
    TimedOut,
    /// The response is truncated, malformed, or has the wrong number of items.
    Unreadable,
    /// The store is overloaded: 429, a full queue, a circuit breaker.
    Busy,
    /// Part of the store is unavailable: 502, 503, 504.
    Unavailable,
    /// The store failed to process the request: any other 5xx.
    Failing,
    /// Missing credentials or permissions: 401, 403, 407.
    Rights,
    /// An index or the cluster blocks writes: read-only, or a disk above the flood-stage watermark.
    Block,
    /// The index does not exist and is not created automatically.
    MissingIndex,
    /// The cluster's shard limit prevents a new index.
    ShardLimit,
    /// Ingest pipeline or index template are missing, foreign, or can't be put in place.
    NotInPlace,
    /// The address is wrong, or another service answers there.
    Address,
    /// The request is too large: 413.
    TooLarge,
    /// The store rejects the request or the line: any other 4xx.
    Rejected,
    /// A problem with the embedded store's file or disk.
    Storage,
    /// The embedded store's file was deleted, moved or replaced while it was open.
    FileReplaced,
    /// The embedded store's directory is missing.
    FolderMissing,
}

impl CauseKind {
    /// All kinds.
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

    /// Returns its name in metrics.
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

    const fn from_status(status: u16) -> Self {
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

/// Why a whole write failed. No variant loses a line; each requires a different reaction.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// No usable response (connection error, timeout, 429, 5xx, truncated body). It is unknown what was stored: retry
    /// the batch after a backoff.
    #[error("the store did not accept the batch: {0}")]
    Unavailable(Cause),
    /// The response exceeds the size limit. It is unknown what was stored: retry after a backoff with smaller requests,
    /// which have shorter responses.
    #[error("invalid response of the store: {0}")]
    ResponseTooLong(Cause),
    /// The store refuses all writes for a reason that the operator must fix (permissions, an index block, a full disk):
    /// pause, report it and retry.
    #[error("the store refuses writes: {0}")]
    Refused(Cause),
    /// The request is larger than the store accepts: split it.
    #[error("the request is too large for the store: {0}")]
    TooLarge(Cause),
    /// The store rejects this request: bisect it until the offending line is alone.
    #[error("the store rejects the batch: {0}")]
    Rejected(Cause),
}

impl WriteError {
    /// Returns the store's reason.
    #[must_use]
    pub fn cause(&self) -> &Cause {
        match self {
            Self::Unavailable(cause)
            | Self::ResponseTooLong(cause)
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
    fn a_reason_is_truncated_at_a_character_boundary() {
        let cause = Cause::new(400, "ä".repeat(Cause::MAX_REASON_BYTES));
        assert!(cause.reason.len() <= Cause::MAX_REASON_BYTES && cause.reason.chars().all(|c| c == 'ä'));
    }
}
