//! The settings. [`Options`] from the command line and the environment, then the configuration file, then the defaults
//! are merged and checked once, and become [`Settings`], whose every value is valid.
//!
//! Secrets are read from files only. No message and no output contains one.

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

pub use options::{Bootstrap, Compression, OnFull, Options, ReadFrom};

/// Prefix of all variables of the shipper.
pub const VARIABLE_PREFIX: &str = "SHIPPER_";

/// Maximum size of a configuration file.
pub const FILE_MAX_BYTES: u64 = 1024 * 1024;

/// Service of standard input, of files, and of a command without a file name.
const UNKNOWN_SERVICE: &str = "unknown";

/// An invalid setting: which one, and what to do.
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
    /// The configuration file has a syntax error, an unknown key or a value of the wrong type.
    #[error("{}:{line}: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, starting at 1.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// An unknown variable with the shipper's prefix.
    #[error(transparent)]
    Variable(#[from] variables::UnknownVariable),
    /// An invalid value.
    #[error("{key}: {message}")]
    Value {
        /// The key, as in the configuration file.
        key: &'static str,
        /// What is wrong, and what is valid.
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
            return Err(refuse(format!("it has {length} bytes, and the maximum is {FILE_MAX_BYTES}")));
        }
        let text = std::fs::read_to_string(path).map_err(|error| refuse(error.to_string()))?;
        Self::from_toml(&text, path)
    }

    /// Parses the text of a configuration file; `path` is for messages.
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
    /// Merges `options` with the defaults and checks them. The file name of `command` is the default service.
    ///
    /// # Errors
    /// [`ConfigError::Value`] for the first invalid value.
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

    /// What to do about the ingest pipeline and the index template at startup.
    #[must_use]
    pub fn bootstrap(&self) -> Bootstrap {
        self.bootstrap
    }

    /// How to connect to an engine.
    #[must_use]
    pub fn engine(&self) -> EngineSettings {
        self.engine.clone()
    }

    /// The retention of the embedded store.
    #[must_use]
    pub fn keep(&self) -> RetentionPolicy {
        self.keep
    }

    /// The directory of spool, checkpoints and dead letters.
    #[must_use]
    pub fn state_dir(&self) -> &Path {
        &self.state_dir
    }

    /// The permissions of new files that hold lines.
    #[must_use]
    pub fn file_mode(&self) -> FileMode {
        self.file_mode
    }

    /// Files with secrets or lines that other users can access: the key that names each, its path and its permission
    /// bits. The state directory and the embedded store are listed only if they exceed `file_mode`.
    #[must_use]
    pub fn exposed(&self) -> Vec<(&'static str, PathBuf, u32)> {
        let store = match &self.to {
            Target::Sqlite(path) if path.is_file() => Some(path),
            Target::Sqlite(_) | Target::Engine(_) => None,
        };
        let connection = check::connection(&self.effective);
        let secrets = connection.secret_files().map(|(key, path)| (key, Some(path), 0));
        let others = [
            ("state_dir", Some(self.state_dir.as_path()), self.file_mode.folder()),
            ("to", store.map(PathBuf::as_path), self.file_mode.file()),
        ];
        let paths = secrets.chain(others);
        let exposed = |(key, path, allowed): (&'static str, Option<&Path>, u32)| {
            let path = path?;
            let bits = store::file_mode::shared_with_others(path)?;
            (bits & 0o077 & !allowed != 0).then(|| (key, path.to_owned(), bits))
        };
        paths.filter_map(exposed).collect()
    }

    /// The service of lines that do not name one.
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

    /// The filter of the shipper's own log.
    #[must_use]
    pub fn log_filter(&self) -> &str {
        &self.log_filter
    }

    /// The encoding of files and streams without a byte order mark.
    #[must_use]
    pub fn encoding(&self) -> LineEncoding {
        self.pipeline.encoding
    }

    /// The files to follow; without patterns, none.
    #[must_use]
    pub fn files(&self) -> FileSettings {
        self.files.clone()
    }

    /// Lowers `max_open_files` to what the system allows.
    pub fn limit_open_files(&mut self, max_open_files: usize) {
        self.files.max_open_files = self.files.max_open_files.min(max_open_files);
    }

    /// Whether a run with `until_idle` succeeds if no file matches.
    #[must_use]
    pub fn allow_empty(&self) -> bool {
        self.allow_empty
    }

    /// The limits of the spool.
    #[must_use]
    pub fn spool(&self) -> SpoolSettings {
        self.spool
    }

    /// Maximum size of the dead letters in bytes.
    #[must_use]
    pub fn dead_letters_max_bytes(&self) -> u64 {
        self.dead_letters_max_bytes
    }

    /// Interval between fsyncs of the spool.
    #[must_use]
    pub fn spool_sync_interval(&self) -> Duration {
        self.spool_sync_interval
    }

    /// The settings of the pipeline.
    #[must_use]
    pub fn pipeline(&self) -> PipelineSettings {
        self.pipeline.clone()
    }

    /// Maximum time to ship pending lines after the end of the input.
    #[must_use]
    pub fn shutdown_timeout(&self) -> Duration {
        self.shutdown_timeout
    }

    /// Whether `exec` ships until no process holds its command's standard output open.
    #[must_use]
    pub fn wait_for_eof(&self) -> bool {
        self.wait_for_eof
    }

    /// Address to serve metrics and health on.
    #[must_use]
    pub fn admin_listen(&self) -> Option<SocketAddr> {
        self.admin_listen
    }
}

/// The effective configuration as a configuration file. Secrets are not included, only the names of their files.
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
