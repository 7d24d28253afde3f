//! One file that is followed: open, or parked without a descriptor.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use store::{GenerationId, Timestamp};

use super::rotated::is_rotated_name;
use super::{FileEvent, OPEN_LINE_GRACE};
use crate::clock::ClockReading;
use crate::disk::{DiskFile, Stat};
use crate::journal::FileIdentity;

/// What the file is called now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Name {
    /// As its identity says, which the patterns match.
    Matched,
    /// A name that rotation gave it, which the patterns do not match.
    Rotated(PathBuf),
    /// None, or one that nobody knows or that is no rotated name.
    Lost,
}

/// A file that is followed.
pub(super) struct Followed<F> {
    pub(super) identity: FileIdentity,
    /// The file as it was at the last look.
    pub(super) seen: Stat,
    /// When it was last seen to hold what was read of it.
    pub(super) seen_at: Timestamp,
    /// `None` while it is parked.
    pub(super) open: Option<Open<F>>,
    pub(super) name: Name,
    /// The name that it had before it was rotated, or that its original has, where it is known to be rotated.
    pub(super) rotated_from: Option<PathBuf>,
    /// It is parked before everything in it was read, since there was no place for it.
    pub(super) is_unread: bool,
    /// A machine that was started again may have taken its end: it was not looked at since.
    pub(super) may_be_shorter: bool,
    /// How long it was seen to be while it is parked.
    pub(super) grown_to: u64,
    /// Since when a parked file is not found.
    pub(super) missing_since: Option<Duration>,
}

/// A file that is open.
pub(super) struct Open<F> {
    pub(super) file: Arc<F>,
    /// Its length as the pipeline knows it.
    pub(super) len: u64,
    pub(super) grown_at: Duration,
    pub(super) marked_at: Duration,
    /// Since when it is known to be cut, while its copy can't be looked for.
    pub(super) cut_at: Option<Duration>,
    /// The pipeline reads it to its end and then lets it go.
    pub(super) ended: bool,
}

/// A generation that is followed no more, and holds its file until its last line has its outcome.
pub(super) struct Closing<F> {
    pub(super) generation: GenerationId,
    /// The file, unless it was cut.
    pub(super) file: Option<Arc<F>>,
    /// When the file, with what was read of it, was last seen under a name.
    pub(super) seen_at: Timestamp,
}

impl<F: DiskFile> Closing<F> {
    /// Looks whether the file has a name.
    pub(super) fn look(&mut self, now: Timestamp) {
        if self.file.as_ref().is_some_and(|file| file.stat().is_ok_and(|stat| stat.links > 0)) {
            self.seen_at = now;
        }
    }
}

impl<F> Open<F> {
    /// A file that was opened just now.
    pub(super) fn new(file: Arc<F>, len: u64, now: ClockReading) -> Self {
        Self { file, len, grown_at: now.elapsed, marked_at: now.elapsed, cut_at: None, ended: false }
    }
}

impl<F> Followed<F> {
    /// A file as it was seen just now, under a name that the patterns match.
    pub(super) fn new(identity: FileIdentity, seen: Stat, open: Option<Open<F>>, now: ClockReading) -> Self {
        Self {
            identity,
            seen,
            seen_at: now.wall,
            open,
            name: Name::Matched,
            rotated_from: None,
            is_unread: false,
            may_be_shorter: false,
            missing_since: None,
            grown_to: 0,
        }
    }

    /// Notes that it gets another name.
    pub(super) fn note_rotation(&mut self, path: &Path) {
        if self.rotated_from.is_none() && is_rotated_name(&self.identity.path, path) {
            self.rotated_from = Some(self.identity.path.clone());
        }
    }

    /// It is parked, and the file is this now; says whether it has to be opened again if `grows`.
    pub(super) fn see_parked(&mut self, stat: &Stat, grows: bool, now: Timestamp) -> bool {
        // A compressed one that was only renamed is not decoded again.
        if let Some(stat) = self.identity.as_unpacked(stat) {
            self.seen = stat;
        }
        let is_unchanged = stat.is_unchanged(&self.seen);
        if is_unchanged {
            self.seen_at = now;
        } else if self.identity.packed.is_none() {
            self.grown_to = self.grown_to.max(stat.len);
        }
        self.is_unread || !is_unchanged && grows
    }

    /// How long it was when it was last seen.
    pub(super) fn seen_to(&self) -> u64 {
        self.seen.len.max(self.grown_to)
    }

    /// Whether nothing more is expected of it, with `until_idle`.
    pub(super) fn is_at_rest(&self) -> bool {
        !self.is_unread && self.open.as_ref().is_none_or(|open| open.ended)
    }

    /// Where the file is, if its path is known.
    pub(super) fn path(&self) -> Option<&PathBuf> {
        match &self.name {
            Name::Matched => Some(&self.identity.path),
            Name::Rotated(path) => Some(path),
            Name::Lost => None,
        }
    }

    /// Reads no further than `end`, and then lets the file go.
    pub(super) fn end(&mut self, generation: GenerationId, end: u64, forget: bool, events: &mut Vec<FileEvent<F>>) {
        events.push(FileEvent::Grown { generation, end });
        events.push(FileEvent::Ended { generation, forget });
        self.open.iter_mut().for_each(|open| open.ended = true);
    }

    /// With `until_idle`: whether the last line, which has no newline, is one. If its file grows it is being written, and
    /// is left to the next start.
    pub(super) fn end_open_line(
        &mut self,
        generation: GenerationId,
        len: u64,
        now: ClockReading,
        events: &mut Vec<FileEvent<F>>,
    ) {
        let Some(open) = &mut self.open else { return };
        let is_written = len > open.len;
        if !is_written && now.elapsed < open.grown_at + OPEN_LINE_GRACE {
            return;
        }
        if !is_written {
            events.push(FileEvent::Grown { generation, end: open.len });
        }
        events.push(FileEvent::Ended { generation, forget: false });
        open.ended = true;
    }
}
