//! Whether the machine was started again, and what is left to be known of a file whose end a power loss took.

use store::GenerationId;

use super::Journal;
use super::entry::Entry;
use super::record::Record;
use crate::disk::Disk;

/// The machine's starts, by the ids that it gives them.
#[derive(Debug)]
pub(super) struct Boot {
    /// The one that the journal knows.
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
    /// Whether the machine may have been started again, and may have lost power, since the last
    /// [note](Journal::note_boot) of it before this process.
    #[must_use]
    pub fn has_rebooted(&self) -> bool {
        self.boot.has_changed
    }

    /// Notes that every file was looked at since the machine was started: what is shorter than it was known to be from now
    /// on was cut.
    pub fn note_boot(&mut self) {
        if let Some(id) = self.boot.now.clone().filter(|now| self.boot.noted.as_ref() != Some(now)) {
            self.boot.noted = Some(id.clone());
            self.push(Record::Boot { id });
        }
    }

    /// Forgets what was known of a file's bytes from `len` on: they are lost, and others will stand there. Where lines that
    /// come rely on it, it is to be [synced](Journal::sync) before.
    pub fn shorten(&mut self, generation: GenerationId, len: u64) {
        let Some(entry) = self.entries.get_mut(&generation) else { return };
        entry.shorten(len);
        // Records only add to what is known, and an interrupted write keeps the first of them: it is rewritten as a whole.
        self.unwritten.clear();
        self.has_unwritten_marks = false;
        self.is_suspect = true;
    }
}

impl Entry {
    /// As [`Journal::shorten`].
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
    fn a_reboot_is_known_until_it_is_noted() {
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
    fn what_was_known_of_a_lost_end_is_forgotten_for_good() {
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
        assert!(!std::fs::read(&path).unwrap().starts_with(&before), "half of it may be appended");
        let shortened = journal.get(&generation);
        drop(journal);
        let mut journal = Journal::open(RealDisk, dir.path()).unwrap();
        assert_eq!(journal.get(&generation), shortened);
        assert_eq!((shortened.known_len(), shortened.checkpoint, shortened.horizon), (20, 10, None));
        assert_eq!(shortened.file, Some(identity));
        assert_eq!(shortened.arrived(&generation, 20), Timestamp::from_unix_ms(20_000));
        // Bytes that come in place of the lost ones have an arrival of their own.
        journal.mark(generation, 25, Timestamp::from_unix_ms(40_000));
        assert_eq!(journal.get(&generation).arrived(&generation, 30), Timestamp::from_unix_ms(40_000));
    }
}
