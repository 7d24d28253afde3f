//! The batch that is being put together, and the one that may not go yet.

use std::io;
use std::sync::Mutex;
use std::time::Duration;

use store::{Batch, BatchBuilder, Timestamp};

use super::PipelineSettings;
use crate::clock::ClockReading;
use crate::delivery::Delivery;
use crate::disk::Disk;
use crate::document::{Documents, LineView, Origin, Pushed};
use crate::journal::Journal;
use crate::spool::lock;

/// Space that a batch's buffer begins with, beyond its bound: the last line goes over it.
const BATCH_SLACK_BYTES: usize = 4 * 1024;

/// Lines on their way from being read to being offered for delivery, at most one batch and one that is held.
pub(super) struct Assembly {
    max_lines: usize,
    max_bytes: usize,
    max_age: Duration,
    builder: BatchBuilder,
    /// When the builder got its first line.
    since: Option<Duration>,
    /// A line of the builder relies on an arrival mark.
    used_arrival: bool,
    /// A batch that may not go before the journal is synced.
    held: Option<Batch>,
    /// Batches do not wait for more lines.
    flush: bool,
}

impl Assembly {
    pub(super) fn new(settings: &PipelineSettings) -> Self {
        Self {
            max_lines: settings.batch_max_lines,
            max_bytes: settings.batch_max_bytes,
            max_age: settings.batch_max_age,
            builder: BatchBuilder::new(&settings.index_prefix),
            since: None,
            used_arrival: false,
            held: None,
            flush: false,
        }
    }

    /// From now on batches do not wait for more lines.
    pub(super) fn flush(&mut self) {
        self.flush = true;
    }

    /// Bytes of what is here.
    pub(super) fn bytes(&self) -> usize {
        self.builder.bytes() + self.held.as_ref().map_or(0, |batch| batch.body().len())
    }

    /// A batch is held: there is no room for another.
    pub(super) fn is_held(&self) -> bool {
        self.held.is_some()
    }

    /// When the batch goes that is being put together, however small it is.
    pub(super) fn due_at(&self) -> Option<Duration> {
        self.since.map(|since| since + self.max_age)
    }

    /// A batch is done at so many bytes: what the settings say, or somewhat less than the store takes at once, so that
    /// a batch's last line does not go over it.
    pub(super) fn max_bytes(&self, delivery: &Delivery) -> usize {
        let taken = delivery.request_max_bytes().unwrap_or(usize::MAX);
        self.max_bytes.min(taken - taken / 8)
    }

    /// Whether the batch is done, at `max_bytes` as [`Assembly::max_bytes`] says.
    #[inline]
    pub(super) fn is_full(&self, max_bytes: usize) -> bool {
        self.builder.count() >= self.max_lines || self.builder.bytes() >= max_bytes
    }

    /// Adds a line that arrived at `arrived`.
    #[inline]
    pub(super) fn push(
        &mut self,
        documents: &mut Documents,
        origin: &Origin,
        line: &LineView<'_>,
        arrived: Timestamp,
    ) -> Pushed {
        let pushed = documents.push(&mut self.builder, origin, line, arrived);
        self.used_arrival |= pushed.used_arrival;
        pushed
    }

    /// The batch waits until the journal has what is noted, unless the disk is full.
    pub(super) fn wait_for_journal(&mut self) {
        self.used_arrival = true;
    }

    /// Lines were pushed at `now`.
    pub(super) fn note_time(&mut self, now: ClockReading) {
        if self.builder.count() > 0 && self.since.is_none() {
            self.since = Some(now.elapsed);
        }
    }

    /// Offers the batch that is held, and the one that has waited long enough for more lines.
    pub(super) fn offer_due<D: Disk>(
        &mut self,
        now: ClockReading,
        journal: &Mutex<Journal<D>>,
        delivery: &mut Delivery,
    ) -> io::Result<()> {
        if let Some(batch) = self.held.take() {
            self.offer_durably(batch, journal, delivery)?;
        }
        let is_due = self.due_at().is_some_and(|at| now.elapsed >= at);
        if is_due || self.flush && self.builder.count() > 0 { self.offer(journal, delivery) } else { Ok(()) }
    }

    /// Offers the batch as it is.
    pub(super) fn offer<D: Disk>(&mut self, journal: &Mutex<Journal<D>>, delivery: &mut Delivery) -> io::Result<()> {
        // Buffers of full size only while batches get full.
        let full = self.builder.bytes() >= self.max_bytes / 2;
        let capacity = if full { self.max_bytes + BATCH_SLACK_BYTES } else { 0 };
        let batch = self.builder.finish(capacity);
        self.since = None;
        if std::mem::take(&mut self.used_arrival) {
            return self.offer_durably(batch, journal, delivery);
        }
        delivery.offer(batch);
        Ok(())
    }

    /// Offers a batch that relies on arrival marks: those must be durable first, or after a power loss the lines would
    /// get other days and other texts under their ids.
    fn offer_durably<D: Disk>(
        &mut self,
        batch: Batch,
        journal: &Mutex<Journal<D>>,
        delivery: &mut Delivery,
    ) -> io::Result<()> {
        let mut journal = lock(journal);
        if let Err(error) = journal.sync_marks() {
            drop(journal);
            self.held = Some(batch);
            return Err(error);
        }
        drop(journal);
        delivery.offer(batch);
        Ok(())
    }
}
