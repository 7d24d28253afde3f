//! Counts of messages by [`pattern`](crate::pattern()).

use std::collections::HashMap;

use crate::counts::{Accuracy, MAX_TOP};
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
    pub uncounted: u64,
    /// Accuracy of the counts. An engine examines only a limited number of the newest lines.
    pub accuracy: Accuracy,
}

/// Lines with the same message pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatternCount {
    /// The [`pattern`](crate::pattern()).
    pub pattern: String,
    /// Number of lines.
    pub lines: u64,
    /// Highest level of the lines.
    pub highest_level: Level,
    /// Time of the earliest counted line.
    pub first: Timestamp,
    /// Time of the latest counted line.
    pub last: Timestamp,
}

/// Counts messages by pattern.
#[derive(Debug, Default)]
pub(crate) struct PatternCounter {
    patterns: HashMap<String, PatternCount>,
    /// Number of lines beyond [`MAX_PATTERNS`].
    overflow: u64,
}

/// Maximum number of patterns that are counted separately; lines of further ones are summed up.
pub(crate) const MAX_PATTERNS: usize = 20_000;

impl PatternCounter {
    /// Counts a line.
    pub(crate) fn count(&mut self, message: &str, level: Level, time: Timestamp) {
        let pattern = pattern(message);
        if let Some(existing) = self.patterns.get_mut(&pattern) {
            existing.lines += 1;
            existing.highest_level = existing.highest_level.max(level);
            existing.first = existing.first.min(time);
            existing.last = existing.last.max(time);
        } else if self.patterns.len() < MAX_PATTERNS {
            let new =
                PatternCount { pattern: pattern.clone(), lines: 1, highest_level: level, first: time, last: time };
            self.patterns.insert(pattern, new);
        } else {
            self.overflow += 1;
        }
    }

    /// Returns the most frequent patterns.
    pub(crate) fn top(self, top: usize, accuracy: Accuracy) -> Patterns {
        let mut patterns: Vec<_> = self.patterns.into_values().collect();
        patterns.sort_by(|one, other| other.lines.cmp(&one.lines).then_with(|| one.pattern.cmp(&other.pattern)));
        let rest = patterns.split_off(patterns.len().min(top.clamp(1, MAX_TOP)));
        let others = self.overflow + rest.iter().map(|pattern| pattern.lines).sum::<u64>();
        Patterns { patterns, others, uncounted: self.overflow, accuracy }
    }
}
