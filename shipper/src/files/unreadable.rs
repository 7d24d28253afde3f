//! What could not be read at the last look-up, told in the log once until it can be read again.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};

use super::MAX_FILES;

/// Files, and patterns of folders; at most [`MAX_FILES`], beyond which they are told each time.
#[derive(Debug, Default)]
pub(super) struct Unreadable {
    present: HashSet<PathBuf>,
    told: HashSet<PathBuf>,
}

impl Unreadable {
    /// Everything is looked at anew.
    pub(super) fn begin_look(&mut self) {
        self.told = std::mem::take(&mut self.present);
    }

    /// This can't be read at the moment.
    pub(super) fn add(&mut self, path: &Path, error: &io::Error) {
        let is_known = self.told.contains(path) || self.present.contains(path);
        if self.present.len() < MAX_FILES {
            self.present.insert(path.to_owned());
        }
        if !is_known {
            tracing::warn!(path = %path.display(), %error, "can't be read at the moment; it is tried again");
        }
    }

    pub(super) fn contains(&self, path: &Path) -> bool {
        self.present.contains(path)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.present.is_empty()
    }
}
