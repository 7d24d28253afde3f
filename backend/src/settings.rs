//! All settings. Each option is also an environment variable, and has its help, default and bounds in one place:
//! [`server`], [`mod@store`], [`access`] and [`links`].
//!
//! The variables of the library are [`ObservabilitySettings::VARIABLES`]; they are no options.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use ::store::EngineSettings;
use clap::builder::{RangedU64ValueParser, TypedValueParser};
use clap::{Command, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use clap_complete::Shell;
use observability::ObservabilitySettings;

pub mod access;
pub mod links;
pub mod server;
pub mod store;

pub use access::{AccessOptions, is_reached_by_others};
use links::LinkOptions;
use server::ServerOptions;
use store::StoreOptions;

/// Prefixes of this service's variables; an unknown variable with one of them is an error.
const PREFIXES: [&str; 6] = ["BACKEND_", "STORE_", "METRICS_", "ADMIN_", "ACCESS_LOG_", "TRUSTED_"];

/// Default `service` of log lines and metrics.
pub const SERVICE: &str = "backend";

/// Maximum width of the help.
const HELP_COLUMNS: usize = 100;

const EXIT_CODES: &str = "Exit codes:
    0  stopped by SIGINT or SIGTERM
    1  failed
    2  invalid option or variable";

/// An invalid setting.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// An invalid value, or a combination of options that is invalid.
    #[error("{name}: {message}")]
    Invalid {
        /// The variable.
        name: String,
        /// What is wrong.
        message: String,
    },
    /// Anyone who can reach `LISTEN` could read everything.
    #[error(
        "LISTEN={0}: without TOKENS_FILE anyone who can reach this address can read all lines; set TOKENS_FILE, or \
         OPEN_LISTEN=1 if the network restricts access"
    )]
    Unguarded(SocketAddr),
    /// Anyone who can reach `ADMIN_LISTEN` could read all metrics.
    #[error(
        "ADMIN_LISTEN={0}: without METRICS_TOKEN anyone who can reach this address can read all metrics, which \
         name projects; set METRICS_TOKEN, or OPEN_LISTEN=1 if the network restricts access"
    )]
    UnguardedAdmin(SocketAddr),
    /// An unknown variable.
    #[error(transparent)]
    Unknown(#[from] variables::UnknownVariable),
    /// An invalid setting of the library.
    #[error(transparent)]
    Observability(#[from] observability::SettingsError),
}

/// Log explorer over an embedded store or a search engine: finds all lines of a request by its ID.
///
/// Every option can also be set by the variable next to it. Options take precedence over variables; an empty variable
/// counts as unset.
#[derive(Debug, Parser)]
#[command(name = "backend", version, max_term_width = HELP_COLUMNS, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    options: Options,
}

/// What to do instead of serving.
#[derive(Clone, Debug, Subcommand)]
pub enum Action {
    /// Print shell completions
    Completions {
        /// Shell to print completions for
        shell: Shell,
    },
    /// Print the man page
    Man,
}

/// All options.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Options of the server.
    #[command(flatten)]
    pub server: ServerOptions,
    /// Options of the store.
    #[command(flatten)]
    pub store: StoreOptions,
    /// Options of access control.
    #[command(flatten)]
    pub access: AccessOptions,
    /// Options of links.
    #[command(flatten)]
    pub links: LinkOptions,
}

/// All settings, checked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The options.
    pub options: Options,
    /// Settings for an engine.
    pub engine: EngineSettings,
    /// The token required to scrape `/metrics`.
    pub metrics_token: Option<String>,
    /// Settings of the library.
    pub observability: ObservabilitySettings,
}

/// What the command line asks for.
#[derive(Debug)]
pub enum Invocation {
    /// Serve with these settings.
    Serve(Box<Settings>),
    /// Do something else.
    Other(Action),
}

impl Invocation {
    /// Reads command line and environment. Exits, as clap does, if help is requested or an option is invalid.
    ///
    /// # Errors
    /// The first invalid setting that clap does not check.
    pub fn read() -> Result<Self, SettingsError> {
        let command = command();
        let matches = variables::parse(&command, std::env::args_os().collect());
        let cli = matches.and_then(|matches| Cli::from_arg_matches(&matches)).unwrap_or_else(|error| error.exit());
        if let Some(action) = cli.action {
            return Ok(Self::Other(action));
        }
        let of_library = ObservabilitySettings::VARIABLES.iter().map(|variable| variable.name.to_owned());
        let known: Vec<_> = variables::names(&command).into_iter().chain(of_library).collect();
        variables::refuse_unknown(&PREFIXES, &known, "backend --help")?;
        let observability = ObservabilitySettings::from_env(SERVICE)?;
        Settings::new(cli.options, observability).map(Box::new).map(Self::Serve)
    }
}

impl Settings {
    /// Checks what concerns more than one option, and reads secrets.
    fn new(options: Options, observability: ObservabilitySettings) -> Result<Self, SettingsError> {
        options.access.check_addresses(options.server.listen, observability.admin_listen)?;
        let (engine, metrics_token) = (options.store.engine()?, options.access.metrics_token()?);
        Ok(Self { options, engine, metrics_token, observability })
    }

    /// Secret files that other users may read or write: variable, path and permission bits.
    #[must_use]
    pub fn exposed_secrets(&self) -> Vec<(String, PathBuf, u32)> {
        let connection = self.options.store.connection();
        let of_store = connection.secret_files().map(|(option, path)| (store::variable(option), path));
        let of_access = self.options.access.secret_files().map(|(variable, path)| (variable.to_owned(), path));
        let exposed = |(variable, path): (String, &std::path::Path)| {
            Some((variable, path.to_owned(), ::store::file_mode::shared_with_others(path)?))
        };
        of_access.chain(of_store).filter_map(exposed).collect()
    }
}

/// The command line, with the library's variables and the exit codes after the options.
#[must_use]
pub fn command() -> Command {
    let mut variables = "Variables of the library observability, which are no options:".to_owned();
    let names: Vec<_> = ObservabilitySettings::VARIABLES.iter().map(|variable| variable.name).collect();
    let short = format!("{variables}\n  {}\n\n{EXIT_CODES}", names.join(", "));
    for variable in ObservabilitySettings::VARIABLES {
        variables.push_str(&format!("\n  {}\n{}", variable.name, indented(variable.help)));
    }
    let long = format!("{variables}\n\n{EXIT_CODES}");
    Cli::command().mut_args(|arg| arg.hide_env_values(true)).after_help(short).after_long_help(long)
}

/// Wraps a text as clap wraps the help of an option.
fn indented(text: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last().map_or(0, String::len);
        if line > 0 && line + word.len() > HELP_COLUMNS {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            line.push_str(if line.is_empty() { "          " } else { " " });
            line.push_str(word);
        }
    }
    lines.join("\n")
}

/// Parses seconds.
fn seconds(range: RangeInclusive<u64>) -> impl TypedValueParser<Value = Duration> {
    RangedU64ValueParser::<u64>::new().range(range).map(Duration::from_secs)
}

/// Parses milliseconds.
fn milliseconds(range: RangeInclusive<u64>) -> impl TypedValueParser<Value = Duration> {
    RangedU64ValueParser::<u64>::new().range(range).map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(arguments: &[&str], admin_listen: Option<&str>) -> Result<Settings, String> {
        // The variables of whoever runs the tests must not matter.
        let command = command().mut_args(|arg| arg.env(clap::builder::Resettable::Reset));
        let matches = variables::parse(&command, [&["backend"], arguments].concat().iter().map(Into::into).collect());
        let cli = matches.and_then(|matches| Cli::from_arg_matches(&matches)).map_err(|error| error.to_string())?;
        let mut observability = ObservabilitySettings::new(SERVICE);
        observability.admin_listen = admin_listen.map(|address| address.parse().unwrap());
        Settings::new(cli.options, observability).map_err(|error| error.to_string())
    }

    fn from(arguments: &[&str]) -> Result<Settings, String> {
        read(arguments, None)
    }

    #[test]
    fn the_command_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn defaults_listen_on_loopback() {
        let options = from(&[]).unwrap().options;
        assert!(options.server.listen.ip().is_loopback() && !options.server.faults);
        assert_eq!(options.store.target.to_string(), "sqlite:data/logs.db");
        let engine = EngineSettings::default();
        assert_eq!(from(&[]).unwrap().engine.index_prefix, engine.index_prefix);
    }

    #[test]
    fn listening_beyond_loopback_needs_tokens_or_open_listen() {
        for arguments in [&["--listen=0.0.0.0:8000"][..], &["--listen=[::]:8000", "--open-listen=0"]] {
            let refused = from(arguments).unwrap_err();
            assert!(refused.contains("TOKENS_FILE") && refused.contains("OPEN_LISTEN=1"), "{refused}");
        }
        for listen in ["127.0.0.2:8000", "[::1]:8000", "[::ffff:127.0.0.1]:8000"] {
            assert!(from(&["--listen", listen]).is_ok(), "{listen}");
        }
        for guard in ["--open-listen", "--open-listen=1", "--tokens-file=tokens.toml"] {
            assert!(from(&["--listen=0.0.0.0:8000", guard]).is_ok(), "{guard}");
        }
    }

    #[test]
    fn metrics_beyond_loopback_need_a_token_or_open_listen() {
        let token = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(token.path(), "a-token-of-the-scrape\n").unwrap();
        let token = format!("--metrics-token-file={}", token.path().display());
        assert!(read(&[], Some("0.0.0.0:9100")).unwrap_err().contains("METRICS_TOKEN"));
        assert!(read(&[], Some("127.0.0.1:9100")).is_ok());
        let itself = "--metrics-token=a-token-of-the-scrape";
        for guard in [token.as_str(), itself, "--open-listen", "--tokens-file=tokens.toml"] {
            assert!(read(&[guard], Some("0.0.0.0:9100")).is_ok(), "{guard}");
        }
        for given in [token.as_str(), itself] {
            assert_eq!(from(&[given]).unwrap().metrics_token.as_deref(), Some("a-token-of-the-scrape"));
        }
        assert!(from(&[&token, itself]).is_err(), "one or the other");
    }

    #[test]
    fn secret_files_that_others_may_read_are_listed() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, mode: u32| {
            let path = folder.path().join(name);
            std::fs::write(&path, "a-secret-of-16-bytes").unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            path
        };
        let (tokens, key) = (file("tokens.toml", 0o600), file("key", 0o604));
        let metrics = file("metrics", 0o640);
        let [of_tokens, of_metrics, of_key] =
            [("tokens-file", &tokens), ("metrics-token-file", &metrics), ("store-api-key-file", &key)]
                .map(|(option, path)| format!("--{option}={}", path.display()));
        let settings = from(&[&of_tokens, &of_metrics, &of_key]).unwrap();
        let expected =
            [("METRICS_TOKEN_FILE".to_owned(), metrics, 0o640), ("STORE_API_KEY_FILE".to_owned(), key, 0o604)];
        assert_eq!(settings.exposed_secrets(), expected);
    }

    #[test]
    fn invalid_values_are_rejected_by_name() {
        let short = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(short.path(), "short-secret").unwrap();
        let short = short.path().to_str().unwrap();
        for (name, value) in [
            ("listen", "8000"),
            ("store", "mysql:x"),
            ("store", "http://user:secret@127.0.0.1:9200"),
            ("public-url", "javascript:alert(1)"),
            ("allowed-hosts", "http://backend:8000"),
            ("trusted-proxies", "10.0.0.0/8,proxy"),
            ("metrics-token-file", short),
            ("metrics-token", "short-secret"),
            ("metrics-token-file", "/nowhere/token"),
            ("kibana-url", "127.0.0.1:5601"),
            ("kibana-url", "http://user:secret@127.0.0.1:5601"),
            ("faults", "maybe"),
            ("open-listen", "maybe"),
            ("workers", "0"),
            ("shutdown-timeout-s", "-1"),
            ("stall-timeout-s", "0"),
            ("request-timeout-s", "3601"),
            ("connections", "7"),
            ("store-timeout-ms", "0"),
            ("store-user", "only-a-user"),
            ("store-api-key-file", "/nowhere/key"),
            ("store-ca-certificate", "/nowhere/ca.pem"),
            ("store-client-certificate", "Cargo.toml"),
            ("store-client-key", "Cargo.toml"),
            ("store-proxy", "http://user:secret@proxy:3128"),
            ("store-proxy", "socks5://proxy:1080"),
            ("store-proxy-user", "only-a-user"),
        ] {
            let error = from(&[&format!("--{name}={value}")]).unwrap_err();
            let variable = name.replace('-', "_").to_uppercase();
            let is_named = error.contains(&format!("'--{name}")) || error.starts_with(&format!("{variable}: "));
            assert!(is_named && !error.contains("secret"), "{error}");
        }
    }
}
