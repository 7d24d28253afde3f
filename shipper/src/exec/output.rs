//! Handles processes that can still write to the standard output of a command that has ended, such as daemons and
//! background jobs.
//!
//! Without `--wait-for-eof` the shipper warns, reads for another [`GRACE`] and closes the pipe. With it, the shipper
//! reads until the last of them has closed the output, and forwards signals to them.

use std::time::{Duration, Instant};

use super::forward;
use crate::pipe_reader::PipeReader;
use crate::processes::{PipeId, Processes};
use crate::signals::{STOP, Signals};

/// How long to read the output of a command that has ended, without `--wait-for-eof`.
pub(super) const GRACE: Duration = Duration::from_secs(2);

/// Processes that end together with their command usually do so within this time. No warning is due for them.
const ENDING: Duration = Duration::from_millis(100);

/// How often to look for writers while the pipe is not read because the spool is full.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// The output of a command that has ended.
pub(super) struct Output<'a> {
    pub(super) source: &'a mut PipeReader,
    pub(super) pipe: PipeId,
    pub(super) processes: &'a Processes,
}

impl Output<'_> {
    /// Waits until no process can write to the output, and forwards signals to those that can. The first SIGINT or
    /// SIGTERM limits the wait to `timeout`, the next one ends it. Returns whether one was received.
    pub(super) async fn wait_for_eof(self, signals: &mut Signals, mut stopped: bool, timeout: Duration) -> bool {
        if !is_held(self.source).await {
            return stopped;
        }
        let held_by = self.pipe.name_writers();
        tracing::info!(held_by, "waiting for end of output: the command has ended, but its output is still open");
        let bound = |stopped: bool| stopped.then(|| Instant::now() + timeout);
        let mut until = bound(stopped);
        while self.source.has_writers() {
            tokio::select! {
                () = self.source.ended() => break,
                () = crate::drain::sleep_until(until) => {
                    self.warn_of_rest();
                    break;
                }
                () = tokio::time::sleep(LOOK_INTERVAL) => {}
                signal = signals.next() => {
                    let stops = STOP.contains(&signal);
                    forward(self.processes, signal);
                    if stops && std::mem::replace(&mut stopped, true) {
                        self.warn_of_rest();
                        break;
                    }
                    until = until.or_else(|| bound(stopped));
                }
            }
        }
        stopped
    }

    fn warn_of_rest(&self) {
        let held_by = self.pipe.name_writers();
        tracing::warn!(held_by, "output still open at shutdown: later output is not shipped");
    }
}

/// Warns if a process can still write to the output of a command that has ended.
pub(super) async fn warn_of_writers(source: &mut PipeReader, pipe: PipeId) {
    if is_held(source).await {
        let grace_ms = u64::try_from(GRACE.as_millis()).unwrap_or(u64::MAX);
        tracing::warn!(
            held_by = pipe.name_writers(),
            grace_ms,
            advice = "keep the command in the foreground, or ship until the last process closes the output with \
                      --wait-for-eof",
            "output still open after the command has ended: it is shipped for another grace_ms only"
        );
    }
}

/// Whether a process that is not just ending with the command can still write to the output.
async fn is_held(source: &mut PipeReader) -> bool {
    let _ended = tokio::time::timeout(ENDING, source.ended()).await;
    source.has_writers()
}
