//! Files that were made and rotated between two looks. No look found them under the name that the patterns match, so that
//! nothing of them is read; what can be seen of them afterwards is counted.

use store::GenerationId;

use super::lookup::{Folders, base, compressed_kind, open_regular};
use super::rotated::dated_originals;
use super::scan::Named;
use super::{Files, Name};
use crate::disk::{Disk, DiskFile as _, Stat};

impl<D: Disk> Files<D> {
    /// When a followed file has just lost the name that the patterns match, counts the files that were made under that
    /// name after it and have a rotated one by now.
    pub(super) fn count_missed(&mut self, generation: GenerationId, named: &Named, folders: &mut Folders) {
        let Some(followed) = self.followed.get(&generation) else { return };
        if followed.name != Name::Matched || followed.missing_since.is_some() {
            return;
        }
        let identity = &followed.identity;
        let original = base(&self.disk, &identity.path);
        // Without birth times nothing tells them from what lay there before.
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
            // A copy of the file itself, or of another one, compressed, is none.
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
                    "file made and rotated between two looks; it is not read, since no pattern names it"
                );
            }
        }
    }

    /// Whether a file is one whose last lines are under way, or that an earlier process read.
    fn is_of_another_life(&self, stat: &Stat) -> bool {
        let mut closing = self.closing.iter().filter_map(|closing| closing.file.as_ref());
        let mut unclaimed = self.unclaimed.values().filter_map(|entry| entry.file.as_ref());
        closing.any(|file| file.stat().is_ok_and(|open| open.key() == stat.key()))
            || unclaimed.any(|identity| identity.key() == stat.key())
    }
}
