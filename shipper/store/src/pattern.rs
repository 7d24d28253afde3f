//! Message patterns: the part that messages of one kind have in common.
//!
//! A word that contains a digit becomes `#`, and so does the text between double quotes. Everything else is kept. A
//! word is a run of letters and digits of any script, optionally joined by `-`, `_`, `.` and `:`. Ids, versions,
//! addresses and times are therefore one word each. `order 8812 of "ann" took 3.5ms` and `order 9 of "bob" took 12ms`
//! both become `order # of "#" took #`. The pattern is computed in one pass, and is the same wherever messages are
//! counted or compared.

use std::borrow::Cow;

use crate::query::words::words;

/// Maximum length of the part of a message that is examined, and so of a pattern, in bytes.
pub const PATTERN_MAX_BYTES: usize = 256;

/// Returns the pattern of a message, at most [`PATTERN_MAX_BYTES`] long.
///
/// ```
/// assert_eq!(store::pattern("user 42 came from 10.0.0.1:5000"), "user # came from #");
/// ```
#[must_use]
pub fn pattern(message: &str) -> String {
    let mut pattern = String::new();
    write_pattern(message, &mut pattern);
    pattern
}

/// Appends a message's pattern to `pattern`, so that callers can reuse the buffer.
pub fn write_pattern(message: &str, pattern: &mut String) {
    let mut rest = truncate(message);
    while let Some(first) = rest.as_bytes().first() {
        let length = if is_word(*first) {
            let length = word_length(rest.as_bytes());
            let word = &rest[..length];
            pattern.push_str(if word.bytes().any(|byte| byte.is_ascii_digit()) { "#" } else { word });
            length
        } else if *first == b'"' {
            match rest[1..].find('"') {
                None => {
                    pattern.push('"');
                    1
                }
                // Keep both quotes: a pattern is never longer than its message.
                Some(0) => {
                    pattern.push_str("\"\"");
                    2
                }
                Some(length) => {
                    pattern.push_str("\"#\"");
                    length + 2
                }
            }
        } else {
            pattern.push(char::from(*first));
            1
        };
        rest = &rest[length..];
    }
}

/// Returns words that every message with this message's pattern contains, as a search finds them. These are the words
/// separated by white space from replaced parts and from the end of a truncated message.
///
/// ```
/// assert_eq!(store::pattern_words("can't charge order 42, card_expired"), ["can't", "charge", "order", "card_expired"]);
/// ```
#[must_use]
pub fn pattern_words(message: &str) -> Vec<String> {
    let pattern = pattern(message);
    let is_cut = truncate(message).len() < message.len();
    let last = pattern.split('#').count() - 1;
    let mut found = Vec::new();
    for (index, part) in pattern.split('#').enumerate() {
        let start = if index > 0 { part.find(char::is_whitespace).unwrap_or(part.len()) } else { 0 };
        let end = if index < last || is_cut { part.rfind(char::is_whitespace).unwrap_or(0) } else { part.len() };
        found.extend(words(part.get(start..end).unwrap_or_default()).map(Cow::into_owned));
    }
    found
}

/// Truncates a message at a character boundary.
fn truncate(message: &str) -> &str {
    let end = (0..=PATTERN_MAX_BYTES.min(message.len())).rev().find(|end| message.is_char_boundary(*end));
    &message[..end.unwrap_or(0)]
}

/// Whether a byte belongs to a word. All bytes of non-ASCII characters do, so a word ends at a character boundary.
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || !byte.is_ascii()
}

/// Returns the length of the word at the start of `text`. A joining character counts only between two parts of a word.
fn word_length(text: &[u8]) -> usize {
    let is_joiner = |byte: u8| matches!(byte, b'-' | b'_' | b'.' | b':');
    let mut end = 0;
    while end < text.len() {
        let continues =
            is_word(text[end]) || is_joiner(text[end]) && text.get(end + 1).is_some_and(|next| is_word(*next));
        if !continues {
            break;
        }
        end += 1;
    }
    end
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn variable_parts_are_replaced() {
        for (message, expected) in [
            ("", ""),
            ("payment failed", "payment failed"),
            ("order 8812 of \"ann\" took 3.5ms", "order # of \"#\" took #"),
            ("550e8400-e29b-41d4-a716-446655440000 is unknown", "# is unknown"),
            ("GET /api/things/7?x=1", "GET /api/things/#?x=#"),
            ("at 2026-11-23T18:51:20.123Z: late.", "at #: late."),
            ("key=a_1, other=b", "key=#, other=b"),
            ("name=\"\" id=\"7\"", "name=\"\" id=\"#\""),
            ("one quote \" only 1", "one quote \" only #"),
            ("Zahlung für Müller", "Zahlung für Müller"),
        ] {
            assert_eq!(pattern(message), expected);
        }
    }

    #[test]
    fn pattern_words_are_words_of_a_search() {
        let words = |message: &str| pattern_words(message).join(" ");
        assert_eq!(words("Order 7: can't reach db.internal"), "order can't reach db.internal");
        assert_eq!(words("key=a_1 of snake_case, \"ann\" waits"), "of snake_case waits");
        assert_eq!(words("x'5 y"), "y");
        assert_eq!(words(&format!("{}cut", "word ".repeat(60))), ["word"; 51].join(" "));
        assert_eq!(words("42"), "");
    }

    proptest! {
        #[test]
        fn every_message_of_a_pattern_contains_its_words(message in "[ab' .5_:,\"#\u{e9}\u{301}\u{5d0}]{0,40}", other in "[7a_.\u{e9}]{0,3}7") {
            let alike = message.replace('5', &other);
            prop_assume!(pattern(&alike) == pattern(&message));
            let words: Vec<_> = words(&alike).collect();
            for word in pattern_words(&message) {
                prop_assert!(words.contains(&word.as_str().into()), "{}: {:?} {:?}", word, message, alike);
            }
        }

        #[test]
        fn a_pattern_is_bounded_and_idempotent(message in "\\PC{0,300}") {
            let once = pattern(&message);
            prop_assert!(once.len() <= PATTERN_MAX_BYTES);
            prop_assert_eq!(pattern(&once), once);
        }

        #[test]
        fn numbers_do_not_change_a_pattern(first in any::<u64>(), second in any::<u64>()) {
            prop_assert_eq!(pattern(&format!("took {first} ms")), pattern(&format!("took {second} ms")));
        }
    }
}
