//! Deletes lines that exceed the retention of the embedded store, while others are written.
//!
//! The store deletes in small steps, between which batches are written. This runs steps every [`INTERVAL`], and as long
//! as there is more to delete. A failed step is retried at the next interval.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use store::{RetentionPolicy, StoreWriter, Timestamp};

/// How often to check for lines to delete.
const INTERVAL: Duration = Duration::from_secs(10);

/// What was deleted since the start.
#[derive(Debug, Default)]
pub(crate) struct Removals {
    lines: AtomicU64,
    bytes: AtomicU64,
    is_failing: AtomicBool,
}

impl Removals {
    /// The number of lines and their total length.
    pub(crate) fn get(&self) -> (u64, u64) {
        (self.lines.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }

    /// Whether the last step failed.
    pub(crate) fn is_failing(&self) -> bool {
        self.is_failing.load(Ordering::Relaxed)
    }
}

/// Runs retention until `removals` is dropped. Without limits there is nothing to do.
pub(crate) fn spawn(store: StoreWriter, keep: RetentionPolicy, removals: &Arc<Removals>) {
    if keep != RetentionPolicy::default() {
        tokio::spawn(retain(store, keep, Arc::downgrade(removals)));
    }
}

async fn retain(store: StoreWriter, keep: RetentionPolicy, removals: Weak<Removals>) {
    loop {
        let Some(removals) = removals.upgrade() else { return };
        let wait = match store.retain(&keep, Timestamp::now()).await {
            Ok(retained) => {
                removals.is_failing.store(false, Ordering::Relaxed);
                removals.lines.fetch_add(retained.lines, Ordering::Relaxed);
                removals.bytes.fetch_add(retained.bytes, Ordering::Relaxed);
                retained.next_after.unwrap_or(INTERVAL)
            }
            Err(error) => {
                if !removals.is_failing.swap(true, Ordering::Relaxed) {
                    tracing::warn!(%error, "retention failed, retrying");
                }
                INTERVAL
            }
        };
        drop(removals);
        tokio::time::sleep(wait).await;
    }
}
