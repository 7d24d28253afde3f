//! Events for the pipeline, and counts.

use std::path::PathBuf;
use std::sync::Arc;

use store::{GenerationId, Timestamp};

use super::{Reason, UnreadCounts};
use crate::journal::Trail;
use crate::sources::Source;

/// The read position of a generation.
#[derive(Clone, Copy, Debug)]
pub struct Reading<'a> {
    /// Every line before it was read.
    pub read_to: u64,
    /// Every line before it has its outcome.
    pub checkpoint: u64,
    /// Fingerprints of what was read.
    pub trail: &'a Trail,
}

/// An event for the pipeline.
#[derive(Debug)]
pub enum FileEvent<F> {
    /// Read a generation from `offset`.
    Opened {
        /// The generation.
        generation: GenerationId,
        /// The file.
        file: Arc<F>,
        /// The source.
        source: Source,
        /// Every line before it has its outcome.
        offset: u64,
        /// Fingerprints of what was read before.
        trail: Trail,
    },
    /// A generation can be read up to here.
    Grown {
        /// The generation.
        generation: GenerationId,
        /// Its present size.
        end: u64,
    },
    /// The rest of a generation is in another file, a copy made before a truncation.
    Moved {
        /// The generation.
        generation: GenerationId,
        /// The copy.
        file: Arc<F>,
    },
    /// A generation ends, temporarily or finally; a last line without a newline counts.
    Ended {
        /// The generation.
        generation: GenerationId,
        /// Whether the file is deleted or will not be followed, so that the journal may forget it once every line has
        /// its outcome.
        forget: bool,
    },
    /// Bytes seen in a file were destroyed before all of them were read.
    Destroyed {
        /// The generation.
        generation: GenerationId,
        /// The path of the file.
        file: PathBuf,
        /// Lines before it were read,
        from: u64,
        /// and it was seen up to here.
        to: u64,
    },
    /// The file of a generation that is not being read was deleted, and nothing is left to read. The journal may forget
    /// it.
    Vanished {
        /// The generation.
        generation: GenerationId,
        /// The path of the file.
        file: PathBuf,
        /// Every line before it has its outcome.
        end: u64,
    },
}

/// Counts of file events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileCounts {
    /// Files truncated while followed.
    pub truncated: u64,
    /// Truncated files whose copy was not found: bytes may have been destroyed unread.
    pub suspected_losses: u64,
    /// Files whose unread end was deleted while it could not be read.
    pub vanished: u64,
    /// Bytes seen in files that were truncated or deleted before they were read.
    pub destroyed_bytes: u64,
    /// Files renamed or moved to a path that is not followed, after their last line was read.
    pub given_up: u64,
    /// Files created and rotated between two scans, which no pattern matches any more.
    pub missed: u64,
    /// Copies of followed files, of which only the unread rest was read.
    pub copies: u64,
    /// Files whose existing content was skipped by `read_from` or `ignore_older`.
    pub skipped: u64,
}

/// The state of all files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileReport {
    /// Counts of file events.
    pub counts: FileCounts,
    /// Whether all existing files were looked up at least once.
    pub is_scanned: bool,
    /// Number of matching files at the last scan.
    pub named: u64,
    /// Number of known files, including parked ones.
    pub followed: u64,
    /// Number of open files.
    pub open: u64,
    /// Number of new and parked files that wait to be opened.
    pub waiting: u64,
    /// Matching files that are not read, by [`Reason`].
    pub unread: UnreadCounts,
    /// Examples of those that need attention.
    pub unread_examples: Vec<(PathBuf, Reason)>,
    /// When every file was last seen with its read content intact.
    pub looked_at: Option<Timestamp>,
}

impl FileReport {
    /// Number of unread files that need attention.
    #[must_use]
    pub fn unread_files(&self) -> u64 {
        Reason::ALL.iter().zip(self.unread).filter(|(reason, _)| !reason.is_chosen()).map(|(_, count)| count).sum()
    }

    /// A sentence about unread files with some of their names; `None` if there are none.
    #[must_use]
    pub fn unread_notice(&self) -> Option<String> {
        let count = self.unread_files();
        let name = |(path, reason): &(PathBuf, Reason)| format!("{} ({})", path.display(), reason.as_str());
        let names: Vec<_> = self.unread_examples.iter().map(name).collect();
        (count > 0).then(|| format!("{count} matching files are not read: {}", names.join(", ")))
    }
}
