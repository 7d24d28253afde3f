//! Bootstrapping a store: ingest pipeline, index template, schema.

use std::fmt;

use crate::disposition::Cause;

/// Whether to change what is not in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BootstrapMode {
    /// Put it in place, but never replace a newer or a foreign one.
    Apply,
    /// Only report what is missing.
    Check,
}

/// The result of bootstrapping a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BootstrapReport {
    /// The ingest pipeline.
    pub pipeline: BootstrapOutcome,
    /// The index template, or the embedded store's schema.
    pub template: BootstrapOutcome,
}

impl fmt::Display for BootstrapReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "pipeline {}, template {}", self.pipeline, self.template)
    }
}

/// What was done about one part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BootstrapOutcome {
    /// It was missing and was created.
    Created,
    /// It was older and was replaced.
    Updated,
    /// It was already in place.
    InPlace,
    /// The credentials do not allow reading it; it was left unchanged.
    Unproven,
    /// The store does not have this part, or the settings disable it.
    NotUsed,
}

impl fmt::Display for BootstrapOutcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Created => "created",
            Self::Updated => "updated",
            Self::InPlace => "in place",
            Self::Unproven => "unproven, the credentials do not allow reading it",
            Self::NotUsed => "not used",
        })
    }
}

/// Bootstrapping failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BootstrapError {
    /// Retrying does not help: something foreign or newer exists, a permission or an ingest processor is missing, or
    /// [`BootstrapMode::Check`] found something missing. The reason says what to do.
    #[error("{0}")]
    Refused(Cause),
    /// No usable answer; retry.
    #[error("the store does not respond: {0}")]
    Unavailable(Cause),
}
