//! The name under which a request reached the service. Its `Host` says what whoever sent it likes: it is believed only where
//! it can't be a name of another's making.

use actix_web::http::header::{HOST, HeaderMap, HeaderName};
use url::{Host, Url};

/// What a proxy in front says of the connection that it took.
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Whether a request was sent under a name that can't be one of another's making. Else a page elsewhere could let its own
/// name lead here, and read with its visitor's browser whatever the service shows to everyone on this machine.
#[must_use]
pub fn is_own(headers: &HeaderMap) -> bool {
    !headers.contains_key(HOST) || own_origin(headers).is_some()
}

/// The origin that such a request was sent to, such as `http://127.0.0.1:8000`, put together anew from what was read of it:
/// an address, `localhost` or a name without a dot, which nobody elsewhere can have.
#[must_use]
pub fn own_origin(headers: &HeaderMap) -> Option<String> {
    let host = headers.get(HOST)?.to_str().ok()?;
    if !host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte)) {
        return None;
    }
    let scheme = if came_by_tls(headers) { "https" } else { "http" };
    let url = Url::parse(&format!("{scheme}://{host}")).ok()?;
    let is_own = match url.host()? {
        Host::Domain(name) => name.ends_with(".localhost") || !name.contains('.'),
        Host::Ipv4(_) | Host::Ipv6(_) => true,
    };
    is_own.then(|| url.origin().ascii_serialization())
}

/// Whether a proxy in front says that it was reached by TLS.
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
    fn names_of_others_are_told_from_ones_own() {
        for (host, origin) in [
            ("127.0.0.1:8000", Some("http://127.0.0.1:8000")),
            ("[::1]:8000", Some("http://[::1]:8000")),
            ("localhost", Some("http://localhost")),
            ("backend:8000", Some("http://backend:8000")),
            ("logs.localhost:8000", Some("http://logs.localhost:8000")),
            ("evil.example:8000", None),
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
            assert_eq!((own_origin(&headers).as_deref(), is_own(&headers)), (origin, origin.is_some()), "{host}");
        }
        assert!(is_own(&HeaderMap::new()) && own_origin(&HeaderMap::new()).is_none());
    }

    #[test]
    fn a_proxy_says_that_it_was_reached_by_tls() {
        let mut headers = headers("logs");
        headers.insert(FORWARDED_PROTO, HeaderValue::from_static("https"));
        assert_eq!(own_origin(&headers).as_deref(), Some("https://logs"));
        headers.insert(FORWARDED_PROTO, HeaderValue::from_static("javascript"));
        assert_eq!(own_origin(&headers).as_deref(), Some("http://logs"));
    }
}
