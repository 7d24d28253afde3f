//! Bytes from a pipe, taken into the spool as they come, on a thread of their own: nothing here waits for the store,
//! unless `on_full = "wait"` asks for it.

use std::io::{self, PipeWriter};
use std::os::fd::OwnedFd;
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use shipper::shipper::StreamWriter;
use tokio::sync::oneshot;

/// Bytes of one read.
const READ_BYTES: usize = 256 * 1024;

/// What a pipe is asked to hold. The kernel allows so much without privileges unless it is set up otherwise; what it
/// allows less, the writer waits sooner.
pub(crate) const PIPE_BYTES: usize = 1024 * 1024;

/// Once no more is waited for, so much of what lies in the pipe is still read. A writer that goes on writing meanwhile
/// is not followed beyond it.
const LAST_BYTES: usize = PIPE_BYTES;

/// How long the thread may take to say how many bytes found no room, once the shipper has stopped.
const LAST_WORD: Duration = Duration::from_secs(1);

/// A pipe being read.
pub(crate) struct PipeReader {
    /// Gives the bytes that were read and found no room.
    ended: oneshot::Receiver<u64>,
    untaken_bytes: Option<u64>,
    end_by: Arc<OnceLock<Instant>>,
    /// The pipe, as long as it is read.
    pipe: Weak<OwnedFd>,
    /// Its closing wakes the reader.
    wake: Option<PipeWriter>,
}

impl PipeReader {
    /// Begins to read `pipe` into `writer`.
    pub(crate) fn read(pipe: OwnedFd, writer: StreamWriter) -> io::Result<Self> {
        let (woken, wake) = io::pipe()?;
        let (tell, ended) = oneshot::channel();
        let end_by = Arc::new(OnceLock::new());
        let pipe = Arc::new(pipe);
        let looked_at = Arc::downgrade(&pipe);
        let mut reading = Reading { pipe, woken, end_by: Arc::clone(&end_by), last_bytes: LAST_BYTES };
        let work = move || {
            let untaken_bytes = reading.run(writer);
            // Nobody asks any more where the program ends meanwhile.
            let _ = tell.send(untaken_bytes);
        };
        std::thread::Builder::new().name("source".to_owned()).spawn(work)?;
        Ok(Self { ended, untaken_bytes: None, end_by, pipe: looked_at, wake: Some(wake) })
    }

    /// Waits until the input is at its end and all of it is taken, or found no room.
    pub(crate) async fn ended(&mut self) {
        if self.untaken_bytes.is_none() {
            self.untaken_bytes = Some((&mut self.ended).await.unwrap_or_default());
        }
    }

    /// Whether the pipe is read and a process can still write to it, whatever lies in it unread.
    pub(crate) fn has_writers(&self) -> bool {
        self.pipe.upgrade().is_some_and(|pipe| {
            let mut watched = [PollFd::new(&pipe, PollFlags::IN)];
            let looked = poll(&mut watched, Some(&Timespec::default()));
            looked.is_ok() && !watched[0].revents().contains(PollFlags::HUP)
        })
    }

    /// How many bytes were read and found no room; to be asked when the shipper has stopped.
    pub(crate) async fn untaken_bytes(mut self) -> u64 {
        let _late = tokio::time::timeout(LAST_WORD, self.ended()).await;
        self.untaken_bytes.unwrap_or_default()
    }

    /// The input ends within `grace`, or is taken to have ended then; what lies in the pipe is taken in any case.
    pub(crate) fn end_within(&mut self, grace: Duration) {
        self.end_by.get_or_init(|| Instant::now() + grace);
        self.wake = None;
    }
}

/// The thread's part.
struct Reading {
    pipe: Arc<OwnedFd>,
    woken: io::PipeReader,
    end_by: Arc<OnceLock<Instant>>,
    last_bytes: usize,
}

impl Reading {
    fn run(&mut self, mut writer: StreamWriter) -> u64 {
        let mut untaken_bytes = 0;
        let mut buffer = vec![0; READ_BYTES];
        while let Some(count) = self.next(&mut buffer) {
            // After a gap nothing is taken any more: what is lost is an end, and is counted as one.
            if untaken_bytes > 0 || writer.append(&buffer[..count]).is_err() {
                untaken_bytes += count as u64;
                self.end_by.get_or_init(Instant::now);
            }
        }
        writer.finish();
        untaken_bytes
    }

    /// The next bytes, or `None` at the end.
    fn next(&mut self, buffer: &mut [u8]) -> Option<usize> {
        while self.has_more() {
            match rustix::io::read(&*self.pipe, &mut *buffer) {
                Ok(0) => return None,
                Ok(count) => {
                    if self.end_by.get().is_some_and(|end_by| *end_by <= Instant::now()) {
                        self.last_bytes = self.last_bytes.saturating_sub(count);
                    }
                    return Some(count);
                }
                Err(Errno::INTR | Errno::AGAIN) => {}
                Err(error) => {
                    tracing::error!(%error, "the input can't be read any more");
                    return None;
                }
            }
        }
        None
    }

    /// Waits for bytes or the end of the input; false once neither is waited for and nothing lies there.
    fn has_more(&self) -> bool {
        loop {
            let end_by = self.end_by.get();
            let remaining = end_by.map(|end_by| end_by.saturating_duration_since(Instant::now()));
            if remaining == Some(Duration::ZERO) && self.last_bytes == 0 {
                return false;
            }
            let timeout = remaining.and_then(|remaining| Timespec::try_from(remaining).ok());
            let mut watched = [PollFd::new(&self.pipe, PollFlags::IN), PollFd::new(&self.woken, PollFlags::IN)];
            // The wake pipe stays at its end: after that only the input is watched.
            let watched = if end_by.is_some() { &mut watched[..1] } else { &mut watched[..] };
            match poll(watched, timeout.as_ref()) {
                Ok(0) if remaining.is_some() => return false,
                Ok(_) if !watched[0].revents().is_empty() => return true,
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => {
                    tracing::error!(%error, "the input can't be watched any more");
                    return false;
                }
            }
        }
    }
}
