//! How large a request may be, as far as the store has said. Sizes are those of bodies before compression.
//!
//! A size that was refused halves what is allowed. What is taken near the bound raises it towards what was refused, by
//! half of what is between; after [`FORGET_AFTER`] without a refusal twice as much is tried once, since whoever
//! refused may have been changed.

use std::time::Duration;

/// A refusal is believed for so long.
const FORGET_AFTER: Duration = Duration::from_secs(10 * 60);

/// The bound of a request's body.
#[derive(Debug, Default)]
pub(super) struct RequestSize {
    bound: Option<Bound>,
}

#[derive(Debug)]
struct Bound {
    allowed: usize,
    /// The smallest size that was refused.
    refused: usize,
    /// When that was, or when more was allowed last without asking.
    since: Duration,
}

impl RequestSize {
    /// What a request of several lines may have at most; `None` where nothing was ever refused.
    pub(super) fn allowed(&self) -> Option<usize> {
        self.bound.as_ref().map(|bound| bound.allowed)
    }

    /// A request of this size was refused.
    pub(super) fn refuse(&mut self, size: usize, now: Duration) {
        let allowed = self.allowed().unwrap_or(usize::MAX);
        let refused = self.bound.as_ref().map_or(usize::MAX, |bound| bound.refused);
        self.bound = Some(Bound { allowed: allowed.min(size / 2), refused: refused.min(size), since: now });
    }

    /// A request of this size was taken, or at least not found too large.
    pub(super) fn take(&mut self, size: usize, now: Duration) {
        let Some(bound) = &mut self.bound else { return };
        if size >= bound.refused {
            bound.refused = size.saturating_mul(2);
        }
        if now >= bound.since + FORGET_AFTER {
            bound.refused = bound.allowed.saturating_mul(4);
            bound.allowed = bound.allowed.saturating_mul(2);
            bound.since = now;
            return;
        }
        let is_near = size > bound.allowed / 4 * 3;
        let between = bound.refused.saturating_sub(bound.allowed);
        if is_near && between > bound.allowed / 4 {
            bound.allowed += between / 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends as much as is allowed until nothing changes; how often it was refused.
    fn settle(size: &mut RequestSize, limit: usize, now: Duration) -> usize {
        let mut refusals = 0;
        for _ in 0..50 {
            let sent = size.allowed().unwrap_or(2_000_000).min(2_000_000);
            if sent > limit {
                size.refuse(sent, now);
                refusals += 1;
            } else {
                size.take(sent, now);
            }
        }
        refusals
    }

    #[test]
    fn a_limit_is_found_in_a_few_refusals_and_then_kept() {
        let mut size = RequestSize::default();
        let limit = 300_000;
        assert!(settle(&mut size, limit, Duration::ZERO) <= 6);
        assert_eq!(settle(&mut size, limit, Duration::from_secs(1)), 0);
        let allowed = size.allowed().unwrap();
        assert!(allowed <= limit && allowed > limit / 2, "{allowed}");
    }

    #[test]
    fn a_limit_that_is_gone_is_found_gone_in_time_and_one_that_is_not_costs_little() {
        let mut size = RequestSize::default();
        settle(&mut size, 300_000, Duration::ZERO);
        assert!(settle(&mut size, 300_000, FORGET_AFTER) <= 4);
        settle(&mut size, usize::MAX, FORGET_AFTER * 3);
        settle(&mut size, usize::MAX, FORGET_AFTER * 4);
        settle(&mut size, usize::MAX, FORGET_AFTER * 5);
        assert!(size.allowed().unwrap() >= 2_000_000);
    }
}
