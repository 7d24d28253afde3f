//! Projects of which a line by another service was found. Without tokens, or with a token that reads everything, anyone can
//! name any project; invented names must not use up the label sets of metrics that are reserved for known projects.

use std::collections::HashSet;

use parking_lot::Mutex;

/// Maximum number of projects that are remembered; any other is known for the duration of its request only.
pub const KNOWN_PROJECTS_MAX: usize = 1_000;

/// The projects that were found since the start.
#[derive(Debug, Default)]
pub(super) struct KnownProjects(Mutex<HashSet<Box<str>>>);

impl KnownProjects {
    pub(super) fn add(&self, project: &str) {
        let mut projects = self.0.lock();
        if projects.len() < KNOWN_PROJECTS_MAX && !projects.contains(project) {
            projects.insert(project.into());
        }
    }

    pub(super) fn contains(&self, project: &str) -> bool {
        self.0.lock().contains(project)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_known_projects_is_bounded() {
        let known = KnownProjects::default();
        for number in 0..2 * KNOWN_PROJECTS_MAX {
            known.add(&number.to_string());
            known.add("0");
        }
        assert!(known.contains("0") && known.contains("999") && !known.contains("1000") && !known.contains(""));
        assert_eq!(known.0.lock().len(), KNOWN_PROJECTS_MAX);
    }
}
