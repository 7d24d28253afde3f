//! Files that others write and rotate: which of them are there, which life of which file each is, and how far it goes.
//!
//! A life of a file is a generation. It is known again by device, number and a fingerprint of its first bytes, so a
//! rename does not end it; a truncation does, and so does another beginning under the same number. What was written
//! to a file after the last look and before a `copytruncate` is looked for in the copy, which is known by the
//! fingerprint; it stands in the same folder. Bytes that were destroyed before any copy held them can be seen by nobody.
//!
//! Nothing here reads lines: [`Files::poll`] tells the pipeline what there is to read.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use store::GenerationId;

use crate::disk::{Disk, DiskFile, Stat};
use crate::docker::Labels;
use crate::document::Place;
use crate::journal::{Entry, FileIdentity, Journal};
use crate::moment::Moment;
use crate::spool::{Random, lock};

/// Bytes at the beginning of a file that tell it from others.
pub const FINGERPRINT_BYTES: u64 = 1024;

/// A shorter fingerprint is not taken for proof that one file is a copy of another.
const COPY_FINGERPRINT_MIN_BYTES: u64 = 16;

/// Files followed at once; further ones are left alone, and said to be, until others are gone.
pub const MAX_FILES: usize = 1_000;

/// How often files are asked for their size.
pub const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// A file that lost its name, or the name that the patterns match, is followed so long after its last growth.
const ROTATED_GRACE: Duration = Duration::from_secs(60);

/// How far apart two arrival marks are at least.
const MARK_INTERVAL: Duration = Duration::from_secs(1);

/// Which files, and how.
#[derive(Clone, Debug)]
pub struct FileSettings {
    /// Patterns, as of a shell: `*`, `?`, `[…]`, `**`.
    pub patterns: Vec<String>,
    /// How often the patterns are looked up anew.
    pub scan_interval: Duration,
    /// Only what is there at the first look is read; a last line without a newline is a line then.
    pub until_idle: bool,
    /// Nothing under this folder is read: it is the shipper's own.
    pub state_dir: PathBuf,
    /// What the files are made of.
    pub format: Format,
}

/// What files are made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format {
    /// Lines.
    Lines,
    /// Docker's entries, of the containers with these labels.
    Docker(Labels),
}

impl Format {
    /// What a file is; `None` if it is to be left alone, for now at least.
    fn place(&self, path: &Path, file: &impl DiskFile) -> Option<Place> {
        match self {
            Self::Lines => Some(Place::File(path.to_string_lossy().into_owned())),
            Self::Docker(labels) => labels.select(path, file),
        }
    }
}

/// Something the pipeline has to know.
#[derive(Debug)]
pub enum FileEvent<F> {
    /// A generation to read from `offset` on.
    Opened {
        /// The life of the file.
        generation: GenerationId,
        /// The file.
        file: Arc<F>,
        /// What it is.
        place: Place,
        /// Every line before it is disposed of.
        offset: u64,
    },
    /// A generation can be read up to here.
    Grown {
        /// The life of the file.
        generation: GenerationId,
        /// Its size now.
        end: u64,
    },
    /// The rest of a generation stands in another file, the copy that was made before a truncation.
    Moved {
        /// The life of the file.
        generation: GenerationId,
        /// The copy.
        file: Arc<F>,
    },
    /// A generation is at its end, for good; a last line without a newline is a line.
    Ended {
        /// The life of the file.
        generation: GenerationId,
        /// Whether the file is gone, so that the journal may forget it once all is disposed of.
        forget: bool,
    },
}

/// What was seen of files that can't be counted in lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileCounts {
    /// Files that were cut while they were followed.
    pub truncated: u64,
    /// Of those, the ones whose copy was not found: bytes may have been destroyed unread.
    pub suspected_losses: u64,
    /// Files whose unread end was gone after a restart.
    pub vanished: u64,
}

struct Tracked<F> {
    identity: FileIdentity,
    file: Arc<F>,
    len: u64,
    grown_at: Duration,
    marked_at: Duration,
    /// The patterns do not match its name any more, or it has none.
    rotated: bool,
    ended: bool,
}

/// The files that are followed.
pub struct Files<D: Disk> {
    disk: D,
    settings: FileSettings,
    journal: Arc<Mutex<Journal<D>>>,
    random: Random,
    tracked: BTreeMap<GenerationId, Tracked<D::File>>,
    /// What was seen before the file system said no, for the next look to tell.
    untold: Vec<FileEvent<D::File>>,
    /// Generations of an earlier process that no file was found for yet.
    unclaimed: BTreeMap<GenerationId, Entry>,
    scanned: bool,
    scan_due: Duration,
    poll_due: Duration,
    last_born_ms: u64,
    counts: FileCounts,
    too_many_told: bool,
    /// Device and number of the file that this process's standard error goes to.
    own_log: Option<(u64, u64)>,
}

impl<D: Disk> Files<D> {
    /// Files by `settings`, going on where the journal says.
    #[must_use]
    pub fn new(disk: D, settings: FileSettings, journal: Arc<Mutex<Journal<D>>>, random: Random) -> Self {
        let of_files =
            |(generation, entry): (&GenerationId, &Entry)| entry.file.is_some().then(|| (*generation, entry.clone()));
        let unclaimed = lock(&journal).entries().filter_map(of_files).collect();
        Self {
            disk,
            settings,
            journal,
            random,
            tracked: BTreeMap::new(),
            untold: Vec::new(),
            unclaimed,
            scanned: false,
            scan_due: Duration::ZERO,
            poll_due: Duration::ZERO,
            last_born_ms: 0,
            counts: FileCounts::default(),
            too_many_told: false,
            own_log: rustix::fs::fstat(std::io::stderr()).ok().map(|stat| (stat.st_dev, stat.st_ino)),
        }
    }

    /// What was seen so far.
    #[must_use]
    pub fn counts(&self) -> FileCounts {
        self.counts
    }

    /// When there is something to look at.
    #[must_use]
    pub fn poll_at(&self) -> Option<Duration> {
        let finished = self.settings.until_idle && self.scanned;
        (!self.settings.patterns.is_empty() && !finished).then_some(self.poll_due)
    }

    /// Whether the files were looked up at least once.
    #[must_use]
    pub fn is_scanned(&self) -> bool {
        self.scanned || self.settings.patterns.is_empty()
    }

    /// Looks at the files. `position` says how far a generation is read.
    ///
    /// # Errors
    /// As the file system says of the journal; a file that can't be read is told in the log and left alone.
    pub fn poll(
        &mut self,
        now: Moment,
        position: impl Fn(&GenerationId) -> u64,
    ) -> io::Result<Vec<FileEvent<D::File>>> {
        if self.poll_at().is_none_or(|at| at > now.elapsed) {
            return Ok(Vec::new());
        }
        self.poll_due = now.elapsed + POLL_INTERVAL;
        let mut events = std::mem::take(&mut self.untold);
        match self.look(now, &position, &mut events) {
            Ok(()) => Ok(events),
            Err(error) => {
                self.untold = events;
                Err(error)
            }
        }
    }

    fn look(
        &mut self,
        now: Moment,
        position: &impl Fn(&GenerationId) -> u64,
        events: &mut Vec<FileEvent<D::File>>,
    ) -> io::Result<()> {
        self.look_at_known(now, position, events)?;
        if self.scan_due <= now.elapsed {
            self.scan(now, events)?;
            self.scan_due = now.elapsed + self.settings.scan_interval;
            self.scanned = true;
        }
        Ok(())
    }

    fn look_at_known(
        &mut self,
        now: Moment,
        position: &impl Fn(&GenerationId) -> u64,
        events: &mut Vec<FileEvent<D::File>>,
    ) -> io::Result<()> {
        let generations: Vec<_> = self.tracked.keys().copied().collect();
        for generation in generations {
            let Some(tracked) = self.tracked.get_mut(&generation) else { continue };
            if tracked.ended {
                continue;
            }
            let Ok(stat) = tracked.file.stat() else { continue };
            let read_to = position(&generation);
            let is_cut = stat.len < read_to || stat.len < tracked.len;
            // A file that can't be read for the moment is not another one.
            let Ok(begins_alike) = begins_alike(&*tracked.file, &tracked.identity) else { continue };
            if is_cut || !begins_alike {
                self.begin_new_life(generation, read_to, now, events)?;
                continue;
            }
            if tracked.identity.fingerprint_len < FINGERPRINT_BYTES.min(stat.len) {
                let Ok(longer) = identity(&*tracked.file, &tracked.identity.path, stat) else { continue };
                // Durable before a line that it does not cover yet can be sent: a process that knows less of the file
                // would take what follows a cut for the same life.
                let mut journal = lock(&self.journal);
                journal.file(generation, longer.clone());
                journal.sync()?;
                tracked.identity = longer;
            }
            if stat.len > tracked.len {
                if now.elapsed >= tracked.marked_at + MARK_INTERVAL {
                    tracked.marked_at = now.elapsed;
                    lock(&self.journal).mark(generation, tracked.len, now.wall);
                }
                tracked.len = stat.len;
                tracked.grown_at = now.elapsed;
                events.push(FileEvent::Grown { generation, end: stat.len });
            }
            tracked.rotated |= stat.links == 0;
            if tracked.rotated && now.elapsed >= tracked.grown_at + ROTATED_GRACE {
                tracked.ended = true;
                events.push(FileEvent::Ended { generation, forget: true });
                self.tracked.remove(&generation);
            }
        }
        Ok(())
    }

    /// A file was cut: its life ends, the unread rest of it is looked for in a copy, and another life begins.
    fn begin_new_life(
        &mut self,
        generation: GenerationId,
        read_to: u64,
        now: Moment,
        events: &mut Vec<FileEvent<D::File>>,
    ) -> io::Result<()> {
        let Some(known) = self.tracked.get(&generation) else { return Ok(()) };
        // While the folder can't be read the old life goes on, or its copy would be passed over.
        let copy = self.find_copy(&known.identity, read_to)?;
        let Some(old) = self.tracked.remove(&generation) else { return Ok(()) };
        self.counts.truncated += 1;
        match copy {
            Some((file, end)) => {
                events.push(FileEvent::Moved { generation, file });
                events.push(FileEvent::Grown { generation, end });
            }
            None => {
                self.counts.suspected_losses += 1;
                tracing::warn!(
                    path = %old.identity.path.display(), %generation, read_bytes = read_to,
                    "a file was cut while it was followed and no copy of it was found: \
                     what was written since the last look may be gone"
                );
            }
        }
        events.push(FileEvent::Ended { generation, forget: true });
        let path = old.identity.path.clone();
        self.open_new(&path, old.file, now, events)
    }

    /// A file in the same folder that begins as the one that was cut did, and goes at least as far.
    fn find_copy(&self, old: &FileIdentity, read_to: u64) -> io::Result<Option<(Arc<D::File>, u64)>> {
        let Some(dir) = old.path.parent().filter(|_| old.fingerprint_len >= COPY_FINGERPRINT_MIN_BYTES) else {
            return Ok(None);
        };
        for name in self.names_in(dir)? {
            let Some((file, stat)) = self.open_regular(&dir.join(name))? else { continue };
            let other = (stat.device, stat.inode) != (old.device, old.inode);
            let known = self.tracked.values().any(|tracked| is_same(&tracked.identity, &stat));
            let fits = other && !known && stat.len >= read_to.max(old.fingerprint_len);
            if fits && begins_alike(&file, old)? {
                return Ok(Some((Arc::new(file), stat.len)));
            }
        }
        Ok(None)
    }

    fn scan(&mut self, now: Moment, events: &mut Vec<FileEvent<D::File>>) -> io::Result<()> {
        let paths = self.matching_paths()?;
        let mut named = std::collections::HashSet::new();
        for path in &paths {
            let Some((file, stat)) = self.open_regular(path)? else { continue };
            // Its own log would be shipped, which is logged, which would be shipped.
            if self.own_log.is_some_and(|own| own == (stat.device, stat.inode)) {
                continue;
            }
            named.insert((stat.device, stat.inode));
            let known = self.tracked.iter().find(|(_, tracked)| is_same(&tracked.identity, &stat));
            if let Some((&generation, tracked)) = known {
                if tracked.identity.path != *path {
                    self.rename(generation, path);
                }
                continue;
            }
            if self.settings.format.place(path, &file).is_none() {
                continue;
            }
            if self.tracked.len() >= MAX_FILES {
                if !std::mem::replace(&mut self.too_many_told, true) {
                    tracing::error!(max_files = MAX_FILES, path = %path.display(), "too many files: some are left alone");
                }
                break;
            }
            match self.claim(&file, &stat)? {
                Some(generation) => self.resume(generation, path, file, stat, now, events)?,
                None => self.open_new(path, Arc::new(file), now, events)?,
            }
        }
        for tracked in self.tracked.values_mut() {
            tracked.rotated = !named.contains(&(tracked.identity.device, tracked.identity.inode));
        }
        if !self.scanned {
            self.look_for_the_unclaimed(now, events)?;
        }
        Ok(())
    }

    /// What a file is that was chosen before. Docker's entries stay Docker's, also when they can't be read any more.
    fn place(&self, path: &Path, file: &D::File) -> Place {
        let file_name = || path.to_string_lossy().into_owned();
        let unreadable = || Place::Container { file: file_name(), container: None, compose_service: None };
        self.settings.format.place(path, file).unwrap_or_else(unreadable)
    }

    fn matching_paths(&self) -> io::Result<Vec<PathBuf>> {
        let own = self.disk.canonical(&self.settings.state_dir);
        let is_own = |path: &PathBuf| {
            let path = self.disk.canonical(path);
            own.as_ref().zip(path).is_some_and(|(own, path)| path.starts_with(own))
        };
        let mut paths = Vec::new();
        for pattern in &self.settings.patterns {
            paths.extend(self.disk.matching(pattern)?);
        }
        paths.retain(|path| !is_own(path));
        paths.sort_unstable();
        paths.dedup();
        Ok(paths)
    }

    /// A file to be read, if it is one and may be read. Any other failure may pass, and says nothing of the file.
    fn open_regular(&self, path: &Path) -> io::Result<Option<(D::File, Stat)>> {
        if !self.disk.is_file(path) {
            return Ok(None);
        }
        let opened = self.disk.open(path).and_then(|file| file.stat().map(|stat| (file, stat)));
        match opened {
            Ok(opened) => Ok(Some(opened)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                tracing::warn!(path = %path.display(), %error, "can't read a file that the patterns match");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// The names in a folder; none where it may not be read.
    fn names_in(&self, dir: &Path) -> io::Result<Vec<String>> {
        match self.disk.list(dir) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(Vec::new()),
            listed => listed,
        }
    }

    fn rename(&mut self, generation: GenerationId, path: &Path) {
        if let Some(tracked) = self.tracked.get_mut(&generation) {
            path.clone_into(&mut tracked.identity.path);
            lock(&self.journal).file(generation, tracked.identity.clone());
        }
    }

    /// The generation of an earlier process that this file is the life of.
    fn claim(&self, file: &D::File, stat: &Stat) -> io::Result<Option<GenerationId>> {
        for (generation, entry) in &self.unclaimed {
            let Some(identity) = &entry.file else { continue };
            if is_same(identity, stat) && stat.len >= entry.checkpoint && begins_alike(file, identity)? {
                return Ok(Some(*generation));
            }
        }
        Ok(None)
    }

    /// After a restart: files that were renamed out of the patterns, or copied and cut, while nobody looked.
    fn look_for_the_unclaimed(&mut self, now: Moment, events: &mut Vec<FileEvent<D::File>>) -> io::Result<()> {
        let generations: Vec<_> = self.unclaimed.keys().copied().collect();
        for generation in generations {
            let Some(entry) = self.unclaimed.get(&generation).cloned() else { continue };
            let Some(identity) = &entry.file else { continue };
            if let Some((path, file, stat)) = self.find_by_number(identity, entry.checkpoint)? {
                self.resume(generation, &path, file, stat, now, events)?;
                if let Some(tracked) = self.tracked.get_mut(&generation) {
                    tracked.rotated = true;
                }
            } else if let Some((file, end)) = self.find_copy(identity, entry.checkpoint)? {
                let place = self.place(&identity.path, &*file);
                events.push(FileEvent::Opened { generation, file, place, offset: entry.checkpoint });
                events.push(FileEvent::Grown { generation, end });
                events.push(FileEvent::Ended { generation, forget: true });
                self.unclaimed.remove(&generation);
            } else {
                self.counts.vanished += 1;
                tracing::warn!(
                    path = %identity.path.display(), %generation, checkpoint = entry.checkpoint,
                    "a file that was being read is gone: what was unread of it can't be read any more"
                );
                lock(&self.journal).retire(generation);
                self.unclaimed.remove(&generation);
            }
        }
        Ok(())
    }

    /// The file of a generation, under whatever name in its folder.
    fn find_by_number(&self, identity: &FileIdentity, checkpoint: u64) -> io::Result<Option<(PathBuf, D::File, Stat)>> {
        let Some(dir) = identity.path.parent() else { return Ok(None) };
        for name in self.names_in(dir)? {
            let path = dir.join(name);
            let Some((file, stat)) = self.open_regular(&path)? else { continue };
            if is_same(identity, &stat) && stat.len >= checkpoint && begins_alike(&file, identity)? {
                return Ok(Some((path, file, stat)));
            }
        }
        Ok(None)
    }

    fn resume(
        &mut self,
        generation: GenerationId,
        path: &Path,
        file: D::File,
        stat: Stat,
        now: Moment,
        events: &mut Vec<FileEvent<D::File>>,
    ) -> io::Result<()> {
        let identity = identity(&file, path, stat)?;
        let entry = self.unclaimed.remove(&generation).unwrap_or_default();
        {
            let mut journal = lock(&self.journal);
            // What lies between the last mark and here may have been sent under that mark, so it keeps it; only an
            // orderly end knows where nothing was.
            if let Some(horizon) = entry.horizon {
                journal.mark(generation, horizon, now.wall);
            }
            journal.mark(generation, stat.len, now.wall);
            journal.file(generation, identity.clone());
        }
        self.track(generation, identity, Arc::new(file), entry.checkpoint, stat.len, now, events);
        Ok(())
    }

    fn open_new(
        &mut self,
        path: &Path,
        file: Arc<D::File>,
        now: Moment,
        events: &mut Vec<FileEvent<D::File>>,
    ) -> io::Result<()> {
        let stat = file.stat()?;
        let identity = identity(&*file, path, stat)?;
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
        self.track(generation, identity, file, 0, stat.len, now, events);
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
        events.push(FileEvent::Grown { generation, end: len });
        if self.settings.until_idle {
            events.push(FileEvent::Ended { generation, forget: false });
        }
        let (grown_at, marked_at) = (now.elapsed, now.elapsed);
        let ended = self.settings.until_idle;
        self.tracked.insert(generation, Tracked { identity, file, len, grown_at, marked_at, rotated: false, ended });
    }
}

fn is_same(identity: &FileIdentity, stat: &Stat) -> bool {
    (identity.device, identity.inode) == (stat.device, stat.inode)
}

fn identity(file: &impl DiskFile, path: &Path, stat: Stat) -> io::Result<FileIdentity> {
    let mut beginning = [0; FINGERPRINT_BYTES as usize];
    let got = file.read_at(&mut beginning, 0)?;
    Ok(FileIdentity {
        path: path.to_owned(),
        device: stat.device,
        inode: stat.inode,
        fingerprint_len: got as u64,
        fingerprint: crc32fast::hash(&beginning[..got]),
    })
}

/// Whether a file's first bytes are those that the fingerprint was made of.
fn begins_alike(file: &impl DiskFile, identity: &FileIdentity) -> io::Result<bool> {
    let mut beginning = [0; FINGERPRINT_BYTES as usize];
    let wanted = usize::try_from(identity.fingerprint_len).unwrap_or(0).min(beginning.len());
    let got = file.read_at(&mut beginning[..wanted], 0)?;
    Ok(got == wanted && crc32fast::hash(&beginning[..got]) == identity.fingerprint)
}
