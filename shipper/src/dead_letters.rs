//! Lines that no store will take as they are, kept with the reason.
//!
//! # On disk
//!
//! `STATE/dead-letters/SEQUENCE.ndjson` holds one JSON object a line:
//! `{"at","id","index","status","reason","attempts","length","document"}`, where `id` is the line's document id, `length`
//! the line's length at its source in bytes and `document` the document that was refused, from which the line can be
//! had back: it is the line with `origin` added, or the line as `message` where `origin.wrapped` says so. Files are
//! begun anew at [`FILE_BYTES`].
//!
//! A line is a dead letter once it is durable here, and for ever: after a restart its id is known, and it is neither
//! sent nor written again.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use store::{Batch, Cause, GenerationId, LineId, Timestamp};

use crate::disk::{Disk, DiskFile, append_whole, is_whole};
use crate::journal::read_whole;

/// After this many bytes the next file begins.
pub const FILE_BYTES: u64 = 64 * 1024 * 1024;

/// One dead letter, as it is written.
#[derive(Debug, Serialize, Deserialize)]
pub struct DeadLetter<'a> {
    /// When it was given up, RFC 3339.
    pub at: String,
    /// The line's document id.
    pub id: String,
    /// The index that it was for.
    pub index: String,
    /// The store's status for it, 0 where it has none.
    pub status: u16,
    /// The store's reason.
    pub reason: String,
    /// How often it was sent.
    pub attempts: u32,
    /// Its length at its source in bytes, with its newline.
    pub length: u64,
    /// The document that was refused.
    #[serde(borrow)]
    pub document: &'a RawValue,
}

/// The dead letters under a state directory.
pub struct DeadLetters<D: Disk> {
    disk: D,
    dir: PathBuf,
    active: Option<(D::File, u64)>,
    /// A file that may end with letters that are not final, and its length before them.
    doubtful: Option<(D::File, u64)>,
    next_sequence: u64,
    known: HashSet<LineId>,
    pending: Vec<u8>,
    pending_ids: Vec<LineId>,
}

impl<D: Disk> DeadLetters<D> {
    /// Opens the folder and learns which lines are in it. A torn last line is cut off: it was not durable, so its
    /// line's disposition was not final.
    ///
    /// # Errors
    /// As the file system says.
    pub fn open(disk: D, state_dir: &Path) -> io::Result<Self> {
        let dir = state_dir.join("dead-letters");
        disk.create_dir_all(&dir)?;
        disk.sync_dir(state_dir)?;
        disk.sync_dir(&dir)?;
        let mut known = HashSet::new();
        let mut next_sequence = 0;
        for name in disk.list(&dir)? {
            let Some(sequence) = name.strip_suffix(".ndjson").and_then(|name| name.parse::<u64>().ok()) else {
                continue;
            };
            next_sequence = next_sequence.max(sequence + 1);
            let file = disk.open_append(&dir.join(&name))?;
            let bytes = read_whole(&file)?;
            let whole = memchr::memrchr(b'\n', &bytes).map_or(0, |last| last + 1);
            if whole < bytes.len() {
                file.truncate(whole as u64)?;
            }
            // The process before may have ended between the writing and the syncing; what is known must be durable.
            file.sync()?;
            known.extend(bytes[..whole].split(|byte| *byte == b'\n').filter_map(id_of));
        }
        Ok(Self {
            disk,
            dir,
            active: None,
            doubtful: None,
            next_sequence,
            known,
            pending: Vec::new(),
            pending_ids: Vec::new(),
        })
    }

    /// Whether a line is among them.
    #[must_use]
    pub fn contains(&self, id: &LineId) -> bool {
        !self.known.is_empty() && self.known.contains(id)
    }

    /// Notes a line of `batch`; it is a dead letter once [`DeadLetters::sync`] returns.
    pub fn add(&mut self, batch: &Batch, place: usize, cause: &Cause, attempts: u32, at: Timestamp) {
        let line = batch.lines()[place];
        let document = std::str::from_utf8(batch.document(place)).unwrap_or("null");
        let Ok(document) = serde_json::from_str(document) else { return };
        let letter = DeadLetter {
            at: at.to_string(),
            id: line.id.to_string(),
            index: batch.index_name(place).to_owned(),
            status: cause.status,
            reason: cause.reason.clone(),
            attempts,
            length: line.length,
            document,
        };
        // Writing plain fields to memory does not fail.
        let _ = serde_json::to_writer(&mut self.pending, &letter);
        self.pending.push(b'\n');
        self.pending_ids.push(line.id);
    }

    /// Makes what was noted durable, and gives the lines that are dead letters from now on.
    ///
    /// # Errors
    /// As the file system says; then nothing is final, and the next call tries again.
    pub fn sync(&mut self) -> io::Result<Vec<LineId>> {
        if self.pending.is_empty() {
            return Ok(Vec::new());
        }
        if let Some((file, len)) = &self.doubtful {
            // What of it is on the disk must be gone for good before it is written to another file.
            file.truncate(*len)?;
            file.sync()?;
            self.doubtful = None;
        }
        let (file, len) = match &mut self.active {
            Some(active) if active.1 < FILE_BYTES => active,
            active => {
                let file = self.disk.open_append(&self.dir.join(format!("{:08}.ndjson", self.next_sequence)))?;
                self.next_sequence += 1;
                self.disk.sync_dir(&self.dir)?;
                active.insert((file, 0))
            }
        };
        if let Err(error) = append_whole(file, *len, &self.pending) {
            if !is_whole(file, *len) {
                self.doubtful = self.active.take();
            }
            return Err(error);
        }
        if let Err(error) = file.sync() {
            // After a sync that failed nobody knows what the disk holds: write it again, to another file.
            self.doubtful = self.active.take();
            return Err(error);
        }
        *len += self.pending.len() as u64;
        self.pending.clear();
        self.known.extend(&self.pending_ids);
        Ok(std::mem::take(&mut self.pending_ids))
    }
}

fn id_of(line: &[u8]) -> Option<LineId> {
    #[derive(Deserialize)]
    struct Id<'a> {
        id: &'a str,
    }
    let (generation, offset) = serde_json::from_slice::<Id<'_>>(line).ok()?.id.split_once('-')?;
    Some(LineId { generation: generation.parse::<GenerationId>().ok()?, offset: u64::from_str_radix(offset, 16).ok()? })
}

#[cfg(test)]
mod tests {
    use store::BatchBuilder;

    use super::*;
    use crate::disk::RealDisk;

    #[test]
    fn a_dead_letter_is_known_after_a_restart_and_a_torn_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let mut builder = BatchBuilder::new("app-logs");
        let ids = [0, 7].map(|offset| LineId { generation: GenerationId::new(1, &[0; 10]), offset });
        for id in ids {
            builder.push(id, 7, Timestamp::from_unix_ms(0).day(), |body| body.extend_from_slice(b"{\"a\":1}"));
        }
        let batch = builder.finish(0);
        let mut letters = DeadLetters::open(RealDisk, dir.path()).unwrap();
        for place in 0..2 {
            letters.add(&batch, place, &Cause::new(400, "mapping"), 1, Timestamp::from_unix_ms(0));
        }
        assert_eq!(letters.sync().unwrap(), ids);
        let path = dir.path().join("dead-letters/00000000.ndjson");
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(
            text.lines().next().unwrap(),
            format!(
                "{{\"at\":\"1970-01-01T00:00:00.000000Z\",\"id\":\"{}\",\"index\":\"app-logs-1970.01.01\",\"status\":400,\
                 \"reason\":\"mapping\",\"attempts\":1,\"length\":7,\"document\":{{\"a\":1}}}}",
                ids[0]
            )
        );
        std::fs::write(&path, &text[..text.len() - 3]).unwrap();
        let letters = DeadLetters::open(RealDisk, dir.path()).unwrap();
        assert!(letters.contains(&ids[0]) && !letters.contains(&ids[1]));
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 1);
    }
}
