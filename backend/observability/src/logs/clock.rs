//! Formats the current time as RFC 3339: `2024-05-06T07:08:09.123456Z`.

use std::cell::Cell;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

thread_local! {
    /// The second that this thread formatted last, with its text.
    static SECOND: Cell<(u64, [u8; 19])> = const { Cell::new((u64::MAX, [0; 19])) };
}

/// Appends the current time in UTC with microseconds.
pub(crate) fn write_now(out: &mut Vec<u8>) {
    write(out, SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default());
}

fn write(out: &mut Vec<u8>, since_epoch: Duration) {
    let second = since_epoch.as_secs();
    let (mut known, mut text) = SECOND.get();
    if known != second {
        (known, text) = (second, civil(second));
        SECOND.set((known, text));
    }
    out.extend_from_slice(&text);
    let mut micros = *b".000000Z";
    digits(&mut micros[1..7], u64::from(since_epoch.subsec_micros()));
    out.extend_from_slice(&micros);
}

/// Formats seconds since 1970 as date and time. The date's formula is Howard Hinnant's `civil_from_days`,
/// <https://howardhinnant.github.io/date_algorithms.html>.
fn civil(second: u64) -> [u8; 19] {
    let days = second / 86_400 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);

    let mut text = *b"0000-00-00T00:00:00";
    digits(&mut text[..4], year);
    digits(&mut text[5..7], month);
    digits(&mut text[8..10], day);
    digits(&mut text[11..13], second / 3_600 % 24);
    digits(&mut text[14..16], second / 60 % 60);
    digits(&mut text[17..19], second % 60);
    text
}

fn digits(out: &mut [u8], mut number: u64) {
    for digit in out.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_instants() {
        for (micros, text) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (951_782_399_999_999, "2000-02-28T23:59:59.999999Z"),
            (951_782_400_000_001, "2000-02-29T00:00:00.000001Z"),
            (1_709_251_199_500_000, "2024-02-29T23:59:59.500000Z"),
            (4_102_444_800_000_000, "2100-01-01T00:00:00.000000Z"),
        ] {
            let mut out = Vec::new();
            write(&mut out, Duration::from_micros(micros));
            assert_eq!(String::from_utf8(out).expect("text"), text);
        }
    }
}
