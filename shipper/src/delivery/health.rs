//! What the store took lately: the proof that it works, against which a request that fails again and again is judged.
//!
//! Requests are numbered in the order that they are sent. A *mark* is the number of the next one; a request from a mark
//! on was sent after it. Nothing here knows a clock: an engine that is down takes nothing, however long it is down.

use std::collections::VecDeque;

/// Indices that are remembered, those that took something last.
const INDICES_MAX: usize = 32;

/// So many requests in a row fail by their own fault. After that it is the store's: one that is out fails over all that
/// waits, also over what had failed by itself before.
const BLAMED_IN_A_ROW: u32 = 64;

/// What was taken, and what went wrong.
#[derive(Debug, Default)]
pub(super) struct Health {
    /// One past the latest request of which something was taken.
    took: u64,
    /// The same by index, the one that took something last at the end.
    by_index: VecDeque<(String, u64)>,
    /// Failures in a row that were taken for the requests' own, since something was taken.
    blamed: u32,
    /// The mark at the last failure that nothing says is the request's own fault.
    upset: u64,
}

impl Health {
    /// Something of a request was taken.
    pub(super) fn took(&mut self, request: u64) {
        self.took = self.took.max(request + 1);
        self.blamed = 0;
    }

    /// A request failed that failed before while others got through: whether that is taken for its own fault again.
    pub(super) fn blame(&mut self) -> bool {
        self.blamed = self.blamed.saturating_add(1);
        self.blamed <= BLAMED_IN_A_ROW
    }

    /// A line of a request was written into this index.
    pub(super) fn took_in(&mut self, request: u64, index: &str) {
        if let Some((last, took)) = self.by_index.back_mut()
            && last == index
        {
            *took = (*took).max(request + 1);
            return;
        }
        let before = self.by_index.iter().position(|(name, _)| name == index);
        let (name, took) = before.and_then(|place| self.by_index.remove(place)).unwrap_or((index.to_owned(), 0));
        self.by_index.push_back((name, took.max(request + 1)));
        if self.by_index.len() > INDICES_MAX {
            self.by_index.pop_front();
        }
    }

    /// A request failed, and it may well be the store's fault.
    pub(super) fn upset(&mut self, mark: u64) {
        self.upset = mark;
    }

    /// Whether the store took something that was sent after the mark.
    pub(super) fn is_taking_since(&self, mark: u64) -> bool {
        self.took > mark
    }

    /// Whether something went wrong since the mark that may well be the store's fault.
    pub(super) fn is_upset_since(&self, mark: u64) -> bool {
        self.upset > mark
    }

    /// Whether the store wrote something into this index that was sent after the mark, and nothing went wrong meanwhile.
    pub(super) fn is_sound_since(&self, mark: u64, index: &str) -> bool {
        !self.is_upset_since(mark) && self.by_index.iter().any(|(name, took)| name == index && *took > mark)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_sent_after_a_mark_counts() {
        let mut health = Health::default();
        health.took(4);
        health.took_in(4, "a");
        assert!(!health.is_taking_since(5) && health.is_taking_since(4));
        assert!(!health.is_sound_since(5, "a") && health.is_sound_since(4, "a"));
        assert!(!health.is_sound_since(4, "b"));
        health.upset(5);
        assert!(!health.is_sound_since(4, "a"));
        health.took_in(6, "a");
        assert!(health.is_sound_since(5, "a"));
    }

    #[test]
    fn few_indices_are_remembered() {
        let mut health = Health::default();
        for request in 0..100 {
            health.took_in(request, &format!("index-{request}"));
        }
        assert_eq!(health.by_index.len(), INDICES_MAX);
        assert!(health.is_sound_since(0, "index-99") && !health.is_sound_since(0, "index-1"));
    }

    #[test]
    fn an_early_request_that_is_answered_late_takes_nothing_back() {
        let mut health = Health::default();
        for request in [9, 4] {
            health.took(request);
            health.took_in(request, "a");
        }
        assert!(health.is_taking_since(9) && health.is_sound_since(9, "a"));
    }

    #[test]
    fn the_index_that_took_nothing_for_longest_is_forgotten() {
        let mut health = Health::default();
        for (request, index) in [(0, "kept"), (1, "forgotten"), (2, "kept")] {
            health.took_in(request, index);
        }
        for request in 3..2 + INDICES_MAX as u64 {
            health.took_in(request, &format!("index-{request}"));
        }
        assert!(health.is_sound_since(0, "kept") && !health.is_sound_since(0, "forgotten"));
    }
}
