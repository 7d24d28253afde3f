//! The log shipper. Reads what to do, does it, and says by its exit code how it went; what each code means is in
//! [`exit`], and in `--help`.

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

/// How long log lines of the shipper's own are waited for at the end.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let first = std::env::args_os().nth(1).unwrap_or_default();
    if first == guard::ARGUMENT {
        return end(guard::stand().context("the guard").map(|()| Exit::Success).map_err(Failure::from));
    }
    if first == start_gate::ARGUMENT {
        let stood = start_gate::stand(std::env::args_os().skip(2));
        return end(stood.context("the command").map(|()| Exit::Unexpected).map_err(Failure::from));
    }
    end(Cli::read().map_err(Failure::from).and_then(|cli| act(cli.action)))
}

/// Says what went wrong, in a line, and gives the exit code.
fn end(exit: Result<Exit, Failure>) -> ExitCode {
    let exit = exit.unwrap_or_else(|failure| {
        exit::tell(format_args!("shipper: {}", failure.message.replace('\n', "; ")));
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

/// Does the work with what surrounds it: the shipper's own log and its metrics, and as many open files as the system allows.
fn ship(
    mut settings: Settings,
    work: impl AsyncFnOnce(&Settings, &Observability) -> Result<Exit, Failure>,
) -> Result<Exit, Failure> {
    let observability = observe(&settings)?;
    for (key, path, bits) in settings.exposed() {
        let mode = format!("{bits:04o}");
        tracing::warn!(key, path = %path.display(), mode, "file open to others: take their rights away with chmod");
    }
    let open_files = descriptors::raise();
    descriptors::limit_files(&mut settings, open_files);
    let exit = block_on(work(&settings, &observability));
    observability.flush(FLUSH_TIMEOUT);
    exit
}

/// Runs what waits for sockets and files, where as many may be open as that takes.
fn block_on(work: impl Future<Output = Result<Exit, Failure>>) -> Result<Exit, Failure> {
    descriptors::need_enough()?;
    actix_rt::System::new().block_on(work)
}

/// The shipper's own log goes to standard error, where nothing is shipped from. Of the environment it takes nothing,
/// `RUST_LOG` neither: that is the command's.
fn observe(settings: &Settings) -> Result<Observability, Failure> {
    let mut own = ObservabilitySettings::new(settings.name());
    own.log_target = LogTarget::Stderr;
    settings.log_filter().clone_into(&mut own.log_filter);
    Observability::start(own).map_err(|error| match error {
        // Of what is set here, nothing else can be wrong.
        observability::StartError::Settings(error) => {
            Failure::new(Exit::Usage, format!("log_filter: {:?}: {}", settings.log_filter(), error.expected()))
        }
        error => Failure::new(Exit::Unexpected, error.to_string()),
    })
}

/// Prints what was asked for. A reader that has seen enough is no failure.
fn print(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<Exit, Failure> {
    let mut text = Vec::new();
    let written = write(&mut text).and_then(|()| io::stdout().lock().write_all(&text));
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(anyhow::Error::from(error).into()),
        _ => Ok(Exit::Success),
    }
}
