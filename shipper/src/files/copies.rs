//! Finds rotated copies of files, and their unread rest.
//!
//! A copy is identified by content: it starts like the original, and has the same bytes before the end of what was
//! read, or before its own end. And its name is a [rotated](super::rotated) name of the original. A copy that no
//! pattern matches must also have been written since the original was last seen intact: older files are unrelated.
//!
//! A compressed copy is identified by its decompressed content. Without `read_compressed` it counts as one that no
//! pattern matches.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use store::GenerationId;

use super::extent::{Extent, extent};
use super::followed::Followed;
use super::identity::FINGERPRINT_MIN_BYTES;
use super::lookup::{Folders, base, compressed_kind};
use super::rotated::originals;
use super::unpacking::{is_damage, is_pending, pending};
use super::{ContentOf, Files, Look, ROTATED_GRACE, Reading};
use crate::compressed::{Content, Magic};
use crate::disk::{Disk, DiskFile, Stat};
use crate::journal::{Entry, FileIdentity, Trail};

/// Number of bytes at the end of a possible copy that are compared with its original.
pub(super) const COMPARED_BYTES: u64 = 4 * 1024;

/// File times have the resolution of the kernel's tick, up to 10 ms at 100 Hz: data written right after a check may
/// seem this much older.
const CLOCK_TICK_NS: i64 = 10_000_000;

/// A copy is created before its original is truncated, and checks in between see the original intact, so a copy may be
/// this much older than the last of them. logrotate syncs the copy in between, which takes long on a busy machine.
const COPIED_BEFORE_NS: i64 = 2_000_000_000;

/// Longest time that copying a byte is assumed to take: 1 MB a second. A copy may be older than the last check by the
/// time that it took.
const COPY_NS_PER_BYTE: i64 = 1_000;

/// Maximum number of subfolders in which copies are searched for.
const SUBFOLDERS_MAX: usize = 64;

/// The state of a file when it last had its read content.
#[derive(Clone, Copy, Debug)]
pub(super) struct Whole {
    pub(super) at_ns: i64,
    pub(super) len: u64,
}

impl Whole {
    pub(super) fn of<F>(followed: &Followed<F>) -> Self {
        Self { at_ns: followed.seen_at.unix_micros().saturating_mul(1_000), len: followed.seen.len }
    }

    /// Whether a file with this metadata may be a copy made before this file was truncated. It was created since the
    /// last check, or as long before as copying it may have taken: an older file that something was appended to is not a
    /// copy. One completed before the last check is not longer than the original was then.
    fn may_precede(&self, copy: &Stat) -> bool {
        let since_ns = if copy.len <= self.len { COPIED_BEFORE_NS } else { CLOCK_TICK_NS };
        // A change of permissions or names changes neither.
        let finished_ns = copy.born_ns.unwrap_or(copy.changed_ns).max(copy.written_ns);
        let copying_ns = i64::try_from(copy.len).unwrap_or(i64::MAX).saturating_mul(COPY_NS_PER_BYTE);
        let earliest_ns = self.at_ns.saturating_sub(COPIED_BEFORE_NS.saturating_add(copying_ns));
        let is_new = copy.born_ns.is_none_or(|born_ns| born_ns >= earliest_ns);
        is_new && finished_ns >= self.at_ns.saturating_sub(since_ns)
    }

    /// Like [`Whole::may_precede`] for a compressed file, whose creation takes a while: started before the last check
    /// of the original and finished after it. Its modification time is the last one of the original, within the
    /// generation of `cut`.
    fn may_precede_compressed(&self, copy: &Stat, cut: &FileIdentity) -> bool {
        let is_finished_since = copy.changed_ns >= self.at_ns.saturating_sub(COPIED_BEFORE_NS);
        is_finished_since && cut.life_born_ns().is_some_and(|born_ns| copy.written_ns >= born_ns)
    }
}

/// A copy of a truncated file.
pub(super) struct Copy<F> {
    pub(super) path: PathBuf,
    /// The copy's own identity. It is read before the life of the original ends, since reading it can fail.
    pub(super) identity: FileIdentity,
    pub(super) file: F,
    pub(super) stat: Stat,
    /// Whether a pattern matches it.
    pub(super) is_named: bool,
    pub(super) extent: Extent,
    /// Whether it reaches the read offset of the original, including lines without an outcome.
    pub(super) is_whole: bool,
}

/// Whether a new file is a copy.
pub(super) enum Judgement {
    /// An independent file.
    New,
    /// It equals the start of a followed file, and all of its lines have their outcome.
    Read,
    /// It equals the start of a followed file so far.
    Undecided,
    /// It contains what was read of a followed file that seems to be deleted.
    OfDeleted(GenerationId),
}

impl<D: Disk> Files<D> {
    /// Whether a file is followed. The inode of a parked file may have been reused.
    pub(super) fn is_followed(&self, stat: &Stat) -> bool {
        let followed = self.by_inode.get(&stat.key()).and_then(|of| self.followed.get(of));
        let is_it = |known: &Followed<ContentOf<D>>| {
            known.open.is_some() || stat.is_unchanged(&known.seen) || known.identity.as_unpacked(stat).is_some()
        };
        followed.is_some_and(|known| known.identity.is_same(stat) && is_it(known))
    }

    /// Whether a followed file lost its read content, such as a copy that each rotation overwrites.
    fn is_overwritten(&self, path: &Path, stat: &Stat) -> io::Result<bool> {
        let followed = self.by_inode.get(&stat.key()).and_then(|of| Some((of, self.followed.get(of)?)));
        let Some((generation, followed)) = followed.filter(|(_, followed)| !stat.is_unchanged(&followed.seen)) else {
            return Ok(false);
        };
        if followed.identity.fingerprint_len == 0 {
            // It was empty when first seen.
            return Ok(stat.len > 0);
        }
        let entry = self.journal.lock().get(generation);
        let Some((file, stat)) = self.open(path)? else { return Ok(false) };
        Ok(!followed.identity.holds(&file, stat.len, entry.checkpoint, &entry.trail, false)?)
    }

    /// The paths of all known files.
    pub(super) fn known_paths(&self) -> HashSet<&Path> {
        let unclaimed = self.unclaimed.values().filter_map(|entry| entry.file.as_ref());
        let followed = self.followed.values().map(|followed| &followed.identity);
        followed.chain(unclaimed).map(|identity| &*identity.path).collect()
    }

    /// Whether a path is a rotated name of a known file, so that it may be its copy.
    pub(super) fn may_be_copy(&self, path: &Path) -> bool {
        let originals: HashSet<_> = originals(path).collect();
        let unclaimed = self.unclaimed.values().filter_map(|entry| entry.file.as_ref());
        let mut known = self.followed.values().map(|followed| &followed.identity).chain(unclaimed);
        known.any(|identity| originals.contains(&identity.path))
    }

    /// The copies of a file that was truncated or removed, complete and long ones first. One that no pattern matches
    /// counts only if it contains everything that was read. `whole` is the last intact state of the file.
    ///
    /// # Errors
    /// Temporary file system errors, if no copy was found that continues; also [`pending`] while a compressed file is
    /// decoded.
    pub(super) fn copies_of(
        &mut self,
        cut: &FileIdentity,
        read_to: u64,
        trail: &Trail,
        whole: Whole,
        folders: &mut Folders,
        look: &Look<D>,
    ) -> io::Result<Vec<Copy<ContentOf<D>>>> {
        let (mut copies, mut slow) = (Vec::new(), Vec::new());
        if cut.fingerprint_len == 0 {
            return Ok(copies);
        }
        let original = base(&self.disk, &cut.path);
        let folder = folders.of(&self.disk, &original)?;
        let mut failed = folder.may_lack(&original).then(pending);
        // logrotate's `olddir` puts copies there.
        let name = original.file_name().unwrap_or_default();
        let there: Vec<_> = folder.folders().iter().take(SUBFOLDERS_MAX).map(|dir| dir.join(name)).collect();
        let below: Vec<_> = there.iter().filter_map(|path| Some((path, folders.of(&self.disk, path).ok()?))).collect();
        let own = folder.candidates(&original).map(|candidate| (&original, candidate));
        let others =
            below.iter().flat_map(|(path, folder)| folder.candidates(path).map(|candidate| (*path, candidate)));
        for (original, (path, stat)) in own.chain(others) {
            if self.is_followed(stat) && !self.is_overwritten(path, stat)? {
                continue;
            }
            let named = folders.named(&self.disk, &self.settings, &cut.path)?;
            let is_it = |named: &&PathBuf| named.file_name() == path.file_name() && base(&self.disk, named) == *path;
            let named = named.paths.iter().find(is_it);
            let is_telling = cut.fingerprint_len >= FINGERPRINT_MIN_BYTES;
            // A link was not created by copying.
            let is_itself = || base(&self.disk, path) == *path;
            let may_be_unnamed = is_telling && whole.may_precede(stat) && is_itself();
            let may_be_slow = is_telling && whole.may_precede_compressed(stat, cut) && is_itself();
            if named.is_none() && !may_be_unnamed && !may_be_slow {
                continue;
            }
            let is_rotated = originals(path).any(|of| of == *original);
            match self.copy_at((path, stat), is_rotated, cut, read_to, trail, look) {
                Ok(Some((extent, file, stat))) => {
                    let is_named = named.is_some() && (!file.is_unpacked() || self.settings.read_compressed);
                    let is_fast = is_named || may_be_unnamed && extent != Extent::Shorter;
                    let is_slow = may_be_slow && file.is_unpacked() && extent != Extent::Shorter;
                    if !(is_fast || is_slow) {
                        continue;
                    }
                    let copy_path = named.unwrap_or(path).clone();
                    let identity = match FileIdentity::of(&file, &copy_path, &stat) {
                        Ok(identity) => identity,
                        Err(error) => {
                            failed = failed.or(Some(error));
                            continue;
                        }
                    };
                    let is_whole = trail.last().is_none_or(|tail| tail.end <= stat.len);
                    let copy = Copy { path: copy_path, identity, file, stat, is_named, extent, is_whole };
                    if is_fast { copies.push(copy) } else { slow.push(copy) }
                }
                Ok(None) => {}
                // One to be read is reported when it is opened.
                Err(error) if is_damage(&error) && self.settings.read_compressed && named.is_some() => {}
                Err(error) if is_damage(&error) => self.unread.add_error(path, &error, look.now.elapsed),
                Err(error) => {
                    self.unread.add_error(path, &error, look.now.elapsed);
                    failed = failed.or(Some(error));
                }
            }
        }
        if copies.is_empty() {
            copies = slow;
        }
        copies.sort_by_key(|copy: &Copy<_>| std::cmp::Reverse((copy.is_whole, copy.extent, copy.is_named)));
        let goes_on = copies.first().is_some_and(|copy| copy.is_whole && copy.extent == Extent::Longer);
        match failed {
            Some(error) if copies.is_empty() || is_pending(&error) && !goes_on => Err(error),
            _ => Ok(copies),
        }
    }

    /// The content of a possible copy and how far it reaches, if it is a copy. A file without a rotated name of the
    /// original must be compressed.
    fn copy_at(
        &mut self,
        (path, listed): (&Path, &Stat),
        is_rotated: bool,
        cut: &FileIdentity,
        read_to: u64,
        trail: &Trail,
        look: &Look<D>,
    ) -> io::Result<Option<(Extent, ContentOf<D>, Stat)>> {
        // It may have been renamed, or removed and compressed, meanwhile.
        let opened = self.open(path)?.filter(|(_, stat)| stat.key() == listed.key());
        let Some((file, stat)) = opened else { return Err(pending()) };
        let Some(Magic::Readable(compression)) = compressed_kind(&file)? else {
            if !is_rotated || cut.packed.is_none() && cut.is_same(&stat) {
                return Ok(None);
            }
            let extent = extent(cut, &file, stat.len, read_to, trail)?;
            return Ok(extent.map(|extent| (extent, Content::plain(file), stat)));
        };
        self.compressed_copy(file, stat, compression, (cut, read_to, trail), look)
    }

    /// Whether a new matching file is a copy of a followed one.
    ///
    /// # Errors
    /// File system errors of either file.
    pub(super) fn judge<'a>(
        &self,
        path: &Path,
        file: &ContentOf<D>,
        stat: &Stat,
        reading: &impl Fn(&GenerationId) -> Option<Reading<'a>>,
        paths: &HashMap<PathBuf, GenerationId>,
    ) -> io::Result<Judgement> {
        // At the first scan nothing was read, so there are no copies.
        if self.there_at_first.contains(&stat.key()) || stat.len == 0 {
            return Ok(Judgement::New);
        }
        for original in originals(path) {
            let is_it = |entry: &Entry| entry.file.as_ref().is_some_and(|file| file.path == original);
            if self.unclaimed.values().any(is_it) {
                return match self.unread.may_hide(&original) {
                    true => Err(io::Error::other("its possible original can't be read")),
                    false => Ok(Judgement::Undecided),
                };
            }
            let Some((generation, followed)) = paths.get(&original).and_then(|of| Some((of, self.followed.get(of)?)))
            else {
                continue;
            };
            if followed.identity.fingerprint_len == 0 || followed.identity.packed.is_some() {
                continue;
            }
            if self.is_cut_pending(generation, followed) {
                return Ok(Judgement::Undecided);
            }
            let entry = self.journal.lock().get(generation);
            let (read_to, checkpoint, trail) = match reading(generation) {
                Some(reading) => (reading.read_to, reading.checkpoint, reading.trail),
                None => (entry.checkpoint, entry.checkpoint, &entry.trail),
            };
            let opened = match (&followed.open, followed.path()) {
                (None, Some(path)) => self.open(path)?,
                _ => None,
            };
            let of_parked = opened.filter(|(_, now)| followed.identity.is_same(now));
            let of_parked = of_parked.map(|(original, _)| Content::plain(original));
            let Some(original) = followed.open.as_ref().map(|open| &*open.file).or(of_parked.as_ref()) else {
                continue;
            };
            if is_beginning_of(file, stat.len, original)? {
                return Ok(if stat.len <= checkpoint { Judgement::Read } else { Judgement::Undecided });
            }
            // It was truncated since the last check.
            let len = original.stat()?.len;
            if len < followed.seen.len || !followed.identity.holds(original, len, read_to, trail, false)? {
                return Ok(Judgement::Undecided);
            }
        }
        Ok(Judgement::New)
    }

    /// Whether a file was, or may have been, truncated and its copies were not searched for yet.
    pub(super) fn is_cut_pending(&self, generation: &GenerationId, followed: &Followed<ContentOf<D>>) -> bool {
        self.reopen.contains(generation) || followed.open.as_ref().is_some_and(|open| open.cut_at.is_some())
    }

    /// Defers a possible copy. If it stays unchanged and everything in it `is_read`, it becomes its own generation, so
    /// that data added later is read.
    pub(super) fn hold(&mut self, copy: &Copy<ContentOf<D>>, is_read: bool, look: &mut Look<D>) {
        let now = look.now.elapsed;
        let (seen, since) = self.held.entry(copy.stat.key()).or_insert((copy.stat, now));
        if !copy.stat.is_unchanged(seen) {
            (*seen, *since) = (copy.stat, now);
        }
        let settled = if self.settings.until_idle { Duration::ZERO } else { ROTATED_GRACE };
        if is_read && now >= *since + settled {
            self.held.remove(&copy.stat.key());
            self.begin_read_copy(copy, look);
        }
    }

    /// A copy that was read completely starts a generation at its end.
    pub(super) fn begin_read_copy(&mut self, copy: &Copy<ContentOf<D>>, look: &mut Look<D>) {
        self.counts.copies += 1;
        tracing::info!(path = %copy.path.display(), bytes = copy.stat.len, "rotated copy already read");
        self.begin_parked(copy.identity.clone(), &copy.file, &copy.stat, copy.stat.len, look);
    }
}

/// Whether a file of `len` bytes equals the start of another, by comparing its first and last bytes.
pub(super) fn is_beginning_of(file: &impl DiskFile, len: u64, other: &impl DiskFile) -> io::Result<bool> {
    if other.stat()?.len < len {
        return Ok(false);
    }
    let is_alike = |from: u64, to: u64| {
        let wanted = usize::try_from(to - from).unwrap_or(0);
        let (mut one, mut two) = (vec![0; wanted], vec![0; wanted]);
        let got = (file.read_at(&mut one, from)?, other.read_at(&mut two, from)?);
        io::Result::Ok(got == (wanted, wanted) && one == two)
    };
    Ok(is_alike(0, len.min(COMPARED_BYTES))? && is_alike(len.saturating_sub(COMPARED_BYTES), len)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::RealDisk;
    use crate::journal::Tail;

    #[test]
    fn generations_with_the_same_start_are_distinguished_by_later_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, format!("{}{}", "alike\n".repeat(400), name.repeat(100))).unwrap();
            let file = RealDisk.open(&path).unwrap();
            let stat = file.stat().unwrap();
            (path, file, stat)
        };
        let ((path, cut, stat), (_, other, _)) = (file("one\n"), file("two\n"));
        let identity = FileIdentity::of(&cut, &path, &stat).unwrap();
        let mut trail = Trail::default();
        for end in [600, 2_600] {
            trail.extend(Tail::read(&cut, end).unwrap());
        }
        let extent = |file, read_to| extent(&identity, file, stat.len, read_to, &trail).unwrap();
        assert_eq!([600, 2_600].map(|read_to| extent(&cut, read_to)), [Some(Extent::Longer); 2]);
        assert_eq!([600, 2_600].map(|read_to| extent(&other, read_to)), [None; 2]);
    }
}
