//! What the patterns name and is not read: why, for how long, and named in the log once until that changes.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::unpacking::{is_damage, is_pending};

/// Files that are remembered by name; more are counted, and named in the log each time.
pub(super) const NAMES_MAX: usize = 1_000;

/// With `until_idle`, a file that can't be read for this long is left unread.
pub(super) const GIVE_UP_AFTER: Duration = Duration::from_secs(10);

/// Why a file is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// Its rights, or those of its folder, forbid it.
    Permission,
    /// The file system fails.
    Io,
    /// It waits for a place: others are open, or decoded.
    Limit,
    /// It is a pipe, a socket or a device.
    Type,
    /// It is compressed, and left alone.
    Compressed,
    /// It is compressed, was to be read, and is damaged, incomplete, or needs what is not there.
    Damaged,
}

impl Reason {
    /// All of them, in the order of [`UnreadCounts`].
    pub const ALL: [Self; 6] = [Self::Permission, Self::Io, Self::Limit, Self::Type, Self::Compressed, Self::Damaged];

    /// The word for it in metrics and log.
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

    /// Why an error keeps a file from being read.
    pub(super) fn of(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::PermissionDenied => Self::Permission,
            _ if is_damage(error) => Self::Damaged,
            _ => Self::Io,
        }
    }

    /// Whether it is an operator's choice, which needs no attention.
    #[must_use]
    pub fn is_chosen(self) -> bool {
        self == Self::Compressed
    }
}

/// Files that are not read, by [`Reason`].
pub type UnreadCounts = [u64; Reason::ALL.len()];

/// Files and patterns that are not read.
#[derive(Debug, Default)]
pub(super) struct Unread {
    present: BTreeMap<PathBuf, (Reason, Duration)>,
    before: BTreeMap<PathBuf, (Reason, Duration)>,
    beyond: UnreadCounts,
}

impl Unread {
    /// Everything is looked at again.
    pub(super) fn begin_look(&mut self) {
        self.before = std::mem::take(&mut self.present);
        self.beyond = UnreadCounts::default();
    }

    /// A file, or what a pattern names, can't be read because of `error`. What is [pending](is_pending) waits elsewhere.
    pub(super) fn add_error(&mut self, path: &Path, error: &io::Error, now: Duration) {
        if is_pending(error) {
            return;
        }
        let reason = Reason::of(error);
        if self.add(path, reason, now) {
            tracing::warn!(
                path = %path.display(), reason = reason.as_str(), %error,
                "file not readable, trying again at each scan"
            );
        }
    }

    /// A file is not read; says whether that is news.
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

    /// Whether a path can't be looked at, so that what was there may still be.
    pub(super) fn may_hide(&self, path: &Path) -> bool {
        self.present.get(path).is_some_and(|(reason, _)| matches!(reason, Reason::Permission | Reason::Io))
    }

    /// Whether there is nothing that a later look may be able to read, with `until_idle` at least.
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
