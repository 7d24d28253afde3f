//! Parses times in strings, as loggers write them.
//!
//! Only unambiguous texts are accepted: the year comes first, and a number of seconds or fractions of a second since
//! the epoch has as many digits as current times do. A time without a zone is UTC. The ingest pipeline's script accepts
//! the same.

use crate::normalise::epoch;
use crate::timestamp::Timestamp;

/// Maximum length of a time.
const MAX_BYTES: usize = 64;

/// Parses a time: RFC 3339, the basic form of ISO 8601, or a number since the epoch. Variations are accepted: slashes
/// in the date, a decimal comma, a space instead of `T`, and a zone that is missing, short (`+0100`, `+01`) or named
/// (`UTC`).
pub(super) fn parse(text: &[u8]) -> Option<Timestamp> {
    if text.len() > MAX_BYTES {
        return None;
    }
    let start = text.iter().position(|byte| *byte > b' ')?;
    let end = text.iter().rposition(|byte| *byte > b' ')? + 1;
    let text = &text[start..end];
    if text.len() > 8 && text[..8].iter().all(u8::is_ascii_digit) && !matches!(text[8], b'T' | b't') {
        return number(std::str::from_utf8(text).ok()?);
    }
    let mut rest = Rest(text);
    let year = rest.digits(4)?;
    let separator = rest.one_of(b"-/");
    let month = rest.digits(2)?;
    if rest.one_of(b"-/") != separator {
        return None;
    }
    let day = rest.digits(2)?;
    let between = rest.one_of(b"Tt ")?;
    if separator.is_none() && between == b' ' {
        return None;
    }
    let hour = rest.digits(2)?;
    let has_colon = rest.one_of(b":").is_some();
    let minute = rest.digits(2)?;
    if rest.one_of(b":").is_some() != has_colon || has_colon != separator.is_some() {
        return None;
    }
    let second = rest.digits(2)?;
    let micros = if rest.one_of(b".,").is_some() { rest.fraction()? } else { 0 };
    let east = zone(&mut rest)?;
    Timestamp::from_parts([year, month, day], [hour, minute, second], micros, east)
}

/// Parses minutes east of UTC.
fn zone(rest: &mut Rest<'_>) -> Option<i64> {
    let is_apart = rest.one_of(b" ").is_some();
    let east = match rest.0 {
        [] if !is_apart => return Some(0),
        [b'Z' | b'z'] => return Some(0),
        name if [b"UTC", b"GMT"].iter().any(|known| name.eq_ignore_ascii_case(*known)) => return Some(0),
        [b'+' | b'-', ..] => {
            let sign = rest.one_of(b"+-")?;
            let hours = rest.digits(2)?;
            let has_colon = rest.one_of(b":").is_some();
            let minutes = if has_colon || !matches!(rest.0, [] | [b' ', ..]) { rest.digits(2)? } else { 0 };
            if hours > 23 || minutes > 59 {
                return None;
            }
            (hours * 60 + minutes) * if sign == b'-' { -1 } else { 1 }
        }
        _ => return None,
    };
    // As in `+0000 UTC`: the name adds nothing.
    match rest.0 {
        [] => Some(east),
        [b' ', name @ ..] if (1..=5).contains(&name.len()) && name.iter().all(u8::is_ascii_alphabetic) => Some(east),
        _ => None,
    }
}

/// Parses a number since the epoch with the number of digits of current seconds, milliseconds, microseconds or
/// nanoseconds.
fn number(text: &str) -> Option<Timestamp> {
    let (whole, fraction) = text.split_once('.').map_or((text, None), |(whole, fraction)| (whole, Some(fraction)));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(whole) {
        return None;
    }
    match (whole.len(), fraction) {
        (10 | 13 | 16 | 19, None) => whole.parse().ok().map(epoch::from_whole),
        (10 | 13, Some(fraction)) if is_number(fraction) => epoch::from_seconds(text.parse().ok()?),
        _ => None,
    }
}

/// The unparsed rest of a text.
struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn one_of(&mut self, bytes: &[u8]) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        bytes.contains(first).then(|| {
            self.0 = rest;
            *first
        })
    }

    fn digits(&mut self, count: usize) -> Option<i64> {
        let (digits, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        let add = |value: i64, digit: &u8| digit.is_ascii_digit().then(|| value * 10 + i64::from(digit - b'0'));
        digits.iter().try_fold(0, add)
    }

    /// Parses microseconds; further digits are dropped.
    fn fraction(&mut self) -> Option<i64> {
        let count = self.0.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if count == 0 {
            return None;
        }
        let rest = &self.0[count..];
        let kept = count.min(6);
        let micros = self.digits(kept)? * 10_i64.pow(6 - u32::try_from(kept).ok()?);
        self.0 = rest;
        Some(micros)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn common_notations_are_parsed() {
        for (text, time) in [
            ("2025-12-15T02:12:34.977+0100", "2025-12-15T01:12:34.977000Z"),
            ("2025-12-15T02:12:34.977+01", "2025-12-15T01:12:34.977000Z"),
            ("2025-12-15T02:12:34.977-01:30", "2025-12-15T03:42:34.977000Z"),
            ("2018-08-03 02:05:59,772", "2018-08-03T02:05:59.772000Z"),
            ("2018-08-03T02:05:59", "2018-08-03T02:05:59.000000Z"),
            ("2018-08-03 02:05:59,772 +0200", "2018-08-03T00:05:59.772000Z"),
            ("2018/08/03 02:05:59 UTC", "2018-08-03T02:05:59.000000Z"),
            ("2009-11-10 23:00:00.123456789 +0000 UTC", "2009-11-10T23:00:00.123456Z"),
            ("20180803T020559.5Z", "2018-08-03T02:05:59.500000Z"),
            (" 2018-08-03T02:05:59z\n", "2018-08-03T02:05:59.000000Z"),
            ("1531171074", "2018-07-09T21:17:54.000000Z"),
            ("1531171074.6", "2018-07-09T21:17:54.600000Z"),
            ("1531171074600", "2018-07-09T21:17:54.600000Z"),
            ("1531171074600001", "2018-07-09T21:17:54.600001Z"),
            ("1531171074600001999", "2018-07-09T21:17:54.600001Z"),
        ] {
            assert_eq!(parse(text.as_bytes()).map(|time| time.to_string()).as_deref(), Some(time), "{text}");
        }
    }

    #[test]
    fn ambiguous_texts_are_rejected() {
        for text in [
            "",
            "yesterday",
            "03/08/2018 02:05:59",
            "20180803",
            "20180803020559",
            "153117107",
            "15311710746",
            "-1",
            "2018-08-03",
            "2018-08/03 02:05:59",
            "2018-02-30T00:00:00",
            "2018-08-03T24:00:00",
            "2018-08-03T02:05",
            "2018-08-03T02:05:59.",
            "2018-08-03T02:05:59 CEST",
            "2018-08-03T02:05:59+1",
            "2018-08-03T02:05:59+25",
            "2018-08-03T02:0559Z",
            "2018-08-03 020559",
            "1531171074.",
            "1531171074.6.1",
            "1531171074600.",
            "9999999999999999999",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn rfc_3339_is_parsed_like_a_timestamp(micros in -62_135_596_800_000_000_i64..253_402_300_799_999_999) {
            let text = Timestamp::from_unix_micros(micros).to_string();
            prop_assert_eq!(parse(text.as_bytes()), Timestamp::parse(text.as_bytes()));
        }

        #[test]
        fn parsing_any_text_does_not_panic(text in "[0-9TZ:.,+ /-]{0,34}|.{0,20}") {
            let read = parse(text.as_bytes());
            if let Some(time) = Timestamp::parse(text.as_bytes()) {
                prop_assert_eq!(read, Some(time));
            }
        }
    }
}
