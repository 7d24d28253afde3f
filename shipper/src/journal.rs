//! State that must survive a crash: the file of each generation, its arrival marks and its checkpoint.
//!
//! # On disk
//!
//! `STATE/journal` is a text file with one record per line: the CRC-32 of the rest in 8 hexadecimal digits, a space,
//! and a JSON object of at most [`MAX_RECORD_BYTES`]. The first record contains the format's version. The state of a
//! generation is the sum of its records. The file is compacted (written under another name and renamed) when it has
//! several times the size of its useful content.
//!
//! Appended records survive SIGKILL; [`Journal::sync`] makes them survive power loss. A torn record or a hole of zeros
//! can therefore only occur after the last sync, where nothing relied on it yet: it is removed and kept next to the
//! file as `journal.torn-N`, and valid records after a hole count. A modified record before valid ones is different: it
//! may have been the one that identifies the file of a generation. Such a journal is [rejected](JournalError::Damaged)
//! and left unchanged; `shipper spool repair` removes the bytes.
//!
//! A generation has at most [`MARKS_MAX`] marks after its checkpoint. The more there are, the larger the minimum
//! distance of a new one, so that they cover more than half a year in which a store accepts nothing; then no more are
//! added. Bytes without a mark have that of the preceding bytes, whenever they are sent.
//!
//! After the loss of a checkpoint, lines are sent again with the same ids, which the store answers with "already
//! stored". The loss of a mark or file generation would change the day or id of lines; those are synced before a line
//! that relies on them is sent.

mod contents;
mod entry;
mod identity;
mod power_loss;
mod record;
#[cfg(test)]
mod tests;
mod trail;

use std::io;
use std::path::{Path, PathBuf};

use store::{GenerationId, Timestamp};

use self::contents::replay;
pub use self::contents::{Contents, Fault, InvalidRange, entries, read};
use self::entry::{Entries, apply, encode_entry, remove_last_mark};
pub use self::entry::{Entry, MARKS_MAX};
pub use self::identity::{FileIdentity, Packed};
use self::power_loss::Boot;
use self::record::Record;
pub use self::record::{MAX_RECORD_BYTES, VERSION};
pub use self::trail::{TAIL_BYTES, TRAIL_MAX, Tail, Trail};
use crate::disk::{Disk, DiskFile, append_whole, is_full, is_whole};
use crate::sync::{Rank, Ranked};

/// Minimum size at which the journal is compacted.
const COMPACT_MIN_BYTES: u64 = 1024 * 1024;

/// Minimum ratio between its size and that of its compacted form.
const COMPACT_FACTOR: u64 = 4;

/// Maximum size of records kept in memory while the disk fails. Beyond that the journal is rewritten.
const UNWRITTEN_MAX_BYTES: usize = 1024 * 1024;

/// How often the time of the last file scan is recorded if there is nothing else to write: about 0.5 MB a day until
/// compaction.
const SCAN_NOTE_INTERVAL_NS: i64 = 10_000_000_000;

const NAME: &str = "journal";

/// Why a journal can't be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// A file system error.
    #[error("can't use {path}: {error}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The error.
        error: io::Error,
    },
    /// A newer version wrote it.
    #[error(
        "{path} has version {found}, but this program supports {VERSION}: use a newer program, or another state directory"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// Some of its bytes were modified.
    #[error(
        "{} is damaged at offset {offset}: {bytes} bytes are invalid before valid records, so it is not a torn end. Nothing \
         was changed. `shipper spool repair` moves these bytes to quarantine; a file that they described is then read again \
         from its start, with other ids",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Offset of the first byte.
        offset: u64,
        /// Number of bytes.
        bytes: u64,
    },
}

/// An open journal.
#[derive(Debug)]
pub struct Journal<D: Disk> {
    disk: D,
    dir: PathBuf,
    file: D::File,
    len: u64,
    synced_len: u64,
    /// Its size when it was last compacted.
    compact_len: u64,
    entries: Entries,
    /// Whether the file must be rewritten: a sync failed, so that the next one may succeed without the data, or it ends
    /// in a torn record, or too much is unwritten.
    is_suspect: bool,
    /// Records that the disk has not accepted yet.
    unwritten: Vec<u8>,
    /// Whether they include marks or file identities.
    has_unwritten_marks: bool,
    last_scan_ns: i64,
    boot: Boot,
}

impl<D: Disk> Ranked for Journal<D> {
    const RANK: Rank = Rank::Journal;
}

impl<D: Disk> Journal<D> {
    /// Opens the journal in `dir`, and creates it if there is none.
    ///
    /// # Errors
    /// [`JournalError`]. A torn end or a hole is not an error.
    pub fn open(disk: D, dir: &Path) -> Result<Self, JournalError> {
        let path = dir.join(NAME);
        let failed = |error| JournalError::Io { path: path.clone(), error };
        let file = disk.open_append(&path).map_err(failed)?;
        let bytes = read_whole(&file).map_err(failed)?;
        let Contents { entries, bad, lacks_header, boot_id, last_scan_ns } = {
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
            last_scan_ns,
            boot,
        };
        journal.len = bytes.len() as u64;
        for InvalidRange { offset, bytes: bad_bytes, fault } in &bad {
            tracing::warn!(
                path = %path.display(), offset, bad_bytes,
                "incomplete part of the journal removed, and kept in a file next to it"
            );
            // Best effort: opening must also succeed on a full disk.
            let index = |offset: u64| usize::try_from(offset).unwrap_or(bytes.len());
            let _ = journal.keep_torn_part(&bytes[index(*offset)..index(offset + bad_bytes)]);
            if *fault == Fault::TornEnd {
                journal.file.truncate(*offset).map_err(failed)?;
                journal.len = *offset;
            }
        }
        journal.compact_len = journal.len;
        // Removes the holes and adds the version at the start, once the disk has room.
        journal.is_suspect = lacks_header || bad.iter().any(|bad| bad.fault == Fault::Hole);
        if journal.len == 0 {
            journal.rewrite().map_err(failed)?;
        }
        Ok(journal)
    }

    /// The entry of a generation; a default one if it is new.
    #[must_use]
    pub fn get(&self, generation: &GenerationId) -> Entry {
        self.entries.get(generation).cloned().unwrap_or_default()
    }

    /// The generations, in order of creation.
    pub fn entries(&self) -> impl Iterator<Item = (&GenerationId, &Entry)> {
        self.entries.iter()
    }

    /// Records the file of a generation.
    pub fn file(&mut self, generation: GenerationId, identity: FileIdentity) {
        self.push(Record::File { generation, identity });
    }

    /// Records that the bytes from `offset` on arrived at `at`. Call it before they can be read. Bytes arrive once:
    /// nothing is recorded if there is a mark at `offset` or later, or if the last mark is within the interval, which
    /// grows with the number of marks.
    pub fn mark(&mut self, generation: GenerationId, offset: u64, at: Timestamp) {
        if self.accepts_mark(&generation, offset, at) {
            self.push(Record::Mark { generation, offset, unix_ms: at.unix_ms() });
        }
    }

    /// Like [`Journal::mark`], and appends the record. On a full disk nothing is recorded, so that no line has to wait
    /// for a mark without lines.
    ///
    /// # Errors
    /// File system errors.
    pub fn write_mark(&mut self, generation: GenerationId, offset: u64, at: Timestamp) -> io::Result<()> {
        let is_new = self.accepts_mark(&generation, offset, at);
        let (unwritten_bytes, had_unwritten_marks) = (self.unwritten.len(), self.has_unwritten_marks);
        self.mark(generation, offset, at);
        let written = self.write();
        if is_new && written.as_ref().is_err_and(is_full) {
            self.unwritten.truncate(unwritten_bytes);
            self.has_unwritten_marks = had_unwritten_marks;
            remove_last_mark(&generation, &mut self.entries);
        }
        written
    }

    /// Whether a mark at `offset` would add information, and there is room for it.
    fn accepts_mark(&self, generation: &GenerationId, offset: u64, at: Timestamp) -> bool {
        self.entries.get(generation).is_none_or(|entry| entry.accepts_mark(offset, at.unix_ms()))
    }

    /// Records that no line at or after `offset` was dispatched.
    pub fn horizon(&mut self, generation: GenerationId, offset: u64) {
        self.push(Record::Horizon { generation, offset });
    }

    /// Records that every line before `offset` has its outcome.
    pub fn checkpoint(&mut self, generation: GenerationId, offset: u64) {
        self.push(Record::Checkpoint { generation, offset, tail: None });
    }

    /// Like [`Journal::checkpoint`] for a file, with the fingerprint of the preceding bytes as they were read.
    pub fn file_checkpoint(&mut self, generation: GenerationId, offset: u64, tail: Option<Tail>) {
        self.push(Record::Checkpoint { generation, offset, tail });
    }

    /// Appends the record that a file was read up to `tail`.
    ///
    /// # Errors
    /// File system errors. What could not be written is kept for the next call.
    pub fn write_read(&mut self, generation: GenerationId, tail: Tail) -> io::Result<()> {
        self.push(Record::Read { generation, tail });
        self.write()
    }

    /// Time of the last file scan in nanoseconds since the Unix epoch; 0 if unknown.
    #[must_use]
    pub fn last_scan_ns(&self) -> i64 {
        self.last_scan_ns
    }

    /// Records the first file scan. Files that appear later are new.
    pub fn first_scanned(&mut self, at: Timestamp) {
        self.last_scan_ns = at.unix_micros().saturating_mul(1_000);
        self.push(Record::Looked { unix_ns: self.last_scan_ns });
    }

    /// Records a file scan, if there is something else to write or none was recorded for a while.
    pub fn scanned(&mut self, at: Timestamp) {
        let unix_ns = at.unix_micros().saturating_mul(1_000);
        let is_due = unix_ns.saturating_sub(self.last_scan_ns) >= SCAN_NOTE_INTERVAL_NS;
        if is_due || !self.unwritten.is_empty() && self.last_scan_ns != unix_ns {
            self.last_scan_ns = unix_ns;
            self.push(Record::Looked { unix_ns });
        }
    }

    /// Removes a completed generation.
    pub fn retire(&mut self, generation: GenerationId) {
        if self.entries.contains_key(&generation) {
            self.push(Record::Retired { generation });
        }
    }

    fn push(&mut self, record: Record) {
        // A rewrite leaves it out anyway.
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

    /// Appends the recorded state, which then survives a crash of the process. What could not be written is kept for
    /// the next call.
    ///
    /// # Errors
    /// File system errors.
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

    /// Makes the recorded state survive power loss.
    ///
    /// # Errors
    /// File system errors. Nothing that relies on it may be sent then.
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

    /// Makes marks and file identities survive power loss; the documents of lines rely on them. A checkpoint that does
    /// not fit on the disk does not fail this: its lines are sent again with the same ids.
    ///
    /// # Errors
    /// File system errors. Nothing that relies on it may be sent then.
    pub fn sync_marks(&mut self) -> io::Result<()> {
        match self.write() {
            Err(error) if self.is_suspect || self.has_unwritten_marks || !is_full(&error) => Err(error),
            _ => self.sync_written(),
        }
    }

    /// Writes the state to a new file, durably, and replaces the old one.
    fn rewrite(&mut self) -> io::Result<()> {
        let (path, new_path) = (self.dir.join(NAME), self.dir.join("journal.new"));
        let mut bytes = Vec::new();
        Record::Journal { version: VERSION }.encode(&mut bytes);
        Record::Looked { unix_ns: self.last_scan_ns }.encode(&mut bytes);
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
        // The old file has no name now: records must go to the new one.
        self.file = file;
        self.len = bytes.len() as u64;
        self.synced_len = 0;
        self.compact_len = self.len;
        self.unwritten.clear();
        self.has_unwritten_marks = false;
        // A power loss may restore the old file until the folder is synced.
        self.is_suspect = true;
        self.disk.sync_dir(&self.dir)?;
        self.synced_len = self.len;
        self.is_suspect = false;
        Ok(())
    }

    fn keep_torn_part(&self, torn: &[u8]) -> io::Result<()> {
        let names = self.disk.list(&self.dir)?;
        let taken = |number: &u32| names.contains(&format!("{NAME}.torn-{number}"));
        let number = (1..).find(|number| !taken(number)).unwrap_or(u32::MAX);
        let aside = self.disk.open_append(&self.dir.join(format!("{NAME}.torn-{number}")))?;
        append_whole(&aside, 0, torn)?;
        aside.sync()
    }
}

/// Reads a file completely.
///
/// # Errors
/// File system errors.
pub fn read_whole(file: &impl DiskFile) -> io::Result<Vec<u8>> {
    let len = usize::try_from(file.stat()?.len).map_err(io::Error::other)?;
    let mut bytes = vec![0; len];
    let got = file.read_at(&mut bytes, 0)?;
    bytes.truncate(got);
    Ok(bytes)
}
