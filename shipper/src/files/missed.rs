//! Files created and rotated between two scans. No scan found them under a matching name, so they are not read; they
//! are counted if they are still visible.

use std::sync::Arc;

use store::GenerationId;

use super::copies::is_beginning_of;
use super::lookup::{Folders, base, compressed_kind, open_regular};
use super::rotated::dated_originals;
use super::scan::Named;
use super::{Files, Name};
use crate::disk::{Disk, DiskFile as _, Stat};

impl<D: Disk> Files<D> {
    /// When a followed file loses its matching name, counts files created under that name later that have a rotated
    /// name by now.
    pub(super) fn count_missed(&mut self, generation: GenerationId, named: &Named, folders: &mut Folders) {
        let Some(followed) = self.followed.get(&generation) else { return };
        if followed.name != Name::Matched || followed.missing_since.is_some() {
            return;
        }
        let identity = &followed.identity;
        let original = base(&self.disk, &identity.path);
        // Without creation times they can't be distinguished from older files.
        let (Some(born_ns), Ok(folder)) = (identity.born_ns, folders.of(&self.disk, &original)) else { return };
        let since_ns = born_ns.max(self.stopped_ns);
        for (path, stat) in folder.candidates(&original) {
            let key = stat.key();
            let is_younger = stat.len > 0 && stat.born_ns.is_some_and(|born_ns| born_ns > since_ns);
            let is_known = self.by_inode.contains_key(&key) || named.contains_key(&key) || key == identity.key();
            let is_rotated = dated_originals(path).any(|dated| dated == original);
            if !is_younger || is_known || !is_rotated || self.is_of_another_life(stat) {
                continue;
            }
            // A compressed copy of this or another file does not count.
            let is_own = open_regular(&self.disk, path).is_ok_and(|opened| {
                opened.is_some_and(|(file, _)| {
                    compressed_kind(&file).is_ok_and(|kind| kind.is_none())
                        && (identity.fingerprint_len == 0 || identity.begins_alike(&file).is_ok_and(|alike| !alike))
                })
            });
            if is_own {
                self.counts.missed += 1;
                tracing::warn!(
                    path = %path.display(), bytes = stat.len,
                    "file created and rotated between two scans: not read, since no pattern matches it"
                );
            }
        }
    }

    /// When a file that was empty at the last check has changed, counts new files that have a rotated name of it: it was
    /// written, copied and truncated meanwhile. They can't be read, since nothing shows whose content they have.
    pub(super) fn count_missed_copies(&mut self, generation: GenerationId, since_ns: i64) {
        let Some(followed) = self.followed.get(&generation).filter(|followed| followed.name == Name::Matched) else {
            return;
        };
        let original = base(&self.disk, &followed.identity.path);
        let open = followed.open.as_ref().map(|open| Arc::clone(&open.file));
        let mut folders = Folders::default();
        let Ok(folder) = folders.of(&self.disk, &original) else { return };
        for (path, stat) in folder.candidates(&original) {
            let is_new = stat.len > 0 && stat.born_ns.is_some_and(|born_ns| born_ns > since_ns);
            let is_rotated = dated_originals(path).any(|dated| dated == original);
            if !is_new || !is_rotated || self.by_inode.contains_key(&stat.key()) || self.is_matched(path) {
                continue;
            }
            let is_there = |copy: &D::File| match &open {
                Some(file) => is_beginning_of(copy, stat.len, &**file),
                None => Ok(false),
            };
            let opened = open_regular(&self.disk, path);
            if opened
                .is_ok_and(|opened| opened.is_some_and(|(copy, _)| is_there(&copy).is_ok_and(|is_there| !is_there)))
            {
                self.counts.missed += 1;
                tracing::warn!(
                    path = %path.display(), bytes = stat.len,
                    "file written, copied and truncated between two checks: not read, since no pattern matches the copy"
                );
            }
        }
    }

    /// Whether a file belongs to a generation with lines in flight, or to one of an earlier process.
    fn is_of_another_life(&self, stat: &Stat) -> bool {
        let mut closing = self.closing.iter().filter_map(|closing| closing.file.as_ref());
        let mut unclaimed = self.unclaimed.values().filter_map(|entry| entry.file.as_ref());
        closing.any(|file| file.stat().is_ok_and(|open| open.key() == stat.key()))
            || unclaimed.any(|identity| identity.key() == stat.key())
    }
}
