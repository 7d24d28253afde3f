//! The way of a line to the output. [`LogWriter::push`] copies it into a buffer in memory and never waits for the output;
//! a thread swaps that buffer for an empty one and writes it.
//!
//! - Bound: `log_buffer_bytes`, for what waits and what is being written together; a line that would go beyond is dropped
//!   whole and counted (`full`).
//! - The thread lets lines gather for [`LINGER`] before it writes, so that under load nobody wakes anybody for a line.
//! - An output that fails costs the lines of that write (`closed` or `io_error`), never the service. If a line was
//!   written in part, a newline comes before the next one, so that it spoils no other.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use prometheus::{IntCounter, IntCounterVec, Opts, Registry};
use tracing_subscriber::fmt::MakeWriter;

use crate::settings::LogTarget;

/// How long lines gather before they are written.
const LINGER: Duration = Duration::from_millis(5);
/// With this many bytes waiting nobody lingers.
const HURRY_BYTES: usize = 256 * 1024;
/// A longer line is dropped whole and counted (`too_long`): shippers cut at this length.
pub(crate) const MAX_LINE_BYTES: usize = 1024 * 1024;
/// How long to wait before writing again to an output that takes nothing now (a non-blocking pipe).
const RETRY: Duration = Duration::from_millis(5);

/// Counters of lines. Shared by all clones.
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
        let dropped = opts("log_lines_dropped_total", "Log lines that could not be written, by reason");
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
    /// Lines in `bytes`.
    lines: u64,
    /// Bytes ever taken in, and ever disposed of; the batch being written is in between.
    taken: u64,
    disposed: u64,
    parked: bool,
    hurry: bool,
    closing: bool,
}

impl Queue {
    /// Bytes in memory: waiting, and in the batch being written.
    fn held(&self) -> u64 {
        self.taken - self.disposed
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

/// Takes lines; cheap to clone. When the last clone goes the thread writes what is left and ends.
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
    /// Starts the thread that writes to `output`. At most `limit` bytes of lines are held.
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
        let theirs = shared.clone();
        thread::Builder::new().name("log-writer".to_owned()).spawn(move || run(&theirs, &mut *output))?;
        Ok(Self(Arc::new(Handle(shared))))
    }

    /// Takes one line, which ends with its only newline. Never waits for the output.
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
        queue.taken += line.len() as u64;
        let wake = queue.parked || (before < HURRY_BYTES && after >= HURRY_BYTES);
        queue.parked = false;
        drop(queue);
        if wake {
            shared.wake.notify_one();
        }
    }

    /// Waits until all lines taken so far are disposed of; false if that takes longer than `timeout`.
    pub(crate) fn flush(&self, timeout: Duration) -> bool {
        let shared = &self.0.0;
        let mut queue = shared.lock();
        let target = queue.taken;
        queue.hurry = true;
        shared.wake.notify_one();
        let (queue, _) = shared
            .progress
            .wait_timeout_while(queue, timeout, |queue| queue.disposed < target)
            .unwrap_or_else(PoisonError::into_inner);
        queue.disposed >= target
    }
}

/// The process's own output, past the standard library's buffer and lock.
pub(crate) fn output(target: LogTarget) -> io::Result<Box<dyn Write + Send>> {
    let handle = match target {
        LogTarget::Stdout => io::stdout().as_fd().try_clone_to_owned(),
        LogTarget::Stderr => io::stderr().as_fd().try_clone_to_owned(),
    };
    Ok(Box::new(File::from(handle?)))
}

/// The thread's loop.
fn run(shared: &Shared, output: &mut dyn Write) {
    let mut batch = Vec::new();
    let mut torn = false;
    while let Some(lines) = take(shared, &mut batch) {
        dispose(&shared.counters, output, &batch, lines, &mut torn);
        let mut queue = shared.lock();
        queue.disposed += batch.len() as u64;
        drop(queue);
        shared.progress.notify_all();
        batch.clear();
        // a burst's memory is given back
        batch.shrink_to(HURRY_BYTES);
    }
}

/// Swaps the waiting lines into `batch`, which is empty, and says how many; None when there will be no more.
fn take(shared: &Shared, batch: &mut Vec<u8>) -> Option<u64> {
    let mut queue = shared.lock();
    while queue.bytes.is_empty() {
        if queue.closing {
            return None;
        }
        queue.parked = true;
        queue = shared.wake.wait(queue).unwrap_or_else(PoisonError::into_inner);
    }
    queue.parked = false;
    let linger = |queue: &mut Queue| !queue.hurry && !queue.closing && queue.bytes.len() < HURRY_BYTES;
    let (mut queue, _) = shared.wake.wait_timeout_while(queue, LINGER, linger).unwrap_or_else(PoisonError::into_inner);
    queue.hurry = false;
    std::mem::swap(&mut queue.bytes, batch);
    Some(std::mem::take(&mut queue.lines))
}

/// Writes a batch of so many lines and counts what became of them.
fn dispose(counters: &Counters, output: &mut dyn Write, batch: &[u8], lines: u64, torn: &mut bool) {
    if *torn && write_all(output, b"\n").is_ok() {
        *torn = false;
    }
    let Err((done, error)) = write_all(output, batch) else { return counters.written.inc_by(lines) };
    let written = batch[..done].iter().filter(|byte| **byte == b'\n').count() as u64;
    counters.written.inc_by(written);
    *torn = *torn || (done > 0 && batch[done - 1] != b'\n');
    let reason = if error.kind() == ErrorKind::BrokenPipe { &counters.closed } else { &counters.io_error };
    reason.inc_by(lines - written);
}

/// On an error, says also how many bytes were written before it.
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

/// For the stock formatter, which hands over each line in one piece.
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
