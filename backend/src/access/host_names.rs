//! The host names of this service. A client can send any `Host`, so it is trusted only if no one else can control that
//! name.

use std::collections::BTreeSet;
use std::str::FromStr;

use actix_web::http::header::{HOST, HeaderMap, HeaderName};
use url::{Host, Url};

/// The protocol with which a proxy was reached.
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The host names of this service: any IP address, `localhost` and its subdomains, and those of `ALLOWED_HOSTS` and
/// `PUBLIC_URL`. Names without a dot are not included, since some top-level domains have an address.
#[derive(Clone, Debug, Default)]
pub struct HostNames(BTreeSet<String>);

/// An invalid host name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a host name; expected comma-separated names without scheme and port, such as logs.example.com,backend"
)]
pub struct ParseNamesError(String);

impl FromStr for HostNames {
    type Err = ParseNamesError;

    fn from_str(text: &str) -> Result<Self, ParseNamesError> {
        let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
        names
            .map(|name| domain(name).ok_or_else(|| ParseNamesError(name.to_owned())))
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl HostNames {
    /// With the host of a URL, if it has one.
    #[must_use]
    pub fn with_host_of(mut self, url: Option<&Url>) -> Self {
        self.0.extend(url.and_then(Url::host_str).and_then(domain));
        self
    }

    /// Whether a request was sent to one of these names. Otherwise another site could point its own name to this
    /// service, and read it with the browser of a visitor (DNS rebinding). Browsers always send a `Host`; a request
    /// without one is not from a browser.
    #[must_use]
    pub fn include(&self, headers: &HeaderMap) -> bool {
        !headers.contains_key(HOST) || self.origin(headers).is_some()
    }

    /// The origin that a request was sent to, such as `http://127.0.0.1:8000`, rebuilt from the parsed header.
    #[must_use]
    pub fn origin(&self, headers: &HeaderMap) -> Option<String> {
        let mut hosts = headers.get_all(HOST);
        let host = hosts.next().filter(|_| hosts.next().is_none())?.to_str().ok()?;
        if !host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte)) {
            return None;
        }
        let scheme = if came_by_tls(headers) { "https" } else { "http" };
        let url = Url::parse(&format!("{scheme}://{host}")).ok()?;
        let is_own = match url.host()? {
            Host::Domain(name) => {
                let name = name.strip_suffix('.').unwrap_or(name);
                name == "localhost" || name.ends_with(".localhost") || self.0.contains(name)
            }
            Host::Ipv4(_) | Host::Ipv6(_) => true,
        };
        is_own.then(|| url.origin().ascii_serialization())
    }
}

/// A normalized host name; none for an invalid name or an IP address.
fn domain(name: &str) -> Option<String> {
    let is_plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    match Url::parse(&format!("http://{name}")).ok().filter(|_| is_plain)?.host()? {
        Host::Domain(name) => Some(name.strip_suffix('.').unwrap_or(name).to_owned()),
        Host::Ipv4(_) | Host::Ipv6(_) => None,
    }
}

/// Whether a proxy was reached by TLS.
#[must_use]
pub fn came_by_tls(headers: &HeaderMap) -> bool {
    headers.get(&FORWARDED_PROTO).is_some_and(|proto| proto == "https")
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    fn headers(host: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_str(host).unwrap());
        headers
    }

    #[test]
    fn own_names_are_distinguished_from_others() {
        let own: HostNames = "backend, Logs.Example.COM.".parse().unwrap();
        let own = own.with_host_of(Url::parse("https://public.example/base/").ok().as_ref());
        for (host, origin) in [
            ("127.0.0.1:8000", Some("http://127.0.0.1:8000")),
            ("[::1]:8000", Some("http://[::1]:8000")),
            ("localhost", Some("http://localhost")),
            ("LOCALHOST.:8000", Some("http://localhost.:8000")),
            ("backend:8000", Some("http://backend:8000")),
            ("logs.example.com", Some("http://logs.example.com")),
            ("public.example:8443", Some("http://public.example:8443")),
            ("logs.localhost:8000", Some("http://logs.localhost:8000")),
            ("ai", None),
            ("ai.:8000", None),
            ("prometheus:8000", None),
            ("evil.example:8000", None),
            ("evil.logs.example.com", None),
            ("127.0.0.1.evil.example", None),
            ("evil%2eexample", None),
            ("localhost/\"><script>alert(1)</script>", None),
            ("\"onmouseover=alert(1)", None),
            ("localhost@evil.example", None),
            ("[::1].evil.example", None),
            ("[evil.example]", None),
            ("javascript:alert(1)", None),
            ("localhost:8000:", None),
            ("localhost#", None),
            ("", None),
        ] {
            let headers = headers(host);
            assert_eq!((own.origin(&headers).as_deref(), own.include(&headers)), (origin, origin.is_some()), "{host}");
        }
        assert!(own.include(&HeaderMap::new()) && own.origin(&HeaderMap::new()).is_none());
        let mut twice = headers("localhost");
        twice.append(HOST, HeaderValue::from_static("evil.example"));
        assert!(!own.include(&twice));
        assert!(!HostNames::default().include(&headers("backend:8000")), "no name is configured");
    }

    #[test]
    fn invalid_names_are_rejected() {
        for wrong in ["http://backend", "backend:8000", "*", "a b", "10.0.0.1", "[::1]", "a/b"] {
            assert!(wrong.parse::<HostNames>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn x_forwarded_proto_sets_the_scheme() {
        let mut headers = headers("logs.localhost");
        headers.insert(FORWARDED_PROTO, HeaderValue::from_static("https"));
        assert_eq!(HostNames::default().origin(&headers).as_deref(), Some("https://logs.localhost"));
        headers.insert(FORWARDED_PROTO, HeaderValue::from_static("javascript"));
        assert_eq!(HostNames::default().origin(&headers).as_deref(), Some("http://logs.localhost"));
    }
}
