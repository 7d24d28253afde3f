//! Errors of opening, checking and searching a store. Write errors are [`crate::WriteError`].

use std::path::PathBuf;

use crate::disposition::Cause;

/// The store can't be opened. Opening does not contact an engine; [`crate::Store::ready`] does.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory for the embedded store can't be created.
    #[error("can't create the directory {}: {source}", path.display())]
    Folder {
        /// The directory.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The embedded store's directory was removed while the store was open.
    #[error("the store's directory {} is missing: restore it, or restart the shipper to create it", path.display())]
    NoFolder {
        /// The directory.
        path: PathBuf,
    },
    /// The embedded store's file was replaced by another one while it was being opened.
    #[error("the store {} was replaced while it was being opened: retry", path.display())]
    Replaced {
        /// The file.
        path: PathBuf,
    },
    /// The embedded store can't be opened, or its tables can't be created.
    #[error("can't open the store {}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// SQLite's message.
        reason: String,
    },
    /// The disk of the embedded store is too full to open it.
    #[error("can't open the store {}: {reason}: free space on its disk", path.display())]
    Full {
        /// The file.
        path: PathBuf,
        /// The message of SQLite or the operating system.
        reason: String,
    },
    /// The embedded store was created by a newer version of this program.
    #[error("the schema version {found} of the store {} is newer than this program's {known}: use a newer version", path.display())]
    NewerSchema {
        /// The file.
        path: PathBuf,
        /// The schema version of the file.
        found: i64,
        /// The newest schema version that this program supports.
        known: i64,
    },
    /// A file with certificates or a key is not usable.
    #[error("can't use {} for TLS: {reason}", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// The cause.
        reason: String,
    },
    /// The settings of the engine's client are not usable.
    #[error("can't create a client for the engine: {0}")]
    Client(String),
}

/// The store can't serve requests right now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadyError {
    /// The store did not respond, or not in time.
    #[error("the store does not respond: {0}")]
    Unavailable(Cause),
    /// The store answered with an error that the operator has to fix.
    #[error("the store refuses: {0}")]
    Refused(Cause),
}

/// The search failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SearchError {
    /// The store did not respond; retry.
    #[error("the store does not respond: {0}")]
    Unavailable(Cause),
    /// The search exceeded its time limit; narrow it.
    #[error("the search took longer than {seconds} s: narrow it by request, project or time")]
    TimedOut {
        /// The time limit.
        seconds: u64,
    },
    /// The store refused the search, for example for missing permissions, a damaged file or a newer schema.
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
