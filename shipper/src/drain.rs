//! The end of shipping: what is left goes out for a bounded time, and the rest is kept.

use std::path::Path;
use std::time::{Duration, Instant};

use shipper::shipper::{Finished, Shipper};

use crate::exit::tell;
use crate::pipe_reader::PipeReader;
use crate::signals::Signals;

/// How long to ship what is left.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Limit {
    /// Until all is disposed of, or a signal comes and then this time has passed.
    Idle(Duration),
    /// Until then.
    By(Instant),
}

/// An end that signals may shorten: the first asks for it, the second ends it at once.
pub(crate) struct Drain {
    signals: Signals,
    stopped: bool,
    cut_short: bool,
}

/// How it ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Drained {
    /// What was not shipped.
    pub(crate) finished: Finished,
    /// Neither the limit nor a signal ended it.
    pub(crate) complete: bool,
}

impl Drain {
    /// An end to come; `stopped` where a signal asked for it already.
    pub(crate) fn new(signals: Signals, stopped: bool) -> Self {
        Self { signals, stopped, cut_short: false }
    }

    /// Whether a signal asked for it.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// Waits for a signal.
    pub(crate) async fn signal(&mut self) {
        self.signals.stop().await;
        self.cut_short |= std::mem::replace(&mut self.stopped, true);
    }

    /// Waits until a source has ended by itself, at the latest `until`.
    pub(crate) async fn source(&mut self, source: &mut PipeReader, until: Instant) {
        while !self.cut_short {
            tokio::select! {
                () = source.ended() => return,
                () = tokio::time::sleep_until(until.into()) => break,
                () = self.signal() => {}
            }
        }
    }

    /// Ships what is left.
    pub(crate) async fn ship(&mut self, shipper: Shipper, limit: Limit) -> Drained {
        let finished = shipper.finish(self.enough(limit)).await;
        let complete = finished.waiting_lines == 0 && !self.cut_short;
        Drained { finished, complete }
    }

    /// Resolves when it has to be enough: at the limit, or at a second signal.
    async fn enough(&mut self, limit: Limit) {
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
    /// Says on standard error, in a line each, what was not shipped.
    pub(crate) fn report(&self, untaken_bytes: u64, state_dir: &Path) {
        let state_dir = state_dir.display();
        if untaken_bytes > 0 {
            tell(format_args!(
                "shipper: the spool is full: up to {untaken_bytes} bytes at the end of the input were not taken"
            ));
        }
        let Finished { waiting_lines, pending_in_files } = self.finished;
        let in_spool = waiting_lines.saturating_sub(pending_in_files);
        if in_spool > 0 {
            let state = "could not be shipped yet and wait in";
            tell(format_args!(
                "shipper: {in_spool} lines {state} {state_dir}; they go with the next start that uses it"
            ));
        }
        if pending_in_files > 0 {
            let state = "were read and could not be shipped yet; they wait in their files, and the next start with";
            tell(format_args!(
                "shipper: {pending_in_files} lines {state} {state_dir} reads them again: keep the files"
            ));
        }
    }
}

/// Sleeps until then, or for as long as it is asked.
pub(crate) async fn sleep_until(until: Option<Instant>) {
    match until {
        Some(until) => tokio::time::sleep_until(until.into()).await,
        None => std::future::pending().await,
    }
}
