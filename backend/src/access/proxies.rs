//! The address of a client: that of its connection or, if that is in `TRUSTED_PROXIES`, one from `X-Forwarded-For`.
//! Pure.
//!
//! The entries of all `X-Forwarded-For` headers are read from right to left, since each proxy appends the address that
//! it received a request from. The client is the first entry that is not a trusted proxy; entries left of it are the
//! client's own claim. An invalid entry ends the search: the client is then the proxy that wrote it. `Forwarded` (RFC
//! 7239) is not read, since many proxies pass on one from their client.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use actix_web::http::header::{HeaderMap, HeaderName};
use ipnet::IpNet;

/// The header in which proxies record addresses.
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Maximum number of entries that are read, from the right.
pub const HOPS_MAX: usize = 32;

/// Networks of trusted proxies; none by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<IpNet>);

/// An invalid address or network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not an address; expected comma-separated addresses and networks, such as 10.0.0.0/8,192.0.2.7,fd00::/8"
)]
pub struct ParseProxiesError(String);

impl FromStr for TrustedProxies {
    type Err = ParseProxiesError;

    fn from_str(text: &str) -> Result<Self, ParseProxiesError> {
        let networks = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        networks
            .map(|entry| network(entry).ok_or_else(|| ParseProxiesError(entry.to_owned())))
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

/// Parses a network or an address. IPv4-mapped IPv6 networks become IPv4 networks.
fn network(text: &str) -> Option<IpNet> {
    let network: IpNet = text.parse().ok().or_else(|| Some(IpNet::from(text.parse::<IpAddr>().ok()?)))?;
    let IpNet::V6(mapped) = network else { return Some(network) };
    match (mapped.addr().to_ipv4_mapped(), mapped.prefix_len().checked_sub(96)) {
        (Some(address), Some(prefix)) => IpNet::new(address.into(), prefix).ok(),
        _ => Some(network),
    }
}

impl TrustedProxies {
    /// The address of the client that sent a request over a connection from `peer`.
    #[must_use]
    pub fn client(&self, peer: Option<SocketAddr>, headers: &HeaderMap) -> IpAddr {
        let mut client = peer.map_or(IpAddr::from([0, 0, 0, 0]), |peer| peer.ip().to_canonical());
        if !self.trusts(client) {
            return client;
        }
        let lines: Vec<_> =
            headers.get_all(&FORWARDED_FOR).map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
        let entries = lines.iter().rev().flat_map(|line| line.rsplit(',')).take(HOPS_MAX);
        for entry in entries {
            let Some(address) = address(entry.trim()) else { break };
            client = address;
            if !self.trusts(client) {
                break;
            }
        }
        client
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// Parses an address with or without a port, and with or without brackets for IPv6.
fn address(entry: &str) -> Option<IpAddr> {
    let bare = entry.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let address = match bare {
        Some(bare) => IpAddr::V6(bare.parse().ok()?),
        None => entry.parse().ok().or_else(|| Some(entry.parse::<SocketAddr>().ok()?.ip()))?,
    };
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    fn client(trusted: &str, peer: &str, lines: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(FORWARDED_FOR, HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        let trusted: TrustedProxies = trusted.parse().unwrap();
        trusted.client(Some(SocketAddr::new(peer.parse().unwrap(), 1)), &headers).to_string()
    }

    #[test]
    fn no_proxy_is_trusted_by_default() {
        assert_eq!(client("", "10.0.0.1", &["192.0.2.1"]), "10.0.0.1");
        assert_eq!(client("10.0.0.0/8", "192.0.2.9", &["192.0.2.1"]), "192.0.2.9");
        assert_eq!(TrustedProxies::default().client(None, &HeaderMap::new()).to_string(), "0.0.0.0");
    }

    #[test]
    fn the_client_is_the_rightmost_address_that_is_not_a_trusted_proxy() {
        for (lines, expected) in [
            (&["192.0.2.1"][..], "192.0.2.1"),
            (&["203.0.113.66, 192.0.2.1"], "192.0.2.1"),
            (&["203.0.113.66", "192.0.2.1"], "192.0.2.1"),
            (&["203.0.113.66,192.0.2.1, 10.1.1.1 ,10.2.2.2"], "192.0.2.1"),
            (&["203.0.113.66, 192.0.2.1", "10.1.1.1"], "192.0.2.1"),
            (&["192.0.2.1:4711"], "192.0.2.1"),
            (&["[2001:db8::1]:4711"], "2001:db8::1"),
            (&["[2001:db8::1]"], "2001:db8::1"),
            (&["2001:db8::1, [fd00::7]:80"], "2001:db8::1"),
            (&["::ffff:192.0.2.1"], "192.0.2.1"),
            (&["192.0.2.1, ::ffff:10.9.9.9"], "192.0.2.1"),
            // If all are proxies, the leftmost sent the request itself.
            (&["10.1.1.1, 10.2.2.2"], "10.1.1.1"),
            (&[], "10.0.0.1"),
        ] {
            assert_eq!(client("10.0.0.0/8, fd00::/8", "10.0.0.1", lines), expected, "{lines:?}");
            assert_eq!(client("::ffff:10.0.0.0/104,fd00::/8", "::ffff:10.0.0.1", lines), expected, "{lines:?}");
        }
        let many = vec!["10.1.1.1"; HOPS_MAX + 1].join(",");
        assert_eq!(client("10.0.0.0/8", "10.0.0.1", &[&format!("192.0.2.1,{many}")]), "10.1.1.1");
    }

    #[test]
    fn an_invalid_entry_counts_as_the_proxy_that_wrote_it() {
        for wrong in
            ["unknown", "_hidden", "", "1.2.3", "999.1.1.1", "fe80::1%eth0", "[192.0.2.1]", "192.0.2.1:x", "\u{ff}"]
        {
            assert_eq!(
                client("10.0.0.0/8", "10.0.0.1", &[&format!("192.0.2.1, {wrong}, 10.3.3.3")]),
                "10.3.3.3",
                "{wrong}"
            );
            assert_eq!(client("10.0.0.0/8", "10.0.0.1", &[wrong]), "10.0.0.1", "{wrong}");
        }
    }

    #[test]
    fn invalid_networks_are_rejected() {
        for wrong in ["10.0.0.0/33", "proxy.example", "10.0.0.0/8;10.1.1.1", "*", "10.0.0.1:80"] {
            assert!(wrong.parse::<TrustedProxies>().is_err(), "{wrong}");
        }
        assert_eq!("10.0.0.1,".parse::<TrustedProxies>().unwrap(), "10.0.0.1/32".parse().unwrap());
    }
}
