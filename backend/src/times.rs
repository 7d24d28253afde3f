//! Times as they are asked for: read, or refused with the place where one is wrong and what would be right there.

use std::fmt;

use store::Timestamp;

use crate::problem::Problem;

/// What a time looks like, up to its seconds: what follows is a fraction and an offset.
const FORM: &str = "0000-00-00T00:00:00";

/// A day of it.
const DAY: &str = "0000-00-00";

/// A time that can't be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// Which parameter it is.
    pub name: &'static str,
    /// The character that is wrong, counted from 1.
    pub column: usize,
    expected: &'static str,
}

impl fmt::Display for Wrong {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, column, expected } = self;
        write!(
            formatter,
            "{name} is wrong at column {column}: there should be {expected}; a time is such as 2026-11-24T10:00 (UTC), or \
             2026-11-24T10:00:00+01:00 (RFC 3339)"
        )
    }
}

impl From<Wrong> for Problem {
    fn from(wrong: Wrong) -> Self {
        Self::bad_request(wrong.to_string())
    }
}

/// Reads a time as RFC 3339 has it, or as a person or a browser's own field writes it: without an offset, which is UTC, without
/// seconds, or a day. An empty text asks for none.
///
/// # Errors
/// Where it is wrong.
pub fn parse(name: &'static str, text: &str) -> Result<Option<Timestamp>, Wrong> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let rest = match text.len() {
        length if length == DAY.len() => "T00:00:00Z",
        length if length == FORM.len() - ":00".len() => ":00Z",
        _ => "",
    };
    let readings = [format!("{text}{rest}"), format!("{text}Z")];
    match readings.iter().find_map(|text| Timestamp::parse(text.as_bytes())) {
        Some(time) => Ok(Some(time)),
        None => Err(wrong(name, text)),
    }
}

/// Where a text stops being a time.
fn wrong(name: &'static str, text: &str) -> Wrong {
    let at = |place: usize, expected| Wrong { name, column: place + 1, expected };
    let mut form = FORM.chars();
    for (place, found) in text.chars().enumerate() {
        let fits = match form.next() {
            Some('0') => found.is_ascii_digit(),
            Some('T') => matches!(found, 'T' | 't' | ' '),
            Some(sign) => found == sign,
            None => break,
        };
        if !fits {
            return at(place, expected(place));
        }
    }
    let length = text.chars().count();
    if length < FORM.len() && length != DAY.len() && length != FORM.len() - ":00".len() {
        return at(length, expected(length));
    }
    // It has the form, and one of its numbers can't be: the first that no other makes good.
    for (place, least, most) in [(0, 1, 9_999), (5, 1, 12), (8, 1, 31), (11, 0, 23), (14, 0, 59), (17, 0, 60)] {
        let digits = if place == 0 { 4 } else { 2 };
        let number = text.get(place..place + digits).and_then(|digits| digits.parse::<u16>().ok());
        if number.is_some_and(|number| !(least..=most).contains(&number)) {
            return at(place, expected(place));
        }
    }
    let begin = format!("{}T00:00:00Z", text.get(..DAY.len()).unwrap_or_default());
    if Timestamp::parse(begin.as_bytes()).is_none() {
        return at(8, "a day that the month has");
    }
    at(FORM.len(), "a fraction, Z, an offset such as +01:00 (in an address, %2B01:00), or nothing")
}

/// What belongs at a place of the form.
fn expected(place: usize) -> &'static str {
    match place {
        0..=3 => "a year of four digits",
        5..=6 => "a month from 01 to 12",
        8..=9 => "a day from 01 to 31",
        10 => "a T and the time, or nothing",
        11..=12 => "an hour from 00 to 23",
        14..=15 => "minutes from 00 to 59",
        17..=18 => "seconds from 00 to 59",
        4 | 7 => "a -",
        _ => "a :",
    }
}

/// Refuses a range that ends before it begins, or where it does.
///
/// # Errors
/// It does; what would be right.
pub fn check_range(from: Option<Timestamp>, to: Option<Timestamp>) -> Result<(), Problem> {
    match (from, to) {
        (Some(from), Some(to)) if from >= to => {
            let hint = if from > to { "; exchanged, they are a range" } else { "; no line is in no time" };
            Err(Problem::bad_request(format!("from is {from} and to is {to}, but from has to be before to{hint}")))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times_are_read_as_people_and_browsers_write_them() {
        let expected = Timestamp::parse(b"2026-11-24T10:00:00Z");
        for text in [
            "2026-11-24T10:00",
            "2026-11-24 10:00",
            "2026-11-24T10:00:00",
            "2026-11-24T10:00:00.000",
            "2026-11-24T10:00:00Z",
            "2026-11-24T11:00:00+01:00",
            " 2026-11-24T10:00 ",
        ] {
            assert_eq!(parse("from", text), Ok(expected), "{text}");
        }
        assert_eq!(parse("from", "2026-11-24"), Ok(Timestamp::parse(b"2026-11-24T00:00:00Z")));
        assert_eq!(parse("from", " "), Ok(None));
    }

    #[test]
    fn a_wrong_time_is_told_with_its_place() {
        for (text, column, expected) in [
            ("soon", 1, "a year"),
            ("2026", 5, "a -"),
            ("2026-1-24", 7, "a month"),
            ("2026-13-01", 6, "a month"),
            ("2026-00-01T10:00", 6, "a month"),
            ("2026-11-31", 9, "a day that the month has"),
            ("2026-11-32", 9, "a day from"),
            ("2026-11-24x", 11, "a T"),
            ("2026-11-24T", 12, "an hour"),
            ("2026-11-24T24:00", 12, "an hour"),
            ("2026-11-24T10:60", 15, "minutes"),
            ("2026-11-24T10:0", 16, "minutes"),
            ("2026-11-24T10:00:61Z", 18, "seconds"),
            ("2026-11-24T10:00:00 01:00", 20, "a fraction"),
            ("2026-11-24T10:00:00+1", 20, "a fraction"),
            ("0000-11-24", 1, "a year"),
            ("２０２６", 1, "a year"),
            ("2026-11-24T10:00:0字", 19, "seconds"),
        ] {
            let wrong = parse("to", text).unwrap_err();
            assert_eq!(wrong.column, column, "{text}: {wrong}");
            assert!(wrong.expected.starts_with(expected), "{text}: {wrong}");
            assert!(wrong.to_string().starts_with(&format!("to is wrong at column {column}")), "{wrong}");
        }
    }

    #[test]
    fn a_range_ends_after_it_begins() {
        let at = |ms: i64| Some(Timestamp::from_unix_ms(ms));
        for (from, to) in [(None, None), (at(1), None), (None, at(1)), (at(1), at(2))] {
            assert!(check_range(from, to).is_ok());
        }
        let backwards = check_range(at(2), at(1)).unwrap_err().to_string();
        assert!(backwards.contains("exchanged"), "{backwards}");
        assert!(check_range(at(1), at(1)).is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_at_a_place_that_it_has(text in "[0-9T:Z+. -]{0,30}|.{0,30}") {
            if let Err(wrong) = parse("from", &text) {
                prop_assert!((1..=text.trim().chars().count() + 1).contains(&wrong.column), "{}", wrong);
            }
        }
    }
}
