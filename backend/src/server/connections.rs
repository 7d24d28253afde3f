//! All connections of a listener. When there are as many as there may be, the one that has waited longest for its client is
//! closed for the next: whoever sends half a request and waits holds a place only as long as nobody needs it. Where all are
//! being answered, a few places are kept for health checks and scrapes.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix_web::rt::net::TcpStream;

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
    }
}

impl Connections {
    /// So many at most; the head of each request has to be whole within `head_timeout`.
    #[must_use]
    pub fn new(room: Room, head_timeout: Duration, limits: Limits) -> Self {
        Self(Arc::new(Inner { room, head_timeout, limits, next: AtomicU64::new(0), open: Mutex::default() }))
    }

    /// Takes a connection, and says where it comes from.
    ///
    /// # Errors
    /// There is no place for it.
    pub fn take(&self, stream: TcpStream, stall_timeout: Duration) -> io::Result<(Connection, Option<SocketAddr>)> {
        let peer = stream.peer_addr().ok();
        let place = self.place().ok_or_else(|| io::Error::other("no place for another connection"))?;
        stalled::give_up_after(stall_timeout, &stream);
        Ok((Connection::new(stream, place, self.0.head_timeout, self.0.limits.clone()), peer))
    }

    /// A place for one more, made where need be.
    fn place(&self) -> Option<Place> {
        let Room { connections, reserve } = self.0.room;
        let mut open = self.lock();
        let alive = open.values().filter(|state| !state.is_closing()).count();
        // Those that are closing hold their descriptors until they are looked at; half of the descriptors are theirs.
        if alive >= connections + reserve || open.len() >= 2 * (connections + reserve) {
            self.0.limits.count(Limit::ConnectionRefused);
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
        let kept: Vec<_> = (0..2).map(|_| connections.place().unwrap()).collect();
        kept.iter().for_each(|place| place.state.request_begins());
        assert!(kept.iter().all(|place| place.state.is_reserved()));
        assert!(connections.place().is_none());
        assert_eq!((limits.reached(Limit::ConnectionRefused), limits.reached(Limit::ConnectionEvicted)), (1, 0));
        // A request whose body is awaited makes room as one whose head is.
        places[1].state.waits_for_body(Some(std::time::Instant::now()));
        drop(kept);
        assert!(!connections.place().unwrap().state.is_reserved());
        assert_eq!(limits.reached(Limit::ConnectionEvicted), 1);
    }
}
