//! What has to be known after a crash: each generation's place, its arrival marks and its checkpoint.
//!
//! # On disk
//!
//! `STATE/journal` is a text file of records, one a line: the CRC-32 of the rest in 8 hexadecimal digits, a space,
//! and a JSON object, at most [`MAX_RECORD_BYTES`] long. The first record names the format's version. A generation's
//! state is what its records add up to. The file is written anew, under another name and then renamed, once it holds
//! several times what is still of use.
//!
//! What is appended survives SIGKILL; what [`Journal::sync`] was called for survives power loss. So a line that is torn
//! can only stand after the last sync, where nothing was relied on yet: from the first bad record on, the file is cut
//! off and what was cut is kept beside it as `journal.torn-N`.
//!
//! A lost checkpoint makes lines go again under the same ids, which a store answers with "already stored". A lost
//! mark or file generation would give lines another day or id; those are synced before a line that needs them is sent.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use store::{GenerationId, Timestamp};

use crate::disk::{Disk, DiskFile, append_whole, is_whole};

/// The version of the state directory that this program writes.
pub const VERSION: u32 = 1;

/// A longer record is a torn one.
pub const MAX_RECORD_BYTES: usize = 64 * 1024;

/// The journal is not written anew before it has this size.
const COMPACT_MIN_BYTES: u64 = 1024 * 1024;

/// Nor before it is this many times what it would be anew.
const COMPACT_FACTOR: u64 = 4;

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
}

/// Which file a generation is a life of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileIdentity {
    /// Its name when last seen.
    pub path: PathBuf,
    /// The device that it is on.
    pub device: u64,
    /// Its number there.
    pub inode: u64,
    /// How many of its first bytes the fingerprint covers.
    pub fingerprint_len: u64,
    /// CRC-32 of those bytes.
    pub fingerprint: u32,
}

/// One record; a generation's state is what its records add up to.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Record {
    /// The first one.
    Journal { version: u32 },
    /// A life of a file begins, or is known by another name or longer fingerprint.
    File { generation: GenerationId, identity: FileIdentity },
    /// Bytes from `offset` on arrived at `unix_ms`.
    Mark { generation: GenerationId, offset: u64, unix_ms: i64 },
    /// No line that begins at or after `offset` was handed on: the process before this ended in order.
    Horizon { generation: GenerationId, offset: u64 },
    /// Every line before `offset` is stored or dead-lettered.
    Checkpoint { generation: GenerationId, offset: u64 },
    /// Nothing of it is left to do.
    Retired { generation: GenerationId },
}

/// What the journal knows of one generation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// Which file, unless it is a spool segment.
    pub file: Option<FileIdentity>,
    /// Every line before this offset is disposed of.
    pub checkpoint: u64,
    /// No line from this offset on was handed on before the restart, if that is known.
    pub horizon: Option<u64>,
    /// Arrival marks after the one that the generation's birth is: offset and milliseconds since the Unix epoch.
    marks: Vec<(u64, i64)>,
}

impl Entry {
    /// When the byte at `offset` arrived, by the mark at or before it.
    #[must_use]
    pub fn arrived(&self, generation: &GenerationId, offset: u64) -> Timestamp {
        let after = self.marks.partition_point(|mark| mark.0 <= offset);
        let unix_ms = match after.checked_sub(1) {
            Some(place) => self.marks[place].1,
            None => i64::try_from(generation.born_unix_ms()).unwrap_or(i64::MAX),
        };
        Timestamp::from_unix_ms(unix_ms)
    }

    /// Where the first mark after `offset` stands.
    #[must_use]
    pub fn next_mark(&self, offset: u64) -> Option<u64> {
        self.marks.get(self.marks.partition_point(|mark| mark.0 <= offset)).map(|mark| mark.0)
    }

    /// Forgets marks that no line after the checkpoint needs.
    fn prune(&mut self) {
        let needed = self.marks.partition_point(|mark| mark.0 <= self.checkpoint).saturating_sub(1);
        self.marks.drain(..needed);
    }
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
    entries: BTreeMap<GenerationId, Entry>,
    /// A sync failed, and the next one may succeed without the bytes, or a torn record stands at the end: only a file
    /// written anew can be relied on.
    is_suspect: bool,
    /// The state that the file could not be brought to yet, because the disk said no.
    unwritten: Vec<u8>,
}

impl<D: Disk> Journal<D> {
    /// Opens the journal in `dir`, making one where there is none.
    ///
    /// # Errors
    /// [`JournalError`]; a torn end is no error.
    pub fn open(disk: D, dir: &Path) -> Result<Self, JournalError> {
        let path = dir.join(NAME);
        let failed = |error| JournalError::Io { path: path.clone(), error };
        let file = disk.open_append(&path).map_err(failed)?;
        let bytes = read_whole(&file).map_err(failed)?;
        let mut journal = Self {
            disk,
            dir: dir.to_owned(),
            file,
            len: 0,
            synced_len: 0,
            compact_len: 0,
            entries: BTreeMap::new(),
            is_suspect: false,
            unwritten: Vec::new(),
        };
        let good = replay(&bytes, &path, &mut journal.entries)?;
        if good < bytes.len() {
            let cut_bytes = bytes.len() - good;
            tracing::warn!(
                path = %path.display(), good_bytes = good, cut_bytes,
                "the journal's end is torn: it is cut off and kept beside it; what it told is found out again"
            );
            // Keeping the torn end is a courtesy; opening must also succeed on a disk that is full.
            let _ = journal.set_torn_aside(&bytes[good..]);
            journal.file.truncate(good as u64).map_err(failed)?;
        }
        journal.len = good as u64;
        journal.compact_len = journal.len;
        if good == 0 {
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

    /// Notes that the bytes from `offset` on arrived at `at`. Must come before they can be read.
    pub fn mark(&mut self, generation: GenerationId, offset: u64, at: Timestamp) {
        self.push(Record::Mark { generation, offset, unix_ms: at.unix_ms() });
    }

    /// Notes that no line that begins at or after `offset` was handed on.
    pub fn horizon(&mut self, generation: GenerationId, offset: u64) {
        self.push(Record::Horizon { generation, offset });
    }

    /// Notes that every line before `offset` is disposed of.
    pub fn checkpoint(&mut self, generation: GenerationId, offset: u64) {
        self.push(Record::Checkpoint { generation, offset });
    }

    /// Forgets a generation of which nothing is left to do.
    pub fn retire(&mut self, generation: GenerationId) {
        if self.entries.contains_key(&generation) {
            self.push(Record::Retired { generation });
        }
    }

    fn push(&mut self, record: Record) {
        encode(&record, &mut self.unwritten);
        apply(record, &mut self.entries);
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
        Ok(())
    }

    /// Makes everything noted survive power loss.
    ///
    /// # Errors
    /// As the file system says; then nothing may be sent that relies on it.
    pub fn sync(&mut self) -> io::Result<()> {
        self.write()?;
        if self.synced_len < self.len {
            self.file.sync().inspect_err(|_| self.is_suspect = true)?;
            self.synced_len = self.len;
        }
        Ok(())
    }

    /// Whether everything noted would survive power loss.
    #[must_use]
    pub fn is_synced(&self) -> bool {
        !self.is_suspect && self.unwritten.is_empty() && self.synced_len == self.len
    }

    /// Writes the state anew, durably, in place of all that led to it.
    fn rewrite(&mut self) -> io::Result<()> {
        let (path, new_path) = (self.dir.join(NAME), self.dir.join("journal.new"));
        let mut bytes = Vec::new();
        encode(&Record::Journal { version: VERSION }, &mut bytes);
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

/// A journal as it was found.
#[derive(Debug, Default)]
pub struct Found {
    /// What it knows of each generation.
    pub entries: BTreeMap<GenerationId, Entry>,
    /// How many of its bytes are good; what follows is torn.
    pub good_bytes: u64,
    /// Its length.
    pub bytes: u64,
    /// Records behind the first one that is not good, which are good by themselves.
    pub stranded_records: u64,
}

/// Reads the journal in `dir` and changes nothing; one that is not there knows nothing.
///
/// # Errors
/// [`JournalError`]; a torn end is no error.
pub fn read<D: Disk>(disk: &D, dir: &Path) -> Result<Found, JournalError> {
    let path = dir.join(NAME);
    let failed = |error| JournalError::Io { path: path.clone(), error };
    let file = match disk.open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::default()),
        opened => opened.map_err(failed)?,
    };
    let bytes = read_whole(&file).map_err(failed)?;
    let mut found = Found { bytes: bytes.len() as u64, ..Found::default() };
    let good = replay(&bytes, &path, &mut found.entries)?;
    found.good_bytes = good as u64;
    found.stranded_records =
        bytes[good..].split(|byte| *byte == b'\n').filter(|line| decode(line).is_some()).count() as u64;
    Ok(found)
}

/// Applies the records of `bytes` and says how far they are good.
fn replay(bytes: &[u8], path: &Path, entries: &mut BTreeMap<GenerationId, Entry>) -> Result<usize, JournalError> {
    let mut good = 0;
    while let Some(end) = memchr::memchr(b'\n', &bytes[good..]) {
        let Some(record) = decode(&bytes[good..good + end]) else { break };
        if let Record::Journal { version } = record
            && version > VERSION
        {
            return Err(JournalError::Newer { path: path.to_owned(), found: version });
        }
        apply(record, entries);
        good += end + 1;
    }
    Ok(good)
}

fn apply(record: Record, entries: &mut BTreeMap<GenerationId, Entry>) {
    match record {
        Record::Journal { .. } => {}
        Record::File { generation, identity } => entries.entry(generation).or_default().file = Some(identity),
        Record::Mark { generation, offset, unix_ms } => {
            let entry = entries.entry(generation).or_default();
            // The same bytes have one arrival: a mark never goes before one that stands.
            if entry.marks.last().is_none_or(|last| last.0 < offset) {
                entry.marks.push((offset, unix_ms));
            }
        }
        Record::Horizon { generation, offset } => entries.entry(generation).or_default().horizon = Some(offset),
        Record::Checkpoint { generation, offset } => {
            let entry = entries.entry(generation).or_default();
            entry.checkpoint = entry.checkpoint.max(offset);
            entry.prune();
        }
        Record::Retired { generation } => {
            entries.remove(&generation);
        }
    }
}

fn encode_entry(generation: GenerationId, entry: &Entry, bytes: &mut Vec<u8>) {
    if let Some(identity) = &entry.file {
        encode(&Record::File { generation, identity: identity.clone() }, bytes);
    }
    encode(&Record::Checkpoint { generation, offset: entry.checkpoint }, bytes);
    if let Some(offset) = entry.horizon {
        encode(&Record::Horizon { generation, offset }, bytes);
    }
    for &(offset, unix_ms) in &entry.marks {
        encode(&Record::Mark { generation, offset, unix_ms }, bytes);
    }
}

fn encode(record: &Record, bytes: &mut Vec<u8>) {
    // A record has no map with keys that are not text, the one thing that can't be written as JSON.
    let json = serde_json::to_string(record).unwrap_or_default();
    bytes.extend_from_slice(format!("{:08x} {json}\n", crc32fast::hash(json.as_bytes())).as_bytes());
}

fn decode(line: &[u8]) -> Option<Record> {
    if line.len() > MAX_RECORD_BYTES || line.get(8) != Some(&b' ') {
        return None;
    }
    let (sum, json) = (std::str::from_utf8(&line[..8]).ok()?, &line[9..]);
    if u32::from_str_radix(sum, 16).ok()? != crc32fast::hash(json) {
        return None;
    }
    serde_json::from_slice(json).ok()
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::disk::RealDisk;

    fn generation(number: u64) -> GenerationId {
        GenerationId::new(number, &[0; 10])
    }

    #[test]
    fn state_survives_a_reopen() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(RealDisk, dir.path()).unwrap();
        journal.checkpoint(generation(1), 500);
        journal.mark(generation(1), 400, Timestamp::from_unix_ms(7_000));
        journal.mark(generation(1), 600, Timestamp::from_unix_ms(8_000));
        journal.checkpoint(generation(2), 9);
        journal.retire(generation(2));
        journal.sync().unwrap();
        let journal = Journal::open(RealDisk, dir.path()).unwrap();
        let entry = journal.get(&generation(1));
        assert_eq!(entry.checkpoint, 500);
        assert_eq!(entry.arrived(&generation(1), 599), Timestamp::from_unix_ms(7_000));
        assert_eq!(entry.arrived(&generation(1), 600), Timestamp::from_unix_ms(8_000));
        assert_eq!(entry.next_mark(400), Some(600));
        assert_eq!(journal.get(&generation(2)), Entry::default());
    }

    #[test]
    fn a_torn_end_is_cut_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(RealDisk, dir.path()).unwrap();
        journal.checkpoint(generation(1), 1);
        journal.checkpoint(generation(1), 2);
        journal.write().unwrap();
        let path = dir.path().join(NAME);
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - 4]).unwrap();
        let journal = Journal::open(RealDisk, dir.path()).unwrap();
        assert_eq!(journal.get(&generation(1)).checkpoint, 1);
        assert!(dir.path().join("journal.torn-1").exists());
    }

    #[test]
    fn a_newer_journal_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let mut bytes = Vec::new();
        encode(&Record::Journal { version: VERSION + 1 }, &mut bytes);
        std::fs::write(dir.path().join(NAME), bytes).unwrap();
        let error = Journal::open(RealDisk, dir.path()).unwrap_err();
        assert!(matches!(error, JournalError::Newer { .. }), "{error}");
    }

    #[test]
    fn it_is_written_anew_before_it_grows_without_end() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(RealDisk, dir.path()).unwrap();
        for offset in 0..100_000 {
            journal.checkpoint(generation(1), offset);
            journal.mark(generation(1), offset, Timestamp::from_unix_ms(1));
            journal.write().unwrap();
        }
        assert!(std::fs::metadata(dir.path().join(NAME)).unwrap().len() < 2 * COMPACT_MIN_BYTES);
        assert_eq!(Journal::open(RealDisk, dir.path()).unwrap().get(&generation(1)).checkpoint, 99_999);
    }

    proptest! {
        #[test]
        fn any_bytes_open(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let dir = tempfile::tempdir().unwrap();
            std::fs::write(dir.path().join(NAME), bytes).unwrap();
            prop_assert!(Journal::open(RealDisk, dir.path()).is_ok());
        }
    }
}
