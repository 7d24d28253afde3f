//! What the shipper tells Prometheus. Each scrape looks at the books once, so that
//! `read = stored + already_stored + dead_lettered + lost + waiting` holds in it; everything else is [`FIGURES`], where a
//! metric is an entry. Label sets are closed and begin at 0.

use std::borrow::Cow;
use std::time::Duration;

use observability::prometheus::core::{Collector, Desc};
use observability::prometheus::proto::MetricFamily;
use observability::prometheus::{CounterVec, GaugeVec, Opts};
use shipper::dead_letters;
use shipper::delivery::hosts::HostReport;
use shipper::files::Reason;
use shipper::ledger::Snapshot;
use shipper::pipeline::Report;
use shipper::record::{Change, Flaw};
use shipper::shipper::Status;
use store::{CauseKind, Timestamp};

/// What a scrape is made of.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sight {
    books: Snapshot,
    report: Report,
    lag: Duration,
    removed: (u64, u64),
    retention_failing: bool,
    store_file_changes: u64,
    store_bytes: u64,
    spool_max_bytes: u64,
    in_flight_max_bytes: u64,
}

/// Values by their label; the names of hosts are those of the configuration.
type Values = Vec<(Cow<'static, str>, u64)>;

impl Sight {
    /// A look at a shipper that has not begun.
    pub(crate) fn before_the_start(spool_max_bytes: u64, in_flight_max_bytes: u64) -> Self {
        Self { spool_max_bytes, in_flight_max_bytes, ..Self::default() }
    }

    /// A look at a running shipper.
    pub(crate) fn of(status: &Status) -> Self {
        Self {
            books: status.snapshot(),
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

/// A metric: its values by their one label, or under no label.
struct Figure {
    kind: Kind,
    name: &'static str,
    help: &'static str,
    label: Option<&'static str>,
    values: fn(&Sight) -> Values,
}

const fn counter(name: &'static str, help: &'static str, values: fn(&Sight) -> Values) -> Figure {
    Figure { kind: Kind::Counter, name, help, label: None, values }
}

const fn gauge(name: &'static str, help: &'static str, values: fn(&Sight) -> Values) -> Figure {
    Figure { kind: Kind::Gauge, name, help, label: None, values }
}

impl Figure {
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

fn by_host(sight: &Sight, value: fn(&HostReport) -> u64) -> Values {
    sight.report.hosts.iter().map(|host| (host.name.to_string().into(), value(host))).collect()
}

/// All metrics.
const FIGURES: &[Figure] = &[
    counter("shipper_lines_read_total", "Lines taken, those that waited at the start among them", |sight| {
        one(sight.books.read)
    }),
    counter("shipper_lines_stored_total", "Lines put into the store", |sight| one(sight.books.stored)),
    counter("shipper_lines_already_stored_total", "Lines found in the store when they were sent", |sight| {
        one(sight.books.already_stored)
    }),
    counter(
        "shipper_lines_dead_lettered_total",
        "Lines kept aside, with the reason why they can't be stored",
        |sight| one(sight.books.dead_lettered),
    ),
    counter("shipper_lines_lost_total", "Lines given up because the spool was full", |sight| one(sight.books.lost)),
    gauge("shipper_lines_waiting", "Lines that were taken and are not disposed of", |sight| one(sight.books.waiting)),
    gauge("shipper_lag_seconds", "Age of the oldest line that waits, 0 when none does", |sight| {
        one(sight.lag.as_secs())
    }),
    counter("shipper_lines_by_kind_total", "Lines prepared for the store, by what they were when they came", |sight| {
        let kinds = sight.report.kinds;
        by([("record", kinds.record), ("foreign", kinds.foreign), ("wrapped", kinds.wrapped.iter().sum())])
    })
    .by("kind"),
    counter("shipper_wrapped_total", "Lines wrapped as the message of a record, by why they were not one", |sight| {
        let wrapped = sight.report.kinds.wrapped;
        Flaw::WRAPPED.iter().zip(wrapped).map(|(flaw, count)| (flaw.as_str().into(), count)).collect()
    })
    .by("reason"),
    counter(
        "shipper_lines_changed_total",
        "Lines that were changed so that the store takes them with their meaning, by what was changed",
        |sight| {
            let changed = sight.report.kinds.changed;
            Change::ALL.iter().zip(changed).map(|(change, count)| (change.as_str().into(), count)).collect()
        },
    )
    .by("change"),
    counter("shipper_bytes_read_total", "Bytes of the lines taken", |sight| one(sight.books.read_bytes)),
    gauge("shipper_spool_bytes", "Bytes of the spool on disk", |sight| one(sight.books.spool_bytes)),
    gauge("shipper_spool_max_bytes", "Bytes that the spool may have", |sight| one(sight.spool_max_bytes)),
    gauge("shipper_in_flight_bytes", "Bytes of the batches that are built or under way", |sight| {
        one(sight.report.in_flight_bytes as u64)
    }),
    gauge("shipper_in_flight_max_bytes", "Bytes of batches above which nothing is read", |sight| {
        one(sight.in_flight_max_bytes)
    }),
    counter("shipper_requests_total", "Requests sent to the store, those sent again among them", |sight| {
        by_host(sight, |host| host.requests)
    })
    .by("host"),
    counter("shipper_requests_retried_total", "Requests whose lines had to be sent again, by why", |sight| {
        let retries = sight.report.retries;
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
        "Lines that had to be sent again because the store could not take them, and took others of their request",
        |sight| one(sight.report.retries.lines),
    ),
    gauge("shipper_sink_paused", "1 while the store gets nothing because it does not answer or refuses", |sight| {
        one((sight.report.trouble.is_some() || sight.report.dead_letters.is_full).into())
    }),
    gauge("shipper_dead_letters", "Dead letters at rest: those that no replay has put into the store", |sight| {
        one(sight.report.dead_letters.letters)
    }),
    gauge("shipper_dead_letters_bytes", "Bytes of the dead letters on disk", |sight| {
        one(sight.report.dead_letters.bytes)
    }),
    gauge("shipper_dead_letters_max_bytes", "Bytes that dead letters may have; then nothing is sent", |sight| {
        one(sight.report.dead_letters.max_bytes)
    }),
    gauge(
        "shipper_books_unbalanced",
        "1 if read is not the sum of its parts in this scrape, which is a fault",
        |sight| one((!sight.books.is_balanced()).into()),
    ),
    gauge(
        "shipper_sink_trouble",
        "1 for the cause why the store takes nothing, or no lines of an index, while that is so",
        |sight| {
            let shut = sight.report.shut.as_ref().map(|shut| &shut.trouble);
            let trouble = sight.report.trouble.as_ref().or(shut).map(|trouble| trouble.cause.kind);
            let is_full = sight.report.dead_letters.is_full;
            let of_store = CauseKind::ALL.iter().map(|kind| (kind.as_str().into(), (trouble == Some(*kind)).into()));
            of_store.chain([(dead_letters::CAUSE.into(), is_full.into())]).collect()
        },
    )
    .by("cause"),
    gauge("shipper_shut_indices", "Indices of which the store takes no lines: those wait, and others go on", |sight| {
        one(sight.report.shut.as_ref().map_or(0, |shut| shut.indices as u64))
    }),
    gauge(
        "shipper_shut_lines",
        "Lines that wait for such an index, but for one that may be on its way to try it",
        |sight| one(sight.report.shut.as_ref().map_or(0, |shut| shut.lines as u64)),
    ),
    gauge(
        "shipper_host_up",
        "1 while a host of the store is used, 0 while it is left alone after a failure",
        |sight| by_host(sight, |host| host.trouble.is_none().into()),
    )
    .by("host"),
    counter("shipper_host_ejections_total", "How often a host of the store was left alone after a failure", |sight| {
        by_host(sight, |host| host.ejections)
    })
    .by("host"),
    gauge("shipper_host_requests_in_flight", "Requests on their way to a host of the store", |sight| {
        by_host(sight, |host| host.in_flight as u64)
    })
    .by("host"),
    gauge(
        "shipper_host_requests_in_flight_max",
        "Requests that may be on their way to a host: rises with good answers, and is halved by bad ones",
        |sight| by_host(sight, |host| host.in_flight_max as u64),
    )
    .by("host"),
    gauge("shipper_disk_failing", "1 while the state directory can't be written", |sight| {
        one(sight.report.disk_error.is_some().into())
    }),
    gauge("shipper_store_bytes", "Bytes of the embedded store's file and of its WAL, 0 of an engine", |sight| {
        one(sight.store_bytes)
    }),
    counter(
        "shipper_store_removed_lines_total",
        "Lines taken out of the embedded store because of their age or its size",
        |sight| one(sight.removed.0),
    ),
    gauge(
        "shipper_store_retention_failing",
        "1 while lines that need not be kept can't be taken out of the embedded store",
        |sight| one(sight.retention_failing.into()),
    ),
    counter("shipper_store_removed_bytes_total", "Bytes of those lines at their source", |sight| one(sight.removed.1)),
    counter(
        "shipper_store_file_changes_total",
        "Times that the embedded store's file was found deleted, moved or replaced while it was open",
        |sight| one(sight.store_file_changes),
    ),
    counter("shipper_files_total", "Events of followed files, such as truncations and suspected losses", |sight| {
        let files = sight.report.files.counts;
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
        "Bytes seen in files that were truncated or deleted before they were read",
        |sight| one(sight.report.files.counts.destroyed_bytes),
    ),
    gauge("shipper_files_followed", "Files that are followed, open or not", |sight| one(sight.report.files.followed)),
    gauge("shipper_files_open", "Followed files that are open", |sight| one(sight.report.files.open)),
    gauge("shipper_files_unread", "Files that the patterns name and that are not read, by reason", |sight| {
        let unread = sight.report.files.unread;
        Reason::ALL.iter().zip(unread).map(|(reason, count)| (reason.as_str().into(), count)).collect()
    })
    .by("reason"),
];

/// Makes the metrics of one look, whenever they are scraped.
pub(crate) struct Metrics<L> {
    look: L,
    descriptions: Vec<Desc>,
}

impl<L: Fn() -> Sight + Send + Sync> Metrics<L> {
    /// Metrics of what `look` sees.
    pub(crate) fn new(look: L) -> Self {
        let descriptions = families(&Sight::default()).into_iter().map(|(description, _)| description).collect();
        Self { look, descriptions }
    }
}

impl<L: Fn() -> Sight + Send + Sync> Collector for Metrics<L> {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let families = families(&(self.look)()).into_iter().map(|(_, family)| family);
        // Before the start no host is known.
        families.filter(|family| !family.get_metric().is_empty()).collect()
    }
}

fn families(sight: &Sight) -> Vec<(Desc, MetricFamily)> {
    FIGURES.iter().filter_map(|figure| family(figure, sight)).collect()
}

/// A figure's family; a name or label that Prometheus would not take has none, which a test looks at.
fn family(figure: &Figure, sight: &Sight) -> Option<(Desc, MetricFamily)> {
    let (options, labels) = (Opts::new(figure.name, figure.help), figure.label.as_slice());
    let values = (figure.values)(sight);
    let has_label = figure.label.is_some();
    let label = |value: &str| if has_label { vec![value.to_owned()] } else { Vec::new() };
    let collect = |collector: &dyn Collector| {
        let description = collector.desc().first().map(|description| (*description).clone());
        description.zip(collector.collect().pop())
    };
    match figure.kind {
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

    fn scrape(sight: Sight) -> String {
        let registry = Registry::new();
        registry.register(Box::new(Metrics::new(move || sight.clone()))).unwrap();
        TextEncoder::new().encode_to_string(&registry.gather()).unwrap()
    }

    #[test]
    fn every_metric_is_there_from_the_start() {
        insta::assert_snapshot!(scrape(Sight::before_the_start(1024, 512)));
    }

    #[test]
    fn the_books_are_shown_as_they_stand() {
        let books = Snapshot {
            read: 15,
            stored: 5,
            already_stored: 4,
            dead_lettered: 3,
            lost: 2,
            waiting: 1,
            read_bytes: 1500,
            spool_bytes: 100,
        };
        let text = scrape(Sight { books, ..Sight::default() });
        for line in [
            "shipper_lines_read_total 15",
            "shipper_lines_stored_total 5",
            "shipper_lines_already_stored_total 4",
            "shipper_lines_dead_lettered_total 3",
            "shipper_lines_lost_total 2",
            "shipper_lines_waiting 1",
            "shipper_bytes_read_total 1500",
            "shipper_spool_bytes 100",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
    }
}
