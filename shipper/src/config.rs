//! What a person may set, put together once and checked once: [`Options`] from the command line and the environment,
//! then the configuration file, then the defaults, become [`Settings`], whose every value is known to be usable.
//!
//! Secrets come from files only, and no text that this module makes holds one.

mod amounts;
mod check;
mod fields;
mod files;
mod options;

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use store::{EngineSettings, FileMode, RetentionPolicy, Target};

use crate::encoding::LineEncoding;
use crate::files::FileSettings;
use crate::pipeline::PipelineSettings;
use crate::spool::{self, SpoolSettings};

pub use options::{Bootstrap, Compression, Format, OnFull, Options, ReadFrom};

/// All variables of the shipper begin with this.
pub const VARIABLE_PREFIX: &str = "SHIPPER_";

/// A larger configuration file is refused.
pub const FILE_MAX_BYTES: u64 = 1024 * 1024;

/// Of a command that has no file name, and of what comes by standard input or in files.
const UNKNOWN_SERVICE: &str = "unknown";

/// A setting that can't be used: where it stands, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The configuration file can't be read.
    #[error("can't read the configuration file {}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// The configuration file is not one: its form, a key that is none, or a value of the wrong kind.
    #[error("{}:{line}: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where in it, from 1 on.
        line: usize,
        /// What is wrong there.
        message: String,
    },
    /// A variable that looks as if it were meant for the shipper.
    #[error("there is no variable {name}: {advice}")]
    Variable {
        /// Its name.
        name: String,
        /// What to do.
        advice: String,
    },
    /// A value that can't be used.
    #[error("{key}: {message}")]
    Value {
        /// The key, as the configuration file names it.
        key: &'static str,
        /// What is wrong with it, and what it must be.
        message: String,
    },
}

impl Options {
    /// Reads a configuration file.
    ///
    /// # Errors
    /// [`ConfigError::File`], [`ConfigError::Syntax`].
    pub fn from_file(path: &Path) -> Result<Self, ConfigError> {
        let refuse = |reason: String| ConfigError::File { path: path.to_owned(), reason };
        let length = std::fs::metadata(path).map_err(|error| refuse(error.to_string()))?.len();
        if length > FILE_MAX_BYTES {
            return Err(refuse(format!("it has {length} bytes, and at most {FILE_MAX_BYTES} are read")));
        }
        let text = std::fs::read_to_string(path).map_err(|error| refuse(error.to_string()))?;
        Self::from_toml(&text, path)
    }

    /// Reads the text of a configuration file; `path` is for messages.
    ///
    /// # Errors
    /// [`ConfigError::Syntax`].
    pub fn from_toml(text: &str, path: &Path) -> Result<Self, ConfigError> {
        toml::from_str(text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            let message = error.message().replace('\n', "; ");
            ConfigError::Syntax { path: path.to_owned(), line, message }
        })
    }
}

/// Refuses a variable that begins with [`VARIABLE_PREFIX`] and is not among `known`: misspelt settings must not be
/// passed over in silence. Those that Kubernetes sets for a service called shipper are none.
///
/// # Errors
/// [`ConfigError::Variable`] for the first one, by name.
pub fn refuse_unknown_variables(
    known: &[String],
    variables: impl IntoIterator<Item = String>,
) -> Result<(), ConfigError> {
    let of_kubernetes = |name: &str| {
        let rest = name.strip_prefix(VARIABLE_PREFIX).unwrap_or_default();
        ["SERVICE_HOST", "PORT"].contains(&rest) || rest.starts_with("SERVICE_PORT") || rest.starts_with("PORT_")
    };
    let unknown = |name: &String| name.starts_with(VARIABLE_PREFIX) && !known.contains(name) && !of_kubernetes(name);
    let Some(name) = variables.into_iter().filter(unknown).min() else { return Ok(()) };
    let likeness = |candidate: &&String| {
        let same = candidate.bytes().zip(name.bytes()).take_while(|(left, right)| left == right).count();
        same + candidate.bytes().rev().zip(name.bytes().rev()).take_while(|(left, right)| left == right).count()
    };
    let likely = known.iter().filter(|candidate| likeness(candidate) >= name.len() - 1).max_by_key(likeness);
    let advice = match likely {
        Some(likely) => format!("is {likely} meant? Unset it or correct its name"),
        None => "unset it; `shipper run --help` lists all there are".to_owned(),
    };
    Err(ConfigError::Variable { name, advice })
}

/// All settings, checked.
#[derive(Clone, Debug)]
pub struct Settings {
    effective: Options,
    to: Target,
    bootstrap: Bootstrap,
    engine: EngineSettings,
    state_dir: PathBuf,
    file_mode: FileMode,
    service: String,
    name: String,
    host: String,
    log_filter: String,
    files: FileSettings,
    allow_empty: bool,
    spool: SpoolSettings,
    keep: RetentionPolicy,
    dead_letters_max_bytes: u64,
    spool_sync_interval: Duration,
    pipeline: PipelineSettings,
    shutdown_timeout: Duration,
    wait_for_eof: bool,
    admin_listen: Option<SocketAddr>,
}

impl Settings {
    /// Checks `options`, which go before the defaults. `command` is the one to be run, whose file name is the service
    /// where none is named.
    ///
    /// # Errors
    /// [`ConfigError::Value`] for the first key whose value can't be used.
    pub fn new(options: Options, command: Option<&Path>) -> Result<Self, ConfigError> {
        let service = command.and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
        let options = options.or(Options {
            service: Some(service.unwrap_or_else(|| UNKNOWN_SERVICE.to_owned())),
            host: Some(rustix::system::uname().nodename().to_string_lossy().into_owned()),
            ..Options::defaults()
        });
        check::settings(options)
    }

    /// The store.
    #[must_use]
    pub fn to(&self) -> &Target {
        &self.to
    }

    /// What to do at the start about what the store needs.
    #[must_use]
    pub fn bootstrap(&self) -> Bootstrap {
        self.bootstrap
    }

    /// How an engine is spoken to.
    #[must_use]
    pub fn engine(&self) -> EngineSettings {
        self.engine.clone()
    }

    /// How much the embedded store keeps.
    #[must_use]
    pub fn keep(&self) -> RetentionPolicy {
        self.keep
    }

    /// The directory of spool, checkpoints and dead letters.
    #[must_use]
    pub fn state_dir(&self) -> &Path {
        &self.state_dir
    }

    /// The permissions of the files that are made for lines.
    #[must_use]
    pub fn file_mode(&self) -> FileMode {
        self.file_mode
    }

    /// What others than its owner may read or write though it holds secrets or lines: the key that names it, the path and its
    /// permission bits. Of the state directory and the embedded store, only beyond what `file_mode` gives.
    #[must_use]
    pub fn exposed(&self) -> Vec<(&'static str, PathBuf, u32)> {
        let store = match &self.to {
            Target::Sqlite(path) if path.is_file() => Some(path),
            Target::Sqlite(_) | Target::Engine(_) => None,
        };
        let paths = [
            ("password_file", self.effective.password_file.as_ref(), 0),
            ("api_key_file", self.effective.api_key_file.as_ref(), 0),
            ("state_dir", Some(&self.state_dir), self.file_mode.folder()),
            ("to", store, self.file_mode.file()),
        ];
        let exposed = |(key, path, allowed): (&'static str, Option<&PathBuf>, u32)| {
            let bits = store::file_mode::shared_with_others(path?)?;
            (bits & 0o077 & !allowed != 0).then(|| (key, path.cloned().unwrap_or_default(), bits))
        };
        paths.into_iter().filter_map(exposed).collect()
    }

    /// The service that wrapped lines are from.
    #[must_use]
    pub fn service(&self) -> &str {
        &self.service
    }

    /// The shipper's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The host's name.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Which of the shipper's own log lines are written.
    #[must_use]
    pub fn log_filter(&self) -> &str {
        &self.log_filter
    }

    /// The encoding of files and streams that begin with no byte order mark.
    #[must_use]
    pub fn encoding(&self) -> LineEncoding {
        self.pipeline.encoding
    }

    /// Which files to follow; no patterns where there are none to follow.
    #[must_use]
    pub fn files(&self) -> FileSettings {
        self.files.clone()
    }

    /// Holds no more files open at once than `max_open_files`: what the system allows may be less than what is set.
    pub fn limit_open_files(&mut self, max_open_files: usize) {
        self.files.max_open_files = self.files.max_open_files.min(max_open_files);
    }

    /// Whether a run with `until_idle` that has nothing to read is a success.
    #[must_use]
    pub fn allow_empty(&self) -> bool {
        self.allow_empty
    }

    /// The spool's bounds.
    #[must_use]
    pub fn spool(&self) -> SpoolSettings {
        self.spool
    }

    /// Bytes that dead letters may have.
    #[must_use]
    pub fn dead_letters_max_bytes(&self) -> u64 {
        self.dead_letters_max_bytes
    }

    /// How often the spool is made durable.
    #[must_use]
    pub fn spool_sync_interval(&self) -> Duration {
        self.spool_sync_interval
    }

    /// What shapes the pipeline.
    #[must_use]
    pub fn pipeline(&self) -> PipelineSettings {
        self.pipeline.clone()
    }

    /// How long to ship what is left when there is no more input.
    #[must_use]
    pub fn shutdown_timeout(&self) -> Duration {
        self.shutdown_timeout
    }

    /// Whether `exec` ships until no process holds its command's standard output open.
    #[must_use]
    pub fn wait_for_eof(&self) -> bool {
        self.wait_for_eof
    }

    /// Where to serve metrics and health.
    #[must_use]
    pub fn admin_listen(&self) -> Option<SocketAddr> {
        self.admin_listen
    }
}

/// The effective configuration as a configuration file, without secrets: of those it has the files' names.
impl fmt::Display for Settings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&toml::to_string(&self.effective).map_err(|_| fmt::Error)?)
    }
}

impl From<Compression> for store::Compression {
    fn from(compression: Compression) -> Self {
        match compression {
            Compression::None => Self::None,
            Compression::Gzip => Self::Gzip,
        }
    }
}

impl From<OnFull> for spool::OnFull {
    fn from(on_full: OnFull) -> Self {
        match on_full {
            OnFull::DropOldest => Self::DropOldest,
            OnFull::Wait => Self::Wait,
        }
    }
}
