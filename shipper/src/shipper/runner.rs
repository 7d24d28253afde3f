//! The pipeline's thread: waits for events, and sends due requests as tasks of the caller's runtime.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

use store::{Disposition, WriteError};
use tokio::sync::oneshot;

use super::status::Status;
use crate::clock::Clock;
use crate::delivery::{InFlightId, Request};
use crate::disk::RealDisk;
use crate::files::UnreadNote;
use crate::pipeline::{Pipeline, Report};
use crate::sink::Sink;
use crate::status_log::{log_delivery, log_hosts};

/// Maximum interval between ticks of the pipeline.
const IDLE_WAIT: Duration = Duration::from_secs(1);

/// An event for the pipeline's thread.
enum Event {
    /// There are bytes to read.
    Bytes,
    /// The store answered.
    Answer(InFlightId, Result<Vec<Disposition>, WriteError>),
    /// No more input: report when done.
    Finish { close_files: bool, done: oneshot::Sender<()> },
    /// Stop now.
    Stop,
}

/// Sends events to the pipeline's thread. Any number of appends is sent as one event.
#[derive(Clone)]
pub(super) struct Notifier {
    events: Sender<Event>,
    notified: Arc<AtomicBool>,
}

impl Notifier {
    /// There are bytes to read.
    pub(super) fn notify(&self) {
        if !self.notified.swap(true, Ordering::AcqRel) {
            // The receiver is dropped when the pipeline has ended.
            let _ = self.events.send(Event::Bytes);
        }
    }

    /// There is no more input. The receiver is notified when everything is done.
    pub(super) fn finish(&self, close_files: bool) -> oneshot::Receiver<()> {
        let (done, is_done) = oneshot::channel();
        let _ = self.events.send(Event::Finish { close_files, done });
        is_done
    }

    /// Stops the pipeline.
    pub(super) fn stop(&self) {
        let _ = self.events.send(Event::Stop);
    }
}

/// The pipeline's thread.
pub(super) struct Runner {
    pipeline: Pipeline<RealDisk>,
    inbox: Receiver<Event>,
    notifier: Notifier,
    sink: Arc<Sink>,
    runtime: tokio::runtime::Handle,
    status: Arc<Status>,
    unread_note: UnreadNote,
    finishing: Option<oneshot::Sender<()>>,
}

impl Runner {
    /// Creates a runner within the caller's Tokio runtime, and the sender of its events.
    pub(super) fn new(
        pipeline: Pipeline<RealDisk>,
        sink: Arc<Sink>,
        status: Arc<Status>,
        unread_note: UnreadNote,
    ) -> (Self, Notifier) {
        let (events, inbox) = mpsc::channel();
        let notifier = Notifier { events, notified: Arc::new(AtomicBool::new(false)) };
        let runtime = tokio::runtime::Handle::current();
        (
            Self { pipeline, inbox, notifier: notifier.clone(), sink, runtime, status, unread_note, finishing: None },
            notifier,
        )
    }

    pub(super) fn run(mut self) {
        let clock = Clock::default();
        let (mut delivery_error, mut ejected) = (false, Vec::new());
        loop {
            let now = clock.now();
            for request in self.pipeline.tick(now) {
                self.send(request);
            }
            let _looked_at = self.status.snapshot();
            let report = self.pipeline.report();
            log_delivery(&mut delivery_error, &report);
            log_hosts(&mut ejected, &report);
            self.note_unread(&report);
            self.status.set_report(report);
            if self.finishing.is_some() && self.pipeline.is_done() {
                // The receiver is dropped if the deadline came first.
                let _ = self.finishing.take().map(|done| done.send(()));
            }
            let due = self.pipeline.next_tick_at().map(|at| at.saturating_sub(clock.now().elapsed));
            let wait = due.unwrap_or(IDLE_WAIT).min(IDLE_WAIT);
            let continues = match self.inbox.recv_timeout(wait) {
                Ok(event) => self.handle(event, clock),
                Err(RecvTimeoutError::Timeout) => true,
                Err(RecvTimeoutError::Disconnected) => false,
            };
            if !continues {
                break;
            }
        }
        if let Err(error) = self.pipeline.close(clock.now()) {
            tracing::error!(%error, "last checkpoints not written: their lines will be sent again");
        }
        let report = self.pipeline.report();
        self.note_unread(&report);
        self.status.set_report(report);
    }

    /// Writes the note of unread files. If the disk fails, the next scan tries again.
    fn note_unread(&mut self, report: &Report) {
        let notice = report.files.unread_notice();
        if notice.is_some() || report.files.is_scanned {
            let _ = self.unread_note.update(notice);
        }
    }

    /// Handles an event and all others that are queued; returns false to end.
    fn handle(&mut self, first: Event, clock: Clock) -> bool {
        let mut next = Some(first);
        while let Some(event) = next {
            match event {
                Event::Bytes => self.notifier.notified.store(false, Ordering::Release),
                Event::Answer(id, answer) => self.pipeline.answer(id, answer, clock.now()),
                Event::Finish { close_files, done } => {
                    if close_files {
                        self.pipeline.close_files();
                    }
                    self.pipeline.flush();
                    self.finishing = Some(done);
                }
                Event::Stop => return false,
            }
            next = self.inbox.try_recv().ok();
        }
        true
    }

    fn send(&self, request: Request) {
        let (sink, events) = (Arc::clone(&self.sink), self.notifier.events.clone());
        self.runtime.spawn(async move {
            let answer = sink.write(request.host, &request.batch).await;
            let _ = events.send(Event::Answer(request.id, answer));
        });
    }
}
