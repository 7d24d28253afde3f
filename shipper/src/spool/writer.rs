//! Appends a stream to its segments: decides when to start the next segment, and from which byte on a new arrival time
//! applies.

use std::io;
use std::sync::Arc;

use store::{GenerationId, Timestamp};

use super::{OnFull, Spool};
use crate::disk::{Disk, DiskFile, is_full};

/// Minimum interval between two arrival marks.
const MARK_INTERVAL_MS: i64 = 1_000;

/// The result of an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// This many bytes, at least one, were accepted.
    Accepted(usize),
    /// Nothing was accepted: there is no room.
    Full,
    /// This many bytes, at least one, were dropped and counted: there is no room, and the spool has nothing older to
    /// drop.
    Dropped(usize),
}

/// The segment that a stream is appended to.
struct Active<F> {
    generation: GenerationId,
    file: Arc<F>,
    len: u64,
    /// Whether its last byte is not a newline.
    mid_line: bool,
    marked_unix_ms: i64,
}

impl<F> Active<F> {
    fn new(generation: GenerationId, file: Arc<F>) -> Self {
        // Its creation time is its first mark.
        let marked_unix_ms = i64::try_from(generation.created_unix_ms()).unwrap_or(i64::MAX);
        Self { generation, file, len: 0, mid_line: false, marked_unix_ms }
    }
}

/// Appends a stream to its segments.
pub struct Writer<D: Disk> {
    spool: Arc<Spool<D>>,
    stream: String,
    active: Option<Active<D::File>>,
    /// Whether the last bytes were dropped.
    is_dropping: bool,
    /// Whether the start of the present line was dropped; the rest is dropped too.
    is_dropping_line: bool,
}

impl<D: Disk> Writer<D> {
    pub(super) fn new(spool: &Arc<Spool<D>>, stream: &str) -> Self {
        Self {
            spool: Arc::clone(spool),
            stream: stream.to_owned(),
            active: None,
            is_dropping: false,
            is_dropping_line: false,
        }
    }

    /// Appends all or part of `bytes`, which arrived `now`. The accepted bytes are in the file when it returns.
    ///
    /// # Errors
    /// File system errors. Nothing is accepted then.
    pub fn append(&mut self, bytes: &[u8], now: Timestamp) -> io::Result<Appended> {
        if self.is_dropping_line {
            let rest = memchr::memchr(b'\n', bytes).map_or(bytes, |end| &bytes[..=end]);
            return Ok(self.drop_input(rest));
        }
        let room = self.spool.room();
        let accepted =
            if room == 0 { Err(io::ErrorKind::StorageFull.into()) } else { self.append_within(room, bytes, now) };
        self.spool.set_room_wanted(accepted.as_ref().is_err_and(is_full));
        match accepted {
            Ok(count) => {
                if std::mem::take(&mut self.is_dropping) {
                    tracing::info!("spool has room again");
                }
                Ok(Appended::Accepted(count))
            }
            Err(error) if is_full(&error) => Ok(self.handle_no_room(bytes)),
            Err(error) => Err(error),
        }
    }

    /// Appends at most `room` bytes, and returns the number.
    fn append_within(&mut self, room: usize, bytes: &[u8], now: Timestamp) -> io::Result<usize> {
        let bytes = &bytes[..bytes.len().min(room)];
        let active = match &mut self.active {
            Some(active) => active,
            none => {
                let (generation, file) = self.spool.create_segment(&self.stream, now)?;
                none.insert(Active::new(generation, file))
            }
        };
        let fitting = fitting(active, bytes, self.spool.settings.segment_bytes);
        if fitting == 0 {
            self.seal();
            return self.append_within(room, bytes, now);
        }
        // A line keeps the mark under which it started.
        if (now.unix_ms() - active.marked_unix_ms).abs() >= MARK_INTERVAL_MS {
            match self.spool.journal.lock().write_mark(active.generation, active.len, now) {
                Err(error) if is_full(&error) => return Err(error),
                // A failed write is repeated with the next record, and before a line relies on it.
                _ => active.marked_unix_ms = now.unix_ms(),
            }
        }
        let mut accepted = active.file.append(&bytes[..fitting])?;
        // The disk filled up within a line. It stays in the pipe, so that the segment ends at the end of a line.
        if accepted < fitting
            && let Some(last) = memchr::memrchr(b'\n', &bytes[..accepted])
            && active.file.truncate(active.len + last as u64 + 1).is_ok()
        {
            accepted = last + 1;
        }
        let accepted_bytes = &bytes[..accepted];
        active.len += accepted as u64;
        active.mid_line = accepted_bytes.last() != Some(&b'\n');
        {
            let mut unsynced = self.spool.unsynced.lock();
            if !unsynced.iter().any(|file| Arc::ptr_eq(file, &active.file)) {
                unsynced.push(Arc::clone(&active.file));
            }
        }
        let lines = memchr::memchr_iter(b'\n', accepted_bytes).count() as u64;
        self.spool.ledger.lock().append(active.generation, active.len, lines);
        Ok(accepted)
    }

    /// Ends the active segment, at the end of the stream or to start the next segment.
    pub fn seal(&mut self) {
        if let Some(active) = self.active.take() {
            self.spool.ledger.lock().seal(active.generation, u64::from(active.mid_line));
        }
        if std::mem::take(&mut self.is_dropping_line) {
            self.spool.ledger.lock().drop_on_arrival(0, 1);
        }
    }

    /// Handles bytes for which there is no room. Only a sealed segment can make room, once it is completed or dropped,
    /// so the active segment is sealed if there is no other, but not within a line if lines can wait. If it is empty,
    /// `drop_oldest` drops the bytes.
    fn handle_no_room(&mut self, bytes: &[u8]) -> Appended {
        let drops = self.spool.settings.on_full == OnFull::DropOldest;
        match &self.active {
            _ if self.spool.has_sealed() => {}
            Some(active) if active.mid_line && !drops => {}
            Some(active) if active.len > 0 => self.seal(),
            _ if drops => return self.drop_input(bytes),
            _ => {}
        }
        Appended::Full
    }

    fn drop_input(&mut self, bytes: &[u8]) -> Appended {
        if !std::mem::replace(&mut self.is_dropping, true) {
            tracing::error!("disk full and spool empty: new lines are dropped");
        }
        let lines = memchr::memchr_iter(b'\n', bytes).count() as u64;
        self.spool.ledger.lock().drop_on_arrival(bytes.len() as u64, lines);
        self.is_dropping_line = bytes.last() != Some(&b'\n');
        Appended::Dropped(bytes.len())
    }

    /// The spool.
    #[must_use]
    pub fn spool(&self) -> &Arc<Spool<D>> {
        &self.spool
    }
}

/// The number of bytes that belong to the active segment: all while it is small, then the rest of its last line, then
/// none. A line is cut when the segment exceeds twice its maximum size.
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
