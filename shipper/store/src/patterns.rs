//! Counts of messages by [`pattern`](crate::pattern()).

use std::collections::HashMap;

use crate::counts::{Counted, MAX_TOP};
use crate::level::Level;
use crate::pattern::pattern;
use crate::timestamp::Timestamp;

/// Message patterns and their counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Patterns {
    /// The most frequent patterns. Equal counts are sorted by pattern.
    pub patterns: Vec<PatternCount>,
    /// Number of lines with patterns beyond the list.
    pub others: u64,
    /// Number of lines, included in `others`, whose pattern was not counted: after 20,000 patterns in one answer, lines
    /// of further patterns are only summed up. They may also have a listed pattern.
    pub not_told_apart: u64,
    /// Accuracy of the counts. An engine examines only a limited number of the newest lines.
    pub counted: Counted,
}

/// Lines with the same message pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatternCount {
    /// The [`pattern`](crate::pattern()).
    pub pattern: String,
    /// Number of lines.
    pub lines: u64,
    /// Highest level of the lines.
    pub worst: Level,
    /// Time of the earliest counted line.
    pub first: Timestamp,
    /// Time of the latest counted line.
    pub last: Timestamp,
}

/// Counts messages by pattern.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    patterns: HashMap<String, PatternCount>,
    /// Number of lines beyond [`MAX_PATTERNS`].
    without_room: u64,
}

/// Maximum number of patterns that are counted separately; lines of further ones are summed up.
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

    /// Returns the most frequent patterns.
    pub(crate) fn top(self, top: usize, counted: Counted) -> Patterns {
        let mut patterns: Vec<_> = self.patterns.into_values().collect();
        patterns.sort_by(|one, other| other.lines.cmp(&one.lines).then_with(|| one.pattern.cmp(&other.pattern)));
        let rest = patterns.split_off(patterns.len().min(top.clamp(1, MAX_TOP)));
        let others = self.without_room + rest.iter().map(|pattern| pattern.lines).sum::<u64>();
        Patterns { patterns, others, not_told_apart: self.without_room, counted }
    }
}
