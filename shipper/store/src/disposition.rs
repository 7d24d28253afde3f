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
    /// The HTTP status of the item or request; 0 where there is none (the embedded store).
    pub status: u16,
    /// The reason, at most [`Cause::MAX_REASON_BYTES`] long, without the line itself.
    pub reason: String,
}

impl Cause {
    /// Longer reasons are cut here.
    pub const MAX_REASON_BYTES: usize = 1024;

    /// A cause whose reason is cut to its bound.
    #[must_use]
    pub fn new(status: u16, reason: impl Into<String>) -> Self {
        let mut reason = reason.into();
        if reason.len() > Self::MAX_REASON_BYTES {
            let end = (0..=Self::MAX_REASON_BYTES).rev().find(|end| reason.is_char_boundary(*end)).unwrap_or(0);
            reason.truncate(end);
        }
        Self { status, reason }
    }
}

/// Why a whole write has no dispositions. None of these loses a line; each asks for another next step.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// No answer, or one that tells nothing (connection, time-out, 429, 5xx, a cut body): what the store holds is
    /// unknown, so all of it again after a backoff.
    #[error("the store did not take the batch: {0}")]
    Unavailable(Cause),
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
            Self::Unavailable(cause) | Self::Refused(cause) | Self::TooLarge(cause) | Self::Rejected(cause) => cause,
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
