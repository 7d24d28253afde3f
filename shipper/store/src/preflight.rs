//! What is proven of a store before the first line goes to it.

use std::fmt;

use crate::bootstrap::BootstrapReport;

/// What was found. What is wrong is no finding, but [`crate::BootstrapError::Refused`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreflightReport {
    /// Pipeline and template, as they are.
    pub in_place: BootstrapReport,
    /// A new index would get this program's template.
    pub template_in_force: Finding,
    /// Lines of each known shape come out of the pipeline as records of the contract.
    pub sample_lines: Finding,
    /// Lines may be written into this program's indices, and indices be made.
    pub rights: Finding,
    /// The indices that lines go to take writes.
    pub index_blocks: Finding,
    /// The cluster takes writes, and makes an index for a new day.
    pub cluster_blocks: Finding,
}

/// Whether something holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// It does.
    Proven,
    /// Nobody may or can say; why, in a few words.
    Unproven(String),
    /// It does not: lines would wait until somebody does as this says. It comes and goes while lines are shipped, and is
    /// no reason not to begin.
    Blocked(String),
    /// This store has no such thing, or the settings want none.
    NotUsed,
}

impl PreflightReport {
    /// Each finding with its name.
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

    /// Whether lines would wait, were they sent now.
    #[must_use]
    pub fn is_blocked(&self) -> bool {
        self.findings().any(|(_, finding)| matches!(finding, Finding::Blocked(_)))
    }
}

/// A line for each finding.
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
