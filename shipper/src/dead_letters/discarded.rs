//! Discarded dead letters.
//!
//! The lines have their outcome: a shipper must not send them again, and a store without them is complete. Their
//! offsets and lengths are therefore kept as long as their generation is known, even after the letter was deleted.
//!
//! # On disk
//!
//! `STATE/dead-letters/discarded.ndjson` holds one JSON object per generation:
//! `{"generation","lines":[[offset,length],…],"sum"}`, where `sum` is the CRC-32 of
//! `["GENERATION",[[offset,length],…]]`; earlier versions wrote none. The file is replaced by renaming a new one, so it
//! is always complete. An incomplete or modified one is rejected by all subcommands except `spool check` and `repair`:
//! forged lines must not count, and discarded ones must not come back unnoticed. A letter is discarded once its line is
//! in this file, whatever its own file contains; that file is removed when all of its letters are replayed or
//! discarded. This file has at most [`MAX_BYTES`]; beyond that discarding fails.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use store::{GenerationId, LineId};

use super::DIR;
use super::layout::BadLetter;
use crate::completed;
use crate::disk::{Disk, DiskFile as _, append_whole};
use crate::journal;
use crate::ndjson::for_each_line;

/// Maximum size of the file, enough for some four million letters.
pub const MAX_BYTES: usize = 64 * 1024 * 1024;

const NAME: &str = "discarded.ndjson";
const NEW_NAME: &str = "discarded.new";

/// The lines of discarded letters.
#[derive(Clone, Debug, Default)]
pub struct Discarded {
    lines: BTreeMap<GenerationId, BTreeMap<u64, u64>>,
}

#[derive(Serialize, Deserialize)]
struct OfGeneration {
    generation: GenerationId,
    lines: Vec<(u64, u64)>,
    sum: Option<u32>,
}

impl OfGeneration {
    fn new(generation: GenerationId, lines: Vec<(u64, u64)>) -> io::Result<Self> {
        let sum = Some(crc32fast::hash(&serde_json::to_vec(&(generation, &lines))?));
        Ok(Self { generation, lines, sum })
    }

    /// Decodes a line of the file; `None` if it is invalid.
    fn decode(line: &[u8]) -> Option<Self> {
        let Self { generation, lines, sum } = serde_json::from_slice(line).ok()?;
        let found = Self::new(generation, lines).ok()?;
        (sum.is_none() || sum == found.sum).then_some(found)
    }
}

impl Discarded {
    /// Reads the discarded letters of a state directory.
    ///
    /// # Errors
    /// File system errors; [`io::ErrorKind::InvalidData`] if the file is damaged.
    pub fn read<D: Disk>(disk: &D, state_dir: &Path) -> io::Result<Self> {
        let (discarded, bad) = Self::read_good(disk, state_dir)?;
        let Some(BadLetter { path, offset, length, .. }) = bad.first() else { return Ok(discarded) };
        let message = format!(
            "{} is damaged at offset {offset}: {length} bytes are invalid. Nothing was changed. `shipper spool repair` moves \
             them to quarantine; their lines then are dead letters again, or are sent again, or are reported missing by \
             verify",
            path.display()
        );
        Err(io::Error::new(io::ErrorKind::InvalidData, message))
    }

    /// Like [`Discarded::read`], but ignores invalid lines and returns them.
    pub(crate) fn read_good<D: Disk>(disk: &D, state_dir: &Path) -> io::Result<(Self, Vec<BadLetter>)> {
        let (mut discarded, mut bad) = (Self::default(), Vec::new());
        let path = state_dir.join(DIR).join(NAME);
        let file = match disk.open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((discarded, bad)),
            opened => opened?,
        };
        for_each_line(&file, |line| {
            match OfGeneration::decode(line.bytes) {
                Some(of) => discarded.lines.entry(of.generation).or_default().extend(of.lines),
                None => {
                    let (offset, length, is_torn_end) = (line.offset, line.length(), !line.is_whole);
                    bad.push(BadLetter { path: path.clone(), offset, length, is_torn_end });
                }
            }
            Ok(())
        })?;
        Ok((discarded, bad))
    }

    /// Whether a letter was discarded.
    #[must_use]
    pub fn contains(&self, id: &LineId) -> bool {
        self.lines.get(&id.generation).is_some_and(|lines| lines.contains_key(&id.offset))
    }

    /// Offset and length of each line, by generation.
    #[must_use]
    pub fn lines(self) -> BTreeMap<GenerationId, BTreeMap<u64, u64>> {
        self.lines
    }

    /// Lines that a shipper will read again, because a line before them is pending.
    pub(super) fn after_checkpoints<D: Disk>(&self, disk: &D, state_dir: &Path) -> io::Result<Vec<LineId>> {
        if self.lines.is_empty() {
            return Ok(Vec::new());
        }
        let entries = journal::entries(disk, state_dir).map_err(io::Error::other)?;
        let notes = completed::read(disk, state_dir)?.notes;
        let ended: HashSet<_> = notes.iter().filter_map(completed::Note::ended).collect();
        let ahead = |(generation, lines): (&GenerationId, &BTreeMap<u64, u64>)| {
            // All lines of a generation created after the journal was last written will be read again.
            let begun = if ended.contains(generation) { u64::MAX } else { 0 };
            let from = entries.get(generation).map_or(begun, |entry| entry.checkpoint);
            let generation = *generation;
            lines.range(from..).map(move |(offset, _)| LineId { generation, offset: *offset }).collect::<Vec<_>>()
        };
        Ok(self.lines.iter().flat_map(ahead).collect())
    }

    /// Adds a letter with the length of its line.
    pub fn add(&mut self, id: LineId, length: u64) {
        self.lines.entry(id.generation).or_default().insert(id.offset, length);
    }

    /// Forgets lines of generations that are not known otherwise.
    pub fn keep(&mut self, is_known: impl Fn(&GenerationId) -> bool) {
        self.lines.retain(|generation, _| is_known(generation));
    }

    /// Makes it durable: from now on these letters are discarded. The caller must hold the lock of the state directory.
    ///
    /// # Errors
    /// File system errors, which change nothing; [`io::ErrorKind::StorageFull`] beyond [`MAX_BYTES`].
    pub fn write<D: Disk>(&self, disk: &D, state_dir: &Path) -> io::Result<()> {
        let mut bytes = Vec::new();
        for (generation, lines) in &self.lines {
            let lines = lines.iter().map(|(offset, length)| (*offset, *length)).collect();
            serde_json::to_writer(&mut bytes, &OfGeneration::new(*generation, lines)?)?;
            bytes.push(b'\n');
            if bytes.len() > MAX_BYTES {
                let message = format!(
                    "there is no room to remember more than {MAX_BYTES} bytes of what was discarded; room comes as its \
                     sources are forgotten"
                );
                return Err(io::Error::new(io::ErrorKind::StorageFull, message));
            }
        }
        let dir = state_dir.join(DIR);
        let new = dir.join(NEW_NAME);
        let file = disk.open_append(&new)?;
        file.truncate(0)?;
        append_whole(&file, 0, &bytes)?;
        file.sync()?;
        disk.rename(&new, &dir.join(NAME))?;
        disk.sync_dir(&dir)
    }
}

#[cfg(test)]
mod tests {
    use store::{BatchBuilder, Cause, Timestamp};

    use super::super::{DeadLetters, read, replayed::ReplayMarks};
    use super::*;
    use crate::disk::RealDisk;

    #[test]
    fn a_discarded_letter_is_not_listed_and_not_sent_again() {
        let dir = tempfile::tempdir().unwrap();
        let at = Timestamp::from_unix_ms(0);
        let generation = GenerationId::new(1, &[0; 10]);
        let ids: Vec<_> = (0..3).map(|place| LineId { generation, offset: place * 8 }).collect();
        let mut builder = BatchBuilder::new("app-logs");
        for id in &ids {
            builder.push(*id, 8, at.day(), |body| body.extend_from_slice(b"{\"a\":1}"));
        }
        let batch = builder.finish(0);
        let mut letters = DeadLetters::open(RealDisk, dir.path(), u64::MAX).unwrap();
        (0..3).for_each(|place| letters.add(&batch, place, &Cause::new(400, "mapping"), 1, at));
        letters.sync().unwrap();

        let mut discarded = Discarded::read(&RealDisk, dir.path()).unwrap();
        discarded.add(ids[1], 8);
        discarded.write(&RealDisk, dir.path()).unwrap();
        // Left by a process that ended before the rename.
        std::fs::write(dir.path().join("dead-letters/discarded.new"), "{\"generation").unwrap();
        let left = |dir: &Path| {
            let mut left = Vec::new();
            let bad = read(&RealDisk, dir, |found| {
                left.push(found.id);
                Ok(())
            });
            assert_eq!(bad.unwrap(), []);
            left
        };
        assert_eq!(left(dir.path()), [ids[0], ids[2]]);
        let letters = DeadLetters::open(RealDisk, dir.path(), u64::MAX).unwrap();
        assert_eq!(letters.counts().letters, 2);
        assert!(ids.iter().all(|id| letters.contains(id)));

        let mut discarded = Discarded::read(&RealDisk, dir.path()).unwrap();
        ids.iter().for_each(|id| discarded.add(*id, 8));
        discarded.write(&RealDisk, dir.path()).unwrap();
        ReplayMarks::open(RealDisk, dir.path()).remove_done().unwrap();
        let letters = DeadLetters::open(RealDisk, dir.path(), u64::MAX).unwrap();
        assert_eq!((letters.counts().letters, letters.counts().bytes), (0, 0));
        assert!(ids.iter().all(|id| letters.contains(id)), "the letters are deleted, and still not sent again");

        let mut discarded = Discarded::read(&RealDisk, dir.path()).unwrap();
        discarded.keep(|_| false);
        discarded.write(&RealDisk, dir.path()).unwrap();
        assert!(!Discarded::read(&RealDisk, dir.path()).unwrap().contains(&ids[0]));
        // Written by an earlier version.
        let path = dir.path().join("dead-letters/discarded.ndjson");
        std::fs::write(&path, format!("{{\"generation\":\"{generation}\",\"lines\":[[8,8]]}}\n")).unwrap();
        assert!(Discarded::read(&RealDisk, dir.path()).unwrap().contains(&ids[1]));
        std::fs::write(&path, "{\"generation\n").unwrap();
        assert_eq!(Discarded::read(&RealDisk, dir.path()).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
