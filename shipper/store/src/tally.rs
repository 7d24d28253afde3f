//! Counts lines one by one: what the embedded store does where it keeps no counts of its own.

use std::collections::HashMap;

use crate::counts::{
    Breakdown, Bucket, Counted, Facet, FacetCounts, Facets, GroupKey, Histogram, MAX_TOP, RequestStats, Requests, Steps,
};
use crate::level::Level;
use crate::query::{Facts, Field, NumberField};
use crate::timestamp::Timestamp;

/// Counts by values.
#[derive(Debug)]
pub(crate) struct FacetTally {
    lines: u64,
    facets: Vec<(Facet, HashMap<String, u64>)>,
}

impl FacetTally {
    pub(crate) fn new(facets: &[Facet]) -> Self {
        Self { lines: 0, facets: facets.iter().map(|facet| (*facet, HashMap::new())).collect() }
    }

    /// Counts a line; once for each of its different values.
    pub(crate) fn count(&mut self, line: &Facts<'_>) {
        self.lines += 1;
        for (facet, counts) in &mut self.facets {
            let mut values: Vec<_> = match facet {
                Facet::Of(field) => line.values(*field).map(str::to_owned).collect(),
                Facet::Status => line.numbers(NumberField::Status).map(|number| number.to_string()).collect(),
            };
            values.sort_unstable();
            values.dedup();
            for value in values {
                *counts.entry(value).or_default() += 1;
            }
        }
    }

    pub(crate) fn top(self, top: usize, counted: Counted) -> Facets {
        let counts = |(facet, counts): (Facet, HashMap<String, u64>)| {
            let mut values: Vec<_> = counts.into_iter().collect();
            values.sort_by(|one, other| {
                let by_value = match facet {
                    // Numbers stand in the order of numbers.
                    Facet::Status => one.0.parse::<i64>().ok().cmp(&other.0.parse().ok()),
                    Facet::Of(_) => one.0.cmp(&other.0),
                };
                other.1.cmp(&one.1).then(by_value)
            });
            let others = values.split_off(values.len().min(top.clamp(1, MAX_TOP)));
            FacetCounts { facet, values, others: others.iter().map(|(_, lines)| lines).sum() }
        };
        Facets { lines: self.lines, facets: self.facets.into_iter().map(counts).collect(), counted }
    }
}

/// Counts over time.
#[derive(Debug)]
pub(crate) struct HistogramTally {
    steps: Steps,
    buckets: Vec<Bucket>,
}

impl HistogramTally {
    pub(crate) fn new(steps: Steps) -> Self {
        let empty = |start| Bucket { start, lines: 0, levels: Default::default() };
        Self { steps, buckets: steps.starts().map(empty).collect() }
    }

    pub(crate) fn count(&mut self, time: Timestamp, level: Option<Level>) {
        let Some(bucket) = self.steps.place(time).and_then(|place| self.buckets.get_mut(place)) else { return };
        bucket.lines += 1;
        if let Some(level) = level {
            bucket.levels[level as usize] += 1;
        }
    }

    pub(crate) fn finish(self, counted: Counted) -> Histogram {
        Histogram { step: self.steps.duration(), buckets: self.buckets, counted }
    }
}

/// Figures of requests.
#[derive(Debug)]
pub(crate) struct RequestTally {
    by: Breakdown,
    steps: Option<Steps>,
    total: Figures,
    values: HashMap<String, Figures>,
    times: Vec<Figures>,
}

#[derive(Clone, Debug, Default)]
struct Figures {
    requests: Requests,
    durations: Vec<f64>,
}

impl RequestTally {
    /// `steps` are those of a breakdown by time.
    pub(crate) fn new(by: Breakdown, steps: Option<Steps>) -> Self {
        let times = steps.map_or(0, |steps| usize::try_from(steps.count).unwrap_or(0));
        let times = vec![Figures::default(); times];
        Self { by, steps, total: Figures::default(), values: HashMap::new(), times }
    }

    /// Counts an access line.
    pub(crate) fn count(&mut self, time: Timestamp, line: &Facts<'_>) {
        self.total.count(line);
        match self.by {
            Breakdown::Total => {}
            Breakdown::Endpoint | Breakdown::Project => {
                let field = if self.by == Breakdown::Endpoint { Field::Endpoint } else { Field::ProjectId };
                let mut values: Vec<_> = line.values(field).collect();
                values.sort_unstable();
                values.dedup();
                for value in values {
                    self.values.entry(value.to_owned()).or_default().count(line);
                }
            }
            Breakdown::Time(_) => {
                if let Some(place) = self.steps.and_then(|steps| steps.place(time)) {
                    self.times[place].count(line);
                }
            }
        }
    }

    pub(crate) fn finish(self, top: usize, counted: Counted) -> RequestStats {
        let mut groups: Vec<_> = self.values.into_iter().collect();
        groups.sort_by(|one, other| {
            other.1.requests.requests.cmp(&one.1.requests.requests).then_with(|| one.0.cmp(&other.0))
        });
        let others = groups.split_off(groups.len().min(top.clamp(1, MAX_TOP)));
        let mut groups: Vec<_> =
            groups.into_iter().map(|(value, figures)| (GroupKey::Value(value), figures.finish())).collect();
        if let Some(steps) = self.steps {
            let times = steps.starts().zip(self.times);
            groups.extend(times.map(|(start, figures)| (GroupKey::Time(start), figures.finish())));
        }
        RequestStats {
            total: self.total.finish(),
            groups,
            others: others.iter().map(|(_, figures)| figures.requests.requests).sum(),
            step: self.steps.as_ref().map(Steps::duration),
            counted,
        }
    }
}

impl Figures {
    fn count(&mut self, line: &Facts<'_>) {
        let mut statuses = line.numbers(NumberField::Status).peekable();
        self.requests.requests += 1;
        if statuses.peek().is_none() {
            self.requests.unanswered += 1;
        } else if statuses.any(|status| (500.0..=599.0).contains(&status.get())) {
            self.requests.server_errors += 1;
        }
        self.durations.extend(line.numbers(NumberField::DurationMs).map(|number| number.get()));
    }

    fn finish(mut self) -> Requests {
        self.durations.sort_unstable_by(f64::total_cmp);
        let [p50_ms, p90_ms, p99_ms] = [50, 90, 99].map(|percent| percentile(&self.durations, percent));
        Requests { p50_ms, p90_ms, p99_ms, ..self.requests }
    }
}

/// The smallest value that so many percent of all are not above.
pub(crate) fn percentile(sorted: &[f64], percent: usize) -> Option<f64> {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_there() {
        let hundred: Vec<_> = (1..=100).map(f64::from).collect();
        assert_eq!([50, 90, 99].map(|percent| percentile(&hundred, percent)), [Some(50.0), Some(90.0), Some(99.0)]);
        assert_eq!((percentile(&[7.0], 50), percentile(&[], 50)), (Some(7.0), None));
    }
}
