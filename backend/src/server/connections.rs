//! The connections of a listener, limited in number. At the limit, the connection that has waited longest for its client is
//! closed for a new one, so that clients that send half a request can't block others. If all connections are handling
//! requests, a few slots are reserved for health checks and scrapes.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

use crate::limits::{Limit, Limits};
use crate::server::state::State;

/// The maximum number of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// For everyone.
    pub connections: usize,
    /// Additional ones for health checks and scrapes.
    pub reserve: usize,
}

impl Room {
    /// Slots of both kinds.
    fn all(self) -> usize {
        self.connections + self.reserve
    }
}

/// How long a connection waits for a slot.
pub const SLOT_TIMEOUT: Duration = Duration::from_secs(2);

/// Counts a connection that waits for a slot, until it is dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The connections of a listener. A clone is cheap and shares them.
#[derive(Clone, Debug)]
pub struct Connections(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    room: Room,
    head_timeout: Duration,
    limits: Limits,
    next: AtomicU64,
    open: Mutex<HashMap<u64, Arc<State>>>,
    /// Notified when a slot is released.
    freed: Notify,
    /// Connections that wait for a slot.
    waiting: AtomicUsize,
}

/// The slot of a connection, released when it is dropped.
#[derive(Debug)]
pub struct ConnectionSlot {
    connections: Connections,
    number: u64,
    state: Arc<State>,
}

impl ConnectionSlot {
    /// The state of its connection.
    #[must_use]
    pub fn state(&self) -> Arc<State> {
        self.state.clone()
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        let mut open = self.connections.lock();
        open.remove(&self.number);
        self.connections.count(open.len());
        drop(open);
        self.connections.0.freed.notify_one();
    }
}

impl Connections {
    /// Connections with this room; the head of each request has to arrive within `head_timeout`.
    #[must_use]
    pub fn new(room: Room, head_timeout: Duration, limits: Limits) -> Self {
        let (next, waiting) = (AtomicU64::new(0), AtomicUsize::new(0));
        Self(Arc::new(Inner {
            room,
            head_timeout,
            limits,
            next,
            open: Mutex::default(),
            freed: Notify::new(),
            waiting,
        }))
    }

    /// Takes a slot for a new connection, and waits for one if none is free.
    ///
    /// # Errors
    /// None became free in time.
    pub(super) async fn slot(&self) -> io::Result<ConnectionSlot> {
        let slot = match self.try_slot() {
            Some(slot) => Some(slot),
            None => self.wait_for_slot().await,
        };
        slot.ok_or_else(|| {
            self.0.limits.count(Limit::ConnectionRefused);
            io::Error::other("no slot for another connection")
        })
    }

    /// Time for the head of a request.
    pub(super) fn head_timeout(&self) -> Duration {
        self.0.head_timeout
    }

    /// The counters of limits.
    pub(super) fn limits(&self) -> &Limits {
        &self.0.limits
    }

    /// Waits for a slot: connections that are closing may not have done so yet. At most half as many wait as there are
    /// slots.
    async fn wait_for_slot(&self) -> Option<ConnectionSlot> {
        let waiting = Waiting(&self.0.waiting);
        if waiting.0.fetch_add(1, Ordering::Relaxed) >= self.0.room.all() / 2 {
            return None;
        }
        let deadline = tokio::time::Instant::now() + SLOT_TIMEOUT;
        loop {
            tokio::time::timeout_at(deadline, self.0.freed.notified()).await.ok()?;
            if let Some(slot) = self.try_slot() {
                return Some(slot);
            }
        }
    }

    /// A free slot; closes another connection for it if necessary.
    fn try_slot(&self) -> Option<ConnectionSlot> {
        let Room { connections, .. } = self.0.room;
        let mut open = self.lock();
        let alive = open.values().filter(|state| !state.is_closing()).count();
        // Connections that are closing hold their descriptors until they are polled.
        if alive >= self.0.room.all() || open.len() >= self.0.room.all() * 3 / 2 {
            return None;
        }
        let mut reserved = false;
        if alive >= connections {
            let waiting = open.values().filter_map(|state| Some((state.waits_since()?, state)));
            match waiting.min_by_key(|(since, _)| *since) {
                Some((_, longest)) => {
                    longest.close();
                    self.0.limits.count(Limit::ConnectionEvicted);
                }
                None => reserved = true,
            }
        }
        let (number, state) = (self.0.next.fetch_add(1, Ordering::Relaxed), Arc::new(State::new(reserved)));
        open.insert(number, state.clone());
        self.count(open.len());
        Some(ConnectionSlot { connections: self.clone(), number, state })
    }

    fn count(&self, open: usize) {
        self.0.limits.connections().set(i64::try_from(open).unwrap_or(i64::MAX));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Arc<State>>> {
        self.0.open.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connections(limits: &Limits) -> Connections {
        Connections::new(Room { connections: 3, reserve: 2 }, Duration::from_secs(10), limits.clone())
    }

    #[test]
    fn the_connection_that_waits_longest_for_its_client_is_closed() {
        let limits = Limits::default();
        let connections = connections(&limits);
        let slots: Vec<_> = (0..3).map(|_| connections.try_slot().unwrap()).collect();
        slots[0].state.request_begins();
        let fourth = connections.try_slot().unwrap();
        let closing: Vec<_> = slots.iter().map(|slot| slot.state.waits_since().is_none()).collect();
        assert_eq!(closing, [true, true, false], "the first handles a request, the second waited longest");
        assert!(!fourth.state.is_reserved());
        assert_eq!(limits.reached(Limit::ConnectionEvicted), 1);
        assert_eq!(limits.connections().get(), 4, "until it is closed");
        drop((slots, fourth));
        assert_eq!((connections.lock().len(), limits.connections().get()), (0, 0));
    }

    #[test]
    fn if_all_handle_requests_only_the_reserve_is_left() {
        let limits = Limits::default();
        let connections = connections(&limits);
        let slots: Vec<_> = (0..3).map(|_| connections.try_slot().unwrap()).collect();
        slots.iter().for_each(|slot| slot.state.request_begins());
        let handling = || {
            let slot = connections.try_slot().unwrap();
            slot.state.request_begins();
            slot
        };
        let kept = [handling(), handling()];
        assert!(kept.iter().all(|slot| slot.state.is_reserved()));
        assert!(connections.try_slot().is_none());
        assert_eq!((connections.lock().len(), limits.reached(Limit::ConnectionEvicted)), (5, 0));
        // A connection that awaits a body is closed as one that awaits a head.
        slots[1].state.waits_for_body(Some(std::time::Instant::now()));
        drop(kept);
        assert!(!connections.try_slot().unwrap().state.is_reserved());
        assert_eq!(limits.reached(Limit::ConnectionEvicted), 1);
    }
}
