//! Keys that some store rejects or reserves: the only table, used to check and to repair lines.
//!
//! Engines check the keys of objects that they have a mapping for, even if nothing is indexed: the top level of a
//! document and [`EVENT`]. In all other objects every key is accepted.

use super::RESERVED_KEY;
use super::change::Change;
use super::keys::decode;

/// The object that the template maps for [`INGESTED`].
const EVENT: &str = "event";

/// The key in [`EVENT`] that the pipeline sets to the time of ingestion.
const INGESTED: &str = "ingested";

/// Top-level keys that Elasticsearch or OpenSearch reserves, in any of the versions 7 to 9. With an ingest pipeline,
/// `_if_seq_no` makes a new line look already stored, a `_routing` that is not a string fails the whole request, and
/// `_id` is overwritten; without one, most of them are rejected; `_doc_count` falsifies every count. A key below one of
/// them, such as `_id.x`, is rejected.
const ENGINES_OWN: [&str; 24] = [
    "_data_stream_timestamp",
    "_doc_count",
    "_dynamic_templates",
    "_feature",
    "_field_names",
    "_id",
    "_if_primary_term",
    "_if_seq_no",
    "_ignored",
    "_ignored_source",
    "_index",
    "_ingest",
    "_nested_path",
    "_op_type",
    "_primary_term",
    "_routing",
    "_seq_no",
    "_size",
    "_source",
    "_tier",
    "_tsid",
    "_type",
    "_version",
    "_version_type",
];

/// A fast check whether a key may be one of those; its first eight bytes are `first`.
#[inline(always)]
pub(super) fn may_be(first: u64, key: &[u8]) -> bool {
    const ONES: u64 = u64::MAX / 0xff;
    let dots = first ^ (ONES * b'.' as u64);
    let has_dot = dots.wrapping_sub(ONES) & !dots & (ONES << 7) != 0;
    let begins = first as u8;
    let is_plain = begins > b' ' && begins < 0x80 && begins != b'_';
    has_dot || !is_plain || key.len() > 8 && key[8..].iter().fold(false, |any, byte| any | (*byte == b'.'))
}

/// The change that a top-level key requires, if any.
#[inline(never)]
pub(super) fn at_top_level(key: &[u8]) -> Option<Change> {
    let key = std::str::from_utf8(key).ok()?;
    let (outer, below) = key.split_once('.').unwrap_or((key, ""));
    let is_reserved = outer == RESERVED_KEY || ENGINES_OWN.contains(&outer) || outer == EVENT && is_ingested(below);
    if is_reserved { Some(Change::ReservedKey) } else { has_blank_part(key).then_some(Change::InvalidKey) }
}

/// The change that a key of [`EVENT`] requires, if any.
pub(super) fn in_event(key: &[u8]) -> Option<Change> {
    let key = std::str::from_utf8(key).ok()?;
    if is_ingested(key) { Some(Change::ReservedKey) } else { has_blank_part(key).then_some(Change::InvalidKey) }
}

/// The change that the key at the end of a path requires, if any.
pub(super) fn at(path: &[String]) -> Option<Change> {
    match path {
        [key] => at_top_level(key.as_bytes()),
        [outer, key] if outer == EVENT => in_event(key.as_bytes()),
        _ => None,
    }
}

/// Whether the value of [`EVENT`], which is valid JSON, has such a key: an object, or an object in a list.
#[cold]
pub(super) fn is_in_event(value: &[u8]) -> bool {
    let (mut at, mut objects) = (0, 0_usize);
    while let Some(byte) = value.get(at) {
        at += 1;
        match byte {
            b'{' => objects += 1,
            b'}' => objects = objects.saturating_sub(1),
            b'"' => {
                let start = at;
                while value.get(at).is_some_and(|byte| *byte != b'"') {
                    at += if value[at] == b'\\' { 2 } else { 1 };
                }
                let text = value.get(start..at).unwrap_or_default();
                at += 1;
                let after = value.get(at..).unwrap_or_default().trim_ascii_start();
                if objects == 1 && after.first() == Some(&b':') {
                    let mut key = Vec::with_capacity(text.len());
                    decode(text, &mut key);
                    if in_event(&key).is_some() {
                        return true;
                    }
                }
            }
            _ => {}
        }
    }
    false
}

fn is_ingested(key: &str) -> bool {
    key.split('.').next() == Some(INGESTED)
}

/// Whether a key is blank, or a part of it between dots is.
fn has_blank_part(key: &str) -> bool {
    key.split('.').any(|part| part.chars().all(is_blank))
}

/// White space as in Java's `Character.isWhitespace`: without non-breaking spaces, with four separators.
fn is_blank(char: char) -> bool {
    match char {
        '\u{1c}'..='\u{1f}' => true,
        '\u{85}' | '\u{a0}' | '\u{2007}' | '\u{202f}' => false,
        _ => char.is_whitespace(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::keys::head;
    use super::super::members::Field;
    use super::*;

    #[test]
    fn the_fast_check_misses_no_rejected_key() {
        let parts = ["", " ", "\u{2028}", "a", "eight by", "a longer one", "_id", "origin", "event", "ingested"];
        let mut refused = 0;
        for first in parts {
            for second in parts {
                for third in parts {
                    let keys = [first.to_owned(), format!("{first}.{second}"), format!("{first}.{second}.{third}")];
                    for key in keys {
                        let is_refused = at_top_level(key.as_bytes()).is_some();
                        let is_rejected = Field::from_key(head(key.as_bytes()), key.as_bytes()) == Some(Field::Refused);
                        assert_eq!(is_rejected, is_refused, "{key:?}");
                        refused += usize::from(is_refused);
                    }
                }
            }
        }
        assert!(refused > 500, "{refused}");
    }

    #[test]
    fn only_the_direct_keys_of_event_are_checked() {
        for (value, is_refused) in [
            (r#"{"a":"","b.c":[{"":1}],"d":{"":1,"ingested":1}}"#, false),
            (r#""""#, false),
            (r#"["",".",""]"#, false),
            (r#"{"a\"":"x","" : 1}"#, true),
            (r#"{"a":{"b":{}},"\u002ex":1}"#, true),
            (r#"[[{"a":1}],{"a..b":1}]"#, true),
            (r#"{"ingested.x":1}"#, true),
            (r#"{"ingested":"2026-11-23T18:51:20Z"}"#, true),
            (r#"{"ingested_at":1,"x.ingested":1}"#, false),
        ] {
            assert_eq!(is_in_event(value.as_bytes()), is_refused, "{value}");
        }
    }
}
