//! Who asks: every read of a store takes it, so that forgetting it does not compile.

use std::collections::BTreeSet;

/// Which lines may be seen at all, before any filter. It can't be copied: what a reader may see can change, so that it is
/// asked for again rather than kept.
#[derive(Debug, PartialEq, Eq)]
pub enum Scope {
    /// Every line, also those without a project.
    All,
    /// Only lines whose `project_id` is one of these. Lines without one, and all lines where none is named, are not seen.
    Projects(BTreeSet<String>),
}

impl Scope {
    /// Only lines of this project.
    pub fn project(id: impl Into<String>) -> Self {
        Self::Projects(BTreeSet::from([id.into()]))
    }

    /// The same, for a thread that reads.
    pub(crate) fn copy(&self) -> Self {
        match self {
            Self::All => Self::All,
            Self::Projects(projects) => Self::Projects(projects.clone()),
        }
    }

    /// Whether lines of this project, or of none, may be seen.
    #[must_use]
    pub fn sees(&self, project_id: Option<&str>) -> bool {
        match self {
            Self::All => true,
            Self::Projects(projects) => project_id.is_some_and(|id| projects.contains(id)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_named_is_seen() {
        assert!(Scope::All.sees(None) && Scope::All.sees(Some("p")));
        let one = Scope::project("p");
        assert!(one.sees(Some("p")) && !one.sees(Some("P")) && !one.sees(None));
        assert!(!Scope::Projects(BTreeSet::new()).sees(Some("p")));
    }
}
