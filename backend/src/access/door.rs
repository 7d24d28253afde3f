//! What is asked of a request whoever sent it: under which name it came, from which address, and how many wrong tokens came
//! from there before.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use actix_web::http::StatusCode;
use actix_web::http::header::{AUTHORIZATION, HeaderMap};

use crate::access::lock;
use crate::access::name::OwnNames;
use crate::access::proxies::TrustedProxies;
use crate::access::throttle::{Purpose, Throttles};
use crate::access::tokens::{TOKEN_MAX_BYTES, TokenHash};
use crate::limits::{Limit, Limits};
use crate::problem::Problem;

/// What became of a token that was presented.
pub(super) enum Presented<T> {
    Good(T),
    Wrong,
    /// There were too many wrong ones; the next is looked at after this time.
    TooMany(Duration),
}

impl<T> From<Presented<T>> for Result<T, Problem> {
    fn from(presented: Presented<T>) -> Self {
        match presented {
            Presented::Good(who) => Ok(who),
            Presented::Wrong => Err(no_token()),
            Presented::TooMany(wait) => Err(too_many(wait)),
        }
    }
}

/// The settings of this, and the memory of wrong tokens.
#[derive(Debug, Default)]
pub struct Door {
    names: OwnNames,
    proxies: TrustedProxies,
    metrics: Option<TokenHash>,
    throttles: Throttles,
    limits: Limits,
}

impl Door {
    /// A service of these names, which believes these proxies and shows its metrics to whoever has this token, or without
    /// one to whoever asks under one of its names.
    #[must_use]
    pub fn new(names: OwnNames, proxies: TrustedProxies, metrics_token: Option<&str>, limits: Limits) -> Self {
        let metrics = metrics_token.map(|token| TokenHash::of(token.as_bytes()));
        Self { names, proxies, metrics, throttles: Throttles::default(), limits }
    }

    pub(super) fn asks_for_metrics_token(&self) -> bool {
        self.metrics.is_some()
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Judges a token that came with a request of these headers over a connection from `peer`.
    pub(super) fn present<T>(
        &self,
        purpose: Purpose,
        token: &[u8],
        (peer, headers): (Option<SocketAddr>, &HeaderMap),
        good: impl Fn(&TokenHash) -> Option<T>,
    ) -> Presented<T> {
        let (client, now) = (self.proxies.client(peer, headers), Instant::now());
        let throttle = self.throttles.of(purpose);
        if let Some(wait) = lock(throttle).wait(client, now) {
            self.limits.count(Limit::WrongTokens);
            return Presented::TooMany(wait);
        }
        let hash = TokenHash::of(&token[..token.len().min(TOKEN_MAX_BYTES + 1)]);
        good(&hash).map_or_else(|| self.wrong(purpose, client, now), Presented::Good)
    }

    fn wrong<T>(&self, purpose: Purpose, client: IpAddr, now: Instant) -> Presented<T> {
        lock(self.throttles.of(purpose)).fail(client, now);
        tracing::warn!(%client, "wrong token");
        Presented::Wrong
    }

    /// Whether a scrape is answered.
    ///
    /// # Errors
    /// 401 without the token for metrics, 429 after too many wrong ones; where there is none, 403 for a request under
    /// another's name.
    pub(super) fn admit_scrape(&self, peer: Option<SocketAddr>, headers: &HeaderMap) -> Result<(), Problem> {
        let Some(metrics) = &self.metrics else { return self.check_name(headers) };
        let token = bearer(headers).ok_or_else(no_metrics_token)?;
        let good = |hash: &TokenHash| bool::from(metrics.is(hash)).then_some(());
        match self.present(Purpose::Metrics, token, (peer, headers), good) {
            Presented::Wrong => Err(no_metrics_token()),
            other => other.into(),
        }
    }

    /// Refuses a request that came under another's name.
    ///
    /// # Errors
    /// 403 then.
    pub(super) fn check_name(&self, headers: &HeaderMap) -> Result<(), Problem> {
        if self.names.include(headers) {
            return Ok(());
        }
        let detail =
            "unknown host name in Host; use the service's IP address or localhost, or add the name to ALLOWED_HOSTS";
        Err(Problem::new(StatusCode::FORBIDDEN, detail))
    }
}

/// The token of an `Authorization: Bearer` header.
pub(super) fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii())
}

pub(super) fn no_token() -> Problem {
    Problem::new(
        StatusCode::UNAUTHORIZED,
        "missing or unknown token; send one from TOKENS_FILE as Authorization: Bearer TOKEN",
    )
}

fn no_metrics_token() -> Problem {
    Problem::new(
        StatusCode::UNAUTHORIZED,
        "missing or unknown token; send METRICS_TOKEN as Authorization: Bearer TOKEN",
    )
}

fn too_many(wait: Duration) -> Problem {
    let seconds = wait.as_secs() + 1;
    let detail = format!("too many failed attempts from your address; try again in {seconds} s");
    Problem::new(StatusCode::TOO_MANY_REQUESTS, detail).retry_after(seconds)
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HOST, HeaderName, HeaderValue};

    use super::*;

    fn headers(pairs: &[(&HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| ((*name).clone(), HeaderValue::from_str(value).unwrap())).collect()
    }

    #[test]
    fn a_bearer_is_read_whatever_its_case() {
        assert_eq!(bearer(&headers(&[(&AUTHORIZATION, "bearer  abc ")])), Some(b"abc".as_slice()));
        assert_eq!(bearer(&headers(&[(&AUTHORIZATION, "Basic abc")])), None);
    }

    #[test]
    fn metrics_ask_for_their_token_or_for_an_own_name() {
        let peer = Some(SocketAddr::from(([127, 0, 0, 1], 1)));
        let open = Door::default();
        assert!(open.admit_scrape(peer, &headers(&[(&HOST, "127.0.0.1:8000")])).is_ok());
        assert!(open.admit_scrape(peer, &headers(&[(&HOST, "evil.example")])).unwrap_err().is(StatusCode::FORBIDDEN));
        let asks = Door::new(OwnNames::default(), TrustedProxies::default(), Some("the-token"), Limits::default());
        let with = |token: &str| headers(&[(&HOST, "evil.example"), (&AUTHORIZATION, token)]);
        assert!(asks.admit_scrape(peer, &with("Bearer the-token")).is_ok());
        assert!(asks.admit_scrape(peer, &headers(&[])).unwrap_err().is(StatusCode::UNAUTHORIZED));
        for _ in 0..crate::access::throttle::FAILURES {
            assert!(asks.admit_scrape(peer, &with("Bearer other")).unwrap_err().is(StatusCode::UNAUTHORIZED));
        }
        assert!(asks.admit_scrape(peer, &with("Bearer the-token")).unwrap_err().is(StatusCode::TOO_MANY_REQUESTS));
        assert_eq!(asks.limits.reached(Limit::WrongTokens), 1);
    }

    #[test]
    fn wrong_tokens_of_one_client_or_purpose_lock_out_no_other() {
        let proxies: TrustedProxies = "127.0.0.1".parse().unwrap();
        let door = Door::new(OwnNames::default(), proxies, None, Limits::default());
        let peer = Some(SocketAddr::from(([127, 0, 0, 1], 1)));
        let of = |client: &str| headers(&[(&HeaderName::from_static("x-forwarded-for"), client)]);
        let present = |purpose, client: &str, is_good: bool| {
            door.present(purpose, b"token", (peer, &of(client)), |_| is_good.then_some(()))
        };
        for _ in 0..crate::access::throttle::FAILURES {
            assert!(matches!(present(Purpose::Read, "192.0.2.1", false), Presented::Wrong));
        }
        assert!(matches!(present(Purpose::Read, "192.0.2.1", true), Presented::TooMany(_)));
        assert!(matches!(present(Purpose::Read, "192.0.2.2", true), Presented::Good(())));
        assert!(matches!(present(Purpose::Alerts, "192.0.2.1", true), Presented::Good(())));
    }
}
