//! Formats times, durations and counts.

use store::Timestamp;

const HOUR_US: u64 = 3_600_000_000;
const DAY_US: u64 = 24 * HOUR_US;
const TWO_DAYS_US: u64 = 2 * DAY_US;

/// Longer durations come from wrong clocks and are not shown in full.
const TOO_LONG_US: u64 = 1_000 * DAY_US;

/// A duration, in a suitable unit.
#[must_use]
pub fn span(us: i64) -> String {
    let sign = if us < 0 { "−" } else { "" };
    let size = us.unsigned_abs();
    let text = match size {
        0..1_000 => format!("{size} µs"),
        1_000..10_000 => format!("{:.1} ms", size as f64 / 1e3),
        10_000..1_000_000 => format!("{:.0} ms", size as f64 / 1e3),
        1_000_000..60_000_000 => format!("{:.2} s", size as f64 / 1e6),
        60_000_000..HOUR_US => format!("{} min {} s", size / 60_000_000, size / 1_000_000 % 60),
        HOUR_US..TWO_DAYS_US => format!("{} h {} min", size / HOUR_US, size / 60_000_000 % 60),
        TWO_DAYS_US..TOO_LONG_US => format!("{} d {} h", size / DAY_US, size / HOUR_US % 24),
        _ => "1,000 d or more".to_owned(),
    };
    format!("{sign}{text}")
}

/// A duration in milliseconds, as [`span`].
#[must_use]
pub fn span_ms(ms: f64) -> String {
    span((ms * 1_000.0) as i64)
}

/// A count with thousands separators.
#[must_use]
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count with its noun, in singular or plural.
#[must_use]
pub fn counted(number: u64, one: &str, several: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { several })
}

/// The time since the previous line, if it is known.
#[must_use]
pub fn gap(gap_us: Option<i64>) -> String {
    gap_us.map(|gap| if gap < 0 { span(gap) } else { format!("+{}", span(gap)) }).unwrap_or_default()
}

/// A date and time of day in UTC, to the second.
#[must_use]
pub fn datetime(time: Timestamp) -> String {
    let text = time.to_string();
    // A year may have more than four digits.
    let (day, clock) = text.split_once('T').unwrap_or((&text, ""));
    format!("{day} {}", clock.get(..8).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_formatted() {
        let spans = [7, 1_500, 12_345, 1_234_567, 61_000_000, 3_720_000_000, -5].map(span);
        assert_eq!(spans, ["7 µs", "1.5 ms", "12 ms", "1.23 s", "1 min 1 s", "1 h 2 min", "−5 µs"]);
        assert_eq!([90_000_000_000, 180_000_000_000].map(span), ["25 h 0 min", "2 d 2 h"]);
        assert_eq!([i64::MAX, i64::MIN].map(span), ["1,000 d or more", "−1,000 d or more"]);
        assert_eq!([1e308, -1e308, f64::NAN].map(span_ms), ["1,000 d or more", "−1,000 d or more", "0 µs"]);
        assert_eq!([0, 999, 1_000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(counted(1, "line", "lines"), "1 line");
        assert_eq!(datetime(Timestamp::from_unix_ms(0)), "1970-01-01 00:00:00");
        let beyond = Timestamp::parse(b"9999-12-31T23:59:59-23:59").unwrap();
        assert_eq!(datetime(beyond), "10000-01-01 23:58:59");
    }
}
