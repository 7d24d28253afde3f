//! The limits that callers can reach, and counters of how often each was reached (`limits_reached_total`).
//! docs/access.md lists them.

use std::sync::Arc;

use observability::prometheus::{Error, IntCounter, IntCounterVec, IntGauge, Opts, Registry};

/// A limit that a caller reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// A request head did not arrive in time.
    RequestHeadTimeout,
    /// A request body did not arrive in time.
    RequestBodyTimeout,
    /// A connection that waited for its client was closed to make room for another.
    ConnectionEvicted,
    /// A reserved connection requested something other than health or metrics.
    ConnectionReserved,
    /// There was no slot for a connection, not even a reserved one.
    ConnectionRefused,
    /// A client failed too often with wrong tokens.
    WrongTokens,
    /// The oldest session of a token was closed for its next one.
    SessionsPerToken,
    /// A session was closed for one of another token.
    Sessions,
    /// A token has too many live tails.
    TailsPerToken,
    /// There are too many live tails.
    Tails,
    /// The responses of a token in memory are too large.
    AnswerBytesPerToken,
    /// All responses in memory are too large.
    AnswerBytes,
    /// A token has too many concurrent searches.
    SearchesPerToken,
    /// There are too many concurrent searches.
    Searches,
}

impl Limit {
    /// All limits.
    pub const ALL: [Self; 14] = [
        Self::RequestHeadTimeout,
        Self::RequestBodyTimeout,
        Self::ConnectionEvicted,
        Self::ConnectionReserved,
        Self::ConnectionRefused,
        Self::WrongTokens,
        Self::SessionsPerToken,
        Self::Sessions,
        Self::TailsPerToken,
        Self::Tails,
        Self::AnswerBytesPerToken,
        Self::AnswerBytes,
        Self::SearchesPerToken,
        Self::Searches,
    ];

    /// The name, which is the value of the label `limit`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::RequestHeadTimeout => "request_head_timeout",
            Self::RequestBodyTimeout => "request_body_timeout",
            Self::ConnectionEvicted => "connection_evicted",
            Self::ConnectionReserved => "connection_reserved",
            Self::ConnectionRefused => "connection_refused",
            Self::WrongTokens => "wrong_tokens",
            Self::SessionsPerToken => "sessions_per_token",
            Self::Sessions => "sessions",
            Self::TailsPerToken => "tails_per_token",
            Self::Tails => "tails",
            Self::AnswerBytesPerToken => "answer_bytes_per_token",
            Self::AnswerBytes => "answer_bytes",
            Self::SearchesPerToken => "searches_per_token",
            Self::Searches => "searches",
        }
    }
}

/// The counters of all limits, and gauges of limited resources. A clone is cheap and shares them.
#[derive(Clone, Debug)]
pub struct Limits(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    reached: [IntCounter; Limit::ALL.len()],
    connections: IntGauge,
    answer_bytes: IntGauge,
}

impl Limits {
    /// Registers the counters of a service.
    ///
    /// # Errors
    /// The registry rejects them.
    pub fn register(service: &str, registry: &Registry) -> Result<Self, Error> {
        let opts = |name: &str, help: &str| Opts::new(name, help).const_label("service", service);
        let help = "Times a limit on requests, connections, sessions or live tails was reached, by limit";
        let reached = IntCounterVec::new(opts("limits_reached_total", help), &["limit"])?;
        let inner = Inner {
            reached: Limit::ALL.map(|limit| reached.with_label_values(&[limit.name()])),
            connections: IntGauge::with_opts(opts("connections_open", "Open connections on LISTEN"))?,
            answer_bytes: IntGauge::with_opts(opts("answer_bytes_held", "Bytes of responses held in memory"))?,
        };
        registry.register(Box::new(reached))?;
        registry.register(Box::new(inner.connections.clone()))?;
        registry.register(Box::new(inner.answer_bytes.clone()))?;
        Ok(Self(Arc::new(inner)))
    }

    /// Counts that a limit was reached.
    pub fn count(&self, limit: Limit) {
        self.0.reached[limit as usize].inc();
    }

    /// How often a limit was reached.
    #[must_use]
    pub fn reached(&self, limit: Limit) -> u64 {
        self.0.reached[limit as usize].get()
    }

    /// The gauge of open connections.
    #[must_use]
    pub fn connections(&self) -> &IntGauge {
        &self.0.connections
    }

    /// The gauge of bytes of responses in memory.
    #[must_use]
    pub fn answer_bytes(&self) -> &IntGauge {
        &self.0.answer_bytes
    }
}

impl Default for Limits {
    /// Counters that are not exposed.
    fn default() -> Self {
        Self::register("", &Registry::new()).unwrap_or_else(|_| unreachable!("names and labels are fixed and valid"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_has_its_own_counter() {
        let (registry, names) = (Registry::new(), Limit::ALL.map(Limit::name));
        let limits = Limits::register("x", &registry).unwrap();
        for (place, limit) in Limit::ALL.into_iter().enumerate() {
            (0..=place).for_each(|_| limits.count(limit));
        }
        for (place, limit) in Limit::ALL.into_iter().enumerate() {
            assert_eq!(limits.reached(limit), place as u64 + 1, "{limit:?}");
        }
        let families = registry.gather();
        let family = families.iter().find(|family| family.name() == "limits_reached_total").unwrap();
        assert_eq!(family.get_metric().len(), names.len(), "names are distinct");
    }
}
