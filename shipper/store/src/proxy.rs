//! The proxy for connections to an engine: a configured one, or the one from the environment.
//!
//! The variables have the same meaning as in curl: `http_proxy`, `https_proxy`, `all_proxy` and `no_proxy`, in lower or
//! upper case. HTTPS addresses use a CONNECT tunnel, so the proxy sees only host and port.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use percent_encoding::percent_decode_str;
use url::Url;

/// Selects the proxy. `Debug` does not show passwords.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxy(Selection);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Selection {
    #[default]
    None,
    Explicit(Route),
    Environment(Variables),
}

/// Values of the environment's variables; empty if unset.
#[derive(Clone, Default, PartialEq, Eq)]
struct Variables {
    http: String,
    https: String,
    all: String,
    no_proxy: String,
}

/// One proxy and the credentials for it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Route {
    /// The address, without credentials.
    pub(crate) url: Url,
    /// User name and password.
    pub(crate) credentials: Option<(String, String)>,
}

/// The proxy's settings are invalid. Messages do not show credentials.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ParseProxyError {
    /// The text is not the address of a proxy.
    #[error("invalid proxy address {0:?}: expected http://HOST:PORT or https://HOST:PORT")]
    Address(String),
    /// The address contains credentials, which have separately. The message does not show them.
    #[error("the proxy address {0:?} contains credentials: set user and password separately")]
    Credentials(String),
    /// An entry of `no_proxy` looks like a network and is not valid.
    #[error("{0:?} in no_proxy is not a network: expected ADDRESS/BITS, such as 10.0.0.0/8")]
    Network(String),
}

impl Proxy {
    /// Connects directly, regardless of the environment.
    #[must_use]
    pub fn none() -> Self {
        Self(Selection::None)
    }

    /// Uses the proxy at `address` for all addresses of the engine, regardless of the environment.
    ///
    /// # Errors
    /// When the address is not `http(s)://HOST:PORT`, or contains credentials.
    pub fn new(address: &str, credentials: Option<(String, String)>) -> Result<Self, ParseProxyError> {
        let route = Route::parse(address)?;
        if route.credentials.is_some() {
            return Err(ParseProxyError::Credentials(without_credentials(address).to_owned()));
        }
        Ok(Self(Selection::Explicit(Route { credentials, ..route })))
    }

    /// Uses the proxy from `http_proxy`, `https_proxy` or else `all_proxy`, except for hosts in `no_proxy`. `lookup`
    /// returns a variable's value; lower-case names take precedence.
    #[must_use]
    pub fn from_environment(lookup: impl Fn(&str) -> Option<String>) -> Self {
        let variable = |name: &str| {
            let found = |name: &str| lookup(name).filter(|value| !value.trim().is_empty());
            found(name).or_else(|| found(&name.to_uppercase())).unwrap_or_default()
        };
        Self(Selection::Environment(Variables {
            http: variable("http_proxy"),
            https: variable("https_proxy"),
            all: variable("all_proxy"),
            no_proxy: variable("no_proxy"),
        }))
    }

    /// Returns the proxy for an address, or `None` for a direct connection.
    pub(crate) fn route(&self, address: &Url) -> Result<Option<Route>, ParseProxyError> {
        match &self.0 {
            Selection::None => Ok(None),
            Selection::Explicit(route) => Ok(Some(route.clone())),
            Selection::Environment(variables) => variables.route(address),
        }
    }
}

impl Variables {
    fn route(&self, address: &Url) -> Result<Option<Route>, ParseProxyError> {
        let of_scheme = if address.scheme() == "https" { &self.https } else { &self.http };
        let proxy = if of_scheme.is_empty() { &self.all } else { of_scheme };
        if proxy.is_empty() {
            return Ok(None);
        }
        if let Some(entry) = self.no_proxy.split([',', ' ']).map(str::trim).find(|entry| is_invalid_network(entry)) {
            return Err(ParseProxyError::Network(entry.to_owned()));
        }
        if self.no_proxy.split([',', ' ']).any(|entry| is_exempt(entry.trim(), address)) {
            return Ok(None);
        }
        Route::parse(proxy.trim()).map(Some)
    }
}

impl Route {
    fn parse(text: &str) -> Result<Self, ParseProxyError> {
        let refuse = || ParseProxyError::Address(without_credentials(text).to_owned());
        // Like curl, treat an address without a scheme as an HTTP proxy.
        let with_scheme = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let mut url = Url::parse(&with_scheme).map_err(|_| refuse())?;
        let is_bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() || !is_bare {
            return Err(refuse());
        }
        let decoded = |part: &str| percent_decode_str(part).decode_utf8_lossy().into_owned();
        let credentials = (!url.username().is_empty())
            .then(|| (decoded(url.username()), decoded(url.password().unwrap_or_default())));
        // This fails only for addresses that can't have credentials.
        let _ = (url.set_username(""), url.set_password(None));
        Ok(Self { url, credentials })
    }

    /// Returns host and port.
    pub(crate) fn name(&self) -> String {
        let port = self.url.port_or_known_default().unwrap_or_default();
        format!("{}:{port}", self.url.host_str().unwrap_or_default())
    }
}

/// Whether an entry of `no_proxy` covers an address. An entry is `*`, a network, an IP address, or a domain including
/// its subdomains, each optionally with a port.
fn is_exempt(entry: &str, address: &Url) -> bool {
    let (entry, port) = split_port(entry);
    if port.is_some() && port != address.port_or_known_default() {
        return false;
    }
    let host = address.host_str().unwrap_or_default().trim_end_matches('.');
    let bare = |host: &str| host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    let (entry, host) = (bare(entry), bare(host));
    if entry == "*" {
        return true;
    }
    if let Ok(host) = host.parse::<IpAddr>() {
        let network = entry.parse().or_else(|_| entry.parse::<IpAddr>().map(IpNet::from));
        return network.is_ok_and(|network| network.contains(&host));
    }
    let domain = entry.trim_start_matches('*').trim_start_matches('.').trim_end_matches('.');
    let below = host.strip_suffix(domain);
    !domain.is_empty() && below.is_some_and(|below| below.is_empty() || below.ends_with('.'))
}

/// Whether an entry of `no_proxy` is an IP address with an invalid prefix length.
fn is_invalid_network(entry: &str) -> bool {
    let (network, _) = split_port(entry);
    let network = network.trim_start_matches('[').trim_end_matches(']');
    let address = network.split_once('/').map(|(address, _)| address);
    address.is_some_and(|address| address.trim_end_matches(']').parse::<IpAddr>().is_ok())
        && network.parse::<IpNet>().is_err()
}

/// Splits `HOST:PORT`. The colons of an IPv6 address do not separate a port, unless the address is in brackets.
fn split_port(entry: &str) -> (&str, Option<u16>) {
    match entry.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => match port.parse() {
            Ok(port) => (host, Some(port)),
            Err(_) => (entry, None),
        },
        _ => (entry, None),
    }
}

fn without_credentials(address: &str) -> &str {
    address.rsplit('@').next().unwrap_or_default()
}

impl fmt::Debug for Route {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Route({}{})", self.url, if self.credentials.is_some() { ", credentials: …" } else { "" })
    }
}

impl fmt::Debug for Variables {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |value| without_credentials(value);
        let Self { http, https, all, no_proxy } = self;
        write!(formatter, "Variables({:?}, {:?}, {:?}, ", shown(http), shown(https), shown(all))?;
        write!(formatter, "{:?})", shown(no_proxy))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the proxy for an address with these environment variables, as `USER:PASSWORD@HOST:PORT`.
    fn route(variables: &[(&str, &str)], address: &str) -> Option<String> {
        let lookup = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, v)| (*v).to_owned());
        let route = Proxy::from_environment(lookup).route(&Url::parse(address).unwrap()).unwrap()?;
        let who = route.credentials.as_ref().map(|(user, password)| format!("{user}:{password}@"));
        Some(format!("{}{}", who.unwrap_or_default(), route.name()))
    }

    #[test]
    fn scheme_variables_take_precedence_over_all_proxy() {
        for (variables, address, expected) in [
            (&[("https_proxy", "http://p:3128")][..], "https://e:9200", Some("p:3128")),
            (&[("HTTPS_PROXY", "http://p:3128/")], "https://e:9200", Some("p:3128")),
            (&[("HTTPS_PROXY", "http://p:3128")], "http://e:9200", None),
            (&[("HTTP_PROXY", "p:3128")], "http://e:9200", Some("p:3128")),
            (&[("http_proxy", "http://low"), ("HTTP_PROXY", "http://up")], "http://e", Some("low:80")),
            (&[("ALL_PROXY", "https://p")], "http://e", Some("p:443")),
            (&[("https_proxy", "http://u%40x:p%3Aw@p:1")], "https://e", Some("u@x:p:w@p:1")),
            (&[("https_proxy", " "), ("no_proxy", "")], "https://e", None),
        ] {
            assert_eq!(route(variables, address).as_deref(), expected, "{variables:?}");
        }
    }

    #[test]
    fn no_proxy_accepts_domains_networks_ports_and_a_wildcard() {
        for (entries, address, is_direct) in [
            ("*", "https://127.0.0.1:9200", true),
            ("*", "https://e.example", true),
            ("localhost,127.0.0.1", "http://127.0.0.1:9200", true),
            ("localhost 127.0.0.1", "http://127.0.0.1:9200", true),
            ("10.0.0.0/8, 192.168.0.0/16", "https://10.9.8.7", true),
            ("10.0.0.0/8", "https://11.9.8.7", false),
            ("fd00::/8", "https://[fd00::1]:9200", true),
            ("[::1]", "https://[::1]:9200", true),
            ("::1", "https://[::1]", true),
            ("[::1]:9201", "https://[::1]:9200", false),
            ("example.com", "https://a.Example.COM", true),
            ("example.com", "https://example.com.", true),
            ("example.com", "https://notexample.com", false),
            (".example.com", "https://a.example.com", true),
            ("*.example.com", "https://a.example.com", true),
            ("example.com:9200", "https://a.example.com:9200", true),
            ("example.com:9201", "https://a.example.com:9200", false),
            ("example.com:443", "https://example.com", true),
            ("127.0.0.1:9200", "http://127.0.0.1:9200", true),
            (",,", "http://e", false),
        ] {
            let found = route(&[("ALL_PROXY", "http://p"), ("NO_PROXY", entries)], address);
            assert_eq!(found.is_none(), is_direct, "{entries}: {address}");
        }
    }

    #[test]
    fn an_invalid_prefix_length_is_rejected() {
        let found = |proxy: &str, no_proxy: &str| {
            let lookup = |name: &str| match name {
                "https_proxy" => Some(proxy.to_owned()),
                "no_proxy" => Some(no_proxy.to_owned()),
                _ => None,
            };
            Proxy::from_environment(lookup).route(&Url::parse("https://10.0.0.1").unwrap())
        };
        for entry in ["10.0.0.0/33", "fd00::/129", "[fd00::]/8x", "10.0.0.0/", "10.0.0.0/33:9200"] {
            let error = found("http://p:1", &format!("localhost,{entry}")).unwrap_err();
            assert!(error.to_string().contains(entry) && error.to_string().contains("no_proxy"), "{error}");
            assert_eq!(found("", entry).unwrap(), None, "no proxy is set");
        }
        for entry in ["10.0.0.0/32", "a/b", "fd00::/128", "10.0.0.0/8:443"] {
            assert!(found("http://p:1", entry).is_ok(), "{entry}");
        }
    }

    #[test]
    fn invalid_proxies_are_rejected_without_showing_passwords() {
        for address in ["socks5://u:secret@p:1080", "ftp://p", "http://", "http://p/path", "http://u:secret@p:99999"] {
            let error = Proxy::new(address, None).unwrap_err().to_string();
            assert!(!error.contains("secret") && error.contains("expected http://HOST:PORT"), "{error}");
        }
        let error = Proxy::new("http://u:secret@p:1", None).unwrap_err();
        assert_eq!(error, ParseProxyError::Credentials("p:1".to_owned()), "a password in an address");
        assert!(error.to_string().contains("separately"), "{error}");
        let proxy = Proxy::new("http://p:1", Some(("u".to_owned(), "secret".to_owned()))).unwrap();
        let environment =
            Proxy::from_environment(|name| (name != "no_proxy").then(|| "http://u:secret@p:1".to_owned()));
        assert!(!format!("{proxy:?} {environment:?}").contains("secret"));
    }
}
