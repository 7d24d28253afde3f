//! Classifies SQLite's errors.

use std::io;
use std::path::Path;

use rusqlite::ErrorCode;

use crate::disposition::{Cause, WriteError};
use crate::error::{OpenError, SearchError};

/// Whether a retry may succeed without anyone's intervention.
fn is_transient(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(
            ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::FileLockingProtocolFailed
                | ErrorCode::OutOfMemory
                | ErrorCode::SchemaChanged
                | ErrorCode::OperationInterrupted
        )
    )
}

/// Whether the disk is full. Creating the shared memory has an error code of its own.
fn is_full(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DiskFull)
        || error.sqlite_error().is_some_and(|error| error.extended_code == rusqlite::ffi::SQLITE_IOERR_SHMSIZE)
}

/// Converts an error of opening a file.
pub(crate) fn open_error(path: &Path, error: &rusqlite::Error) -> OpenError {
    let (path, reason) = (path.to_owned(), error.to_string());
    if is_full(error) { OpenError::Full { path, reason } } else { OpenError::File { path, reason } }
}

/// Converts an error of creating or opening a file in the operating system.
pub(crate) fn file_error(path: &Path, error: &io::Error) -> OpenError {
    let (path, reason) = (path.to_owned(), error.to_string());
    let is_full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
    if is_full { OpenError::Full { path, reason } } else { OpenError::File { path, reason } }
}

/// Converts an error of a write; no transaction was committed. A full or failing disk and a damaged file are up to the
/// operator.
pub(crate) fn write_error(error: &rusqlite::Error) -> WriteError {
    let cause = cause(error);
    if is_transient(error) { WriteError::Unavailable(cause) } else { WriteError::Refused(cause) }
}

/// Converts an error of a search with this time limit.
pub(crate) fn search_error(error: &rusqlite::Error, deadline_seconds: u64) -> SearchError {
    match error.sqlite_error_code() {
        Some(ErrorCode::OperationInterrupted) => SearchError::TimedOut { seconds: deadline_seconds },
        _ if is_transient(error) => SearchError::Unavailable(cause_without_path(error)),
        _ => SearchError::Refused(cause_without_path(error)),
    }
}

/// Whether a file is damaged or not a database.
pub(crate) fn is_damage(error: &rusqlite::Error) -> bool {
    use rusqlite::Error::{FromSqlConversionFailure, InvalidColumnType, Utf8Error};
    // The tables are strict, so values of another type are damage, too.
    matches!(error, FromSqlConversionFailure(..) | InvalidColumnType(..) | Utf8Error(..))
        || matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

/// Returns the cause for API clients, without the path, which SQLite adds if it can't open the file.
fn cause_without_path(error: &rusqlite::Error) -> Cause {
    match error {
        rusqlite::Error::SqliteFailure(failure, Some(_)) if failure.code == ErrorCode::CannotOpen => {
            Cause::new(0, "unable to open the database file")
        }
        _ => cause(error),
    }
}

fn cause(error: &rusqlite::Error) -> Cause {
    Cause::new(0, error.to_string())
}

#[cfg(test)]
mod tests {
    use rusqlite::ffi;

    use super::*;

    #[test]
    fn a_full_disk_is_refused_and_a_lock_is_retryable() {
        let error = |code| rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
        for code in [ffi::SQLITE_FULL, ffi::SQLITE_IOERR, ffi::SQLITE_READONLY, ffi::SQLITE_CORRUPT] {
            assert!(matches!(write_error(&error(code)), WriteError::Refused(_)), "{code}");
        }
        for code in [ffi::SQLITE_BUSY, ffi::SQLITE_LOCKED] {
            assert!(matches!(write_error(&error(code)), WriteError::Unavailable(_)), "{code}");
            assert!(matches!(search_error(&error(code), 1), SearchError::Unavailable(_)), "{code}");
        }
        let at = rusqlite::Connection::open("/nowhere/at/all.db").unwrap_err();
        assert!(at.to_string().contains("/nowhere") && !search_error(&at, 1).to_string().contains("nowhere"), "{at}");
        assert_eq!(search_error(&error(ffi::SQLITE_INTERRUPT), 3), SearchError::TimedOut { seconds: 3 });
    }
}
