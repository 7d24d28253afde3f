//! What happens when a command has ended and processes that it started can still write to its standard output: a daemon,
//! or background jobs.
//!
//! Without `--wait-for-eof` the shipper warns, reads on for [`GRACE`] and closes the pipe. With it, the shipper reads on
//! until the last of them has closed the output, and passes signals on to them.

use std::time::{Duration, Instant};

use super::pass_on;
use crate::pipe_reader::PipeReader;
use crate::processes::{PipeId, Processes};
use crate::signals::{STOP, Signals};

/// How long the output of a command that has ended is read, unless `--wait-for-eof` is given.
pub(super) const GRACE: Duration = Duration::from_secs(2);

/// Processes that end together with their command do so within this time, as a rule: no reason for a warning.
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
    /// Waits until no process can write to the output, and passes signals on to those that can. SIGINT and SIGTERM bound
    /// the wait: the first to `timeout`, the next one ends it. Says whether one came.
    pub(super) async fn wait_for_eof(self, signals: &mut Signals, mut stopped: bool, timeout: Duration) -> bool {
        if !is_held(self.source).await {
            return stopped;
        }
        let held_by = self.pipe.name_writers();
        tracing::info!(held_by, "waiting for the end of the output: the command has ended, others still hold it open");
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
                    pass_on(self.processes, signal);
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
        tracing::warn!(held_by, "output still held open at the end: what is written to it from now on is not shipped");
    }
}

/// Warns if a process can still write to the output of a command that has ended, and says what to do.
pub(super) async fn warn_of_writers(source: &mut PipeReader, pipe: PipeId) {
    if is_held(source).await {
        let grace_ms = u64::try_from(GRACE.as_millis()).unwrap_or(u64::MAX);
        tracing::warn!(
            held_by = pipe.name_writers(),
            grace_ms,
            advice = "keep the command in the foreground, or ship until the last process closes the output with \
                      --wait-for-eof",
            "output still held open: the command has ended, and what others write to it is shipped for grace_ms only"
        );
    }
}

/// Whether a process still can write to the output, and is not about to end with the command.
async fn is_held(source: &mut PipeReader) -> bool {
    let _ended = tokio::time::timeout(ENDING, source.ended()).await;
    source.has_writers()
}
