//! Which of a store's hosts gets the next request, and how many each may have on its way.
//!
//! A host that fails is *ejected*: it rests for a backoff, then one request at a time probes how it is, and the first
//! that is answered takes it back. While it is healthy its requests in flight go up by one a round of answers and are
//! halved when it is slow or fails (additive increase, multiplicative decrease). Of requests that were on their way
//! together only the first bad answer counts: what was sent before a host was slowed or ejected says nothing new.
//!
//! So of hosts that are all down each is asked once a backoff, however much waits.

use std::sync::Arc;
use std::time::Duration;

use super::DeliveryError;
use super::backoff::Backoff;

/// A host, by its place among those of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostId(pub usize);

/// A host as it is seen from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostReport {
    /// Its name: host and port.
    pub name: Arc<str>,
    /// Why it is ejected, while it is.
    pub delivery_error: Option<DeliveryError>,
    /// Requests that are on their way to it.
    pub in_flight: usize,
    /// How many there may be.
    pub in_flight_max: usize,
    /// Requests that were sent to it.
    pub requests: u64,
    /// How often it was ejected.
    pub ejections: u64,
}

/// A request's claim on a host, given back with what the answer tells of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticket {
    pub(super) host: HostId,
    epoch: u64,
}

#[derive(Debug)]
struct Host {
    name: Arc<str>,
    /// How many requests may be on their way: at least one, and parts of one.
    limit: f64,
    in_flight: usize,
    /// How often in a row it failed.
    failures: u32,
    delivery_error: Option<DeliveryError>,
    rest_until: Duration,
    /// A probe is on its way.
    is_probed: bool,
    /// How often it was slowed or ejected.
    epoch: u64,
    requests: u64,
    ejections: u64,
}

/// All hosts of a store.
#[derive(Debug)]
pub(super) struct Hosts {
    hosts: Vec<Host>,
    limit_max: f64,
    backoff: Backoff,
    /// Who goes first where all else is equal.
    turn: usize,
}

impl Hosts {
    /// Healthy hosts of these names, at least one, with at most `limit_max` requests in flight each.
    pub(super) fn new(names: &[String], limit_max: usize, backoff: Backoff) -> Self {
        let host = |name: &str| Host {
            name: name.into(),
            limit: 1.0,
            in_flight: 0,
            failures: 0,
            delivery_error: None,
            rest_until: Duration::ZERO,
            is_probed: false,
            epoch: 0,
            requests: 0,
            ejections: 0,
        };
        let hosts: Vec<_> =
            if names.is_empty() { vec![host("store")] } else { names.iter().map(|name| host(name)).collect() };
        Self { hosts, limit_max: limit_max.max(1) as f64, backoff, turn: 0 }
    }

    /// The host for a request now, if any may have one: one whose probe is due, unless `is_doubtful` says that the request
    /// is no good probe, else the one with the least to do, and of these the one to `avoid` last.
    pub(super) fn choose(&self, now: Duration, is_doubtful: bool, avoid: Option<HostId>) -> Option<HostId> {
        let free = (0..self.hosts.len()).filter(|place| self.hosts[*place].may_send(now));
        let rank = |place: &usize| {
            let host = &self.hosts[*place];
            let class = match (&host.delivery_error, is_doubtful) {
                (Some(_), false) => 0,
                (None, _) => 1,
                (Some(_), true) => 2,
            };
            let after_turn = (place + self.hosts.len() - self.turn) % self.hosts.len();
            (class, avoid == Some(HostId(*place)), host.in_flight, after_turn)
        };
        free.min_by_key(rank).map(HostId)
    }

    /// A request goes to a host.
    pub(super) fn send(&mut self, id: HostId) -> Ticket {
        self.turn = (id.0 + 1) % self.hosts.len();
        let host = &mut self.hosts[id.0];
        host.in_flight += 1;
        host.requests += 1;
        host.is_probed |= host.delivery_error.is_some();
        Ticket { host: id, epoch: host.epoch }
    }

    /// It answered well.
    pub(super) fn took(&mut self, ticket: Ticket) {
        let limit_max = self.limit_max;
        if let Some(host) = self.give_back(ticket) {
            host.take_back();
            host.limit = (host.limit + 1.0 / host.limit).min(limit_max);
        }
    }

    /// It answered; what it said is no praise.
    pub(super) fn answered(&mut self, ticket: Ticket) {
        if let Some(host) = self.give_back(ticket) {
            host.take_back();
        }
    }

    /// It took some, and had too much to do for the rest.
    pub(super) fn slowed(&mut self, ticket: Ticket) {
        if let Some(host) = self.give_back(ticket) {
            host.take_back();
            host.slow_down();
        }
    }

    /// The answer tells nothing of it; a probe has to be sent again.
    pub(super) fn unknown(&mut self, ticket: Ticket, now: Duration, random: u64) {
        let backoff = self.backoff;
        if let Some(host) = self.give_back(ticket)
            && host.delivery_error.is_some()
        {
            host.rest_until = now + backoff.after(host.failures, random);
        }
    }

    /// It failed.
    pub(super) fn failed(&mut self, ticket: Ticket, delivery_error: DeliveryError, now: Duration, random: u64) {
        let backoff = self.backoff;
        if let Some(host) = self.give_back(ticket) {
            host.failures = host.failures.saturating_add(1);
            host.ejections += u64::from(host.delivery_error.is_none());
            host.delivery_error = Some(delivery_error);
            host.rest_until = now + backoff.after(host.failures, random);
            host.slow_down();
        }
    }

    /// Takes a request off its host; gives the host if the answer says how it is now.
    fn give_back(&mut self, ticket: Ticket) -> Option<&mut Host> {
        let host = &mut self.hosts[ticket.host.0];
        host.in_flight -= 1;
        if ticket.epoch != host.epoch {
            return None;
        }
        host.is_probed = false;
        Some(host)
    }

    /// Why no host takes anything, while that is so: a refusal before others, since somebody has to mend it.
    pub(super) fn delivery_error(&self) -> Option<&DeliveryError> {
        let troubles = || self.hosts.iter().filter_map(|host| host.delivery_error.as_ref());
        if troubles().count() < self.hosts.len() {
            return None;
        }
        troubles().find(|delivery_error| delivery_error.refused).or_else(|| troubles().next())
    }

    /// When a host may have a request, unless an answer comes before; `None` where only an answer can change anything.
    pub(super) fn free_at(&self) -> Option<Duration> {
        self.hosts.iter().filter_map(Host::free_at).min()
    }

    /// All hosts, in their order.
    pub(super) fn report(&self) -> Vec<HostReport> {
        let report = |host: &Host| HostReport {
            name: Arc::clone(&host.name),
            delivery_error: host.delivery_error.clone(),
            in_flight: host.in_flight,
            in_flight_max: if host.delivery_error.is_some() { 1 } else { host.limit as usize },
            requests: host.requests,
            ejections: host.ejections,
        };
        self.hosts.iter().map(report).collect()
    }
}

impl Host {
    fn free_at(&self) -> Option<Duration> {
        match self.delivery_error {
            Some(_) => (!self.is_probed).then_some(self.rest_until),
            None => (self.in_flight < self.limit as usize).then_some(Duration::ZERO),
        }
    }

    fn may_send(&self, now: Duration) -> bool {
        self.free_at().is_some_and(|at| at <= now)
    }

    fn take_back(&mut self) {
        self.failures = 0;
        self.delivery_error = None;
    }

    fn slow_down(&mut self) {
        self.limit = (self.limit / 2.0).max(1.0);
        self.epoch += 1;
    }
}

#[cfg(test)]
mod tests {
    use store::Cause;

    use super::*;

    const BACKOFF: Backoff = Backoff { min: Duration::from_millis(100), max: Duration::from_secs(30) };

    fn hosts(count: usize, limit_max: usize) -> Hosts {
        let names: Vec<_> = (0..count).map(|number| format!("host-{number}:9200")).collect();
        Hosts::new(&names, limit_max, BACKOFF)
    }

    fn down() -> DeliveryError {
        DeliveryError { cause: Cause::new(503, "down"), refused: false }
    }

    fn send(hosts: &mut Hosts, now: Duration) -> Option<Ticket> {
        hosts.choose(now, false, None).map(|id| hosts.send(id))
    }

    #[test]
    fn requests_in_flight_grow_by_one_a_round_and_are_halved_once() {
        let mut hosts = hosts(1, 8);
        for expected in 1..=8 {
            let round: Vec<_> = std::iter::from_fn(|| send(&mut hosts, Duration::ZERO)).collect();
            assert!(round.len().abs_diff(expected) <= 1, "{} of {expected}", round.len());
            round.into_iter().for_each(|ticket| hosts.took(ticket));
        }
        for _ in 0..20 {
            let ticket = send(&mut hosts, Duration::ZERO).unwrap();
            hosts.took(ticket);
        }
        let round: Vec<_> = std::iter::from_fn(|| send(&mut hosts, Duration::ZERO)).collect();
        assert_eq!(round.len(), 8);
        round.into_iter().for_each(|ticket| hosts.slowed(ticket));
        assert_eq!(std::iter::from_fn(|| send(&mut hosts, Duration::ZERO)).count(), 4);
    }

    #[test]
    fn a_dead_host_gets_one_probe_a_backoff_and_the_others_the_rest() {
        let mut hosts = hosts(3, 4);
        let first = send(&mut hosts, Duration::ZERO).unwrap();
        let dead = first.host;
        hosts.failed(first, down(), Duration::ZERO, u64::MAX);
        assert!(hosts.delivery_error().is_none());
        for _ in 0..50 {
            let ticket = send(&mut hosts, Duration::from_millis(50)).unwrap();
            assert_ne!(ticket.host, dead);
            hosts.took(ticket);
        }
        let probe = send(&mut hosts, Duration::from_millis(100)).unwrap();
        assert_eq!(probe.host, dead);
        // One probe at a time.
        assert_ne!(send(&mut hosts, Duration::from_millis(100)).unwrap().host, dead);
        hosts.took(probe);
        assert!(hosts.report().iter().all(|host| host.delivery_error.is_none()));
        assert_eq!(hosts.report()[dead.0].ejections, 1);
    }

    #[test]
    fn hosts_that_are_all_down_are_not_stormed() {
        let mut hosts = hosts(3, 8);
        let (mut now, mut sent) = (Duration::ZERO, 0);
        // An hour, with the longest waits that there can be on the average.
        while now < Duration::from_secs(3_600) {
            while let Some(ticket) = send(&mut hosts, now) {
                sent += 1;
                hosts.failed(ticket, down(), now, u64::MAX / 2);
            }
            now = hosts.free_at().unwrap();
        }
        assert!(sent < 3 * 3_600 / 15 + 3 * 10, "{sent}");
        assert!(hosts.delivery_error().is_some());
    }

    #[test]
    fn what_was_sent_before_an_ejection_says_nothing_of_after() {
        let mut hosts = hosts(1, 2);
        for _ in 0..4 {
            let ticket = send(&mut hosts, Duration::ZERO).unwrap();
            hosts.took(ticket);
        }
        let (early, late) = (send(&mut hosts, Duration::ZERO).unwrap(), send(&mut hosts, Duration::ZERO).unwrap());
        hosts.failed(early, down(), Duration::ZERO, u64::MAX);
        hosts.took(late);
        assert!(hosts.delivery_error().is_some() && send(&mut hosts, Duration::from_millis(50)).is_none());
        let probe = send(&mut hosts, Duration::from_millis(100)).unwrap();
        hosts.took(probe);
        assert!(hosts.delivery_error().is_none());
    }

    #[test]
    fn a_request_that_failed_at_a_host_goes_to_another() {
        let mut hosts = hosts(2, 4);
        let ticket = send(&mut hosts, Duration::ZERO).unwrap();
        let other = hosts.choose(Duration::ZERO, true, Some(ticket.host)).unwrap();
        assert_ne!(other, ticket.host);
    }

    #[test]
    fn what_was_sent_before_an_ejection_is_no_answer_to_the_probe() {
        let mut hosts = hosts(1, 2);
        for _ in 0..4 {
            let ticket = send(&mut hosts, Duration::ZERO).unwrap();
            hosts.took(ticket);
        }
        let (early, late) = (send(&mut hosts, Duration::ZERO).unwrap(), send(&mut hosts, Duration::ZERO).unwrap());
        hosts.failed(early, down(), Duration::ZERO, u64::MAX);
        let probe = send(&mut hosts, Duration::from_millis(100)).unwrap();
        hosts.took(late);
        assert!(send(&mut hosts, Duration::from_millis(100)).is_none(), "one probe at a time");
        // A probe that fails is no second ejection.
        hosts.failed(probe, down(), Duration::from_millis(100), u64::MAX);
        assert_eq!(hosts.report()[0].ejections, 1);
    }
}
