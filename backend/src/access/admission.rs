//! Checks that apply to every request, whoever sent it: the host name it was sent to, and the throttling of failed tokens by
//! client address.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use actix_web::http::header::{AUTHORIZATION, HeaderMap};

use crate::access::denial::Denial;
use crate::access::host_names::HostNames;
use crate::access::proxies::TrustedProxies;
use crate::access::throttle::{Purpose, Throttles};
use crate::access::tokens::{TOKEN_MAX_BYTES, TokenHash};
use crate::limits::{Limit, Limits};

/// The result of checking a token.
pub(super) enum TokenCheck<T> {
    Valid(T),
    Unknown,
    /// The client failed too often; the next token is checked after this time.
    TooManyAttempts(Duration),
}

impl<T> From<TokenCheck<T>> for Result<T, Denial> {
    fn from(check: TokenCheck<T>) -> Self {
        match check {
            TokenCheck::Valid(holder) => Ok(holder),
            TokenCheck::Unknown => Err(Denial::NoToken),
            TokenCheck::TooManyAttempts(wait) => Err(Denial::TooManyAttempts(wait)),
        }
    }
}

/// The settings of these checks, and the failed attempts so far.
#[derive(Debug, Default)]
pub struct Admission {
    names: HostNames,
    proxies: TrustedProxies,
    metrics: Option<TokenHash>,
    throttles: Throttles,
    limits: Limits,
}

impl Admission {
    /// Checks for a service with these names and trusted proxies. With a metrics token, scrapes need it; without one, they
    /// have to be sent to one of the names.
    #[must_use]
    pub fn new(names: HostNames, proxies: TrustedProxies, metrics_token: Option<&str>, limits: Limits) -> Self {
        let metrics = metrics_token.map(|token| TokenHash::new(token.as_bytes()));
        Self { names, proxies, metrics, throttles: Throttles::default(), limits }
    }

    pub(super) fn needs_metrics_token(&self) -> bool {
        self.metrics.is_some()
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Checks a token sent with these headers over a connection from `peer`. While the client is throttled, no token is
    /// checked.
    pub(super) fn check_token<T>(
        &self,
        purpose: Purpose,
        token: &[u8],
        (peer, headers): (Option<SocketAddr>, &HeaderMap),
        holder: impl Fn(&TokenHash) -> Option<T>,
    ) -> TokenCheck<T> {
        let (client, now) = (self.proxies.client(peer, headers), Instant::now());
        let throttle = self.throttles.of(purpose);
        if let Some(wait) = throttle.lock().wait(client, now) {
            self.limits.count(Limit::WrongTokens);
            return TokenCheck::TooManyAttempts(wait);
        }
        let hash = TokenHash::new(&token[..token.len().min(TOKEN_MAX_BYTES + 1)]);
        holder(&hash).map_or_else(|| self.fail(purpose, client, now), TokenCheck::Valid)
    }

    fn fail<T>(&self, purpose: Purpose, client: IpAddr, now: Instant) -> TokenCheck<T> {
        self.throttles.of(purpose).lock().fail(client, now);
        tracing::warn!(%client, "wrong token");
        TokenCheck::Unknown
    }

    /// Checks whether a scrape is allowed.
    ///
    /// # Errors
    /// Without a valid metrics token if one is configured; otherwise under an unknown host name.
    pub(super) fn check_scrape(&self, peer: Option<SocketAddr>, headers: &HeaderMap) -> Result<(), Denial> {
        let Some(metrics) = &self.metrics else { return self.check_host(headers) };
        let token = bearer(headers).ok_or(Denial::NoMetricsToken)?;
        let holder = |hash: &TokenHash| bool::from(metrics.equals(hash)).then_some(());
        match self.check_token(Purpose::Metrics, token, (peer, headers), holder) {
            TokenCheck::Unknown => Err(Denial::NoMetricsToken),
            other => other.into(),
        }
    }

    /// Checks the host name that a request was sent to.
    ///
    /// # Errors
    /// It is not a name of this service.
    pub(super) fn check_host(&self, headers: &HeaderMap) -> Result<(), Denial> {
        if self.names.include(headers) { Ok(()) } else { Err(Denial::UnknownHost) }
    }
}

/// The token of an `Authorization: Bearer` header.
pub(super) fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii())
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HOST, HeaderName, HeaderValue};

    use super::*;

    fn headers(pairs: &[(&HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| ((*name).clone(), HeaderValue::from_str(value).unwrap())).collect()
    }

    #[test]
    fn the_bearer_scheme_is_case_insensitive() {
        assert_eq!(bearer(&headers(&[(&AUTHORIZATION, "bearer  abc ")])), Some(b"abc".as_slice()));
        assert_eq!(bearer(&headers(&[(&AUTHORIZATION, "Basic abc")])), None);
    }

    #[test]
    fn a_scrape_needs_the_metrics_token_or_a_known_host() {
        let peer = Some(SocketAddr::from(([127, 0, 0, 1], 1)));
        let open = Admission::default();
        assert_eq!(open.check_scrape(peer, &headers(&[(&HOST, "127.0.0.1:8000")])), Ok(()));
        assert_eq!(open.check_scrape(peer, &headers(&[(&HOST, "evil.example")])), Err(Denial::UnknownHost));
        let admission =
            Admission::new(HostNames::default(), TrustedProxies::default(), Some("the-token"), Limits::default());
        let with = |token: &str| headers(&[(&HOST, "evil.example"), (&AUTHORIZATION, token)]);
        assert_eq!(admission.check_scrape(peer, &with("Bearer the-token")), Ok(()));
        assert_eq!(admission.check_scrape(peer, &headers(&[])), Err(Denial::NoMetricsToken));
        for _ in 0..crate::access::throttle::FAILURES {
            assert_eq!(admission.check_scrape(peer, &with("Bearer other")), Err(Denial::NoMetricsToken));
        }
        assert!(matches!(admission.check_scrape(peer, &with("Bearer the-token")), Err(Denial::TooManyAttempts(_))));
        assert_eq!(admission.limits.reached(Limit::WrongTokens), 1);
    }

    #[test]
    fn failed_tokens_of_one_client_or_purpose_lock_out_no_other() {
        let proxies: TrustedProxies = "127.0.0.1".parse().unwrap();
        let admission = Admission::new(HostNames::default(), proxies, None, Limits::default());
        let peer = Some(SocketAddr::from(([127, 0, 0, 1], 1)));
        let of = |client: &str| headers(&[(&HeaderName::from_static("x-forwarded-for"), client)]);
        let check = |purpose, client: &str, is_valid: bool| {
            admission.check_token(purpose, b"token", (peer, &of(client)), |_| is_valid.then_some(()))
        };
        for _ in 0..crate::access::throttle::FAILURES {
            assert!(matches!(check(Purpose::Read, "192.0.2.1", false), TokenCheck::Unknown));
        }
        assert!(matches!(check(Purpose::Read, "192.0.2.1", true), TokenCheck::TooManyAttempts(_)));
        assert!(matches!(check(Purpose::Read, "192.0.2.2", true), TokenCheck::Valid(())));
        assert!(matches!(check(Purpose::Alerts, "192.0.2.1", true), TokenCheck::Valid(())));
    }
}
