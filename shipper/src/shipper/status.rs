//! What everyone may ask a running shipper: the counts, the lag, whether lines get to their store.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use store::{LineId, Timestamp};

use crate::config::Settings;
use crate::disk::RealDisk;
use crate::journal::Journal;
use crate::ledger::{Counts, Ledger};
use crate::pipeline::{Obstacle, Report};
use crate::retention::Removals;
use crate::spool::lock;
use crate::store_watch::StoreWatch;

/// What everyone may ask a running shipper.
pub struct Status {
    ledger: Arc<Mutex<Ledger>>,
    journal: Arc<Mutex<Journal<RealDisk>>>,
    report: Mutex<Report>,
    removals: Arc<Removals>,
    watch: Arc<StoreWatch>,
    spool_max_bytes: u64,
    is_error_logged: AtomicBool,
    in_flight_max_bytes: u64,
}

impl Status {
    pub(super) fn new(
        ledger: Arc<Mutex<Ledger>>,
        journal: Arc<Mutex<Journal<RealDisk>>>,
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
        *lock(&self.report) = report;
    }

    /// The lines that wait in files, as they were read there, and not in the spool.
    pub(super) fn pending_in_files(&self) -> u64 {
        let journal = lock(&self.journal);
        let ledger = lock(&self.ledger);
        let in_files = |(generation, lines)| if journal.get(&generation).file.is_some() { lines } else { 0 };
        ledger.pending().map(in_files).sum()
    }

    /// The counts at one moment. That they balance is looked at each time; should they ever not, a metric and the log
    /// say so.
    #[must_use]
    pub fn snapshot(&self) -> Counts {
        let counts = lock(&self.ledger).snapshot();
        if !counts.is_balanced() && !self.is_error_logged.swap(true, Ordering::Relaxed) {
            tracing::error!(?counts, "accounting error: a line was counted wrongly, which is a bug of the shipper");
        }
        debug_assert!(counts.is_balanced(), "{counts:?}");
        counts
    }

    /// How long ago the oldest line that waits arrived, to the second, as arrival marks are; zero when none waits.
    #[must_use]
    pub fn lag(&self, now: Timestamp) -> Duration {
        let pending = lock(&self.ledger).pending_from();
        let journal = lock(&self.journal);
        let arrived = |line: &LineId| journal.get(&line.generation).arrived(&line.generation, line.offset);
        let micros = pending.iter().map(arrived).min().map_or(0, |oldest| now.unix_micros() - oldest.unix_micros());
        Duration::from_secs(u64::try_from(micros).unwrap_or(0) / 1_000_000)
    }

    /// What the pipeline tells of itself, and that the store's file is missing though nothing was sent there since.
    #[must_use]
    pub fn report(&self) -> Report {
        let mut report = lock(&self.report).clone();
        report.delivery_error = report.delivery_error.or_else(|| self.watch.delivery_error());
        report
    }

    /// How often the embedded store's file was found deleted, moved or replaced while it was open.
    #[must_use]
    pub fn store_file_changes(&self) -> u64 {
        self.watch.changes()
    }

    /// Bytes of the embedded store's file and of its WAL; 0 for an engine.
    #[must_use]
    pub fn store_bytes(&self) -> u64 {
        self.watch.bytes()
    }

    /// Lines that were taken out of the embedded store because they need not be kept, and their bytes.
    #[must_use]
    pub fn removed(&self) -> (u64, u64) {
        self.removals.get()
    }

    /// Whether lines that need not be kept can't be taken out.
    #[must_use]
    pub fn is_retention_failing(&self) -> bool {
        self.removals.is_failing()
    }

    /// The spool's bound in bytes.
    #[must_use]
    pub fn spool_max_bytes(&self) -> u64 {
        self.spool_max_bytes
    }

    /// Bytes of batches above which nothing is read.
    #[must_use]
    pub fn in_flight_max_bytes(&self) -> u64 {
        self.in_flight_max_bytes
    }

    /// Whether all lines get to their store, and all files that the patterns name are read.
    ///
    /// # Errors
    /// Why they do not, in a sentence, and in the word of metrics and log.
    pub fn ready(&self) -> Result<(), String> {
        let report = self.report();
        match (report.obstacle(), report.files.unread_notice()) {
            (Some(Obstacle { cause, reason }), _) => Err(format!("{reason} [{cause}]")),
            (None, Some(notice)) => Err(format!("{notice} [files_unread]")),
            (None, None) => Ok(()),
        }
    }
}
