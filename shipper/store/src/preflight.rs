//! Checks of a store before the first line is sent.

use std::fmt;

use crate::bootstrap::BootstrapReport;

/// The findings of a preflight. Definite problems are errors instead: [`crate::BootstrapError::Refused`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreflightReport {
    /// State of ingest pipeline and index template.
    pub in_place: BootstrapReport,
    /// A new index would get this program's template.
    pub template_in_force: Finding,
    /// The pipeline turns a sample line of each known format into a contract record.
    pub sample_lines: Finding,
    /// The credentials allow writing to this program's indices and creating them.
    pub rights: Finding,
    /// The indices that lines are written to accept writes.
    pub index_blocks: Finding,
    /// The cluster accepts writes and creates an index for a new day.
    pub cluster_blocks: Finding,
}

/// The result of one check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// The check passed.
    Proven,
    /// The check could not be done, with a short reason.
    Unproven(String),
    /// The check failed: lines would stay pending until the operator does what the text says. Such a block may come and
    /// go during shipping, so it does not prevent starting.
    Blocked(String),
    /// The store does not have this part, or the settings disable it.
    NotUsed,
}

impl PreflightReport {
    /// Returns each finding with its name.
    pub fn findings(&self) -> impl Iterator<Item = (&'static str, &Finding)> {
        [
            ("template in force", &self.template_in_force),
            ("sample lines", &self.sample_lines),
            ("rights", &self.rights),
            ("index blocks", &self.index_blocks),
            ("cluster blocks", &self.cluster_blocks),
        ]
        .into_iter()
    }

    /// Whether lines sent now would stay pending.
    #[must_use]
    pub fn is_blocked(&self) -> bool {
        self.findings().any(|(_, finding)| matches!(finding, Finding::Blocked(_)))
    }
}

/// Writes one line for each finding.
impl fmt::Display for PreflightReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.in_place)?;
        self.findings().try_for_each(|(name, finding)| write!(formatter, "\n{name}: {finding}"))
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Proven => formatter.write_str("proven"),
            Self::Unproven(why) => write!(formatter, "unproven, {why}"),
            Self::Blocked(why) => write!(formatter, "blocked, {why}"),
            Self::NotUsed => formatter.write_str("not used"),
        }
    }
}
