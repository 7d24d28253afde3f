//! Counts over many lines, and what of them is exact: facets, histograms and figures of requests.

use std::time::Duration;

use crate::level::Level;
use crate::query::{Field, Filter, NamedField};
use crate::timestamp::Timestamp;

/// No list of values, groups or patterns is longer than this; a greater `top` is taken as this.
pub const MAX_TOP: usize = 1_000;

/// No answer has more steps of time than this. A step that would make more is widened to a multiple of itself that does
/// not, which the answer tells.
pub const MAX_BUCKETS: u64 = 1_000;

/// Which lines are counted. The default is all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Only lines that this finds.
    pub filter: Filter,
    /// Only lines at this time or later.
    pub from: Option<Timestamp>,
    /// Only lines before this time.
    pub to: Option<Timestamp>,
}

/// How far counts are to be trusted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Counted {
    /// They are exact.
    #[default]
    Exact,
    /// Not everything was counted: there may be more of anything.
    AtLeast {
        /// Lines that were looked at, the newest.
        looked_at: u64,
    },
}

/// What lines are counted by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Facet {
    /// By the values of a field.
    Of(Field),
    /// By the status of the response.
    Status,
    /// By the values of a field that the user named; [`NamedField::facet`] says of which.
    Named(NamedField),
}

impl Facet {
    /// As a query names it.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Of(field) => field.name(),
            Self::Status => "status",
            Self::Named(field) => field.name(),
        }
    }
}

impl From<Field> for Facet {
    fn from(field: Field) -> Self {
        Self::Of(field)
    }
}

/// Counts of lines by values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facets {
    /// How many lines were selected.
    pub lines: u64,
    /// One for each that was asked for, in that order.
    pub facets: Vec<FacetCounts>,
    /// Whether that is exact.
    pub counted: Counted,
}

/// Counts of lines by the values of one field. Lines without the field are counted nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FacetCounts {
    /// By what.
    pub facet: Facet,
    /// The most frequent, each with its lines; those of equal counts in the order of their values.
    pub values: Vec<(String, u64)>,
    /// Lines of values that the list has no room for.
    pub others: u64,
}

/// Counts of lines over time. Times that engines can't order, before 1970 and after 2262, are in none of its buckets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// How long each bucket is; more than was asked for, where that would be more than [`MAX_BUCKETS`].
    pub step: Duration,
    /// In the order of time, without a gap; none where no line was selected. Each begins at a multiple of the step since
    /// the Unix epoch.
    pub buckets: Vec<Bucket>,
    /// Whether that is exact.
    pub counted: Counted,
}

/// The lines of one step of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// When it begins.
    pub start: Timestamp,
    /// All its lines.
    pub lines: u64,
    /// Its lines of each level, least grave first, as in [`Level::ALL`].
    pub levels: [u64; Level::ALL.len()],
}

/// What requests are grouped by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Breakdown {
    /// Not at all.
    Total,
    /// By endpoint, the most requested first.
    Endpoint,
    /// By project, the most requested first.
    Project,
    /// By steps of time, as in a [`Histogram`].
    Time(Duration),
}

/// Figures of requests, out of their access lines.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RequestStats {
    /// All requests that were selected.
    pub total: Requests,
    /// Each group; requests without an endpoint or a project are in none. Of steps of time there is each without a gap.
    pub groups: Vec<(GroupKey, Requests)>,
    /// Requests of groups that the list has no room for.
    pub others: u64,
    /// How long the steps of time are, where they are grouped by it; as in a [`Histogram`].
    pub step: Option<Duration>,
    /// Whether that is exact. Percentiles of an engine are estimates (t-digest), those of the embedded store are not.
    pub counted: Counted,
}

/// What the requests of a group have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupKey {
    /// Their endpoint or their project.
    Value(String),
    /// The step of time that begins here.
    Time(Timestamp),
}

/// Figures of some requests.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Requests {
    /// How many.
    pub requests: u64,
    /// Those answered with a status from 500 to 599.
    pub server_errors: u64,
    /// Those that no answer was sent to.
    pub unanswered: u64,
    /// Half of them took no longer, in milliseconds; none where none tells.
    pub p50_ms: Option<f64>,
    /// Nine in ten took no longer.
    pub p90_ms: Option<f64>,
    /// 99 of a hundred took no longer.
    pub p99_ms: Option<f64>,
}

/// Times that every engine can order: from 1970 to 2262.
const ORDERED: std::ops::Range<i64> = 0..i64::MAX / 1_000;

/// Whether every engine can order a time.
pub(crate) fn is_ordered(time: &Timestamp) -> bool {
    ORDERED.contains(&time.unix_micros())
}

const fn before(time: Timestamp) -> Timestamp {
    Timestamp::from_unix_micros(time.unix_micros() - 1)
}

/// Steps of time between the first line and the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Steps {
    /// The first begins so many microseconds after the epoch.
    pub(crate) start: i64,
    /// They are so long.
    pub(crate) step: i64,
    /// There are so many.
    pub(crate) count: u64,
}

impl Steps {
    /// The steps of a selection that says where it begins and where it ends.
    pub(crate) fn of(selection: &Selection, asked: Duration) -> Option<Self> {
        let (from, to) = (selection.from.filter(is_ordered)?, selection.to.filter(is_ordered)?);
        (from < to).then(|| Self::between(from, before(to), asked))
    }

    /// The steps of another, whose first line and last line are known.
    pub(crate) fn around(selection: &Selection, (first, last): (Timestamp, Timestamp), asked: Duration) -> Self {
        let first = selection.from.filter(is_ordered).unwrap_or(first);
        Self::between(first, selection.to.filter(is_ordered).map_or(last, before), asked)
    }

    /// Steps from the first time to the last, which is within.
    pub(crate) fn between(first: Timestamp, last: Timestamp, asked: Duration) -> Self {
        let clamp = |time: Timestamp| time.unix_micros().clamp(ORDERED.start, ORDERED.end - 1);
        let (first, last) = (clamp(first), clamp(last.max(first)));
        // Engines count in milliseconds.
        let asked =
            i64::try_from(asked.as_millis()).unwrap_or(i64::MAX / 1_000_000).clamp(1, i64::MAX / 1_000_000) * 1_000;
        let most = i64::try_from(MAX_BUCKETS).unwrap_or(i64::MAX);
        let count = |step: i64| last / step - first / step + 1;
        let mut step = asked.saturating_mul((count(asked) / most).max(1));
        while count(step) > most {
            step = step.saturating_add(asked);
        }
        Self { start: first / step * step, step, count: count(step).unsigned_abs() }
    }

    /// The step that a time lies in.
    pub(crate) fn place(&self, time: Timestamp) -> Option<usize> {
        let after = time.unix_micros().checked_sub(self.start).filter(|after| *after >= 0)?;
        usize::try_from(after / self.step).ok().filter(|place| (*place as u64) < self.count)
    }

    /// When each begins.
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
    fn steps_are_as_asked_or_wider_and_never_too_many() {
        let at = Timestamp::from_unix_ms;
        let minute = Duration::from_secs(60);
        let steps = Steps::between(at(90_000), at(240_000), minute);
        assert_eq!((steps.start, steps.count, steps.duration()), (60_000_000, 4, minute));
        assert_eq!(
            (steps.place(at(59_999)), steps.place(at(120_000)), steps.place(at(300_000))),
            (None, Some(1), None)
        );
        for (first, last, asked) in [(0, i64::MAX, 0), (i64::MIN, i64::MAX, 1), (5, 5, u64::MAX), (1, 1_000_001, 1_000)]
        {
            let (first, last) = (Timestamp::from_unix_micros(first), Timestamp::from_unix_micros(last));
            let steps = Steps::between(first, last, Duration::from_millis(asked));
            assert!((1..=MAX_BUCKETS).contains(&steps.count) && steps.step > 0, "{steps:?}");
            assert_eq!(steps.starts().count() as u64, steps.count);
        }
    }
}
