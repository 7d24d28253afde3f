//! Exponential backoff with full jitter.

use std::time::Duration;

/// The backoff after an answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Backoff {
    /// Upper bound after the first failure.
    pub(super) min: Duration,
    /// Upper bound after any number of failures.
    pub(super) max: Duration,
    /// When the answer arrived.
    pub(super) now: Duration,
    pub(super) random: u64,
}

impl Backoff {
    /// When to try again: after a random delay below a bound that doubles with each failure; at once before the first
    /// (Marc Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015).
    pub(super) fn until(self, failures: u32) -> Duration {
        let Some(doublings) = failures.checked_sub(1) else { return self.now };
        let bound = self.min.saturating_mul(1 << doublings.min(20)).min(self.max);
        self.now + bound.mul_f64((self.random >> 11) as f64 / (1_u64 << 53) as f64)
    }
}
