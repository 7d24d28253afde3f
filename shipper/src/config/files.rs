//! The settings of files to read.

use super::check::{Checked, HOUR_MS, duration, number, required, size, state_dir, value};
use super::{Options, ReadFrom, amounts};
use crate::encoding::LineEncoding;
use crate::files::{self, FileSettings};
use crate::sources::{FileFormat, FormatName};

/// Upper bound of the setting `max_open_files`. The system's own limit is applied where files are opened.
const OPEN_FILES_MAX: u64 = 1_000_000;

/// Parses `options`, in which every key with a default has a value.
pub(super) fn settings(options: &Options) -> Checked<FileSettings> {
    let ignore_older = options.ignore_older.as_deref().map(amounts::age).transpose();
    let max_open_files = number("max_open_files", options.max_open_files, 1, OPEN_FILES_MAX)?;
    Ok(FileSettings {
        patterns: patterns("files", options.files.as_deref())?,
        scan_interval: duration("scan_interval_ms", options.scan_interval_ms, 10, HOUR_MS)?,
        until_idle: options.until_idle.unwrap_or_default(),
        state_dir: state_dir(options)?,
        format: format(options)?,
        encoding: encoding(options)?,
        exclude: patterns("exclude", options.exclude.as_deref())?,
        max_open_files: size("max_open_files", max_open_files)?,
        read_from: required("read_from", options.read_from)?.into(),
        ignore_older: ignore_older.map_err(|advice| value("ignore_older", advice))?,
        read_compressed: options.read_compressed.unwrap_or_default(),
    })
}

fn patterns(key: &'static str, given: Option<&[String]>) -> Checked<Vec<String>> {
    let patterns = given.unwrap_or_default();
    for pattern in patterns {
        if pattern.is_empty() {
            return Err(value(key, "a pattern is empty"));
        }
        glob::Pattern::new(pattern).map_err(|error| value(key, format!("invalid pattern {pattern:?}: {error}")))?;
    }
    Ok(patterns.to_vec())
}

/// The encoding of files and streams.
pub(super) fn encoding(options: &Options) -> Checked<LineEncoding> {
    let label = required("encoding", options.encoding.as_deref())?;
    let encoding = LineEncoding::parse(label).map_err(|message| value("encoding", message))?;
    if !encoding.is_utf8()
        && let Some(files) = options.format.and_then(FormatName::always_utf8)
    {
        return Err(value("encoding", format!("{files} are always UTF-8: remove this setting, or `format`")));
    }
    Ok(encoding)
}

fn format(options: &Options) -> Checked<FileFormat> {
    let labels = options.docker_labels.as_deref().unwrap_or_default();
    FileFormat::new(required("format", options.format)?, labels).map_err(|(key, message)| value(key, message))
}

impl From<ReadFrom> for files::ReadFrom {
    fn from(read_from: ReadFrom) -> Self {
        match read_from {
            ReadFrom::Beginning => Self::Beginning,
            ReadFrom::End => Self::End,
        }
    }
}
