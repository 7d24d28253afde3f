//! Matching files that are not read: why, for how long, and logged once until that changes.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::unpacking::{is_damage, is_pending};

/// Maximum number of files remembered by name. Further ones are counted, and logged each time.
pub(super) const NAMES_MAX: usize = 1_000;

/// With `until_idle`, a file that can't be read for this long is skipped.
pub(super) const GIVE_UP_AFTER: Duration = Duration::from_secs(10);

/// Why a file is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// Permissions of it or its folder.
    Permission,
    /// A file system error.
    Io,
    /// Too many files are open or being decoded.
    Limit,
    /// It is a pipe, a socket or a device.
    Type,
    /// It is compressed, and ignored.
    Compressed,
    /// It is compressed, should be read, and is damaged, incomplete, or not supported.
    Damaged,
}

impl Reason {
    /// All reasons, in the order of [`UnreadCounts`].
    pub const ALL: [Self; 6] = [Self::Permission, Self::Io, Self::Limit, Self::Type, Self::Compressed, Self::Damaged];

    /// The label in metrics and log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Permission => "permission",
            Self::Io => "io",
            Self::Limit => "limit",
            Self::Type => "type",
            Self::Compressed => "compressed",
            Self::Damaged => "damaged",
        }
    }

    /// The reason for an error.
    pub(super) fn of(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::PermissionDenied => Self::Permission,
            _ if is_damage(error) => Self::Damaged,
            _ => Self::Io,
        }
    }

    /// Whether it is a choice of the operator, which needs no attention.
    #[must_use]
    pub fn is_chosen(self) -> bool {
        self == Self::Compressed
    }
}

/// Number of unread files by [`Reason`].
pub type UnreadCounts = [u64; Reason::ALL.len()];

/// Files and patterns that are not read.
#[derive(Debug, Default)]
pub(super) struct Unread {
    present: BTreeMap<PathBuf, (Reason, Duration)>,
    before: BTreeMap<PathBuf, (Reason, Duration)>,
    beyond: UnreadCounts,
}

impl Unread {
    /// Starts a check of everything.
    pub(super) fn begin_look(&mut self) {
        self.before = std::mem::take(&mut self.present);
        self.beyond = UnreadCounts::default();
    }

    /// Records that a file or the matches of a pattern can't be read. [Pending](is_pending) errors are handled
    /// elsewhere.
    pub(super) fn add_error(&mut self, path: &Path, error: &io::Error, now: Duration) {
        if is_pending(error) {
            return;
        }
        let reason = Reason::of(error);
        if self.add(path, reason, now) {
            tracing::warn!(
                path = %path.display(), reason = reason.as_str(), %error,
                "file not readable, retrying at each scan"
            );
        }
    }

    /// Records an unread file; returns whether it is new.
    pub(super) fn add(&mut self, path: &Path, reason: Reason, now: Duration) -> bool {
        let known = self.present.get(path).or_else(|| self.before.get(path)).filter(|(before, _)| *before == reason);
        let since = known.map_or(now, |(_, since)| *since);
        let is_news = known.is_none();
        if self.present.len() < NAMES_MAX {
            self.present.insert(path.to_owned(), (reason, since));
        } else {
            self.beyond[reason as usize] += 1;
        }
        is_news
    }

    /// Whether a path can't be checked, so that its file may still exist.
    pub(super) fn may_hide(&self, path: &Path) -> bool {
        self.present.get(path).is_some_and(|(reason, _)| matches!(reason, Reason::Permission | Reason::Io))
    }

    /// Whether a later check will not find more to read, at least with `until_idle`.
    pub(super) fn is_settled(&self, now: Duration) -> bool {
        let may_change = |(reason, since): &(Reason, Duration)| match reason {
            Reason::Io => now < *since + GIVE_UP_AFTER,
            Reason::Limit => true,
            Reason::Permission | Reason::Type | Reason::Compressed | Reason::Damaged => false,
        };
        !self.present.values().any(may_change)
    }

    pub(super) fn counts(&self) -> UnreadCounts {
        let mut counts = self.beyond;
        self.present.values().for_each(|(reason, _)| counts[*reason as usize] += 1);
        counts
    }

    /// Up to `max` of the files that need attention.
    pub(super) fn named(&self, max: usize) -> Vec<(PathBuf, Reason)> {
        let named = self.present.iter().filter(|(_, (reason, _))| !reason.is_chosen());
        named.take(max).map(|(path, (reason, _))| (path.clone(), *reason)).collect()
    }
}
