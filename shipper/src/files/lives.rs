//! The lives of files: how one begins, goes on in another process or under another name, and ends in a copy.

use std::io;
use std::path::Path;
use std::sync::Arc;

use store::GenerationId;

use super::{FileEvent, Files, ROTATED_GRACE, Tracked, lookup};
use crate::disk::{Disk, DiskFile as _, Stat, path};
use crate::document::Place;
use crate::journal::FileIdentity;
use crate::moment::Moment;
use crate::spool::lock;

impl<D: Disk> Files<D> {
    /// A file was cut: its life ends, the unread rest of it is looked for in a copy, and another life begins.
    pub(super) fn end_life(
        &mut self,
        generation: GenerationId,
        read_to: u64,
        now: Moment,
        events: &mut Vec<FileEvent<D::File>>,
    ) -> io::Result<()> {
        let Self { disk, tracked, .. } = self;
        let Some(cut) = tracked.get(&generation) else { return Ok(()) };
        let known = |stat: &Stat| tracked.values().any(|tracked| tracked.identity.is_same(stat));
        let copy = lookup::copy(disk, &cut.identity, read_to, known);
        let Some(cut) = tracked.get_mut(&generation) else { return Ok(()) };
        if copy.is_err() && now.elapsed < *cut.cut_at.get_or_insert(now.elapsed) + ROTATED_GRACE {
            // The copy may be what can't be read. What stands in the file itself is another life's.
            events.push(FileEvent::Grown { generation, end: read_to });
            return Ok(());
        }
        let Some(old) = tracked.remove(&generation) else { return Ok(()) };
        self.counts.truncated += 1;
        match copy {
            Ok(Some((file, end))) => {
                events.push(FileEvent::Moved { generation, file: Arc::new(file) });
                events.push(FileEvent::Grown { generation, end });
            }
            Ok(None) | Err(_) => {
                self.counts.suspected_losses += 1;
                tracing::warn!(
                    path = %old.identity.path.display(), %generation, read_bytes = read_to,
                    "a file was cut while it was followed and no copy of it was found: \
                     what was written since the last look may be gone"
                );
            }
        }
        events.push(FileEvent::Ended { generation, forget: true });
        let path = &old.identity.path;
        let seen = old.file.stat().and_then(|stat| Ok((FileIdentity::of(&*old.file, path, &stat)?, stat.len)));
        match seen {
            Ok((identity, len)) => self.begin_life(identity, old.file, len, now, events),
            Err(error) => {
                // The next look-up meets it as a new file.
                self.unreadable.add(path, &error);
                Ok(())
            }
        }
    }

    pub(super) fn rename(&mut self, generation: GenerationId, path: &Path) {
        if let Some(tracked) = self.tracked.get_mut(&generation) {
            path.clone_into(&mut tracked.identity.path);
            lock(&self.journal).file(generation, tracked.identity.clone());
        }
    }

    /// The generation of an earlier process that this file is the life of.
    pub(super) fn claim(&self, file: &D::File, stat: &Stat) -> io::Result<Option<GenerationId>> {
        for (generation, entry) in &self.unclaimed {
            let Some(identity) = &entry.file else { continue };
            if identity.is_same(stat) && stat.len >= entry.checkpoint && identity.begins_alike(file)? {
                return Ok(Some(*generation));
            }
        }
        Ok(None)
    }

    /// After a restart: files that were renamed out of the patterns, or copied and cut, while nobody looked.
    pub(super) fn look_for_the_unclaimed(
        &mut self,
        now: Moment,
        events: &mut Vec<FileEvent<D::File>>,
    ) -> io::Result<()> {
        let generations: Vec<_> = self.unclaimed.keys().copied().collect();
        for generation in generations {
            let Some(entry) = self.unclaimed.get(&generation).cloned() else { continue };
            let Some(identity) = &entry.file else { continue };
            let known = |stat: &Stat| self.tracked.values().any(|tracked| tracked.identity.is_same(stat));
            let found = lookup::by_number(&self.disk, identity, entry.checkpoint).and_then(|found| {
                let Some((path, file, stat)) = found else { return Ok(None) };
                let identity = FileIdentity::of(&file, &path, &stat)?;
                Ok(Some((identity, file, stat.len)))
            });
            match found {
                Ok(Some((identity, file, len))) => {
                    self.resume(generation, identity, file, len, now, events);
                    if let Some(tracked) = self.tracked.get_mut(&generation) {
                        tracked.rotated = true;
                    }
                    continue;
                }
                Ok(None) => {}
                Err(error) => {
                    self.unreadable.add(&identity.path, &error);
                    continue;
                }
            }
            match lookup::copy(&self.disk, identity, entry.checkpoint, known) {
                Ok(Some((file, end))) => {
                    let file = Arc::new(file);
                    let place = self.place(&identity.path, &*file);
                    events.push(FileEvent::Opened { generation, file, place, offset: entry.checkpoint });
                    events.push(FileEvent::Grown { generation, end });
                    events.push(FileEvent::Ended { generation, forget: true });
                }
                Ok(None) => {
                    self.counts.vanished += 1;
                    tracing::warn!(
                        path = %identity.path.display(), %generation, checkpoint = entry.checkpoint,
                        "a file that was being read is gone: what was unread of it can't be read any more"
                    );
                    events.push(FileEvent::Vanished { generation, file: identity.path.clone(), end: entry.checkpoint });
                }
                Err(error) => {
                    self.unreadable.add(&identity.path, &error);
                    continue;
                }
            }
            self.unclaimed.remove(&generation);
        }
        Ok(())
    }

    /// A life that an earlier process began goes on.
    pub(super) fn resume(
        &mut self,
        generation: GenerationId,
        identity: FileIdentity,
        file: D::File,
        len: u64,
        now: Moment,
        events: &mut Vec<FileEvent<D::File>>,
    ) {
        let entry = self.unclaimed.remove(&generation).unwrap_or_default();
        {
            let mut journal = lock(&self.journal);
            // What lies between the last mark and here may have been sent under that mark, so it keeps it; only an
            // orderly end knows where nothing was.
            if let Some(horizon) = entry.horizon {
                journal.mark(generation, horizon, now.wall);
            }
            journal.mark(generation, len, now.wall);
            journal.file(generation, identity.clone());
        }
        self.track(generation, identity, Arc::new(file), entry.checkpoint, len, now, events);
    }

    /// A life begins that no process knew.
    pub(super) fn begin_life(
        &mut self,
        identity: FileIdentity,
        file: Arc<D::File>,
        len: u64,
        now: Moment,
        events: &mut Vec<FileEvent<D::File>>,
    ) -> io::Result<()> {
        let born = u64::try_from(now.wall.unix_ms()).unwrap_or(0).max(self.last_born_ms + 1);
        self.last_born_ms = born;
        let mut entropy = [0; 10];
        entropy[..8].copy_from_slice(&(self.random)().to_le_bytes());
        entropy[8..].copy_from_slice(&(self.random)().to_le_bytes()[..2]);
        let generation = GenerationId::new(born, &entropy);
        {
            let mut journal = lock(&self.journal);
            journal.file(generation, identity.clone());
            // Durable before its first line is sent.
            if let Err(error) = journal.sync() {
                // The file gets another generation; a later process must not take it for this one's.
                journal.retire(generation);
                return Err(error);
            }
        }
        self.track(generation, identity, file, 0, len, now, events);
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "one file's facts, each used once")]
    fn track(
        &mut self,
        generation: GenerationId,
        identity: FileIdentity,
        file: Arc<D::File>,
        offset: u64,
        len: u64,
        now: Moment,
        events: &mut Vec<FileEvent<D::File>>,
    ) {
        let place = self.place(&identity.path, &*file);
        events.push(FileEvent::Opened { generation, file: Arc::clone(&file), place, offset });
        // What can't be read here can't be read by the pipeline either, which says so.
        let whole =
            if self.settings.until_idle { lookup::whole_lines(&*file, offset, len).unwrap_or(offset) } else { len };
        events.push(FileEvent::Grown { generation, end: whole });
        let ended = self.settings.until_idle && whole == len;
        if ended {
            events.push(FileEvent::Ended { generation, forget: false });
        }
        let (grown_at, marked_at) = (now.elapsed, now.elapsed);
        self.tracked.insert(
            generation,
            Tracked { identity, file, len, grown_at, marked_at, rotated: false, cut_at: None, ended },
        );
    }

    /// What a file is that was chosen before. Docker's entries stay Docker's, also when they can't be read any more.
    fn place(&self, path: &Path, file: &D::File) -> Place {
        let file_name = || path::text(path);
        let unreadable = || Place::Container { file: file_name(), container: None, compose_service: None };
        self.settings.format.place(path, file).unwrap_or_else(unreadable)
    }
}
