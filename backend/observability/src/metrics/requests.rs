//! The request metrics and their one budget of label sets.
//!
//! A label set is a distinct (endpoint, method, status, project_id). A project is known if it is listed, or if the
//! service says so for the request (`ProjectClaim::Verified`); what else names one may have made it up. The budget is
//! shared out so:
//! - a part of it is for sets of known projects alone: half, where the service checks who speaks for a project, or has
//!   said of one that it is known; else an eighth, where projects are listed;
//! - what is left of that part, and at least an eighth more, is closed to projects that may be made up: it is for
//!   sets of `none` and of folded projects;
//! - one place is kept for the set into which everything folds.
//!
//! What doesn't fit has its `project_id` folded into `other`; where that doesn't fit either, all four labels are `other`.
//! So there are never more sets than the budget says, whatever clients send, and what they invent leaves known projects
//! their part.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use prometheus::{Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry, Result};

use crate::metrics::ignored::IgnoredIds;
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
    pub(crate) ignored: IgnoredIds,
    project_folded: IntCounter,
    all_folded: IntCounter,
    sets: Mutex<Sets>,
    budget: usize,
    own_projects: HashSet<String>,
    /// Whether the service says which projects are known.
    keeps_room_for_known: AtomicBool,
}

/// The sets there are.
#[derive(Debug, Default)]
struct Sets {
    by_key: HashMap<Box<[u8]>, Series>,
    /// How many of them are of known projects.
    of_known: usize,
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
            ignored: IgnoredIds::register(&settings.service, registry)?,
            project_folded: folded.with_label_values(&["project_id"]),
            all_folded: folded.with_label_values(&["all"]),
            sets: Mutex::default(),
            budget: settings.label_sets,
            own_projects: settings.own_projects.clone(),
            keeps_room_for_known: AtomicBool::new(false),
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

    /// From now on half of the budget is for known projects.
    pub(crate) fn keep_room_for_known(&self) {
        self.keeps_room_for_known.store(true, Ordering::Relaxed);
    }

    /// Label sets that only known projects may have.
    fn room_of_known(&self) -> usize {
        match self.keeps_room_for_known.load(Ordering::Relaxed) {
            true => self.budget / 2,
            false if self.own_projects.is_empty() => 0,
            false => self.budget / 8,
        }
    }

    /// The series for these labels, folded if the budget asks for it; `is_known` says whether the service knows the
    /// project. Takes a lock: callers keep what they get.
    pub(crate) fn series(&self, labels: Labels<'_>, is_known: bool) -> Series {
        let mut sets = self.sets.lock().unwrap_or_else(PoisonError::into_inner);
        if is_known {
            self.keep_room_for_known();
        }
        let is_known = is_known || self.own_projects.contains(labels.project_id);
        // the last set is the one that everything folds into
        let room = self.budget - 1;
        let kept = self.room_of_known().saturating_sub(sets.of_known);
        let closed = (self.budget / 4).max(4);
        let room_of_own = match labels.project_id {
            _ if is_known => room,
            NO_PROJECT => room - kept,
            _ => (self.budget - closed).min((room - kept).saturating_sub(closed / 2)),
        };
        let before = sets.by_key.len();
        if let Some(series) = self.fit(&mut sets.by_key, labels, room_of_own) {
            sets.of_known += if is_known { sets.by_key.len() - before } else { 0 };
            return series;
        }
        let folded = Labels { project_id: OTHER, ..labels };
        if let Some(series) = self.fit(&mut sets.by_key, folded, room - kept) {
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
    use proptest::prelude::*;

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
        fn no_two_label_sets_have_the_same_key(
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
    fn labels_that_read_alike_one_after_the_other_are_different_sets() {
        let (metrics, registry) = metrics(&[], 100);
        count(&metrics, "/a", "/bp");
        count(&metrics, "/a/b", "p");
        assert_eq!(projects(&registry), HashMap::from([("/bp".to_owned(), 1), ("p".to_owned(), 1)]));
    }

    #[test]
    fn a_set_of_a_listed_project_takes_its_place_once_however_often_it_is_looked_up() {
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
    fn a_known_project_has_its_series_after_any_flood() {
        let (metrics, registry) = metrics(&[], 2_000);
        metrics.keep_room_for_known();
        for n in 0..10_000 {
            count(&metrics, "/a", &format!("invented-{n}"));
            count(&metrics, &format!("/{n}"), NO_PROJECT);
        }
        for n in 0..999 {
            count_known(&metrics, "/a", &format!("real-{n}"));
        }
        // one that was invented before it was known
        count_known(&metrics, "/a", "invented-9999");
        for project in ["real-0", "real-998", "invented-9999"] {
            assert_eq!(sets_of(&registry, project), 1, "{project}");
        }
        let counts = projects(&registry);
        assert!(counts["other"] > 9_000 && counts.contains_key("invented-0"), "{}", counts["other"]);
    }

    #[test]
    fn once_a_service_knows_a_project_there_is_room_for_others_that_it_knows() {
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
        assert_eq!(sets_of(&registry, "vip"), 2, "{:?}", projects(&registry));
    }

    #[test]
    fn without_a_response_no_status_is_counted() {
        let (metrics, registry) = metrics(&[], 8);
        let labels = Labels { endpoint: "/", method: "GET", status: None, project_id: NO_PROJECT };
        metrics.series(labels, false).count(Duration::ZERO, false);
        assert!(registry.gather().iter().all(|family| family.name() != "response_status_count"));
    }
}
