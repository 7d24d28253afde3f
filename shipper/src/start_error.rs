//! Errors at startup.

use std::path::PathBuf;

/// Why the shipper can't start. Each variant has its exit code.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The state directory can't be created, read or written.
    #[error("can't use the state directory {path}: {reason}; set another one with --state-dir")]
    StateDir {
        /// The directory.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
    /// A file of the state directory is damaged, so that data may be lost.
    #[error("{0}")]
    Damaged(String),
    /// Another process uses the state directory.
    #[error("another shipper uses the state directory {path}; stop it or set another one with --state-dir")]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// The store can't be opened.
    #[error("can't open the store: {0}")]
    Store(String),
    /// The store has foreign or newer objects in place, or lacks what is needed.
    #[error("can't bootstrap the store: {0}")]
    Bootstrap(String),
}
