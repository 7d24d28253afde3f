//! Proof that a store holds every line that was taken, once.
//!
//! Of each generation the state directory tells how far it is disposed of: its checkpoint, or where it ended. Every line
//! before that is stored or a dead letter, or was given up and counted. Two proofs hold the store to it:
//!
//! * by [sums]: the lengths of the lines that rest there, with those of the dead letters and of what is
//!   no line for a store, must fill the generation from its beginning to the checkpoint, and each line must begin where
//!   the one before it ends. The store adds up; where a sum is wrong, the places of the lines around it say which lines
//!   are missing or there twice. It needs no source.
//! * by [lines]: of a segment or file that is still there, every line's id is made again, and the store asked for it.
//!
//! Both are sound beside a shipper at work: what the state directory says was true when it was read, and stays true.
//! What lies beyond the checkpoints then is not looked at.

pub mod gone;
pub mod known;
pub mod lines;
pub mod sums;

use std::io;
use std::path::PathBuf;

use serde::Serialize;
use store::{GenerationId, SearchError};

use crate::journal::JournalError;

/// So many findings of a kind are listed; the rest is counted.
pub const LISTED_MAX: usize = 1_000;

/// Why nothing can be proved.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The journal can't be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The state directory, or a file that it tells of, can't be read.
    #[error("can't read {}: {error}", path.display())]
    Io {
        /// Which file or folder.
        path: PathBuf,
        /// What was said.
        error: io::Error,
    },
    /// The store has no answer.
    #[error(transparent)]
    Store(#[from] SearchError),
}

/// Findings of one kind: the first [`LISTED_MAX`], and how many there are.
#[derive(Clone, Debug, Serialize)]
pub struct Listed<T> {
    /// The first of them.
    pub listed: Vec<T>,
    /// How many there are.
    pub count: u64,
}

impl<T> Default for Listed<T> {
    fn default() -> Self {
        Self { listed: Vec::new(), count: 0 }
    }
}

impl<T> Listed<T> {
    /// Adds one.
    pub fn push(&mut self, finding: T) {
        self.count += 1;
        if self.listed.len() < LISTED_MAX {
            self.listed.push(finding);
        }
    }
}

/// Bytes of a source that should rest in the store, or among the dead letters, and do not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Missing {
    /// The generation.
    pub generation: GenerationId,
    /// What it is a life or a part of.
    pub source: String,
    /// Where they begin.
    pub offset: u64,
    /// How many: one line's by lines, any number of lines' by sums.
    pub bytes: u64,
    /// The index that they went with, or the first and the last of those that are gone of their days.
    pub index_gone: Option<String>,
    /// They were in a file that was truncated or deleted before they were read.
    pub is_destroyed: bool,
}

/// A source that is still there and can't be read: only sums prove its lines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unreadable {
    /// The generation.
    pub generation: GenerationId,
    /// What it is a life or a part of.
    pub source: String,
    /// The system's words.
    pub reason: String,
}

/// A line that rests more than once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Twice {
    /// The generation.
    pub generation: GenerationId,
    /// What it is a life or a part of.
    pub source: String,
    /// Where the line begins.
    pub offset: u64,
    /// The indices that it rests in, where the store tells.
    pub indices: Vec<String>,
}
