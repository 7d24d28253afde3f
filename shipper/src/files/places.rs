//! The bound on open files: which file is parked so that another can be opened.
//!
//! While there are places every file stays open. Then the one that has not grown for longest goes first, among those whose
//! every line was read and has its outcome; a file whose last line has no newline yet only if nothing else can.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use store::GenerationId;

use super::{Files, Look, OPEN_LINE_GRACE, Reading, lookup};
use crate::disk::Disk;

impl<D: Disk> Files<D> {
    /// Files that are open, those among them that are only held until their last line has its outcome.
    pub(super) fn open_files(&self) -> usize {
        self.followed.values().filter(|followed| followed.open.is_some()).count() + self.closing.len()
    }

    /// Opens files that wait, parked and new ones in turn, while there are places; and makes some.
    pub(super) fn give_places<'a>(
        &mut self,
        reading: &impl Fn(&GenerationId) -> Option<Reading<'a>>,
        look: &mut Look<D::File>,
    ) -> io::Result<()> {
        let wanted = self.backlog.len() + self.reopen.len();
        if wanted == 0 {
            return Ok(());
        }
        let mut free = self.settings.max_open_files.saturating_sub(self.open_files());
        self.park(wanted.saturating_sub(free), reading, look);
        let paths = if self.backlog.is_empty() { HashMap::new() } else { self.paths() };
        while free > 0 && !(self.backlog.is_empty() && self.reopen.is_empty()) {
            if let Some(generation) = self.reopen.pop_first()
                && self.reopen(generation, look)?
            {
                free -= 1;
            }
            if free > 0
                && let Some(path) = self.backlog.pop_front()
                && self.meet(&path, reading, &paths, look)?
            {
                free -= 1;
            }
        }
        Ok(())
    }

    /// The paths that are followed.
    fn paths(&self) -> HashMap<PathBuf, GenerationId> {
        self.followed.iter().map(|(generation, followed)| (followed.identity.path.clone(), *generation)).collect()
    }

    /// Parks up to `count` files; their places are free once the pipeline lets them go.
    fn park<'a>(
        &mut self,
        count: usize,
        reading: &impl Fn(&GenerationId) -> Option<Reading<'a>>,
        look: &mut Look<D::File>,
    ) {
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
