//! A document's level, in all common spellings.

use serde_json::Value;

use crate::level::Level;
use crate::normalise::Draft;
use crate::normalise::fields::{self, take_nested};
use crate::normalise::object::Object;
use crate::normalise::table::{GELF_VERSIONS, LEVEL_KEYS, SEVERITY_NUMBER_KEYS, SPELLINGS, SYSLOG, SYSLOG_KEYS};

/// Maximum length of a level, in UTF-16 units as the pipeline's script counts them.
const MAX_UNITS: usize = 64;

/// Takes the level from a document: the first parseable one of [`LEVEL_KEYS`], else OpenTelemetry's number, else
/// `level` in an object at `log`. The default is `info`.
pub(super) fn take(draft: &mut Draft<'_>) -> Level {
    let is_syslog = is_syslog(&draft.document);
    let mut taken = None;
    for key in LEVEL_KEYS {
        if taken.is_none() {
            taken = fields::take(draft, key, |value| read(value, is_syslog || key == "PRIORITY"));
        }
        if key == "level" {
            draft.set_aside(key);
        }
    }
    for key in SEVERITY_NUMBER_KEYS {
        if taken.is_none() {
            taken = fields::take(draft, key, from_severity_number);
        }
    }
    if taken.is_none() {
        taken = take_nested(draft, "log", "level", |value| read(value, is_syslog));
    }
    taken.unwrap_or(Level::Info)
}

/// Whether small numbers are syslog severities: the document is GELF, or comes from the journal or syslog.
fn is_syslog(document: &Object<'_>) -> bool {
    if SYSLOG_KEYS.iter().any(|key| document.contains_key(key)) {
        return true;
    }
    let Some(version) = document.scalar("version") else { return false };
    let is_gelf = match &version {
        Value::String(text) => GELF_VERSIONS.contains(&text.as_str()),
        // Some senders write it as a number.
        Value::Number(number) => GELF_VERSIONS.contains(&number.to_string().as_str()),
        _ => false,
    };
    document.contains_key("short_message") || is_gelf && document.contains_key("host")
}

/// Parses a level. `is_syslog` interprets small numbers as syslog severities.
pub(super) fn read(value: &Value, is_syslog: bool) -> Option<Level> {
    match value {
        Value::String(text) => from_text(text, is_syslog),
        Value::Number(number) => from_number(number.as_f64()?, is_syslog),
        _ => None,
    }
}

/// Parses a level in any ASCII case, with optional colour codes and brackets.
fn from_text(text: &str, is_syslog: bool) -> Option<Level> {
    if text.encode_utf16().take(MAX_UNITS + 1).count() > MAX_UNITS {
        return None;
    }
    let plain = without_colours(text);
    let name = plain.trim_matches(|character| character <= ' ' || "[]()<>:".contains(character)).to_ascii_lowercase();
    if !name.is_empty() && name.len() <= 2 && name.bytes().all(|byte| byte.is_ascii_digit()) {
        return from_number(name.parse().ok()?, is_syslog);
    }
    // As in `DEBUG1` or `ERROR2`.
    let stem = name.strip_suffix(['1', '2', '3', '4', '5']).filter(|stem| stem.len() >= 4);
    from_spelling(&name).or_else(|| stem.and_then(from_spelling))
}

fn from_spelling(name: &str) -> Option<Level> {
    SPELLINGS.iter().find(|(_, spellings)| spellings.contains(&name)).map(|(level, _)| *level)
}

/// Removes terminal colour sequences: from `ESC [` to the next letter.
fn without_colours(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, escape)) = rest.split_once("\u{1b}[") {
        plain.push_str(before);
        rest = match escape.find(|character: char| character.is_ascii_alphabetic()) {
            Some(end) => &escape[end + 1..],
            None => "",
        };
    }
    plain + rest
}

/// Parses the numbers of bunyan and pino: 10 is trace, 20 debug, 30 info, 40 warn, 50 to 99 error; numbers in between
/// belong to the lower one. Larger numbers have no common meaning.
fn from_number(number: f64, is_syslog: bool) -> Option<Level> {
    if is_syslog && let Some(severity) = (0_u8..8).find(|severity| f64::from(*severity) == number) {
        return Some(SYSLOG[usize::from(severity)]);
    }
    Some(match number {
        n if n < 10.0 => return None,
        n if n < 20.0 => Level::Trace,
        n if n < 30.0 => Level::Debug,
        n if n < 40.0 => Level::Info,
        n if n < 50.0 => Level::Warn,
        n if n < 100.0 => Level::Error,
        _ => return None,
    })
}

/// Parses OpenTelemetry's severity numbers.
fn from_severity_number(value: &Value) -> Option<Level> {
    Some(match value.as_i64()? {
        1..=4 => Level::Trace,
        5..=8 => Level::Debug,
        9..=12 => Level::Info,
        13..=16 => Level::Warn,
        17..=24 => Level::Error,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn spellings_are_known() {
        for (value, level) in [
            (json!(" WARNING "), Level::Warn),
            (json!("Fatal"), Level::Error),
            (json!("\u{1b}[31merror\u{1b}[39m"), Level::Error),
            (json!("\u{1b}[1;33m WARN \u{1b}[0m"), Level::Warn),
            (json!("[INFO]"), Level::Info),
            (json!("E"), Level::Error),
            (json!("I"), Level::Info),
            (json!("debug3"), Level::Debug),
            (json!("50"), Level::Error),
            (json!(30), Level::Info),
            (json!(60), Level::Error),
        ] {
            assert_eq!(read(&value, false), Some(level), "{value}");
            assert_eq!(read(&value, true), Some(level), "{value}");
        }
    }

    #[test]
    fn ambiguous_values_are_rejected() {
        for value in
            [json!("loud"), json!(6), json!("3"), json!(200), json!("400"), json!(""), json!(null), json!("x1")]
        {
            assert_eq!(read(&value, false), None, "{value}");
        }
        let of_syslog = (0..8).map(|number| read(&json!(number), true).unwrap());
        assert_eq!(of_syslog.collect::<Vec<_>>(), SYSLOG);
        assert_eq!(read(&json!("4"), true), Some(Level::Warn));
        assert_eq!(read(&json!(8), true), None);
    }
}
