//! Aggregations of an engine, requested so that counts are exact or known not to be.

use std::time::Duration;

use serde_json::{Value, json};

use crate::counts::{
    Accuracy, Breakdown, Bucket, Facet, FacetCounts, Facets, GroupKey, Histogram, MAX_TOP, RequestStats, Requests,
    Selection, Steps,
};
use crate::engine::{Engine, filter};
use crate::error::SearchError;
use crate::level::Level;
use crate::query::{Field, FieldType, Filter};
use crate::scope::Scope;
use crate::timestamp::Timestamp;

/// Maximum number of values per shard. Counts are exact if a shard has fewer.
const SHARD_VALUES: usize = 10_000;

/// Accuracy of percentile estimates.
const COMPRESSION: u32 = 200;

impl Engine {
    pub(crate) async fn facets(
        &self,
        scope: &Scope,
        selection: &Selection,
        facets: &[Facet],
        top: usize,
    ) -> Result<Facets, SearchError> {
        let names: Vec<_> = (0..facets.len()).map(|number| format!("facet{number}")).collect();
        let aggregations = names.iter().zip(facets).map(|(name, facet)| (name.clone(), facet_terms(facet, top)));
        let aggregations = Value::Object(aggregations.collect());
        let found = self.aggregations(json!({ "query": query(scope, selection), "aggs": aggregations })).await?;
        let lines = found["total"].as_u64().unwrap_or(0);
        let mut accuracy = Accuracy::Exact;
        let facets = names.iter().zip(facets).map(|(name, facet)| {
            let found = &found[name];
            if !is_exact(found) {
                accuracy = Accuracy::AtLeast { examined: lines };
            }
            let values = buckets(found).map(|bucket| (key(bucket), count(bucket))).collect();
            FacetCounts { facet: facet.clone(), values, others: others(found) }
        });
        let facets = facets.collect();
        Ok(Facets { lines, facets, accuracy })
    }

    pub(crate) async fn histogram(
        &self,
        scope: &Scope,
        selection: &Selection,
        step: Duration,
    ) -> Result<Histogram, SearchError> {
        let Some(steps) = self.steps(scope, selection, step).await? else {
            return Ok(Histogram { step, ..Histogram::default() });
        };
        let levels = json!({ "levels": { "terms": { "field": Field::Level.path(), "size": Level::ALL.len() } } });
        let aggregations = json!({ "steps": over_time(&steps, &levels) });
        let found = self.aggregations(json!({ "query": query(scope, selection), "aggs": aggregations })).await?;
        let mut histogram = Histogram { step: steps.duration(), ..Histogram::default() };
        histogram.buckets.extend(steps.starts().map(|start| Bucket { start, lines: 0, levels: Default::default() }));
        for (index, found) in in_steps(&steps, &found["steps"]) {
            let Some(bucket) = histogram.buckets.get_mut(index) else { continue };
            bucket.lines = count(found);
            for level in buckets(&found["levels"]) {
                if let Ok(named) = key(level).parse::<Level>() {
                    bucket.levels[named as usize] = count(level);
                }
            }
        }
        Ok(histogram)
    }

    pub(crate) async fn requests(
        &self,
        scope: &Scope,
        selection: &Selection,
        by: Breakdown,
        top: usize,
    ) -> Result<RequestStats, SearchError> {
        let access = Selection { filter: selection.filter.clone().and(Filter::access_lines()), ..selection.clone() };
        let (group, steps) = match by {
            Breakdown::Total => (None, None),
            Breakdown::Endpoint => (Some(terms(Field::Endpoint.path(), top)), None),
            Breakdown::Project => (Some(terms(Field::ProjectId.path(), top)), None),
            Breakdown::Time(step) => match self.steps(scope, &access, step).await? {
                Some(steps) => (Some(over_time(&steps, &Value::Null)), Some(steps)),
                None => return Ok(RequestStats { step: Some(step), ..RequestStats::default() }),
            },
        };
        let mut aggregations = request_aggregations();
        if let Some(mut group) = group {
            group["aggs"] = request_aggregations();
            aggregations["groups"] = group;
        }
        let found = self.aggregations(json!({ "query": query(scope, &access), "aggs": aggregations })).await?;
        let total = requests(&found, found["total"].as_u64().unwrap_or(0));
        let groups = &found["groups"];
        let accuracy = if is_exact(groups) { Accuracy::Exact } else { Accuracy::AtLeast { examined: total.requests } };
        let step = steps.as_ref().map(Steps::duration);
        let mut stats = RequestStats { total, groups: Vec::new(), others: others(groups), step, accuracy };
        match steps {
            Some(steps) => {
                stats.groups.extend(steps.starts().map(|start| (GroupKey::Time(start), Requests::default())));
                for (index, found) in in_steps(&steps, groups) {
                    if let Some((_, stats_of_group)) = stats.groups.get_mut(index) {
                        *stats_of_group = requests(found, count(found));
                    }
                }
            }
            None => stats
                .groups
                .extend(buckets(groups).map(|found| (GroupKey::Value(key(found)), requests(found, count(found))))),
        }
        Ok(stats)
    }

    /// Returns the buckets between the first and the last line of a selection, or `None` if it is empty.
    async fn steps(&self, scope: &Scope, selection: &Selection, step: Duration) -> Result<Option<Steps>, SearchError> {
        if let Some(steps) = Steps::from_selection(selection, step) {
            return Ok(Some(steps));
        }
        let ends = json!({ "first": { "min": { "field": "timestamp" } }, "last": { "max": { "field": "timestamp" } } });
        let found = self.aggregations(json!({ "query": query(scope, selection), "aggs": ends })).await?;
        // The values are in milliseconds.
        #[expect(clippy::cast_possible_truncation, reason = "a time between 1970 and 2262 in milliseconds fits")]
        let end = |name: &str| found[name]["value"].as_f64().map(|ms| Timestamp::from_unix_ms(ms.floor() as i64));
        Ok(end("first").zip(end("last")).map(|ends| Steps::from_selection_or(selection, ends, step)))
    }
}

fn query(scope: &Scope, selection: &Selection) -> Value {
    filter::query(scope, &selection.filter, selection.from, selection.to)
}

fn facet_terms(facet: &Facet, top: usize) -> Value {
    match facet {
        Facet::Field(field) => terms(field.path(), top),
        Facet::Status => terms("status", top),
        Facet::Named(field) => {
            let mut terms = terms(field.name(), top);
            if field.kind() == FieldType::Boolean {
                // Booleans are stored as keywords, which may contain any text.
                terms["terms"]["include"] = json!(["true", "false"]);
            }
            terms
        }
    }
}

fn terms(path: &str, top: usize) -> Value {
    let order = json!([{ "_count": "desc" }, { "_key": "asc" }]);
    json!({ "terms": { "field": path, "size": top.clamp(1, MAX_TOP), "shard_size": SHARD_VALUES, "order": order } })
}

fn over_time(steps: &Steps, inner: &Value) -> Value {
    let interval = format!("{}ms", steps.step / 1_000);
    let mut over_time =
        json!({ "date_histogram": { "field": "timestamp", "fixed_interval": interval, "min_doc_count": 1 } });
    if !inner.is_null() {
        over_time["aggs"] = inner.clone();
    }
    over_time
}

/// Aggregations of a group of requests.
fn request_aggregations() -> Value {
    json!({
        "server_errors": { "filter": { "range": { "status": { "gte": 500, "lte": 599 } } } },
        "unanswered": { "filter": { "bool": { "must_not": [{ "exists": { "field": "status" } }] } } },
        "durations": {
            "percentiles": { "field": "duration_ms", "percents": [50, 90, 99], "tdigest": { "compression": COMPRESSION } },
        },
    })
}

fn requests(found: &Value, requests: u64) -> Requests {
    let percentile = |name: &str| found["durations"]["values"][name].as_f64();
    Requests {
        requests,
        server_errors: count(&found["server_errors"]),
        unanswered: count(&found["unanswered"]),
        p50_ms: percentile("50.0"),
        p90_ms: percentile("90.0"),
        p99_ms: percentile("99.0"),
    }
}

fn buckets(found: &Value) -> impl Iterator<Item = &Value> {
    found["buckets"].as_array().into_iter().flatten()
}

/// Returns the buckets of a date histogram, each with its index.
fn in_steps<'v>(steps: &Steps, found: &'v Value) -> impl Iterator<Item = (usize, &'v Value)> {
    let steps = *steps;
    buckets(found).filter_map(move |bucket| {
        let start = Timestamp::from_unix_ms(bucket["key"].as_i64()?);
        Some((steps.index_of(start)?, bucket))
    })
}

fn key(bucket: &Value) -> String {
    match &bucket["key"] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn count(bucket: &Value) -> u64 {
    bucket["doc_count"].as_u64().unwrap_or(0)
}

fn others(terms: &Value) -> u64 {
    terms["sum_other_doc_count"].as_u64().unwrap_or(0)
}

/// Whether no shard left out values that might have been among the most frequent ones.
fn is_exact(terms: &Value) -> bool {
    terms["doc_count_error_upper_bound"].as_i64().unwrap_or(0) == 0
}
