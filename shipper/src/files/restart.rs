//! After a restart: finds the file of each generation of the previous process, and the unread rest of the others.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

use store::GenerationId;

use super::copies::{Copy, Whole};
use super::extent::{Extent, extent};
use super::followed::Name;
use super::lookup::{Folders, Matching, base, became_compressed};
use super::rotated::{is_rotated_name, originals};
use super::{ContentOf, FileEvent, Files, Look};
use crate::compressed::Content;
use crate::disk::{Disk, Stat};
use crate::journal::{Entry, FileIdentity, Trail};

impl<D: Disk> Files<D> {
    /// Resumes new files that an earlier process read.
    pub(super) fn claim(&mut self, new: &mut Vec<(PathBuf, Stat)>, look: &mut Look<D>) {
        let mut by_inode: HashMap<u64, Vec<GenerationId>> = HashMap::new();
        for (generation, entry) in &self.unclaimed {
            if let Some(identity) = &entry.file {
                by_inode.entry(identity.inode).or_default().push(*generation);
            }
        }
        new.retain(|(path, stat)| {
            let candidates = by_inode.get(&stat.inode).map_or(&[][..], Vec::as_slice);
            for generation in candidates {
                match self.claim_as(*generation, path, path, look) {
                    Ok(true) => return false,
                    Ok(false) => {}
                    Err(error) => {
                        self.unread.add_error(path, &error, look.now.elapsed);
                        return false;
                    }
                }
            }
            true
        });
    }

    /// Resumes a generation if the file at `path` belongs to it. The journal records it as `name`, which a pattern
    /// matches, in one record: of two, an interrupted write keeps the first.
    fn claim_as(&mut self, generation: GenerationId, path: &Path, name: &Path, look: &mut Look<D>) -> io::Result<bool> {
        let Some(entry) = self.unclaimed.get(&generation) else { return Ok(false) };
        let Some(identity) = &entry.file else { return Ok(false) };
        let Some((file, stat)) = self.open(path)? else { return Ok(false) };
        if identity.packed.is_some() {
            return self.claim_compressed(generation, name, file, stat, look);
        }
        let has_rebooted = self.journal.lock().has_rebooted();
        // Only a power loss shortens a file that was not truncated.
        let was_cut = stat.len < entry.known_len() && !has_rebooted;
        if was_cut
            || !identity.is_same_after_restart(&stat)
            || !identity.holds(&file, stat.len, entry.checkpoint, &entry.trail, has_rebooted)?
        {
            return Ok(false);
        }
        if let Some(kind) = became_compressed(identity, entry.checkpoint, &file)? {
            self.unclaimed.remove(&generation);
            look.events.push(FileEvent::Vanished { generation, file: path.to_owned(), end: 0 });
            if self.reads(kind) {
                return Ok(false);
            }
            self.leave_compressed(path, &stat, kind, look);
            return Ok(true);
        }
        let was_empty = entry.checkpoint == 0 && identity.fingerprint_len == 0 && stat.len > 0;
        if was_empty && self.may_be_copy(&identity.path) {
            // It was empty when first seen: its content identifies it.
            self.unclaimed.remove(&generation);
            look.events.push(FileEvent::Vanished { generation, file: path.to_owned(), end: 0 });
            return Ok(false);
        }
        let identity = identity.refreshed(&file, path, &stat)?;
        let held_to = entry.trail.held_by(&file, stat.len)?.map_or(0, |tail| tail.end).max(entry.checkpoint);
        let file = Content::plain(file);
        let Some(mut entry) = self.unclaimed.remove(&generation) else { return Ok(false) };
        if entry.known_len() > stat.len || entry.trail.last().is_some_and(|tail| tail.end > held_to) {
            self.forget_lost_end(generation, &mut entry, held_to);
        }
        let before = entry.file.as_ref().map(|before| before.path.clone());
        let noted = FileIdentity { path: name.to_owned(), ..identity.clone() };
        if entry.file.replace(identity.clone()).as_ref() != Some(&noted) {
            self.journal.lock().file(generation, noted);
        }
        let needs_no_place = stat.len == entry.checkpoint;
        if needs_no_place || self.reopen.is_empty() && self.open_files() < self.settings.max_open_files {
            self.resume(generation, identity, file, &stat, &entry, look);
        } else {
            self.resume_parked(generation, identity, &stat, &entry, look);
        }
        if let Some((followed, before)) = self.followed.get_mut(&generation).zip(before)
            && is_rotated_name(&before, path)
        {
            followed.rotated_from = Some(before);
        }
        Ok(true)
    }

    /// Forgets what was known about an end that a file lost: other bytes replace it.
    fn forget_lost_end(&mut self, generation: GenerationId, entry: &mut Entry, held_to: u64) {
        entry.shorten(held_to);
        self.journal.lock().shorten(generation, held_to);
        self.is_unsynced = true;
    }

    /// Like [`Files::claim_as`] for a compressed file. An unchanged one is not decoded.
    fn claim_compressed(
        &mut self,
        generation: GenerationId,
        name: &Path,
        file: D::File,
        stat: Stat,
        look: &mut Look<D>,
    ) -> io::Result<bool> {
        let Some(entry) = self.unclaimed.get(&generation).cloned() else { return Ok(false) };
        let Some(identity) = entry.file.as_ref().filter(|identity| identity.is_same_after_restart(&stat)) else {
            return Ok(false);
        };
        let stat = match identity.as_unpacked(&stat) {
            Some(stat) => stat,
            None => match self.resume_compressed(identity, file, stat, &entry, look)? {
                (_, stat, true) => stat,
                _ => return Ok(false),
            },
        };
        self.unclaimed.remove(&generation);
        self.resume_parked(generation, identity.moved_to(name, &stat), &stat, &entry, look);
        Ok(true)
    }

    /// After a restart: finds files that were renamed out of the patterns, or copied and truncated, meanwhile.
    pub(super) fn look_for_unclaimed(&mut self, matching: &Matching, folders: &mut Folders, look: &mut Look<D>) {
        let generations: Vec<_> = self.unclaimed.keys().copied().collect();
        self.hidden = 0;
        for generation in generations {
            let Some(entry) = self.unclaimed.get(&generation).cloned() else { continue };
            let Some(identity) = &entry.file else { continue };
            // It may be in an unreadable folder.
            if self.unread.may_hide(&identity.path) || matching.is_hidden(&identity.path) {
                self.hidden += 1;
                continue;
            }
            let found = self.find_unclaimed(generation, identity, folders, look).and_then(|found| match found {
                true => Ok(None),
                false => {
                    let mut trail = entry.trail.clone();
                    // A power loss may have taken later data.
                    if self.journal.lock().has_rebooted() {
                        trail.shorten(entry.checkpoint);
                    }
                    // Its length at that time was not recorded.
                    let whole = Whole { at_ns: self.stopped_ns, len: u64::MAX };
                    let copies = self.copies_of(identity, entry.checkpoint, &trail, whole, folders, look);
                    copies
                        .and_then(|copies| match copies.is_empty() {
                            true => {
                                Ok(Vec::from_iter(self.copy_left_at_its_end(identity, entry.checkpoint, &trail)?))
                            }
                            false => Ok(copies),
                        })
                        .map(Some)
                }
            });
            let copies = match found {
                Ok(Some(copies)) => copies,
                Ok(None) => continue,
                Err(error) => {
                    self.unread.add_error(&identity.path, &error, look.now.elapsed);
                    self.hidden += usize::from(self.unread.may_hide(&identity.path));
                    continue;
                }
            };
            self.unclaimed.remove(&generation);
            self.end_unclaimed(generation, &entry, copies, look);
        }
    }

    /// The copy of a file of which more was read than was copied, if another generation starts at the copy's end. The
    /// process that found it ended before all lines had their outcome, and those in the copy are read again.
    fn copy_left_at_its_end(
        &self,
        identity: &FileIdentity,
        checkpoint: u64,
        trail: &Trail,
    ) -> io::Result<Option<Copy<ContentOf<D>>>> {
        for copy in self.followed.values().map(|followed| &followed.identity) {
            let is_candidate = copy.start > checkpoint && copy.packed.is_none();
            if !is_candidate || !originals(&copy.path).any(|original| original == identity.path) {
                continue;
            }
            let Some((file, stat)) = self.open(&copy.path)?.filter(|(_, stat)| copy.is_same(stat)) else { continue };
            let stat = Stat { len: copy.start, ..stat };
            if extent(identity, &file, stat.len, checkpoint, trail)? == Some(Extent::Longer) {
                let identity = FileIdentity::of(&file, &copy.path, &stat)?;
                let (path, file, extent) = (copy.path.clone(), Content::plain(file), Extent::Longer);
                return Ok(Some(Copy { path, identity, file, stat, is_named: false, extent, is_whole: true }));
            }
        }
        Ok(None)
    }

    /// Whether a file with a rotated name belongs to a generation of an earlier process, which is resumed then.
    fn find_unclaimed(
        &mut self,
        generation: GenerationId,
        identity: &FileIdentity,
        folders: &mut Folders,
        look: &mut Look<D>,
    ) -> io::Result<bool> {
        let original = base(&self.disk, &identity.path);
        let folder = folders.of(&self.disk, &original)?;
        for (path, stat) in folder.with_inode(identity.key()) {
            if self.is_followed(stat) {
                continue;
            }
            // The name as a pattern would match it; if a link matches, the other names of its target are not links.
            let named = path.file_name().map_or_else(|| path.clone(), |name| identity.path.with_file_name(name));
            if is_rotated_name(&original, path) {
                let is_it = self.disk.stat(&named).is_ok_and(|named| named.key() == stat.key());
                if self.claim_as(generation, if is_it { &named } else { path }, &identity.path, look)? {
                    if let Some(followed) = self.followed.get_mut(&generation) {
                        followed.identity.path.clone_from(&identity.path);
                        followed.name = Name::Rotated(path.clone());
                    }
                    return Ok(true);
                }
                continue;
            }
            if self.is_matched(path) && self.claim_as(generation, &named, &named, look)? {
                // It was renamed, `app.log.1` to `app.log.2`, after the patterns were matched.
                return Ok(true);
            }
        }
        self.find_in_folders(generation, identity, folder.folders(), folders, look)
    }

    /// Like [`Files::find_unclaimed`], in subfolders and sibling folders, where logrotate's `olddir` puts files. Only
    /// the creation time identifies the file there.
    fn find_in_folders(
        &mut self,
        generation: GenerationId,
        identity: &FileIdentity,
        dirs: &[PathBuf],
        folders: &mut Folders,
        look: &mut Look<D>,
    ) -> io::Result<bool> {
        let Some(name) = identity.path.file_name().filter(|_| identity.born_ns.is_some()) else { return Ok(false) };
        for dir in dirs {
            let Ok(folder) = folders.of(&self.disk, &dir.join(name)) else { continue };
            for (path, stat) in folder.with_inode(identity.key()) {
                if !self.is_followed(stat)
                    && !self.settings.is_excluded(path)
                    && stat.born_ns == identity.born_ns
                    && self.claim_as(generation, path, &identity.path, look)?
                {
                    if let Some(followed) = self.followed.get_mut(&generation) {
                        followed.identity.path.clone_from(&identity.path);
                        followed.name = Name::Rotated(path.clone());
                    }
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Handles a generation of an earlier process without a file: its unread rest is in a copy, or lost.
    fn end_unclaimed(
        &mut self,
        generation: GenerationId,
        entry: &Entry,
        copies: Vec<Copy<ContentOf<D>>>,
        look: &mut Look<D>,
    ) {
        let Some(identity) = &entry.file else { return };
        let mut copies = copies.into_iter();
        match copies.next() {
            Some(copy) => {
                let left = entry.checkpoint.max(copy.stat.len);
                self.note_destroyed(generation, identity, left, entry.known_len(), look);
                self.go_on_in(generation, identity, entry.checkpoint, copy, Some(entry), look);
            }
            None => {
                self.note_destroyed(generation, identity, entry.checkpoint, entry.known_len(), look);
                // Rotated copies are not appended to, and everything seen was read.
                if entry.known_len() > entry.checkpoint || !self.may_be_copy(&identity.path) {
                    self.counts.vanished += 1;
                    tracing::warn!(
                        path = %identity.path.display(), %generation, checkpoint = entry.checkpoint,
                        "file deleted or rewritten while the shipper was stopped: what was unread of it is lost, unless it was \
                         moved to a folder where no pattern matches it (olddir): let one match there"
                    );
                }
                look.events.push(FileEvent::Vanished {
                    generation,
                    file: identity.path.clone(),
                    end: entry.checkpoint,
                });
            }
        }
        for copy in copies.filter(|copy| copy.is_named) {
            self.begin_read_copy(&copy, look);
        }
    }
}
