//! Throttles clients that send wrong tokens. Pure; time is passed in.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Number of wrong tokens that a client may send in a row.
pub const FAILURES: u32 = 10;

/// A throttled client has one attempt in this time.
pub const ATTEMPT_INTERVAL: Duration = Duration::from_secs(6);

/// Maximum number of clients that are tracked; further ones share one quota.
pub const CLIENTS_MAX: usize = 4_096;

/// What a token is for. Failures are counted separately, so that guessing at one does not lock out the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Reading or logging in.
    Read,
    /// Sending alerts.
    Alerts,
    /// Scraping metrics.
    Metrics,
}

/// The failures of clients, by purpose.
#[derive(Debug, Default)]
pub struct Throttles([Mutex<Throttle>; 3]);

impl Throttles {
    /// The failures for a purpose.
    #[must_use]
    pub fn of(&self, purpose: Purpose) -> &Mutex<Throttle> {
        &self.0[purpose as usize]
    }
}

/// The failures of clients for one purpose.
#[derive(Debug, Default)]
pub struct Throttle {
    clients: HashMap<Client, Quota>,
    others: Quota,
}

/// A client: an IPv4 address or an IPv6 /64 network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Client(u64);

impl Client {
    fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self(u64::from(address.to_bits())),
            // Bit 63 is never set for an IPv4 address.
            IpAddr::V6(address) => Self((address.to_bits() >> 64) as u64 | 1 << 63),
        }
    }
}

/// Failures of a client, as the time at which they are forgotten.
#[derive(Clone, Copy, Debug, Default)]
struct Quota {
    clear_at: Option<Instant>,
}

impl Quota {
    /// Time until the next attempt; none if it is possible now.
    fn wait(&self, now: Instant) -> Option<Duration> {
        let pending = self.clear_at?.saturating_duration_since(now);
        let over = (pending + ATTEMPT_INTERVAL).saturating_sub(ATTEMPT_INTERVAL * FAILURES);
        (!over.is_zero()).then_some(over)
    }

    fn fail(&mut self, now: Instant) {
        let pending = self.clear_at.map_or(Duration::ZERO, |clear_at| clear_at.saturating_duration_since(now));
        self.clear_at = Some(now + (pending + ATTEMPT_INTERVAL).min(ATTEMPT_INTERVAL * FAILURES));
    }

    fn is_clear(&self, now: Instant) -> bool {
        self.clear_at.is_none_or(|clear_at| clear_at <= now)
    }
}

impl Throttle {
    /// Time until a client may send a token; none if it may now.
    #[must_use]
    pub fn wait(&self, address: IpAddr, now: Instant) -> Option<Duration> {
        match self.clients.get(&Client::of(address)) {
            Some(quota) => quota.wait(now),
            None if self.clients.len() >= CLIENTS_MAX => self.others.wait(now),
            None => None,
        }
    }

    /// Counts a wrong token of a client.
    pub fn fail(&mut self, address: IpAddr, now: Instant) {
        let client = Client::of(address);
        if self.clients.len() >= CLIENTS_MAX && !self.clients.contains_key(&client) {
            self.clients.retain(|_, quota| !quota.is_clear(now));
            if self.clients.len() >= CLIENTS_MAX {
                return self.others.fail(now);
            }
        }
        self.clients.entry(client).or_default().fail(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_has_several_attempts_and_then_one_at_a_time() {
        let (mut throttle, begun) = (Throttle::default(), Instant::now());
        let (client, other) = ("127.0.0.1".parse().unwrap(), "127.0.0.2".parse().unwrap());
        for _ in 0..FAILURES {
            assert_eq!(throttle.wait(client, begun), None);
            throttle.fail(client, begun);
        }
        assert_eq!(throttle.wait(client, begun), Some(ATTEMPT_INTERVAL));
        assert_eq!(throttle.wait("::ffff:127.0.0.1".parse().unwrap(), begun), Some(ATTEMPT_INTERVAL));
        assert_eq!(throttle.wait(other, begun), None);
        let later = begun + ATTEMPT_INTERVAL;
        assert_eq!(throttle.wait(client, later), None);
        throttle.fail(client, later);
        assert_eq!(throttle.wait(client, later), Some(ATTEMPT_INTERVAL));
        assert_eq!(throttle.wait(client, later + ATTEMPT_INTERVAL * FAILURES), None);
    }

    #[test]
    fn the_wait_of_a_client_is_bounded() {
        let (mut throttle, begun) = (Throttle::default(), Instant::now());
        let client = "127.0.0.1".parse().unwrap();
        (0..10 * FAILURES).for_each(|_| throttle.fail(client, begun));
        assert_eq!(throttle.wait(client, begun), Some(ATTEMPT_INTERVAL));
    }

    #[test]
    fn an_ipv6_network_is_never_an_ipv4_address() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        (0..FAILURES).for_each(|_| throttle.fail("127.0.0.1".parse().unwrap(), now));
        assert!(throttle.wait("0:0:7f00:1::1".parse().unwrap(), now).is_none(), "the same number in its first half");
    }

    #[test]
    fn an_ipv6_network_is_one_client() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        for number in 0..FAILURES {
            throttle.fail(format!("2001:db8::{number:x}").parse().unwrap(), now);
        }
        assert!(throttle.wait("2001:db8::ffff".parse().unwrap(), now).is_some());
        assert!(throttle.wait("2001:db8:0:1::1".parse().unwrap(), now).is_none());
    }

    #[test]
    fn the_number_of_tracked_clients_is_bounded() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        for number in 0..3 * CLIENTS_MAX as u32 {
            throttle.fail(IpAddr::from(number.to_be_bytes()), now);
        }
        assert_eq!(throttle.clients.len(), CLIENTS_MAX);
        assert!(throttle.wait("9.9.9.9".parse().unwrap(), now).is_some(), "untracked clients share a quota");
        throttle.fail("9.9.9.9".parse().unwrap(), now + ATTEMPT_INTERVAL * FAILURES);
        assert_eq!(throttle.clients.len(), 1, "old failures are forgotten");
    }
}
