//! Every option: its key in the file, its flag, its variable and its help. [`Settings`](super::Settings) checks them.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

use crate::sources::FormatName;

/// What to do about the ingest pipeline and the index template at startup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bootstrap {
    /// Install them, but never overwrite newer or foreign ones.
    Apply,
    /// Refuse to start if they are missing or outdated.
    Check,
    /// Skip the check.
    Off,
}

/// Where to start reading files that exist at the first start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReadFrom {
    /// At the beginning.
    Beginning,
    /// At the end: only new data is read.
    End,
}

/// Compression of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// Uncompressed.
    None,
    /// gzip, for networks that are slower than the processor.
    Gzip,
}

/// What to do when the spool is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum OnFull {
    /// Drop the oldest lines and count them; the service never blocks.
    DropOldest,
    /// Accept no more input, so that the service blocks and no line is lost.
    Wait,
}

/// One layer of options, from the file or from flags and variables. The layer below supplies what is `None`.
#[derive(Clone, Debug, Default, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// Store to ship to: sqlite:PATH or http(s)://HOST:PORT[,…]
    #[arg(long, env = "SHIPPER_TO", hide_env_values = true, value_name = "STORE")]
    pub to: Option<String>,
    /// Directory for the spool, checkpoints and dead letters; used by one shipper at a time
    #[arg(long, env = "SHIPPER_STATE_DIR", hide_env_values = true, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Permissions of new files of the state directory and the embedded store, regardless of the umask: 0600, or 0640
    /// or 0660 for a shared group; new folders can be entered by everyone who can read the files
    #[arg(long, env = "SHIPPER_FILE_MODE", hide_env_values = true, value_name = "MODE")]
    pub file_mode: Option<String>,
    /// Service of lines that do not name one [default: the command's name, or unknown]
    #[arg(long, env = "SHIPPER_SERVICE", hide_env_values = true, value_name = "NAME")]
    pub service: Option<String>,
    /// Encoding of files and streams without a byte order mark, such as windows-1252, shift_jis or utf-16le: a label of
    /// the WHATWG Encoding Standard
    #[arg(long, env = "SHIPPER_ENCODING", hide_env_values = true, value_name = "LABEL")]
    pub encoding: Option<String>,
    /// Files to follow, as shell patterns; comma-separated in the variable
    #[arg(
        long = "file", env = "SHIPPER_FILES", hide_env_values = true,
        value_name = "GLOB", num_args = 1.., help_heading = "Files"
    )]
    pub files: Option<Vec<String>>,
    /// Files to exclude, as shell patterns; one without a slash matches the file name in any folder; comma-separated in
    /// the variable
    #[arg(
        long, env = "SHIPPER_EXCLUDE", hide_env_values = true,
        value_name = "GLOB", num_args = 1.., help_heading = "Files"
    )]
    pub exclude: Option<Vec<String>>,
    /// Format of the files: plain lines, or the entries of Docker's json-file driver
    #[arg(long, env = "SHIPPER_FORMAT", hide_env_values = true, value_name = "FORMAT", help_heading = "Files")]
    pub format: Option<FormatName>,
    /// Read only files of containers with this label; repeatable, all must match; comma-separated in the variable
    #[arg(
        long = "docker-label",
        env = "SHIPPER_DOCKER_LABELS",
        hide_env_values = true,
        value_name = "KEY=VALUE",
        help_heading = "Files"
    )]
    pub docker_labels: Option<Vec<String>>,
    /// Exit when everything that exists at the start has been processed (run only)
    #[arg(
        long, env = "SHIPPER_UNTIL_IDLE", hide_env_values = true, value_name = "BOOL",
        num_args = 0..=1, require_equals = true, default_missing_value = "true", help_heading = "Files"
    )]
    pub until_idle: Option<bool>,
    /// With --until-idle, succeed even if no file matches
    #[arg(
        long, env = "SHIPPER_ALLOW_EMPTY", hide_env_values = true, value_name = "BOOL",
        num_args = 0..=1, require_equals = true, default_missing_value = "true", help_heading = "Files"
    )]
    pub allow_empty: Option<bool>,
    /// Where to start reading files that exist at the first start; later files are read from the beginning
    #[arg(long, env = "SHIPPER_READ_FROM", hide_env_values = true, value_name = "WHERE", help_heading = "Files")]
    pub read_from: Option<ReadFrom>,
    /// Skip the contents of files not modified for this long when first seen, such as 24h; new data is read [default:
    /// off]
    #[arg(long, env = "SHIPPER_IGNORE_OLDER", hide_env_values = true, value_name = "AGE", help_heading = "Files")]
    pub ignore_older: Option<String>,
    /// Read gzip and zstd files too, each once and completely; they are ignored otherwise
    #[arg(
        long, env = "SHIPPER_READ_COMPRESSED", hide_env_values = true, value_name = "BOOL",
        num_args = 0..=1, require_equals = true, default_missing_value = "true", help_heading = "Files"
    )]
    pub read_compressed: Option<bool>,
    /// Maximum number of files held open at once; more files can be followed
    #[arg(long, env = "SHIPPER_MAX_OPEN_FILES", hide_env_values = true, value_name = "N", help_heading = "Files")]
    pub max_open_files: Option<u64>,
    /// After the command has ended, ship until no process holds its standard output open (exec only)
    #[arg(
        long, env = "SHIPPER_WAIT_FOR_EOF", hide_env_values = true, value_name = "BOOL",
        num_args = 0..=1, require_equals = true, default_missing_value = "true"
    )]
    pub wait_for_eof: Option<bool>,
    /// Interval between searches for new files, in milliseconds
    #[arg(long, env = "SHIPPER_SCAN_INTERVAL_MS", hide_env_values = true, value_name = "N", help_heading = "Files")]
    pub scan_interval_ms: Option<u64>,

    /// What to do about the ingest pipeline and the index template at startup
    #[arg(long, env = "SHIPPER_BOOTSTRAP", hide_env_values = true, value_name = "MODE", help_heading = "Store")]
    pub bootstrap: Option<Bootstrap>,
    /// Ingest pipeline, or none for engines without ingest processors
    #[arg(long, env = "SHIPPER_PIPELINE", hide_env_values = true, value_name = "NAME", help_heading = "Store")]
    pub pipeline: Option<String>,
    /// Prefix of index names, PREFIX-YYYY.MM.DD
    #[arg(long, env = "SHIPPER_INDEX_PREFIX", hide_env_values = true, value_name = "PREFIX", help_heading = "Store")]
    pub index_prefix: Option<String>,
    /// Maximum age of lines in the embedded store, such as 7d [default: unlimited]
    #[arg(long, env = "SHIPPER_KEEP", hide_env_values = true, value_name = "AGE", help_heading = "Store")]
    pub keep: Option<String>,
    /// Maximum size of the embedded store, such as 5GiB; the oldest lines are deleted [default: unlimited]
    #[arg(long, env = "SHIPPER_KEEP_SIZE", hide_env_values = true, value_name = "SIZE", help_heading = "Store")]
    pub keep_size: Option<String>,
    /// Request timeout in milliseconds
    #[arg(long, env = "SHIPPER_REQUEST_TIMEOUT_MS", hide_env_values = true, value_name = "N", help_heading = "Store")]
    pub request_timeout_ms: Option<u64>,
    /// User name; requires --password-file
    #[arg(long, env = "SHIPPER_USER", hide_env_values = true, value_name = "NAME", help_heading = "Store")]
    pub user: Option<String>,
    /// File that contains only the password
    #[arg(long, env = "SHIPPER_PASSWORD_FILE", hide_env_values = true, value_name = "FILE", help_heading = "Store")]
    pub password_file: Option<PathBuf>,
    /// File that contains only an encoded API key
    #[arg(long, env = "SHIPPER_API_KEY_FILE", hide_env_values = true, value_name = "FILE", help_heading = "Store")]
    pub api_key_file: Option<PathBuf>,
    /// Additional PEM certificates to trust: of an authority, or a self-signed one of the server
    #[arg(long, env = "SHIPPER_CA_CERTIFICATE", hide_env_values = true, value_name = "FILE", help_heading = "Store")]
    pub ca_certificate: Option<PathBuf>,
    /// PEM client certificate (mTLS); requires --client-key
    #[arg(
        long,
        env = "SHIPPER_CLIENT_CERTIFICATE",
        hide_env_values = true,
        value_name = "FILE",
        help_heading = "Store"
    )]
    pub client_certificate: Option<PathBuf>,
    /// Unencrypted PEM private key of the client certificate
    #[arg(long, env = "SHIPPER_CLIENT_KEY", hide_env_values = true, value_name = "FILE", help_heading = "Store")]
    pub client_key: Option<PathBuf>,
    /// Proxy to the engine, http(s)://HOST:PORT, or none [default: HTTPS_PROXY, HTTP_PROXY or ALL_PROXY, except for
    /// NO_PROXY]
    #[arg(long, env = "SHIPPER_PROXY", hide_env_values = true, value_name = "URL", help_heading = "Store")]
    pub proxy: Option<String>,
    /// User name for the proxy; requires --proxy and --proxy-password-file
    #[arg(long, env = "SHIPPER_PROXY_USER", hide_env_values = true, value_name = "NAME", help_heading = "Store")]
    pub proxy_user: Option<String>,
    /// File that contains only the password for the proxy
    #[arg(
        long,
        env = "SHIPPER_PROXY_PASSWORD_FILE",
        hide_env_values = true,
        value_name = "FILE",
        help_heading = "Store"
    )]
    pub proxy_password_file: Option<PathBuf>,
    /// Compression of requests
    #[arg(long, env = "SHIPPER_COMPRESSION", hide_env_values = true, value_name = "HOW", help_heading = "Store")]
    pub compression: Option<Compression>,

    /// Truncate lines longer than this many bytes
    #[arg(long, env = "SHIPPER_LINE_MAX_BYTES", hide_env_values = true, value_name = "N", help_heading = "Batches")]
    pub line_max_bytes: Option<u64>,
    /// Flush a batch after this many lines
    #[arg(long, env = "SHIPPER_BATCH_MAX_LINES", hide_env_values = true, value_name = "N", help_heading = "Batches")]
    pub batch_max_lines: Option<u64>,
    /// Flush a batch after this many bytes
    #[arg(long, env = "SHIPPER_BATCH_MAX_BYTES", hide_env_values = true, value_name = "N", help_heading = "Batches")]
    pub batch_max_bytes: Option<u64>,
    /// Flush a batch this many milliseconds after its first line
    #[arg(long, env = "SHIPPER_BATCH_MAX_AGE_MS", hide_env_values = true, value_name = "N", help_heading = "Batches")]
    pub batch_max_age_ms: Option<u64>,
    /// Maximum number of concurrent requests per host
    #[arg(
        long,
        env = "SHIPPER_REQUESTS_IN_FLIGHT",
        hide_env_values = true,
        value_name = "N",
        help_heading = "Batches"
    )]
    pub requests_in_flight: Option<u64>,
    /// Maximum total size of all batches in bytes; reading pauses above it
    #[arg(
        long,
        env = "SHIPPER_IN_FLIGHT_MAX_BYTES",
        hide_env_values = true,
        value_name = "N",
        help_heading = "Batches"
    )]
    pub in_flight_max_bytes: Option<u64>,
    /// Initial retry backoff in milliseconds; the upper bound of a random delay
    #[arg(long, env = "SHIPPER_RETRY_MIN_MS", hide_env_values = true, value_name = "N", help_heading = "Batches")]
    pub retry_min_ms: Option<u64>,
    /// Maximum retry backoff in milliseconds
    #[arg(long, env = "SHIPPER_RETRY_MAX_MS", hide_env_values = true, value_name = "N", help_heading = "Batches")]
    pub retry_max_ms: Option<u64>,

    /// Maximum size of the spool in bytes; --on-full applies when it is reached
    #[arg(long, env = "SHIPPER_SPOOL_MAX_BYTES", hide_env_values = true, value_name = "N", help_heading = "Spool")]
    pub spool_max_bytes: Option<u64>,
    /// Maximum size of a spool segment in bytes, up to a quarter of the spool [default: 67108864, or that quarter if
    /// less]
    #[arg(long, env = "SHIPPER_SPOOL_SEGMENT_BYTES", hide_env_values = true, value_name = "N", help_heading = "Spool")]
    pub spool_segment_bytes: Option<u64>,
    /// Interval between fsyncs of the spool, in milliseconds
    #[arg(
        long,
        env = "SHIPPER_SPOOL_SYNC_INTERVAL_MS",
        hide_env_values = true,
        value_name = "N",
        help_heading = "Spool"
    )]
    pub spool_sync_interval_ms: Option<u64>,
    /// What to do when the spool is full
    #[arg(long, env = "SHIPPER_ON_FULL", hide_env_values = true, value_name = "WHAT", help_heading = "Spool")]
    pub on_full: Option<OnFull>,
    /// Maximum size of the dead letters in bytes; delivery pauses when it is reached
    #[arg(
        long,
        env = "SHIPPER_DEAD_LETTERS_MAX_BYTES",
        hide_env_values = true,
        value_name = "N",
        help_heading = "Spool"
    )]
    pub dead_letters_max_bytes: Option<u64>,
    /// Interval between checkpoints, in milliseconds
    #[arg(
        long,
        env = "SHIPPER_CHECKPOINT_INTERVAL_MS",
        hide_env_values = true,
        value_name = "N",
        help_heading = "Spool"
    )]
    pub checkpoint_interval_ms: Option<u64>,

    /// Maximum time to ship pending lines at shutdown, in milliseconds
    #[arg(
        long,
        env = "SHIPPER_SHUTDOWN_TIMEOUT_MS",
        hide_env_values = true,
        value_name = "N",
        help_heading = "The shipper itself"
    )]
    pub shutdown_timeout_ms: Option<u64>,
    /// Address to serve /metrics, /healthz and /readyz on, such as 127.0.0.1:9600
    #[arg(
        long,
        env = "SHIPPER_ADMIN_LISTEN",
        hide_env_values = true,
        value_name = "IP:PORT",
        help_heading = "The shipper itself"
    )]
    pub admin_listen: Option<SocketAddr>,
    /// Name of this shipper, added to each line
    #[arg(
        long,
        env = "SHIPPER_NAME",
        hide_env_values = true,
        value_name = "NAME",
        help_heading = "The shipper itself"
    )]
    pub name: Option<String>,
    /// Name of this host, added to each line [default: the host name]
    #[arg(
        long,
        env = "SHIPPER_HOST",
        hide_env_values = true,
        value_name = "NAME",
        help_heading = "The shipper itself"
    )]
    pub host: Option<String>,
    /// Filter of the shipper's own log on standard error, such as warn,shipper=debug
    #[arg(
        long,
        env = "SHIPPER_LOG_FILTER",
        hide_env_values = true,
        value_name = "FILTER",
        help_heading = "The shipper itself"
    )]
    pub log_filter: Option<String>,

    /// Field to index for search, with its type: keyword, text, long, double, boolean or date; repeatable,
    /// comma-separated in the variable [default: the fields of the store]
    #[arg(
        long = "field",
        env = "SHIPPER_FIELDS",
        hide_env_values = true,
        value_name = "NAME=TYPE",
        help_heading = "Store"
    )]
    #[serde(default, with = "super::fields", skip_serializing_if = "Option::is_none")]
    pub fields: Option<Vec<String>>,
}

/// Takes each field from `upper`, or from `lower` if it is `None`.
macro_rules! layer {
    ($upper:expr, $lower:expr; $($field:ident),+ $(,)?) => {
        Options { $($field: $upper.$field.or($lower.$field)),+ }
    };
}

impl Options {
    /// These options, with missing values taken from `lower`.
    #[must_use]
    pub fn or(self, lower: Self) -> Self {
        layer!(self, lower;
            to, state_dir, file_mode, service, encoding, files, exclude, format, docker_labels, until_idle, allow_empty, read_from, ignore_older,
            read_compressed, max_open_files, wait_for_eof,
            scan_interval_ms, bootstrap, pipeline, index_prefix, keep, keep_size,
            request_timeout_ms, user, password_file, api_key_file, ca_certificate, client_certificate, client_key,
            proxy, proxy_user, proxy_password_file, compression, line_max_bytes, batch_max_lines,
            batch_max_bytes, batch_max_age_ms, requests_in_flight, in_flight_max_bytes, retry_min_ms, retry_max_ms,
            spool_max_bytes, spool_segment_bytes, spool_sync_interval_ms, on_full, dead_letters_max_bytes, checkpoint_interval_ms,
            shutdown_timeout_ms, admin_listen, name, host, log_filter, fields)
    }

    /// The defaults, except those that depend on the machine, the command or another value.
    #[must_use]
    pub fn defaults() -> Self {
        Self {
            state_dir: Some("shipper-state".into()),
            file_mode: Some("0600".to_owned()),
            encoding: Some("utf-8".to_owned()),
            format: Some(FormatName::Lines),
            until_idle: Some(false),
            allow_empty: Some(false),
            read_from: Some(ReadFrom::Beginning),
            read_compressed: Some(false),
            max_open_files: Some(1_000),
            wait_for_eof: Some(false),
            log_filter: Some("info,actix_server=warn".to_owned()),
            scan_interval_ms: Some(1_000),
            bootstrap: Some(Bootstrap::Apply),
            pipeline: Some("app-logs".to_owned()),
            index_prefix: Some("app-logs".to_owned()),
            request_timeout_ms: Some(30_000),
            compression: Some(Compression::None),
            line_max_bytes: Some(1_048_576),
            batch_max_lines: Some(10_000),
            batch_max_bytes: Some(2_097_152),
            batch_max_age_ms: Some(50),
            requests_in_flight: Some(2),
            in_flight_max_bytes: Some(8_388_608),
            retry_min_ms: Some(100),
            retry_max_ms: Some(30_000),
            spool_max_bytes: Some(1_073_741_824),
            spool_sync_interval_ms: Some(1_000),
            on_full: Some(OnFull::DropOldest),
            dead_letters_max_bytes: Some(1_073_741_824),
            checkpoint_interval_ms: Some(1_000),
            shutdown_timeout_ms: Some(10_000),
            name: Some("shipper".to_owned()),
            ..Self::default()
        }
    }
}
