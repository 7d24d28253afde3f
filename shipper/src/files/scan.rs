//! The scan: compares matching files with followed ones.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use store::GenerationId;

use super::copies::{Copy, Judgement};
use super::extent::Extent;
use super::followed::{Followed, Name};
use super::identity::Inode;
use super::lookup::{self, Folders, Matching, base, compressed_kind};
use super::rotated::{is_rotated_name, originals};
use super::unpacking::{is_pending, pending};
use super::{ContentOf, Files, Look, MAX_FOLLOWED, ReadFrom, Reading, Reason};
use crate::disk::{Disk, FileKind, Stat};
use crate::journal::FileIdentity;

/// Files of a scan by inode, each with all of its paths.
pub(super) type Named = HashMap<Inode, (Stat, Vec<PathBuf>)>;

impl<D: Disk> Files<D> {
    /// Matches the patterns and handles the results.
    pub(super) fn scan<'a>(&mut self, reading: &impl Fn(&GenerationId) -> Option<Reading<'a>>, look: &mut Look<D>) {
        let now = look.now.elapsed;
        let mut matching = lookup::matching(&self.disk, &self.settings);
        for (path, error) in &matching.failed {
            self.unread.add_error(path, error, now);
        }
        self.name_useless_patterns(std::mem::take(&mut matching.empty));
        let (named, mut new) = self.look_up(std::mem::take(&mut matching.paths), look);
        for (inode, (stat, paths)) in &named {
            self.see_again(*inode, stat, paths, look);
        }
        self.named_files = named.len() as u64;
        if self.is_first_scan {
            self.is_first_scan = false;
            self.journal.lock().first_scanned(look.now.wall);
            self.is_unsynced = true;
            self.there_at_first = named.keys().copied().collect();
        }
        self.look_for_unnamed(&named, &matching, reading, &mut Folders::default(), look);
        if !self.settings.until_idle {
            self.end_rotated_lines(reading, look);
        }
        self.claim(&mut new, look);
        // A copy exists before its original is truncated, so folders are read after the originals.
        self.look_for_unclaimed(&matching, &mut Folders::default(), look);
        let (followed, by_inode) = (&self.followed, &self.by_inode);
        self.held.retain(|inode, _| named.contains_key(inode) && !by_inode.contains_key(inode));
        self.of_deleted.retain(|inode, (_, generation)| {
            named.contains_key(inode) && followed.contains_key(generation) && !by_inode.contains_key(inode)
        });
        self.left_alone.retain(|inode, _| named.contains_key(inode));
        self.there_at_first.retain(|inode| named.contains_key(inode));
        self.backlog = self.in_turn(new);
        self.compressed.clear();
    }

    /// New files in the order in which they are handled: a possible copy comes after its original.
    fn in_turn(&self, new: Vec<(PathBuf, Stat)>) -> VecDeque<PathBuf> {
        let paths: HashSet<PathBuf> = new.iter().map(|(path, _)| path.clone()).collect();
        let (copies, others): (Vec<_>, Vec<_>) = new.into_iter().partition(|(path, stat)| {
            !self.there_at_first.contains(&stat.key()) && originals(path).any(|original| paths.contains(&original))
        });
        others.into_iter().chain(copies).map(|(path, _)| path).collect()
    }

    /// The existing files of the paths, by inode, and those without a known generation.
    fn look_up(&mut self, paths: Vec<PathBuf>, look: &Look<D>) -> (Named, Vec<(PathBuf, Stat)>) {
        let (mut named, mut new) = (Named::new(), Vec::new());
        for path in paths {
            let stat = match self.disk.stat(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => {
                    self.unread.add_error(&path, &error, look.now.elapsed);
                    continue;
                }
                Ok(stat) => stat,
            };
            match stat.kind {
                FileKind::Folder => continue,
                FileKind::Special => {
                    if self.unread.add(&path, Reason::Type, look.now.elapsed) {
                        tracing::warn!(path = %path.display(), "pattern matches a pipe, socket or device, which is not read");
                    }
                    continue;
                }
                FileKind::Regular => {}
            }
            // Shipping its own log would produce more log lines without end.
            if self.own_log.is_some_and(|own| own == stat.key()) {
                continue;
            }
            if let Some((seen, reason)) = self.left_alone.get(&stat.key())
                && stat.is_unchanged(seen)
            {
                if let Some(reason) = *reason {
                    self.unread.add(&path, reason, look.now.elapsed);
                }
                named.entry(stat.key()).or_insert((stat, Vec::new()));
                continue;
            }
            let (_, paths) = named.entry(stat.key()).or_insert((stat, Vec::new()));
            paths.push(path.clone());
            let is_first_path = paths.len() == 1;
            let known = self.by_inode.get(&stat.key()).and_then(|generation| self.followed.get(generation));
            if is_first_path && known.is_none_or(|followed| !followed.identity.is_same(&stat)) {
                new.push((path, stat));
            }
        }
        (named, new)
    }

    /// Records the present names of a followed file.
    fn see_again(&mut self, inode: Inode, stat: &Stat, paths: &[PathBuf], look: &Look<D>) {
        let Some(&generation) = self.by_inode.get(&inode) else { return };
        let Some(followed) = self.followed.get_mut(&generation).filter(|known| known.identity.is_same(stat)) else {
            return;
        };
        followed.missing_since = None;
        followed.name = Name::Matched;
        let stat = paths.first().map_or(*stat, |path| self.stat_parked(generation, path, stat));
        let Some(followed) = self.followed.get_mut(&generation) else { return };
        if followed.open.is_none() && followed.see_parked(&stat, !self.settings.until_idle, look.now.wall) {
            self.reopen.push(generation);
        }
        if !paths.contains(&followed.identity.path)
            && let Some(path) = paths.first().cloned()
        {
            self.rename(generation, &path);
        }
    }

    /// Finds followed files that no pattern matches any more.
    fn look_for_unnamed<'a>(
        &mut self,
        named: &Named,
        matching: &Matching,
        reading: &impl Fn(&GenerationId) -> Option<Reading<'a>>,
        folders: &mut Folders,
        look: &mut Look<D>,
    ) {
        let is_named = |generation: &GenerationId, followed: &Followed<ContentOf<D>>| {
            let key = followed.identity.key();
            let is_its = self.by_inode.get(&key) == Some(generation);
            is_its && named.get(&key).is_some_and(|(stat, _)| followed.identity.is_same(stat))
                // It may exist under a name that can't be checked.
                || matching.is_hidden(&followed.identity.path)
                || self.unread.may_hide(&followed.identity.path)
        };
        let unnamed = self.followed.iter().filter(|(generation, followed)| !is_named(generation, followed));
        let unnamed: Vec<_> = unnamed.map(|(generation, _)| *generation).collect();
        for generation in unnamed {
            self.count_missed(generation, named, folders);
            let Some(followed) = self.followed.get_mut(&generation) else { continue };
            if let Some(open) = &followed.open {
                let path = self.disk.path_of(open.file.file());
                let original = base(&self.disk, &followed.identity.path);
                let rotated = path.filter(|path| is_rotated_name(&original, path));
                followed.name = rotated.map_or(Name::Lost, Name::Rotated);
                if self.settings.read_compressed {
                    self.end_deleted(generation, reading(&generation), folders, look);
                }
                continue;
            }
            match self.find_parked(generation, folders, look) {
                Ok(true) => {}
                Ok(false) => self.miss(generation, folders, look),
                Err(error) => {
                    let Some(followed) = self.followed.get(&generation) else { continue };
                    self.unread.add_error(&followed.identity.path, &error, look.now.elapsed);
                }
            }
        }
    }

    /// Handles a new file: it starts a generation, is deferred as a possible copy, or is ignored; returns whether it
    /// was opened.
    ///
    /// # Errors
    /// Only [pending](is_pending), for a compressed file.
    pub(super) fn meet<'a>(
        &mut self,
        path: &Path,
        reading: &impl Fn(&GenerationId) -> Option<Reading<'a>>,
        paths: &HashMap<PathBuf, GenerationId>,
        look: &mut Look<D>,
    ) -> io::Result<bool> {
        match self.try_to_meet(path, reading, paths, look) {
            Err(error) if !is_pending(&error) => {
                self.unread.add_error(path, &error, look.now.elapsed);
                Ok(false)
            }
            met => met,
        }
    }

    fn try_to_meet<'a>(
        &mut self,
        path: &Path,
        reading: &impl Fn(&GenerationId) -> Option<Reading<'a>>,
        paths: &HashMap<PathBuf, GenerationId>,
        look: &mut Look<D>,
    ) -> io::Result<bool> {
        let Some((file, stat)) = self.open(path)? else { return Ok(false) };
        let known = self.by_inode.get(&stat.key()).and_then(|generation| self.followed.get(generation));
        let is_known = known.is_some_and(|followed| followed.identity.is_same(&stat));
        if is_known || lookup::is_own(&self.disk, &self.settings.state_dir, path) {
            return Ok(false);
        }
        if let Some(kind) = compressed_kind(&file)? {
            if !self.reads(kind) {
                self.leave_compressed(path, &stat, kind, look);
                return Ok(false);
            }
            if self.is_of_deleted(&stat) {
                return Ok(false);
            }
            if !self.unpacking.has_place() {
                return Err(pending());
            }
        }
        let (file, stat) = self.unpack(file, stat, None, look)?;
        if self.settings.format.select(path, &file).is_none() {
            self.left_alone.insert(stat.key(), (stat, None));
            return Ok(false);
        }
        if self.followed.len() >= MAX_FOLLOWED {
            if self.unread.add(path, Reason::Limit, look.now.elapsed) {
                tracing::error!(max_followed = MAX_FOLLOWED, path = %path.display(), "file limit reached");
            }
            return Ok(false);
        }
        let judgement = match file.is_unpacked() {
            true => self.judge_compressed(path, &file, &stat, reading, look)?,
            false => self.judge(path, &file, &stat, reading, paths)?,
        };
        let is_to_skip = self.is_to_skip(&stat, look);
        self.there_at_first.remove(&stat.key());
        let identity = FileIdentity::of(&file, path, &stat)?;
        if is_to_skip {
            let start = match file.is_unpacked() {
                true => stat.len,
                false => lookup::whole_lines(&file, 0, stat.len, self.settings.encoding)?,
            };
            self.counts.skipped += 1;
            tracing::info!(path = %path.display(), bytes = start, "existing content of the file skipped");
            self.begin_parked(identity, &file, &stat, start, look);
            return Ok(false);
        }
        let (path, extent) = (path.to_owned(), Extent::Read);
        let copy = Copy { path, identity, file, stat, is_named: true, extent, is_whole: true };
        match judgement {
            Judgement::New => {
                self.held.remove(&stat.key());
                self.begin_life(copy.identity, Arc::new(copy.file), &stat, look);
                Ok(true)
            }
            Judgement::Read | Judgement::Undecided => {
                self.hold(&copy, matches!(judgement, Judgement::Read), look);
                Ok(false)
            }
            Judgement::OfDeleted(generation) => {
                self.of_deleted.insert(stat.key(), (stat, generation));
                Ok(false)
            }
        }
    }

    /// Whether the existing content of a new file is skipped.
    fn is_to_skip(&self, stat: &Stat, look: &Look<D>) -> bool {
        let is_old = self.settings.ignore_older.is_some_and(|age| {
            let age_ns = i64::try_from(age.as_nanos()).unwrap_or(i64::MAX);
            let now_ns = look.now.wall.unix_micros().saturating_mul(1_000);
            stat.written_ns < now_ns.saturating_sub(age_ns)
        });
        is_old || self.there_at_first.contains(&stat.key()) && self.settings.read_from == ReadFrom::End
    }

    /// Logs patterns that match nothing or a folder, once each.
    fn name_useless_patterns(&mut self, empty: Vec<String>) {
        for pattern in empty {
            if self.useless_patterns.insert(pattern.clone()) {
                tracing::warn!(pattern, "pattern matches no file yet");
            }
        }
        for pattern in &self.settings.patterns {
            if self.disk.is_dir(Path::new(pattern)) && self.useless_patterns.insert(pattern.clone()) {
                tracing::warn!(pattern, "pattern matches a folder, which is not read: use FOLDER/*.log");
            }
        }
    }
}
