//! Appends a stream to its segments: which bytes go into which, when the next begins, and from where on bytes count as
//! arrived later.

use std::io;
use std::sync::Arc;

use store::{GenerationId, Timestamp};

use super::{OnFull, Spool, lock};
use crate::disk::{Disk, DiskFile, is_full};

/// How far apart two arrival marks are at least.
const MARK_INTERVAL_MS: i64 = 1_000;

/// What became of an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// So many bytes, more than none, are taken.
    Taken(usize),
    /// Nothing is taken: there is no room.
    Full,
    /// So many bytes, more than none, are given up as they came, and counted: there is no room, and the spool has nothing
    /// that could be given up in their place.
    GivenUp(usize),
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
        let marked_unix_ms = i64::try_from(generation.created_unix_ms()).unwrap_or(i64::MAX);
        Self { generation, file, len: 0, mid_line: false, marked_unix_ms }
    }
}

/// Appends a stream to its segments.
pub struct Writer<D: Disk> {
    spool: Arc<Spool<D>>,
    stream: String,
    active: Option<Active<D::File>>,
    /// What came last was given up.
    gives_up: bool,
    /// Of a line, the beginning was given up: the rest goes the same way.
    gives_up_line: bool,
}

impl<D: Disk> Writer<D> {
    pub(super) fn new(spool: &Arc<Spool<D>>, stream: &str) -> Self {
        Self {
            spool: Arc::clone(spool),
            stream: stream.to_owned(),
            active: None,
            gives_up: false,
            gives_up_line: false,
        }
    }

    /// Appends some or all of `bytes`, which arrived `now`. Once it returns, what it says is taken is taken.
    ///
    /// # Errors
    /// As the file system says; nothing is taken then.
    pub fn append(&mut self, bytes: &[u8], now: Timestamp) -> io::Result<Appended> {
        if self.gives_up_line {
            let rest = memchr::memchr(b'\n', bytes).map_or(bytes, |end| &bytes[..=end]);
            return Ok(self.give_up(rest));
        }
        let room = self.spool.room();
        let taken =
            if room == 0 { Err(io::ErrorKind::StorageFull.into()) } else { self.append_within(room, bytes, now) };
        self.spool.want_room(taken.as_ref().is_err_and(is_full));
        match taken {
            Ok(count) => {
                if std::mem::take(&mut self.gives_up) {
                    tracing::info!("the spool has room again");
                }
                Ok(Appended::Taken(count))
            }
            Err(error) if is_full(&error) => Ok(self.without_room(bytes)),
            Err(error) => Err(error),
        }
    }

    /// Appends at most `room` bytes, and says how many.
    fn append_within(&mut self, room: usize, bytes: &[u8], now: Timestamp) -> io::Result<usize> {
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
            return self.append_within(room, bytes, now);
        }
        // A line that began before keeps the mark that it began under.
        if (now.unix_ms() - active.marked_unix_ms).abs() >= MARK_INTERVAL_MS {
            match lock(&self.spool.journal).write_mark(active.generation, active.len, now) {
                Err(error) if is_full(&error) => return Err(error),
                // What the disk does not take now is written with the next record, and before a line relies on it.
                _ => active.marked_unix_ms = now.unix_ms(),
            }
        }
        let mut taken = active.file.append(&bytes[..fitting])?;
        // The disk filled up within a line: that stays in the pipe as a whole, so that the segment ends at a line's end.
        if taken < fitting
            && let Some(last) = memchr::memrchr(b'\n', &bytes[..taken])
            && active.file.truncate(active.len + last as u64 + 1).is_ok()
        {
            taken = last + 1;
        }
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
        Ok(taken)
    }

    /// Ends the active segment: the stream is at its end, or the next segment begins.
    pub fn seal(&mut self) {
        if let Some(active) = self.active.take() {
            lock(&self.spool.ledger).seal(active.generation, u64::from(active.mid_line));
        }
        if std::mem::take(&mut self.gives_up_line) {
            lock(&self.spool.ledger).give_up(0, 1);
        }
    }

    /// What becomes of bytes without room. Only a segment that is sealed makes some, once it is done or given up, so where
    /// there is none, this stream's own is sealed; but where lines can wait, not within one. Where that holds nothing
    /// either, `drop_oldest` gives up the bytes.
    fn without_room(&mut self, bytes: &[u8]) -> Appended {
        let drops = self.spool.settings.on_full == OnFull::DropOldest;
        match &self.active {
            _ if self.spool.has_sealed() => {}
            Some(active) if active.mid_line && !drops => {}
            Some(active) if active.len > 0 => self.seal(),
            _ if drops => return self.give_up(bytes),
            _ => {}
        }
        Appended::Full
    }

    fn give_up(&mut self, bytes: &[u8]) -> Appended {
        if !std::mem::replace(&mut self.gives_up, true) {
            tracing::error!("the disk has no room, and nothing of the spool is left to give up: what comes is lost");
        }
        let lines = memchr::memchr_iter(b'\n', bytes).count() as u64;
        lock(&self.spool.ledger).give_up(bytes.len() as u64, lines);
        self.gives_up_line = bytes.last() != Some(&b'\n');
        Appended::GivenUp(bytes.len())
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
