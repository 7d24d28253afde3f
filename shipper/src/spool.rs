//! A queue on disk between streams and the store. It holds the input as received, in plain files.
//!
//! # On disk
//!
//! `STATE/spool/STREAM/GENERATION.log` is a segment: bytes of the stream in order, with nothing added, so `cat` shows
//! them. The segments of a stream sort by name in order of creation. Each process starts its own segment; only the
//! newest one of a stream is appended to. A segment ends at the end of a line, unless the stream ended without a
//! newline or a line is longer than a segment; the [`reader`](crate::reader) then treats the rest as a line.
//!
//! # Durability
//!
//! Appended bytes survive SIGKILL; they survive power loss after a call of [`Spool::sync`]. The name of a segment is
//! durable before its first byte.
//!
//! # When it is full
//!
//! At `max_bytes`, or if the disk is full, [`Writer::append`] accepts nothing. `on_full` decides what happens: with
//! [`OnFull::DropOldest`] the pipeline drops the oldest segment, and if the disk is full and there is no segment left,
//! the writer drops new input; with [`OnFull::Wait`] the writer waits.

mod segment;
mod settings;
mod writer;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use store::{GenerationId, Timestamp};

pub use self::segment::Segment;
use self::segment::count_lines;
pub use self::settings::{OnFull, SpoolSettings};
pub use self::writer::{Appended, Writer};
use crate::disk::{Disk, DiskFile};
use crate::journal::Journal;
use crate::ledger::Ledger;
use crate::random::Random;
use crate::sync::RankedMutex;

/// All segments, shared by the writers and the pipeline.
pub struct Spool<D: Disk> {
    disk: D,
    dir: PathBuf,
    settings: SpoolSettings,
    ledger: Arc<RankedMutex<Ledger>>,
    journal: Arc<RankedMutex<Journal<D>>>,
    random: Mutex<Random>,
    segments: Mutex<BTreeMap<GenerationId, Segment<D::File>>>,
    unsynced: Mutex<Vec<Arc<D::File>>>,
    /// Streams whose folder is durable.
    durable_dirs: Mutex<BTreeSet<String>>,
    room_wanted: Mutex<bool>,
    room_made: Condvar,
}

/// The streams that have a folder in the spool. Other entries are ignored; `spool check` reports them.
pub(crate) fn streams(disk: &impl Disk, spool: &Path) -> io::Result<Vec<String>> {
    let mut streams = disk.list(spool)?;
    streams.retain(|stream| disk.is_dir(&spool.join(stream)));
    Ok(streams)
}

/// The segments in the folder of a stream. Other entries are ignored.
pub(crate) fn segments(disk: &impl Disk, dir: &Path) -> io::Result<Vec<(GenerationId, PathBuf)>> {
    let segment = |name: String| Some((generation_of(&name)?, dir.join(name)));
    let mut segments: Vec<_> = disk.list(dir)?.into_iter().filter_map(segment).collect();
    segments.retain(|(_, path)| disk.is_file(path));
    Ok(segments)
}

/// The generation of a segment, from its file name.
pub(crate) fn generation_of(name: &str) -> Option<GenerationId> {
    name.strip_suffix(".log")?.parse().ok()
}

impl<D: Disk> Spool<D> {
    /// Opens the spool of a state directory, and the accounts of the segments that an earlier process left.
    ///
    /// # Errors
    /// File system errors.
    pub fn open(
        disk: D,
        state_dir: &Path,
        settings: SpoolSettings,
        ledger: Arc<RankedMutex<Ledger>>,
        journal: Arc<RankedMutex<Journal<D>>>,
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
        for stream in streams(&spool.disk, &spool.dir)? {
            let dir = spool.dir.join(&stream);
            // A power loss must not undo a removal, and restore a segment that the journal has removed.
            spool.disk.sync_dir(&dir)?;
            for (generation, path) in segments(&spool.disk, &dir)? {
                spool.recover(generation, &stream, path)?;
            }
        }
        Ok(spool)
    }

    fn recover(&self, generation: GenerationId, stream: &str, path: PathBuf) -> io::Result<()> {
        let file = Arc::new(self.disk.open(&path)?);
        let end = file.stat()?.len;
        let checkpoint = self.journal.lock().get(&generation).checkpoint.min(end);
        let waiting = count_lines(&*file, checkpoint, end)?;
        let mut ledger = self.ledger.lock();
        ledger.open(generation, checkpoint, end, waiting);
        ledger.seal(generation, 0);
        ledger.add_spool_bytes(end);
        // Its data may not be durable yet.
        self.unsynced.lock().push(Arc::clone(&file));
        self.segments.lock().insert(generation, Segment { stream: stream.to_owned(), file, path });
        Ok(())
    }

    /// A writer for a stream. A stream has one writer at a time.
    #[must_use]
    pub fn writer(self: &Arc<Self>, stream: &str) -> Writer<D> {
        Writer::new(self, stream)
    }

    /// The segment of a generation.
    #[must_use]
    pub fn segment(&self, generation: &GenerationId) -> Option<Segment<D::File>> {
        self.segments.lock().get(generation).cloned()
    }

    /// The segments, oldest first.
    #[must_use]
    pub fn generations(&self) -> Vec<GenerationId> {
        self.segments.lock().keys().copied().collect()
    }

    /// Makes bytes appended before this call survive power loss.
    ///
    /// # Errors
    /// File system errors. The next call tries again.
    pub fn sync(&self) -> io::Result<()> {
        let files = std::mem::take(&mut *self.unsynced.lock());
        for (place, file) in files.iter().enumerate() {
            if let Err(error) = file.sync() {
                self.unsynced.lock().extend_from_slice(&files[place..]);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Deletes the file of a segment. The caller closes its account and removes it from the journal.
    ///
    /// # Errors
    /// File system errors. The segment stays then, and the next call can try again.
    pub fn remove(&self, generation: &GenerationId) -> io::Result<()> {
        let Some(segment) = self.segment(generation) else { return Ok(()) };
        match self.disk.remove(&segment.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        // The deletion must be durable before the journal forgets the segment: if a power loss restored a segment
        // without its marks, its lines would get other days and texts.
        self.disk.sync_dir(&self.dir.join(&segment.stream))?;
        self.segments.lock().remove(generation);
        self.unsynced.lock().retain(|file| !Arc::ptr_eq(file, &segment.file));
        let mut ledger = self.ledger.lock();
        let end = ledger.progress(generation).map_or(0, |progress| progress.end);
        ledger.remove_spool_bytes(end);
        drop(ledger);
        *self.room_wanted.lock() = false;
        self.room_made.notify_all();
        Ok(())
    }

    /// The segment to drop now, if a writer found no room and `on_full` is `drop_oldest`: the oldest sealed one without
    /// dispatched lines, so that lines in flight could be read again.
    #[must_use]
    pub fn segment_to_drop(&self) -> Option<GenerationId> {
        if self.settings.on_full == OnFull::Wait || !*self.room_wanted.lock() {
            return None;
        }
        let generations = self.generations();
        let ledger = self.ledger.lock();
        let progress = |generation: &GenerationId| ledger.progress(generation);
        let sealed = |generation: &&GenerationId| progress(generation).is_some_and(|progress| progress.sealed);
        let undispatched =
            |generation: &&GenerationId| progress(generation).is_some_and(|progress| !progress.dispatched);
        let mut candidates = generations.iter().filter(sealed);
        let oldest = candidates.clone().next();
        candidates.find(undispatched).or(oldest).copied()
    }

    /// Waits until a segment is removed, but not longer than `at_most`.
    pub fn wait_for_room(&self, at_most: Duration) {
        self.room_made.wait_for(&mut self.room_wanted.lock(), at_most);
    }

    /// The number of bytes below the limit.
    fn room(&self) -> usize {
        let room = self.settings.max_bytes.saturating_sub(self.ledger.lock().spool_bytes());
        usize::try_from(room).unwrap_or(usize::MAX)
    }

    /// Whether there is a sealed segment.
    fn has_sealed(&self) -> bool {
        let generations = self.generations();
        let ledger = self.ledger.lock();
        generations.iter().any(|generation| ledger.progress(generation).is_some_and(|progress| progress.sealed))
    }

    /// Records whether a writer found no room in its last attempt.
    fn set_room_wanted(&self, is_wanted: bool) {
        *self.room_wanted.lock() = is_wanted;
    }

    /// Creates a segment of a stream, with the creation time `now` or, if that would sort before another segment, later
    /// than that one.
    fn create_segment(&self, stream: &str, now: Timestamp) -> io::Result<(GenerationId, Arc<D::File>)> {
        let dir = self.dir.join(stream);
        // A folder that exists may not survive a power loss.
        if !self.durable_dirs.lock().contains(stream) {
            self.disk.create_dir_all(&dir)?;
            self.disk.sync_dir(&self.dir)?;
            self.durable_dirs.lock().insert(stream.to_owned());
        }
        let mut random = [0; 16];
        {
            let mut source = self.random.lock();
            random[..8].copy_from_slice(&source().to_le_bytes());
            random[8..].copy_from_slice(&source().to_le_bytes());
        }
        // Names must sort by creation, even if the clock goes back or two segments are created in one millisecond.
        let last_born = self.segments.lock().keys().next_back().map_or(0, GenerationId::created_unix_ms);
        let born = u64::try_from(now.unix_ms()).unwrap_or(0).max(last_born + 1);
        let mut entropy = [0; 10];
        entropy.copy_from_slice(&random[..10]);
        let generation = GenerationId::new(born, &entropy);
        let path = dir.join(format!("{generation}.log"));
        let file = Arc::new(self.disk.open_append(&path)?);
        self.disk.sync_dir(&dir).inspect_err(|_| {
            // Each attempt uses another name, so a failed one must not leave its file.
            let _ = self.disk.remove(&path);
        })?;
        self.ledger.lock().open(generation, 0, 0, 0);
        let segment = Segment { stream: stream.to_owned(), file: Arc::clone(&file), path };
        self.segments.lock().insert(generation, segment);
        Ok((generation, file))
    }
}
