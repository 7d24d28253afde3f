//! The log shipper. The exit codes are in [`exit`] and in `--help`.

mod admin;
mod bootstrap;
mod cli;
mod commands;
mod descriptors;
mod drain;
mod exec;
mod exit;
mod export;
mod guard;
mod manual;
mod metrics;
mod pipe_reader;
mod processes;
mod run;
mod signals;
mod start_gate;

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use observability::{LogTarget, Observability, ObservabilitySettings};
use shipper::config::Settings;

use crate::cli::{Action, Cli};
use crate::exit::{Exit, Failure};

/// How long to wait at exit for the shipper's own log to be written.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let first = std::env::args_os().nth(1).unwrap_or_default();
    if first == guard::ARGUMENT {
        return end(guard::run().context("the guard").map(|()| Exit::Success).map_err(Failure::from));
    }
    if first == start_gate::ARGUMENT {
        let started = start_gate::run(std::env::args_os().skip(2));
        return end(started.context("the command").map(|()| Exit::Unexpected).map_err(Failure::from));
    }
    end(Cli::read().map_err(Failure::from).and_then(|cli| act(cli.action)))
}

/// Reports a failure on standard error, in one line, and returns the exit code.
fn end(exit: Result<Exit, Failure>) -> ExitCode {
    let exit = exit.unwrap_or_else(|failure| {
        exit::print_error(format_args!("shipper: {}", failure.message.replace('\n', "; ")));
        failure.exit
    });
    exit.into()
}

fn act(action: Action) -> Result<Exit, Failure> {
    match action {
        Action::Exec(exec) => {
            let (settings, command) = exec.settings()?;
            ship(settings, async |settings, observability| exec::exec(settings, &command, observability).await)
        }
        Action::Run(run) => {
            let settings = run.run_settings()?;
            ship(settings, async |settings, observability| run::run(settings, observability).await)
        }
        Action::Bootstrap(bootstrap) => {
            let settings = bootstrap.settings()?;
            block_on(bootstrap::bootstrap(&settings))
        }
        Action::Preflight(preflight) => {
            let settings = preflight.settings()?;
            block_on(bootstrap::preflight(&settings))
        }
        Action::CheckConfig(check) => {
            let settings = check.settings()?;
            print(|output| write!(output, "{settings}"))
        }
        Action::Export(export) => block_on(export::export(&export)),
        Action::Verify(verify) => block_on(commands::verify::verify(verify)),
        Action::DeadLetters(action) => commands::dead_letters::run(action),
        Action::Spool(action) => commands::spool::run(action),
        Action::Completions { shell } => print(|output| {
            clap_complete::generate(shell, &mut cli::command(), "shipper", output);
            Ok(())
        }),
        Action::Man => print(manual::write),
    }
}

/// Runs `work` with the shipper's own log and metrics, and with the limit on open files raised.
fn ship(
    mut settings: Settings,
    work: impl AsyncFnOnce(&Settings, &Observability) -> Result<Exit, Failure>,
) -> Result<Exit, Failure> {
    let observability = observe(&settings)?;
    for (key, path, bits) in settings.exposed() {
        let mode = format!("{bits:04o}");
        tracing::warn!(key, path = %path.display(), mode, advice = "restrict its permissions with chmod", "file accessible to others");
    }
    let open_files = descriptors::raise();
    descriptors::limit_files(&mut settings, open_files);
    let exit = block_on(work(&settings, &observability));
    observability.flush(FLUSH_TIMEOUT);
    exit
}

/// Runs a future on an Actix system, if enough files may be open.
fn block_on(work: impl Future<Output = Result<Exit, Failure>>) -> Result<Exit, Failure> {
    descriptors::check_minimum()?;
    actix_rt::System::new().block_on(work)
}

/// Starts the shipper's own log, on standard error. `RUST_LOG` is ignored, since it belongs to the command.
fn observe(settings: &Settings) -> Result<Observability, Failure> {
    let mut own = ObservabilitySettings::new(settings.name());
    own.log_target = LogTarget::Stderr;
    settings.log_filter().clone_into(&mut own.log_filter);
    Observability::start(own).map_err(|error| match error {
        // No other setting here can be invalid.
        observability::StartError::Settings(error) => {
            Failure::new(Exit::Usage, format!("log_filter: {:?}: {}", settings.log_filter(), error.expected()))
        }
        error => Failure::new(Exit::Unexpected, error.to_string()),
    })
}

/// Writes to standard output. A closed pipe is not an error.
fn print(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<Exit, Failure> {
    let mut text = Vec::new();
    let written = write(&mut text).and_then(|()| io::stdout().lock().write_all(&text));
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(anyhow::Error::from(error).into()),
        _ => Ok(Exit::Success),
    }
}
