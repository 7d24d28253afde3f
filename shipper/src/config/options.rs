//! Every option once: its key in the file, its flag, its variable and its help. What they mean is the parent's.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

/// What to do at the start about pipeline and template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bootstrap {
    /// Put them in place, never over a newer or a foreign one.
    Apply,
    /// Refuse to start where they are not in place.
    Check,
    /// Do not look.
    Off,
}

/// What files are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Lines.
    Lines,
    /// Entries of Docker's json-file log driver.
    Docker,
}

/// Where to begin with files that are there at the very first start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReadFrom {
    /// At their beginning.
    Beginning,
    /// At their end: only what is added is read.
    End,
}

/// What batches are on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// As they are.
    None,
    /// gzip, for networks that are slower than the processor.
    Gzip,
}

/// What to do when the spool is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum OnFull {
    /// Give up the oldest lines, counted; the service never waits.
    DropOldest,
    /// Take nothing more, so that the service waits and no line is lost.
    Wait,
}

/// One layer of options, from the file or from flags and variables. What is `None` is left to the layer below.
#[derive(Clone, Debug, Default, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// Where lines go: sqlite:PATH or http(s)://HOST:PORT[,…]
    #[arg(long, env = "SHIPPER_TO", hide_env_values = true, value_name = "STORE")]
    pub to: Option<String>,
    /// Directory for spool, checkpoints and dead letters; one shipper at a time
    #[arg(long, env = "SHIPPER_STATE_DIR", hide_env_values = true, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Permissions of the state directory's and the embedded store's files where they are made, whatever the umask: 0600, or
    /// for a shared group 0640 or 0660; folders may be entered by whoever may read
    #[arg(long, env = "SHIPPER_FILE_MODE", hide_env_values = true, value_name = "MODE")]
    pub file_mode: Option<String>,
    /// Names lines that do not name their service [default: the command's name, else unknown]
    #[arg(long, env = "SHIPPER_SERVICE", hide_env_values = true, value_name = "NAME")]
    pub service: Option<String>,
    /// Encoding of files and streams without a byte order mark, such as windows-1252, shift_jis or utf-16le: a label of the
    /// WHATWG Encoding Standard
    #[arg(long, env = "SHIPPER_ENCODING", hide_env_values = true, value_name = "LABEL")]
    pub encoding: Option<String>,
    /// Files to follow, as shell patterns; by comma in the variable
    #[arg(
        long = "file", env = "SHIPPER_FILES", hide_env_values = true,
        value_name = "GLOB", num_args = 1.., help_heading = "Files"
    )]
    pub files: Option<Vec<String>>,
    /// Never read files that match these patterns; one without a slash matches the file name in any folder; by comma in the
    /// variable
    #[arg(
        long, env = "SHIPPER_EXCLUDE", hide_env_values = true,
        value_name = "GLOB", num_args = 1.., help_heading = "Files"
    )]
    pub exclude: Option<Vec<String>>,
    /// What the files are made of: docker is for json-file logs
    #[arg(long, env = "SHIPPER_FORMAT", hide_env_values = true, value_name = "FORMAT", help_heading = "Files")]
    pub format: Option<Format>,
    /// Only of containers with this label; may be repeated, all must hold; by comma in the variable
    #[arg(
        long = "docker-label",
        env = "SHIPPER_DOCKER_LABELS",
        hide_env_values = true,
        value_name = "KEY=VALUE",
        help_heading = "Files"
    )]
    pub docker_labels: Option<Vec<String>>,
    /// End when all that was there is disposed of (run only)
    #[arg(
        long, env = "SHIPPER_UNTIL_IDLE", hide_env_values = true, value_name = "BOOL",
        num_args = 0..=1, require_equals = true, default_missing_value = "true", help_heading = "Files"
    )]
    pub until_idle: Option<bool>,
    /// With --until-idle, succeed also where there is nothing to read
    #[arg(
        long, env = "SHIPPER_ALLOW_EMPTY", hide_env_values = true, value_name = "BOOL",
        num_args = 0..=1, require_equals = true, default_missing_value = "true", help_heading = "Files"
    )]
    pub allow_empty: Option<bool>,
    /// Where to begin with files that are there at the very first start; later ones are read from the beginning
    #[arg(long, env = "SHIPPER_READ_FROM", hide_env_values = true, value_name = "WHERE", help_heading = "Files")]
    pub read_from: Option<ReadFrom>,
    /// Skip what is in files not modified for this long when first seen, such as 24h; what is added is read [default: off]
    #[arg(long, env = "SHIPPER_IGNORE_OLDER", hide_env_values = true, value_name = "AGE", help_heading = "Files")]
    pub ignore_older: Option<String>,
    /// Read gzip and zstd files too, each once, whole; otherwise they are left alone
    #[arg(
        long, env = "SHIPPER_READ_COMPRESSED", hide_env_values = true, value_name = "BOOL",
        num_args = 0..=1, require_equals = true, default_missing_value = "true", help_heading = "Files"
    )]
    pub read_compressed: Option<bool>,
    /// Maximum number of files held open at once; not a bound on the files that are followed
    #[arg(long, env = "SHIPPER_MAX_OPEN_FILES", hide_env_values = true, value_name = "N", help_heading = "Files")]
    pub max_open_files: Option<u64>,
    /// When the command has ended, ship until no process holds its standard output open (exec only)
    #[arg(
        long, env = "SHIPPER_WAIT_FOR_EOF", hide_env_values = true, value_name = "BOOL",
        num_args = 0..=1, require_equals = true, default_missing_value = "true"
    )]
    pub wait_for_eof: Option<bool>,
    /// How often patterns are looked up anew
    #[arg(long, env = "SHIPPER_SCAN_INTERVAL_MS", hide_env_values = true, value_name = "N", help_heading = "Files")]
    pub scan_interval_ms: Option<u64>,

    /// What to do at the start about pipeline and template
    #[arg(long, env = "SHIPPER_BOOTSTRAP", hide_env_values = true, value_name = "MODE", help_heading = "Store")]
    pub bootstrap: Option<Bootstrap>,
    /// Ingest pipeline, or none for engines without processors
    #[arg(long, env = "SHIPPER_PIPELINE", hide_env_values = true, value_name = "NAME", help_heading = "Store")]
    pub pipeline: Option<String>,
    /// Indices are PREFIX-YYYY.MM.DD
    #[arg(long, env = "SHIPPER_INDEX_PREFIX", hide_env_values = true, value_name = "PREFIX", help_heading = "Store")]
    pub index_prefix: Option<String>,
    /// The embedded store keeps lines for so long, such as 7d [default: for ever]
    #[arg(long, env = "SHIPPER_KEEP", hide_env_values = true, value_name = "AGE", help_heading = "Store")]
    pub keep: Option<String>,
    /// The embedded store keeps the newest lines, so that its file holds no more than this, such as 5GiB
    #[arg(long, env = "SHIPPER_KEEP_SIZE", hide_env_values = true, value_name = "SIZE", help_heading = "Store")]
    pub keep_size: Option<String>,
    /// A request without answer after this long has failed
    #[arg(long, env = "SHIPPER_REQUEST_TIMEOUT_MS", hide_env_values = true, value_name = "N", help_heading = "Store")]
    pub request_timeout_ms: Option<u64>,
    /// User, with --password-file
    #[arg(long, env = "SHIPPER_USER", hide_env_values = true, value_name = "NAME", help_heading = "Store")]
    pub user: Option<String>,
    /// File that holds the password and nothing else
    #[arg(long, env = "SHIPPER_PASSWORD_FILE", hide_env_values = true, value_name = "FILE", help_heading = "Store")]
    pub password_file: Option<PathBuf>,
    /// File that holds an encoded API key and nothing else
    #[arg(long, env = "SHIPPER_API_KEY_FILE", hide_env_values = true, value_name = "FILE", help_heading = "Store")]
    pub api_key_file: Option<PathBuf>,
    /// PEM certificates to trust besides the usual ones; a server's own, if it is self-signed
    #[arg(long, env = "SHIPPER_CA_CERTIFICATE", hide_env_values = true, value_name = "FILE", help_heading = "Store")]
    pub ca_certificate: Option<PathBuf>,
    /// PEM certificate that the shipper proves itself with (mTLS), with --client-key
    #[arg(
        long,
        env = "SHIPPER_CLIENT_CERTIFICATE",
        hide_env_values = true,
        value_name = "FILE",
        help_heading = "Store"
    )]
    pub client_certificate: Option<PathBuf>,
    /// PEM private key of the client certificate, not encrypted
    #[arg(long, env = "SHIPPER_CLIENT_KEY", hide_env_values = true, value_name = "FILE", help_heading = "Store")]
    pub client_key: Option<PathBuf>,
    /// Proxy to the engine, http(s)://HOST:PORT, or none [default: HTTPS_PROXY, HTTP_PROXY or ALL_PROXY, but for NO_PROXY]
    #[arg(long, env = "SHIPPER_PROXY", hide_env_values = true, value_name = "URL", help_heading = "Store")]
    pub proxy: Option<String>,
    /// User at the proxy, with --proxy and --proxy-password-file
    #[arg(long, env = "SHIPPER_PROXY_USER", hide_env_values = true, value_name = "NAME", help_heading = "Store")]
    pub proxy_user: Option<String>,
    /// File that holds the password at the proxy and nothing else
    #[arg(
        long,
        env = "SHIPPER_PROXY_PASSWORD_FILE",
        hide_env_values = true,
        value_name = "FILE",
        help_heading = "Store"
    )]
    pub proxy_password_file: Option<PathBuf>,
    /// What batches are on the wire
    #[arg(long, env = "SHIPPER_COMPRESSION", hide_env_values = true, value_name = "HOW", help_heading = "Store")]
    pub compression: Option<Compression>,

    /// Of a longer line so many bytes are kept
    #[arg(long, env = "SHIPPER_LINE_MAX_BYTES", hide_env_values = true, value_name = "N", help_heading = "Batches")]
    pub line_max_bytes: Option<u64>,
    /// A batch is sent at so many lines
    #[arg(long, env = "SHIPPER_BATCH_MAX_LINES", hide_env_values = true, value_name = "N", help_heading = "Batches")]
    pub batch_max_lines: Option<u64>,
    /// A batch is sent at so many bytes
    #[arg(long, env = "SHIPPER_BATCH_MAX_BYTES", hide_env_values = true, value_name = "N", help_heading = "Batches")]
    pub batch_max_bytes: Option<u64>,
    /// A batch is sent this long after its first line
    #[arg(long, env = "SHIPPER_BATCH_MAX_AGE_MS", hide_env_values = true, value_name = "N", help_heading = "Batches")]
    pub batch_max_age_ms: Option<u64>,
    /// Requests on their way at once to each host, at most
    #[arg(
        long,
        env = "SHIPPER_REQUESTS_IN_FLIGHT",
        hide_env_values = true,
        value_name = "N",
        help_heading = "Batches"
    )]
    pub requests_in_flight: Option<u64>,
    /// Bytes of all batches together, above which nothing is read
    #[arg(
        long,
        env = "SHIPPER_IN_FLIGHT_MAX_BYTES",
        hide_env_values = true,
        value_name = "N",
        help_heading = "Batches"
    )]
    pub in_flight_max_bytes: Option<u64>,
    /// The first wait before a failed request goes again is at most this
    #[arg(long, env = "SHIPPER_RETRY_MIN_MS", hide_env_values = true, value_name = "N", help_heading = "Batches")]
    pub retry_min_ms: Option<u64>,
    /// No wait before a request goes again is longer
    #[arg(long, env = "SHIPPER_RETRY_MAX_MS", hide_env_values = true, value_name = "N", help_heading = "Batches")]
    pub retry_max_ms: Option<u64>,

    /// Bytes the spool may hold; then --on-full decides
    #[arg(long, env = "SHIPPER_SPOOL_MAX_BYTES", hide_env_values = true, value_name = "N", help_heading = "Spool")]
    pub spool_max_bytes: Option<u64>,
    /// Bytes of one spool file, at most a quarter of the spool [default: 67108864, or that quarter]
    #[arg(long, env = "SHIPPER_SPOOL_SEGMENT_BYTES", hide_env_values = true, value_name = "N", help_heading = "Spool")]
    pub spool_segment_bytes: Option<u64>,
    /// What is taken survives a power loss after this long
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
    /// Bytes that dead letters may have; then nothing is sent until there is room
    #[arg(
        long,
        env = "SHIPPER_DEAD_LETTERS_MAX_BYTES",
        hide_env_values = true,
        value_name = "N",
        help_heading = "Spool"
    )]
    pub dead_letters_max_bytes: Option<u64>,
    /// How often it is written down how far everything is
    #[arg(
        long,
        env = "SHIPPER_CHECKPOINT_INTERVAL_MS",
        hide_env_values = true,
        value_name = "N",
        help_heading = "Spool"
    )]
    pub checkpoint_interval_ms: Option<u64>,

    /// At the end, what is left is shipped for at most this long
    #[arg(
        long,
        env = "SHIPPER_SHUTDOWN_TIMEOUT_MS",
        hide_env_values = true,
        value_name = "N",
        help_heading = "The shipper itself"
    )]
    pub shutdown_timeout_ms: Option<u64>,
    /// Serve /metrics, /healthz and /readyz at this address, such as 127.0.0.1:9600
    #[arg(
        long,
        env = "SHIPPER_ADMIN_LISTEN",
        hide_env_values = true,
        value_name = "IP:PORT",
        help_heading = "The shipper itself"
    )]
    pub admin_listen: Option<SocketAddr>,
    /// Names this shipper in what it adds to lines
    #[arg(
        long,
        env = "SHIPPER_NAME",
        hide_env_values = true,
        value_name = "NAME",
        help_heading = "The shipper itself"
    )]
    pub name: Option<String>,
    /// Names this machine in what it adds to lines [default: the host name]
    #[arg(
        long,
        env = "SHIPPER_HOST",
        hide_env_values = true,
        value_name = "NAME",
        help_heading = "The shipper itself"
    )]
    pub host: Option<String>,
    /// Which of its own log lines it writes to standard error, such as warn,shipper=debug
    #[arg(
        long,
        env = "SHIPPER_LOG_FILTER",
        hide_env_values = true,
        value_name = "FILTER",
        help_heading = "The shipper itself"
    )]
    pub log_filter: Option<String>,

    /// A field of lines to search by, with its type: keyword, text, long, double, boolean or date; may be repeated, by comma
    /// in the variable [default: those that the store has]
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

/// Takes each field from `upper`, or where it has none, from `lower`.
macro_rules! layer {
    ($upper:expr, $lower:expr; $($field:ident),+ $(,)?) => {
        Options { $($field: $upper.$field.or($lower.$field)),+ }
    };
}

impl Options {
    /// These options, and where they say nothing, those of `lower`.
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

    /// What holds where nothing else is said. What depends on the machine, the command or another value is not here.
    #[must_use]
    pub fn defaults() -> Self {
        Self {
            state_dir: Some("shipper-state".into()),
            file_mode: Some("0600".to_owned()),
            encoding: Some("utf-8".to_owned()),
            format: Some(Format::Lines),
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
