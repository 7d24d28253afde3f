//! How large a request may be, learned from answers. Sizes are those of bodies before compression.
//!
//! A refused size sets the bound to half of it. A request that is taken near the bound raises it halfway to the
//! smallest refused size. After [`FORGET_AFTER`] without a refusal the bound is doubled, as the limit may have been
//! raised.

use std::time::Duration;

/// How long a refusal counts.
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
    /// When that was, or when the bound was doubled last.
    since: Duration,
}

impl RequestSize {
    /// Maximum size of a request of several lines; `None` while nothing was refused.
    pub(super) fn allowed(&self) -> Option<usize> {
        self.bound.as_ref().map(|bound| bound.allowed)
    }

    /// A request of this size was refused.
    pub(super) fn refuse(&mut self, size: usize, now: Duration) {
        let bound = self.bound.get_or_insert(Bound { allowed: usize::MAX, refused: usize::MAX, since: now });
        *bound = Bound { allowed: bound.allowed.min(size / 2), refused: bound.refused.min(size), since: now };
    }

    /// A request of this size was not too large.
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

    /// Sends as much as is allowed until nothing changes; returns the number of refusals.
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
    fn a_raised_limit_is_found_and_an_unchanged_one_costs_few_refusals() {
        let mut size = RequestSize::default();
        settle(&mut size, 300_000, Duration::ZERO);
        assert!(settle(&mut size, 300_000, FORGET_AFTER) <= 4);
        settle(&mut size, usize::MAX, FORGET_AFTER * 3);
        settle(&mut size, usize::MAX, FORGET_AFTER * 4);
        settle(&mut size, usize::MAX, FORGET_AFTER * 5);
        assert!(size.allowed().unwrap() >= 2_000_000);
    }
}
