//! The status of a running shipper: counts, lag, readiness.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use store::{LineId, Timestamp};

use crate::config::Settings;
use crate::disk::RealDisk;
use crate::journal::Journal;
use crate::ledger::{Counts, Ledger};
use crate::pipeline::{Obstacle, Report};
use crate::retention::Removals;
use crate::store_watch::StoreWatch;
use crate::sync::RankedMutex;

/// The status of a running shipper.
pub struct Status {
    ledger: Arc<RankedMutex<Ledger>>,
    journal: Arc<RankedMutex<Journal<RealDisk>>>,
    report: Mutex<Report>,
    removals: Arc<Removals>,
    watch: Arc<StoreWatch>,
    spool_max_bytes: u64,
    is_error_logged: AtomicBool,
    in_flight_max_bytes: u64,
}

impl Status {
    pub(super) fn new(
        ledger: Arc<RankedMutex<Ledger>>,
        journal: Arc<RankedMutex<Journal<RealDisk>>>,
        removals: Arc<Removals>,
        watch: Arc<StoreWatch>,
        settings: &Settings,
    ) -> Self {
        Self {
            ledger,
            journal,
            report: Mutex::default(),
            removals,
            watch,
            spool_max_bytes: settings.spool().max_bytes,
            is_error_logged: AtomicBool::new(false),
            in_flight_max_bytes: settings.pipeline().in_flight_max_bytes as u64,
        }
    }

    pub(super) fn set_report(&self, report: Report) {
        *self.report.lock() = report;
    }

    /// The number of pending lines that are in files, not in the spool.
    pub(super) fn pending_in_files(&self) -> u64 {
        let journal = self.journal.lock();
        let ledger = self.ledger.lock();
        let in_files = |(generation, lines)| if journal.get(&generation).file.is_some() { lines } else { 0 };
        ledger.pending().map(in_files).sum()
    }

    /// A consistent snapshot of the counts. Their balance is checked each time; an imbalance is logged and shows in a
    /// metric.
    #[must_use]
    pub fn snapshot(&self) -> Counts {
        let counts = self.ledger.lock().snapshot();
        if !counts.is_balanced() && !self.is_error_logged.swap(true, Ordering::Relaxed) {
            tracing::error!(?counts, "accounting error: a line was counted wrongly, which is a bug");
        }
        debug_assert!(counts.is_balanced(), "{counts:?}");
        counts
    }

    /// The age of the oldest pending line, with the resolution of arrival marks (a second); zero if none is pending.
    #[must_use]
    pub fn lag(&self, now: Timestamp) -> Duration {
        let pending = self.ledger.lock().pending_checkpoints();
        let journal = self.journal.lock();
        let arrived = |line: &LineId| journal.get(&line.generation).arrived(&line.generation, line.offset);
        let micros = pending.iter().map(arrived).min().map_or(0, |oldest| now.unix_micros() - oldest.unix_micros());
        Duration::from_secs(u64::try_from(micros).unwrap_or(0) / 1_000_000)
    }

    /// The report of the pipeline. Includes a missing store file even if nothing was sent since.
    #[must_use]
    pub fn report(&self) -> Report {
        let mut report = self.report.lock().clone();
        report.delivery_error = report.delivery_error.or_else(|| self.watch.delivery_error());
        report
    }

    /// The number of times that the embedded store's file was found deleted, moved or replaced while open.
    #[must_use]
    pub fn store_file_changes(&self) -> u64 {
        self.watch.changes()
    }

    /// Size of the embedded store's file and its WAL in bytes; 0 for an engine.
    #[must_use]
    pub fn store_bytes(&self) -> u64 {
        self.watch.bytes()
    }

    /// The number and bytes of lines deleted by retention.
    #[must_use]
    pub fn removed(&self) -> (u64, u64) {
        self.removals.get()
    }

    /// Whether retention fails.
    #[must_use]
    pub fn is_retention_failing(&self) -> bool {
        self.removals.is_failing()
    }

    /// Maximum size of the spool in bytes.
    #[must_use]
    pub fn spool_max_bytes(&self) -> u64 {
        self.spool_max_bytes
    }

    /// Maximum total size of batches in bytes.
    #[must_use]
    pub fn in_flight_max_bytes(&self) -> u64 {
        self.in_flight_max_bytes
    }

    /// Whether all lines reach the store and all matching files are read.
    ///
    /// # Errors
    /// The reason, as a sentence with the label used in metrics and the log.
    pub fn ready(&self) -> Result<(), String> {
        let report = self.report();
        match (report.obstacle(), report.files.unread_notice()) {
            (Some(Obstacle { cause, reason }), _) => Err(format!("{reason} [{cause}]")),
            (None, Some(notice)) => Err(format!("{notice} [files_unread]")),
            (None, None) => Ok(()),
        }
    }
}
