//! Messages that differ only in numbers, ids and quoted texts, as one.

use std::collections::HashMap;

use crate::counts::{Counted, MAX_TOP};
use crate::level::Level;
use crate::timestamp::Timestamp;

/// A pattern is cut after so many characters.
pub const PATTERN_MAX_CHARS: usize = 200;

/// A run of hexadecimal digits and hyphens of this length, with a digit among them, is an id.
const ID_MIN: usize = 8;

/// The patterns of many messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Patterns {
    /// The most frequent; those of equal counts in the order of their texts.
    pub patterns: Vec<PatternCount>,
    /// Lines of patterns that the list has no room for.
    pub others: u64,
    /// Whether that is exact. Of an engine only so many of the newest lines are looked at.
    pub counted: Counted,
}

/// Lines whose messages are alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatternCount {
    /// What they have in common, by [`pattern`].
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
        Patterns { patterns, others, counted }
    }
}

/// What is left of a message without what differs: `#` for numbers and ids, `"…"` for quoted texts.
#[must_use]
pub fn pattern(message: &str) -> String {
    let mut pattern = String::new();
    let mut rest = message;
    let mut chars = 0;
    while let Some(first) = rest.chars().next() {
        let (part, length) = if first.is_ascii_alphanumeric() {
            let run = run(rest);
            (collapsed(run), run.len())
        } else if let Some(length) = quoted(first, rest) {
            (format!("{first}…{first}"), length)
        } else {
            (first.to_string(), first.len_utf8())
        };
        rest = &rest[length..];
        chars += part.chars().count();
        if chars > PATTERN_MAX_CHARS {
            pattern.extend(part.chars().take(PATTERN_MAX_CHARS.saturating_sub(chars - part.chars().count())));
            pattern.push('…');
            break;
        }
        pattern.push_str(&part);
    }
    pattern
}

/// Letters and digits, and what stands between two of them within an id, a number or a name.
fn run(text: &str) -> &str {
    let bytes = text.as_bytes();
    let joins = |at: usize| {
        matches!(bytes[at], b'-' | b'_' | b'.' | b':') && bytes.get(at + 1).is_some_and(u8::is_ascii_alphanumeric)
    };
    let end = (0..bytes.len()).find(|at| !(bytes[*at].is_ascii_alphanumeric() || joins(*at)));
    &text[..end.unwrap_or(bytes.len())]
}

/// A run without its numbers; an id is one number.
fn collapsed(run: &str) -> String {
    if !run.bytes().any(|byte| byte.is_ascii_digit()) {
        return run.to_owned();
    }
    let hexadecimal = |byte: u8| byte.is_ascii_hexdigit() || matches!(byte, b'-' | b':');
    if run.len() >= ID_MIN && run.bytes().all(hexadecimal) {
        return "#".to_owned();
    }
    let mut text = String::with_capacity(run.len());
    for character in run.chars() {
        // Digits, and the points and hyphens between them.
        let in_number = text.ends_with('#') && matches!(character, '.' | ':' | '-');
        if character.is_ascii_digit() || in_number {
            if !text.ends_with('#') {
                text.push('#');
            }
        } else {
            text.push(character);
        }
    }
    text
}

/// The length of a text in quotes that the text begins with.
fn quoted(first: char, text: &str) -> Option<usize> {
    if !matches!(first, '"' | '\'' | '`') {
        return None;
    }
    let end = text[1..].find([first, '\n'])?;
    text.as_bytes().get(end + 1).filter(|byte| char::from(**byte) == first).map(|_| end + 2)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn messages_that_differ_in_numbers_are_one() {
        for (message, expected) in [
            ("order-4711 of customer 12 was paid", "order-# of customer # was paid"),
            ("took 12.5ms", "took #ms"),
            ("request 550e8400-e29b-41d4-a716-446655440000 failed", "request # failed"),
            ("user \"ann\" isn't here", "user \"…\" isn't here"),
            ("10.0.0.1:8080 closed", "# closed"),
            ("at 2026-11-23T18:00:00.123Z", "at #T#Z"),
            ("commit deadbeef01 and decade", "commit # and decade"),
            ("GET /api/x", "GET /api/x"),
            ("", ""),
        ] {
            assert_eq!(pattern(message), expected);
        }
        assert_eq!(pattern(&"ab ".repeat(500)).chars().count(), PATTERN_MAX_CHARS + 1);
    }

    proptest! {
        #[test]
        fn any_message_has_a_pattern_of_a_bounded_length(message in "\\PC{0,400}|[a-f0-9:.\"' -]{0,80}") {
            prop_assert!(pattern(&message).chars().count() <= PATTERN_MAX_CHARS + 1);
        }
    }
}
