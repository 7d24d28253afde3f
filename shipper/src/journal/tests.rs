//! The journal on a real disk.

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
    Record::Journal { version: VERSION + 1 }.encode(&mut bytes);
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

#[test]
fn a_mark_that_says_nothing_new_is_not_written() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(RealDisk, dir.path()).unwrap();
    journal.write_mark(generation(1), 400, Timestamp::from_unix_ms(7_000)).unwrap();
    let len = journal.len;
    for seconds in 8..1_000 {
        journal.write_mark(generation(1), 400, Timestamp::from_unix_ms(seconds * 1_000)).unwrap();
    }
    assert_eq!(journal.len, len);
    assert_eq!(journal.get(&generation(1)).arrived(&generation(1), 400), Timestamp::from_unix_ms(7_000));
}

proptest! {
    #[test]
    fn any_bytes_open(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(NAME), bytes).unwrap();
        prop_assert!(Journal::open(RealDisk, dir.path()).is_ok());
    }
}
