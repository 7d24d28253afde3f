//! What has to be known after a crash: each generation's place, its arrival marks and its checkpoint.
//!
//! # On disk
//!
//! `STATE/journal` is a text file of records, one a line: the CRC-32 of the rest in 8 hexadecimal digits, a space,
//! and a JSON object, at most [`MAX_RECORD_BYTES`] long. The first record names the format's version. A generation's
//! state is what its records add up to. The file is written anew, under another name and then renamed, once it holds
//! several times what is still of use.
//!
//! What is appended survives SIGKILL; what [`Journal::sync`] was called for survives power loss. So what is torn, or a
//! hole of zeros, can only stand after the last sync, where nothing was relied on yet: it is taken out and kept beside the
//! file as `journal.torn-N`, and good records behind a hole hold. A record that was changed, before others that are good, is
//! neither: it may have been the one that says which file a generation is a life of. Such a journal is
//! [refused](JournalError::Damaged) and left as it is; `shipper spool repair` takes the bytes out.
//!
//! A generation has at most [`MARKS_MAX`] marks beyond its checkpoint. The more stand, the farther a new one must be from the
//! last, so that they reach over half a year in which a store takes nothing; then no more are noted. Bytes without a mark of
//! their own have that of the bytes before them, whenever they are sent.
//!
//! A lost checkpoint makes lines go again under the same ids, which a store answers with "already stored". A lost
//! mark or file generation would give lines another day or id; those are synced before a line that needs them is sent.

mod entry;
mod found;
mod power_loss;
mod record;
#[cfg(test)]
mod tests;
mod trail;

use std::io;
use std::path::{Path, PathBuf};

use store::{GenerationId, Timestamp};

use self::entry::{Entries, apply, encode_entry, unmark};
pub use self::entry::{Entry, FileIdentity, MARKS_MAX, Packed};
use self::found::replay;
pub use self::found::{Bad, Found, Harm, entries, read};
use self::power_loss::Boot;
use self::record::Record;
pub use self::record::{MAX_RECORD_BYTES, VERSION};
pub use self::trail::{TAIL_BYTES, TRAIL_MAX, Tail, Trail};
use crate::disk::{Disk, DiskFile, append_whole, is_full, is_whole};

/// The journal is not written anew before it has this size.
const COMPACT_MIN_BYTES: u64 = 1024 * 1024;

/// Nor before it is this many times what it would be anew.
const COMPACT_FACTOR: u64 = 4;

/// What the disk does not take is kept up to this many bytes; beyond that the journal is rewritten.
const UNWRITTEN_MAX_BYTES: usize = 1024 * 1024;

/// How often it is noted when files were last looked at while there is nothing else to note: about 0.5 MB a day, until the
/// journal is rewritten.
const LOOKED_INTERVAL_NS: i64 = 10_000_000_000;

const NAME: &str = "journal";

/// Why a journal can't be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file system said no.
    #[error("can't use {path}: {error}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// What was said.
        error: io::Error,
    },
    /// It was written by a newer program.
    #[error(
        "{path} has version {found}, this program knows {VERSION}: use the newer program, or another state directory"
    )]
    Newer {
        /// Which file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// Bytes of it were changed since they were written.
    #[error(
        "{} is damaged at byte {offset}: {bytes} bytes there are no record, and good ones follow, so it is no torn end. \
         Nothing was changed. `shipper spool repair` sets these bytes aside and keeps all others; a file of which they \
         told is then read again from its beginning, under other ids",
        path.display()
    )]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Where.
        offset: u64,
        /// How many bytes.
        bytes: u64,
    },
}

/// The journal, open.
#[derive(Debug)]
pub struct Journal<D: Disk> {
    disk: D,
    dir: PathBuf,
    file: D::File,
    len: u64,
    synced_len: u64,
    /// Bytes that it had when it was last written anew.
    compact_len: u64,
    entries: Entries,
    /// A sync failed, and the next one may succeed without the bytes, or a torn record stands at the end, or more is
    /// unwritten than is kept: only a file written anew can be relied on.
    is_suspect: bool,
    /// The state that the file could not be brought to yet, because the disk said no.
    unwritten: Vec<u8>,
    /// Marks or identities are among it.
    has_unwritten_marks: bool,
    looked_ns: i64,
    boot: Boot,
}

impl<D: Disk> Journal<D> {
    /// Opens the journal in `dir`, making one where there is none.
    ///
    /// # Errors
    /// [`JournalError`]; a torn end, or a hole, is no error.
    pub fn open(disk: D, dir: &Path) -> Result<Self, JournalError> {
        let path = dir.join(NAME);
        let failed = |error| JournalError::Io { path: path.clone(), error };
        let file = disk.open_append(&path).map_err(failed)?;
        let bytes = read_whole(&file).map_err(failed)?;
        let Found { entries, bad, lacks_head, boot_id, looked_ns } = {
            let found = replay(&bytes, &path)?;
            found.check(&path)?;
            found
        };
        let boot = Boot::new(boot_id, disk.boot_id());
        let mut journal = Self {
            disk,
            dir: dir.to_owned(),
            file,
            len: 0,
            synced_len: 0,
            compact_len: 0,
            entries,
            is_suspect: false,
            unwritten: Vec::new(),
            has_unwritten_marks: false,
            looked_ns,
            boot,
        };
        journal.len = bytes.len() as u64;
        for Bad { offset, bytes: bad_bytes, harm } in &bad {
            tracing::warn!(
                path = %path.display(), offset, bad_bytes,
                "the journal has a part that was not written whole: it is taken out and kept beside it; what it told is \
                 found out again"
            );
            // Keeping it is a courtesy; opening must also succeed on a disk that is full.
            let place = |offset: u64| usize::try_from(offset).unwrap_or(bytes.len());
            let _ = journal.set_torn_aside(&bytes[place(*offset)..place(offset + bad_bytes)]);
            if *harm == Harm::TornEnd {
                journal.file.truncate(*offset).map_err(failed)?;
                journal.len = *offset;
            }
        }
        journal.compact_len = journal.len;
        // Without the holes, and with its version at its beginning, once the disk has room for it.
        journal.is_suspect = lacks_head || bad.iter().any(|bad| bad.harm == Harm::Hole);
        if journal.len == 0 {
            journal.rewrite().map_err(failed)?;
        }
        Ok(journal)
    }

    /// What is known of a generation; of one that is new to the journal, that it begins.
    #[must_use]
    pub fn get(&self, generation: &GenerationId) -> Entry {
        self.entries.get(generation).cloned().unwrap_or_default()
    }

    /// Generations in the order of their birth.
    pub fn entries(&self) -> impl Iterator<Item = (&GenerationId, &Entry)> {
        self.entries.iter()
    }

    /// Notes a life of a file.
    pub fn file(&mut self, generation: GenerationId, identity: FileIdentity) {
        self.push(Record::File { generation, identity });
    }

    /// Notes that the bytes from `offset` on arrived at `at`. Must come before they can be read. The same bytes have one
    /// arrival: where a mark stands at `offset` or behind, there is nothing to note; nor where there are so many that the last
    /// one is near enough.
    pub fn mark(&mut self, generation: GenerationId, offset: u64, at: Timestamp) {
        if self.takes_mark(&generation, offset, at) {
            self.push(Record::Mark { generation, offset, unix_ms: at.unix_ms() });
        }
    }

    /// As [`Journal::mark`], and appends it. A disk without room leaves nothing noted, so that no line has to wait for a mark
    /// that no line stands behind.
    ///
    /// # Errors
    /// As the file system says.
    pub fn write_mark(&mut self, generation: GenerationId, offset: u64, at: Timestamp) -> io::Result<()> {
        let is_new = self.takes_mark(&generation, offset, at);
        let (unwritten_bytes, had_unwritten_marks) = (self.unwritten.len(), self.has_unwritten_marks);
        self.mark(generation, offset, at);
        let written = self.write();
        if is_new && written.as_ref().is_err_and(is_full) {
            self.unwritten.truncate(unwritten_bytes);
            self.has_unwritten_marks = had_unwritten_marks;
            unmark(&generation, &mut self.entries);
        }
        written
    }

    /// Whether a mark at `offset` would say something that there is room for.
    fn takes_mark(&self, generation: &GenerationId, offset: u64, at: Timestamp) -> bool {
        self.entries.get(generation).is_none_or(|entry| entry.takes_mark(offset, at.unix_ms()))
    }

    /// Notes that no line that begins at or after `offset` was handed on.
    pub fn horizon(&mut self, generation: GenerationId, offset: u64) {
        self.push(Record::Horizon { generation, offset });
    }

    /// Notes that every line before `offset` has its outcome.
    pub fn checkpoint(&mut self, generation: GenerationId, offset: u64) {
        self.push(Record::Checkpoint { generation, offset, tail: None });
    }

    /// As [`Journal::checkpoint`], of a file, with the fingerprint of the bytes right before as they were when they were
    /// read.
    pub fn file_checkpoint(&mut self, generation: GenerationId, offset: u64, tail: Option<Tail>) {
        self.push(Record::Checkpoint { generation, offset, tail });
    }

    /// Notes, so that it survives the process, that a file was read up to `tail`.
    ///
    /// # Errors
    /// As the file system says; what it does not take is kept for the next call.
    pub fn write_read(&mut self, generation: GenerationId, tail: Tail) -> io::Result<()> {
        self.push(Record::Read { generation, tail });
        self.write()
    }

    /// When files were last looked at, in nanoseconds since the Unix epoch; 0 if that is not known.
    #[must_use]
    pub fn looked_ns(&self) -> i64 {
        self.looked_ns
    }

    /// Notes that files were looked at for the first time: none that appears from now on was there before.
    pub fn first_looked(&mut self, at: Timestamp) {
        self.looked_ns = at.unix_micros().saturating_mul(1_000);
        self.push(Record::Looked { unix_ns: self.looked_ns });
    }

    /// Notes when files were last looked at, if anything else is to be written or nothing was noted for long.
    pub fn looked(&mut self, at: Timestamp) {
        let unix_ns = at.unix_micros().saturating_mul(1_000);
        let is_due = unix_ns.saturating_sub(self.looked_ns) >= LOOKED_INTERVAL_NS;
        if is_due || !self.unwritten.is_empty() && self.looked_ns != unix_ns {
            self.looked_ns = unix_ns;
            self.push(Record::Looked { unix_ns });
        }
    }

    /// Forgets a generation of which nothing is left to do.
    pub fn retire(&mut self, generation: GenerationId) {
        if self.entries.contains_key(&generation) {
            self.push(Record::Retired { generation });
        }
    }

    fn push(&mut self, record: Record) {
        // A file that is written anew has it from the entries.
        if !self.is_suspect {
            record.encode(&mut self.unwritten);
            self.has_unwritten_marks |= matches!(record, Record::Mark { .. } | Record::File { .. });
        }
        apply(record, &mut self.entries);
        if self.unwritten.len() > UNWRITTEN_MAX_BYTES {
            self.unwritten.clear();
            self.is_suspect = true;
        }
    }

    /// Appends what is noted; it then survives the process. What the disk does not take is kept for the next call.
    ///
    /// # Errors
    /// As the file system says.
    pub fn write(&mut self) -> io::Result<()> {
        if self.is_suspect {
            return self.rewrite();
        }
        if self.unwritten.is_empty() {
            return Ok(());
        }
        if self.len > COMPACT_MIN_BYTES && self.len > self.compact_len * COMPACT_FACTOR {
            return self.rewrite();
        }
        if let Err(error) = append_whole(&self.file, self.len, &self.unwritten) {
            self.is_suspect = !is_whole(&self.file, self.len);
            return Err(error);
        }
        self.len += self.unwritten.len() as u64;
        self.unwritten.clear();
        self.has_unwritten_marks = false;
        Ok(())
    }

    /// Makes everything noted survive power loss.
    ///
    /// # Errors
    /// As the file system says; then nothing may be sent that relies on it.
    pub fn sync(&mut self) -> io::Result<()> {
        self.write()?;
        self.sync_written()
    }

    fn sync_written(&mut self) -> io::Result<()> {
        if self.synced_len < self.len {
            self.file.sync().inspect_err(|_| self.is_suspect = true)?;
            self.synced_len = self.len;
        }
        Ok(())
    }

    /// Makes the marks and identities survive power loss, which is what a line's document relies on. A checkpoint that the
    /// disk has no room for does not hold it up: the line goes again, under its id.
    ///
    /// # Errors
    /// As the file system says; then nothing may be sent that relies on it.
    pub fn sync_marks(&mut self) -> io::Result<()> {
        match self.write() {
            Err(error) if self.is_suspect || self.has_unwritten_marks || !is_full(&error) => Err(error),
            _ => self.sync_written(),
        }
    }

    /// Writes the state anew, durably, in place of all that led to it.
    fn rewrite(&mut self) -> io::Result<()> {
        let (path, new_path) = (self.dir.join(NAME), self.dir.join("journal.new"));
        let mut bytes = Vec::new();
        Record::Journal { version: VERSION }.encode(&mut bytes);
        Record::Looked { unix_ns: self.looked_ns }.encode(&mut bytes);
        if let Some(id) = self.boot.noted.clone() {
            Record::Boot { id }.encode(&mut bytes);
        }
        for (generation, entry) in &self.entries {
            encode_entry(*generation, entry, &mut bytes);
        }
        let file = self.disk.open_append(&new_path)?;
        file.truncate(0)?;
        append_whole(&file, 0, &bytes)?;
        file.sync()?;
        self.disk.rename(&new_path, &path)?;
        // From here on the old file has no name: what is appended must go to the new one.
        self.file = file;
        self.len = bytes.len() as u64;
        self.synced_len = 0;
        self.compact_len = self.len;
        self.unwritten.clear();
        self.has_unwritten_marks = false;
        // Until the folder is synced a power loss may bring the old file back, so it is tried until it is.
        self.is_suspect = true;
        self.disk.sync_dir(&self.dir)?;
        self.synced_len = self.len;
        self.is_suspect = false;
        Ok(())
    }

    fn set_torn_aside(&self, torn: &[u8]) -> io::Result<()> {
        let names = self.disk.list(&self.dir)?;
        let taken = |number: &u32| names.contains(&format!("{NAME}.torn-{number}"));
        let number = (1..).find(|number| !taken(number)).unwrap_or(u32::MAX);
        let aside = self.disk.open_append(&self.dir.join(format!("{NAME}.torn-{number}")))?;
        append_whole(&aside, 0, torn)?;
        aside.sync()
    }
}

/// All bytes of a file.
///
/// # Errors
/// As the file system says.
pub fn read_whole(file: &impl DiskFile) -> io::Result<Vec<u8>> {
    let len = usize::try_from(file.stat()?.len).map_err(io::Error::other)?;
    let mut bytes = vec![0; len];
    let got = file.read_at(&mut bytes, 0)?;
    bytes.truncate(got);
    Ok(bytes)
}
