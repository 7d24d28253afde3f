//! Detects reboots, and removes knowledge about the end of a file that a power loss destroyed.

use store::GenerationId;

use super::Journal;
use super::entry::Entry;
use super::record::Record;
use crate::disk::Disk;

/// The boot ids of the machine.
#[derive(Debug)]
pub(super) struct Boot {
    /// The recorded one.
    pub(super) noted: Option<String>,
    /// The present one.
    now: Option<String>,
    has_changed: bool,
}

impl Boot {
    pub(super) fn new(noted: Option<String>, now: Option<String>) -> Self {
        let has_changed = now.is_none() || noted != now;
        Self { noted, now, has_changed }
    }
}

impl<D: Disk> Journal<D> {
    /// Whether the machine may have been rebooted, and may have lost power, since the last [note](Journal::note_boot)
    /// of an earlier process.
    #[must_use]
    pub fn has_rebooted(&self) -> bool {
        self.boot.has_changed
    }

    /// Records that every file was scanned since the reboot. A file that is shorter than known from now on was
    /// truncated.
    pub fn note_boot(&mut self) {
        if let Some(id) = self.boot.now.clone().filter(|now| self.boot.noted.as_ref() != Some(now)) {
            self.boot.noted = Some(id.clone());
            self.push(Record::Boot { id });
        }
    }

    /// Removes what is known about a file from `len` on: the bytes were lost and will be replaced by others.
    /// [Sync](Journal::sync) it before sending lines that rely on it.
    pub fn shorten(&mut self, generation: GenerationId, len: u64) {
        let Some(entry) = self.entries.get_mut(&generation) else { return };
        entry.shorten(len);
        // Records only add information, and an interrupted write keeps a prefix of them, so the whole file is
        // rewritten.
        self.unwritten.clear();
        self.has_unwritten_marks = false;
        self.is_suspect = true;
    }
}

impl Entry {
    /// See [`Journal::shorten`].
    pub fn shorten(&mut self, len: u64) {
        self.forget_marks(len);
        self.horizon = self.horizon.filter(|horizon| *horizon <= len);
        self.trail.shorten(len);
    }
}

#[cfg(test)]
mod tests {
    use store::Timestamp;

    use super::*;
    use crate::disk::RealDisk;
    use crate::journal::{FileIdentity, Tail};

    #[test]
    fn a_reboot_is_detected_until_it_is_recorded() {
        let dir = tempfile::tempdir().unwrap();
        for _ in 0..2 {
            let mut journal = Journal::open(RealDisk, dir.path()).unwrap();
            assert!(journal.has_rebooted());
            journal.sync().unwrap();
        }
        let mut journal = Journal::open(RealDisk, dir.path()).unwrap();
        journal.note_boot();
        journal.sync().unwrap();
        let is_known = RealDisk.boot_id().is_some();
        assert_eq!(Journal::open(RealDisk, dir.path()).unwrap().has_rebooted(), !is_known);
    }

    #[test]
    fn knowledge_about_a_lost_end_is_removed_durably() {
        let dir = tempfile::tempdir().unwrap();
        let generation = GenerationId::new(1, &[0; 10]);
        let mut journal = Journal::open(RealDisk, dir.path()).unwrap();
        let identity = FileIdentity {
            path: "/a".into(),
            device: 1,
            inode: 2,
            born_ns: None,
            life_born_ns: None,
            start: 0,
            fingerprint_len: 4,
            fingerprint: 5,
            packed: None,
        };
        journal.file(generation, identity.clone());
        for (end, seconds) in [(10, 10), (20, 20), (30, 30)] {
            journal.mark(generation, end, Timestamp::from_unix_ms(seconds * 1_000));
            journal.write_read(generation, Tail { end, len: 1, crc: 7 }).unwrap();
        }
        journal.file_checkpoint(generation, 10, None);
        journal.horizon(generation, 30);
        assert_eq!(journal.get(&generation).known_len(), 30);
        let path = dir.path().join("journal");
        let before = std::fs::read(&path).unwrap();
        journal.shorten(generation, 25);
        journal.sync().unwrap();
        assert!(!std::fs::read(&path).unwrap().starts_with(&before), "the file is rewritten");
        let shortened = journal.get(&generation);
        drop(journal);
        let mut journal = Journal::open(RealDisk, dir.path()).unwrap();
        assert_eq!(journal.get(&generation), shortened);
        assert_eq!((shortened.known_len(), shortened.checkpoint, shortened.horizon), (20, 10, None));
        assert_eq!(shortened.file, Some(identity));
        assert_eq!(shortened.arrived(&generation, 20), Timestamp::from_unix_ms(20_000));
        // Bytes that replace the lost ones have their own arrival.
        journal.mark(generation, 25, Timestamp::from_unix_ms(40_000));
        assert_eq!(journal.get(&generation).arrived(&generation, 30), Timestamp::from_unix_ms(40_000));
    }
}
