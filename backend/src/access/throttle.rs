//! How often a client may present a wrong token. Pure; time is handed in.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Wrong tokens that a client may present in a row.
pub const FAILURES: u32 = 10;

/// After so long, a client has one more try.
pub const A_TRY_EVERY: Duration = Duration::from_secs(6);

/// Clients that are remembered. What comes beyond shares one account, so that memory stays bounded.
pub const CLIENTS_MAX: usize = 4_096;

/// What a token was presented for. Each has accounts of its own, so that who guesses at one does not lock out the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To read, or to log in.
    Read,
    /// To send alerts.
    Alerts,
    /// To scrape metrics.
    Metrics,
}

/// The failures of clients, by what they presented a token for.
#[derive(Debug, Default)]
pub struct Throttles([Mutex<Throttle>; 3]);

impl Throttles {
    /// Those of a purpose.
    #[must_use]
    pub fn of(&self, purpose: Purpose) -> &Mutex<Throttle> {
        &self.0[purpose as usize]
    }
}

/// The failures of clients.
#[derive(Debug, Default)]
pub struct Throttle {
    clients: HashMap<Client, Account>,
    others: Account,
}

/// A client's address; of IPv6 the network that one customer has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Client(u64);

impl Client {
    fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self(u64::from(address.to_bits())),
            // Bit 63 is never set in a v4 address's number.
            IpAddr::V6(address) => Self((address.to_bits() >> 64) as u64 | 1 << 63),
        }
    }
}

/// Failures that count still, as the moment at which none does.
#[derive(Clone, Copy, Debug, Default)]
struct Account {
    clear_at: Option<Instant>,
}

impl Account {
    /// How long until a try is free; none when it is.
    fn wait(&self, now: Instant) -> Option<Duration> {
        let owed = self.clear_at?.saturating_duration_since(now);
        let over = (owed + A_TRY_EVERY).saturating_sub(A_TRY_EVERY * FAILURES);
        (!over.is_zero()).then_some(over)
    }

    fn fail(&mut self, now: Instant) {
        let owed = self.clear_at.map_or(Duration::ZERO, |clear_at| clear_at.saturating_duration_since(now));
        self.clear_at = Some(now + (owed + A_TRY_EVERY).min(A_TRY_EVERY * FAILURES));
    }

    fn is_clear(&self, now: Instant) -> bool {
        self.clear_at.is_none_or(|clear_at| clear_at <= now)
    }
}

impl Throttle {
    /// How long a client has to wait before it may present a token; none when it need not.
    #[must_use]
    pub fn wait(&self, address: IpAddr, now: Instant) -> Option<Duration> {
        match self.clients.get(&Client::of(address)) {
            Some(account) => account.wait(now),
            None if self.clients.len() >= CLIENTS_MAX => self.others.wait(now),
            None => None,
        }
    }

    /// A client presented a wrong token.
    pub fn fail(&mut self, address: IpAddr, now: Instant) {
        let client = Client::of(address);
        if self.clients.len() >= CLIENTS_MAX && !self.clients.contains_key(&client) {
            self.clients.retain(|_, account| !account.is_clear(now));
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
    fn a_client_has_its_tries_and_then_one_at_a_time() {
        let (mut throttle, begun) = (Throttle::default(), Instant::now());
        let (client, other) = ("127.0.0.1".parse().unwrap(), "127.0.0.2".parse().unwrap());
        for _ in 0..FAILURES {
            assert_eq!(throttle.wait(client, begun), None);
            throttle.fail(client, begun);
        }
        assert_eq!(throttle.wait(client, begun), Some(A_TRY_EVERY));
        assert_eq!(throttle.wait("::ffff:127.0.0.1".parse().unwrap(), begun), Some(A_TRY_EVERY));
        assert_eq!(throttle.wait(other, begun), None);
        let later = begun + A_TRY_EVERY;
        assert_eq!(throttle.wait(client, later), None);
        throttle.fail(client, later);
        assert_eq!(throttle.wait(client, later), Some(A_TRY_EVERY));
        assert_eq!(throttle.wait(client, later + A_TRY_EVERY * FAILURES), None);
    }

    #[test]
    fn however_often_a_client_fails_it_waits_no_longer() {
        let (mut throttle, begun) = (Throttle::default(), Instant::now());
        let client = "127.0.0.1".parse().unwrap();
        (0..10 * FAILURES).for_each(|_| throttle.fail(client, begun));
        assert_eq!(throttle.wait(client, begun), Some(A_TRY_EVERY));
    }

    #[test]
    fn no_network_of_ipv6_is_taken_for_an_address_of_ipv4() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        (0..FAILURES).for_each(|_| throttle.fail("127.0.0.1".parse().unwrap(), now));
        assert!(throttle.wait("0:0:7f00:1::1".parse().unwrap(), now).is_none(), "the same number in its first half");
    }

    #[test]
    fn one_network_of_ipv6_is_one_client() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        for number in 0..FAILURES {
            throttle.fail(format!("2001:db8::{number:x}").parse().unwrap(), now);
        }
        assert!(throttle.wait("2001:db8::ffff".parse().unwrap(), now).is_some());
        assert!(throttle.wait("2001:db8:0:1::1".parse().unwrap(), now).is_none());
    }

    #[test]
    fn however_many_clients_fail_few_are_remembered() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        for number in 0..3 * CLIENTS_MAX as u32 {
            throttle.fail(IpAddr::from(number.to_be_bytes()), now);
        }
        assert_eq!(throttle.clients.len(), CLIENTS_MAX);
        assert!(throttle.wait("9.9.9.9".parse().unwrap(), now).is_some(), "what is not remembered shares an account");
        throttle.fail("9.9.9.9".parse().unwrap(), now + A_TRY_EVERY * FAILURES);
        assert_eq!(throttle.clients.len(), 1, "who failed long ago is forgotten");
    }
}
