//! `shipper exec`: a service as a child of the shipper, its standard output shipped, its exit code passed on.
//!
//! The service has a process group of its own, and begins when the [`guard`](crate::guard) knows it ([`threshold`](crate::threshold)). So a terminal's Ctrl-C reaches the shipper alone, which passes it on once
//! and then ships what is left; and so signals, and the [`guard`](crate::guard), reach what the service started, too.

use std::ffi::{OsStr, OsString};
use std::io::{self, IsTerminal};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, kill_process_group};
use shipper::config::Settings;
use shipper::shipper::Shipper;
use tokio::process::Child;

use crate::admin::Admin;
use crate::drain::{Drain, Limit};
use crate::exit::{Exit, Failure};
use crate::guard::Guard;
use crate::signals::{FORWARDED, Signals};
use crate::source::{PIPE_BYTES, Source};
use crate::threshold::Waiting;

/// The spool's name for what comes from a service.
const STREAM: &str = "stdout";

/// When the service has ended, others that it started may still hold its standard output. They are not waited for any
/// longer; what they have written by then is taken.
const STDOUT_END_GRACE: Duration = Duration::from_secs(2);

/// Added to a signal's number, as shells do.
const SIGNAL_CODE: i32 = 128;

/// Runs a command and ships its standard output.
pub(crate) async fn exec(settings: &Settings, command: &[OsString], admin: Admin) -> Result<Exit, Failure> {
    let mut signals = Signals::listen(&FORWARDED).map_err(anyhow::Error::from)?;
    let shipper = tokio::select! {
        started = Shipper::start(settings) => started?,
        signal = signals.stop() => return Ok(code(SIGNAL_CODE + signal.as_raw())),
    };
    admin.show(shipper.status());
    let mut service = match Service::start(command) {
        Ok(service) => service,
        Err(failure) => {
            shipper.finish(std::future::ready(())).await;
            return Err(failure);
        }
    };
    let mut source = Source::read(service.stdout, shipper.stream(STREAM)).map_err(anyhow::Error::from)?;
    let (status, stopped) = wait(&mut service.child, service.group, &mut signals).await?;
    service.guard.dismiss();

    let until = Instant::now() + settings.shutdown_timeout();
    let mut drain = Drain::new(signals, stopped);
    source.end_within(STDOUT_END_GRACE);
    drain.source(&mut source, until.max(Instant::now() + STDOUT_END_GRACE)).await;
    let drained = drain.ship(shipper, Limit::By(until)).await;
    drained.report(source.untaken_bytes().await, settings.state_dir());
    Ok(code(status.code().unwrap_or_else(|| SIGNAL_CODE + status.signal().unwrap_or_default())))
}

fn code(code: i32) -> Exit {
    Exit::Command(u8::try_from(code).unwrap_or(u8::MAX))
}

/// Waits for the service's end and passes signals on to it meanwhile; says whether one was to stop it.
async fn wait(child: &mut Child, group: Pid, signals: &mut Signals) -> anyhow::Result<(ExitStatus, bool)> {
    let mut stopped = false;
    loop {
        tokio::select! {
            status = child.wait() => return Ok((status?, stopped)),
            signal = signals.next() => {
                stopped |= crate::signals::STOP.contains(&signal);
                if let Err(error) = kill_process_group(group, signal) {
                    tracing::warn!(%error, ?signal, "a signal could not be passed on");
                }
            }
        }
    }
}

/// A command that runs, guarded.
struct Service {
    child: Child,
    group: Pid,
    guard: Guard,
    stdout: OwnedFd,
}

impl Service {
    fn start(command: &[OsString]) -> Result<Self, Failure> {
        let Some(program) = command.first() else {
            return Err(Failure::new(Exit::Usage, "there is no command"));
        };
        let (reader, writer) = io::pipe().map_err(anyhow::Error::from)?;
        if let Err(error) = rustix::pipe::fcntl_setpipe_size(&writer, PIPE_BYTES) {
            tracing::debug!(%error, "the pipe stays as small as it is");
        }
        let mut guard = Guard::start().map_err(|error| anyhow::anyhow!("can't start the guard: {error}"))?;
        // A process group that is not in front of its terminal is stopped when it reads from it.
        let stdin = if io::stdin().is_terminal() { Stdio::null() } else { Stdio::inherit() };
        let waiting = Waiting::start(command, stdin).map_err(|error| anyhow::anyhow!("can't start: {error}"))?;
        let group = waiting.group();
        if let Err(error) = guard.watch(group) {
            // It does not begin, since nobody tells it to.
            return Err(anyhow::anyhow!("can't reach the guard: {error}").into());
        }
        match waiting.go(&writer.into()) {
            Ok(child) => Ok(Self { child, group, guard, stdout: reader.into() }),
            Err(error) => {
                guard.dismiss();
                Err(not_run(program, &error))
            }
        }
    }
}

/// As a shell tells it.
fn not_run(program: &OsStr, error: &io::Error) -> Failure {
    let program = program.to_string_lossy();
    match error.kind() {
        io::ErrorKind::NotFound => {
            Failure::new(Exit::NotFound, format!("there is no command {program}: give its path, or correct PATH"))
        }
        _ => Failure::new(Exit::NotExecutable, format!("can't execute {program}: {error}")),
    }
}
