//! The bound on open files: which file is parked so that another can be opened.
//!
//! While there are places every file stays open. Then the one that has not grown for longest goes first, among those whose
//! every line was read and has its outcome; a file whose last line has no newline yet only if nothing else can.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use store::GenerationId;

use super::unpacking::is_pending;
use super::{Files, Look, OPEN_LINE_GRACE, Reading, lookup};
use crate::disk::Disk;

/// Compressed files that wait and are tried again in one look.
const TRIED_MAX: usize = 4;

impl<D: Disk> Files<D> {
    /// Files that are open, those among them that are only held until their last line has its outcome.
    pub(super) fn open_files(&self) -> usize {
        self.followed.values().filter(|followed| followed.open.is_some()).count() + self.closing.len()
    }

    /// Opens files that wait, parked and new ones in turn, while there are places; and makes some.
    pub(super) fn give_places<'a>(
        &mut self,
        reading: &impl Fn(&GenerationId) -> Option<Reading<'a>>,
        look: &mut Look<D>,
    ) -> io::Result<()> {
        let wanted = self.backlog.len() + self.reopen.len() + self.compressed.len().min(TRIED_MAX);
        if wanted == 0 {
            return Ok(());
        }
        let mut free = self.settings.max_open_files.saturating_sub(self.open_files());
        self.park(wanted.saturating_sub(free), reading, look);
        let is_any_new = !(self.backlog.is_empty() && self.compressed.is_empty());
        let paths = if is_any_new { self.paths() } else { HashMap::new() };
        let (mut tried, mut later) = (0, Vec::new());
        while free > 0 {
            let generation = self.reopen.pop_first();
            if let Some(generation) = generation {
                match self.reopen(generation, look) {
                    Ok(is_open) => free -= usize::from(is_open),
                    Err(error) if is_pending(&error) => later.push(generation),
                    Err(error) => return Err(error),
                }
            }
            if free == 0 {
                break;
            }
            let waits = || {
                tried += 1;
                if tried <= TRIED_MAX { self.compressed.pop_front() } else { None }
            };
            let path = self.backlog.pop_front().or_else(waits);
            if let Some(path) = &path {
                match self.meet(path, reading, &paths, look) {
                    Ok(is_open) => free -= usize::from(is_open),
                    Err(error) if is_pending(&error) => self.compressed.push_back(path.clone()),
                    Err(error) => return Err(error),
                }
            }
            if generation.is_none() && path.is_none() {
                break;
            }
        }
        self.reopen.extend(later);
        Ok(())
    }

    /// The paths that are followed.
    fn paths(&self) -> HashMap<PathBuf, GenerationId> {
        self.followed.iter().map(|(generation, followed)| (followed.identity.path.clone(), *generation)).collect()
    }

    /// Parks up to `count` files; their places are free once the pipeline lets them go.
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
        for (_, _, generation, read_to) in idle.into_iter().take(count) {
            if let Some(followed) = self.followed.get_mut(&generation) {
                followed.end(generation, read_to, false, &mut look.events);
            }
        }
    }
}
