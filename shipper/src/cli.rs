//! The command line: subcommands, their help, and how flags and variables become [`Settings`].

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use clap::{ArgMatches, Args, Command, CommandFactory, FromArgMatches, Parser, Subcommand};
use clap_complete::Shell;
use shipper::config::{ConfigError, Options, Settings, VARIABLE_PREFIX};
use shipper::disk::RealDisk;

use crate::commands::args::{DeadLettersAction, SpoolAction, VerifyArgs};
use crate::exit::Exit;

/// Separates the values of a list in a variable.
const LIST_SEPARATOR: char = ',';

const EXAMPLES: &str = "\
Run a service and ship its standard output into an embedded store:
  shipper exec --to sqlite:data/logs.db -- target/release/my-service --port 8000

Ship into an engine, with a configuration file and a metrics endpoint:
  shipper exec --config shipper.toml --admin-listen 127.0.0.1:9600 -- my-service

Follow files, or ship what exists and exit:
  shipper run --to http://127.0.0.1:9200 --file '/var/log/app/*.log'
  shipper run --to http://127.0.0.1:9200 --file '/var/log/app/*.log' --until-idle

Export lines of an embedded store:
  shipper export sqlite:data/logs.db --query 'level:error' > errors.ndjson

Install pipeline and template with other credentials than those for shipping:
  shipper bootstrap --to https://es.example:9200 --user admin --password-file admin.secret

Verify that every line is stored; list rejected lines, and send them again once the cause is fixed:
  shipper verify --config shipper.toml
  shipper dead-letters list --state-dir shipper-state
  shipper dead-letters replay --all --config shipper.toml";

/// Ships logs to a store, without losing or duplicating lines.
///
/// Output of a service is appended to a spool on disk first, then sent in batches to Elasticsearch, OpenSearch or an
/// embedded SQLite store. Each line is stored exactly once, or kept as a dead letter with the reason.
///
/// Every option can also be set by a variable SHIPPER_… or by a key in the file given with --config. Options take
/// precedence over variables, variables over the file.
#[derive(Debug, Parser)]
#[command(name = "shipper", version, subcommand_required = true, arg_required_else_help = true, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) action: Action,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// Run a command and ship its standard output
    ///
    /// The command runs in its own process group; SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1 and SIGUSR2 are forwarded
    /// to it. After it has ended, pending lines are shipped for up to shutdown_timeout_ms; the rest stays in the state
    /// directory for the next start. A second SIGINT or SIGTERM ends the wait. The exit code is always the command's
    /// own, or 128 plus the number of the signal that ended it. The command is terminated if the shipper is killed.
    ///
    /// Run the service in the foreground. If the command ends while a process that it started still holds its standard
    /// output open, such as a daemon or a background job, the shipper warns and ships that output for two more seconds.
    /// Then it exits, and the process gets SIGPIPE at its next write. With --wait-for-eof the shipper continues until
    /// the last such process has closed the output. It forwards signals to these processes and terminates them when it
    /// is killed, even if they left the command's process group. After a SIGINT or SIGTERM they have
    /// shutdown_timeout_ms to close the output; a second signal ends the wait. The exit code is still the command's
    /// own, however these processes end. The shipper does not wait for a process that closes or redirects its output,
    /// since it can't ship its lines.
    Exec(ExecArgs),
    /// Ship standard input or files
    ///
    /// Ends at the end of the input, or at SIGINT or SIGTERM: it stops reading, ships pending lines for up to
    /// shutdown_timeout_ms and keeps the rest for the next start. A second signal ends it at once, without losing
    /// lines.
    Run(CommonArgs),
    /// Install what the store needs, or check it
    ///
    /// Installs the ingest pipeline and the index template, but never overwrites newer or foreign ones. With
    /// --bootstrap check it changes nothing and reports what is missing.
    Bootstrap(CommonArgs),
    /// Check that the store would accept lines, without writing
    ///
    /// Checks that pipeline and template are installed, in force and those of this version, what the pipeline does with
    /// a sample line of each known shape, and what the credentials allow. A fault is reported in one message and
    /// refused; what the store does not report, or the credentials may not read, is reported as unproven. run and exec
    /// do the same at startup unless --bootstrap is off; if the credentials are refused they start anyway, and lines
    /// stay pending.
    Preflight(CommonArgs),
    /// Check the configuration and print the effective one, without secrets
    CheckConfig(CommonArgs),
    /// Write the lines of an embedded store to standard output
    ///
    /// Writes one JSON object per line, in order of arrival and as received: without the origin that the shipper adds.
    /// Lines that were not records are written as the records that wrap them.
    Export(ExportArgs),
    /// Verify that the store holds every accepted line exactly once
    ///
    /// Verifies by sums first, which needs no source: the lengths of the lines in the store and in the dead letters
    /// must cover each source up to its checkpoint without a gap. Then it looks up every line of the segments and files
    /// that still exist. It can run next to a running shipper. Exits with 1 if a line is missing or stored twice. Give
    /// it the options of the shipper: with another --format, files have different lines.
    Verify(VerifyArgs),
    /// List, replay or discard lines that the store rejected
    #[command(subcommand)]
    DeadLetters(DeadLettersAction),
    /// Check the state directory, and move damaged parts to quarantine
    #[command(subcommand)]
    Spool(SpoolAction),
    /// Print shell completions
    Completions {
        /// Shell to print completions for
        shell: Shell,
    },
    /// Print the man page
    Man,
}

/// Arguments of `exec`.
#[derive(Debug, Args)]
pub(crate) struct ExecArgs {
    #[command(flatten)]
    pub(crate) common: CommonArgs,

    /// Command to run, with its arguments
    #[arg(last = true, required = true, num_args = 1.., value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
}

/// Arguments of `export`.
#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// Store to read, sqlite:PATH
    #[arg(value_name = "STORE")]
    pub(crate) store: String,
    /// Only lines at or after this time, such as 2026-11-23T18:00:00Z
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// Only lines before this time
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<String>,
    /// Only lines that match this query, such as 'level:error project:p-1'
    #[arg(long, value_name = "QUERY")]
    pub(crate) query: Option<String>,
    /// Keep the origin that the shipper added to each line
    #[arg(long)]
    pub(crate) with_origin: bool,
}

/// Arguments of all subcommands that ship.
#[derive(Debug, Args)]
pub(crate) struct CommonArgs {
    /// Configuration file (TOML)
    #[arg(long, env = "SHIPPER_CONFIG", hide_env_values = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) options: Options,
}

impl Cli {
    /// Reads the command line and the environment. Exits, as clap does, if help is requested or the command line is
    /// invalid.
    pub(crate) fn read() -> Result<Self, ConfigError> {
        let command = command();
        let arguments = std::env::args_os().collect();
        let mut matches = variables::parse(&command, arguments).unwrap_or_else(|error| error.exit());
        let mut cli = Self::from_arg_matches_mut(&mut matches.clone()).unwrap_or_else(|error| error.exit());
        let mut innermost = None;
        while let Some((_, within)) = matches.remove_subcommand() {
            matches = within;
            innermost = Some(matches.clone());
        }
        if let Some(matches) = innermost
            && let Some(common) = cli.action.common_mut()
        {
            variables::refuse_unknown(&[VARIABLE_PREFIX], &variables::names(&command), "shipper run --help")?;
            split_lists(&matches, &mut common.options);
        }
        Ok(cli)
    }
}

impl Action {
    fn common_mut(&mut self) -> Option<&mut CommonArgs> {
        match self {
            Self::Exec(exec) => Some(&mut exec.common),
            Self::Run(common) | Self::Bootstrap(common) | Self::Preflight(common) | Self::CheckConfig(common) => {
                Some(common)
            }
            Self::Verify(verify) => Some(&mut verify.common),
            Self::DeadLetters(DeadLettersAction::Replay(replay)) => Some(&mut replay.common),
            Self::DeadLetters(_) | Self::Spool(_) | Self::Export(_) | Self::Completions { .. } | Self::Man => None,
        }
    }
}

impl ExecArgs {
    /// The settings to run the command with.
    pub(crate) fn settings(self) -> Result<(Settings, Vec<OsString>), ConfigError> {
        let program = self.command.first().map(PathBuf::from);
        let settings = self.common.settings_for(program.as_deref())?;
        let files = settings.files();
        let key = if files.patterns.is_empty() { "until_idle" } else { "files" };
        if files.until_idle || !files.patterns.is_empty() {
            let message = "exec ships the standard output of its command; use shipper run for files";
            return Err(ConfigError::Value { key, message: message.to_owned() });
        }
        Ok((settings, self.command))
    }
}

impl CommonArgs {
    /// The settings to ship standard input or files with.
    pub(crate) fn run_settings(self) -> Result<Settings, ConfigError> {
        let settings = self.settings()?;
        if settings.wait_for_eof() {
            let message = "run always reads its input to the end; use this with shipper exec only";
            return Err(ConfigError::Value { key: "wait_for_eof", message: message.to_owned() });
        }
        Ok(settings)
    }
}

impl CommonArgs {
    /// The settings, from options, variables, file and defaults. Also sets the permissions of new files.
    pub(crate) fn settings(self) -> Result<Settings, ConfigError> {
        self.settings_for(None)
    }

    fn settings_for(self, program: Option<&Path>) -> Result<Settings, ConfigError> {
        let file = self.config.as_deref().map(Options::from_file).transpose()?;
        let settings = Settings::new(self.options.or(file.unwrap_or_default()), program)?;
        RealDisk::set_file_mode(settings.file_mode());
        Ok(settings)
    }
}

/// The command line, completed with defaults, exit codes and examples.
pub(crate) fn command() -> Command {
    let long_help = format!("{}\n\nExamples:\n{EXAMPLES}", exit_codes());
    let command = Cli::command().after_help(exit_codes()).after_long_help(long_help);
    let complete = |subcommand: Command| with_defaults(subcommand).after_help(exit_codes());
    command.mut_subcommands(|subcommand| match subcommand.get_name() {
        "check-config" => complete(subcommand),
        "run" | "verify" => without(complete(subcommand), &["wait_for_eof"]),
        "exec" => without(complete(subcommand), &FILE_OPTIONS),
        "bootstrap" | "preflight" => without(without(complete(subcommand), &FILE_OPTIONS), &["wait_for_eof"]),
        "dead-letters" => subcommand.mut_subcommand("replay", |replay| {
            without(without(with_defaults(replay), &FILE_OPTIONS), &["wait_for_eof"])
        }),
        _ => subcommand,
    })
}

/// Options that only `run` uses.
const FILE_OPTIONS: [&str; 11] = [
    "files",
    "exclude",
    "format",
    "docker_labels",
    "until_idle",
    "allow_empty",
    "read_from",
    "ignore_older",
    "read_compressed",
    "max_open_files",
    "scan_interval_ms",
];

/// Hides options that a subcommand does not use.
fn without(command: Command, options: &[&str]) -> Command {
    options.iter().fold(command, |command, name| command.mut_arg(name, |arg| arg.hide(true)))
}

/// Appends each option's default to its help.
pub(crate) fn with_defaults(command: Command) -> Command {
    let defaults = toml::Table::try_from(Options::defaults()).unwrap_or_default();
    command.mut_args(|arg| {
        let Some(default) = defaults.get(arg.get_id().as_str()) else { return arg };
        let default = default.as_str().map_or_else(|| default.to_string(), str::to_owned);
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        arg.help(format!("{help} [default: {default}]"))
    })
}

fn exit_codes() -> String {
    let mut text = "Exit codes:".to_owned();
    for exit in Exit::ALL {
        let _infallible = write!(text, "\n  {:>3}  {}", exit.code(), exit.meaning());
    }
    text + "\nOnce the command runs, exec returns the command's own exit code."
}

/// The examples, for the man page.
pub(crate) const fn examples_text() -> &'static str {
    EXAMPLES
}

/// Splits variables that hold several values.
fn split_lists(matches: &ArgMatches, options: &mut Options) {
    let lists = [
        ("files", &mut options.files),
        ("exclude", &mut options.exclude),
        ("docker_labels", &mut options.docker_labels),
        ("fields", &mut options.fields),
    ];
    for (name, list) in lists {
        if matches.value_source(name) == Some(ValueSource::EnvVariable) {
            let values = list.iter().flatten().flat_map(|text| text.split(LIST_SEPARATOR));
            *list = Some(values.map(|value| value.trim().to_owned()).collect());
        }
    }
}
