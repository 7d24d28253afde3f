//! All connections of a listener. When there are as many as there may be, one that waits for its client is closed for the
//! next: whoever sends half a request and waits holds a place only as long as nobody needs it. By [`Rank`] those go first
//! that never sent a whole request, and last the answers to known tokens; of a rank the address with most connections gives
//! one up, the one that waited longest. Where all are being answered, a few places are kept for health checks and scrapes.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix_web::rt::net::TcpStream;
use tokio::sync::Notify;

use crate::access::throttle::Client;
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
    #[must_use]
    pub fn all(self) -> usize {
        self.connections + self.reserve
    }

    /// Sockets that are taken from the system at most: those with a place, and half as many that are closing, wait for a
    /// place or are not looked at yet. Others wait in the listener's queue.
    #[must_use]
    pub fn sockets(self) -> usize {
        self.all() + self.all() / 2
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
    open: Mutex<HashMap<u64, Open>>,
    /// Notified when a place is given back.
    freed: Notify,
    /// Connections that wait for one.
    waiting: AtomicUsize,
}

/// A connection that has a place.
#[derive(Debug)]
struct Open {
    client: Option<Client>,
    state: Arc<State>,
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
        let address = peer.map(|peer| peer.ip());
        let place = match self.place(address) {
            Some(place) => Some(place),
            None => self.wait_for_place(address).await,
        };
        let Some(place) = place else {
            self.0.limits.count(Limit::ConnectionRefused);
            return Err(io::Error::other("no place for another connection"));
        };
        stalled::give_up_after(stall_timeout, &stream);
        Ok((Connection::new(stream, place, self.0.head_timeout, self.0.limits.clone()), peer))
    }

    /// How many there may be.
    pub(super) fn room(&self) -> Room {
        self.0.room
    }

    /// Waits for a place: those that were closed to make room are still to be looked at. A quarter as many wait as there
    /// are places.
    async fn wait_for_place(&self, address: Option<IpAddr>) -> Option<Place> {
        let waiting = Waiting(&self.0.waiting);
        if waiting.0.fetch_add(1, Ordering::Relaxed) >= self.0.room.all() / 4 {
            return None;
        }
        let deadline = tokio::time::Instant::now() + PLACE_TIMEOUT;
        loop {
            tokio::time::timeout_at(deadline, self.0.freed.notified()).await.ok()?;
            if let Some(place) = self.place(address) {
                return Some(place);
            }
        }
    }

    /// A place for one more from an address, made where need be.
    fn place(&self, address: Option<IpAddr>) -> Option<Place> {
        let Room { connections, .. } = self.0.room;
        let mut open = self.lock();
        let alive = open.values().filter(|open| !open.state.is_closing()).count();
        // Those that are closing hold their descriptors until they are looked at.
        if alive >= self.0.room.all() || open.len() >= self.0.room.sockets() {
            return None;
        }
        let mut reserved = false;
        if alive >= connections {
            match first_to_go(open.values()) {
                Some(state) => {
                    state.close();
                    self.0.limits.count(Limit::ConnectionEvicted);
                }
                None => reserved = true,
            }
        }
        let (number, state) = (self.0.next.fetch_add(1, Ordering::Relaxed), Arc::new(State::new(reserved)));
        open.insert(number, Open { client: address.map(Client::of), state: state.clone() });
        self.count(open.len());
        Some(Place { connections: self.clone(), number, state })
    }

    fn count(&self, open: usize) {
        self.0.limits.connections().set(i64::try_from(open).unwrap_or(i64::MAX));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Open>> {
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The connection that makes room for another; none where no one waits for its client.
fn first_to_go<'a>(open: impl Iterator<Item = &'a Open> + Clone) -> Option<&'a State> {
    let mut held: HashMap<Option<Client>, usize> = HashMap::new();
    for open in open.clone().filter(|open| !open.state.is_closing()) {
        *held.entry(open.client).or_default() += 1;
    }
    let waiting = open.filter_map(|open| {
        let (rank, since) = open.state.waits()?;
        Some(((rank, Reverse(held.get(&open.client).copied()), since), &*open.state))
    });
    waiting.min_by_key(|(order, _)| *order).map(|(_, state)| state)
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
        let places: Vec<_> = (0..3).map(|_| connections.place(None).unwrap()).collect();
        places[0].state.request_begins();
        let fourth = connections.place(None).unwrap();
        let closing: Vec<_> = places.iter().map(|place| place.state.waits().is_none()).collect();
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
        let places: Vec<_> = (0..3).map(|_| connections.place(None).unwrap()).collect();
        places.iter().for_each(|place| place.state.request_begins());
        let answered = || {
            let place = connections.place(None).unwrap();
            place.state.request_begins();
            place
        };
        let kept = [answered(), answered()];
        assert!(kept.iter().all(|place| place.state.is_reserved()));
        assert!(connections.place(None).is_none());
        assert_eq!((connections.lock().len(), limits.reached(Limit::ConnectionEvicted)), (5, 0));
        // A request whose body is awaited makes room as one whose head is.
        places[1].state.waits_for_body(Some(std::time::Instant::now()));
        drop(kept);
        assert!(!connections.place(None).unwrap().state.is_reserved());
        assert_eq!(limits.reached(Limit::ConnectionEvicted), 1);
    }

    #[test]
    fn anonymous_idlers_go_before_the_answer_to_a_known_token() {
        let connections = connections(&Limits::default());
        let places: Vec<_> = (0..3).map(|_| connections.place(None).unwrap()).collect();
        let [download, visitor, idler] = [0, 1, 2].map(|number| places[number].state());
        download.request_begins();
        download.request_is_known();
        download.waits_for_room(true);
        visitor.request_begins();
        visitor.request_ends();
        // However many come, each makes room by one that sent nothing.
        let mut others = Vec::new();
        for _ in 0..10 {
            others.push(connections.place(None).unwrap());
            others.retain(|place| !place.state.is_closing());
        }
        assert_eq!([&download, &visitor, &idler].map(|state| state.is_closing()), [false, false, true]);
        // Only then who asked before, and at last the answer that a known token is slow to read.
        others.iter().for_each(|place| place.state.request_begins());
        others.push(connections.place(None).unwrap());
        assert_eq!([&download, &visitor].map(|state| state.is_closing()), [false, true]);
        others.iter().for_each(|place| place.state.request_begins());
        others.push(connections.place(None).unwrap());
        assert!(download.is_closing());
    }

    #[test]
    fn the_address_with_most_connections_makes_room() {
        let connections = connections(&Limits::default());
        let place = |last: u8| connections.place(Some(IpAddr::from([192, 0, 2, last]))).unwrap();
        let (one, flood, next) = (place(1), [place(2), place(2)], place(3));
        assert_eq!(
            [&one, &flood[0], &flood[1], &next].map(|place| place.state.is_closing()),
            [false, true, false, false]
        );
    }
}
