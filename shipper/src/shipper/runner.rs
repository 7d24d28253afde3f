//! The pipeline's thread: it waits for nothing but news, and sends what is due as tasks of the caller's runtime.

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

/// The pipeline looks around at least this often.
const IDLE_WAIT: Duration = Duration::from_secs(1);

/// News for the pipeline's thread.
enum News {
    /// There are bytes to read.
    Bytes,
    /// The store answered.
    Answer(InFlightId, Result<Vec<Disposition>, WriteError>),
    /// No more input; tell when all is done, and then end.
    Finish { close_files: bool, done: oneshot::Sender<()> },
    /// End now.
    Stop,
}

/// Brings news to the pipeline's thread; that there are bytes once for any number of appends.
#[derive(Clone)]
pub(super) struct Bell {
    news: Sender<News>,
    rung: Arc<AtomicBool>,
}

impl Bell {
    /// There are bytes to read.
    pub(super) fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            // A pipeline that has ended needs no news.
            let _ = self.news.send(News::Bytes);
        }
    }

    /// There is no more input; what is given says when all is done.
    pub(super) fn finish(&self, close_files: bool) -> oneshot::Receiver<()> {
        let (done, is_done) = oneshot::channel();
        let _ = self.news.send(News::Finish { close_files, done });
        is_done
    }

    /// The pipeline is to end now.
    pub(super) fn stop(&self) {
        let _ = self.news.send(News::Stop);
    }
}

/// The pipeline's thread.
pub(super) struct Runner {
    pipeline: Pipeline<RealDisk>,
    inbox: Receiver<News>,
    bell: Bell,
    sink: Arc<Sink>,
    runtime: tokio::runtime::Handle,
    status: Arc<Status>,
    unread_note: UnreadNote,
    finishing: Option<oneshot::Sender<()>>,
}

impl Runner {
    /// A runner within the caller's Tokio runtime, and how to reach it.
    pub(super) fn new(
        pipeline: Pipeline<RealDisk>,
        sink: Arc<Sink>,
        status: Arc<Status>,
        unread_note: UnreadNote,
    ) -> (Self, Bell) {
        let (news, inbox) = mpsc::channel();
        let bell = Bell { news, rung: Arc::new(AtomicBool::new(false)) };
        let runtime = tokio::runtime::Handle::current();
        (Self { pipeline, inbox, bell: bell.clone(), sink, runtime, status, unread_note, finishing: None }, bell)
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
                // Nobody waits for it any more if the deadline came first.
                let _ = self.finishing.take().map(|done| done.send(()));
            }
            let due = self.pipeline.next_tick_at().map(|at| at.saturating_sub(clock.now().elapsed));
            let wait = due.unwrap_or(IDLE_WAIT).min(IDLE_WAIT);
            let goes_on = match self.inbox.recv_timeout(wait) {
                Ok(news) => self.take(news, clock),
                Err(RecvTimeoutError::Timeout) => true,
                Err(RecvTimeoutError::Disconnected) => false,
            };
            if !goes_on {
                break;
            }
        }
        if let Err(error) = self.pipeline.close(clock.now()) {
            tracing::error!(%error, "the last checkpoints could not be written: their lines will be sent again");
        }
        let report = self.pipeline.report();
        self.note_unread(&report);
        self.status.set_report(report);
    }

    /// Writes down which files are not read. A disk that takes no note is tried again at the next look.
    fn note_unread(&mut self, report: &Report) {
        let notice = report.files.unread_notice();
        if notice.is_some() || report.files.is_scanned {
            let _ = self.unread_note.update(notice);
        }
    }

    /// Takes news, and all that came with it; false to end.
    fn take(&mut self, first: News, clock: Clock) -> bool {
        let mut next = Some(first);
        while let Some(news) = next {
            match news {
                News::Bytes => self.bell.rung.store(false, Ordering::Release),
                News::Answer(id, answer) => self.pipeline.answer(id, answer, clock.now()),
                News::Finish { close_files, done } => {
                    if close_files {
                        self.pipeline.close_files();
                    }
                    self.pipeline.flush();
                    self.finishing = Some(done);
                }
                News::Stop => return false,
            }
            next = self.inbox.try_recv().ok();
        }
        true
    }

    fn send(&self, request: Request) {
        let (sink, news) = (Arc::clone(&self.sink), self.bell.news.clone());
        self.runtime.spawn(async move {
            let answer = sink.write(request.host, &request.batch).await;
            let _ = news.send(News::Answer(request.id, answer));
        });
    }
}
