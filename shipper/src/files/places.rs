//! Limits the number of open files: decides which file is parked so that another can be opened.
//!
//! Below the limit every file stays open. Then the file without growth for the longest time is parked first, among
//! those whose lines were all read and have their outcome; one whose last line has no newline only if there is no
//! other. Parked files wait in order, and take turns with new ones.

use std::collections::{HashMap, HashSet, VecDeque};
use std::path::PathBuf;
use std::time::Duration;

use store::GenerationId;

use super::followed::Followed;
use super::{ContentOf, Files, Look, OPEN_LINE_GRACE, Reading, lookup};
use crate::disk::Disk;

/// Maximum number of waiting compressed files tried per check.
const TRIED_MAX: usize = 4;

/// Generations in the order in which they started to wait, without duplicates.
#[derive(Debug, Default)]
pub(super) struct Queue {
    order: VecDeque<GenerationId>,
    members: HashSet<GenerationId>,
}

impl Queue {
    pub(super) fn push(&mut self, generation: GenerationId) {
        if self.members.insert(generation) {
            self.order.push_back(generation);
        }
    }

    pub(super) fn pop(&mut self) -> Option<GenerationId> {
        let first = self.order.pop_front()?;
        self.members.remove(&first);
        Some(first)
    }

    pub(super) fn remove(&mut self, generation: &GenerationId) {
        if self.members.remove(generation) {
            self.order.retain(|waiting| waiting != generation);
        }
    }

    pub(super) fn contains(&self, generation: &GenerationId) -> bool {
        self.members.contains(generation)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.order.len()
    }
}

impl<D: Disk> Files<D> {
    /// Number of open files, including those kept until their last line has its outcome.
    pub(super) fn open_files(&self) -> usize {
        self.followed.values().filter(|followed| followed.open.is_some()).count() + self.closing.len()
    }

    /// Number of open files that are closed once their last line has its outcome.
    fn ending_files(&self) -> usize {
        let is_ending = |followed: &&Followed<ContentOf<D>>| followed.open.as_ref().is_some_and(|open| open.ended);
        self.followed.values().filter(is_ending).count() + self.closing.len()
    }

    /// Opens waiting files, parked and new ones in turn, up to the limit, and parks others to make room.
    pub(super) fn give_places<'a>(
        &mut self,
        reading: &impl Fn(&GenerationId) -> Option<Reading<'a>>,
        look: &mut Look<D>,
    ) {
        let wanted = self.backlog.len() + self.reopen.len() + self.compressed.len().min(TRIED_MAX);
        if wanted == 0 {
            return;
        }
        let mut free = self.settings.max_open_files.saturating_sub(self.open_files());
        self.park(wanted.saturating_sub(free + self.ending_files()), reading, look);
        let is_any_new = !(self.backlog.is_empty() && self.compressed.is_empty());
        let mut paths = if is_any_new { self.paths() } else { HashMap::new() };
        // Files being decoded keep waiting, and are tried once per check.
        let (mut parked, mut compressed) = (self.reopen.len(), self.compressed.len().min(TRIED_MAX));
        while free > 0 && (parked > 0 || compressed > 0 || !self.backlog.is_empty()) {
            self.is_new_files_turn = !self.is_new_files_turn;
            let opened = if !self.is_new_files_turn {
                parked = parked.saturating_sub(1);
                self.open_parked(look)
            } else if let Some(path) = self.backlog.pop_front() {
                self.open_new(path, reading, &mut paths, look)
            } else if compressed > 0
                && let Some(path) = self.compressed.pop_front()
            {
                compressed -= 1;
                self.open_new(path, reading, &mut paths, look)
            } else {
                false
            };
            free -= usize::from(opened);
        }
        self.end_lives(reading, look);
    }

    /// Opens the parked file that has waited longest; returns whether it was opened.
    fn open_parked(&mut self, look: &mut Look<D>) -> bool {
        let Some(generation) = self.reopen.pop() else { return false };
        self.reopen(generation, look).unwrap_or_else(|_pending| {
            self.reopen.push(generation);
            false
        })
    }

    /// Handles a new file; returns whether it was opened.
    fn open_new<'a>(
        &mut self,
        path: PathBuf,
        reading: &impl Fn(&GenerationId) -> Option<Reading<'a>>,
        paths: &mut HashMap<PathBuf, GenerationId>,
        look: &mut Look<D>,
    ) -> bool {
        let begun = look.begun.len();
        let Ok(met) = self.meet(&path, reading, paths, look) else {
            self.compressed.push_back(path);
            return false;
        };
        // The next file may be a copy of it.
        paths.extend(look.begun.get(begun).map(|generation| (path, *generation)));
        met
    }

    /// The paths of followed files.
    fn paths(&self) -> HashMap<PathBuf, GenerationId> {
        self.followed.iter().map(|(generation, followed)| (followed.identity.path.clone(), *generation)).collect()
    }

    /// Parks up to `count` files, which are closed once the pipeline is done with them.
    fn park<'a>(&mut self, count: usize, reading: &impl Fn(&GenerationId) -> Option<Reading<'a>>, look: &mut Look<D>) {
        if count == 0 {
            return;
        }
        let mut idle: Vec<(bool, Duration, GenerationId, u64)> = Vec::new();
        for (generation, followed) in &self.followed {
            let Some(open) = followed.open.as_ref().filter(|open| !open.ended && open.cut_at.is_none()) else {
                continue;
            };
            let Some(reading) = reading(generation).filter(|reading| reading.checkpoint == reading.read_to) else {
                continue;
            };
            let has_open_line = followed.seen.len > reading.read_to;
            let is_idle = || look.now.elapsed >= open.grown_at + OPEN_LINE_GRACE;
            let ends_open = || {
                let whole =
                    lookup::whole_lines(&*open.file, reading.read_to, followed.seen.len, self.settings.encoding);
                whole.is_ok_and(|whole| whole == reading.read_to)
            };
            if !has_open_line || is_idle() && ends_open() {
                idle.push((has_open_line, open.grown_at, *generation, reading.read_to));
            }
        }
        idle.sort_unstable();
        for (has_open_line, grown_at, generation, read_to) in idle.into_iter().take(count) {
            if let Some(followed) = self.followed.get_mut(&generation) {
                followed.open_line_since = has_open_line.then_some(grown_at);
                followed.end(generation, read_to, false, &mut look.events);
            }
        }
    }
}
