//! Which files are followed, and what they are made of.

use std::path::{Path, PathBuf};
use std::time::Duration;

use glob::{MatchOptions, Pattern};

use crate::disk::{DiskFile, path};
use crate::docker::Labels;
use crate::document::Place;
use crate::encoding::LineEncoding;

/// Which files, and how.
#[derive(Clone, Debug)]
pub struct FileSettings {
    /// Patterns, as of a shell: `*`, `?`, `[…]`, `**`.
    pub patterns: Vec<String>,
    /// How often the patterns are looked up anew.
    pub scan_interval: Duration,
    /// Only what is there at the first look is read. A last line without a newline is a line if its file does not grow
    /// for two seconds; if it does, the line is left to the next start.
    pub until_idle: bool,
    /// Nothing under this folder is read: it is the shipper's own.
    pub state_dir: PathBuf,
    /// What the files are made of.
    pub format: Format,
    /// The encoding of files that begin with no byte order mark.
    pub encoding: LineEncoding,
    /// Patterns of files that are never read, in the syntax of `patterns`. One without a slash matches the file name in
    /// any folder.
    pub exclude: Vec<String>,
    /// Maximum number of files held open at once; not a bound on the files that are followed.
    pub max_open_files: usize,
    /// Where to begin with files that are there at the very first start.
    pub read_from: ReadFrom,
    /// Files not modified for this long are left at their end when they are first met, until they grow.
    pub ignore_older: Option<Duration>,
    /// gzip and zstd files are read too, each once, whole. Otherwise they are left alone.
    pub read_compressed: bool,
}

impl FileSettings {
    /// Whether a pattern of `exclude` names a file.
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

/// Where to begin with files that are there at the very first start. Files that appear later are read from the beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadFrom {
    /// At their beginning.
    Beginning,
    /// At their end: only what is added is read.
    End,
}

/// What files are made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format {
    /// Lines.
    Lines,
    /// Docker's entries, of the containers with these labels.
    Docker(Labels),
}

impl Format {
    /// What a file is; `None` if it is to be left alone, for now at least.
    pub(crate) fn place(&self, path: &Path, file: &impl DiskFile) -> Option<Place> {
        match self {
            Self::Lines => Some(Place::File(path::text(path))),
            Self::Docker(labels) => labels.select(path, file),
        }
    }
}
