//! Follows files that other programs write and rotate: which files exist, which generation each belongs to, and how far
//! it reaches.
//!
//! A generation of a file is recognised by device, inode, creation time, a fingerprint of its first bytes and one of
//! the bytes before the read offset. A rename does not end it; a truncation does, and so does other content under the
//! same inode. The unread rest of a truncated file is searched for in its rotated copy (`copies`). Bytes destroyed
//! before a copy held them can't be recovered; they are counted as a suspected loss.
//!
//! At most [`FileSettings::max_open_files`] files are open. Others are parked: they were read to the end, hold no
//! descriptor, and are reopened when a scan finds them changed. A file that can't be read is reported and counted, and
//! does not delay others.
//!
//! Compressed files are read for the unread rest of the file that they are a copy of, and with `read_compressed`
//! completely (`packed`, `unpacking`).
//!
//! Nothing here reads lines: [`Files::poll`] reports to the pipeline what can be read.

mod copies;
mod event;
mod extent;
mod followed;
mod identity;
mod lives;
mod look;
mod lookup;
mod missed;
mod packed;
mod parked;
mod places;
mod restart;
mod rotated;
mod scan;
mod settings;
mod unpacking;
mod unread;
mod unread_note;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use store::{GenerationId, Timestamp};

use crate::clock::ClockReading;
pub use crate::compressed::Content;
use crate::disk::{Disk, DiskFile as _, Stat};
use crate::journal::{Entry, Journal};
use crate::random::Random;
use crate::sync::RankedMutex;

pub use event::{FileCounts, FileEvent, FileReport, Reading};
use followed::{Closing, Followed, Name};
pub use identity::FINGERPRINT_BYTES;
use identity::Inode;
use look::Look;
pub use lookup::find;
use places::Queue;
pub use settings::{FileSettings, ReadFrom};
use unpacking::Unpacking;
use unread::Unread;
pub use unread::{Reason, UnreadCounts};
pub use unread_note::UnreadNote;

/// Maximum number of known files, including parked ones. Further files wait, and count as unread.
pub const MAX_FOLLOWED: usize = 200_000;

/// How often open files are checked.
pub const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// How long a file without a name, or without a matching name, is followed after its last growth; and how long a
/// missing or unreadable file is searched for.
const ROTATED_GRACE: Duration = Duration::from_secs(60);

/// With `until_idle`, a last line without a newline counts as a line when its file has not grown for this long. Until
/// then it may still be written.
const OPEN_LINE_GRACE: Duration = Duration::from_secs(2);

/// Minimum interval between two arrival marks.
const MARK_INTERVAL: Duration = Duration::from_secs(1);

/// The content of a disk's files.
pub type ContentOf<D> = Content<<D as Disk>::File>;

/// The followed files.
pub struct Files<D: Disk> {
    disk: D,
    settings: FileSettings,
    journal: Arc<RankedMutex<Journal<D>>>,
    random: Random,
    followed: BTreeMap<GenerationId, Followed<ContentOf<D>>>,
    by_inode: HashMap<Inode, GenerationId>,
    /// Generations that are not followed any more, but keep their file until their last line has its outcome.
    closing: Vec<Closing<ContentOf<D>>>,
    /// Parked files that changed and wait to be opened.
    reopen: Queue,
    /// New files that wait to be opened.
    backlog: VecDeque<PathBuf>,
    /// New compressed files that wait to be decoded, or for another one to be read completely.
    compressed: VecDeque<PathBuf>,
    unpacking: Unpacking<D::File>,
    /// Whether the last file opened was a new one; parked files are next then.
    is_new_files_turn: bool,
    /// New files that may be copies of followed ones, and how and since when they were last seen.
    held: HashMap<Inode, (Stat, Duration)>,
    /// Compressed copies of deleted files that are still open, or are searched for.
    of_deleted: HashMap<Inode, (Stat, GenerationId)>,
    /// Files that are ignored as long as they are unchanged.
    left_alone: HashMap<Inode, (Stat, Option<Reason>)>,
    /// Events found before a file system error, reported by the next poll.
    unreported: Vec<FileEvent<ContentOf<D>>>,
    /// Generations of an earlier process whose file was not found yet.
    unclaimed: BTreeMap<GenerationId, Entry>,
    /// Number of them that may be in unreadable folders or files.
    hidden: usize,
    /// Whether the journal has identities that may not be durable yet, including those of an earlier process.
    is_unsynced: bool,
    /// Files that existed at the first scan of the first start and were not opened yet.
    there_at_first: HashSet<Inode>,
    /// Whether no process has followed a file and no scan was made yet.
    is_first_scan: bool,
    /// When the previous process last scanned files, in nanoseconds since the Unix epoch, as far as it was recorded.
    stopped_ns: i64,
    /// Number of matching files at the last scan.
    named_files: u64,
    scanned: bool,
    scan_due: Duration,
    poll_due: Duration,
    last_born_ms: u64,
    counts: FileCounts,
    /// Number of open files after the last poll, and the result of [`Files::looked_at`].
    last_look: (usize, Option<Timestamp>),
    unread: Unread,
    /// Literal patterns that match a folder or nothing and were logged.
    useless_patterns: BTreeSet<String>,
    /// Device and inode of the file that standard error of this process is redirected to.
    own_log: Option<Inode>,
}

impl<D: Disk> Files<D> {
    /// Creates the followed files, and continues where the journal says.
    #[must_use]
    pub fn new(disk: D, settings: FileSettings, journal: Arc<RankedMutex<Journal<D>>>, random: Random) -> Self {
        let of_files =
            |(generation, entry): (&GenerationId, &Entry)| entry.file.is_some().then(|| (*generation, entry.clone()));
        let (unclaimed, stopped_ns) = {
            let journal = journal.lock();
            (journal.entries().filter_map(of_files).collect::<BTreeMap<_, _>>(), journal.last_scan_ns())
        };
        let until_idle = settings.until_idle;
        Self {
            disk,
            settings,
            journal,
            random,
            followed: BTreeMap::new(),
            by_inode: HashMap::new(),
            closing: Vec::new(),
            reopen: Queue::default(),
            backlog: VecDeque::new(),
            compressed: VecDeque::new(),
            unpacking: Unpacking::new(if until_idle { unread::GIVE_UP_AFTER } else { Duration::MAX }),
            is_new_files_turn: false,
            held: HashMap::new(),
            of_deleted: HashMap::new(),
            left_alone: HashMap::new(),
            unreported: Vec::new(),
            is_unsynced: !unclaimed.is_empty(),
            there_at_first: HashSet::new(),
            is_first_scan: unclaimed.is_empty() && stopped_ns == 0,
            unclaimed,
            hidden: 0,
            stopped_ns,
            named_files: 0,
            scanned: false,
            scan_due: Duration::ZERO,
            poll_due: Duration::ZERO,
            last_born_ms: 0,
            counts: FileCounts::default(),
            last_look: (0, None),
            unread: Unread::default(),
            useless_patterns: BTreeSet::new(),
            own_log: rustix::fs::fstat(std::io::stderr()).ok().map(|stat| (stat.st_dev, stat.st_ino)),
        }
    }

    /// The report of followed and unread files.
    #[must_use]
    pub fn report(&self) -> FileReport {
        let mut unread = self.unread.counts();
        let not_met = (self.backlog.len() + self.compressed.len()) as u64;
        unread[Reason::Limit as usize] += not_met;
        FileReport {
            counts: self.counts,
            is_scanned: self.is_scanned(),
            named: self.named_files,
            waiting: not_met + self.reopen.len() as u64,
            followed: self.followed.len() as u64,
            open: self.last_look.0 as u64,
            unread,
            unread_examples: self.unread.named(NAMED_MAX),
            looked_at: self.last_look.1,
        }
    }

    /// When every file was last seen with its read content intact; `None` if unknown for any.
    #[must_use]
    pub fn looked_at(&self) -> Option<Timestamp> {
        let of_closing = self.closing.iter().map(|closing| closing.seen_at);
        let seen_at = self.followed.values().map(|followed| followed.seen_at).chain(of_closing).min();
        seen_at.filter(|_| self.unclaimed.is_empty())
    }

    /// When the next poll is due.
    #[must_use]
    pub fn poll_at(&self) -> Option<Duration> {
        let is_at_rest = || self.unreported.is_empty() && self.followed.values().all(Followed::is_at_rest);
        let finished = self.settings.until_idle && self.scanned && is_at_rest();
        (!self.settings.patterns.is_empty() && !finished).then_some(self.poll_due)
    }

    /// Opens a file for reading, if it exists and is a regular file; its length excludes unwritten zeros.
    ///
    /// # Errors
    /// File system errors.
    fn open(&self, path: &Path) -> io::Result<Option<(D::File, Stat)>> {
        let Some((file, stat)) = lookup::open_regular(&self.disk, path)? else { return Ok(None) };
        let stat = lookup::written(&file, stat, self.settings.encoding)?;
        Ok(Some((file, stat)))
    }

    /// Whether all existing files were looked up at least once.
    #[must_use]
    pub fn is_scanned(&self) -> bool {
        self.scanned || self.settings.patterns.is_empty()
    }

    /// Checks the files. `reading` returns the read position of a generation, if it is being read.
    ///
    /// # Errors
    /// File system errors of the journal. A file that can't be read is reported and retried later.
    pub fn poll<'a>(
        &mut self,
        now: ClockReading,
        reading: &impl Fn(&GenerationId) -> Option<Reading<'a>>,
    ) -> io::Result<Vec<FileEvent<ContentOf<D>>>> {
        if self.poll_at().is_none_or(|at| at > now.elapsed) {
            return Ok(Vec::new());
        }
        if !self.unreported.is_empty() {
            // The next poll handles events that were not reported.
            self.poll_due = now.elapsed + POLL_INTERVAL;
            self.is_unsynced = true;
            self.make_durable()?;
            self.poll_due = now.elapsed;
            return Ok(std::mem::take(&mut self.unreported));
        }
        self.poll_due = now.elapsed + POLL_INTERVAL;
        let mut look = Look { now, events: Vec::new(), cut: Vec::new(), begun: Vec::new() };
        self.look(reading, &mut look);
        let durable = self.make_durable();
        self.last_look = (self.open_files(), self.looked_at());
        self.unreported.append(&mut look.events);
        durable.map(|()| std::mem::take(&mut self.unreported))
    }

    fn look<'a>(&mut self, reading: &impl Fn(&GenerationId) -> Option<Reading<'a>>, look: &mut Look<D>) {
        self.closing.retain_mut(|closing| {
            closing.look(look.now.wall);
            reading(&closing.generation).is_some()
        });
        let is_decoded = self.unpacking.decode(look.now);
        let is_scan = self.scan_due <= look.now.elapsed || is_decoded && !self.unclaimed.is_empty();
        if is_scan {
            self.unread.begin_look();
        }
        self.look_at_open(reading, look);
        if is_scan {
            self.scan(reading, look);
            self.scan_due = look.now.elapsed + self.settings.scan_interval;
        }
        self.give_places(reading, look);
        if is_scan {
            self.unpacking.forget_unasked();
        }
        let is_met = self.backlog.is_empty() && self.compressed.is_empty() && self.of_deleted.is_empty();
        let is_everything_known = self.unclaimed.len() == self.hidden && self.held.is_empty() && is_met;
        if self.unclaimed.is_empty() {
            self.journal.lock().note_boot();
        }
        self.scanned |= is_scan && is_everything_known && self.unread.is_settled(look.now.elapsed);
    }

    fn look_at_open<'a>(&mut self, reading: &impl Fn(&GenerationId) -> Option<Reading<'a>>, look: &mut Look<D>) {
        let open = self.followed.iter().filter(|(_, followed)| followed.open.is_some());
        let generations: Vec<_> = open.map(|(generation, _)| *generation).collect();
        for generation in generations {
            self.look_at(generation, reading(&generation), look);
        }
        self.end_lives(reading, look);
    }

    /// Checks an open file.
    fn look_at(&mut self, generation: GenerationId, reading: Option<Reading<'_>>, look: &mut Look<D>) {
        let now = look.now;
        let Some(followed) = self.followed.get_mut(&generation) else { return };
        let Some(open) = &mut followed.open else { return };
        let read_to = reading.map_or(0, |reading| reading.read_to);
        if open.ended {
            if reading.is_none() {
                followed.open = None;
            } else if open.file.is_unpacked()
                && open.file.stat().is_ok_and(|stat| followed.identity.as_unpacked(&stat).is_none())
            {
                // It was modified, so the rest can't be decoded. Its new content is checked once it is closed.
                followed.end(generation, read_to, false, &mut look.events);
            }
            return;
        }
        let Ok(stat) = open.file.stat().and_then(|stat| match stat.is_unchanged(&followed.seen) {
            true => Ok(stat.as_long_as(&followed.seen)),
            false => lookup::written(&*open.file, stat, self.settings.encoding),
        }) else {
            return;
        };
        let is_cut = open.cut_at.is_some();
        let was_written = stat.written_ns != followed.seen.written_ns;
        if read_to == 0 && followed.identity.fingerprint_len == 0 && followed.seen.len == 0 && was_written {
            // The last truncation was after the copies that were counted then.
            let since_ns = followed.seen_at.unix_micros().saturating_mul(1_000).max(followed.seen.written_ns);
            self.count_missed_copies(generation, since_ns);
        }
        let Some(followed) = self.followed.get_mut(&generation) else { return };
        let Some(open) = &mut followed.open else { return };
        if is_cut || !stat.is_unchanged(&followed.seen) || stat.len < read_to {
            // A file that is temporarily unreadable is not another one.
            let holds = match reading {
                Some(reading) => followed.identity.holds(&*open.file, stat.len, read_to, reading.trail, false),
                None => followed.identity.begins_alike(&*open.file),
            };
            let Ok(holds) = holds else { return };
            if is_cut || !holds || stat.len < open.len {
                look.cut.push(generation);
                return;
            }
        }
        // A deleted file may have been compressed before, but not later.
        if stat.links > 0 {
            followed.seen_at = now.wall;
        }
        if self.settings.until_idle {
            followed.seen = stat;
            followed.end_open_line(generation, stat.len, now, &mut look.events);
            return;
        }
        if let Ok(Some(kind)) = lookup::became_compressed(&followed.identity, read_to, &*open.file) {
            let path = followed.identity.path.clone();
            self.drop_empty(generation, look);
            if !self.reads(kind) {
                self.leave_compressed(&path, &stat, kind, look);
            }
            return;
        }
        if read_to == 0 && followed.identity.fingerprint_len == 0 && stat.len > 0 {
            let path = followed.identity.path.clone();
            if self.may_be_copy(&path) {
                // The next scan identifies it by its content.
                self.drop_empty(generation, look);
                return;
            }
        }
        let Some(followed) = self.followed.get_mut(&generation) else { return };
        let Some(open) = &mut followed.open else { return };
        // No copy has data added to a deleted file.
        if followed.identity.can_grow(stat.len) && stat.links > 0 {
            let Ok(longer) = followed.identity.refreshed(&*open.file, &followed.identity.path, &stat) else {
                return;
            };
            self.journal.lock().file(generation, longer.clone());
            followed.identity = longer;
            self.is_unsynced = true;
        }
        followed.seen = stat;
        if stat.len > open.len {
            if now.elapsed >= open.marked_at + MARK_INTERVAL {
                open.marked_at = now.elapsed;
                self.journal.lock().mark(generation, open.len, now.wall);
            }
            open.len = stat.len;
            open.grown_at = now.elapsed;
            look.events.push(FileEvent::Grown { generation, end: stat.len });
        }
        if stat.links == 0 {
            followed.name = Name::Lost;
        }
        // A scan searches for a compressed file in which a deleted one continues.
        let is_left_to_scan = stat.links == 0 && self.settings.read_compressed;
        if followed.name != Name::Matched && now.elapsed >= open.grown_at + ROTATED_GRACE && !is_left_to_scan {
            self.end_rotated(generation, look);
        }
    }
}

/// Maximum number of unread files named in a report.
const NAMED_MAX: usize = 10;
