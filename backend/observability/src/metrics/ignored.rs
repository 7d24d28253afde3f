//! Counts the ids that callers sent and that were not kept.

use prometheus::{IntCounter, IntCounterVec, Opts, Registry, Result};

/// Why an id was not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ignored {
    /// The request id is malformed, or there twice.
    RequestInvalid,
    /// Callers' request ids are not kept.
    RequestUntrusted,
    /// The project id is malformed, or there twice.
    ProjectInvalid,
    /// The service does not let the caller speak for the project.
    ProjectRefused,
    /// No route took the request.
    ProjectUnmatched,
}

/// By label values, in the order of [`Ignored`].
const LABELS: [[&str; 2]; 5] = [
    ["request_id", "invalid"],
    ["request_id", "untrusted"],
    ["project_id", "invalid"],
    ["project_id", "refused"],
    ["project_id", "unmatched"],
];

/// Their counters.
#[derive(Debug)]
pub(crate) struct IgnoredIds([IntCounter; LABELS.len()]);

impl IgnoredIds {
    pub(crate) fn register(service: &str, registry: &Registry) -> Result<Self> {
        let opts = Opts::new("ids_ignored_total", "Ids that callers sent and that were not kept, by id and reason");
        let ids = IntCounterVec::new(opts.const_label("service", service), &["id", "reason"])?;
        let counters = LABELS.map(|labels| ids.with_label_values(&labels));
        registry.register(Box::new(ids))?;
        Ok(Self(counters))
    }

    pub(crate) fn count(&self, ignored: Ignored) {
        self.0[ignored as usize].inc();
    }
}
