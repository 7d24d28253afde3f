//! Projects that there are, as far as lines of other services tell. Without tokens, and with a token that sees everything,
//! anyone can name any project; what is made up must not take the room in metrics that is for those.

use std::collections::HashSet;
use std::sync::Mutex;

use crate::access::lock;

/// Projects that are remembered; more are confirmed no longer than their request.
pub const CONFIRMED_MAX: usize = 1_000;

/// The projects that were confirmed since the start.
#[derive(Debug, Default)]
pub(super) struct Confirmed(Mutex<HashSet<Box<str>>>);

impl Confirmed {
    pub(super) fn add(&self, project: &str) {
        let mut projects = lock(&self.0);
        if projects.len() < CONFIRMED_MAX && !projects.contains(project) {
            projects.insert(project.into());
        }
    }

    pub(super) fn has(&self, project: &str) -> bool {
        lock(&self.0).contains(project)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_are_remembered_and_no_more() {
        let confirmed = Confirmed::default();
        for number in 0..2 * CONFIRMED_MAX {
            confirmed.add(&number.to_string());
            confirmed.add("0");
        }
        assert!(confirmed.has("0") && confirmed.has("999") && !confirmed.has("1000") && !confirmed.has(""));
        assert_eq!(lock(&confirmed.0).len(), CONFIRMED_MAX);
    }
}
