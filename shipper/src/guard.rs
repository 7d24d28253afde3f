//! Terminates the service if the shipper is killed.
//!
//! `exec` starts this program a second time, with [`ARGUMENT`], before it starts the service. The two hold the ends of
//! a pipe; the service gets neither. The shipper writes the service's [`Processes`] to it when it has started, then
//! [`LEADER_ENDED`] if it waits for more than the service itself, and [`DONE`] when there is nothing left to wait for.
//! If the pipe ends without [`DONE`], the shipper was killed. The processes then get SIGTERM, and those left after
//! [`GRACE`] get SIGKILL.
//!
//! The guard has its own process group and ignores signals that request its end, so that it outlives a shipper that a
//! terminal or a supervisor terminates. The service starts only after its group was written to the pipe
//! ([`start_gate`](crate::start_gate)), so there is no moment at which a killed shipper leaves it running.

use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::processes::{ENCODED_BYTES, Processes};
use crate::signals::Signals;

/// The argument that makes this program the guard. It is not a documented subcommand.
pub(crate) const ARGUMENT: &str = "__guard";

/// The executable of this process, even if its file was replaced.
pub(crate) const OWN_EXECUTABLE: &str = "/proc/self/exe";

/// The service has ended.
const DONE: u8 = b'.';

/// The service itself has ended; processes that it started are still waited for.
const LEADER_ENDED: u8 = b'-';

/// How long the service may take to end.
const GRACE: Duration = Duration::from_secs(10);

/// How often to check whether it has ended.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// The shipper's end of the pipe.
pub(crate) struct Guard {
    process: Child,
    pipe: ChildStdin,
}

impl Guard {
    /// Starts the guard.
    pub(crate) fn start() -> io::Result<Self> {
        let mut command = Command::new(OWN_EXECUTABLE);
        command.arg0("shipper").arg(ARGUMENT).stdin(Stdio::piped()).stdout(Stdio::null()).process_group(0);
        let mut process = command.spawn()?;
        let pipe = process.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(Self { process, pipe })
    }

    /// Guards these processes from now on. What was written to the pipe is read even if the shipper is killed.
    pub(crate) fn watch(&mut self, processes: Processes) -> io::Result<()> {
        self.pipe.write_all(&processes.to_bytes())
    }

    /// Reports that the service itself has ended, and that others of its processes are waited for.
    pub(crate) fn leader_has_ended(&mut self) {
        if let Err(error) = self.pipe.write_all(&[LEADER_ENDED]) {
            tracing::warn!(%error, "guard has ended unexpectedly");
        }
    }

    /// Reports that the service has ended or was not started, and waits for the guard to end.
    pub(crate) fn dismiss(mut self) {
        if let Err(error) = self.pipe.write_all(&[DONE]) {
            tracing::warn!(%error, "guard has ended unexpectedly");
        }
        drop(self.pipe);
        if let Err(error) = self.process.wait() {
            tracing::warn!(%error, "can't wait for the guard");
        }
    }
}

/// Runs the guard.
pub(crate) fn run() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let _sat_out = {
        let _entered = runtime.enter();
        Signals::listen(&[Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT])?
    };
    let mut words = Vec::new();
    io::stdin().lock().read_to_end(&mut words)?;
    let Some((processes, events)) = words.split_first_chunk::<ENCODED_BYTES>() else { return Ok(()) };
    let Some(mut processes) = Processes::from_bytes(processes) else { return Ok(()) };
    if events.contains(&LEADER_ENDED) {
        processes.leader_has_ended();
    }
    if !events.contains(&DONE) {
        end(&processes);
    }
    Ok(())
}

/// Terminates all remaining processes of a service.
fn end(processes: &Processes) {
    if !processes.signal(Signal::TERM).is_ok_and(|reached| reached) {
        return;
    }
    crate::exit::print_error(format_args!("shipper: the shipper was killed: terminating its command"));
    // A stopped process can't handle SIGTERM.
    let _ended = processes.signal(Signal::CONT);
    let deadline = Instant::now() + GRACE;
    while processes.exist() {
        if Instant::now() >= deadline {
            let _ended = processes.signal(Signal::KILL);
            return;
        }
        std::thread::sleep(POLL_INTERVAL);
    }
}
