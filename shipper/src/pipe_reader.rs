//! Reads a pipe into the spool on its own thread. It never waits for the store, unless the spool is full and `on_full`
//! is `wait`.

use std::io::{self, PipeWriter};
use std::os::fd::OwnedFd;
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use shipper::shipper::StreamWriter;
use tokio::sync::oneshot;

/// Maximum size of one read.
const READ_BYTES: usize = 256 * 1024;

/// Requested size of the pipe buffer. The kernel's default allows this size without privileges. With a smaller buffer
/// the writer blocks sooner.
pub(crate) const PIPE_BYTES: usize = 1024 * 1024;

/// Maximum number of bytes read from the pipe after the wait has ended, so that a process that keeps writing can't
/// delay the exit.
const DRAIN_MAX_BYTES: usize = PIPE_BYTES;

/// How long to wait for the thread's report after the shipper has stopped.
const REPORT_TIMEOUT: Duration = Duration::from_secs(1);

/// A pipe being read.
pub(crate) struct PipeReader {
    /// Receives the number of bytes that were read but not accepted.
    ended: oneshot::Receiver<u64>,
    rejected_bytes: Option<u64>,
    end_by: Arc<OnceLock<Instant>>,
    /// The pipe, as long as it is read.
    pipe: Weak<OwnedFd>,
    /// Wakes the reader when closed.
    wake: Option<PipeWriter>,
}

impl PipeReader {
    /// Starts to read `pipe` into `writer`.
    pub(crate) fn read(pipe: OwnedFd, writer: StreamWriter) -> io::Result<Self> {
        let (woken, wake) = io::pipe()?;
        let (report, ended) = oneshot::channel();
        let end_by = Arc::new(OnceLock::new());
        let pipe = Arc::new(pipe);
        let pipe_watch = Arc::downgrade(&pipe);
        let mut read_loop = ReadLoop { pipe, woken, end_by: Arc::clone(&end_by), drain_bytes: DRAIN_MAX_BYTES };
        let work = move || {
            let rejected_bytes = read_loop.run(writer);
            // The receiver is dropped when the program ends first.
            let _ = report.send(rejected_bytes);
        };
        std::thread::Builder::new().name("source".to_owned()).spawn(work)?;
        Ok(Self { ended, rejected_bytes: None, end_by, pipe: pipe_watch, wake: Some(wake) })
    }

    /// Waits until the input has ended and all of it was accepted or rejected.
    pub(crate) async fn ended(&mut self) {
        if self.rejected_bytes.is_none() {
            self.rejected_bytes = Some((&mut self.ended).await.unwrap_or_default());
        }
    }

    /// Whether the pipe is still read and a process can write to it, regardless of unread data.
    pub(crate) fn has_writers(&self) -> bool {
        self.pipe.upgrade().is_some_and(|pipe| {
            let mut watched = [PollFd::new(&pipe, PollFlags::IN)];
            let looked = poll(&mut watched, Some(&Timespec::default()));
            looked.is_ok() && !watched[0].revents().contains(PollFlags::HUP)
        })
    }

    /// The number of bytes that were read but not accepted. Call it after the shipper has stopped.
    pub(crate) async fn rejected_bytes(mut self) -> u64 {
        let _late = tokio::time::timeout(REPORT_TIMEOUT, self.ended()).await;
        self.rejected_bytes.unwrap_or_default()
    }

    /// Ends the input after `grace` at the latest. Data in the pipe is still read.
    pub(crate) fn end_within(&mut self, grace: Duration) {
        self.end_by.get_or_init(|| Instant::now() + grace);
        self.wake = None;
    }
}

/// The state of the reading thread.
struct ReadLoop {
    pipe: Arc<OwnedFd>,
    woken: io::PipeReader,
    end_by: Arc<OnceLock<Instant>>,
    drain_bytes: usize,
}

impl ReadLoop {
    fn run(&mut self, mut writer: StreamWriter) -> u64 {
        let mut rejected_bytes = 0;
        let mut buffer = vec![0; READ_BYTES];
        while let Some(count) = self.next(&mut buffer) {
            // After a rejected chunk nothing more is accepted, so that only the end of the input is lost.
            if rejected_bytes > 0 || writer.append(&buffer[..count]).is_err() {
                rejected_bytes += count as u64;
                self.end_by.get_or_init(Instant::now);
            }
        }
        writer.finish();
        rejected_bytes
    }

    /// Reads the next bytes; `None` at the end.
    fn next(&mut self, buffer: &mut [u8]) -> Option<usize> {
        while self.has_more() {
            match rustix::io::read(&*self.pipe, &mut *buffer) {
                Ok(0) => return None,
                Ok(count) => {
                    if self.end_by.get().is_some_and(|end_by| *end_by <= Instant::now()) {
                        self.drain_bytes = self.drain_bytes.saturating_sub(count);
                    }
                    return Some(count);
                }
                Err(Errno::INTR | Errno::AGAIN) => {}
                Err(error) => {
                    tracing::error!(%error, "input can't be read");
                    return None;
                }
            }
        }
        None
    }

    /// Waits for data or the end of the input. Returns false when the wait has ended and the pipe is empty.
    fn has_more(&self) -> bool {
        loop {
            let end_by = self.end_by.get();
            let remaining = end_by.map(|end_by| end_by.saturating_duration_since(Instant::now()));
            if remaining == Some(Duration::ZERO) && self.drain_bytes == 0 {
                return false;
            }
            let timeout = remaining.and_then(|remaining| Timespec::try_from(remaining).ok());
            let mut watched = [PollFd::new(&self.pipe, PollFlags::IN), PollFd::new(&self.woken, PollFlags::IN)];
            // The wake pipe stays readable once closed, so only the input is watched from then on.
            let watched = if end_by.is_some() { &mut watched[..1] } else { &mut watched[..] };
            match poll(watched, timeout.as_ref()) {
                Ok(0) if remaining.is_some() => return false,
                Ok(_) if !watched[0].revents().is_empty() => return true,
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => {
                    tracing::error!(%error, "input can't be polled");
                    return false;
                }
            }
        }
    }
}
