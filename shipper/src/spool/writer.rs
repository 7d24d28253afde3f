//! Appends a stream to its segments: which bytes go into which, when the next begins, and from where on bytes count as
//! arrived later.

use std::io;
use std::sync::Arc;

use store::{GenerationId, Timestamp};

use super::{OnFull, Spool, lock};
use crate::disk::{Disk, DiskFile};

/// How far apart two arrival marks are at least.
const MARK_INTERVAL_MS: i64 = 1_000;

/// What became of an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// So many bytes, more than none, are taken.
    Taken(usize),
    /// Nothing is taken: there is no room.
    Full,
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

impl<F> Active<F> {
    fn new(generation: GenerationId, file: Arc<F>) -> Self {
        // Its birth is its first mark.
        let marked_unix_ms = i64::try_from(generation.born_unix_ms()).unwrap_or(i64::MAX);
        Self { generation, file, len: 0, mid_line: false, marked_unix_ms }
    }
}

/// Appends a stream to its segments.
pub struct Writer<D: Disk> {
    spool: Arc<Spool<D>>,
    stream: String,
    active: Option<Active<D::File>>,
}

impl<D: Disk> Writer<D> {
    pub(super) fn new(spool: &Arc<Spool<D>>, stream: &str) -> Self {
        Self { spool: Arc::clone(spool), stream: stream.to_owned(), active: None }
    }

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
            none => {
                let (generation, file) = self.spool.begin(&self.stream, now)?;
                none.insert(Active::new(generation, file))
            }
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
