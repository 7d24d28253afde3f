//! Decodes compressed files in steps.
//!
//! A compressed file is read only after it was decoded completely once, with valid checksums. That, and seeking to an
//! offset, is done in steps, so that no check takes long: an unknown result is a [pending](is_pending) error, and the
//! check is repeated.
//!
//! # Limits
//! - A check decodes up to [`STEP_BYTES`] of content.
//! - Up to [`DECODED_MAX`] files are measured at once, and up to [`READ_MAX`] are read; others wait. The memory of each
//!   is limited as described for [`Unpacked`].

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::identity::Inode;
use crate::clock::ClockReading;
use crate::compressed::{Compression, Content, Progress, Unpacked};
use crate::disk::{DiskFile, Stat};
use crate::journal::FileIdentity;

/// Maximum size of content decoded per check.
const STEP_BYTES: u64 = 8 * 1024 * 1024;

/// Maximum number of files measured, or compared with others, at once.
const DECODED_MAX: usize = 2;

/// Maximum number of compressed files read at once.
const READ_MAX: usize = 4;

/// A file modified within this time may be incomplete.
const QUIET: Duration = Duration::from_secs(2);

/// An incomplete file is decoded again after a change, but not before this multiple of the time that it took.
const RETRY_FACTOR: u32 = 10;

/// The result is not known yet; repeat the check.
pub(super) fn pending() -> io::Error {
    io::ErrorKind::WouldBlock.into()
}

/// Whether an error is [`pending`].
pub(super) fn is_pending(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
}

/// Whether an error means that a compressed file can't be read.
pub(super) fn is_damage(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, UnexpectedEof, Unsupported};
    matches!(error.kind(), InvalidData | UnexpectedEof | Unsupported)
}

/// A file that was decoded as far as possible.
struct Known {
    stat: Stat,
    len: Result<u64, (io::ErrorKind, String)>,
    failed_since: Duration,
    retry_at: Duration,
    is_asked: bool,
}

/// A file being decoded.
struct Decoded<F> {
    stat: Stat,
    file: Arc<Unpacked<F>>,
    began_at: Duration,
    /// Offset in the content that it seeks to.
    goal: Option<u64>,
    is_asked: bool,
}

/// The compressed files.
pub(super) struct Unpacking<F> {
    known: HashMap<Inode, Known>,
    decoded: Vec<Decoded<F>>,
    read: Vec<Weak<Unpacked<F>>>,
    /// How long to wait for a file that is being written.
    patience: Duration,
    /// Remaining content that this check may decode.
    budget: u64,
    is_news: bool,
}

impl<F: DiskFile> Unpacking<F> {
    pub(super) fn new(patience: Duration) -> Self {
        let (known, decoded, read) = (HashMap::new(), Vec::new(), Vec::new());
        Self { known, decoded, read, patience, budget: STEP_BYTES, is_news: false }
    }

    /// The content of a file, whose length is `len` if known.
    ///
    /// # Errors
    /// [`pending`] while it or others are measured; [damage](is_damage); and file system errors.
    pub(super) fn open(
        &mut self,
        file: Arc<F>,
        stat: Stat,
        compression: Compression,
        len: Option<u64>,
        now: ClockReading,
    ) -> io::Result<(Content<F>, Stat)> {
        let index = self.decoded.iter_mut().position(|decoded| decoded.stat.has_same_content(&stat));
        let known = self.known.get_mut(&stat.key()).map(|known| {
            known.is_asked = true;
            &*known
        });
        let patience = self.patience;
        let result = len.map(Ok).or_else(|| match &known?.len {
            Ok(len) => known?.stat.has_same_content(&stat).then_some(Ok(*len)),
            Err(failed) => {
                let has_patience = now.elapsed < known?.failed_since.saturating_add(patience);
                let is_changed = !known?.stat.has_same_content(&stat);
                if is_changed && now.elapsed >= known?.retry_at {
                    return None;
                }
                Some(Err(failure(failed, &stat, now, has_patience, is_changed)))
            }
        });
        match result {
            Some(Ok(len)) => {
                let file = match index {
                    Some(index) => {
                        self.decoded[index].is_asked = true;
                        Arc::clone(&self.decoded[index].file)
                    }
                    None => Arc::new(Unpacked::new(file, compression)),
                };
                return Ok((Content::Unpacked { file, len }, stat.unpacked(len)));
            }
            Some(Err(error)) => return Err(error),
            None => {}
        }
        match index {
            Some(index) => self.decoded[index].is_asked = true,
            None if self.has_room() => {
                let file = Arc::new(Unpacked::new(file, compression));
                self.decoded.push(Decoded { stat, file, began_at: now.elapsed, goal: None, is_asked: true });
            }
            None => return Err(pending()),
        }
        let index = index.unwrap_or(self.decoded.len() - 1);
        let file = Arc::clone(&self.decoded[index].file);
        match self.measure(index, now)? {
            Some(len) => Ok((Content::Unpacked { file, len }, stat.unpacked(len))),
            None => Err(pending()),
        }
    }

    /// Keeps what is known about a file until the next scan.
    pub(super) fn keep(&mut self, stat: &Stat) {
        self.known.get_mut(&stat.key()).into_iter().for_each(|known| known.is_asked = true);
    }

    /// Seeks in a file's content, so that a read there decodes little.
    ///
    /// # Errors
    /// [`pending`] until the offset is reached; see [`Unpacked`].
    pub(super) fn go_to(&mut self, content: &Content<F>, offset: u64, now: ClockReading) -> io::Result<()> {
        let Content::Unpacked { file, .. } = content else { return Ok(()) };
        if file.seek(offset, &mut self.budget)? {
            return Ok(());
        }
        let index = match self.decoded.iter().position(|decoded| Arc::ptr_eq(&decoded.file, file)) {
            Some(index) => index,
            None if self.has_room() => {
                let stat = file.file().stat()?;
                let file = Arc::clone(file);
                self.decoded.push(Decoded { stat, file, began_at: now.elapsed, goal: None, is_asked: true });
                self.decoded.len() - 1
            }
            None => return Err(pending()),
        };
        self.decoded[index].goal = Some(offset);
        Err(pending())
    }

    /// Whether another file may be decoded. A measured file that has reached its offset makes room; otherwise files
    /// used in every check would block all others.
    fn has_room(&mut self) -> bool {
        if self.decoded.len() < DECODED_MAX {
            return true;
        }
        let is_served = |decoded: &Decoded<F>| decoded.goal.is_none() && decoded.is_asked && self.is_measured(decoded);
        let served = self.decoded.iter().position(is_served);
        served.map(|index| self.decoded.remove(index)).is_some()
    }

    fn is_measured(&self, decoded: &Decoded<F>) -> bool {
        let known = self.known.get(&decoded.stat.key());
        known.is_some_and(|known| known.len.is_ok() && known.stat.has_same_content(&decoded.stat))
    }

    /// Whether another compressed file may be read.
    pub(super) fn has_place(&mut self) -> bool {
        self.read.retain(|file| file.strong_count() > 0);
        self.read.len() < READ_MAX
    }

    /// Marks the content of a file as being read.
    pub(super) fn hand_over(&mut self, content: &Content<F>) {
        let Content::Unpacked { file, .. } = content else { return };
        self.decoded.retain(|decoded| !Arc::ptr_eq(&decoded.file, file));
        self.read.push(Arc::downgrade(file));
    }

    /// Starts a check: continues decoding. Returns whether a result that was waited for is known now.
    pub(super) fn decode(&mut self, now: ClockReading) -> bool {
        self.budget = STEP_BYTES;
        for index in (0..self.decoded.len()).rev() {
            let decoded = &self.decoded[index];
            let is_measured = self.is_measured(decoded);
            let goal = decoded.goal;
            let done = match goal {
                Some(goal) => decoded.file.seek(goal, &mut self.budget),
                None if is_measured => continue,
                None => self.measure(index, now).map(|len| len.is_some()),
            };
            match done {
                Ok(false) => {}
                Ok(true) => {
                    self.decoded[index].goal = None;
                    // Its result was not used yet.
                    self.decoded[index].is_asked = false;
                    self.is_news = true;
                }
                Err(_) => {
                    // The next request decodes it again, or returns the error.
                    if goal.is_some() {
                        self.decoded.remove(index);
                    }
                    self.is_news = true;
                }
            }
        }
        std::mem::take(&mut self.is_news)
    }

    /// After a scan: drops files that were not used since the previous scan.
    pub(super) fn forget_unasked(&mut self) {
        self.known.retain(|_, known| std::mem::take(&mut known.is_asked));
        self.decoded.retain_mut(|decoded| std::mem::take(&mut decoded.is_asked));
    }

    /// Continues measuring; returns the length of the content once it is known. A file that can't be read is closed.
    fn measure(&mut self, index: usize, now: ClockReading) -> io::Result<Option<u64>> {
        let decoded = &self.decoded[index];
        if self.budget == 0 {
            return Ok(None);
        }
        let before = decoded.file.measured();
        let progress = decoded.file.advance(self.budget);
        self.budget = self.budget.saturating_sub(decoded.file.measured().saturating_sub(before).max(1));
        let len = match progress {
            Ok(Progress::Partial(_)) => return Ok(None),
            Ok(Progress::Complete(len)) => len,
            Err(error) => {
                let decoded = self.decoded.remove(index);
                if !is_damage(&error) {
                    return Err(error);
                }
                let took = now.elapsed.saturating_sub(decoded.began_at).max(Duration::from_millis(100));
                let failed = (error.kind(), error.to_string());
                let before = self.known.get(&decoded.stat.key()).filter(|known| known.len.is_err());
                let failed_since = before.map_or(now.elapsed, |known| known.failed_since);
                let error = failure(
                    &failed,
                    &decoded.stat,
                    now,
                    now.elapsed < failed_since.saturating_add(self.patience),
                    false,
                );
                let retry_at = now.elapsed + took * RETRY_FACTOR;
                let known = Known { stat: decoded.stat, len: Err(failed), failed_since, retry_at, is_asked: true };
                self.known.insert(decoded.stat.key(), known);
                return Err(error);
            }
        };
        let (stat, retry_at) = (decoded.stat, Duration::ZERO);
        self.known.insert(stat.key(), Known { stat, len: Ok(len), failed_since: retry_at, retry_at, is_asked: true });
        Ok(Some(len))
    }
}

/// Whether the content of a file starts like a generation.
///
/// # Errors
/// [`pending`] if too little is decoded; [damage](is_damage); and file system errors.
pub(super) fn begins_alike<F: DiskFile>(
    identity: &FileIdentity,
    file: &Arc<F>,
    stat: &Stat,
    compression: Compression,
    now: ClockReading,
) -> io::Result<bool> {
    let file = Arc::new(Unpacked::new(Arc::clone(file), compression));
    let begins_alike = identity.begins_alike(&Content::Unpacked { file, len: 0 });
    begins_alike.map_err(|error| match is_damage(&error) {
        true => failure(&(error.kind(), error.to_string()), stat, now, true, false),
        false => error,
    })
}

/// The error for a file that could not be decoded. One that was modified recently may be incomplete.
fn failure(
    (kind, message): &(io::ErrorKind, String),
    stat: &Stat,
    now: ClockReading,
    has_patience: bool,
    is_changed: bool,
) -> io::Error {
    let since_written = now.wall.unix_micros().saturating_mul(1_000).saturating_sub(stat.written_ns);
    let is_quiet = i64::try_from(QUIET.as_nanos()).is_ok_and(|quiet| !(0..quiet).contains(&since_written));
    let may_become_whole = is_changed || !is_quiet && *kind != io::ErrorKind::Unsupported;
    if has_patience && may_become_whole { pending() } else { io::Error::new(*kind, message.as_str()) }
}
