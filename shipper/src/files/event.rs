//! What is told of files: to the pipeline as it happens, and in counts.

use std::path::PathBuf;
use std::sync::Arc;

use store::GenerationId;

use crate::document::Place;

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
        /// Every line before it is disposed of.
        offset: u64,
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
    /// A generation is at its end, for good; a last line without a newline is a line.
    Ended {
        /// The life of the file.
        generation: GenerationId,
        /// Whether the file is gone, so that the journal may forget it once all is disposed of.
        forget: bool,
    },
    /// What an earlier process read is gone with what was unread of it. The journal may forget it.
    Vanished {
        /// The life of the file.
        generation: GenerationId,
        /// Where it stood.
        file: PathBuf,
        /// Every line before it is disposed of.
        end: u64,
    },
}

/// What was seen of files that can't be counted in lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileCounts {
    /// Files that were cut while they were followed.
    pub truncated: u64,
    /// Of those, the ones whose copy was not found: bytes may have been destroyed unread.
    pub suspected_losses: u64,
    /// Files whose unread end was gone after a restart.
    pub vanished: u64,
}
