//! Aggregations: counts by value, histograms and request statistics, with their accuracy.

use std::time::Duration;

use crate::level::Level;
use crate::query::{Field, Filter, NamedField};
use crate::timestamp::Timestamp;

/// Maximum length of a list of values, groups or patterns; a larger `top` is reduced to it.
pub const MAX_TOP: usize = 1_000;

/// Maximum number of time buckets in an answer. A step that would exceed it is widened to a multiple of itself, which
/// the answer contains.
pub const MAX_BUCKETS: u64 = 1_000;

/// The lines to count. The default is all lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Only lines that match this filter.
    pub filter: Filter,
    /// Only lines at or after this time.
    pub from: Option<Timestamp>,
    /// Only lines before this time.
    pub to: Option<Timestamp>,
}

/// The accuracy of counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Accuracy {
    /// Counts are exact.
    #[default]
    Exact,
    /// Not all lines were counted; counts are lower bounds.
    AtLeast {
        /// Number of lines examined, the newest ones.
        examined: u64,
    },
}

/// What lines are counted by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Facet {
    /// The values of a field.
    Field(Field),
    /// The status of the response.
    Status,
    /// The values of a user-named field; see [`Facet::from_named`].
    Named(NamedField),
}

impl Facet {
    /// Returns the facet of a user-named field. Only keywords and booleans have one, and only if no index of an engine
    /// has the field with another type.
    #[must_use]
    pub fn from_named(field: &NamedField) -> Option<Self> {
        field.is_countable().then(|| Self::Named(field.clone()))
    }

    /// Returns its name in a query.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Field(field) => field.name(),
            Self::Status => "status",
            Self::Named(field) => field.name(),
        }
    }
}

impl From<Field> for Facet {
    fn from(field: Field) -> Self {
        Self::Field(field)
    }
}

/// Counts of lines by field values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facets {
    /// Number of selected lines.
    pub lines: u64,
    /// Counts of each requested field, in the requested order.
    pub facets: Vec<FacetCounts>,
    /// Accuracy of the counts.
    pub accuracy: Accuracy,
}

/// Counts of lines by the values of one field. Lines without the field are not included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FacetCounts {
    /// The field.
    pub facet: Facet,
    /// The most frequent values and their counts. Equal counts are sorted by value.
    pub values: Vec<(String, u64)>,
    /// Number of lines with values beyond the list.
    pub others: u64,
}

/// Counts of lines over time. It excludes times before 1970 and after 2262, which engines can't sort.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// Width of a bucket. It is wider than requested if there would be more than [`MAX_BUCKETS`].
    pub step: Duration,
    /// Buckets in order of time, without gaps; empty if no line was selected. Each begins at a multiple of the step
    /// since the Unix epoch.
    pub buckets: Vec<Bucket>,
    /// Accuracy of the counts.
    pub accuracy: Accuracy,
}

/// Counts of one time bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Start of the bucket.
    pub start: Timestamp,
    /// Number of lines.
    pub lines: u64,
    /// Number of lines of each level, in the order of [`Level::ALL`].
    pub levels: [u64; Level::ALL.len()],
}

/// How requests are grouped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Breakdown {
    /// No grouping.
    Total,
    /// By endpoint, the most frequent first.
    Endpoint,
    /// By project, the most frequent first.
    Project,
    /// By time bucket, as in a [`Histogram`].
    Time(Duration),
}

/// Request statistics, computed from access lines.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RequestStats {
    /// Statistics of all selected requests.
    pub total: Requests,
    /// Statistics of each group. Requests without an endpoint or a project are in none. Time buckets have no gaps.
    pub groups: Vec<(GroupKey, Requests)>,
    /// Number of requests in groups beyond the list.
    pub others: u64,
    /// Width of a time bucket, as in a [`Histogram`], if grouped by time.
    pub step: Option<Duration>,
    /// Accuracy of the counts. Percentiles of an engine are estimates (t-digest); those of the embedded store are
    /// exact.
    pub accuracy: Accuracy,
}

/// The key of a group of requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupKey {
    /// An endpoint or a project.
    Value(String),
    /// The start of a time bucket.
    Time(Timestamp),
}

/// Statistics of a group of requests.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Requests {
    /// Number of requests.
    pub requests: u64,
    /// Number of responses with a status from 500 to 599.
    pub server_errors: u64,
    /// Number of requests without a response.
    pub unanswered: u64,
    /// Median duration in milliseconds (p50); `None` if no request has a duration.
    pub p50_ms: Option<f64>,
    /// 90th percentile of the duration in milliseconds.
    pub p90_ms: Option<f64>,
    /// 99th percentile of the duration in milliseconds.
    pub p99_ms: Option<f64>,
}

/// Times that every engine can sort: from 1970 to 2262.
const ORDERED: std::ops::Range<i64> = 0..i64::MAX / 1_000;

/// Whether every engine can sort a time.
pub(crate) fn is_ordered(time: &Timestamp) -> bool {
    ORDERED.contains(&time.unix_micros())
}

const fn before(time: Timestamp) -> Timestamp {
    Timestamp::from_unix_micros(time.unix_micros() - 1)
}

/// Time buckets of equal width.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Steps {
    /// Start of the first bucket, in microseconds since the epoch.
    pub(crate) start: i64,
    /// Width of a bucket in microseconds.
    pub(crate) step: i64,
    /// Number of buckets.
    pub(crate) count: u64,
}

impl Steps {
    /// Creates the buckets of a selection that has both time bounds.
    pub(crate) fn from_selection(selection: &Selection, requested: Duration) -> Option<Self> {
        let (from, to) = (selection.from.filter(is_ordered)?, selection.to.filter(is_ordered)?);
        (from < to).then(|| Self::from_range(from, before(to), requested))
    }

    /// Creates the buckets of a selection; a missing time bound is replaced by the first or the last line's time.
    pub(crate) fn from_selection_or(
        selection: &Selection,
        (first, last): (Timestamp, Timestamp),
        requested: Duration,
    ) -> Self {
        let first = selection.from.filter(is_ordered).unwrap_or(first);
        Self::from_range(first, selection.to.filter(is_ordered).map_or(last, before), requested)
    }

    /// Creates buckets from the first to the last time, inclusive.
    pub(crate) fn from_range(first: Timestamp, last: Timestamp, requested: Duration) -> Self {
        let clamp = |time: Timestamp| time.unix_micros().clamp(ORDERED.start, ORDERED.end - 1);
        let (first, last) = (clamp(first), clamp(last.max(first)));
        // Engines use milliseconds.
        let requested =
            i64::try_from(requested.as_millis()).unwrap_or(i64::MAX / 1_000_000).clamp(1, i64::MAX / 1_000_000) * 1_000;
        let most = i64::try_from(MAX_BUCKETS).unwrap_or(i64::MAX);
        let count = |step: i64| last / step - first / step + 1;
        let mut step = requested.saturating_mul((count(requested) / most).max(1));
        while count(step) > most {
            step = step.saturating_add(requested);
        }
        Self { start: first / step * step, step, count: count(step).unsigned_abs() }
    }

    /// Returns the index of the bucket that contains a time.
    pub(crate) fn index_of(&self, time: Timestamp) -> Option<usize> {
        let after = time.unix_micros().checked_sub(self.start).filter(|after| *after >= 0)?;
        usize::try_from(after / self.step).ok().filter(|index| (*index as u64) < self.count)
    }

    /// Returns the start of each bucket.
    pub(crate) fn starts(&self) -> impl Iterator<Item = Timestamp> {
        let (start, step) = (self.start, self.step);
        (0..self.count.cast_signed()).map(move |number| Timestamp::from_unix_micros(start + number * step))
    }

    pub(crate) fn duration(&self) -> Duration {
        Duration::from_micros(self.step.unsigned_abs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_widened_to_the_bucket_limit() {
        let at = Timestamp::from_unix_ms;
        let minute = Duration::from_secs(60);
        let steps = Steps::from_range(at(90_000), at(240_000), minute);
        assert_eq!((steps.start, steps.count, steps.duration()), (60_000_000, 4, minute));
        assert_eq!(
            (steps.index_of(at(59_999)), steps.index_of(at(120_000)), steps.index_of(at(300_000))),
            (None, Some(1), None)
        );
        for (first, last, requested) in
            [(0, i64::MAX, 0), (i64::MIN, i64::MAX, 1), (5, 5, u64::MAX), (1, 1_000_001, 1_000)]
        {
            let (first, last) = (Timestamp::from_unix_micros(first), Timestamp::from_unix_micros(last));
            let steps = Steps::from_range(first, last, Duration::from_millis(requested));
            assert!((1..=MAX_BUCKETS).contains(&steps.count) && steps.step > 0, "{steps:?}");
            assert_eq!(steps.starts().count() as u64, steps.count);
        }
    }
}
