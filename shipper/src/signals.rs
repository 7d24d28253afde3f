//! Signals sent to the shipper, as a stream.

use std::future::poll_fn;
use std::io;
use std::task::Poll;

use rustix::process::Signal;
use tokio::signal::unix::{self, SignalKind};

/// Signals that stop the shipper, or with `exec` its command.
pub(crate) const STOP: [Signal; 2] = [Signal::INT, Signal::TERM];

/// Signals that `exec` forwards to its command.
pub(crate) const FORWARDED: [Signal; 6] =
    [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT, Signal::USR1, Signal::USR2];

/// Received signals. Several pending signals of the same kind may be reported as one.
pub(crate) struct Signals {
    streams: Vec<(Signal, unix::Signal)>,
}

impl Signals {
    /// Handles these signals from now on. SIGHUP stays ignored if it was, as under `nohup`, so that a command
    /// started here ignores it too. Must be called within a Tokio runtime.
    pub(crate) fn listen(signals: &[Signal]) -> io::Result<Self> {
        let wanted = |signal: &&Signal| **signal != Signal::HUP || !is_ignored(Signal::HUP);
        let stream = |signal: &Signal| Ok((*signal, unix::signal(SignalKind::from_raw(signal.as_raw()))?));
        Ok(Self { streams: signals.iter().filter(wanted).map(stream).collect::<io::Result<_>>()? })
    }

    /// The next signal.
    pub(crate) async fn next(&mut self) -> Signal {
        poll_fn(|context| {
            let came = |(signal, stream): &mut (Signal, unix::Signal)| {
                matches!(stream.poll_recv(context), Poll::Ready(Some(()))).then_some(*signal)
            };
            self.streams.iter_mut().find_map(came).map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }

    /// The next of [`STOP`]; others are discarded.
    pub(crate) async fn stop(&mut self) -> Signal {
        loop {
            let signal = self.next().await;
            if STOP.contains(&signal) {
                return signal;
            }
        }
    }
}

/// Whether this process ignores a signal, according to the kernel.
fn is_ignored(signal: Signal) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default();
    mask & (1 << (signal.as_raw() - 1)) != 0
}
