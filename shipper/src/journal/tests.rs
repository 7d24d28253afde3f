//! Tests the journal on a real disk.

use proptest::prelude::*;

use super::*;
use crate::disk::RealDisk;

fn generation(number: u64) -> GenerationId {
    GenerationId::new(number, &[0; 10])
}

#[test]
fn state_survives_a_restart() {
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
fn a_torn_end_is_removed_and_kept_aside() {
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
fn all_records_after_a_hole_of_zeros_count() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(RealDisk, dir.path()).unwrap();
    for number in 1..5 {
        journal.checkpoint(generation(number), number);
    }
    journal.write().unwrap();
    let path = dir.path().join(NAME);
    let mut bytes = std::fs::read(&path).unwrap();
    let ends: Vec<_> = memchr::memchr_iter(b'\n', &bytes).collect();
    // The records before the first checkpoint describe the journal itself.
    let ends = &ends[ends.len() - 5..];
    bytes[ends[1] - 20..ends[2] - 20].fill(0);
    let tail = &b"torn"[..];
    std::fs::write(&path, [&bytes[..], tail].concat()).unwrap();
    for _ in 0..2 {
        let mut journal = Journal::open(RealDisk, dir.path()).unwrap();
        let checkpoints = [1, 2, 3, 4].map(|number| journal.get(&generation(number)).checkpoint);
        assert_eq!(checkpoints, [0, 0, 3, 4]);
        journal.write().unwrap();
    }
    let kept = |number: u32| std::fs::read(dir.path().join(format!("journal.torn-{number}"))).unwrap();
    assert_eq!((kept(1), kept(2)), (bytes[ends[0] + 1..=ends[2]].to_vec(), tail.to_vec()));
    assert!(!dir.path().join("journal.torn-3").exists(), "it was rewritten");
}

#[test]
fn a_modified_record_before_valid_ones_is_rejected() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(RealDisk, dir.path()).unwrap();
    for number in 1..4 {
        journal.checkpoint(generation(number), number);
    }
    journal.write().unwrap();
    let path = dir.path().join(NAME);
    let good = std::fs::read(&path).unwrap();
    let last = memchr::memrchr(b'\n', &good[..good.len() - 1]).unwrap() + 1;
    // Except the newline before the last one: without it the end could be torn.
    for place in 0..last - 1 {
        let mut bytes = good.clone();
        bytes[place] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        let error = Journal::open(RealDisk, dir.path()).unwrap_err();
        assert!(matches!(error, JournalError::Damaged { .. }), "{place}: {error}");
        assert_eq!(std::fs::read(&path).unwrap(), bytes, "it is unchanged");
        assert!(entries(&RealDisk, dir.path()).is_err());
    }
    assert!(!dir.path().join("journal.torn-1").exists());
}

#[test]
fn a_newer_journal_is_rejected() {
    let dir = tempfile::tempdir().unwrap();
    let mut bytes = Vec::new();
    Record::Journal { version: VERSION + 1 }.encode(&mut bytes);
    std::fs::write(dir.path().join(NAME), bytes).unwrap();
    let error = Journal::open(RealDisk, dir.path()).unwrap_err();
    assert!(matches!(error, JournalError::Newer { .. }), "{error}");
}

#[test]
fn it_is_compacted_before_it_grows_without_limit() {
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
fn a_mark_without_new_information_is_not_written() {
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

#[test]
fn marks_are_limited_and_never_change() {
    const DAYS: i64 = 90;
    let dir = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(RealDisk, dir.path()).unwrap();
    let born = i64::try_from(generation(1).created_unix_ms()).unwrap();
    let mut marked = Vec::new();
    // A line every ten seconds, and a store that accepts none.
    for place in 0..DAYS * 8_640 {
        let (offset, at) = (u64::try_from(place).unwrap() * 100, born + place * 10_000);
        journal.mark(generation(1), offset, Timestamp::from_unix_ms(at));
        if place % 1_009 == 0 {
            let entry = journal.get(&generation(1));
            marked.push((offset, at, entry.arrived(&generation(1), offset)));
        }
        if place % 50_000 == 0 {
            journal.write().unwrap();
        }
    }
    journal.rewrite().unwrap();
    let len = std::fs::metadata(dir.path().join(NAME)).unwrap().len();
    assert!(len < 1024 * 1024, "{len} bytes");
    journal = Journal::open(RealDisk, dir.path()).unwrap();
    let entry = journal.get(&generation(1));
    for (offset, at, arrived) in marked {
        assert_eq!(entry.arrived(&generation(1), offset), arrived, "the arrival must not change");
        let late_ms = at - arrived.unix_ms();
        // The precision decreases with the age of the oldest pending line.
        assert!(late_ms <= 20_000.max((at - born) / 50), "{late_ms} ms of {}", at - born);
    }
    // Progress of the checkpoint makes room for close marks.
    let end = u64::try_from(DAYS).unwrap() * 864_000;
    journal.checkpoint(generation(1), end);
    for second in 0..100 {
        let at = Timestamp::from_unix_ms(born + DAYS * 86_400_000 + second * 1_000);
        let offset = end + u64::try_from(second).unwrap();
        journal.mark(generation(1), offset, at);
        assert_eq!(journal.get(&generation(1)).arrived(&generation(1), offset), at);
    }
}

#[test]
fn a_checkpoint_never_moves_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(RealDisk, dir.path()).unwrap();
    journal.checkpoint(generation(1), 500);
    journal.checkpoint(generation(1), 300);
    assert_eq!(journal.get(&generation(1)).checkpoint, 500);
    journal.sync().unwrap();
    assert_eq!(Journal::open(RealDisk, dir.path()).unwrap().get(&generation(1)).checkpoint, 500);
}

#[test]
fn a_compacted_journal_has_the_same_state() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(RealDisk, dir.path()).unwrap();
    journal.checkpoint(generation(1), 500);
    journal.horizon(generation(1), 700);
    journal.mark(generation(1), 600, Timestamp::from_unix_ms(8_000));
    journal.rewrite().unwrap();
    let entry = journal.get(&generation(1));
    assert_eq!(entry.horizon, Some(700));
    assert_eq!(Journal::open(RealDisk, dir.path()).unwrap().get(&generation(1)), entry);
}

#[test]
fn a_rewrite_contains_what_exceeded_the_memory_limit() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(RealDisk, dir.path()).unwrap();
    journal.checkpoint(generation(1), 500);
    let mut bytes = 0;
    for offset in 0.. {
        journal.checkpoint(generation(2), offset);
        bytes += 80;
        if bytes > 2 * UNWRITTEN_MAX_BYTES {
            break;
        }
    }
    journal.sync().unwrap();
    assert_eq!(Journal::open(RealDisk, dir.path()).unwrap().get(&generation(1)).checkpoint, 500);
}

proptest! {
    #[test]
    fn any_bytes_open(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(NAME), bytes).unwrap();
        prop_assert!(Journal::open(RealDisk, dir.path()).is_ok());
    }
}
