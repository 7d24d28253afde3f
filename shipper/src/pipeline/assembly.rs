//! The batch being built, and one that must wait for the journal.

use std::io;
use std::time::Duration;

use store::{Batch, BatchBuilder, Timestamp};

use super::PipelineSettings;
use crate::clock::ClockReading;
use crate::delivery::Delivery;
use crate::disk::Disk;
use crate::document::{Documents, Origin, Pushed};
use crate::journal::Journal;
use crate::reader::LineView;
use crate::sync::RankedMutex;

/// Additional capacity of a batch's buffer, for the last line that exceeds the limit.
const BATCH_SLACK_BYTES: usize = 4 * 1024;

/// Lines between reading and delivery: at most one batch being built and one held.
pub(super) struct Assembly {
    max_lines: usize,
    max_bytes: usize,
    max_age: Duration,
    builder: BatchBuilder,
    /// When the first line was added.
    since: Option<Duration>,
    /// Whether a line relies on an arrival mark.
    used_arrival: bool,
    /// A batch that must wait until the journal is synced.
    held: Option<Batch>,
    /// Whether batches do not wait for more lines.
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

    /// Stops batches from waiting for more lines.
    pub(super) fn flush(&mut self) {
        self.flush = true;
    }

    /// The size of both batches.
    pub(super) fn bytes(&self) -> usize {
        self.builder.bytes() + self.held.as_ref().map_or(0, |batch| batch.body().len())
    }

    /// Whether a batch is held, so that there is no room for another.
    pub(super) fn is_held(&self) -> bool {
        self.held.is_some()
    }

    /// When the batch being built is flushed, even if it is small.
    pub(super) fn due_at(&self) -> Option<Duration> {
        self.since.map(|since| since + self.max_age)
    }

    /// The size at which a batch is flushed: the configured one, or somewhat less than the store accepts, so that the
    /// last line does not exceed that.
    pub(super) fn max_bytes(&self, delivery: &Delivery) -> usize {
        let taken = delivery.request_max_bytes().unwrap_or(usize::MAX);
        self.max_bytes.min(taken - taken / 8)
    }

    /// Whether the batch has reached `max_bytes`; see [`Assembly::max_bytes`].
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

    /// Makes the batch wait until the journal is synced, unless the disk is full.
    pub(super) fn wait_for_journal(&mut self) {
        self.used_arrival = true;
    }

    /// Records that lines were added at `now`.
    pub(super) fn note_time(&mut self, now: ClockReading) {
        if self.builder.count() > 0 && self.since.is_none() {
            self.since = Some(now.elapsed);
        }
    }

    /// Offers the held batch, and the batch being built if it has waited long enough.
    pub(super) fn offer_due<D: Disk>(
        &mut self,
        now: ClockReading,
        journal: &RankedMutex<Journal<D>>,
        delivery: &mut Delivery,
    ) -> io::Result<()> {
        if let Some(batch) = self.held.take() {
            self.offer_durably(batch, journal, delivery)?;
        }
        let is_due = self.due_at().is_some_and(|at| now.elapsed >= at);
        if is_due || self.flush && self.builder.count() > 0 { self.offer(journal, delivery) } else { Ok(()) }
    }

    /// Offers the batch being built.
    pub(super) fn offer<D: Disk>(
        &mut self,
        journal: &RankedMutex<Journal<D>>,
        delivery: &mut Delivery,
    ) -> io::Result<()> {
        // Full-size buffers are allocated only if batches get full.
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

    /// Offers a batch. If it relies on arrival marks, those must be durable first, or a power loss would give its lines
    /// other days and texts with the same ids.
    fn offer_durably<D: Disk>(
        &mut self,
        batch: Batch,
        journal: &RankedMutex<Journal<D>>,
        delivery: &mut Delivery,
    ) -> io::Result<()> {
        let mut journal = journal.lock();
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
