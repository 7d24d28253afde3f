//! Files that others write and rotate: which of them are there, which life of which file each is, and how far it goes.
//!
//! A life of a file is a generation. It is known again by device, number and a fingerprint of its first bytes, so a
//! rename does not end it; a truncation does, and so does another beginning under the same number. What was written
//! to a file after the last look and before a `copytruncate` is looked for in the copy, which is known by the
//! fingerprint; it stands in the same folder. Bytes that were destroyed before any copy held them can be seen by nobody.
//!
//! A file that can't be read at the moment holds up no other: it keeps its generation, and is asked again.
//!
//! Nothing here reads lines: [`Files::poll`] tells the pipeline what there is to read.

mod event;
mod identity;
mod lives;
mod lookup;
mod settings;
mod unreadable;

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use store::GenerationId;

use crate::disk::{Disk, DiskFile, Stat};
use crate::journal::{Entry, FileIdentity, Journal};
use crate::moment::Moment;
use crate::spool::{Random, lock};

pub use event::{FileCounts, FileEvent};
pub use identity::FINGERPRINT_BYTES;
pub use lookup::find;
pub use settings::{FileSettings, Format, ReadFrom};
use unreadable::Unreadable;

/// Files followed at once; further ones are left alone, and said to be, until others are gone.
pub const MAX_FILES: usize = 1_000;

/// How often files are asked for their size.
pub const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// A file that lost its name, or the name that the patterns match, is followed so long after its last growth; and so long
/// the copy of one that was cut is looked for among files that can't be read at the moment.
const ROTATED_GRACE: Duration = Duration::from_secs(60);

/// With `until_idle`, a last line without a newline is a line once nothing was added to its file for so long. Until then
/// somebody may be writing it, and what is added shows that.
const OPEN_LINE_GRACE: Duration = Duration::from_secs(2);

/// How far apart two arrival marks are at least.
const MARK_INTERVAL: Duration = Duration::from_secs(1);

struct Tracked<F> {
    identity: FileIdentity,
    file: Arc<F>,
    len: u64,
    grown_at: Duration,
    marked_at: Duration,
    /// The patterns do not match its name any more, or it has none.
    rotated: bool,
    /// Since when it is known to be cut, while its copy can't be looked for.
    cut_at: Option<Duration>,
    ended: bool,
}

impl<F> Tracked<F> {
    /// With `until_idle`: whether the last line, which has no newline, is one. If its file grows it is being written, and
    /// is left to the next start.
    fn end_open_line(&mut self, generation: GenerationId, len: u64, now: Moment, events: &mut Vec<FileEvent<F>>) {
        let is_written = len > self.len;
        if !is_written && now.elapsed < self.grown_at + OPEN_LINE_GRACE {
            return;
        }
        if !is_written {
            events.push(FileEvent::Grown { generation, end: self.len });
        }
        events.push(FileEvent::Ended { generation, forget: false });
        self.ended = true;
    }
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
    unreadable: Unreadable,
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
            unreadable: Unreadable::default(),
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
        let finished = self.settings.until_idle && self.scanned && self.tracked.values().all(|tracked| tracked.ended);
        (!self.settings.patterns.is_empty() && !finished).then_some(self.poll_due)
    }

    /// Whether all files that there are were looked up at least once.
    #[must_use]
    pub fn is_scanned(&self) -> bool {
        self.scanned || self.settings.patterns.is_empty()
    }

    /// Looks at the files. `position` says how far a generation is read.
    ///
    /// # Errors
    /// As the file system says of the journal; a file that can't be read is told in the log and asked again later.
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
            self.scanned |= self.scan(now, events)?;
            self.scan_due = now.elapsed + self.settings.scan_interval;
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
            let Ok(begins_alike) = tracked.identity.begins_alike(&*tracked.file) else { continue };
            if is_cut || !begins_alike {
                self.end_life(generation, read_to, now, events)?;
                continue;
            }
            if self.settings.until_idle {
                tracked.end_open_line(generation, stat.len, now, events);
                continue;
            }
            if tracked.identity.can_grow(stat.len) {
                let Ok(longer) = FileIdentity::of(&*tracked.file, &tracked.identity.path, &stat) else { continue };
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

    /// Looks up what the patterns match; says whether everything could be looked at.
    fn scan(&mut self, now: Moment, events: &mut Vec<FileEvent<D::File>>) -> io::Result<bool> {
        let (paths, failed) = lookup::matching(&self.disk, &self.settings.patterns, &self.settings.state_dir);
        self.unreadable.begin_look();
        for (pattern, error) in &failed {
            self.unreadable.add(pattern, error);
        }
        let mut named = HashSet::new();
        for path in &paths {
            match lookup::open_regular(&self.disk, path) {
                Ok(None) => {}
                Ok(Some((file, stat))) => {
                    named.insert((stat.device, stat.inode));
                    self.meet(path, file, &stat, now, events)?;
                }
                Err(error) => self.unreadable.add(path, &error),
            }
        }
        for tracked in self.tracked.values_mut() {
            // A name that can't be looked at is still there.
            let is_named = named.contains(&(tracked.identity.device, tracked.identity.inode))
                || self.unreadable.contains(&tracked.identity.path);
            tracked.rotated = !is_named && failed.is_empty();
        }
        self.look_for_the_unclaimed(now, events)?;
        Ok(self.unreadable.is_empty() && self.unclaimed.is_empty())
    }

    /// A file that the patterns match.
    fn meet(
        &mut self,
        path: &Path,
        file: D::File,
        stat: &Stat,
        now: Moment,
        events: &mut Vec<FileEvent<D::File>>,
    ) -> io::Result<()> {
        // Its own log would be shipped, which is logged, which would be shipped.
        if self.own_log.is_some_and(|own| own == (stat.device, stat.inode)) {
            return Ok(());
        }
        if let Some((&generation, tracked)) = self.tracked.iter().find(|(_, tracked)| tracked.identity.is_same(stat)) {
            if tracked.identity.path != *path {
                self.rename(generation, path);
            }
            return Ok(());
        }
        if self.settings.format.place(path, &file).is_none() {
            return Ok(());
        }
        if self.tracked.len() >= MAX_FILES {
            if !std::mem::replace(&mut self.too_many_told, true) {
                tracing::error!(max_files = MAX_FILES, path = %path.display(), "too many files: some are left alone");
            }
            return Ok(());
        }
        let claimed = self.claim(&file, stat);
        match claimed.and_then(|claimed| Ok((claimed, FileIdentity::of(&file, path, stat)?))) {
            Ok((Some(generation), identity)) => self.resume(generation, identity, file, stat.len, now, events),
            Ok((None, identity)) => self.begin_life(identity, Arc::new(file), stat.len, now, events)?,
            Err(error) => self.unreadable.add(path, &error),
        }
        Ok(())
    }
}
