//! Times as numbers since the Unix epoch.

use crate::timestamp::Timestamp;

/// Limits of the magnitude of numbers that are seconds, milliseconds and microseconds since the Unix epoch. Larger ones
/// are nanoseconds.
pub(super) const SECONDS_BELOW: i64 = 100_000_000_000;
const MILLIS_BELOW: i64 = SECONDS_BELOW * 1_000;
const MICROS_BELOW: i64 = MILLIS_BELOW * 1_000;

/// Reads a whole number, whose magnitude decides its unit.
pub(super) fn from_whole(number: i64) -> Timestamp {
    Timestamp::from_unix_micros(match number.saturating_abs() {
        magnitude if magnitude < SECONDS_BELOW => number * 1_000_000,
        magnitude if magnitude < MILLIS_BELOW => number * 1_000,
        magnitude if magnitude < MICROS_BELOW => number,
        _ => number.div_euclid(1_000),
    })
}

/// Numbers with decimals are seconds, or milliseconds if they are too large for seconds.
pub(super) fn from_seconds(number: f64) -> Option<Timestamp> {
    #[expect(clippy::cast_precision_loss, reason = "the bounds are powers of ten that a double holds")]
    let (seconds_below, millis_below) = (SECONDS_BELOW as f64, MILLIS_BELOW as f64);
    let micros = if number.abs() < seconds_below {
        number * 1e6
    } else if number.abs() < millis_below {
        number * 1e3
    } else {
        return None;
    };
    #[expect(clippy::cast_possible_truncation, reason = "the magnitude is bounded just above")]
    Some(Timestamp::from_unix_micros((micros + 0.5).floor() as i64))
}
