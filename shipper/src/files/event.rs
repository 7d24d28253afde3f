//! What is reported of files: to the pipeline as it happens, and in counts.

use std::path::PathBuf;
use std::sync::Arc;

use store::{GenerationId, Timestamp};

use super::{Reason, UnreadCounts};
use crate::document::Place;
use crate::journal::Trail;

/// How far a generation is read, while it is being read.
#[derive(Clone, Copy, Debug)]
pub struct Reading<'a> {
    /// Every line before it was read.
    pub read_to: u64,
    /// Every line before it has its outcome.
    pub checkpoint: u64,
    /// Fingerprints of what was read.
    pub trail: &'a Trail,
}

/// Something the pipeline has to know.
#[derive(Debug)]
pub enum FileEvent<F> {
    /// A generation to read from `offset` on.
    Opened {
        /// The life of the file.
        generation: GenerationId,
        /// The file.
        file: Arc<F>,
        /// What it is.
        place: Place,
        /// Every line before it has its outcome.
        offset: u64,
        /// Fingerprints of what was read before.
        trail: Trail,
    },
    /// A generation can be read up to here.
    Grown {
        /// The life of the file.
        generation: GenerationId,
        /// Its size now.
        end: u64,
    },
    /// The rest of a generation stands in another file, the copy that was made before a truncation.
    Moved {
        /// The life of the file.
        generation: GenerationId,
        /// The copy.
        file: Arc<F>,
    },
    /// A generation is at its end, for now or for good; a last line without a newline is a line.
    Ended {
        /// The life of the file.
        generation: GenerationId,
        /// Whether the file is deleted or will not be followed, so that the journal may forget it once every line has
        /// its outcome.
        forget: bool,
    },
    /// Bytes that were seen in a file are in none any more, and were not all read.
    Destroyed {
        /// The life of the file.
        generation: GenerationId,
        /// Where it stood.
        file: PathBuf,
        /// Lines before it were read,
        from: u64,
        /// and this is how far it was seen.
        to: u64,
    },
    /// Nothing is left to read of a generation that no one reads: its file is deleted. The journal may forget it.
    Vanished {
        /// The life of the file.
        generation: GenerationId,
        /// Where it stood.
        file: PathBuf,
        /// Every line before it has its outcome.
        end: u64,
    },
}

impl<F> FileEvent<F> {
    /// The generation that it is about.
    #[must_use]
    pub fn generation(&self) -> GenerationId {
        match self {
            Self::Opened { generation, .. }
            | Self::Grown { generation, .. }
            | Self::Moved { generation, .. }
            | Self::Ended { generation, .. }
            | Self::Destroyed { generation, .. }
            | Self::Vanished { generation, .. } => *generation,
        }
    }
}

/// What happened to files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileCounts {
    /// Files that were cut while they were followed.
    pub truncated: u64,
    /// Of those, the ones whose copy was not found: bytes may have been destroyed unread.
    pub suspected_losses: u64,
    /// Files whose unread end was deleted while no one could read it.
    pub vanished: u64,
    /// Bytes that were seen in files that were cut or deleted before these were read.
    pub destroyed_bytes: u64,
    /// Files that were renamed or moved to where they are not followed, after their last line was read.
    pub given_up: u64,
    /// Files that were made and rotated between two looks, which no pattern names any more.
    pub missed: u64,
    /// Copies of followed files, of which only what was unread was read.
    pub copies: u64,
    /// Files that were left at their end when they were first met, by `read_from` or `ignore_older`.
    pub skipped: u64,
}

/// The files as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileReport {
    /// What happened to files.
    pub counts: FileCounts,
    /// All files that there are were looked up at least once.
    pub is_scanned: bool,
    /// Files that the patterns named at the last scan.
    pub named: u64,
    /// Files that are known, parked ones among them.
    pub followed: u64,
    /// Files that are open.
    pub open: u64,
    /// Files, new ones and such that were read before, that wait for one of the open files to be parked.
    pub waiting: u64,
    /// Files that the patterns name and that are not read, by [`Reason`].
    pub unread: UnreadCounts,
    /// Some of those that need attention.
    pub unread_examples: Vec<(PathBuf, Reason)>,
    /// When every file was last seen to hold what was read of it.
    pub looked_at: Option<Timestamp>,
}

impl FileReport {
    /// Files that are not read and need attention.
    #[must_use]
    pub fn unread_files(&self) -> u64 {
        Reason::ALL.iter().zip(self.unread).filter(|(reason, _)| !reason.is_chosen()).map(|(_, count)| count).sum()
    }

    /// That files are not read, in a sentence with some of their names; `None` if all are.
    #[must_use]
    pub fn unread_notice(&self) -> Option<String> {
        let count = self.unread_files();
        let name = |(path, reason): &(PathBuf, Reason)| format!("{} ({})", path.display(), reason.as_str());
        let names: Vec<_> = self.unread_examples.iter().map(name).collect();
        (count > 0).then(|| format!("{count} files that the patterns name are not read: {}", names.join(", ")))
    }
}
