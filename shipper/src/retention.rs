//! Takes lines out of the embedded store that need not be kept, while others are written.
//!
//! The store does so in small steps, between which batches are written; this asks for them, every [`INTERVAL`] and for as
//! long as there is more to do. A step that fails is tried again at the next interval.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use store::{RetentionPolicy, StoreWriter, Timestamp};

/// How often it is looked whether there is something to take out.
const INTERVAL: Duration = Duration::from_secs(10);

/// What was taken out since the start.
#[derive(Debug, Default)]
pub(crate) struct Removals {
    lines: AtomicU64,
    bytes: AtomicU64,
    is_failing: AtomicBool,
}

impl Removals {
    /// Lines and their lengths together.
    pub(crate) fn get(&self) -> (u64, u64) {
        (self.lines.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }

    /// Whether the last step failed.
    pub(crate) fn is_failing(&self) -> bool {
        self.is_failing.load(Ordering::Relaxed)
    }
}

/// Retains until nobody holds `removals` any more. Without bounds there is nothing to do.
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
                    tracing::warn!(%error, "old lines can't be taken out of the store; it is tried again");
                }
                INTERVAL
            }
        };
        drop(removals);
        tokio::time::sleep(wait).await;
    }
}
