//! Checks at intervals whether the embedded store's file is still the one at its path, even while nothing is written.
//!
//! The store checks that for each batch. Between batches, this reports a file that was deleted, moved or replaced, has
//! it reopened or created again, and reports while that fails. It also measures the file.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use store::{FileChanges, StoreWriter, Target, WriteError};

use crate::delivery::DeliveryError;

/// How often to check the file.
const INTERVAL: Duration = Duration::from_secs(1);

/// The state of the store's file.
#[derive(Debug, Default)]
pub(crate) struct StoreWatch {
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    /// Why there is no file to write to, if so.
    delivery_error: Option<DeliveryError>,
    changes: u64,
    bytes: u64,
}

impl StoreWatch {
    /// Why there is no file to write to, if so.
    pub(crate) fn delivery_error(&self) -> Option<DeliveryError> {
        self.seen.lock().delivery_error.clone()
    }

    /// How often the file was found deleted, moved or replaced.
    pub(crate) fn changes(&self) -> u64 {
        self.seen.lock().changes
    }

    /// Size of the file and its WAL when last measured; 0 for an engine.
    pub(crate) fn bytes(&self) -> u64 {
        self.seen.lock().bytes
    }

    fn see(&self, checked: Result<(), WriteError>, changes: FileChanges) {
        let mut seen = self.seen.lock();
        if changes.count > seen.changes {
            let reason = changes.last.map(|cause| cause.to_string()).unwrap_or_default();
            tracing::warn!(count = changes.count, %reason, "store file replaced");
            seen.changes = changes.count;
        }
        let delivery_error = checked.err().map(|error| DeliveryError {
            cause: error.cause().clone(),
            refused: matches!(error, WriteError::Refused(_)),
        });
        match (&delivery_error, &seen.delivery_error) {
            (Some(delivery_error), None) => {
                tracing::warn!(cause = delivery_error.cause.kind.as_str(), reason = %delivery_error.cause, "store file unavailable");
            }
            (None, Some(_)) => tracing::info!("store file reopened"),
            _ => {}
        }
        seen.delivery_error = delivery_error;
    }
}

/// Checks until `watch` is dropped. An engine has no file.
pub(crate) fn spawn(store: StoreWriter, to: &Target, watch: &Arc<StoreWatch>) {
    if let Target::Sqlite(path) = to {
        tokio::spawn(look(store, path.clone(), Arc::downgrade(watch)));
    }
}

async fn look(store: StoreWriter, path: PathBuf, watch: Weak<StoreWatch>) {
    loop {
        tokio::time::sleep(INTERVAL).await;
        let Some(watch) = watch.upgrade() else { return };
        let checked = store.check().await;
        watch.see(checked, store.file_changes());
        let measured = path.clone();
        if let Ok(bytes) = tokio::task::spawn_blocking(move || bytes_of(&measured)).await {
            watch.seen.lock().bytes = bytes;
        }
    }
}

/// Size of a file and its WAL; a missing one counts 0.
fn bytes_of(path: &Path) -> u64 {
    let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let mut wal = path.clone().into_os_string();
    wal.push("-wal");
    let bytes = |path: &Path| std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    bytes(&path) + bytes(Path::new(&wal))
}

#[cfg(test)]
mod tests {
    use store::{Cause, CauseKind};

    use super::*;

    #[test]
    fn the_size_is_that_of_file_and_wal_even_through_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let [file, wal, link] = ["logs.db", "logs.db-wal", "link.db"].map(|name| folder.path().join(name));
        assert_eq!(bytes_of(&file), 0);
        std::fs::write(&file, [0; 1_000]).unwrap();
        std::fs::write(wal, [0; 10]).unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert_eq!((bytes_of(&file), bytes_of(&link)), (1_010, 1_010));
    }

    #[test]
    fn the_error_lasts_until_the_file_can_be_opened() {
        let watch = StoreWatch::default();
        watch.see(Ok(()), FileChanges::default());
        assert_eq!((watch.delivery_error(), watch.changes()), (None, 0));
        let cause = Cause::new(0, "deleted").with_kind(CauseKind::FolderMissing);
        let changes = FileChanges { count: 1, last: Some(cause.clone()) };
        watch.see(Err(WriteError::Refused(cause.clone())), changes.clone());
        assert_eq!((watch.delivery_error(), watch.changes()), (Some(DeliveryError { cause, refused: true }), 1));
        watch.see(Ok(()), changes);
        assert_eq!((watch.delivery_error(), watch.changes()), (None, 1));
    }
}
