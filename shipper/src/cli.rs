//! The command line: its subcommands and their help, and what of it and of the environment becomes [`Settings`].

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use clap::{ArgMatches, Args, Command, CommandFactory, FromArgMatches, Parser, Subcommand};
use clap_complete::Shell;
use shipper::config::{ConfigError, Options, Settings, refuse_unknown_variables};
use shipper::disk::RealDisk;

use crate::commands::args::{DeadLettersAction, SpoolAction, VerifyArgs};
use crate::exit::Exit;

/// Between patterns where they are given in a variable.
const LIST_SEPARATOR: char = ',';

const EXAMPLES: &str = "\
Run a service and ship its standard output into an embedded store:
  shipper exec --to sqlite:data/logs.db -- target/release/my-service --port 8000

Into an engine, with a configuration file, and with metrics on a port of their own:
  shipper exec --config shipper.toml --admin-listen 127.0.0.1:9600 -- my-service

Follow files; or ship what is there and end:
  shipper run --to http://127.0.0.1:9200 --file '/var/log/app/*.log'
  shipper run --to http://127.0.0.1:9200 --file '/var/log/app/*.log' --until-idle

Get lines back out of an embedded store:
  shipper export sqlite:data/logs.db --query 'level:error' > errors.ndjson

Put pipeline and template in place with other rights than those that ship:
  shipper bootstrap --to https://es.example:9200 --user admin --password-file admin.secret

Prove that every line is there; look at what was refused, and send it again once its cause is mended:
  shipper verify --config shipper.toml
  shipper dead-letters list --state-dir shipper-state
  shipper dead-letters replay --all --config shipper.toml";

/// Ships logs, losing and doubling nothing.
///
/// What a service writes is first appended to a spool on disk and then sent in batches to Elasticsearch, OpenSearch or
/// an embedded SQLite store, until each line is stored once, or kept aside with the reason why it can't be.
///
/// Every option can also be a variable SHIPPER_… or a key in the file that --config names. An option goes before a
/// variable, a variable before the file.
#[derive(Debug, Parser)]
#[command(name = "shipper", version, subcommand_required = true, arg_required_else_help = true, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) action: Action,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// Run a command and ship its standard output
    ///
    /// The command runs in a process group of its own; SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1 and SIGUSR2 are
    /// passed on to it. When it has ended, what is left is shipped for shutdown_timeout_ms; what is not shipped by then
    /// waits in the state directory for the next start. A SIGINT or SIGTERM at that time, if it is not the first, ends
    /// the wait. The exit code is always the command's own, or 128 and the number of the signal that ended it. The
    /// command ends with the shipper, even when the shipper is killed.
    ///
    /// Run the service in the foreground. If the command ends while a process that it started still holds its standard
    /// output open, such as a daemon or a background job, the shipper warns and ships that output for two more seconds.
    /// Then it ends, and the process gets SIGPIPE at its next write. With --wait-for-eof the shipper goes on until the
    /// last such process has closed the output. It passes signals on to these processes, and ends them when it is killed,
    /// even if they left the command's process group. After a SIGINT or SIGTERM they have shutdown_timeout_ms to close
    /// the output; a second one ends the wait. The exit code stays the command's own, however these processes end. A
    /// process that closes or redirects its output isn't waited for: no line of it can be shipped.
    Exec(ExecArgs),
    /// Ship standard input, or files
    ///
    /// Ends with the input, or with SIGINT or SIGTERM: then reads no more, ships what is left for shutdown_timeout_ms
    /// and keeps the rest for the next start. A second signal ends it at once, losing nothing.
    Run(CommonArgs),
    /// Put in place what the store needs, or check it
    ///
    /// Puts the ingest pipeline and the index template in place, never over newer or foreign ones; with
    /// --bootstrap check changes nothing and says what is missing.
    Bootstrap(CommonArgs),
    /// Prove, without writing anything, that lines would come to rest as they should
    ///
    /// Asks the store whether pipeline and template are this program's and in force, what the pipeline makes of a sample
    /// line of each known shape, and what the credentials may do. What is wrong is one message and a refusal; what the
    /// store does not tell, or the credentials may not ask, is reported as unproven. run and exec do the same at their
    /// start, unless --bootstrap is off; with credentials that are refused they start all the same, and lines wait.
    Preflight(CommonArgs),
    /// Check the configuration and print it as it is in effect, without secrets
    CheckConfig(CommonArgs),
    /// Write the lines of an embedded store to standard output
    ///
    /// One JSON object a line, in the order in which they came, and as they came: without the origin that the shipper
    /// added. Lines that were no records when they came are written as the records that they were made.
    Export(ExportArgs),
    /// Prove that the store holds every line that was taken, once
    ///
    /// First by sums, which need no source: the lengths of the lines that rest in the store and among the dead letters
    /// must fill each source up to its checkpoint, end to end. Then, of segments and files that are still there, by
    /// asking for every line. Also beside a shipper at work. Exits 1 if anything is missing or there twice. Takes the
    /// options that the shipper runs with: files of another --format have other lines.
    Verify(VerifyArgs),
    /// Look at the lines that no store took, send them again or give them up
    #[command(subcommand)]
    DeadLetters(DeadLettersAction),
    /// Look at what lies in the state directory, and set aside what is torn
    #[command(subcommand)]
    Spool(SpoolAction),
    /// Print a shell's completions
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the manual page
    Man,
}

/// What `exec` takes.
#[derive(Debug, Args)]
pub(crate) struct ExecArgs {
    #[command(flatten)]
    pub(crate) common: CommonArgs,

    /// The command and its arguments
    #[arg(last = true, required = true, num_args = 1.., value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
}

/// What `export` takes.
#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// The store: sqlite:PATH
    #[arg(value_name = "STORE")]
    pub(crate) store: String,
    /// Only lines at this time or later, such as 2026-11-23T18:00:00Z
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// Only lines before this time
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<String>,
    /// Only lines that this query finds, such as 'level:error project:p-1'
    #[arg(long, value_name = "QUERY")]
    pub(crate) query: Option<String>,
    /// Leave in what the shipper added: where each line came from
    #[arg(long)]
    pub(crate) with_origin: bool,
}

/// What all that ship take.
#[derive(Debug, Args)]
pub(crate) struct CommonArgs {
    /// Configuration file, TOML
    #[arg(long, env = "SHIPPER_CONFIG", hide_env_values = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) options: Options,
}

impl Cli {
    /// Reads command line and environment. Ends the program, as programs do, where it asks for help or can't be read.
    pub(crate) fn read() -> Result<Self, ConfigError> {
        let mut matches = command().get_matches();
        let mut cli = Self::from_arg_matches_mut(&mut matches.clone()).unwrap_or_else(|error| error.exit());
        let mut innermost = None;
        while let Some((_, within)) = matches.remove_subcommand() {
            matches = within;
            innermost = Some(matches.clone());
        }
        if let Some(matches) = innermost
            && let Some(common) = cli.action.common_mut()
        {
            refuse_unknown_variables(&variables(), environment())?;
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
            let message = "exec ships what its command writes to standard output; files are shipped by shipper run";
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
            let message = "run reads its input to the end in any case; this is for shipper exec";
            return Err(ConfigError::Value { key: "wait_for_eof", message: message.to_owned() });
        }
        Ok(settings)
    }
}

impl CommonArgs {
    /// The settings, from options, variables, file and defaults. Files that are made from now on have the permissions that
    /// these say.
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

/// The command line's shape, with what is only known when it runs: defaults, exit codes, examples.
pub(crate) fn command() -> Command {
    let long_help = format!("{}\n\nExamples:\n{EXAMPLES}", exit_codes());
    let command = Cli::command().after_help(exit_codes()).after_long_help(long_help);
    let complete = |subcommand: Command| with_defaults(subcommand).after_help(exit_codes());
    command.mut_subcommands(|subcommand| match subcommand.get_name() {
        "check-config" => complete(subcommand),
        "run" | "verify" => without(complete(subcommand), &["wait_for_eof"]),
        "exec" => without(complete(subcommand), &OF_FILES),
        "bootstrap" | "preflight" => without(without(complete(subcommand), &OF_FILES), &["wait_for_eof"]),
        "dead-letters" => subcommand
            .mut_subcommand("replay", |replay| without(without(with_defaults(replay), &OF_FILES), &["wait_for_eof"])),
        _ => subcommand,
    })
}

/// Options that are of use to `run` only.
const OF_FILES: [&str; 11] = [
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

/// Hides options that are of no use to a subcommand.
fn without(command: Command, options: &[&str]) -> Command {
    options.iter().fold(command, |command, name| command.mut_arg(name, |arg| arg.hide(true)))
}

/// Shows each option's default after its help.
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
    text + "\nexec returns the command's own exit code once the command runs."
}

/// The examples, for the manual.
pub(crate) const fn examples_text() -> &'static str {
    EXAMPLES
}

/// The names of all variables.
fn variables() -> Vec<String> {
    let command = Cli::command();
    let of = |command: &Command| {
        command.get_arguments().filter_map(|arg| Some(arg.get_env()?.to_str()?.to_owned())).collect::<Vec<_>>()
    };
    command.get_subcommands().flat_map(of).collect()
}

fn environment() -> impl Iterator<Item = String> {
    std::env::vars_os().map(|(name, _)| name.to_string_lossy().into_owned())
}

/// A variable holds one text, which may be several values.
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
