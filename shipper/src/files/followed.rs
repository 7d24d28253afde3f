//! A followed file: open, or parked without a descriptor.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use store::{GenerationId, Timestamp};

use super::rotated::is_rotated_name;
use super::{FileEvent, OPEN_LINE_GRACE};
use crate::clock::ClockReading;
use crate::disk::{DiskFile, Stat};
use crate::journal::FileIdentity;

/// The present name of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Name {
    /// The path of its identity, which a pattern matches.
    Matched,
    /// A rotated name, which no pattern matches.
    Rotated(PathBuf),
    /// No name, an unknown one, or one that is not a rotated name.
    Lost,
}

/// A followed file.
pub(super) struct Followed<F> {
    pub(super) identity: FileIdentity,
    /// Its metadata at the last check.
    pub(super) seen: Stat,
    /// When it was last seen with its read content intact.
    pub(super) seen_at: Timestamp,
    /// `None` while it is parked.
    pub(super) open: Option<Open<F>>,
    pub(super) name: Name,
    /// Its name before the rotation, or that of its original, if it is known to be rotated.
    pub(super) rotated_from: Option<PathBuf>,
    /// Whether it was parked before everything was read, since too many files were open.
    pub(super) is_unread: bool,
    /// Whether a reboot may have truncated it; it was not checked since.
    pub(super) may_be_shorter: bool,
    /// Its length as seen while parked.
    pub(super) grown_to: u64,
    /// When it last grew, if it was parked with an unread last line that has no newline.
    pub(super) open_line_since: Option<Duration>,
    /// Since when a parked file is missing.
    pub(super) missing_since: Option<Duration>,
}

/// An open file.
pub(super) struct Open<F> {
    pub(super) file: Arc<F>,
    /// Its length as reported to the pipeline.
    pub(super) len: u64,
    pub(super) grown_at: Duration,
    pub(super) marked_at: Duration,
    /// Since when it is known to be truncated, while its copy can't be searched for.
    pub(super) cut_at: Option<Duration>,
    /// Whether the pipeline reads it to its end and then closes it.
    pub(super) ended: bool,
}

/// A generation that is not followed any more, but keeps its file until its last line has its outcome.
pub(super) struct Closing<F> {
    pub(super) generation: GenerationId,
    /// The file, unless it was truncated.
    pub(super) file: Option<Arc<F>>,
    /// When the file was last seen with a name and its read content intact.
    pub(super) seen_at: Timestamp,
}

impl<F: DiskFile> Closing<F> {
    /// Checks whether the file has a name.
    pub(super) fn look(&mut self, now: Timestamp) {
        if self.file.as_ref().is_some_and(|file| file.stat().is_ok_and(|stat| stat.links > 0)) {
            self.seen_at = now;
        }
    }
}

impl<F> Open<F> {
    /// A file that was just opened.
    pub(super) fn new(file: Arc<F>, len: u64, now: ClockReading) -> Self {
        Self { file, len, grown_at: now.elapsed, marked_at: now.elapsed, cut_at: None, ended: false }
    }
}

impl<F> Followed<F> {
    /// A file that was just seen, under a matching name.
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
            open_line_since: None,
            missing_since: None,
            grown_to: 0,
        }
    }

    /// Records a new name.
    pub(super) fn note_rotation(&mut self, path: &Path) {
        if self.rotated_from.is_none() && is_rotated_name(&self.identity.path, path) {
            self.rotated_from = Some(self.identity.path.clone());
        }
    }

    /// Records the present metadata of a parked file; returns whether it must be reopened if it `grows`.
    pub(super) fn see_parked(&mut self, stat: &Stat, grows: bool, now: Timestamp) -> bool {
        // A compressed file that was only renamed is not decoded again.
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

    /// Its length when last seen.
    pub(super) fn seen_to(&self) -> u64 {
        self.seen.len.max(self.grown_to)
    }

    /// Whether nothing more is expected of it, with `until_idle`.
    pub(super) fn is_at_rest(&self) -> bool {
        !self.is_unread && self.open.as_ref().is_none_or(|open| open.ended)
    }

    /// Its path, if known.
    pub(super) fn path(&self) -> Option<&PathBuf> {
        match &self.name {
            Name::Matched => Some(&self.identity.path),
            Name::Rotated(path) => Some(path),
            Name::Lost => None,
        }
    }

    /// Reads it up to `end` and then closes it.
    pub(super) fn end(&mut self, generation: GenerationId, end: u64, forget: bool, events: &mut Vec<FileEvent<F>>) {
        events.push(FileEvent::Grown { generation, end });
        events.push(FileEvent::Ended { generation, forget });
        self.open.iter_mut().for_each(|open| open.ended = true);
    }

    /// With `until_idle`: whether a last line without a newline counts. If its file grows it is still written, and is
    /// left to the next start.
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
