//! Shutdown: ships pending lines for a limited time and keeps the rest.

use std::path::Path;
use std::time::{Duration, Instant};

use shipper::shipper::{Finished, Shipper};

use crate::exit::print_error;
use crate::pipe_reader::PipeReader;
use crate::signals::Signals;

/// How long to ship pending lines.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Limit {
    /// Until every line has its outcome, or until this long after a signal.
    Idle(Duration),
    /// Until this time.
    By(Instant),
}

/// A shutdown that signals may shorten: the first one requests it, the second one ends it at once.
pub(crate) struct Drain {
    signals: Signals,
    stopped: bool,
    cut_short: bool,
}

/// The result of a shutdown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Drained {
    /// What was not shipped.
    pub(crate) finished: Finished,
    /// Whether neither the limit nor a signal ended it early.
    pub(crate) complete: bool,
}

impl Drain {
    /// Creates a shutdown; `stopped` if a signal has requested it already.
    pub(crate) fn new(signals: Signals, stopped: bool) -> Self {
        Self { signals, stopped, cut_short: false }
    }

    /// Whether a signal requested it.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// Waits for a signal.
    pub(crate) async fn signal(&mut self) {
        self.signals.stop().await;
        self.cut_short |= std::mem::replace(&mut self.stopped, true);
    }

    /// Waits until a source ends, at the latest `until`.
    pub(crate) async fn source(&mut self, source: &mut PipeReader, until: Instant) {
        while !self.cut_short {
            tokio::select! {
                () = source.ended() => return,
                () = tokio::time::sleep_until(until.into()) => break,
                () = self.signal() => {}
            }
        }
    }

    /// Ships pending lines.
    pub(crate) async fn ship(&mut self, shipper: Shipper, limit: Limit) -> Drained {
        let finished = shipper.finish(self.deadline(limit)).await;
        let complete = finished.pending_lines == 0 && !self.cut_short;
        Drained { finished, complete }
    }

    /// Resolves at the limit or at a second signal.
    async fn deadline(&mut self, limit: Limit) {
        let (mut until, after_signal) = match limit {
            Limit::Idle(after_signal) => (None, after_signal),
            Limit::By(until) => (Some(until), Duration::ZERO),
        };
        while !self.cut_short {
            tokio::select! {
                () = sleep_until(until) => return,
                () = self.signal() => until = until.or_else(|| Some(Instant::now() + after_signal)),
            }
        }
    }
}

impl Drained {
    /// Reports on standard error what was not shipped.
    pub(crate) fn report(&self, rejected_bytes: u64, state_dir: &Path) {
        let state_dir = state_dir.display();
        if rejected_bytes > 0 {
            print_error(format_args!(
                "shipper: the spool is full: up to {rejected_bytes} bytes at the end of the input were not accepted"
            ));
        }
        let Finished { pending_lines, pending_in_files } = self.finished;
        let in_spool = pending_lines.saturating_sub(pending_in_files);
        if in_spool > 0 {
            let state = "are pending in";
            print_error(format_args!(
                "shipper: {in_spool} lines {state} {state_dir}; the next start with it ships them"
            ));
        }
        if pending_in_files > 0 {
            let state = "are pending in their files; the next start with";
            print_error(format_args!(
                "shipper: {pending_in_files} lines {state} {state_dir} reads them again: keep the files"
            ));
        }
    }
}

/// Sleeps until a time, or forever.
pub(crate) async fn sleep_until(until: Option<Instant>) {
    match until {
        Some(until) => tokio::time::sleep_until(until.into()).await,
        None => std::future::pending().await,
    }
}
