//! The queue in front of a slow store: what came from a pipe, as it came, in plain files.
//!
//! # On disk
//!
//! `STATE/spool/STREAM/GENERATION.log` is a segment: bytes of the stream in their order, nothing added, so `cat` shows
//! them. Segments of a stream sort by name in the order of their birth. Each process begins a segment of its own; only
//! the newest of a stream is appended to. A segment ends at a line's end, unless the stream ended without one or a
//! line is longer than a segment; the [`reader`](crate::reader) then takes what stands at the end as a line.
//!
//! # Durability
//!
//! What is appended survives SIGKILL; it survives power loss once [`Spool::sync`] was called after it. A segment's
//! name is durable before its first byte.
//!
//! # When it is full
//!
//! Above `max_bytes`, or when the disk has no room, [`Writer::append`] takes nothing. What happens then is `on_full`:
//! with [`OnFull::DropOldest`] the pipeline gives up the oldest segment, with [`OnFull::Wait`] the writer waits.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use store::{GenerationId, Timestamp};

use crate::disk::{Disk, DiskFile};
use crate::journal::Journal;
use crate::ledger::Ledger;

/// Bytes of one look at a segment while its lines are counted.
const COUNT_CHUNK_BYTES: usize = 256 * 1024;

/// How far apart two arrival marks are at least.
const MARK_INTERVAL_MS: i64 = 1_000;

/// What to do when the spool has no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFull {
    /// Give up the oldest segment, counted, so that logging never stops a service.
    DropOldest,
    /// Take nothing more until there is room, which stops whoever writes to the pipe.
    Wait,
}

/// The spool's bounds.
#[derive(Clone, Copy, Debug)]
pub struct SpoolSettings {
    /// Bytes of all segments together; above it `on_full` decides.
    pub max_bytes: u64,
    /// Bytes of a segment, after which the next begins; at most a quarter of `max_bytes`.
    pub segment_bytes: u64,
    /// What to do when there is no room.
    pub on_full: OnFull,
}

/// Randomness, handed in.
pub type Random = Box<dyn FnMut() -> u64 + Send>;

/// One segment, open.
#[derive(Debug)]
pub struct Segment<F> {
    /// The stream that it is a part of.
    pub stream: String,
    /// The file.
    pub file: Arc<F>,
    path: PathBuf,
}

impl<F> Clone for Segment<F> {
    fn clone(&self) -> Self {
        Self { stream: self.stream.clone(), file: Arc::clone(&self.file), path: self.path.clone() }
    }
}

/// What became of an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// So many bytes, more than none, are taken.
    Taken(usize),
    /// Nothing is taken: there is no room.
    Full,
}

/// All segments, and what the writers and the pipeline share.
pub struct Spool<D: Disk> {
    disk: D,
    dir: PathBuf,
    settings: SpoolSettings,
    ledger: Arc<Mutex<Ledger>>,
    journal: Arc<Mutex<Journal<D>>>,
    random: Mutex<Random>,
    segments: Mutex<BTreeMap<GenerationId, Segment<D::File>>>,
    unsynced: Mutex<Vec<Arc<D::File>>>,
    /// Streams whose folder is durable.
    durable_dirs: Mutex<BTreeSet<String>>,
    room_wanted: Mutex<bool>,
    room_made: Condvar,
}

/// A lock that a panicking thread left is still a lock on whole values here: none is held over a step that can panic
/// half-way.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<D: Disk> Spool<D> {
    /// Opens the spool under `state_dir` and the accounts of the segments that an earlier process left there.
    ///
    /// # Errors
    /// As the file system says.
    pub fn open(
        disk: D,
        state_dir: &Path,
        settings: SpoolSettings,
        ledger: Arc<Mutex<Ledger>>,
        journal: Arc<Mutex<Journal<D>>>,
        random: Random,
    ) -> io::Result<Self> {
        let dir = state_dir.join("spool");
        disk.create_dir_all(&dir)?;
        disk.sync_dir(state_dir)?;
        let spool = Self {
            disk,
            dir,
            settings,
            ledger,
            journal,
            random: Mutex::new(random),
            segments: Mutex::default(),
            unsynced: Mutex::default(),
            durable_dirs: Mutex::default(),
            room_wanted: Mutex::new(false),
            room_made: Condvar::new(),
        };
        spool.disk.sync_dir(&spool.dir)?;
        for stream in spool.disk.list(&spool.dir)? {
            let dir = spool.dir.join(&stream);
            // A removal that a power loss could undo would bring back a segment that the journal has forgotten.
            spool.disk.sync_dir(&dir)?;
            for name in spool.disk.list(&dir)? {
                if let Some(generation) = name.strip_suffix(".log").and_then(|name| name.parse().ok()) {
                    spool.recover(generation, &stream, dir.join(name))?;
                }
            }
        }
        Ok(spool)
    }

    fn recover(&self, generation: GenerationId, stream: &str, path: PathBuf) -> io::Result<()> {
        let file = Arc::new(self.disk.open(&path)?);
        let end = file.stat()?.len;
        let checkpoint = lock(&self.journal).get(&generation).checkpoint.min(end);
        let waiting = count_lines(&*file, checkpoint, end)?;
        let mut ledger = lock(&self.ledger);
        ledger.open(generation, checkpoint, end, waiting);
        ledger.seal(generation, 0);
        ledger.add_spool_bytes(end);
        // It may have been written just before a power loss that did not come.
        lock(&self.unsynced).push(Arc::clone(&file));
        lock(&self.segments).insert(generation, Segment { stream: stream.to_owned(), file, path });
        Ok(())
    }

    /// A writer for a stream. A stream has one at a time.
    #[must_use]
    pub fn writer(self: &Arc<Self>, stream: &str) -> Writer<D> {
        Writer { spool: Arc::clone(self), stream: stream.to_owned(), active: None }
    }

    /// The segment of a generation.
    #[must_use]
    pub fn segment(&self, generation: &GenerationId) -> Option<Segment<D::File>> {
        lock(&self.segments).get(generation).cloned()
    }

    /// The segments, oldest first.
    #[must_use]
    pub fn generations(&self) -> Vec<GenerationId> {
        lock(&self.segments).keys().copied().collect()
    }

    /// Makes what was appended before this call survive power loss.
    ///
    /// # Errors
    /// As the file system says; then the next call tries again.
    pub fn sync(&self) -> io::Result<()> {
        let files = std::mem::take(&mut *lock(&self.unsynced));
        for (place, file) in files.iter().enumerate() {
            if let Err(error) = file.sync() {
                lock(&self.unsynced).extend_from_slice(&files[place..]);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Removes a segment's file; its account and what the journal knows of it are the caller's to close.
    ///
    /// # Errors
    /// As the file system says; then the segment stays, and is there for the next call.
    pub fn remove(&self, generation: &GenerationId) -> io::Result<()> {
        let Some(segment) = self.segment(generation) else { return Ok(()) };
        match self.disk.remove(&segment.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        // Before the journal forgets it, it must be gone for good: a segment that a power loss brings back without its
        // marks would give its lines other days and texts.
        self.disk.sync_dir(&self.dir.join(&segment.stream))?;
        lock(&self.segments).remove(generation);
        lock(&self.unsynced).retain(|file| !Arc::ptr_eq(file, &segment.file));
        let mut ledger = lock(&self.ledger);
        let end = ledger.progress(generation).map_or(0, |progress| progress.end);
        ledger.remove_spool_bytes(end);
        drop(ledger);
        *lock(&self.room_wanted) = false;
        self.room_made.notify_all();
        Ok(())
    }

    /// The segment to give up now, if a writer found no room and `on_full` is to drop: the oldest that nothing is
    /// appended to and of which nothing is under way, so that what is under way could still be read again.
    #[must_use]
    pub fn to_drop(&self) -> Option<GenerationId> {
        if self.settings.on_full == OnFull::Wait || !*lock(&self.room_wanted) {
            return None;
        }
        let generations = self.generations();
        let ledger = lock(&self.ledger);
        let progress = |generation: &GenerationId| ledger.progress(generation);
        let sealed = |generation: &&GenerationId| progress(generation).is_some_and(|progress| progress.sealed);
        let untouched = |generation: &&GenerationId| progress(generation).is_some_and(|progress| !progress.touched);
        let mut candidates = generations.iter().filter(sealed);
        let oldest = candidates.clone().next();
        candidates.find(untouched).or(oldest).copied()
    }

    /// Waits, at most so long, for a segment to be removed.
    pub fn wait_for_room(&self, at_most: Duration) {
        let wanted = lock(&self.room_wanted);
        drop(self.room_made.wait_timeout(wanted, at_most));
    }

    /// How many more bytes are within the bound; notes where there are none.
    fn room(&self) -> usize {
        let room = self.settings.max_bytes.saturating_sub(lock(&self.ledger).spool_bytes());
        *lock(&self.room_wanted) = room == 0;
        usize::try_from(room).unwrap_or(usize::MAX)
    }

    fn begin(&self, stream: &str, now: Timestamp) -> io::Result<Active<D::File>> {
        let dir = self.dir.join(stream);
        // That the folder is there does not say that it would be after a power loss.
        if !lock(&self.durable_dirs).contains(stream) {
            self.disk.create_dir_all(&dir)?;
            self.disk.sync_dir(&self.dir)?;
            lock(&self.durable_dirs).insert(stream.to_owned());
        }
        let mut random = [0; 16];
        {
            let mut source = lock(&self.random);
            random[..8].copy_from_slice(&source().to_le_bytes());
            random[8..].copy_from_slice(&source().to_le_bytes());
        }
        // Names must sort by birth even where the clock goes back or two are born in one millisecond.
        let last_born = lock(&self.segments).keys().next_back().map_or(0, GenerationId::born_unix_ms);
        let born = u64::try_from(now.unix_ms()).unwrap_or(0).max(last_born + 1);
        let mut entropy = [0; 10];
        entropy.copy_from_slice(&random[..10]);
        let generation = GenerationId::new(born, &entropy);
        let path = dir.join(format!("{generation}.log"));
        let file = Arc::new(self.disk.open_append(&path)?);
        self.disk.sync_dir(&dir)?;
        lock(&self.ledger).open(generation, 0, 0, 0);
        let segment = Segment { stream: stream.to_owned(), file: Arc::clone(&file), path };
        lock(&self.segments).insert(generation, segment);
        let marked = i64::try_from(born).unwrap_or(i64::MAX);
        Ok(Active { generation, file, len: 0, mid_line: false, marked_unix_ms: marked })
    }
}

/// The segment that a stream is appended to.
struct Active<F> {
    generation: GenerationId,
    file: Arc<F>,
    len: u64,
    /// Its last byte is not a newline.
    mid_line: bool,
    marked_unix_ms: i64,
}

/// Appends a stream to its segments.
pub struct Writer<D: Disk> {
    spool: Arc<Spool<D>>,
    stream: String,
    active: Option<Active<D::File>>,
}

impl<D: Disk> Writer<D> {
    /// Appends some or all of `bytes`, which arrived `now`. Once it returns, what it says is taken is taken.
    ///
    /// # Errors
    /// As the file system says; nothing is taken then.
    pub fn append(&mut self, bytes: &[u8], now: Timestamp) -> io::Result<Appended> {
        let room = self.spool.room();
        if room == 0 {
            self.seal_if_alone();
            return Ok(Appended::Full);
        }
        let bytes = &bytes[..bytes.len().min(room)];
        let active = match &mut self.active {
            Some(active) => active,
            none => none.insert(self.spool.begin(&self.stream, now)?),
        };
        let fitting = fitting(active, bytes, self.spool.settings.segment_bytes);
        if fitting == 0 {
            self.seal();
            return self.append(bytes, now);
        }
        // A line that began before keeps the mark that it began under.
        if (now.unix_ms() - active.marked_unix_ms).abs() >= MARK_INTERVAL_MS {
            active.marked_unix_ms = now.unix_ms();
            let mut journal = lock(&self.spool.journal);
            journal.mark(active.generation, active.len, now);
            // What the disk does not take now is written with the next record, and before a line relies on it.
            let _ = journal.write();
        }
        let taken = match active.file.append(&bytes[..fitting]) {
            Ok(taken) => taken,
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                *lock(&self.spool.room_wanted) = true;
                self.seal_if_alone();
                return Ok(Appended::Full);
            }
            Err(error) => return Err(error),
        };
        let taken_bytes = &bytes[..taken];
        active.len += taken as u64;
        active.mid_line = taken_bytes.last() != Some(&b'\n');
        {
            let mut unsynced = lock(&self.spool.unsynced);
            if !unsynced.iter().any(|file| Arc::ptr_eq(file, &active.file)) {
                unsynced.push(Arc::clone(&active.file));
            }
        }
        let lines = memchr::memchr_iter(b'\n', taken_bytes).count() as u64;
        lock(&self.spool.ledger).take(active.generation, active.len, lines);
        Ok(Appended::Taken(taken))
    }

    /// Ends the active segment: the stream is at its end, or the next segment begins.
    pub fn seal(&mut self) {
        if let Some(active) = self.active.take() {
            lock(&self.spool.ledger).seal(active.generation, u64::from(active.mid_line));
        }
    }

    /// Where there is no room and no other segment to give up, this one has to be.
    fn seal_if_alone(&mut self) {
        if self.spool.settings.on_full == OnFull::DropOldest && lock(&self.spool.segments).len() == 1 {
            self.seal();
        }
    }

    /// The spool that it writes to.
    #[must_use]
    pub fn spool(&self) -> &Arc<Spool<D>> {
        &self.spool
    }
}

/// How many of `bytes` belong into the active segment: all while it is small, then the rest of the line that it ends
/// in, then none. A line that goes on past twice the segment's size is cut there.
fn fitting<F>(active: &Active<F>, bytes: &[u8], segment_bytes: u64) -> usize {
    let room = segment_bytes.saturating_sub(active.len);
    if bytes.len() as u64 <= room {
        return bytes.len();
    }
    let room = usize::try_from(room).unwrap_or(usize::MAX);
    if let Some(last) = memchr::memrchr(b'\n', &bytes[..room]) {
        return last + 1;
    }
    if !active.mid_line && active.len > 0 {
        return 0;
    }
    if let Some(next) = memchr::memchr(b'\n', bytes) {
        return next + 1;
    }
    if active.len >= 2 * segment_bytes { 0 } else { bytes.len() }
}

/// Lines that begin in `from..end`, the last one without a newline too.
fn count_lines(file: &impl DiskFile, from: u64, end: u64) -> io::Result<u64> {
    let mut buffer = vec![0; COUNT_CHUNK_BYTES];
    let (mut at, mut lines, mut mid_line) = (from, 0, false);
    while at < end {
        let wanted = usize::try_from(end - at).unwrap_or(usize::MAX).min(buffer.len());
        let got = file.read_at(&mut buffer[..wanted], at)?;
        if got == 0 {
            break;
        }
        lines += memchr::memchr_iter(b'\n', &buffer[..got]).count() as u64;
        mid_line = buffer[got - 1] != b'\n';
        at += got as u64;
    }
    Ok(lines + u64::from(mid_line))
}
