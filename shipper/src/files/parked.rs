//! Parked files: resuming, reopening, finding them under another name, and missing ones.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use store::GenerationId;

use super::copies::{Copy, Whole};
use super::extent::Extent;
use super::followed::{Followed, Name, Open};
use super::lookup::{Folders, base, became_compressed};
use super::rotated::{dated_originals, is_rotated_name};
use super::unpacking::{is_pending, pending};
use super::{ContentOf, FileEvent, Files, Look, ROTATED_GRACE, Reading};
use crate::compressed::Content;
use crate::disk::{Disk, FileKind, Stat};
use crate::journal::{Entry, FileIdentity};

impl<D: Disk> Files<D> {
    /// Resumes a generation of an earlier process, or a parked one. The file is not opened if nothing is unread.
    pub(super) fn resume(
        &mut self,
        generation: GenerationId,
        identity: FileIdentity,
        file: ContentOf<D>,
        stat: &Stat,
        entry: &Entry,
        look: &mut Look<D>,
    ) {
        self.note_resumed(generation, &identity, stat, entry, look);
        if stat.len == entry.checkpoint {
            self.followed.insert(generation, Followed::new(identity, *stat, None, look.now));
            return;
        }
        self.track(generation, identity, Arc::new(file), entry.checkpoint, entry.trail.clone(), stat, look);
    }

    /// Like [`Files::resume`], when too many files are open: unread data is read later.
    pub(super) fn resume_parked(
        &mut self,
        generation: GenerationId,
        identity: FileIdentity,
        stat: &Stat,
        entry: &Entry,
        look: &Look<D>,
    ) {
        self.note_resumed(generation, &identity, stat, entry, look);
        let is_unread = stat.len != entry.checkpoint;
        if is_unread {
            self.reopen.push(generation);
        }
        let may_be_shorter = is_unread && self.journal.lock().has_rebooted();
        let parked = Followed { is_unread, may_be_shorter, ..Followed::new(identity, *stat, None, look.now) };
        self.followed.insert(generation, parked);
    }

    fn note_resumed(
        &mut self,
        generation: GenerationId,
        identity: &FileIdentity,
        stat: &Stat,
        entry: &Entry,
        look: &Look<D>,
    ) {
        let is_known = entry.file.as_ref() == Some(identity);
        {
            let mut journal = self.journal.lock();
            // Bytes between the last mark and here may have been sent with that mark, so they keep it. Only an orderly
            // shutdown rules that out.
            if let Some(horizon) = entry.horizon {
                journal.mark(generation, horizon, look.now.wall);
            }
            if stat.len > entry.checkpoint {
                journal.mark(generation, stat.len, look.now.wall);
            }
            if !is_known {
                journal.file(generation, identity.clone());
            }
        }
        self.by_inode.insert(identity.key(), generation);
    }

    /// Reopens a parked file that changed; returns whether it was opened.
    ///
    /// # Errors
    /// Only [pending](is_pending), for a compressed file.
    pub(super) fn reopen(&mut self, generation: GenerationId, look: &mut Look<D>) -> io::Result<bool> {
        let is_its =
            |followed: &&Followed<ContentOf<D>>| self.by_inode.get(&followed.identity.key()) == Some(&generation);
        let parked = self.followed.get(&generation).filter(|followed| followed.open.is_none());
        let Some(followed) = parked.filter(is_its) else { return Ok(false) };
        let Some(path) = followed.path().cloned() else { return Ok(false) };
        let identity = followed.identity.clone();
        let is_compressed = identity.packed.is_some();
        if is_compressed && !self.unpacking.has_place() {
            return Err(pending());
        }
        let (may_be_shorter, seen_len) = (followed.may_be_shorter, followed.seen.len);
        let entry = self.journal.lock().get(&generation);
        let opened = self.open(&path).and_then(|opened| {
            let Some((file, stat)) = opened.filter(|(_, stat)| identity.is_same(stat)) else { return Ok(None) };
            if is_compressed {
                let resumed = self.resume_compressed(&identity, file, stat, &entry, look)?;
                return Ok(Some((resumed.0, resumed.1, resumed.2, None)));
            }
            let holds = stat.len >= seen_len
                && identity.holds(&file, stat.len, entry.checkpoint, &entry.trail, may_be_shorter)?;
            let compressed = became_compressed(&identity, entry.checkpoint, &file)?;
            Ok(Some((Content::plain(file), stat, holds, compressed)))
        });
        let opened = opened.and_then(|opened| {
            let Some((file, stat, holds, compressed)) = opened else { return Ok(None) };
            let longer = if holds { identity.refreshed(&file, &identity.path, &stat)? } else { identity.clone() };
            Ok(Some((file, stat, holds, longer, compressed)))
        });
        let (file, stat, holds, longer, compressed) = match opened {
            Ok(Some(opened)) => opened,
            Ok(None) => return Ok(false),
            Err(error) if is_pending(&error) => return Err(error),
            Err(error) => {
                self.unread.add_error(&path, &error, look.now.elapsed);
                return Ok(false);
            }
        };
        let was_empty = entry.checkpoint == 0 && identity.fingerprint_len == 0 && stat.len > 0;
        if was_empty && self.may_be_copy(&identity.path) {
            self.forget(generation);
            look.events.push(FileEvent::Vanished { generation, file: path, end: 0 });
            return Ok(false);
        }
        if let Some(kind) = compressed {
            self.forget(generation);
            look.events.push(FileEvent::Vanished { generation, file: path.clone(), end: 0 });
            if !self.reads(kind) {
                self.leave_compressed(&path, &stat, kind, look);
            }
            return Ok(false);
        }
        if holds {
            let parked = self.followed.get(&generation);
            let (name, rotated_from) =
                parked.map_or((Name::Lost, None), |parked| (parked.name.clone(), parked.rotated_from.clone()));
            let is_over =
                |parked: &Followed<_>| parked.seen.len == stat.len && self.is_open_line_over(parked, look.now.elapsed);
            let is_over = parked.is_some_and(is_over);
            {
                let mut journal = self.journal.lock();
                // Nothing from here on was dispatched.
                journal.mark(generation, entry.checkpoint, look.now.wall);
            }
            let mut entry = entry;
            entry.horizon = None;
            self.resume(generation, longer, file, &stat, &entry, look);
            if let Some(followed) = self.followed.get_mut(&generation) {
                (followed.name, followed.rotated_from) = (name, rotated_from);
                if is_over {
                    followed.end(generation, stat.len, false, &mut look.events);
                }
            }
            return Ok(true);
        }
        if let Some(followed) = self.followed.get_mut(&generation) {
            let cut_at = Some(look.now.elapsed);
            followed.open = Some(Open { cut_at, ..Open::new(Arc::new(file), stat.len, look.now) });
            look.cut.push(generation);
        }
        Ok(true)
    }

    /// Ends rotated files that still have a matching name, when their last line has had no newline for a while. If they
    /// grow they are read again. Parked ones are reopened for that, whatever their name is.
    pub(super) fn end_rotated_lines<'a>(
        &mut self,
        reading: &impl Fn(&GenerationId) -> Option<Reading<'a>>,
        look: &mut Look<D>,
    ) {
        let now = look.now.elapsed;
        let is_over = |(generation, followed): &(&GenerationId, &Followed<ContentOf<D>>)| {
            let open = followed.open.as_ref().filter(|open| !open.ended && open.cut_at.is_none());
            followed.name == Name::Matched
                && open.is_some_and(|open| {
                    let has_open_line = || reading(generation).is_some_and(|reading| reading.read_to < open.len);
                    now >= open.grown_at + ROTATED_GRACE && has_open_line()
                })
                && self.has_successor(followed)
        };
        let over: Vec<_> = self.followed.iter().filter(is_over).map(|(generation, _)| *generation).collect();
        let parked = self.followed.iter().filter(|(_, followed)| self.is_open_line_over(followed, now));
        let parked: Vec<_> = parked.map(|(generation, _)| *generation).collect();
        parked.into_iter().for_each(|generation| self.reopen.push(generation));
        for generation in over {
            if let Some(followed) = self.followed.get_mut(&generation)
                && let Some(end) = followed.open.as_ref().map(|open| open.len)
            {
                followed.end(generation, end, false, &mut look.events);
            }
        }
    }

    /// Whether nothing will follow the open last line of a parked file: it was rotated, and has not grown for a while.
    fn is_open_line_over(&self, followed: &Followed<ContentOf<D>>, now: Duration) -> bool {
        followed.open.is_none()
            && followed.open_line_since.is_some_and(|since| now >= since + ROTATED_GRACE)
            && match followed.name {
                Name::Matched => self.has_successor(followed),
                Name::Rotated(_) => true,
                Name::Lost => false,
            }
    }

    /// The metadata of a parked file. If it grew, unwritten zeros at its end are not counted, as they would not be if
    /// it was opened.
    pub(super) fn stat_parked(&self, generation: GenerationId, path: &Path, stat: &Stat) -> Stat {
        let has_grown = |followed: &Followed<ContentOf<D>>| {
            followed.open.is_none() && followed.identity.packed.is_none() && stat.len > followed.seen_to()
        };
        if !self.followed.get(&generation).is_some_and(has_grown) {
            return *stat;
        }
        match self.open(path) {
            Ok(Some((_, written))) if written.key() == stat.key() => written,
            _ => *stat,
        }
    }

    /// Whether a file was rotated and another one has its former name. If that was not observed, a date or number in
    /// its name shows it, and that the other file appeared after its last modification.
    fn has_successor(&self, followed: &Followed<ContentOf<D>>) -> bool {
        let other = |path: &Path| {
            let stat = self.disk.stat(path).ok()?;
            (stat.kind == FileKind::Regular && stat.key() != followed.identity.key()).then_some(stat)
        };
        let is_newer = |stat: Stat| stat.born_ns.is_some_and(|born_ns| born_ns >= followed.seen.written_ns);
        match &followed.rotated_from {
            Some(path) => other(path).is_some(),
            None => dated_originals(&followed.identity.path).any(|path| other(&path).is_some_and(is_newer)),
        }
    }

    /// Searches for a parked file under its rotated names; returns whether it was found.
    pub(super) fn find_parked(
        &mut self,
        generation: GenerationId,
        folders: &mut Folders,
        look: &Look<D>,
    ) -> io::Result<bool> {
        let Some(followed) = self.followed.get_mut(&generation) else { return Ok(false) };
        let identity = &followed.identity;
        let original = base(&self.disk, &identity.path);
        let folder = folders.of(&self.disk, &original)?;
        let mut candidates = folder.with_inode(identity.key());
        let is_its = self.by_inode.get(&identity.key()) == Some(&generation);
        let found =
            candidates.find(|(path, stat)| is_its && identity.is_same(stat) && is_rotated_name(&original, path));
        let Some((path, stat)) = found else { return Ok(false) };
        followed.missing_since = None;
        followed.name = Name::Rotated(path.clone());
        let stat = self.stat_parked(generation, path, stat);
        let Some(followed) = self.followed.get_mut(&generation) else { return Ok(false) };
        if followed.see_parked(&stat, !self.settings.until_idle, look.now.wall) {
            self.reopen.push(generation);
        }
        Ok(true)
    }

    /// Handles a missing parked file. Its unread rest may be in a copy; otherwise it is forgotten after a while.
    pub(super) fn miss(&mut self, generation: GenerationId, folders: &mut Folders, look: &mut Look<D>) {
        let now = look.now.elapsed;
        let Some(followed) = self.followed.get_mut(&generation) else { return };
        let missing_since = *followed.missing_since.get_or_insert(now);
        let (identity, whole) = (followed.identity.clone(), Whole::of(followed));
        let entry = self.journal.lock().get(&generation);
        let checkpoint = entry.checkpoint;
        let goes_on =
            |copy: &Copy<ContentOf<D>>| copy.extent == Extent::Longer || copy.file.is_unpacked() && copy.is_named;
        match self.copies_of(&identity, checkpoint, &entry.trail, whole, folders, look) {
            Ok(copies) if copies.first().is_some_and(goes_on) => {
                self.forget(generation);
                let mut copies = copies.into_iter();
                if let Some(copy) = copies.next() {
                    self.go_on_in(generation, &identity, checkpoint, copy, Some(&entry), look);
                }
                return copies.filter(|copy| copy.is_named).for_each(|copy| self.begin_read_copy(&copy, look));
            }
            Err(error) if is_pending(&error) => return,
            _ => {}
        }
        if now < missing_since + ROTATED_GRACE && !self.settings.until_idle {
            return;
        }
        let Some(followed) = self.forget(generation) else { return };
        let seen_to = followed.seen_to().max(entry.known_len());
        self.note_destroyed(generation, &followed.identity, checkpoint, seen_to, look);
        let path = followed.identity.path;
        if seen_to > checkpoint {
            self.counts.vanished += 1;
            tracing::warn!(
                path = %path.display(), %generation, checkpoint, bytes = seen_to - checkpoint,
                "file deleted before its last line was read"
            );
        }
        look.events.push(FileEvent::Vanished { generation, file: path, end: checkpoint });
    }
}
