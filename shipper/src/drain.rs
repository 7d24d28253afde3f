//! The end of shipping: what is left goes out for a bounded time, and the rest is kept.

use std::path::Path;
use std::pin::pin;
use std::time::{Duration, Instant};

use shipper::shipper::Shipper;

use crate::signals::Signals;
use crate::source::Source;

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
    /// Lines that are taken and not disposed of.
    pub(crate) waiting_lines: u64,
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
    pub(crate) async fn source(&mut self, source: &mut Source, until: Instant) {
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
        let status = shipper.status();
        let (at_most, after_signal) = match limit {
            Limit::Idle(after_signal) => (None, after_signal),
            Limit::By(until) => (Some(until.saturating_duration_since(Instant::now())), Duration::ZERO),
        };
        let mut finish = pin!(shipper.finish(if self.cut_short { Some(Duration::ZERO) } else { at_most }));
        let mut until = None;
        loop {
            tokio::select! {
                finished = &mut finish => {
                    let complete = finished.waiting_lines == 0 && !self.cut_short;
                    return Drained { waiting_lines: finished.waiting_lines, complete };
                }
                () = sleep_until(until) => break,
                () = self.signal() => {
                    if self.cut_short {
                        break;
                    }
                    if at_most.is_none() {
                        until = Some(Instant::now() + after_signal);
                    }
                }
            }
        }
        // What was on its way is not known to have arrived, and goes again: the store takes each line once.
        Drained { waiting_lines: status.snapshot().waiting, complete: false }
    }
}

impl Drained {
    /// Says on standard error, in a line each, what was not shipped.
    pub(crate) fn report(&self, untaken_bytes: u64, state_dir: &Path) {
        let state_dir = state_dir.display();
        if untaken_bytes > 0 {
            eprintln!("shipper: the spool is full: up to {untaken_bytes} bytes at the end of the input were not taken");
        }
        if self.waiting_lines > 0 {
            let (lines, state) = (self.waiting_lines, "could not be shipped yet and wait in");
            eprintln!("shipper: {lines} lines {state} {state_dir}; they go with the next start that uses it");
        }
    }
}

async fn sleep_until(until: Option<Instant>) {
    match until {
        Some(until) => tokio::time::sleep_until(until.into()).await,
        None => std::future::pending().await,
    }
}
