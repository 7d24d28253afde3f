//! Points in time as log lines write them (RFC 3339) and as index names use them (UTC days).
//!
//! Parsing runs once for each line, so it works on bytes and does not allocate.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

const MICROS_PER_SECOND: i64 = 1_000_000;
const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;

/// A time in microseconds since the Unix epoch, UTC, in the years 0001 to 9999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// Returns the current time of the system clock.
    #[must_use]
    pub fn now() -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX))
    }

    /// Creates a timestamp from microseconds since the Unix epoch.
    #[must_use]
    pub const fn from_unix_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Creates a timestamp from milliseconds since the Unix epoch.
    #[must_use]
    pub const fn from_unix_ms(millis: i64) -> Self {
        Self(millis.saturating_mul(1_000))
    }

    /// Returns microseconds since the Unix epoch.
    #[must_use]
    pub const fn unix_micros(self) -> i64 {
        self.0
    }

    /// Returns milliseconds since the Unix epoch, rounded down.
    #[must_use]
    pub const fn unix_ms(self) -> i64 {
        self.0.div_euclid(1_000)
    }

    /// Parses an RFC 3339 date-time with any offset. Digits beyond microseconds are dropped; a leap second reads as the
    /// second before it. Returns `None` for any other text.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        if text.len() < 20 || text[4] != b'-' || text[7] != b'-' || text[13] != b':' || text[16] != b':' {
            return None;
        }
        if !matches!(text[10], b'T' | b't' | b' ') {
            return None;
        }
        let (year, month, day) = (digits(&text[..4])?, digits(&text[5..7])?, digits(&text[8..10])?);
        let (hour, minute, second) = (digits(&text[11..13])?, digits(&text[14..16])?, digits(&text[17..19])?);
        let (micros, zone) = fraction(&text[19..])?;
        let east = offset(zone)?;
        Self::from_parts([year, month, day], [hour, minute, second], micros, east)
    }

    /// Combines a date, a time of day and an offset in minutes east of UTC. Returns `None` if there is no such time.
    pub(crate) fn from_parts(date: [i64; 3], time: [i64; 3], micros: i64, east: i64) -> Option<Self> {
        let ([year, month, day], [hour, minute, second]) = (date, time);
        if year == 0 || !(1..=12).contains(&month) || day == 0 || day > days_in_month(year, month) {
            return None;
        }
        if hour > 23 || minute > 59 || second > 60 {
            return None;
        }
        let minutes = hour * 60 + minute - east;
        let seconds = days_from_civil(year, month, day) * 86_400 + minutes * 60 + second.min(59);
        Some(Self(seconds * MICROS_PER_SECOND + micros))
    }

    /// Returns the UTC day.
    #[must_use]
    pub const fn day(self) -> Day {
        Day(self.0.div_euclid(MICROS_PER_DAY))
    }
}

impl fmt::Display for Timestamp {
    /// Writes RFC 3339 in UTC with six decimals and `Z`: 27 characters for the years 0001 to 9999.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.day().civil();
        let of_day = self.0.rem_euclid(MICROS_PER_DAY);
        let (seconds, micros) = (of_day / MICROS_PER_SECOND, of_day % MICROS_PER_SECOND);
        let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
        write!(formatter, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
    }
}

/// A UTC day, displayed as `YYYY.MM.DD`, the form used in index names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(i64);

impl Day {
    /// Returns year, month and day of the month.
    #[must_use]
    pub const fn civil(self) -> (i64, i64, i64) {
        civil_from_days(self.0)
    }
}

impl fmt::Display for Day {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.civil();
        write!(formatter, "{year:04}.{month:02}.{day:02}")
    }
}

fn digits(text: &[u8]) -> Option<i64> {
    text.iter().try_fold(0, |value, digit| digit.is_ascii_digit().then(|| value * 10 + i64::from(digit - b'0')))
}

/// Parses an optional `.digits` as microseconds and returns the rest of the text.
fn fraction(text: &[u8]) -> Option<(i64, &[u8])> {
    let Some(rest) = text.strip_prefix(b".") else { return Some((0, text)) };
    let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if count == 0 {
        return None;
    }
    let kept = count.min(6);
    let scale = 10_i64.pow(6 - u32::try_from(kept).ok()?);
    Some((digits(&rest[..kept])? * scale, &rest[count..]))
}

/// Parses `Z` or `+hh:mm` as minutes east of UTC.
fn offset(zone: &[u8]) -> Option<i64> {
    match zone {
        b"Z" | b"z" => Some(0),
        [sign @ (b'+' | b'-'), hours @ .., b':', m1, m2] if hours.len() == 2 => {
            let (hours, minutes) = (digits(hours)?, digits(&[*m1, *m2])?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            let minutes = hours * 60 + minutes;
            Some(if *sign == b'-' { -minutes } else { minutes })
        }
        _ => None,
    }
}

const fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Days since 1970-01-01 of a date in the proleptic Gregorian calendar. Counts eras of 400 years that begin on 1 March
/// (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms").
const fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The inverse of [`days_from_civil`].
const fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + if month <= 2 { 1 } else { 0 };
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parses_rfc_3339() {
        let base = Timestamp::parse(b"2026-11-23T18:51:20Z").unwrap();
        assert_eq!(base.to_string(), "2026-11-23T18:51:20.000000Z");
        assert_eq!(base.day().to_string(), "2026.11.23");
        assert_eq!(Timestamp::parse(b"2026-11-23T19:51:20+01:00"), Some(base));
        assert_eq!(Timestamp::parse(b"2026-11-23 18:51:20.0000009z"), Some(base));
        let late = Timestamp::parse(b"2026-11-23T23:30:00.5-01:00").unwrap();
        assert_eq!(late.to_string(), "2026-11-24T00:30:00.500000Z");
    }

    #[test]
    fn rejects_everything_else() {
        for text in [
            "",
            "2026-11-23",
            "2026-02-30T00:00:00Z",
            "2026-11-23T24:00:00Z",
            "2026-11-23T18:51:20",
            "2026-11-23T18:51:20.Z",
            "2026-11-23T18:51:20+1:00",
            "x026-11-23T18:51:20Z",
            "2026-11-23T18:51:20Zjunk",
            "0000-01-01T00:00:00Z",
        ] {
            assert_eq!(Timestamp::parse(text.as_bytes()), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn text_and_value_agree_with_the_time_crate(micros in -62_135_596_800_000_000_i64..253_402_300_799_999_999) {
            let own = Timestamp::from_unix_micros(micros);
            let model = time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1_000).unwrap();
            prop_assert_eq!(own.day().civil(), (i64::from(model.year()), i64::from(u8::from(model.month())), i64::from(model.day())));
            prop_assert_eq!(Timestamp::parse(own.to_string().as_bytes()), Some(own));
        }

        #[test]
        fn parsing_any_bytes_does_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = Timestamp::parse(&bytes);
        }
    }
}
