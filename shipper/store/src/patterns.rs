//! Messages counted by their [`pattern`](crate::pattern()).

use std::collections::HashMap;

use crate::counts::{Counted, MAX_TOP};
use crate::level::Level;
use crate::pattern::pattern;
use crate::timestamp::Timestamp;

/// The patterns of many messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Patterns {
    /// The most frequent; those of equal counts in the order of their texts.
    pub patterns: Vec<PatternCount>,
    /// Lines of patterns that the list has no room for.
    pub others: u64,
    /// Lines among the others that a bound kept from being told apart: each may be of any pattern, also of one that is
    /// listed. The bound is 20,000 patterns in one answer.
    pub not_told_apart: u64,
    /// Whether that is exact. Of an engine only so many of the newest lines are looked at.
    pub counted: Counted,
}

/// Lines whose messages are alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatternCount {
    /// What they have in common, by [`pattern`](crate::pattern()).
    pub pattern: String,
    /// How many.
    pub lines: u64,
    /// The gravest of their levels.
    pub worst: Level,
    /// The earliest of those counted.
    pub first: Timestamp,
    /// The latest.
    pub last: Timestamp,
}

/// Patterns while they are counted.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    patterns: HashMap<String, PatternCount>,
    /// Lines of patterns that there was no room for.
    without_room: u64,
}

/// More different patterns than this are not told apart; lines of further ones are counted as those of others.
pub(crate) const MAX_PATTERNS: usize = 20_000;

impl Tally {
    /// Counts a line.
    pub(crate) fn count(&mut self, message: &str, level: Level, time: Timestamp) {
        let pattern = pattern(message);
        if let Some(there) = self.patterns.get_mut(&pattern) {
            there.lines += 1;
            there.worst = there.worst.max(level);
            there.first = there.first.min(time);
            there.last = there.last.max(time);
        } else if self.patterns.len() < MAX_PATTERNS {
            let new = PatternCount { pattern: pattern.clone(), lines: 1, worst: level, first: time, last: time };
            self.patterns.insert(pattern, new);
        } else {
            self.without_room += 1;
        }
    }

    /// The most frequent.
    pub(crate) fn top(self, top: usize, counted: Counted) -> Patterns {
        let mut patterns: Vec<_> = self.patterns.into_values().collect();
        patterns.sort_by(|one, other| other.lines.cmp(&one.lines).then_with(|| one.pattern.cmp(&other.pattern)));
        let rest = patterns.split_off(patterns.len().min(top.clamp(1, MAX_TOP)));
        let others = self.without_room + rest.iter().map(|pattern| pattern.lines).sum::<u64>();
        Patterns { patterns, others, not_told_apart: self.without_room, counted }
    }
}
