//! Handles compressed files: ignored, a copy of a followed file, or the continuation of a deleted one.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use store::GenerationId;

use super::copies::{COMPARED_BYTES, Judgement, Whole, is_beginning_of};
use super::extent::{Extent, compared_to, extent};
use super::followed::Followed;
use super::lookup::Folders;
use super::rotated::{originals, unnumbered};
use super::unpacking::{begins_alike, is_pending, pending};
use super::{ContentOf, Files, Look, ROTATED_GRACE, Reading, Reason};
use crate::compressed::{Compression, Content, Magic};
use crate::disk::{Disk, DiskFile as _, Stat};
use crate::journal::{Entry, FileIdentity, Trail};

impl<D: Disk> Files<D> {
    /// Whether a compressed file is a copy of a deleted file whose generation does not continue there yet.
    pub(super) fn is_of_deleted(&mut self, stat: &Stat) -> bool {
        let known = self.of_deleted.get(&stat.key()).filter(|(seen, _)| seen.has_same_content(stat));
        let waits = known.is_some_and(|(_, generation)| self.followed.contains_key(generation));
        if waits {
            self.unpacking.keep(stat);
        }
        waits
    }

    /// Whether the content of such files is read.
    pub(super) fn reads(&self, kind: Magic) -> bool {
        self.settings.read_compressed && matches!(kind, Magic::Readable(_))
    }

    /// Ignores a compressed file as long as it is unchanged.
    pub(super) fn leave_compressed(&mut self, path: &Path, stat: &Stat, kind: Magic, look: &Look<D>) {
        self.left_alone.insert(stat.key(), (*stat, Some(Reason::Compressed)));
        if self.unread.add(path, Reason::Compressed, look.now.elapsed) {
            tracing::info!(path = %path.display(), kind = kind.name(), "compressed file ignored");
        }
    }

    /// The content of a compressed file that may be a copy and how far it reaches, if it is a copy.
    pub(super) fn compressed_copy(
        &mut self,
        file: D::File,
        stat: Stat,
        compression: Compression,
        (cut, read_to, trail): (&FileIdentity, u64, &Trail),
        look: &Look<D>,
    ) -> io::Result<Option<(Extent, ContentOf<D>, Stat)>> {
        let file = Arc::new(file);
        if cut.packed.is_some() && cut.is_same(&stat) || !begins_alike(cut, &file, &stat, compression, look.now)? {
            return Ok(None);
        }
        let (file, stat) = self.unpacking.open(file, stat, compression, None, look.now)?;
        let extent = self.compressed_extent(cut, &file, stat.len, read_to, trail, look)?;
        if extent == Some(Extent::Longer) && !self.unpacking.has_place() {
            return Err(pending());
        }
        Ok(extent.map(|extent| (extent, file, stat)))
    }

    /// Like [`extent`], in steps. A shorter copy must match more than the start, since generations may start alike.
    fn compressed_extent(
        &mut self,
        cut: &FileIdentity,
        file: &ContentOf<D>,
        len: u64,
        read_to: u64,
        trail: &Trail,
        look: &Look<D>,
    ) -> io::Result<Option<Extent>> {
        let tail = trail.before(compared_to(cut, file, len, read_to));
        if let Some(tail) = tail {
            self.unpacking.go_to(file, tail.end, look.now)?;
        }
        let is_proven = len <= cut.fingerprint_len || tail.is_some_and(|tail| tail.end > cut.fingerprint_len);
        let extent = extent(cut, file, len, read_to, trail)?;
        Ok(extent.filter(|extent| *extent != Extent::Shorter || is_proven))
    }

    /// Whether a matching compressed file is a copy of a followed one. The latter may have had another inode when it
    /// was compressed.
    ///
    /// # Errors
    /// File system errors of either file, and [pending](is_pending).
    pub(super) fn judge_compressed<'a>(
        &mut self,
        path: &Path,
        file: &ContentOf<D>,
        stat: &Stat,
        reading: &impl Fn(&GenerationId) -> Option<Reading<'a>>,
        look: &Look<D>,
    ) -> io::Result<Judgement> {
        // At the first scan nothing was read, so there are no copies.
        if self.there_at_first.contains(&stat.key()) || stat.len == 0 {
            return Ok(Judgement::New);
        }
        let originals: HashSet<PathBuf> = originals(path).collect();
        let is_original = |of: &Path| {
            let is_beside = of.parent() == path.parent();
            is_beside && (originals.contains(of) || unnumbered(of).is_some_and(|of| originals.contains(&of)))
        };
        let is_of = |entry: &Entry| entry.file.as_ref().is_some_and(|file| is_original(&file.path));
        if self.unclaimed.values().any(is_of) {
            return Ok(Judgement::Undecided);
        }
        let known = self.followed.iter().filter(|(_, followed)| is_original(&followed.identity.path));
        let known: Vec<_> = known.map(|(generation, _)| *generation).collect();
        for generation in known {
            let Some(followed) = self.followed.get(&generation) else { continue };
            let identity = followed.identity.clone();
            if identity.fingerprint_len == 0 || !identity.begins_alike(file)? {
                continue;
            }
            if self.is_cut_pending(&generation, followed) {
                return Ok(Judgement::Undecided);
            }
            let (original, seen_len) = (self.present(followed)?, followed.seen.len);
            let entry = self.journal.lock().get(&generation);
            let (read_to, checkpoint, trail) = match reading(&generation) {
                Some(reading) => (reading.read_to, reading.checkpoint, reading.trail),
                None => (entry.checkpoint, entry.checkpoint, &entry.trail),
            };
            let is_read = stat.len <= checkpoint;
            match original {
                Some(original) if identity.packed.is_none() => {
                    self.unpacking.go_to(file, stat.len.saturating_sub(COMPARED_BYTES), look.now)?;
                    if is_beginning_of(file, stat.len, &original)? {
                        return Ok(if is_read { Judgement::Read } else { Judgement::Undecided });
                    }
                    // It was truncated since the last check.
                    let len = original.stat()?.len;
                    if len < seen_len || !identity.holds(&original, len, read_to, trail, false)? {
                        return Ok(Judgement::Undecided);
                    }
                }
                // Once that file is known to be deleted, its generation continues in this one.
                original => match self.compressed_extent(&identity, file, stat.len, read_to, trail, look)? {
                    Some(Extent::Read) if original.is_some() && is_read => return Ok(Judgement::Read),
                    Some(Extent::Read) if original.is_some() => return Ok(Judgement::Undecided),
                    Some(extent) if original.is_none() && (extent == Extent::Read || identity.packed.is_none()) => {
                        return Ok(Judgement::OfDeleted(generation));
                    }
                    _ => {}
                },
            }
        }
        Ok(Judgement::New)
    }

    /// Resumes a compressed file: its content at the checkpoint, and whether it is the one that was read.
    ///
    /// # Errors
    /// [Pending](is_pending), file system errors, and errors of the content.
    pub(super) fn resume_compressed(
        &mut self,
        identity: &FileIdentity,
        file: D::File,
        stat: Stat,
        entry: &Entry,
        look: &Look<D>,
    ) -> io::Result<(ContentOf<D>, Stat, bool)> {
        let is_as_it_was = identity.as_unpacked(&stat).is_some();
        let (file, stat) = self.unpack(file, stat, Some(identity), look)?;
        if !is_as_it_was {
            if let Some(tail) = entry.trail.before(stat.len) {
                self.unpacking.go_to(&file, tail.end, look.now)?;
            }
            if !identity.holds(&file, stat.len, entry.checkpoint, &entry.trail, false)? {
                return Ok((file, stat, false));
            }
        }
        if stat.len > entry.checkpoint {
            // The pipeline checks the content there before it continues.
            let place = entry.trail.before(entry.checkpoint).map_or(entry.checkpoint, |tail| tail.end);
            self.unpacking.go_to(&file, place, look.now)?;
        }
        Ok((file, stat, true))
    }

    /// A followed file, if it is not deleted.
    fn present(&self, followed: &Followed<ContentOf<D>>) -> io::Result<Option<ContentOf<D>>> {
        if let Some(open) = &followed.open {
            return Ok((open.file.stat()?.links > 0).then(|| (*open.file).clone()));
        }
        let Some(path) = followed.path() else { return Ok(None) };
        let opened = self.open(path)?.filter(|(_, stat)| followed.identity.is_same(stat));
        Ok(opened.map(|(file, _)| Content::plain(file)))
    }

    /// Handles a deleted open file that was not modified for a while. If it was compressed before, its generation
    /// continues there; otherwise it ends.
    pub(super) fn end_deleted(
        &mut self,
        generation: GenerationId,
        reading: Option<Reading<'_>>,
        folders: &mut Folders,
        look: &mut Look<D>,
    ) {
        let now = look.now.elapsed;
        let Some(followed) = self.followed.get_mut(&generation) else { return };
        let Some(open) = followed.open.as_ref().filter(|open| !open.ended && open.cut_at.is_none()) else {
            return;
        };
        if followed.seen.links > 0 || now < open.grown_at + ROTATED_GRACE {
            return;
        }
        let missing_since = *followed.missing_since.get_or_insert(now);
        let identity = followed.identity.clone();
        let entry = self.journal.lock().get(&generation);
        let (read_to, trail) = match reading {
            Some(reading) => (reading.read_to, reading.trail),
            None => (entry.checkpoint, &entry.trail),
        };
        // One that no pattern matches is not read.
        let whole = Whole { at_ns: i64::MAX, len: 0 };
        match self.copies_of(&identity, read_to, trail, whole, folders, look) {
            Ok(copies) if copies.first().is_some_and(|copy| copy.file.is_unpacked()) => {
                self.forget(generation);
                let mut copies = copies.into_iter();
                if let Some(copy) = copies.next() {
                    self.go_on_in(generation, &identity, read_to, copy, reading.is_none().then_some(&entry), look);
                }
                copies.filter(|copy| copy.is_named).for_each(|copy| self.begin_read_copy(&copy, look));
            }
            Err(error) if is_pending(&error) => {}
            // It may be compressed elsewhere, and moved here later.
            _ if now < missing_since + ROTATED_GRACE => {}
            _ => self.end_rotated(generation, look),
        }
    }
}
