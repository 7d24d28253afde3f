//! Which of a store's hosts gets the next request, and how many each may have in flight.
//!
//! A host that fails is *ejected* for a backoff. Then one request at a time probes it, and the first that is answered
//! makes it healthy again. The limit on requests in flight to a healthy host rises by one per round of answers, and is
//! halved when the host is busy or fails (additive increase, multiplicative decrease). Of requests that were in flight
//! together only the first bad answer counts: those that were sent before a host was slowed or ejected say nothing new.
//!
//! So hosts that are all down get one request each per backoff, however many lines wait.

use std::sync::Arc;
use std::time::Duration;

use store::Cause;

use super::DeliveryError;
use super::backoff::Backoff;

/// A host, by its index among those of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostId(pub usize);

/// A host, as reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostReport {
    /// Host and port.
    pub name: Arc<str>,
    /// Why the host is ejected, while it is.
    pub delivery_error: Option<DeliveryError>,
    /// Number of requests in flight.
    pub in_flight: usize,
    /// Limit on requests in flight.
    pub in_flight_max: usize,
    /// Number of requests sent.
    pub requests: u64,
    /// Number of ejections.
    pub ejections: u64,
}

/// A request's claim on a host, returned with its answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticket {
    pub(super) host: HostId,
    epoch: u64,
}

/// What an answer says about its host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HostVerdict<'a> {
    /// It works, and may get more requests at a time.
    Took,
    /// It works.
    Answered,
    /// It works, but has too much to do.
    Slowed,
    /// Nothing: the failure is the request's own fault.
    Unknown,
    /// It failed: eject it.
    Failed(&'a Cause),
    /// It refuses everything until its operator acts: eject it.
    Refused(&'a Cause),
}

#[derive(Debug)]
struct Host {
    name: Arc<str>,
    /// `None` while the host is healthy.
    ejection: Option<Ejection>,
    /// Limit on requests in flight: at least one, with a fraction.
    limit: f64,
    in_flight: usize,
    /// How often the host was slowed or failed.
    epoch: u64,
    requests: u64,
    ejections: u64,
}

#[derive(Debug)]
struct Ejection {
    delivery_error: DeliveryError,
    /// Failures in a row.
    failures: u32,
    probe_at: Duration,
    /// Whether the probe is in flight.
    is_probed: bool,
}

/// All hosts of a store.
#[derive(Debug)]
pub(super) struct Hosts {
    hosts: Vec<Host>,
    limit_max: f64,
    /// The host that goes first where all else is equal.
    turn: usize,
}

impl Hosts {
    /// Healthy hosts of these names, at least one, with at most `limit_max` requests in flight each.
    pub(super) fn new(names: &[String], limit_max: usize) -> Self {
        let names = if names.is_empty() { &["store".to_owned()] } else { names };
        let host = |name: &String| Host {
            name: name.as_str().into(),
            ejection: None,
            limit: 1.0,
            in_flight: 0,
            epoch: 0,
            requests: 0,
            ejections: 0,
        };
        Self { hosts: names.iter().map(host).collect(), limit_max: limit_max.max(1) as f64, turn: 0 }
    }

    /// The host for a request at `now`, if one is free: one whose probe is due, unless the request `is_doubtful` and no
    /// good probe, else the one with the fewest requests in flight, and of these the one to `avoid` last.
    pub(super) fn choose(&self, now: Duration, is_doubtful: bool, avoid: Option<HostId>) -> Option<HostId> {
        let free = (0..self.hosts.len()).filter(|index| self.hosts[*index].free_at().is_some_and(|at| at <= now));
        let rank = |index: &usize| {
            let host = &self.hosts[*index];
            let class = match (&host.ejection, is_doubtful) {
                (Some(_), false) => 0,
                (None, _) => 1,
                (Some(_), true) => 2,
            };
            let after_turn = (index + self.hosts.len() - self.turn) % self.hosts.len();
            (class, avoid == Some(HostId(*index)), host.in_flight, after_turn)
        };
        free.min_by_key(rank).map(HostId)
    }

    /// Notes that a request is sent to a host.
    pub(super) fn send(&mut self, id: HostId) -> Ticket {
        self.turn = (id.0 + 1) % self.hosts.len();
        let host = &mut self.hosts[id.0];
        host.in_flight += 1;
        host.requests += 1;
        if let Some(ejection) = &mut host.ejection {
            ejection.is_probed = true;
        }
        Ticket { host: id, epoch: host.epoch }
    }

    /// Handles what the answer to a request says about its host.
    pub(super) fn answered(&mut self, ticket: Ticket, verdict: HostVerdict<'_>, backoff: Backoff) {
        let host = &mut self.hosts[ticket.host.0];
        host.in_flight -= 1;
        if ticket.epoch != host.epoch {
            return;
        }
        match verdict {
            HostVerdict::Took => {
                host.ejection = None;
                host.limit = (host.limit + 1.0 / host.limit).min(self.limit_max);
            }
            HostVerdict::Answered => host.ejection = None,
            HostVerdict::Slowed => {
                host.ejection = None;
                host.slow_down();
            }
            HostVerdict::Unknown => {
                if let Some(ejection) = &mut host.ejection {
                    ejection.is_probed = false;
                    ejection.probe_at = backoff.until(ejection.failures);
                }
            }
            HostVerdict::Failed(cause) => host.eject(DeliveryError { cause: cause.clone(), refused: false }, backoff),
            HostVerdict::Refused(cause) => host.eject(DeliveryError { cause: cause.clone(), refused: true }, backoff),
        }
    }

    /// Why no host takes anything, while that is so; a refusal before other errors, since its operator has to act.
    pub(super) fn delivery_error(&self) -> Option<&DeliveryError> {
        let errors: Option<Vec<_>> = self.hosts.iter().map(|host| host.ejection.as_ref()).collect();
        errors?.into_iter().map(|ejection| &ejection.delivery_error).min_by_key(|error| !error.refused)
    }

    /// When a host is free, unless an answer comes before; `None` if only an answer can free one.
    pub(super) fn free_at(&self) -> Option<Duration> {
        self.hosts.iter().filter_map(Host::free_at).min()
    }

    /// All hosts, in their order.
    pub(super) fn report(&self) -> Vec<HostReport> {
        let report = |host: &Host| HostReport {
            name: Arc::clone(&host.name),
            delivery_error: host.ejection.as_ref().map(|ejection| ejection.delivery_error.clone()),
            in_flight: host.in_flight,
            in_flight_max: if host.ejection.is_some() { 1 } else { host.limit as usize },
            requests: host.requests,
            ejections: host.ejections,
        };
        self.hosts.iter().map(report).collect()
    }
}

impl Host {
    fn free_at(&self) -> Option<Duration> {
        match &self.ejection {
            Some(ejection) => (!ejection.is_probed).then_some(ejection.probe_at),
            None => (self.in_flight < self.limit as usize).then_some(Duration::ZERO),
        }
    }

    fn slow_down(&mut self) {
        self.limit = (self.limit / 2.0).max(1.0);
        self.epoch += 1;
    }

    fn eject(&mut self, delivery_error: DeliveryError, backoff: Backoff) {
        self.ejections += u64::from(self.ejection.is_none());
        let failures = self.ejection.as_ref().map_or(0, |ejection| ejection.failures).saturating_add(1);
        let probe_at = backoff.until(failures);
        self.ejection = Some(Ejection { delivery_error, failures, probe_at, is_probed: false });
        self.slow_down();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIN: Duration = Duration::from_millis(100);

    fn hosts(count: usize, limit_max: usize) -> Hosts {
        let names: Vec<_> = (0..count).map(|number| format!("host-{number}:9200")).collect();
        Hosts::new(&names, limit_max)
    }

    fn took(hosts: &mut Hosts, ticket: Ticket) {
        hosts.answered(ticket, HostVerdict::Took, backoff(Duration::ZERO, 0));
    }

    fn failed(hosts: &mut Hosts, ticket: Ticket, now: Duration, random: u64) {
        hosts.answered(ticket, HostVerdict::Failed(&Cause::new(503, "down")), backoff(now, random));
    }

    fn backoff(now: Duration, random: u64) -> Backoff {
        Backoff { min: MIN, max: Duration::from_secs(30), now, random }
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
            round.into_iter().for_each(|ticket| took(&mut hosts, ticket));
        }
        for _ in 0..20 {
            let ticket = send(&mut hosts, Duration::ZERO).unwrap();
            took(&mut hosts, ticket);
        }
        let round: Vec<_> = std::iter::from_fn(|| send(&mut hosts, Duration::ZERO)).collect();
        assert_eq!(round.len(), 8);
        for ticket in round {
            hosts.answered(ticket, HostVerdict::Slowed, backoff(Duration::ZERO, 0));
        }
        assert_eq!(std::iter::from_fn(|| send(&mut hosts, Duration::ZERO)).count(), 4);
    }

    #[test]
    fn a_dead_host_gets_one_probe_a_backoff_and_the_others_all_other_requests() {
        let mut hosts = hosts(3, 4);
        let first = send(&mut hosts, Duration::ZERO).unwrap();
        let dead = first.host;
        failed(&mut hosts, first, Duration::ZERO, u64::MAX);
        assert!(hosts.delivery_error().is_none());
        for _ in 0..50 {
            let ticket = send(&mut hosts, Duration::from_millis(50)).unwrap();
            assert_ne!(ticket.host, dead);
            took(&mut hosts, ticket);
        }
        let probe = send(&mut hosts, Duration::from_millis(100)).unwrap();
        assert_eq!(probe.host, dead);
        // Only one probe at a time.
        assert_ne!(send(&mut hosts, Duration::from_millis(100)).unwrap().host, dead);
        took(&mut hosts, probe);
        assert!(hosts.report().iter().all(|host| host.delivery_error.is_none()));
        assert_eq!(hosts.report()[dead.0].ejections, 1);
    }

    #[test]
    fn a_request_that_failed_at_a_host_goes_to_another() {
        let mut hosts = hosts(2, 4);
        let ticket = send(&mut hosts, Duration::ZERO).unwrap();
        let other = hosts.choose(Duration::ZERO, true, Some(ticket.host)).unwrap();
        assert_ne!(other, ticket.host);
    }

    #[test]
    fn an_answer_to_an_earlier_request_neither_ends_an_ejection_nor_answers_the_probe() {
        let mut hosts = hosts(1, 2);
        for _ in 0..4 {
            let ticket = send(&mut hosts, Duration::ZERO).unwrap();
            took(&mut hosts, ticket);
        }
        let [first, second] = [(); 2].map(|()| send(&mut hosts, Duration::ZERO).unwrap());
        failed(&mut hosts, first, Duration::ZERO, u64::MAX);
        took(&mut hosts, second);
        assert!(hosts.delivery_error().is_some() && send(&mut hosts, MIN / 2).is_none());
        let probe = send(&mut hosts, MIN).unwrap();
        failed(&mut hosts, probe, MIN, u64::MAX);
        // A failed probe is not a second ejection.
        assert_eq!(hosts.report()[0].ejections, 1);
        let probe = send(&mut hosts, MIN * 3).unwrap();
        assert!(hosts.free_at().is_none(), "only one probe at a time");
        took(&mut hosts, probe);
        assert!(hosts.delivery_error().is_none());
    }
}
