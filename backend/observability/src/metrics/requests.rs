//! The request metrics and the limit on their label sets.
//!
//! A label set is a distinct (endpoint, method, status, project_id). A project is known if it is listed in
//! `METRICS_PROJECTS`, or if the service verified it for the request (`ProjectClaim::Verified`); other projects may be
//! invented by the caller. The limit is divided as follows:
//! - A part is reserved for known projects: half, if the service checks projects or has verified one; else an eighth, if
//!   projects are listed.
//! - The unused rest of that part, and at least an eighth more, is closed to projects that may be invented. The latter is
//!   for label sets without a project (`none`) or with a folded one.
//! - One label set is reserved for requests of which all labels are folded.
//!
//! A label set that does not fit has its `project_id` folded into `other`; if that does not fit either, all four labels
//! are `other`. So clients can neither exceed the limit nor use up the part of known projects.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use prometheus::{Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry, Result};

use crate::metrics::ignored::IgnoredIds;
use crate::settings::ObservabilitySettings;

/// Upper bounds of the duration histogram's buckets, in seconds.
const BUCKETS: [f64; 13] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Value of `project_id` for requests without a project.
pub(crate) const NO_PROJECT: &str = "none";
/// Value of `endpoint` for requests that match no route.
pub(crate) const UNMATCHED: &str = "unmatched";
const OTHER: &str = "other";

/// The metrics of one label set.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    count: IntCounter,
    duration: Histogram,
    /// `None` if no response was sent.
    responses: Option<IntCounter>,
    /// Counter of folded requests, if the label set is folded.
    folded: Option<IntCounter>,
}

impl Series {
    /// Counts one request. `responded` is whether a response was sent.
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

/// The labels of a request, without the constant `service`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Labels<'a> {
    pub(crate) endpoint: &'a str,
    pub(crate) method: &'a str,
    /// `None` if no response was sent.
    pub(crate) status: Option<u16>,
    pub(crate) project_id: &'a str,
}

impl Labels<'_> {
    /// Writes a unique key of the label set to `key`, replacing its content. Patterns and ids contain no NUL.
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

/// All request metrics.
#[derive(Debug)]
pub(crate) struct RequestMetrics {
    count: IntCounterVec,
    duration: HistogramVec,
    responses: IntCounterVec,
    pub(crate) in_flight: IntGauge,
    pub(crate) panics: IntCounter,
    pub(crate) ignored: IgnoredIds,
    project_folded: IntCounter,
    all_folded: IntCounter,
    sets: Mutex<LabelSets>,
    limit: usize,
    known_projects: HashSet<String>,
    /// Whether half of the limit is reserved for known projects.
    reserves_half: AtomicBool,
}

/// The label sets in use.
#[derive(Debug, Default)]
struct LabelSets {
    by_key: HashMap<Box<[u8]>, Series>,
    /// Number of label sets of known projects.
    known: usize,
}

impl RequestMetrics {
    pub(crate) fn register(settings: &ObservabilitySettings, registry: &Registry) -> Result<Self> {
        let labels = ["endpoint", "method", "status", "project_id"];
        let opts = |name: &str, help: &str| Opts::new(name, help).const_label("service", &settings.service);
        let buckets = BUCKETS.to_vec();
        let duration = HistogramOpts::new(
            "request_duration_seconds",
            "Time from a request's arrival to the end of its response body",
        )
        .const_label("service", &settings.service)
        .buckets(buckets);
        let folded = IntCounterVec::new(
            opts("label_sets_folded_total", "Requests counted under a folded label set, by folded label"),
            &["folded"],
        )?;
        let metrics = Self {
            count: IntCounterVec::new(
                opts("request_count", "Requests, each counted once regardless of its outcome"),
                &labels,
            )?,
            duration: HistogramVec::new(duration, &labels)?,
            responses: IntCounterVec::new(opts("response_status_count", "Responses sent, by status"), &labels)?,
            in_flight: IntGauge::with_opts(opts("requests_in_flight", "Requests whose response body has not ended"))?,
            panics: IntCounter::with_opts(opts("panics_total", "Panics of handlers and response bodies"))?,
            ignored: IgnoredIds::register(&settings.service, registry)?,
            project_folded: folded.with_label_values(&["project_id"]),
            all_folded: folded.with_label_values(&["all"]),
            sets: Mutex::default(),
            limit: settings.label_sets,
            known_projects: settings.known_projects.clone(),
            reserves_half: AtomicBool::new(false),
        };
        let limit =
            IntGauge::with_opts(opts("label_sets_limit", "Maximum number of label sets of the request metrics"))?;
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

    /// Reserves half of the limit for known projects from now on.
    pub(crate) fn reserve_half_for_known(&self) {
        self.reserves_half.store(true, Ordering::Relaxed);
    }

    /// Number of label sets reserved for known projects.
    fn reserved_for_known(&self) -> usize {
        match self.reserves_half.load(Ordering::Relaxed) {
            true => self.limit / 2,
            false if self.known_projects.is_empty() => 0,
            false => self.limit / 8,
        }
    }

    /// Returns the series for these labels, folded if there is no room. `is_known` is whether the service verified the
    /// project. Takes a lock, so callers cache the result.
    pub(crate) fn series(&self, labels: Labels<'_>, is_known: bool) -> Series {
        let mut sets = self.sets.lock().unwrap_or_else(PoisonError::into_inner);
        if is_known {
            self.reserve_half_for_known();
        }
        let is_known = is_known || self.known_projects.contains(labels.project_id);
        // one label set is reserved for all labels folded
        let capacity = self.limit - 1;
        let reserved = self.reserved_for_known().saturating_sub(sets.known);
        let closed = (self.limit / 4).max(4);
        let capacity_of_project = match labels.project_id {
            _ if is_known => capacity,
            NO_PROJECT => capacity - reserved,
            _ => (self.limit - closed).min((capacity - reserved).saturating_sub(closed / 2)),
        };
        let before = sets.by_key.len();
        if let Some(series) = self.get_or_insert(&mut sets.by_key, labels, capacity_of_project) {
            sets.known += if is_known { sets.by_key.len() - before } else { 0 };
            return series;
        }
        let folded = Labels { project_id: OTHER, ..labels };
        if let Some(series) = self.get_or_insert(&mut sets.by_key, folded, capacity - reserved) {
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

    /// Returns the series of a label set, which is added if there are fewer than `capacity`.
    fn get_or_insert(
        &self,
        sets: &mut HashMap<Box<[u8]>, Series>,
        labels: Labels<'_>,
        capacity: usize,
    ) -> Option<Series> {
        let mut key = Vec::new();
        labels.write_key(&mut key);
        if let Some(series) = sets.get(key.as_slice()) {
            return Some(series.clone());
        }
        if sets.len() >= capacity {
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
    use proptest::prelude::*;

    use super::*;

    fn metrics(listed: &[&str], label_sets: usize) -> (RequestMetrics, Registry) {
        let mut settings = ObservabilitySettings::new("svc");
        settings.known_projects = listed.iter().map(|&project| project.to_owned()).collect();
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
        metrics.series(labels, false).count(Duration::from_millis(1), true);
    }

    fn count_known(metrics: &RequestMetrics, endpoint: &str, project_id: &str) {
        let labels = Labels { endpoint, method: "GET", status: Some(200), project_id };
        metrics.series(labels, true).count(Duration::from_millis(1), true);
    }

    fn sets_of(registry: &Registry, project_id: &str) -> usize {
        let families = registry.gather();
        let family = families.iter().find(|family| family.name() == "request_count").expect("the counter");
        let is_of = |metric: &&prometheus::proto::Metric| metric.get_label().iter().any(|l| l.value() == project_id);
        family.get_metric().iter().filter(is_of).count()
    }

    proptest! {
        #[test]
        fn label_sets_have_distinct_keys(
            one in ("[/ab]{0,4}", "[/ab]{0,4}", "GET|PUT", proptest::option::of(200_u16..202)),
            other in ("[/ab]{0,4}", "[/ab]{0,4}", "GET|PUT", proptest::option::of(200_u16..202)),
        ) {
            let key = |(endpoint, project_id, method, status): &(String, String, String, Option<u16>)| {
                let mut key = Vec::new();
                Labels { endpoint, method, status: *status, project_id }.write_key(&mut key);
                key
            };
            prop_assert_eq!(key(&one) == key(&other), one == other);
        }
    }

    #[test]
    fn labels_with_the_same_concatenation_are_different_label_sets() {
        let (metrics, registry) = metrics(&[], 100);
        count(&metrics, "/a", "/bp");
        count(&metrics, "/a/b", "p");
        assert_eq!(projects(&registry), HashMap::from([("/bp".to_owned(), 1), ("p".to_owned(), 1)]));
    }

    #[test]
    fn a_label_set_of_a_listed_project_is_counted_once() {
        let (metrics, registry) = metrics(&["vip"], 16);
        for _ in 0..100 {
            count(&metrics, "/1", "vip");
        }
        for n in 0..100 {
            count(&metrics, &format!("/{n}"), NO_PROJECT);
        }
        count(&metrics, "/2", "vip");
        assert_eq!(sets_of(&registry, "vip"), 2, "{:?}", projects(&registry));
    }

    #[test]
    fn a_known_project_gets_its_series_after_a_flood_of_invented_ones() {
        let (metrics, registry) = metrics(&[], 2_000);
        metrics.reserve_half_for_known();
        for n in 0..10_000 {
            count(&metrics, "/a", &format!("invented-{n}"));
            count(&metrics, &format!("/{n}"), NO_PROJECT);
        }
        for n in 0..999 {
            count_known(&metrics, "/a", &format!("real-{n}"));
        }
        // an invented project that is verified later
        count_known(&metrics, "/a", "invented-9999");
        for project in ["real-0", "real-998", "invented-9999"] {
            assert_eq!(sets_of(&registry, project), 1, "{project}");
        }
        let counts = projects(&registry);
        assert!(counts["other"] > 9_000 && counts.contains_key("invented-0"), "{}", counts["other"]);
    }

    #[test]
    fn the_first_verified_project_reserves_label_sets_for_others() {
        let (metrics, registry) = metrics(&[], 2_000);
        count_known(&metrics, "/a", "real");
        for n in 0..10_000 {
            count(&metrics, "/a", &format!("invented-{n}"));
        }
        for n in 0..999 {
            count_known(&metrics, "/a", &format!("real-{n}"));
        }
        assert_eq!(["real", "real-0", "real-998"].map(|project| sets_of(&registry, project)), [1; 3]);
    }

    #[test]
    fn unknown_projects_are_folded_before_listed_ones() {
        let (metrics, registry) = metrics(&["vip"], 8);
        for n in 0..50 {
            count(&metrics, "/", &format!("p-{n}"));
        }
        count(&metrics, "/", "vip");
        count(&metrics, "/", NO_PROJECT);
        let counts = projects(&registry);
        assert_eq!((counts["vip"], counts["none"], counts["other"], counts["p-0"]), (1, 1, 46, 1), "{counts:?}");
        assert_eq!(counts.len(), 7, "one label set is reserved for all labels folded");
        assert_eq!((metrics.project_folded.get(), metrics.all_folded.get()), (46, 0));
    }

    #[test]
    fn beyond_the_limit_all_requests_share_one_label_set() {
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
    fn requests_without_a_project_leave_room_for_listed_ones() {
        let (metrics, registry) = metrics(&["vip"], 16);
        for n in 0..100 {
            count(&metrics, &format!("/{n}"), NO_PROJECT);
            count(&metrics, &format!("/{n}"), "unlisted");
        }
        count(&metrics, "/1", "vip");
        count(&metrics, "/2", "vip");
        assert_eq!(sets_of(&registry, "vip"), 2, "{:?}", projects(&registry));
    }

    #[test]
    fn a_request_without_a_response_counts_no_status() {
        let (metrics, registry) = metrics(&[], 8);
        let labels = Labels { endpoint: "/", method: "GET", status: None, project_id: NO_PROJECT };
        metrics.series(labels, false).count(Duration::ZERO, false);
        assert!(registry.gather().iter().all(|family| family.name() != "response_status_count"));
    }
}
