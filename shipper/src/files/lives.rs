//! The life cycle of generations: how one starts, continues in another process or under another name, and ends in a
//! copy.

use std::path::Path;
use std::sync::Arc;

use store::GenerationId;

use super::copies::{Copy, Whole};
use super::extent::Extent;
use super::followed::{Closing, Followed, Name, Open};
use super::lookup::{self, Folders};
use super::rotated::originals;
use super::unpacking::is_pending;
use super::{ContentOf, FileEvent, Files, Look, ROTATED_GRACE, Reading};
use crate::disk::{Disk, DiskFile as _, Stat};
use crate::journal::{Entry, FileIdentity, Tail, Trail};

impl<D: Disk> Files<D> {
    /// Ends the generations of open files that were truncated. Their folders are read once for all of them, after each
    /// was checked: a copy exists before its original is truncated.
    pub(super) fn end_lives<'a>(
        &mut self,
        reading: &impl Fn(&GenerationId) -> Option<Reading<'a>>,
        look: &mut Look<D>,
    ) {
        let cut = std::mem::take(&mut look.cut);
        if cut.is_empty() {
            return;
        }
        let known = self.known_paths();
        let is_copy = |generation: &GenerationId| {
            let path = self.followed.get(generation).map(|followed| &followed.identity.path);
            path.is_some_and(|path| originals(path).any(|original| known.contains(&*original)))
        };
        let cut: Vec<_> = cut.into_iter().map(|generation| (generation, is_copy(&generation))).collect();
        let mut folders = Folders::default();
        for (generation, is_copy) in cut {
            self.end_life(generation, reading(&generation), is_copy, &mut folders, look);
        }
    }

    /// Handles a truncated file: its generation ends, its unread rest is searched for in a copy, and a new generation
    /// starts.
    fn end_life(
        &mut self,
        generation: GenerationId,
        reading: Option<Reading<'_>>,
        is_copy: bool,
        folders: &mut Folders,
        look: &mut Look<D>,
    ) {
        let now = look.now;
        let entry = self.journal.lock().get(&generation);
        let (read_to, trail) = match reading {
            Some(reading) => (reading.read_to, reading.trail.clone()),
            None => (entry.checkpoint, entry.trail.clone()),
        };
        let Some(cut) = self.followed.get(&generation) else { return };
        let (identity, since) = (cut.identity.clone(), cut.seen_at);
        let whole = Whole::of(cut);
        let copies = self.copies_of(&identity, read_to, &trail, whole, folders, look);
        let Some(open) = self.followed.get_mut(&generation).and_then(|cut| cut.open.as_mut()) else { return };
        if copies.as_ref().is_err_and(is_pending) {
            open.cut_at = Some(now.elapsed);
        }
        if copies.is_err() && now.elapsed < *open.cut_at.get_or_insert(now.elapsed) + ROTATED_GRACE {
            // The copy may be unreadable. The file's present content belongs to another generation.
            look.events.push(FileEvent::Grown { generation, end: read_to });
            return;
        }
        let Some(mut old) = self.followed.remove(&generation) else { return };
        let Some(open) = old.open.take() else { return };
        let seen_to = if reading.is_some() { open.len } else { old.seen_to() }.max(entry.known_len());
        if self.by_inode.get(&identity.key()) == Some(&generation) {
            self.by_inode.remove(&identity.key());
        }
        self.counts.truncated += 1;
        let mut copies = copies.unwrap_or_default().into_iter();
        match copies.next() {
            Some(copy) => {
                let left = read_to.max(copy.stat.len);
                self.note_destroyed(generation, &identity, left, seen_to, look);
                self.go_on_in(generation, &identity, read_to, copy, reading.is_none().then_some(&entry), look);
            }
            None => {
                self.note_destroyed(generation, &identity, read_to, seen_to, look);
                // Rotated copies are not appended to: new content is the next copy.
                if !is_copy || read_to < open.len {
                    self.counts.suspected_losses += 1;
                    tracing::warn!(
                        path = %identity.path.display(), %generation, read_bytes = read_to,
                        "file truncated without a rotated copy: unread data may be lost"
                    );
                }
                if reading.is_none() {
                    look.events.push(FileEvent::Vanished { generation, file: identity.path.clone(), end: read_to });
                } else {
                    look.events.push(FileEvent::Grown { generation, end: read_to });
                    look.events.push(FileEvent::Ended { generation, forget: true });
                    self.closing.push(Closing { generation, file: None, seen_at: since });
                }
            }
        }
        for copy in copies.filter(|copy| copy.is_named) {
            self.begin_read_copy(&copy, look);
        }
        let seen = open.file.stat().and_then(|stat| lookup::written(&*open.file, stat, self.settings.encoding));
        let seen = seen.and_then(|stat| Ok((FileIdentity::of(&*open.file, &identity.path, &stat)?, stat)));
        match seen {
            // A file that was truncated and then deleted has no new generation.
            Ok((_, stat)) if stat.links == 0 && stat.len == 0 => {}
            // Nor has a file with the inode of one that was renamed out of the patterns.
            Ok(_) if old.name != Name::Matched => {}
            // The next scan determines whose copy it is.
            Ok(_) if is_copy => {}
            Ok((identity, stat)) => self.begin_life(identity, open.file, &stat, look),
            // The next scan finds it as a new file.
            Err(error) => self.unread.add_error(&identity.path, &error, now.elapsed),
        }
    }

    /// Reads the unread rest of a generation from a copy of its file; `entry` if it is not being read yet. A matching
    /// copy is followed from now on.
    pub(super) fn go_on_in(
        &mut self,
        generation: GenerationId,
        cut: &FileIdentity,
        read_to: u64,
        copy: Copy<ContentOf<D>>,
        entry: Option<&Entry>,
        look: &mut Look<D>,
    ) {
        // Data read after the copy's end was written after the copy was made; it is not in this file.
        if copy.extent == Extent::Shorter {
            if entry.is_some() {
                look.events.push(FileEvent::Vanished { generation, file: cut.path.clone(), end: read_to });
            } else {
                look.events.push(FileEvent::Grown { generation, end: read_to });
                look.events.push(FileEvent::Ended { generation, forget: true });
                self.closing.push(Closing { generation, file: None, seen_at: look.now.wall });
            }
            return self.begin_read_copy(&copy, look);
        }
        let Copy { path, identity: own, file, stat, is_named, extent, .. } = copy;
        self.counts.copies += 1;
        // The matching name; the copy's may be a rotated name of it.
        let mut identity = cut.moved_to(if is_named { &path } else { &cut.path }, &stat);
        // Data seen after the copy's end no longer belongs to this generation or its fingerprint.
        if stat.len < identity.fingerprint_len {
            let FileIdentity { path, start, life_born_ns, .. } = identity;
            identity = FileIdentity { path, start, life_born_ns, ..own };
        }
        // A later process finds the rest there.
        self.journal.lock().file(generation, identity.clone());
        self.forget_beyond(generation, stat.len);
        let is_compressed = file.is_unpacked();
        if is_named {
            self.by_inode.insert(identity.key(), generation);
            if is_compressed && extent == Extent::Read && entry.is_some() {
                self.followed.insert(generation, Followed::new(identity, stat, None, look.now));
                return;
            }
        }
        self.unpacking.hand_over(&file);
        let file = Arc::new(file);
        look.events.push(match entry {
            Some(entry) => FileEvent::Opened {
                generation,
                file: Arc::clone(&file),
                source: self.settings.format.selected(&cut.path, &*file),
                offset: entry.checkpoint,
                trail: entry.trail.shortened(stat.len),
            },
            None => FileEvent::Moved { generation, file: Arc::clone(&file) },
        });
        let end = stat.len.max(read_to);
        look.events.push(FileEvent::Grown { generation, end });
        if is_compressed || !is_named {
            look.events.push(FileEvent::Ended { generation, forget: !is_named });
        }
        if !is_named {
            self.closing.push(Closing { generation, file: Some(file), seen_at: look.now.wall });
            return;
        }
        let open = Open { ended: is_compressed, ..Open::new(file, stat.len, look.now) };
        let rotated_from = Some(cut.path.clone());
        self.followed
            .insert(generation, Followed { rotated_from, ..Followed::new(identity, stat, Some(open), look.now) });
    }

    /// Forgets what was known about a generation after the end of the copy in which it continues. Those bytes were
    /// written after the copy was made, and a later process would take the copy for a truncated file.
    fn forget_beyond(&mut self, generation: GenerationId, end: u64) {
        let mut journal = self.journal.lock();
        if journal.get(&generation).known_len() > end {
            journal.shorten(generation, end);
            self.is_unsynced = true;
        }
    }

    /// Handles a file without a matching name that has not grown for a while. Under a rotated name it stays known and
    /// is read again if it grows; otherwise it is no longer followed.
    pub(super) fn end_rotated(&mut self, generation: GenerationId, look: &mut Look<D>) {
        let Some(followed) = self.followed.get_mut(&generation) else { return };
        let Some(open) = &followed.open else { return };
        let end = open.len;
        if let Name::Rotated(_) = followed.name {
            followed.end(generation, end, false, &mut look.events);
            return;
        }
        if followed.seen.links > 0 {
            self.counts.given_up += 1;
            let path = &followed.identity.path;
            tracing::warn!(
                path = %path.display(), %generation, read_bytes = end,
                "file moved out of the patterns: later data is not read"
            );
        }
        followed.end(generation, end, true, &mut look.events);
        let seen_at = followed.seen_at;
        let file = self.forget(generation).and_then(|followed| followed.open).map(|open| open.file);
        self.closing.push(Closing { generation, file, seen_at });
    }

    /// Reports that bytes seen in a file from `from` to `to` do not exist any more.
    pub(super) fn note_destroyed(
        &mut self,
        generation: GenerationId,
        identity: &FileIdentity,
        from: u64,
        to: u64,
        look: &mut Look<D>,
    ) {
        if from < to {
            self.counts.destroyed_bytes += to - from;
            look.events.push(FileEvent::Destroyed { generation, file: identity.path.clone(), from, to });
        }
    }

    /// Stops following a generation.
    pub(super) fn forget(&mut self, generation: GenerationId) -> Option<Followed<ContentOf<D>>> {
        let followed = self.followed.remove(&generation)?;
        let key = followed.identity.key();
        if self.by_inode.get(&key) == Some(&generation) {
            self.by_inode.remove(&key);
        }
        self.reopen.remove(&generation);
        Some(followed)
    }

    /// Drops the generation of an open file that was empty when first seen, and whose content is not that of a new
    /// file.
    pub(super) fn drop_empty(&mut self, generation: GenerationId, look: &mut Look<D>) {
        if let Some(mut dropped) = self.forget(generation) {
            dropped.end(generation, 0, true, &mut look.events);
            self.closing.push(Closing { generation, file: None, seen_at: look.now.wall });
        }
    }

    pub(super) fn rename(&mut self, generation: GenerationId, path: &Path) {
        if let Some(followed) = self.followed.get_mut(&generation) {
            followed.note_rotation(path);
            path.clone_into(&mut followed.identity.path);
            self.journal.lock().file(generation, followed.identity.clone());
        }
    }

    /// Creates a generation.
    fn begin(&mut self, identity: &FileIdentity, look: &mut Look<D>) -> GenerationId {
        let born = u64::try_from(look.now.wall.unix_ms()).unwrap_or(0).max(self.last_born_ms + 1);
        self.last_born_ms = born;
        let mut entropy = [0; 10];
        entropy[..8].copy_from_slice(&(self.random)().to_le_bytes());
        entropy[8..].copy_from_slice(&(self.random)().to_le_bytes()[..2]);
        let generation = GenerationId::new(born, &entropy);
        self.journal.lock().file(generation, identity.clone());
        self.by_inode.insert(identity.key(), generation);
        look.begun.push(generation);
        self.is_unsynced = true;
        generation
    }

    /// Starts a generation that no process knew.
    pub(super) fn begin_life(
        &mut self,
        identity: FileIdentity,
        file: Arc<ContentOf<D>>,
        stat: &Stat,
        look: &mut Look<D>,
    ) {
        let generation = self.begin(&identity, look);
        self.track(generation, identity, file, 0, Trail::default(), stat, look);
    }

    /// Starts a parked generation of which nothing before `start` is read.
    pub(super) fn begin_parked(
        &mut self,
        identity: FileIdentity,
        file: &ContentOf<D>,
        stat: &Stat,
        start: u64,
        look: &mut Look<D>,
    ) {
        let identity = FileIdentity { start, ..identity };
        let generation = self.begin(&identity, look);
        // Reading the end of a compressed file requires decoding it completely; its size and modification time identify
        // it.
        let tail = if file.is_unpacked() { None } else { Tail::read(file, start).unwrap_or(None) };
        self.journal.lock().file_checkpoint(generation, start, tail);
        let has_open_line = !file.is_unpacked() && stat.len > start;
        let open_line_since = has_open_line.then_some(look.now.elapsed);
        let parked = Followed { open_line_since, ..Followed::new(identity, *stat, None, look.now) };
        self.followed.insert(generation, parked);
    }

    #[expect(clippy::too_many_arguments, reason = "one file's facts, each used once")]
    pub(super) fn track(
        &mut self,
        generation: GenerationId,
        identity: FileIdentity,
        file: Arc<ContentOf<D>>,
        offset: u64,
        trail: Trail,
        stat: &Stat,
        look: &mut Look<D>,
    ) {
        let source = self.settings.format.selected(&identity.path, &*file);
        self.unpacking.hand_over(&file);
        let mut trail = trail;
        // If nothing was read, the start of the file shows whether it was truncated.
        if trail.last().is_none() {
            trail.extend(Tail::read(&*file, identity.fingerprint_len).unwrap_or(None));
        }
        look.events.push(FileEvent::Opened { generation, file: Arc::clone(&file), source, offset, trail });
        // If this fails, the pipeline fails too and reports it.
        let len = stat.len;
        // A compressed file is complete, including its last line.
        let is_compressed = file.is_unpacked();
        let whole = if self.settings.until_idle && !is_compressed {
            lookup::whole_lines(&*file, offset, len, self.settings.encoding).unwrap_or(offset)
        } else {
            len
        };
        look.events.push(FileEvent::Grown { generation, end: whole });
        let ended = is_compressed || self.settings.until_idle && whole == len;
        if ended {
            look.events.push(FileEvent::Ended { generation, forget: false });
        }
        let open = Open { ended, ..Open::new(file, len, look.now) };
        self.followed.insert(generation, Followed::new(identity, *stat, Some(open), look.now));
    }
}
