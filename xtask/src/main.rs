//! Development tasks, run with `cargo xtask`. See `cargo xtask --help`.

mod artifact;
mod deps;
mod engine;
mod find;
mod obstacle;
mod package;
mod process;
mod render;
mod stack;

use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

/// Development tasks
///
/// Unpacked programs are kept in .cache, or in the folder CACHE_DIR. Exit codes: 64 wrong arguments, 69 a program that
/// the user must provide is missing, 75 something did not start or could not be downloaded, 78 a configuration file has
/// a mistake, 130 and 143 after SIGINT and SIGTERM.
#[derive(Debug, Parser)]
#[command(name = "xtask", bin_name = "cargo xtask", disable_help_subcommand = true)]
enum Task {
    /// Unpack what the tests need, or some of: opensearch, elasticsearch, prometheus, alertmanager, logrotate, chromium,
    /// axe-core, docker-compose, wrk, docker, and other versions of engines (NAME-VERSION)
    Deps { parts: Vec<String> },
    /// Print the path of a program, or the folder of an engine or of Java
    Find { name: String },
    /// Run a command with real engines, and stop them afterwards
    ///
    /// Each engine is a single node on free ports of 127.0.0.1, with a heap of ENGINE_HEAP (512m). The command has their
    /// addresses in ENGINE_URL (OpenSearch, with ingest processors) and BARE_ENGINE_URL (Elasticsearch, without any,
    /// security off). An engine whose address is set already is not started. The exit code is the command's.
    WithEngine {
        #[arg(value_delimiter = ',', required = true)]
        engines: Vec<String>,
        #[arg(last = true, required = true)]
        command: Vec<OsString>,
    },
    /// Run an engine (NAME-VERSION) in the foreground, or one of its tools, such as elasticsearch-users
    ///
    /// Settings, data and logs are in FOLDER, and stay there for the next start. Files in FOLDER/extra replace the
    /// engine's own configuration; FOLDER/extra/settings.yml is added to its settings. Port 0 lets the system choose; the
    /// engine writes the port to FOLDER/logs/http.ports.
    Engine {
        engine: String,
        folder: PathBuf,
        http_port: u16,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        tool: Vec<OsString>,
    },
    /// Run the stack without Docker: OpenSearch, the service carried by the shipper, Prometheus and Alertmanager
    ///
    /// Variables: LOCAL_DIR is the folder of state, logs and configuration (.local); each has its own stack. BIN_DIR has
    /// backend and shipper (target/release). Ports: BACKEND_PORT (8000), SHIPPER_PORT (9600), ELASTICSEARCH_PORT (9200),
    /// PROMETHEUS_PORT (9090), ALERTMANAGER_PORT (9093). ENGINE_URL is an engine to use instead of starting OpenSearch;
    /// ENGINE_HEAP is its heap (512m). ALERT_SPEEDUP divides all durations in rules, scrapes and notifications, for drills.
    /// Variables of the service, such as RUST_LOG, are passed on.
    #[command(subcommand)]
    Stack(stack::Action),
}

fn main() -> ExitCode {
    let task = match Task::try_parse() {
        Ok(task) => task,
        Err(error) => {
            let shown = error.print();
            return ExitCode::from(if error.use_stderr() || shown.is_err() { 64 } else { 0 });
        }
    };
    let done = process::watch_signals().and_then(|()| run(task));
    ExitCode::from(done.unwrap_or_else(|error| obstacle::report(&error)))
}

/// Runs a task and returns its exit code.
fn run(task: Task) -> Result<u8> {
    match task {
        Task::Deps { parts } => deps::unpack(&parts.iter().map(String::as_str).collect::<Vec<_>>())?,
        Task::WithEngine { engines, command } => return engine::with_engines(&engines, &command),
        Task::Engine { engine, folder, http_port, tool } => {
            return engine::run_in_foreground(&engine, &folder, http_port, &tool);
        }
        Task::Stack(action) => return stack::run(action),
        Task::Find { name } => {
            let engine = artifact::Release::named(&name).map(artifact::Release::home);
            let path = engine.or_else(|_| find::require(&name))?;
            writeln!(std::io::stdout(), "{}", path.display())?;
        }
    }
    Ok(0)
}
