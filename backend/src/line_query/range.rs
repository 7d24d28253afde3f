//! Time ranges: two times, or a span that ends now.

use std::time::Duration;

use store::Timestamp;

use crate::line_query::error::LineQueryError;
use crate::line_query::param::Param;
use crate::line_query::time;

/// The spans that `last` takes besides [`ALL_TIME`], with the label that pages show.
pub const SPANS: [(&str, &str, Duration); 6] = [
    ("15m", "15 minutes", Duration::from_secs(900)),
    ("1h", "1 hour", Duration::from_secs(3_600)),
    ("6h", "6 hours", Duration::from_secs(6 * 3_600)),
    ("24h", "24 hours", Duration::from_secs(24 * 3_600)),
    ("7d", "7 days", Duration::from_secs(7 * 24 * 3_600)),
    ("30d", "30 days", Duration::from_secs(30 * 24 * 3_600)),
];

/// The value of `last` that stands for all of time.
pub const ALL_TIME: &str = "all";

const MINUTE_MS: i64 = 60_000;

/// A time range; an absent side is open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimeRange {
    /// Start, inclusive.
    pub from: Option<Timestamp>,
    /// End, exclusive.
    pub to: Option<Timestamp>,
}

impl TimeRange {
    /// Parses `from`, `to` and `last` as of `now`; each may be empty. A span starts at a whole minute, so that links with it stay the same for
    /// a while and the first bucket of a chart is a whole one. Without any of them, it is all of time.
    ///
    /// # Errors
    /// A value is invalid, or the range does not end after it starts.
    pub fn parse(from: &str, to: &str, last: &str, now: Timestamp) -> Result<Self, LineQueryError> {
        let range = Self { from: time::parse(Param::From.name(), from)?, to: time::parse(Param::To.name(), to)? };
        let last = if last.is_empty() { ALL_TIME } else { last };
        let span = SPANS.into_iter().find(|(name, ..)| *name == last);
        if span.is_none() && last != ALL_TIME {
            let names: Vec<_> = SPANS.iter().map(|(name, ..)| *name).collect();
            let detail = format!("invalid last: expected {} or {ALL_TIME}", names.join(", "));
            return Err(LineQueryError::new(Param::Last.name(), detail));
        }
        match (range, span) {
            (Self { from: None, to: None }, Some((.., length))) => {
                let length_ms = i64::try_from(length.as_millis()).unwrap_or(i64::MAX);
                let from_ms = (now.unix_ms() - length_ms).div_euclid(MINUTE_MS) * MINUTE_MS;
                Ok(Self { from: Some(Timestamp::from_unix_ms(from_ms)), to: None })
            }
            _ => range.checked(),
        }
    }

    /// The part of it within a bucket that starts at `start`. Buckets start at multiples of their length, so the first and the
    /// last of a range reach beyond it.
    #[must_use]
    pub fn bucket(&self, start: Timestamp, length_ms: i64) -> Self {
        let end = Timestamp::from_unix_ms(start.unix_ms().saturating_add(length_ms));
        let (from, to) = (self.from.map_or(start, |from| from.max(start)), self.to.map_or(end, |to| to.min(end)));
        Self { from: Some(from), to: Some(to) }
    }

    fn checked(self) -> Result<Self, LineQueryError> {
        match (self.from, self.to) {
            (Some(from), Some(to)) if from >= to => {
                let reason = if from > to { "from is after to; swap them" } else { "the time range is empty" };
                Err(LineQueryError::new(Param::From.name(), format!("invalid time range {from} to {to}: {reason}")))
            }
            _ => Ok(self),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(from: &str, to: &str, last: &str) -> Result<TimeRange, LineQueryError> {
        TimeRange::parse(from, to, last, Timestamp::from_unix_ms(10_000_000_000))
    }

    #[test]
    fn a_range_is_two_times_or_a_span() {
        let day = Timestamp::parse(b"2026-11-24T00:00:00Z");
        assert_eq!(parse("2026-11-24", "", "").unwrap(), TimeRange { from: day, to: None });
        assert_eq!(parse("2026-11-24", "", "15m").unwrap().from, day, "times take precedence");
        // 15 minutes, rounded down to a whole minute.
        let from = Timestamp::from_unix_ms(10_000_000_000 - 900_000 - 40_000);
        assert_eq!(parse("", "", "15m").unwrap().from, Some(from));
        assert_eq!((parse("", "", "all").unwrap(), parse("", "", "").unwrap()), Default::default());
        for (from, to, last) in
            [("soon", "", ""), ("", "2026-13-01", ""), ("2026-11-24", "2026-11-23", ""), ("", "", "2y")]
        {
            assert!(parse(from, to, last).is_err(), "{from} {to} {last}");
        }
    }

    #[test]
    fn a_range_ends_after_it_starts() {
        let error = |from, to| parse(from, to, "").unwrap_err().to_string();
        assert!(error("2026-11-24", "2026-11-23").contains("swap them"));
        assert!(error("2026-11-24", "2026-11-24").contains("the time range is empty"));
        assert!(parse("2026-11-23", "2026-11-24", "").is_ok());
    }

    #[test]
    fn a_bucket_at_the_edge_is_cut_to_the_range() {
        let at = Timestamp::from_unix_ms;
        let range = TimeRange { from: Some(at(70_000)), to: Some(at(150_000)) };
        assert_eq!(range.bucket(at(60_000), 60_000), TimeRange { from: Some(at(70_000)), to: Some(at(120_000)) });
        assert_eq!(range.bucket(at(120_000), 60_000), TimeRange { from: Some(at(120_000)), to: Some(at(150_000)) });
    }
}
