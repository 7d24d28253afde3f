//! Checks each value once, so that the fields of [`Settings`] need no further checks.

use std::path::PathBuf;
use std::time::Duration;

use store::{ConnectionOptions, EngineSettings, FileMode, RetentionPolicy, Target};

use super::{ConfigError, Options, Settings, amounts, fields, files};
use crate::delivery::DeliverySettings;
use crate::pipeline::PipelineSettings;
use crate::spool::SpoolSettings;

/// Maximum length of the names of indices and pipelines. Engines allow 255 bytes, including the day.
const STORE_NAME_MAX_BYTES: usize = 200;

/// Maximum length of names that are added to lines.
const LINE_NAME_MAX_CHARS: usize = 256;

/// Minimum number of segments in the spool, so that dropping the oldest keeps most of it.
const SPOOL_MIN_SEGMENTS: u64 = 4;

/// Default segment size, unless the spool is too small.
const SEGMENT_DEFAULT_BYTES: u64 = 64 * 1024 * 1024;

/// Maximum size of a dead letter, as a multiple of `line_max_bytes`.
const LETTER_MAX_GROWTH: u64 = 16;

/// A line on which the store itself fails becomes a dead letter after this many requests with that line alone,
const POISON_ATTEMPTS: u32 = 8;

/// and not earlier than this, which is longer than an engine needs to fail a damaged shard or a full disk.
const POISON_SPAN: Duration = Duration::from_secs(5 * 60);

/// Maximum number of hosts of a store. Each has its own label value in metrics.
const HOSTS_MAX: usize = 64;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;
pub(super) const HOUR_MS: u64 = 60 * 60 * 1000;

pub(super) type Checked<T> = Result<T, ConfigError>;

/// Checks `options`, in which every key with a default has a value.
pub(super) fn settings(mut options: Options) -> Checked<Settings> {
    let spool_max_bytes = number("spool_max_bytes", options.spool_max_bytes, 4 * KIB, 1024 * GIB)?;
    let largest_segment = spool_max_bytes / SPOOL_MIN_SEGMENTS;
    options.spool_segment_bytes = options.spool_segment_bytes.or(Some(SEGMENT_DEFAULT_BYTES.min(largest_segment)));
    let line_max_bytes = number("line_max_bytes", options.line_max_bytes, KIB, 64 * MIB)?;
    let to = required("to", options.to.as_deref())?;
    let to: Target = to.parse().map_err(|error: store::target::ParseTargetError| value("to", error.to_string()))?;
    if let Target::Engine(addresses) = &to
        && addresses.len() > HOSTS_MAX
    {
        return Err(value("to", format!("{} addresses exceed the maximum of {HOSTS_MAX}", addresses.len())));
    }
    Ok(Settings {
        bootstrap: required("bootstrap", options.bootstrap)?,
        engine: engine(&options)?,
        keep: keep(&options, &to)?,
        state_dir: state_dir(&options)?,
        file_mode: file_mode(&options)?,
        service: line_name("service", options.service.as_deref())?,
        name: line_name("name", options.name.as_deref())?,
        host: line_name("host", options.host.as_deref())?,
        log_filter: log_filter(&options)?,
        files: files::settings(&options)?,
        allow_empty: options.allow_empty.unwrap_or_default(),
        spool: spool(&options, spool_max_bytes, line_max_bytes)?,
        dead_letters_max_bytes: dead_letters(&options, line_max_bytes)?,
        spool_sync_interval: duration("spool_sync_interval_ms", options.spool_sync_interval_ms, 1, HOUR_MS)?,
        pipeline: pipeline(&options, line_max_bytes)?,
        shutdown_timeout: duration("shutdown_timeout_ms", options.shutdown_timeout_ms, 0, 24 * HOUR_MS)?,
        wait_for_eof: required("wait_for_eof", options.wait_for_eof)?,
        admin_listen: options.admin_listen,
        to,
        effective: options,
    })
}

/// The filter of the shipper's own log. One without a directive is replaced by the default.
fn log_filter(options: &Options) -> Checked<String> {
    let is_given = |text: &String| !text.split(',').all(|directive| directive.trim().is_empty());
    let given = options.log_filter.clone().filter(is_given).or_else(|| Options::defaults().log_filter);
    let text = required("log_filter", given)?;
    match observability::check_log_filter(&text) {
        Ok(()) => Ok(text),
        Err(why) => Err(value("log_filter", format!("{text:?}: {why}"))),
    }
}

fn spool(options: &Options, max_bytes: u64, line_max_bytes: u64) -> Checked<SpoolSettings> {
    let key = "spool_segment_bytes";
    let largest = max_bytes / SPOOL_MIN_SEGMENTS;
    let segment_bytes = number(key, options.spool_segment_bytes, KIB, 16 * GIB)?;
    if segment_bytes > largest {
        let advice = format!("{segment_bytes} exceeds a quarter of spool_max_bytes, {largest}");
        return Err(value(key, advice));
    }
    if line_max_bytes > segment_bytes {
        let advice = format!(
            "{line_max_bytes} exceeds spool_segment_bytes, {segment_bytes}: lower it, or raise spool_max_bytes"
        );
        return Err(value("line_max_bytes", advice));
    }
    let on_full = required("on_full", options.on_full)?.into();
    Ok(SpoolSettings { max_bytes, segment_bytes, on_full })
}

/// The limit must allow one dead letter: at worst, a line with every byte escaped, plus its metadata.
fn dead_letters(options: &Options, line_max_bytes: u64) -> Checked<u64> {
    let smallest = LETTER_MAX_GROWTH * line_max_bytes;
    number("dead_letters_max_bytes", options.dead_letters_max_bytes, smallest, 1024 * GIB)
}

fn pipeline(options: &Options, line_max_bytes: u64) -> Checked<PipelineSettings> {
    let batch_max_bytes = number("batch_max_bytes", options.batch_max_bytes, KIB, 64 * MIB)?;
    let in_flight_max_bytes = number("in_flight_max_bytes", options.in_flight_max_bytes, KIB, 16 * GIB)?;
    if batch_max_bytes > in_flight_max_bytes {
        let advice = format!("{batch_max_bytes} exceeds in_flight_max_bytes, {in_flight_max_bytes}");
        return Err(value("batch_max_bytes", advice));
    }
    Ok(PipelineSettings {
        index_prefix: index_prefix(options)?,
        batch_max_lines: size("batch_max_lines", number("batch_max_lines", options.batch_max_lines, 1, 100_000)?)?,
        batch_max_bytes: size("batch_max_bytes", batch_max_bytes)?,
        batch_max_age: duration("batch_max_age_ms", options.batch_max_age_ms, 1, HOUR_MS)?,
        in_flight_max_bytes: size("in_flight_max_bytes", in_flight_max_bytes)?,
        line_max_bytes: size("line_max_bytes", line_max_bytes)?,
        encoding: files::encoding(options)?,
        checkpoint_interval: duration("checkpoint_interval_ms", options.checkpoint_interval_ms, 1, HOUR_MS)?,
        delivery: delivery(options)?,
    })
}

fn delivery(options: &Options) -> Checked<DeliverySettings> {
    let requests_in_flight = number("requests_in_flight", options.requests_in_flight, 1, 64)?;
    let retry_min = duration("retry_min_ms", options.retry_min_ms, 1, HOUR_MS)?;
    let retry_max = duration("retry_max_ms", options.retry_max_ms, 1, HOUR_MS)?;
    if retry_min > retry_max {
        let advice = format!("{} exceeds retry_max_ms, {}", retry_min.as_millis(), retry_max.as_millis());
        return Err(value("retry_min_ms", advice));
    }
    Ok(DeliverySettings {
        hosts: Vec::new(),
        requests_in_flight: size("requests_in_flight", requests_in_flight)?,
        retry_min,
        retry_max,
        poison_attempts: POISON_ATTEMPTS,
        poison_span: POISON_SPAN,
    })
}

fn engine(options: &Options) -> Checked<EngineSettings> {
    let pipeline = store_name("pipeline", options.pipeline.as_deref())?;
    let connected = connection(options).settings();
    let connected = connected.map_err(|error| value(error.option, error.message(str::to_owned)))?;
    Ok(EngineSettings {
        index_prefix: index_prefix(options)?,
        pipeline: (pipeline != "none").then_some(pipeline),
        request_timeout: duration("request_timeout_ms", options.request_timeout_ms, 10, HOUR_MS)?,
        compression: required("compression", options.compression)?.into(),
        file_mode: file_mode(options)?,
        fields: options.fields.as_deref().map(fields::named).transpose().map_err(|advice| value("fields", advice))?,
        ..connected
    })
}

fn keep(options: &Options, to: &Target) -> Checked<RetentionPolicy> {
    let engine_keeps = "only for an embedded store; for an engine use index life cycles";
    for (key, given) in [("keep", &options.keep), ("keep_size", &options.keep_size)] {
        if given.is_some() && !matches!(to, Target::Sqlite(_)) {
            return Err(value(key, engine_keeps));
        }
    }
    let age = options.keep.as_deref().map(amounts::age).transpose().map_err(|advice| value("keep", advice))?;
    let bytes = options.keep_size.as_deref().map(amounts::bytes).transpose();
    Ok(RetentionPolicy { age, bytes: bytes.map_err(|advice| value("keep_size", advice))? })
}

/// The options of the connection to an engine.
pub(super) fn connection(options: &Options) -> ConnectionOptions {
    let options = options.clone();
    ConnectionOptions {
        user: options.user,
        password_file: options.password_file,
        api_key_file: options.api_key_file,
        ca_certificate: options.ca_certificate,
        client_certificate: options.client_certificate,
        client_key: options.client_key,
        proxy: options.proxy,
        proxy_user: options.proxy_user,
        proxy_password_file: options.proxy_password_file,
    }
}

pub(super) fn state_dir(options: &Options) -> Checked<PathBuf> {
    let state_dir = required("state_dir", options.state_dir.clone())?;
    if state_dir.as_os_str().is_empty() { Err(value("state_dir", "it is empty")) } else { Ok(state_dir) }
}

fn file_mode(options: &Options) -> Checked<FileMode> {
    let text = required("file_mode", options.file_mode.as_deref())?;
    text.parse().map_err(|error: store::file_mode::ParseFileModeError| value("file_mode", error.to_string()))
}

fn index_prefix(options: &Options) -> Checked<String> {
    let prefix = store_name("index_prefix", options.index_prefix.as_deref())?;
    let starts_well = prefix.starts_with(|first: char| first.is_ascii_alphanumeric());
    if !starts_well || prefix.contains(char::is_uppercase) {
        let advice = format!("{prefix:?} must start with a letter or digit and contain no capital letters");
        return Err(value("index_prefix", advice));
    }
    Ok(prefix)
}

fn store_name(key: &'static str, given: Option<&str>) -> Checked<String> {
    let name = required(key, given)?;
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if name.is_empty() || name.len() > STORE_NAME_MAX_BYTES || !name.bytes().all(is_good) {
        let advice = format!("{name:?} must be 1 to {STORE_NAME_MAX_BYTES} letters, digits, dots, - and _");
        return Err(value(key, advice));
    }
    Ok(name.to_owned())
}

fn line_name(key: &'static str, given: Option<&str>) -> Checked<String> {
    let name = required(key, given)?;
    let length = name.chars().count();
    if length == 0 || length > LINE_NAME_MAX_CHARS || name.contains(char::is_control) {
        let advice = format!("it must have 1 to {LINE_NAME_MAX_CHARS} characters and no control characters");
        return Err(value(key, advice));
    }
    Ok(name.to_owned())
}

pub(super) fn duration(key: &'static str, given: Option<u64>, min_ms: u64, max_ms: u64) -> Checked<Duration> {
    number(key, given, min_ms, max_ms).map(Duration::from_millis)
}

pub(super) fn number(key: &'static str, given: Option<u64>, min: u64, max: u64) -> Checked<u64> {
    let given = required(key, given)?;
    if (min..=max).contains(&given) {
        Ok(given)
    } else {
        Err(value(key, format!("{given} is not between {min} and {max}")))
    }
}

pub(super) fn size(key: &'static str, number: u64) -> Checked<usize> {
    usize::try_from(number).map_err(|_| value(key, format!("{number} exceeds the address space of this machine")))
}

pub(super) fn required<T>(key: &'static str, given: Option<T>) -> Checked<T> {
    let option = key.replace('_', "-");
    given.ok_or_else(|| {
        let variable = format!("{}{}", super::VARIABLE_PREFIX, key.to_uppercase());
        value(key, format!("not set: use --{option}, {variable} or the configuration file"))
    })
}

pub(super) fn value(key: &'static str, message: impl Into<String>) -> ConfigError {
    ConfigError::Value { key, message: message.into() }
}
