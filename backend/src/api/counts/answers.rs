//! The answers with counts.

use std::time::Duration;

use serde::Serialize;
use store::counts::{Bucket, FacetCounts, GroupKey, Requests};
use store::patterns::PatternCount;
use store::{Accuracy, Facets, Histogram, Level, Patterns, RequestStats};
use utoipa::ToSchema;

/// How exact counts are.
#[derive(Debug, Serialize, ToSchema)]
pub struct CountedAnswer {
    /// Whether they are exact; otherwise they are lower bounds.
    exact: bool,
    /// The number of newest lines that were counted, if not all.
    examined: Option<u64>,
}

impl From<Accuracy> for CountedAnswer {
    fn from(accuracy: Accuracy) -> Self {
        match accuracy {
            Accuracy::Exact => Self { exact: true, examined: None },
            Accuracy::AtLeast { examined } => Self { exact: false, examined: Some(examined) },
        }
    }
}

/// Lines by the values of fields.
#[derive(Debug, Serialize, ToSchema)]
pub struct FacetsAnswer {
    /// The number of lines.
    lines: u64,
    facets: Vec<FacetAnswer>,
    counted: CountedAnswer,
}

/// Lines by the values of one field.
#[derive(Debug, Serialize, ToSchema)]
pub struct FacetAnswer {
    field: String,
    /// Most frequent first.
    values: Vec<ValueAnswer>,
    /// Lines with values that are not listed.
    others: u64,
}

/// Lines with one value.
#[derive(Debug, Serialize, ToSchema)]
pub struct ValueAnswer {
    value: String,
    lines: u64,
}

impl From<Facets> for FacetsAnswer {
    fn from(found: Facets) -> Self {
        let facet = |counts: FacetCounts| FacetAnswer {
            field: counts.facet.name().to_owned(),
            values: counts.values.into_iter().map(|(value, lines)| ValueAnswer { value, lines }).collect(),
            others: counts.others,
        };
        let facets = found.facets.into_iter().map(facet).collect();
        Self { lines: found.lines, facets, counted: found.accuracy.into() }
    }
}

/// Lines over time.
#[derive(Debug, Serialize, ToSchema)]
pub struct HistogramAnswer {
    /// Length of a bucket in seconds. It is longer than requested if there would be more than 1000 buckets.
    step_s: f64,
    /// By time, without gaps.
    buckets: Vec<BucketAnswer>,
    counted: CountedAnswer,
}

/// Lines of one bucket.
#[derive(Debug, Serialize, ToSchema)]
pub struct BucketAnswer {
    /// Its start.
    start: String,
    lines: u64,
    trace: u64,
    debug: u64,
    info: u64,
    warn: u64,
    error: u64,
}

impl From<Histogram> for HistogramAnswer {
    fn from(found: Histogram) -> Self {
        let bucket = |bucket: Bucket| {
            let of = |level: Level| bucket.levels[level as usize];
            BucketAnswer {
                start: bucket.start.to_string(),
                lines: bucket.lines,
                trace: of(Level::Trace),
                debug: of(Level::Debug),
                info: of(Level::Info),
                warn: of(Level::Warn),
                error: of(Level::Error),
            }
        };
        let buckets = found.buckets.into_iter().map(bucket).collect();
        Self { step_s: found.step.as_secs_f64(), buckets, counted: found.accuracy.into() }
    }
}

/// Request statistics.
#[derive(Debug, Serialize, ToSchema)]
pub struct StatsAnswer {
    total: RequestsAnswer,
    groups: Vec<GroupAnswer>,
    /// Requests of groups that are not listed.
    others: u64,
    /// Length of a group in seconds, with `by=time`.
    step_s: Option<f64>,
    counted: CountedAnswer,
}

/// Statistics of a group.
#[derive(Debug, Serialize, ToSchema)]
pub struct GroupAnswer {
    /// Its endpoint, project or start.
    key: String,
    requests: RequestsAnswer,
}

/// Statistics of requests.
#[derive(Debug, Serialize, ToSchema)]
pub struct RequestsAnswer {
    /// The number of requests.
    count: u64,
    /// Requests with a status from 500 to 599.
    server_errors: u64,
    /// Requests without a response.
    unanswered: u64,
    /// Median duration in milliseconds; with an engine, an estimate.
    p50_ms: Option<f64>,
    p90_ms: Option<f64>,
    p99_ms: Option<f64>,
}

impl From<Requests> for RequestsAnswer {
    fn from(requests: Requests) -> Self {
        let Requests { requests: count, server_errors, unanswered, p50_ms, p90_ms, p99_ms } = requests;
        Self { count, server_errors, unanswered, p50_ms, p90_ms, p99_ms }
    }
}

impl From<RequestStats> for StatsAnswer {
    fn from(found: RequestStats) -> Self {
        let group = |(key, requests): (GroupKey, Requests)| {
            let key = match key {
                GroupKey::Value(value) => value,
                GroupKey::Time(time) => time.to_string(),
            };
            GroupAnswer { key, requests: requests.into() }
        };
        Self {
            total: found.total.into(),
            groups: found.groups.into_iter().map(group).collect(),
            others: found.others,
            step_s: found.step.as_ref().map(Duration::as_secs_f64),
            counted: found.accuracy.into(),
        }
    }
}

/// Message patterns.
#[derive(Debug, Serialize, ToSchema)]
pub struct PatternsAnswer {
    /// Most frequent first.
    patterns: Vec<PatternAnswer>,
    /// Lines with patterns that are not listed.
    others: u64,
    /// Lines among the others that may have any pattern, also a listed one, because too many patterns were
    /// distinguished. If there are any, counts are not exact.
    uncounted: u64,
    counted: CountedAnswer,
}

/// Lines with the same pattern.
#[derive(Debug, Serialize, ToSchema)]
pub struct PatternAnswer {
    /// The common part of their messages.
    pattern: String,
    lines: u64,
    /// Their highest level.
    highest_level: &'static str,
    /// The first of the counted lines.
    first: String,
    /// The last of them.
    last: String,
}

impl From<Patterns> for PatternsAnswer {
    fn from(found: Patterns) -> Self {
        let pattern = |pattern: PatternCount| PatternAnswer {
            pattern: pattern.pattern,
            lines: pattern.lines,
            highest_level: pattern.highest_level.as_str(),
            first: pattern.first.to_string(),
            last: pattern.last.to_string(),
        };
        let mut counted = CountedAnswer::from(found.accuracy);
        counted.exact &= found.uncounted == 0;
        Self {
            patterns: found.patterns.into_iter().map(pattern).collect(),
            others: found.others,
            uncounted: found.uncounted,
            counted,
        }
    }
}
