//! The request metrics and their one budget of label sets.
//!
//! A label set is a distinct (endpoint, method, status, project_id). The budget is shared out so:
//! - a quarter of it (at least 4) is kept for sets of listed projects, of `none` and of folded ones;
//! - of these an eighth is the listed projects' alone, where there are any;
//! - one place is kept for the set into which everything folds.
//!
//! What doesn't fit has its `project_id` folded into `other`; where that doesn't fit either, all four labels are `other`.
//! So there are never more sets than the budget says, whatever clients send.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use prometheus::{Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry, Result};

use crate::settings::ObservabilitySettings;

/// Bounds of the duration histogram, in seconds.
const BUCKETS: [f64; 13] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// `project_id` of requests that name none.
pub(crate) const NO_PROJECT: &str = "none";
/// `endpoint` of requests for which there is no route.
pub(crate) const UNMATCHED: &str = "unmatched";
const OTHER: &str = "other";

/// Where a request is counted.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    count: IntCounter,
    duration: Histogram,
    /// None where no response was sent.
    responses: Option<IntCounter>,
    /// Counts the request as folded.
    folded: Option<IntCounter>,
}

impl Series {
    /// Counts one request; `responded` says whether a response was sent.
    pub(crate) fn count(&self, duration: Duration, responded: bool) {
        self.count.inc();
        self.duration.observe(duration.as_secs_f64());
        if let Some(responses) = self.responses.as_ref().filter(|_| responded) {
            responses.inc();
        }
        if let Some(folded) = &self.folded {
            folded.inc();
        }
    }
}

/// The labels of a request, but for the service, which is constant.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Labels<'a> {
    pub(crate) endpoint: &'a str,
    pub(crate) method: &'a str,
    /// None where no response was sent.
    pub(crate) status: Option<u16>,
    pub(crate) project_id: &'a str,
}

impl Labels<'_> {
    /// The set as bytes, in place of what `key` held. Patterns and ids hold no NUL.
    pub(crate) fn write_key(&self, key: &mut Vec<u8>) {
        key.clear();
        key.extend_from_slice(&self.status.unwrap_or(0).to_le_bytes());
        key.extend_from_slice(self.method.as_bytes());
        key.push(0);
        key.extend_from_slice(self.endpoint.as_bytes());
        key.push(0);
        key.extend_from_slice(self.project_id.as_bytes());
    }
}

/// The metrics of requests, all on one registry.
#[derive(Debug)]
pub(crate) struct RequestMetrics {
    count: IntCounterVec,
    duration: HistogramVec,
    responses: IntCounterVec,
    pub(crate) in_flight: IntGauge,
    pub(crate) panics: IntCounter,
    project_folded: IntCounter,
    all_folded: IntCounter,
    sets: Mutex<Sets>,
    budget: usize,
    own_projects: HashSet<String>,
}

/// The sets there are.
#[derive(Debug, Default)]
struct Sets {
    known: HashMap<Box<[u8]>, Series>,
    /// How many of them are of listed projects.
    listed: usize,
}

impl RequestMetrics {
    pub(crate) fn register(settings: &ObservabilitySettings, registry: &Registry) -> Result<Self> {
        let labels = ["endpoint", "method", "status", "project_id"];
        let opts = |name: &str, help: &str| Opts::new(name, help).const_label("service", &settings.service);
        let buckets = BUCKETS.to_vec();
        let duration =
            HistogramOpts::new("request_duration_seconds", "Time from a request's arrival to its body's end")
                .const_label("service", &settings.service)
                .buckets(buckets);
        let folded = IntCounterVec::new(
            opts("label_sets_folded_total", "Requests counted under a folded label set, by what was folded"),
            &["folded"],
        )?;
        let metrics = Self {
            count: IntCounterVec::new(
                opts("request_count", "Requests, each counted once, whatever became of it"),
                &labels,
            )?,
            duration: HistogramVec::new(duration, &labels)?,
            responses: IntCounterVec::new(opts("response_status_count", "Responses sent, by status"), &labels)?,
            in_flight: IntGauge::with_opts(opts("requests_in_flight", "Requests whose body has not ended yet"))?,
            panics: IntCounter::with_opts(opts("panics_total", "Panics of handlers and response bodies"))?,
            project_folded: folded.with_label_values(&["project_id"]),
            all_folded: folded.with_label_values(&["all"]),
            sets: Mutex::default(),
            budget: settings.label_sets,
            own_projects: settings.own_projects.clone(),
        };
        let limit = IntGauge::with_opts(opts("label_sets_limit", "Label sets the request metrics may have"))?;
        limit.set(i64::try_from(settings.label_sets).unwrap_or(i64::MAX));
        registry.register(Box::new(metrics.count.clone()))?;
        registry.register(Box::new(metrics.duration.clone()))?;
        registry.register(Box::new(metrics.responses.clone()))?;
        registry.register(Box::new(metrics.in_flight.clone()))?;
        registry.register(Box::new(metrics.panics.clone()))?;
        registry.register(Box::new(folded))?;
        registry.register(Box::new(limit))?;
        Ok(metrics)
    }

    /// The series for these labels, folded if the budget asks for it. Takes a lock: callers keep what they get.
    pub(crate) fn series(&self, labels: Labels<'_>) -> Series {
        let mut sets = self.sets.lock().unwrap_or_else(PoisonError::into_inner);
        let listed = self.own_projects.contains(labels.project_id);
        // the last set is the one that everything folds into
        let room = self.budget - 1;
        let listed_only = if self.own_projects.is_empty() { 0 } else { self.budget / 8 };
        let room_of_closed = room - listed_only.saturating_sub(sets.listed);
        let room_of_own = match labels.project_id {
            _ if listed => room,
            NO_PROJECT => room_of_closed,
            _ => self.budget - (self.budget / 4).max(4),
        };
        let known = sets.known.len();
        if let Some(series) = self.fit(&mut sets.known, labels, room_of_own) {
            sets.listed += if listed { sets.known.len() - known } else { 0 };
            return series;
        }
        let folded = Labels { project_id: OTHER, ..labels };
        if let Some(series) = self.fit(&mut sets.known, folded, room_of_closed) {
            return Series { folded: Some(self.project_folded.clone()), ..series };
        }
        let all = [OTHER; 4];
        Series {
            count: self.count.with_label_values(&all),
            duration: self.duration.with_label_values(&all),
            responses: Some(self.responses.with_label_values(&all)),
            folded: Some(self.all_folded.clone()),
        }
    }

    /// The set, if it is there or there is room for it.
    fn fit(&self, sets: &mut HashMap<Box<[u8]>, Series>, labels: Labels<'_>, room: usize) -> Option<Series> {
        let mut key = Vec::new();
        labels.write_key(&mut key);
        if let Some(series) = sets.get(key.as_slice()) {
            return Some(series.clone());
        }
        if sets.len() >= room {
            return None;
        }
        let status = labels.status.map_or_else(|| "none".to_owned(), |status| status.to_string());
        let values = [labels.endpoint, labels.method, &status, labels.project_id];
        let series = Series {
            count: self.count.with_label_values(&values),
            duration: self.duration.with_label_values(&values),
            responses: labels.status.map(|_| self.responses.with_label_values(&values)),
            folded: None,
        };
        sets.insert(key.into(), series.clone());
        Some(series)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metrics(own: &[&str], label_sets: usize) -> (RequestMetrics, Registry) {
        let mut settings = ObservabilitySettings::new("svc");
        settings.own_projects = own.iter().map(|&project| project.to_owned()).collect();
        settings.label_sets = label_sets;
        let registry = Registry::new();
        (RequestMetrics::register(&settings, &registry).expect("registers"), registry)
    }

    fn projects(registry: &Registry) -> HashMap<String, u64> {
        let families = registry.gather();
        let family = families.iter().find(|family| family.name() == "request_count").expect("the counter");
        let project = |metric: &prometheus::proto::Metric| {
            let label = metric.get_label().iter().find(|label| label.name() == "project_id");
            label.expect("the label").value().to_owned()
        };
        family.get_metric().iter().map(|metric| (project(metric), metric.get_counter().get_value() as u64)).collect()
    }

    fn count(metrics: &RequestMetrics, endpoint: &str, project_id: &str) {
        let labels = Labels { endpoint, method: "GET", status: Some(200), project_id };
        metrics.series(labels).count(Duration::from_millis(1), true);
    }

    #[test]
    fn projects_fold_into_other_first_and_listed_ones_last() {
        let (metrics, registry) = metrics(&["vip"], 8);
        for n in 0..50 {
            count(&metrics, "/", &format!("p-{n}"));
        }
        count(&metrics, "/", "vip");
        count(&metrics, "/", NO_PROJECT);
        let counts = projects(&registry);
        assert_eq!((counts["vip"], counts["none"], counts["other"], counts["p-0"]), (1, 1, 46, 1), "{counts:?}");
        assert_eq!(counts.len(), 7, "one set is kept for what folds wholly");
        assert_eq!((metrics.project_folded.get(), metrics.all_folded.get()), (46, 0));
    }

    #[test]
    fn beyond_the_budget_everything_is_one_set() {
        let (metrics, registry) = metrics(&[], 8);
        for n in 0..100 {
            count(&metrics, &format!("/{n}"), NO_PROJECT);
        }
        let families = registry.gather();
        for name in ["request_count", "request_duration_seconds", "response_status_count"] {
            let family = families.iter().find(|family| family.name() == name).expect("a family");
            assert_eq!(family.get_metric().len(), 8, "{name}");
        }
        assert_eq!(metrics.all_folded.get(), 93);
    }

    #[test]
    fn what_names_no_project_leaves_room_for_listed_ones() {
        let (metrics, registry) = metrics(&["vip"], 16);
        for n in 0..100 {
            count(&metrics, &format!("/{n}"), NO_PROJECT);
            count(&metrics, &format!("/{n}"), "unlisted");
        }
        count(&metrics, "/1", "vip");
        count(&metrics, "/2", "vip");
        let vip = registry.gather().iter().filter(|family| family.name() == "request_count").fold(0, |_, family| {
            let is_vip = |metric: &&prometheus::proto::Metric| metric.get_label().iter().any(|l| l.value() == "vip");
            family.get_metric().iter().filter(is_vip).count()
        });
        assert_eq!(vip, 2, "{:?}", projects(&registry));
    }

    #[test]
    fn without_a_response_no_status_is_counted() {
        let (metrics, registry) = metrics(&[], 8);
        let labels = Labels { endpoint: "/", method: "GET", status: None, project_id: NO_PROJECT };
        metrics.series(labels).count(Duration::ZERO, false);
        assert!(registry.gather().iter().all(|family| family.name() != "response_status_count"));
    }
}
