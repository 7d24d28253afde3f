//! Why a store can't be opened, is not ready or can't be searched. Writing has its own: [`crate::WriteError`].

use std::path::PathBuf;

use crate::disposition::Cause;

/// A store that can't be opened. Whether an engine answers is not asked here, but by [`crate::Store::ready`].
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder for the embedded store can't be made.
    #[error("can't make the folder {}: {source}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The embedded store's folder was removed while the store was open.
    #[error("the store's folder {} is missing: put it back, or restart the shipper to make it", path.display())]
    NoFolder {
        /// The folder.
        path: PathBuf,
    },
    /// The embedded store's file was replaced by another while it was opened.
    #[error("the store {} was replaced while it was opened: try again", path.display())]
    Replaced {
        /// The file.
        path: PathBuf,
    },
    /// The embedded store can't be opened or given its tables.
    #[error("can't open the store {}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// SQLite's words.
        reason: String,
    },
    /// The disk of the embedded store has no room for what opening it takes.
    #[error("can't open the store {}: {reason}: make room on its disk", path.display())]
    Full {
        /// The file.
        path: PathBuf,
        /// The words of SQLite or the system.
        reason: String,
    },
    /// A newer version of this program made the embedded store.
    #[error("the store {} has schema version {found}, this program knows up to {known}: use a newer version", path.display())]
    NewerSchema {
        /// The file.
        path: PathBuf,
        /// What it says.
        found: i64,
        /// What is known here.
        known: i64,
    },
    /// A file with certificates or a key can't be used.
    #[error("can't use {} for TLS: {reason}", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// The client for the engine can't be made from these settings.
    #[error("can't make a client for the engine: {0}")]
    Client(String),
}

/// The store does not serve at the moment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadyError {
    /// It does not answer, or not in time.
    #[error("the store does not answer: {0}")]
    Unavailable(Cause),
    /// It answers with a no that its operator has to mend.
    #[error("the store refuses: {0}")]
    Refused(Cause),
}

/// A search without an answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SearchError {
    /// The store does not answer; try again.
    #[error("the store does not answer: {0}")]
    Unavailable(Cause),
    /// It took longer than it may; narrow the search.
    #[error("the search took longer than {seconds} s: narrow it by request, project or time")]
    TimedOut {
        /// The bound.
        seconds: u64,
    },
    /// The store answers with a no: rights, a damaged file, a newer schema.
    #[error("the store refuses the search: {0}")]
    Refused(Cause),
}

impl From<SearchError> for ReadyError {
    fn from(error: SearchError) -> Self {
        match error {
            SearchError::Refused(cause) => Self::Refused(cause),
            SearchError::Unavailable(cause) => Self::Unavailable(cause),
            timed_out @ SearchError::TimedOut { .. } => Self::Unavailable(Cause::new(0, timed_out.to_string())),
        }
    }
}
