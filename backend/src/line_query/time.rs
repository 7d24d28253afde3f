//! Parses times. An invalid one is reported with the column of the first invalid character and what is expected there.

use store::Timestamp;

use crate::line_query::error::LineQueryError;

/// The form of a time up to its seconds; a fraction and an offset may follow.
const FORM: &str = "0000-00-00T00:00:00";

/// The form of a date.
const DAY: &str = "0000-00-00";

/// Parses the value of the parameter `name`: RFC 3339, where the offset (default UTC), the seconds and the time may be left
/// out. An empty text is no time.
///
/// # Errors
/// The text is not a time.
pub fn parse(name: &'static str, text: &str) -> Result<Option<Timestamp>, LineQueryError> {
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
        None => {
            let (column, expected) = first_error(text);
            let detail = format!(
                "invalid time in \"{name}\" at column {column}: expected {expected}; examples: 2026-11-24T10:00 (UTC), \
                 2026-11-24T10:00:00+01:00 (RFC 3339)"
            );
            Err(LineQueryError::new(name, detail).at_column(column))
        }
    }
}

/// The column of the first character that is not part of a time, counted from 1, and what is expected there.
fn first_error(text: &str) -> (usize, &'static str) {
    let at = |index: usize, expected| (index + 1, expected);
    let mut form = FORM.chars();
    for (index, found) in text.chars().enumerate() {
        let fits = match form.next() {
            Some('0') => found.is_ascii_digit(),
            Some('T') => matches!(found, 'T' | 't' | ' '),
            Some(sign) => found == sign,
            None => break,
        };
        if !fits {
            return at(index, expected(index));
        }
    }
    let length = text.chars().count();
    if length < FORM.len() && length != DAY.len() && length != FORM.len() - ":00".len() {
        return at(length, expected(length));
    }
    // The form is right, so a number is out of range.
    for (index, least, most) in [(0, 1, 9_999), (5, 1, 12), (8, 1, 31), (11, 0, 23), (14, 0, 59), (17, 0, 60)] {
        let digits = if index == 0 { 4 } else { 2 };
        let number = text.get(index..index + digits).and_then(|digits| digits.parse::<u16>().ok());
        if number.is_some_and(|number| !(least..=most).contains(&number)) {
            return at(index, expected(index));
        }
    }
    let begin = format!("{}T00:00:00Z", text.get(..DAY.len()).unwrap_or_default());
    if Timestamp::parse(begin.as_bytes()).is_none() {
        return at(8, "a day of that month");
    }
    at(FORM.len(), "a fraction, Z, an offset such as +01:00 (%2B01:00 in a URL), or nothing")
}

/// What is expected at an index of the form.
fn expected(index: usize) -> &'static str {
    match index {
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn offset_seconds_and_time_may_be_left_out() {
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
    fn an_invalid_time_is_reported_with_its_column() {
        for (text, column, expected) in [
            ("soon", 1, "a year"),
            ("2026", 5, "a -"),
            ("2026-1-24", 7, "a month"),
            ("2026-13-01", 6, "a month"),
            ("2026-00-01T10:00", 6, "a month"),
            ("2026-11-31", 9, "a day of that month"),
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
            let error = parse("to", text).unwrap_err();
            assert_eq!(error.position(), ("to", Some(column)), "{text}: {error}");
            let start = format!("invalid time in \"to\" at column {column}: expected {expected}");
            assert!(error.to_string().starts_with(&start), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_time_or_invalid_at_one_of_its_columns(text in "[0-9T:Z+. -]{0,30}|.{0,30}") {
            if let Err(error) = parse("from", &text) {
                let column = error.position().1.unwrap();
                prop_assert!((1..=text.trim().chars().count() + 1).contains(&column), "{}", error);
            }
        }
    }
}
