//! Writes log lines to the output on a separate thread. [`LogWriter::push`] copies a line into a buffer and never waits
//! for the output; the thread swaps that buffer for an empty one and writes it.
//!
//! - `log_buffer_bytes` bounds the buffered lines and the batch being written together. A line that does not fit is
//!   dropped and counted (`full`).
//! - The thread waits [`LINGER`] for more lines before it writes a batch, so that it is not woken for each line under load.
//! - If a write fails, the batch's remaining lines are dropped and counted (`closed` or `io_error`); the service goes on.
//!   After a partial line a newline is written first, so that the next line is intact.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use prometheus::{IntCounter, IntCounterVec, Opts, Registry};
use tracing_subscriber::fmt::MakeWriter;

use crate::settings::LogTarget;

/// Time to wait for more lines before writing a batch.
const LINGER: Duration = Duration::from_millis(5);
/// Number of buffered bytes at which a batch is written immediately.
const BATCH_BYTES: usize = 256 * 1024;
/// Maximum length of a line in bytes. A longer one is dropped and counted (`too_long`), because shippers truncate it.
pub(crate) const MAX_LINE_BYTES: usize = 1024 * 1024;
/// Delay before retrying a write to a non-blocking output that is not ready.
const RETRY: Duration = Duration::from_millis(5);

/// Counters of written and dropped lines, shared by all clones.
#[derive(Clone, Debug)]
struct Counters {
    written: IntCounter,
    full: IntCounter,
    too_long: IntCounter,
    closed: IntCounter,
    io_error: IntCounter,
}

impl Counters {
    fn register(service: &str, registry: &Registry) -> prometheus::Result<Self> {
        let opts = |name: &str, help: &str| Opts::new(name, help).const_label("service", service);
        let written = IntCounter::with_opts(opts("log_lines_written_total", "Log lines written to the output"))?;
        let dropped = opts("log_lines_dropped_total", "Log lines dropped because they could not be written, by reason");
        let dropped = IntCounterVec::new(dropped, &["reason"])?;
        registry.register(Box::new(written.clone()))?;
        registry.register(Box::new(dropped.clone()))?;
        let reason = |reason: &str| dropped.with_label_values(&[reason]);
        Ok(Self {
            written,
            full: reason("full"),
            too_long: reason("too_long"),
            closed: reason("closed"),
            io_error: reason("io_error"),
        })
    }
}

#[derive(Debug, Default)]
struct Queue {
    bytes: Vec<u8>,
    /// Number of lines in `bytes`.
    lines: u64,
    /// Total bytes accepted.
    accepted: u64,
    /// Total bytes written or dropped. The batch being written is accepted and not yet completed.
    completed: u64,
    /// Whether the thread waits for a line.
    is_idle: bool,
    flush_requested: bool,
    closing: bool,
}

impl Queue {
    /// Bytes in memory: buffered, or in the batch being written.
    fn held(&self) -> u64 {
        self.accepted - self.completed
    }
}

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
    progress: Condvar,
    limit: u64,
    counters: Counters,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Handle to the writer thread; cheap to clone. When the last clone is dropped, the thread writes the buffer and ends.
#[derive(Clone, Debug)]
pub(crate) struct LogWriter(Arc<Handle>);

#[derive(Debug)]
struct Handle(Arc<Shared>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.lock().closing = true;
        self.0.wake.notify_one();
    }
}

impl LogWriter {
    /// Starts the thread that writes to `output`. `limit` is the maximum number of bytes in memory.
    pub(crate) fn start(
        mut output: Box<dyn Write + Send>,
        limit: usize,
        service: &str,
        registry: &Registry,
    ) -> io::Result<Self> {
        let counters = Counters::register(service, registry).map_err(io::Error::other)?;
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            wake: Condvar::new(),
            progress: Condvar::new(),
            limit: limit as u64,
            counters,
        });
        let shared_with_thread = shared.clone();
        thread::Builder::new().name("log-writer".to_owned()).spawn(move || run(&shared_with_thread, &mut *output))?;
        Ok(Self(Arc::new(Handle(shared))))
    }

    /// Buffers one line, which ends with its only newline. Never waits for the output.
    pub(crate) fn push(&self, line: &[u8]) {
        let shared = &self.0.0;
        if line.len() > MAX_LINE_BYTES {
            return shared.counters.too_long.inc();
        }
        let mut queue = shared.lock();
        if queue.held() + line.len() as u64 > shared.limit {
            drop(queue);
            return shared.counters.full.inc();
        }
        let before = queue.bytes.len();
        let after = before + line.len();
        queue.bytes.extend_from_slice(line);
        queue.lines += 1;
        queue.accepted += line.len() as u64;
        let wake = queue.is_idle || (before < BATCH_BYTES && after >= BATCH_BYTES);
        queue.is_idle = false;
        drop(queue);
        if wake {
            shared.wake.notify_one();
        }
    }

    /// Waits until all lines accepted so far are written or dropped; returns false on timeout.
    pub(crate) fn flush(&self, timeout: Duration) -> bool {
        let shared = &self.0.0;
        let mut queue = shared.lock();
        let target = queue.accepted;
        queue.flush_requested = true;
        shared.wake.notify_one();
        let (queue, _) = shared
            .progress
            .wait_timeout_while(queue, timeout, |queue| queue.completed < target)
            .unwrap_or_else(PoisonError::into_inner);
        queue.completed >= target
    }
}

/// Opens the process's output, bypassing the standard library's buffer and lock.
pub(crate) fn output(target: LogTarget) -> io::Result<Box<dyn Write + Send>> {
    let handle = match target {
        LogTarget::Stdout => io::stdout().as_fd().try_clone_to_owned(),
        LogTarget::Stderr => io::stderr().as_fd().try_clone_to_owned(),
    };
    Ok(Box::new(File::from(handle?)))
}

/// Main loop of the thread.
fn run(shared: &Shared, output: &mut dyn Write) {
    let mut batch = Vec::new();
    let mut ends_in_partial_line = false;
    while let Some(lines) = next_batch(shared, &mut batch) {
        write_batch(&shared.counters, output, &batch, lines, &mut ends_in_partial_line);
        let mut queue = shared.lock();
        queue.completed += batch.len() as u64;
        drop(queue);
        shared.progress.notify_all();
        batch.clear();
        // free the memory of a burst
        batch.shrink_to(BATCH_BYTES);
    }
}

/// Waits for lines, swaps them into the empty `batch` and returns their number. `None` after the last handle is dropped.
fn next_batch(shared: &Shared, batch: &mut Vec<u8>) -> Option<u64> {
    let mut queue = shared.lock();
    while queue.bytes.is_empty() {
        if queue.closing {
            return None;
        }
        queue.is_idle = true;
        queue = shared.wake.wait(queue).unwrap_or_else(PoisonError::into_inner);
    }
    queue.is_idle = false;
    let linger = |queue: &mut Queue| !queue.flush_requested && !queue.closing && queue.bytes.len() < BATCH_BYTES;
    let (mut queue, _) = shared.wake.wait_timeout_while(queue, LINGER, linger).unwrap_or_else(PoisonError::into_inner);
    queue.flush_requested = false;
    std::mem::swap(&mut queue.bytes, batch);
    Some(std::mem::take(&mut queue.lines))
}

/// Writes a batch and counts its lines as written or dropped.
fn write_batch(counters: &Counters, output: &mut dyn Write, batch: &[u8], lines: u64, ends_in_partial_line: &mut bool) {
    if *ends_in_partial_line && write_all(output, b"\n").is_ok() {
        *ends_in_partial_line = false;
    }
    let Err((done, error)) = write_all(output, batch) else { return counters.written.inc_by(lines) };
    let written = batch[..done].iter().filter(|byte| **byte == b'\n').count() as u64;
    counters.written.inc_by(written);
    *ends_in_partial_line = *ends_in_partial_line || (done > 0 && batch[done - 1] != b'\n');
    let reason = if error.kind() == ErrorKind::BrokenPipe { &counters.closed } else { &counters.io_error };
    reason.inc_by(lines - written);
}

/// Writes all bytes. An error includes the number of bytes written before it.
fn write_all(output: &mut dyn Write, bytes: &[u8]) -> Result<(), (usize, io::Error)> {
    let mut done = 0;
    while done < bytes.len() {
        match output.write(&bytes[done..]) {
            Ok(0) => return Err((done, ErrorKind::WriteZero.into())),
            Ok(count) => done += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(RETRY),
            Err(error) => return Err((done, error)),
        }
    }
    Ok(())
}

/// Used by the bunyan formatter, which writes each line in one call.
impl Write for LogWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LogWriter {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
