//! The settings of followed files.

use std::path::{Path, PathBuf};
use std::time::Duration;

use glob::{MatchOptions, Pattern};

use crate::encoding::LineEncoding;
use crate::sources::FileFormat;

/// The settings of followed files.
#[derive(Clone, Debug)]
pub struct FileSettings {
    /// Shell patterns: `*`, `?`, `[…]`, `**`.
    pub patterns: Vec<String>,
    /// Interval between scans.
    pub scan_interval: Duration,
    /// Read only what exists at the first scan. A last line without a newline counts if its file does not grow for two
    /// seconds; otherwise it is left to the next start.
    pub until_idle: bool,
    /// Files in this folder belong to the shipper and are not read.
    pub state_dir: PathBuf,
    /// The format of the files.
    pub format: FileFormat,
    /// The encoding of files without a byte order mark.
    pub encoding: LineEncoding,
    /// Patterns of files to exclude, with the syntax of `patterns`. One without a slash matches the file name in any
    /// folder.
    pub exclude: Vec<String>,
    /// Maximum number of files held open at once; more files can be followed.
    pub max_open_files: usize,
    /// Where to start reading files that exist at the first start.
    pub read_from: ReadFrom,
    /// The contents of files not modified for this long when first seen are skipped.
    pub ignore_older: Option<Duration>,
    /// Read gzip and zstd files too, each once and completely. They are ignored otherwise.
    pub read_compressed: bool,
}

impl FileSettings {
    /// Whether a pattern of `exclude` matches a file.
    pub(super) fn is_excluded(&self, path: &Path) -> bool {
        let options = MatchOptions { require_literal_separator: true, ..MatchOptions::default() };
        self.exclude.iter().any(|pattern| {
            let subject = match pattern.contains('/') {
                true => Some(path.to_string_lossy()),
                false => path.file_name().map(|name| name.to_string_lossy()),
            };
            let pattern = Pattern::new(pattern.strip_prefix("./").unwrap_or(pattern)).ok();
            pattern.zip(subject).is_some_and(|(pattern, subject)| {
                pattern.matches_with(subject.strip_prefix("./").unwrap_or(&subject), options)
            })
        })
    }
}

/// Where to start reading files that exist at the first start. Later files are read from the beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadFrom {
    /// At the beginning.
    Beginning,
    /// At the end: only new data is read.
    End,
}
