//! `shipper exec`: runs a service as a child process, ships its standard output and returns its exit code.
//!
//! The service has its own process group, and starts when the [`guard`](crate::guard) knows it
//! ([`start_gate`](crate::start_gate)). A terminal's Ctrl-C therefore reaches only the shipper, which forwards it once
//! and then ships pending lines. Signals and the guard also reach processes that the service started.
//!
//! Both helper processes start before the shipper opens anything that a second shipper needs: its port and the locks of
//! its state directory. Until a child calls `exec` it has all files of its parent open, and would hold those of a
//! shipper killed in that moment.

mod output;

use std::ffi::{OsStr, OsString};
use std::io::{self, IsTerminal};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::time::Instant;

use observability::Observability;
use rustix::process::Signal;
use shipper::config::Settings;
use shipper::shipper::Shipper;
use tokio::process::Child;

use crate::admin::Admin;
use crate::drain::{Drain, Limit};
use crate::exit::{Exit, Failure};
use crate::guard::Guard;
use crate::pipe_reader::{PIPE_BYTES, PipeReader};
use crate::processes::{PipeId, Processes};
use crate::signals::{FORWARDED, Signals};
use crate::start_gate::GatedCommand;

/// The stream name of the service's output.
const STREAM: &str = "stdout";

/// Added to a signal's number, as shells do.
const SIGNAL_CODE: i32 = 128;

/// Runs a command and ships its standard output.
pub(crate) async fn exec(
    settings: &Settings,
    command: &[OsString],
    observability: &Observability,
) -> Result<Exit, Failure> {
    let mut signals = Signals::listen(&FORWARDED).map_err(anyhow::Error::from)?;
    let prepared = PreparedCommand::start(command, settings.wait_for_eof())?;
    let admin = Admin::start(settings, observability)?;
    let shipper = tokio::select! {
        started = Shipper::start(settings) => started?,
        signal = signals.stop() => return Ok(code(SIGNAL_CODE + signal.as_raw())),
    };
    admin.show(shipper.status());
    let mut service = match prepared.begin() {
        Ok(service) => service,
        Err(failure) => {
            shipper.finish(std::future::ready(())).await;
            return Err(failure);
        }
    };
    let mut source = PipeReader::read(service.stdout, shipper.stream(STREAM)).map_err(anyhow::Error::from)?;
    let (status, mut stopped) = wait(&mut service.child, &service.processes, &mut signals).await?;
    service.processes.leader_has_ended();
    if settings.wait_for_eof() {
        service.guard.leader_has_ended();
        let output = output::Output { source: &mut source, pipe: service.output, processes: &service.processes };
        stopped |= output.wait_for_eof(&mut signals, stopped, settings.shutdown_timeout()).await;
    } else {
        output::warn_of_writers(&mut source, service.output).await;
    }
    service.guard.dismiss();

    let until = Instant::now() + settings.shutdown_timeout();
    let mut drain = Drain::new(signals, stopped);
    source.end_within(output::GRACE);
    drain.source(&mut source, until.max(Instant::now() + output::GRACE)).await;
    let drained = drain.ship(shipper, Limit::By(until)).await;
    drained.report(source.rejected_bytes().await, settings.state_dir());
    Ok(code(status.code().unwrap_or_else(|| SIGNAL_CODE + status.signal().unwrap_or_default())))
}

fn code(code: i32) -> Exit {
    Exit::Command(u8::try_from(code).unwrap_or(u8::MAX))
}

/// Waits for the service to end and forwards signals to it. Returns its status, and whether a signal requested the
/// shutdown.
async fn wait(child: &mut Child, processes: &Processes, signals: &mut Signals) -> anyhow::Result<(ExitStatus, bool)> {
    let mut stopped = false;
    loop {
        tokio::select! {
            status = child.wait() => return Ok((status?, stopped)),
            signal = signals.next() => {
                stopped |= crate::signals::STOP.contains(&signal);
                forward(processes, signal);
            }
        }
    }
}

fn forward(processes: &Processes, signal: Signal) {
    match processes.signal(signal) {
        Ok(true) => {}
        Ok(false) => tracing::warn!(?signal, "signal not forwarded: the command has ended"),
        Err(error) => tracing::warn!(%error, ?signal, "signal not forwarded"),
    }
}

/// The helper processes of a command that has not started. They end when this is dropped.
struct PreparedCommand {
    program: OsString,
    guard: Guard,
    gated: GatedCommand,
    stdout: OwnedFd,
    writer: OwnedFd,
    output: PipeId,
    processes: Processes,
}

impl PreparedCommand {
    fn start(command: &[OsString], wait_for_eof: bool) -> Result<Self, Failure> {
        let Some(program) = command.first().cloned() else {
            return Err(Failure::new(Exit::Usage, "no command given"));
        };
        let (stdout, writer) = io::pipe().map_err(anyhow::Error::from)?;
        if let Err(error) = rustix::pipe::fcntl_setpipe_size(&writer, PIPE_BYTES) {
            tracing::debug!(%error, "pipe buffer could not be enlarged");
        }
        let output = PipeId::new(&writer).map_err(anyhow::Error::from)?;
        let guard = Guard::start().map_err(|error| anyhow::anyhow!("can't start the guard: {error}"))?;
        // A background process group is stopped when it reads from its terminal.
        let stdin = if io::stdin().is_terminal() { Stdio::null() } else { Stdio::inherit() };
        let gated =
            GatedCommand::start(command, stdin).map_err(|error| anyhow::anyhow!("can't start the command: {error}"))?;
        let processes = Processes::new(gated.group(), wait_for_eof.then_some(output));
        Ok(Self { program, guard, gated, stdout: stdout.into(), writer: writer.into(), output, processes })
    }

    /// Starts the command, guarded.
    fn begin(mut self) -> Result<Service, Failure> {
        if let Err(error) = self.guard.watch(self.processes) {
            // The gated process ends when the socket is dropped.
            return Err(anyhow::anyhow!("can't reach the guard: {error}").into());
        }
        match self.gated.start_command(&self.writer) {
            Ok(child) => Ok(Service {
                child,
                guard: self.guard,
                stdout: self.stdout,
                output: self.output,
                processes: self.processes,
            }),
            Err(error) => {
                self.guard.dismiss();
                Err(exec_failure(&self.program, &error))
            }
        }
    }
}

/// A running command with its guard.
struct Service {
    child: Child,
    guard: Guard,
    stdout: OwnedFd,
    output: PipeId,
    processes: Processes,
}

/// The exit codes of a shell.
fn exec_failure(program: &OsStr, error: &io::Error) -> Failure {
    let program = program.to_string_lossy();
    match error.kind() {
        io::ErrorKind::NotFound => {
            Failure::new(Exit::NotFound, format!("command {program} not found: use its path, or correct PATH"))
        }
        _ => Failure::new(Exit::NotExecutable, format!("can't execute {program}: {error}")),
    }
}
