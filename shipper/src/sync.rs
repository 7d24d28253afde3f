//! Locking of state that several threads share.
//!
//! Lock order: the journal before the ledger. A thread that holds the ledger never locks the journal. All other mutexes
//! are held only within one statement or one short block, and nothing else is locked meanwhile.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks a mutex, also if a thread panicked while it held the lock: no step that can panic leaves a value half changed.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
