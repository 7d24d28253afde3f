//! The shipper's Prometheus metrics.
//!
//! Each scrape takes one [`Snapshot`], so `read = stored + already_stored + dead_lettered + dropped + pending` holds within
//! it. To add a metric, add an entry to [`METRICS`]. Label values are closed sets that start at 0.

use std::borrow::Cow;
use std::time::Duration;

use observability::prometheus::core::{Collector, Desc};
use observability::prometheus::proto::MetricFamily;
use observability::prometheus::{CounterVec, GaugeVec, Opts};
use shipper::dead_letters;
use shipper::delivery::hosts::HostReport;
use shipper::files::Reason;
use shipper::ledger::Counts;
use shipper::pipeline::Report;
use shipper::record::{Change, Flaw};
use shipper::shipper::Status;
use store::{CauseKind, Timestamp};

/// The values behind one scrape.
#[derive(Clone, Debug, Default)]
pub(crate) struct Snapshot {
    counts: Counts,
    report: Report,
    lag: Duration,
    removed: (u64, u64),
    retention_failing: bool,
    store_file_changes: u64,
    store_bytes: u64,
    spool_max_bytes: u64,
    in_flight_max_bytes: u64,
}

/// Values by label. Host names come from the configuration.
type Values = Vec<(Cow<'static, str>, u64)>;

impl Snapshot {
    /// The values before the shipper has started.
    pub(crate) fn before_start(spool_max_bytes: u64, in_flight_max_bytes: u64) -> Self {
        Self { spool_max_bytes, in_flight_max_bytes, ..Self::default() }
    }

    /// The values of a running shipper.
    pub(crate) fn from_status(status: &Status) -> Self {
        Self {
            counts: status.snapshot(),
            report: status.report(),
            lag: status.lag(Timestamp::now()),
            removed: status.removed(),
            retention_failing: status.is_retention_failing(),
            store_file_changes: status.store_file_changes(),
            store_bytes: status.store_bytes(),
            spool_max_bytes: status.spool_max_bytes(),
            in_flight_max_bytes: status.in_flight_max_bytes(),
        }
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Counter,
    Gauge,
}

/// Defines a metric and how its values are read from a [`Snapshot`]. It has at most one label.
struct MetricDef {
    kind: Kind,
    name: &'static str,
    help: &'static str,
    label: Option<&'static str>,
    values: fn(&Snapshot) -> Values,
}

const fn counter(name: &'static str, help: &'static str, values: fn(&Snapshot) -> Values) -> MetricDef {
    MetricDef { kind: Kind::Counter, name, help, label: None, values }
}

const fn gauge(name: &'static str, help: &'static str, values: fn(&Snapshot) -> Values) -> MetricDef {
    MetricDef { kind: Kind::Gauge, name, help, label: None, values }
}

impl MetricDef {
    const fn by(mut self, label: &'static str) -> Self {
        self.label = Some(label);
        self
    }
}

fn one(value: u64) -> Values {
    vec![("".into(), value)]
}

fn by<const N: usize>(values: [(&'static str, u64); N]) -> Values {
    values.into_iter().map(|(label, value)| (label.into(), value)).collect()
}

fn by_host(snapshot: &Snapshot, value: fn(&HostReport) -> u64) -> Values {
    snapshot.report.hosts.iter().map(|host| (host.name.to_string().into(), value(host))).collect()
}

/// All metrics. A new one is added here.
const METRICS: &[MetricDef] = &[
    counter("shipper_lines_read_total", "Lines accepted, including those pending at startup", |snapshot| {
        one(snapshot.counts.read)
    }),
    counter("shipper_lines_stored_total", "Lines stored by this process", |snapshot| one(snapshot.counts.stored)),
    counter("shipper_lines_already_stored_total", "Lines that the store already had", |snapshot| {
        one(snapshot.counts.already_stored)
    }),
    counter(
        "shipper_lines_dead_lettered_total",
        "Lines written to the dead letters because the store rejects them",
        |snapshot| one(snapshot.counts.dead_lettered),
    ),
    counter("shipper_lines_dropped_total", "Lines dropped because the spool was full", |snapshot| {
        one(snapshot.counts.dropped)
    }),
    gauge("shipper_lines_pending", "Lines accepted that have no outcome yet", |snapshot| one(snapshot.counts.pending)),
    gauge("shipper_lag_seconds", "Age of the oldest pending line; 0 if none is pending", |snapshot| {
        one(snapshot.lag.as_secs())
    }),
    counter("shipper_lines_by_kind_total", "Lines prepared for the store, by kind of input", |snapshot| {
        let kinds = snapshot.report.kinds;
        by([("record", kinds.record), ("foreign", kinds.foreign), ("wrapped", kinds.wrapped.iter().sum())])
    })
    .by("kind"),
    counter("shipper_lines_wrapped_total", "Lines wrapped as the message of a new record, by reason", |snapshot| {
        let wrapped = snapshot.report.kinds.wrapped;
        Flaw::WRAPPED.iter().zip(wrapped).map(|(flaw, count)| (flaw.as_str().into(), count)).collect()
    })
    .by("reason"),
    counter("shipper_lines_changed_total", "Lines changed so that the store accepts them, by change", |snapshot| {
        let changed = snapshot.report.kinds.changed;
        Change::ALL.iter().zip(changed).map(|(change, count)| (change.as_str().into(), count)).collect()
    })
    .by("change"),
    counter("shipper_bytes_read_total", "Bytes of the lines accepted", |snapshot| one(snapshot.counts.read_bytes)),
    gauge("shipper_spool_bytes", "Size of the spool on disk", |snapshot| one(snapshot.counts.spool_bytes)),
    gauge("shipper_spool_max_bytes", "Maximum size of the spool", |snapshot| one(snapshot.spool_max_bytes)),
    gauge("shipper_in_flight_bytes", "Bytes of batches being built or delivered", |snapshot| {
        one(snapshot.report.in_flight_bytes as u64)
    }),
    gauge("shipper_in_flight_max_bytes", "Limit on bytes in flight, above which reading pauses", |snapshot| {
        one(snapshot.in_flight_max_bytes)
    }),
    counter("shipper_requests_total", "Requests sent to the store, including retries", |snapshot| {
        by_host(snapshot, |host| host.requests)
    })
    .by("host"),
    counter("shipper_requests_retried_total", "Requests that were retried, by cause", |snapshot| {
        let retries = snapshot.report.retries;
        by([
            ("unavailable", retries.unavailable),
            ("refused", retries.refused),
            ("too_large", retries.too_large),
            ("rejected", retries.rejected),
        ])
    })
    .by("cause"),
    counter(
        "shipper_lines_retried_total",
        "Lines retried because the store rejected them temporarily while it accepted others of the same request",
        |snapshot| one(snapshot.report.retries.lines),
    ),
    gauge(
        "shipper_delivery_paused",
        "1 while nothing is sent to the store, because it is unavailable or rejects requests, or the dead letters are full",
        |snapshot| one((snapshot.report.delivery_error.is_some() || snapshot.report.dead_letters.is_full).into()),
    ),
    gauge("shipper_dead_letters", "Dead letters in the state directory that have not been replayed", |snapshot| {
        one(snapshot.report.dead_letters.letters)
    }),
    gauge("shipper_dead_letters_bytes", "Size of the dead letters on disk", |snapshot| {
        one(snapshot.report.dead_letters.bytes)
    }),
    gauge("shipper_dead_letters_max_bytes", "Maximum size of the dead letters, at which delivery pauses", |snapshot| {
        one(snapshot.report.dead_letters.max_bytes)
    }),
    gauge(
        "shipper_accounting_errors",
        "1 if the lines read differ from the sum of all outcomes and pending lines, which is a bug",
        |snapshot| one((!snapshot.counts.is_balanced()).into()),
    ),
    gauge(
        "shipper_sink_error",
        "1 for the cause of the present delivery failure, of the whole store or of one index",
        |snapshot| {
            let blocked = snapshot.report.blocked.as_ref().map(|blocked| &blocked.delivery_error);
            let delivery_error =
                snapshot.report.delivery_error.as_ref().or(blocked).map(|delivery_error| delivery_error.cause.kind);
            let is_full = snapshot.report.dead_letters.is_full;
            let of_store =
                CauseKind::ALL.iter().map(|kind| (kind.as_str().into(), (delivery_error == Some(*kind)).into()));
            of_store.chain([(dead_letters::CAUSE.into(), is_full.into())]).collect()
        },
    )
    .by("cause"),
    gauge("shipper_blocked_indices", "Indices that accept no writes while others do", |snapshot| {
        one(snapshot.report.blocked.as_ref().map_or(0, |blocked| blocked.indices as u64))
    }),
    gauge("shipper_blocked_lines", "Lines pending for blocked indices, excluding a probe in flight", |snapshot| {
        one(snapshot.report.blocked.as_ref().map_or(0, |blocked| blocked.lines as u64))
    }),
    gauge(
        "shipper_host_up",
        "1 while a host of the store is in use, 0 while it is ejected after a failure",
        |snapshot| by_host(snapshot, |host| host.delivery_error.is_none().into()),
    )
    .by("host"),
    counter("shipper_host_ejections_total", "Times a host of the store was ejected after a failure", |snapshot| {
        by_host(snapshot, |host| host.ejections)
    })
    .by("host"),
    gauge("shipper_host_requests_in_flight", "Requests in flight to a host of the store", |snapshot| {
        by_host(snapshot, |host| host.in_flight as u64)
    })
    .by("host"),
    gauge(
        "shipper_host_requests_in_flight_max",
        "Limit on requests in flight to a host; it grows with successes and is halved by failures",
        |snapshot| by_host(snapshot, |host| host.in_flight_max as u64),
    )
    .by("host"),
    gauge("shipper_disk_failing", "1 while the state directory cannot be written", |snapshot| {
        one(snapshot.report.disk_error.is_some().into())
    }),
    gauge("shipper_store_bytes", "Size of the embedded store's file and its WAL; 0 for an engine", |snapshot| {
        one(snapshot.store_bytes)
    }),
    counter("shipper_store_removed_lines_total", "Lines deleted from the embedded store by retention", |snapshot| {
        one(snapshot.removed.0)
    }),
    gauge("shipper_store_retention_failing", "1 while retention fails on the embedded store", |snapshot| {
        one(snapshot.retention_failing.into())
    }),
    counter(
        "shipper_store_removed_bytes_total",
        "Bytes, as read at the source, of the lines deleted by retention",
        |snapshot| one(snapshot.removed.1),
    ),
    counter(
        "shipper_store_file_changes_total",
        "Times the embedded store's file was found deleted, moved or replaced while open",
        |snapshot| one(snapshot.store_file_changes),
    ),
    counter("shipper_files_total", "Events of followed files, such as truncations and suspected losses", |snapshot| {
        let files = snapshot.report.files.counts;
        by([
            ("truncated", files.truncated),
            ("suspected_loss", files.suspected_losses),
            ("vanished", files.vanished),
            ("given_up", files.given_up),
            ("missed", files.missed),
            ("copy", files.copies),
            ("skipped", files.skipped),
        ])
    })
    .by("event"),
    counter(
        "shipper_files_destroyed_bytes_total",
        "Bytes seen in files that were truncated or deleted before they were stored",
        |snapshot| one(snapshot.report.files.counts.destroyed_bytes),
    ),
    gauge("shipper_files_followed", "Files followed, open or not", |snapshot| one(snapshot.report.files.followed)),
    gauge("shipper_files_open", "Followed files that are open", |snapshot| one(snapshot.report.files.open)),
    gauge("shipper_files_unread", "Files that match a pattern but are not read, by reason", |snapshot| {
        let unread = snapshot.report.files.unread;
        Reason::ALL.iter().zip(unread).map(|(reason, count)| (reason.as_str().into(), count)).collect()
    })
    .by("reason"),
];

/// Collects all metrics from one snapshot per scrape.
pub(crate) struct Metrics<L> {
    look: L,
    descriptions: Vec<Desc>,
}

impl<L: Fn() -> Snapshot + Send + Sync> Metrics<L> {
    /// Metrics whose values `look` returns.
    pub(crate) fn new(look: L) -> Self {
        let descriptions = families(&Snapshot::default()).into_iter().map(|(description, _)| description).collect();
        Self { look, descriptions }
    }
}

impl<L: Fn() -> Snapshot + Send + Sync> Collector for Metrics<L> {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let families = families(&(self.look)()).into_iter().map(|(_, family)| family);
        // Hosts are unknown before startup.
        families.filter(|family| !family.get_metric().is_empty()).collect()
    }
}

fn families(snapshot: &Snapshot) -> Vec<(Desc, MetricFamily)> {
    METRICS.iter().filter_map(|metric| family(metric, snapshot)).collect()
}

/// The family of a metric; `None` if Prometheus rejects its name or label, which a test rules out.
fn family(metric: &MetricDef, snapshot: &Snapshot) -> Option<(Desc, MetricFamily)> {
    let (options, labels) = (Opts::new(metric.name, metric.help), metric.label.as_slice());
    let values = (metric.values)(snapshot);
    let has_label = metric.label.is_some();
    let label = |value: &str| if has_label { vec![value.to_owned()] } else { Vec::new() };
    let collect = |collector: &dyn Collector| {
        let description = collector.desc().first().map(|description| (*description).clone());
        description.zip(collector.collect().pop())
    };
    match metric.kind {
        Kind::Counter => {
            let counters = CounterVec::new(options, labels).ok()?;
            values.iter().for_each(|(name, value)| counters.with_label_values(&label(name)).inc_by(*value as f64));
            collect(&counters)
        }
        Kind::Gauge => {
            let gauges = GaugeVec::new(options, labels).ok()?;
            values.iter().for_each(|(name, value)| gauges.with_label_values(&label(name)).set(*value as f64));
            collect(&gauges)
        }
    }
}

#[cfg(test)]
mod tests {
    use observability::prometheus::{Registry, TextEncoder};

    use super::*;

    fn scrape(snapshot: Snapshot) -> String {
        let registry = Registry::new();
        registry.register(Box::new(Metrics::new(move || snapshot.clone()))).unwrap();
        TextEncoder::new().encode_to_string(&registry.gather()).unwrap()
    }

    #[test]
    fn every_metric_exists_from_the_start() {
        insta::assert_snapshot!(scrape(Snapshot::before_start(1024, 512)));
    }

    #[test]
    fn each_outcome_has_its_metric() {
        let counts = Counts {
            read: 15,
            stored: 5,
            already_stored: 4,
            dead_lettered: 3,
            dropped: 2,
            pending: 1,
            read_bytes: 1500,
            spool_bytes: 100,
        };
        let text = scrape(Snapshot { counts, ..Snapshot::default() });
        for line in [
            "shipper_lines_read_total 15",
            "shipper_lines_stored_total 5",
            "shipper_lines_already_stored_total 4",
            "shipper_lines_dead_lettered_total 3",
            "shipper_lines_dropped_total 2",
            "shipper_lines_pending 1",
            "shipper_bytes_read_total 1500",
            "shipper_spool_bytes 100",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
    }
}
