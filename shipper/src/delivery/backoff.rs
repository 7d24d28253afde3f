//! How long to wait before the next try.

use std::time::Duration;

/// Bounds of a wait.
#[derive(Clone, Copy, Debug)]
pub(super) struct Backoff {
    /// The first wait is between nothing and this.
    pub(super) min: Duration,
    /// No wait is longer than this.
    pub(super) max: Duration,
}

impl Backoff {
    /// Full jitter: anything between nothing and the bound, which doubles with each failure; nothing before the first
    /// (Marc Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015).
    pub(super) fn after(self, failures: u32, random: u64) -> Duration {
        let Some(doublings) = failures.checked_sub(1) else { return Duration::ZERO };
        let bound = self.min.saturating_mul(1 << doublings.min(20)).min(self.max);
        bound.mul_f64((random >> 11) as f64 / (1_u64 << 53) as f64)
    }
}
