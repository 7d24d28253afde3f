//! Ends the service when the shipper is killed, which the shipper itself can't.
//!
//! `exec` starts this program a second time, with [`ARGUMENT`], before it starts the service. The two hold the ends
//! of a pipe, of which the service gets none. Over it go the service's [`Processes`], as soon as there are any, then
//! [`LEADER_ENDED`] if more than the service itself is waited for, and [`DONE`] when nothing is waited for any more. If the
//! pipe ends without [`DONE`], the shipper was killed. The processes then get SIGTERM, and those left after [`GRACE`] get
//! SIGKILL.
//!
//! The guard has a process group of its own and sits out signals that ask it to end, so that it outlives a shipper that
//! a terminal or a supervisor ends. The service begins only once its group was written to the pipe
//! ([`threshold`](crate::threshold)), so there is no moment at which a killed shipper leaves it running.

use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::processes::{ENCODED_BYTES, Processes};
use crate::signals::Signals;

/// The one argument that makes this program the guard; no subcommand that anyone is shown.
pub(crate) const ARGUMENT: &str = "__guard";

/// This program's own file, also when another was put in its place meanwhile.
pub(crate) const OWN_EXECUTABLE: &str = "/proc/self/exe";

/// The service has ended: there is nothing to do.
const DONE: u8 = b'.';

/// The service itself has ended; processes that it started are still waited for.
const LEADER_ENDED: u8 = b'-';

/// How long the service may take to end itself.
const GRACE: Duration = Duration::from_secs(10);

/// How often it is looked whether it has.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// The shipper's side.
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

    /// Guards these processes from now on, whatever becomes of the shipper: what is in the pipe stays in it.
    pub(crate) fn watch(&mut self, processes: Processes) -> io::Result<()> {
        self.pipe.write_all(&processes.to_bytes())
    }

    /// The service itself has ended, and others of its processes are waited for.
    pub(crate) fn leader_has_ended(&mut self) {
        if let Err(error) = self.pipe.write_all(&[LEADER_ENDED]) {
            tracing::warn!(%error, "the guard had ended");
        }
    }

    /// The service has ended, or was not started.
    pub(crate) fn dismiss(mut self) {
        if let Err(error) = self.pipe.write_all(&[DONE]) {
            tracing::warn!(%error, "the guard had ended");
        }
        drop(self.pipe);
        if let Err(error) = self.process.wait() {
            tracing::warn!(%error, "the guard can't be waited for");
        }
    }
}

/// The guard's own work.
pub(crate) fn stand() -> io::Result<()> {
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

/// Ends all of a service that is still there.
fn end(processes: &Processes) {
    if !processes.signal(Signal::TERM).is_ok_and(|reached| reached) {
        return;
    }
    crate::exit::tell(format_args!("shipper: the shipper was killed; its command is ended with it"));
    // One that is stopped can't end.
    let _ended = processes.signal(Signal::CONT);
    let deadline = Instant::now() + GRACE;
    while processes.are_there() {
        if Instant::now() >= deadline {
            let _ended = processes.signal(Signal::KILL);
            return;
        }
        std::thread::sleep(POLL_INTERVAL);
    }
}
