//! What it means to put a store in place: pipeline, template, schema.

use std::fmt;

use crate::disposition::Cause;

/// What to do about what is not in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BootstrapMode {
    /// Put it in place, never over a newer or a foreign one.
    Apply,
    /// Change nothing; say what is missing.
    Check,
}

/// What was found and done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BootstrapReport {
    /// The ingest pipeline.
    pub pipeline: Outcome,
    /// The index template, or the embedded store's schema.
    pub template: Outcome,
}

impl fmt::Display for BootstrapReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "pipeline {}, template {}", self.pipeline, self.template)
    }
}

/// What became of one part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was not there and was put there.
    Created,
    /// An older one was there and was replaced.
    Updated,
    /// It was there as it should be.
    InPlace,
    /// The credentials may not read it: it is left as it is.
    Unproven,
    /// This store has no such part, or the settings want none.
    NotUsed,
}

impl fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Created => "created",
            Self::Updated => "updated",
            Self::InPlace => "in place",
            Self::Unproven => "unproven, the credentials may not read it",
            Self::NotUsed => "not used",
        })
    }
}

/// The store is not in place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BootstrapError {
    /// Waiting does not help: something foreign or newer is there, a right or a processor is missing, or
    /// [`BootstrapMode::Check`] found something missing. The reason says what to do.
    #[error("{0}")]
    Refused(Cause),
    /// No answer that tells anything; try again.
    #[error("the store does not answer: {0}")]
    Unavailable(Cause),
}
