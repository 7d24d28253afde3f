//! What a reader may see. Every read takes a scope, so that forgetting the access check does not compile.

use std::collections::BTreeSet;

/// The lines that a reader may see, applied before any filter. It can't be cloned outside this crate: permissions can
/// change, so callers must request a scope again instead of keeping one.
#[derive(Debug, PartialEq, Eq)]
pub enum Scope {
    /// All lines, including those without a project.
    All,
    /// Lines with one of these values of `project_id`. Lines without a project are excluded; an empty set excludes all
    /// lines.
    Projects(BTreeSet<String>),
}

impl Scope {
    /// Creates a scope of one project.
    pub fn project(id: impl Into<String>) -> Self {
        Self::Projects(BTreeSet::from([id.into()]))
    }

    /// Copies the scope for a reader thread.
    pub(crate) fn copy(&self) -> Self {
        match self {
            Self::All => Self::All,
            Self::Projects(projects) => Self::Projects(projects.clone()),
        }
    }

    /// Whether lines of this project, or without a project, are visible.
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
    fn only_named_projects_are_visible() {
        assert!(Scope::All.sees(None) && Scope::All.sees(Some("p")));
        let one = Scope::project("p");
        assert!(one.sees(Some("p")) && !one.sees(Some("P")) && !one.sees(None));
        assert!(!Scope::Projects(BTreeSet::new()).sees(Some("p")));
    }
}
