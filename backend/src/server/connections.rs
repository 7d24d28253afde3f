//! All connections of a listener. When there are as many as there may be, the one that has waited longest for its client is
//! closed for the next: whoever sends half a request and waits holds a place only as long as nobody needs it. Where all are
//! being answered, a few places are kept for health checks and scrapes.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix_web::rt::net::TcpStream;
use tokio::sync::Notify;

use crate::limits::{Limit, Limits};
use crate::server::connection::{Connection, State};
use crate::stalled;

/// How many connections there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// For everyone.
    pub connections: usize,
    /// Beyond these, for health checks and scrapes.
    pub reserve: usize,
}

impl Room {
    /// Places of both kinds.
    fn all(self) -> usize {
        self.connections + self.reserve
    }
}

/// A connection waits this long for a place.
pub const PLACE_TIMEOUT: Duration = Duration::from_secs(2);

/// One that waits for a place, until it is dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The connections of a listener. A copy is cheap and the same.
#[derive(Clone, Debug)]
pub struct Connections(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    room: Room,
    head_timeout: Duration,
    limits: Limits,
    next: AtomicU64,
    open: Mutex<HashMap<u64, Arc<State>>>,
    /// Notified when a place is given back.
    freed: Notify,
    /// Connections that wait for one.
    waiting: AtomicUsize,
}

/// The place of a connection, given back when it is dropped.
#[derive(Debug)]
pub struct Place {
    connections: Connections,
    number: u64,
    state: Arc<State>,
}

impl Place {
    /// What is known of its connection.
    #[must_use]
    pub fn state(&self) -> Arc<State> {
        self.state.clone()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.connections.lock();
        open.remove(&self.number);
        self.connections.count(open.len());
        drop(open);
        self.connections.0.freed.notify_one();
    }
}

impl Connections {
    /// At most `max` connections; the head of each request has to be whole within `head_timeout`.
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

    /// Takes a connection, and says where it comes from. Where there is no place for it, it waits for one for
    /// [`PLACE_TIMEOUT`].
    ///
    /// # Errors
    /// There is none.
    pub async fn take(
        &self,
        stream: TcpStream,
        stall_timeout: Duration,
    ) -> io::Result<(Connection, Option<SocketAddr>)> {
        let peer = stream.peer_addr().ok();
        let place = match self.place() {
            Some(place) => Some(place),
            None => self.wait_for_place().await,
        };
        let Some(place) = place else {
            self.0.limits.count(Limit::ConnectionRefused);
            return Err(io::Error::other("no place for another connection"));
        };
        stalled::give_up_after(stall_timeout, &stream);
        Ok((Connection::new(stream, place, self.0.head_timeout, self.0.limits.clone()), peer))
    }

    /// Waits for a place: those that were closed to make room are still to be looked at. Half as many wait as there are
    /// places.
    async fn wait_for_place(&self) -> Option<Place> {
        let waiting = Waiting(&self.0.waiting);
        if waiting.0.fetch_add(1, Ordering::Relaxed) >= self.0.room.all() / 2 {
            return None;
        }
        let deadline = tokio::time::Instant::now() + PLACE_TIMEOUT;
        loop {
            tokio::time::timeout_at(deadline, self.0.freed.notified()).await.ok()?;
            if let Some(place) = self.place() {
                return Some(place);
            }
        }
    }

    /// A place for one more, made where need be.
    fn place(&self) -> Option<Place> {
        let Room { connections, .. } = self.0.room;
        let mut open = self.lock();
        let alive = open.values().filter(|state| !state.is_closing()).count();
        // Those that are closing hold their descriptors until they are looked at.
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
        Some(Place { connections: self.clone(), number, state })
    }

    fn count(&self, open: usize) {
        self.0.limits.connections().set(i64::try_from(open).unwrap_or(i64::MAX));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Arc<State>>> {
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connections(limits: &Limits) -> Connections {
        Connections::new(Room { connections: 3, reserve: 2 }, Duration::from_secs(10), limits.clone())
    }

    #[test]
    fn the_longest_that_waits_for_its_client_makes_room() {
        let limits = Limits::default();
        let connections = connections(&limits);
        let places: Vec<_> = (0..3).map(|_| connections.place().unwrap()).collect();
        places[0].state.request_begins();
        let fourth = connections.place().unwrap();
        let closing: Vec<_> = places.iter().map(|place| place.state.waits_since().is_none()).collect();
        assert_eq!(closing, [true, true, false], "the first is being answered, the second waited longest");
        assert!(!fourth.state.is_reserved());
        assert_eq!(limits.reached(Limit::ConnectionEvicted), 1);
        assert_eq!(limits.connections().get(), 4, "until it is closed");
        drop((places, fourth));
        assert_eq!((connections.lock().len(), limits.connections().get()), (0, 0));
    }

    #[test]
    fn where_all_are_being_answered_the_reserve_is_left_and_then_nothing() {
        let limits = Limits::default();
        let connections = connections(&limits);
        let places: Vec<_> = (0..3).map(|_| connections.place().unwrap()).collect();
        places.iter().for_each(|place| place.state.request_begins());
        let answered = || {
            let place = connections.place().unwrap();
            place.state.request_begins();
            place
        };
        let kept = [answered(), answered()];
        assert!(kept.iter().all(|place| place.state.is_reserved()));
        assert!(connections.place().is_none());
        assert_eq!((connections.lock().len(), limits.reached(Limit::ConnectionEvicted)), (5, 0));
        // A request whose body is awaited makes room as one whose head is.
        places[1].state.waits_for_body(Some(std::time::Instant::now()));
        drop(kept);
        assert!(!connections.place().unwrap().state.is_reserved());
        assert_eq!(limits.reached(Limit::ConnectionEvicted), 1);
    }
}
