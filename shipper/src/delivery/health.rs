//! What the store took lately: the evidence by which a request that fails repeatedly is judged.
//!
//! Requests are numbered in the order that they are sent. A *mark* is the number of the next one: requests from a mark
//! on were sent after it. No clock is needed, since a store that is down accepts nothing, however long it is down.

use std::collections::VecDeque;

use super::verdict::Taken;

/// Maximum number of indices to remember.
const INDICES_MAX: usize = 32;

/// What was taken, and what went wrong.
#[derive(Debug, Default)]
pub(super) struct Health {
    /// One past the latest request of which something was taken.
    took: u64,
    /// The same by index, the one that took something last at the end.
    by_index: VecDeque<(String, u64)>,
    /// Failures in a row that were the requests' own fault, since something was taken.
    pub(super) own_faults: u32,
    /// The mark at the last failure that may be the store's fault.
    pub(super) failed: u64,
}

impl Health {
    /// Something of a request was taken.
    pub(super) fn took(&mut self, request: u64) {
        self.took = self.took.max(request + 1);
        self.own_faults = 0;
    }

    /// A line of a request was written into this index.
    pub(super) fn took_in(&mut self, request: u64, index: &str) {
        let before = self.by_index.iter().position(|(name, _)| name == index);
        let (name, took) = before.and_then(|at| self.by_index.remove(at)).unwrap_or_else(|| (index.to_owned(), 0));
        self.by_index.push_back((name, took.max(request + 1)));
        if self.by_index.len() > INDICES_MAX {
            self.by_index.pop_front();
        }
    }

    /// Whether the store took something that was sent after the mark.
    pub(super) fn has_taken_since(&self, mark: u64) -> bool {
        self.took > mark
    }

    /// What the store took, seen from a mark if the request has one, for failed lines of these indices.
    pub(super) fn taken<'a>(&self, since: Option<u64>, mut indices: impl Iterator<Item = &'a str>) -> Taken {
        let wrote = |index, mark| self.by_index.iter().any(|(name, took)| name == index && *took > mark);
        match since {
            Some(mark) if !self.has_taken_since(mark) => self.taken(None, indices),
            Some(mark) if indices.all(|index| wrote(index, mark)) => Taken::SinceInIndex,
            Some(_) => Taken::Since,
            None if self.took > 0 => Taken::Before,
            None => Taken::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(health: &Health, mark: u64, index: &str) -> Taken {
        health.taken(Some(mark), [index].into_iter())
    }

    #[test]
    fn only_requests_sent_after_a_mark_count() {
        let mut health = Health::default();
        assert_eq!(taken(&health, 0, "a"), Taken::Nothing);
        health.took(4);
        health.took_in(4, "a");
        assert_eq!([5, 4].map(|mark| taken(&health, mark, "a")), [Taken::Before, Taken::SinceInIndex]);
        assert_eq!(taken(&health, 4, "b"), Taken::Since);
        // A late answer to an earlier request undoes nothing.
        health.took(3);
        health.took_in(3, "a");
        assert_eq!(taken(&health, 4, "a"), Taken::SinceInIndex);
    }

    #[test]
    fn the_index_that_took_nothing_for_longest_is_forgotten() {
        let mut health = Health::default();
        for (request, index) in [(0, "kept"), (1, "forgotten"), (2, "kept")] {
            health.took_in(request, index);
        }
        for request in 3..2 + INDICES_MAX as u64 {
            health.took_in(request, &format!("index-{request}"));
            health.took(request);
        }
        assert_eq!(health.by_index.len(), INDICES_MAX);
        assert_eq!(["kept", "forgotten"].map(|name| taken(&health, 0, name)), [Taken::SinceInIndex, Taken::Since]);
    }
}
