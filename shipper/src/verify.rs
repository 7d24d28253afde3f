//! Verifies that a store holds every accepted line exactly once.
//!
//! The state directory gives the checkpoint of each generation. Every line before it is stored or a dead letter, or was
//! dropped and counted. Two checks compare the store with that:
//!
//! * by [sums]: the lengths of the lines in the store, of the dead letters and of skipped bytes must cover the
//!   generation from its start to the checkpoint, and each line must start where the previous one ends. The store
//!   computes the sums. Where a sum is wrong, the offsets of the lines around it show which lines are missing or
//!   duplicates. It needs no source.
//! * by [lines]: for each segment or file that still exists, the id of every line is computed again and looked up in
//!   the store.
//!
//! Both are valid next to a running shipper: what the state directory says was true when it was read, and stays true.
//! Lines beyond the checkpoints of that time are not checked.

pub mod deleted_indices;
pub mod known;
pub mod lines;
pub mod sums;

use std::io;
use std::path::PathBuf;

use serde::Serialize;
use store::{GenerationId, SearchError};

use crate::journal::JournalError;

/// Maximum number of findings of a kind that are listed. The rest is counted.
pub const LISTED_MAX: usize = 1_000;

/// Why verification is not possible.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The journal can't be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The state directory, or a file that it refers to, can't be read.
    #[error("can't read {}: {error}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The error of the system.
        error: io::Error,
    },
    /// The store returned an error.
    #[error(transparent)]
    Store(#[from] SearchError),
}

/// Findings of one kind: the first [`LISTED_MAX`], and their number.
#[derive(Clone, Debug, Serialize)]
pub struct Listed<T> {
    /// The first findings.
    pub listed: Vec<T>,
    /// The number of findings.
    pub count: u64,
}

impl<T> Default for Listed<T> {
    fn default() -> Self {
        Self { listed: Vec::new(), count: 0 }
    }
}

impl<T> Listed<T> {
    /// Adds a finding.
    pub fn push(&mut self, finding: T) {
        self.count += 1;
        if self.listed.len() < LISTED_MAX {
            self.listed.push(finding);
        }
    }
}

/// Bytes of a source that should be in the store or the dead letters, and are not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Missing {
    /// The generation.
    pub generation: GenerationId,
    /// The file or stream that it belongs to.
    pub source: String,
    /// Offset of the first byte.
    pub offset: u64,
    /// Number of bytes: of one line in the check by lines, of any number of lines in the check by sums.
    pub bytes: u64,
    /// The deleted index that held them, or the first and last of the deleted indices of their days.
    pub deleted_index: Option<String>,
    /// Whether they were in a file that was truncated or deleted before it was read.
    pub is_destroyed: bool,
}

/// A source that exists but can't be read. Its lines are verified by sums only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unreadable {
    /// The generation.
    pub generation: GenerationId,
    /// The file or stream that it belongs to.
    pub source: String,
    /// The error of the system.
    pub reason: String,
}

/// A line that is stored more than once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Duplicate {
    /// The generation.
    pub generation: GenerationId,
    /// The file or stream that it belongs to.
    pub source: String,
    /// Offset of the line.
    pub offset: u64,
    /// The indices that hold it, if the store reports them.
    pub indices: Vec<String>,
}
