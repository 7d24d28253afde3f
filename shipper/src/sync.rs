//! Locking of the state that the threads of the shipper share.
//!
//! Lock order: the journal before the ledger. Both are [`RankedMutex`]es, which assert the order in debug builds. All
//! other mutexes are held only within one statement or one short block, and nothing is locked meanwhile.

use std::ops::{Deref, DerefMut};

use parking_lot::{Mutex, MutexGuard};

/// Position in the lock order. A thread locks in ascending order only.
#[derive(Clone, Copy, Debug)]
pub enum Rank {
    /// The journal.
    Journal,
    /// The ledger.
    Ledger,
}

/// State with a position in the lock order.
pub trait Ranked {
    /// The position.
    const RANK: Rank;
}

/// A mutex with a position in the lock order.
#[derive(Debug, Default)]
pub struct RankedMutex<T>(Mutex<T>);

/// A lock on a [`RankedMutex`].
pub struct RankedGuard<'m, T> {
    // Fields are dropped in this order: the lock is released first.
    guard: MutexGuard<'m, T>,
    #[cfg(debug_assertions)]
    _held: held::Held,
}

impl<T> RankedMutex<T> {
    /// Creates a mutex.
    pub fn new(value: T) -> Self {
        Self(Mutex::new(value))
    }
}

impl<T: Ranked> RankedMutex<T> {
    /// Waits for the lock.
    ///
    /// # Panics
    /// In debug builds, if the thread holds a lock of the same or a higher rank.
    pub fn lock(&self) -> RankedGuard<'_, T> {
        #[cfg(debug_assertions)]
        let held = held::Held::new(T::RANK);
        RankedGuard {
            guard: self.0.lock(),
            #[cfg(debug_assertions)]
            _held: held,
        }
    }
}

impl<T> Deref for RankedGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.guard
    }
}

impl<T> DerefMut for RankedGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.guard
    }
}

/// The ranks that the current thread holds.
#[cfg(debug_assertions)]
mod held {
    use std::cell::Cell;

    use super::Rank;

    thread_local! {
        /// One bit for each rank.
        static RANKS: Cell<u8> = const { Cell::new(0) };
    }

    /// A rank that the thread holds.
    pub(super) struct Held(Rank);

    impl Held {
        pub(super) fn new(rank: Rank) -> Self {
            let ranks = RANKS.get();
            assert!(ranks >> rank as u8 == 0, "lock order: {rank:?} is locked while this or a later rank is held");
            RANKS.set(ranks | 1 << rank as u8);
            Self(rank)
        }
    }

    impl Drop for Held {
        fn drop(&mut self) {
            RANKS.set(RANKS.get() & !(1 << self.0 as u8));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    struct First;
    struct Second;

    impl Ranked for First {
        const RANK: Rank = Rank::Journal;
    }

    impl Ranked for Second {
        const RANK: Rank = Rank::Ledger;
    }

    fn panics(lock: impl FnOnce()) -> bool {
        catch_unwind(AssertUnwindSafe(lock)).is_err()
    }

    #[test]
    fn locks_are_taken_in_ascending_order_only() {
        let (first, second) = (RankedMutex::new(First), RankedMutex::new(Second));
        {
            let first = first.lock();
            let _second = second.lock();
            drop(first);
        }
        {
            let _second = second.lock();
            assert!(panics(|| drop(first.lock())), "a lower rank");
            assert!(panics(|| drop(second.lock())), "the same rank");
        }
        drop(first.lock());
        drop(second.lock());
    }
}
