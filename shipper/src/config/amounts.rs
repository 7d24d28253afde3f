//! Durations and sizes with a unit: `7d`, `12h`, `5GiB`.

use std::time::Duration;

/// Parses a duration: a whole number with `s`, `m`, `h`, `d` or `w`.
///
/// # Errors
/// What is valid.
pub(super) fn age(text: &str) -> Result<Duration, String> {
    let units = [("s", 1), ("m", 60), ("h", 3_600), ("d", 86_400), ("w", 7 * 86_400)];
    amount(text, &units)
        .map(Duration::from_secs)
        .ok_or_else(|| format!("{text:?} is not a positive whole number followed by s, m, h, d or w, such as 7d"))
}

/// Parses a size: a whole number with `KiB`, `MiB`, `GiB` or `TiB`.
///
/// # Errors
/// What is valid.
pub(super) fn bytes(text: &str) -> Result<u64, String> {
    let units = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)];
    amount(text, &units).ok_or_else(|| {
        format!("{text:?} is not a positive whole number followed by KiB, MiB, GiB or TiB, such as 5GiB")
    })
}

fn amount(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.len() - text.trim_start_matches(|digit: char| digit.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok().filter(|number| *number > 0)?.checked_mul(*factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_is_a_number_followed_by_a_unit() {
        assert_eq!(age("7d"), Ok(Duration::from_secs(7 * 86_400)));
        assert_eq!((age("90s"), age("2w")), (Ok(Duration::from_secs(90)), Ok(Duration::from_secs(14 * 86_400))));
        assert_eq!((bytes("5GiB"), bytes("1024KiB")), (Ok(5 << 30), Ok(1 << 20)));
        for wrong in ["", "d", "7", "0d", "-1d", "1.5h", "7 d", "7D", "99999999999999999999s", "99999999999999999w"] {
            assert!(age(wrong).unwrap_err().contains("such as 7d"), "{wrong}");
        }
        for wrong in ["5", "5GB", "GiB", "0MiB", "99999999999TiB"] {
            assert!(bytes(wrong).unwrap_err().contains("such as 5GiB"), "{wrong}");
        }
    }
}
