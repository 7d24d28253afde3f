//! Counts ids of callers that were ignored.

use prometheus::{IntCounter, IntCounterVec, Opts, Registry, Result};

/// Reason why an id was ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ignored {
    /// The request id is malformed or repeated.
    RequestInvalid,
    /// Request ids of callers are not trusted (`TRUST_REQUEST_ID=0`).
    RequestUntrusted,
    /// The project id is malformed or repeated.
    ProjectInvalid,
    /// The caller is not authorized for the project.
    ProjectRefused,
    /// No route matches the request.
    ProjectUnmatched,
}

/// Label values, in the order of [`Ignored`].
const LABELS: [[&str; 2]; 5] = [
    ["request_id", "invalid"],
    ["request_id", "untrusted"],
    ["project_id", "invalid"],
    ["project_id", "refused"],
    ["project_id", "unmatched"],
];

/// Counters of ignored ids by reason.
#[derive(Debug)]
pub(crate) struct IgnoredIds([IntCounter; LABELS.len()]);

impl IgnoredIds {
    pub(crate) fn register(service: &str, registry: &Registry) -> Result<Self> {
        let opts = Opts::new("ids_ignored_total", "Ids of callers that were ignored, by id and reason");
        let ids = IntCounterVec::new(opts.const_label("service", service), &["id", "reason"])?;
        let counters = LABELS.map(|labels| ids.with_label_values(&labels));
        registry.register(Box::new(ids))?;
        Ok(Self(counters))
    }

    pub(crate) fn count(&self, ignored: Ignored) {
        self.0[ignored as usize].inc();
    }
}
