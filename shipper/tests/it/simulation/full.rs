//! A full disk, step by step: what it leaves behind, and what frees space.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use shipper::clock::ClockReading;
use shipper::encoding::LineEncoding;
use shipper::files::{FileEvent, FileSettings, Files, ReadFrom, Reading};
use shipper::journal::{Journal, Trail};
use shipper::ledger::Ledger;
use shipper::sources::FileFormat;
use shipper::spool::{Appended, OnFull, Spool, SpoolSettings, Writer};
use shipper::sync::RankedMutex;
use store::{GenerationId, Timestamp};

use super::STATE;
use super::disk::{Faults, SimDisk};
use super::random::Random;

const LINE: &[u8] = b"a line of some length\n";

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_unix_ms(seconds * 1_000)
}

fn disk() -> SimDisk {
    SimDisk::new(Random::new(1), &[STATE])
}

fn journal(disk: &SimDisk) -> Journal<SimDisk> {
    Journal::open(disk.clone(), Path::new(STATE)).unwrap()
}

fn writer(disk: &SimDisk, on_full: OnFull) -> (Writer<SimDisk>, Arc<RankedMutex<Ledger>>) {
    let settings = SpoolSettings { max_bytes: 100_000, segment_bytes: 10_000, on_full };
    let ledger = Arc::new(RankedMutex::new(Ledger::default()));
    let mut random = Random::new(2);
    let (accounts, journal) = (Arc::clone(&ledger), Arc::new(RankedMutex::new(journal(disk))));
    let random = Box::new(move || random.next());
    let spool = Arc::new(Spool::open(disk.clone(), Path::new(STATE), settings, accounts, journal, random).unwrap());
    (spool.writer("stdout"), ledger)
}

fn take(writer: &mut Writer<SimDisk>, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match writer.append(bytes, at(1)).unwrap() {
            Appended::Accepted(count) => bytes = &bytes[count..],
            other => panic!("{other:?}"),
        }
    }
}

/// Otherwise the only segment could not be removed once all of it is stored. A line is not cut for that.
#[test]
fn a_writer_that_waits_ends_its_only_segment_at_a_line_s_end() {
    for (bytes, is_ended) in [(LINE, true), (&LINE[..5], false)] {
        let disk = disk();
        let (mut writer, ledger) = writer(&disk, OnFull::Wait);
        take(&mut writer, bytes);
        disk.stay_full();
        assert_eq!(writer.append(LINE, at(1)).unwrap(), Appended::Full);
        let generation = writer.spool().generations()[0];
        assert_eq!(ledger.lock().progress(&generation).unwrap().sealed, is_ended, "{bytes:?}");
    }
}

#[test]
fn input_without_room_in_an_empty_spool_is_dropped_by_whole_lines() {
    let disk = disk();
    let (mut writer, ledger) = writer(&disk, OnFull::DropOldest);
    disk.stay_full();
    assert_eq!(writer.append(&LINE[..5], at(1)).unwrap(), Appended::Dropped(5));
    // The end of the segment does not end a line, though there is space.
    disk.make_room();
    assert_eq!(writer.append(&[&LINE[5..], LINE].concat(), at(1)).unwrap(), Appended::Dropped(LINE.len() - 5));
    take(&mut writer, LINE);
    let counts = ledger.lock().snapshot();
    assert!(counts.is_balanced());
    assert_eq!((counts.read, counts.dropped, counts.pending), (2, 1, 1));
}

#[test]
fn a_segment_that_finds_no_room_for_its_name_is_full_and_one_that_fails_leaves_none() {
    let disk = disk();
    let (mut writer, _) = writer(&disk, OnFull::Wait);
    disk.stay_full();
    assert_eq!(writer.append(LINE, at(1)).unwrap(), Appended::Full);
    disk.make_room();
    disk.set_faults(Faults { sync: 1, ..Faults::default() });
    for _ in 0..10 {
        assert!(writer.append(LINE, at(1)).is_err());
    }
    assert_eq!(disk.files_under(&format!("{STATE}/spool/stdout")).len(), 0);
}

/// No line follows it, and no existing line waits for it.
#[test]
fn a_mark_without_room_is_not_noted() {
    let disk = disk();
    let generation = GenerationId::new(1, &[0; 10]);
    let mut journal = journal(&disk);
    journal.write_mark(generation, 10, at(10)).unwrap();
    disk.stay_full();
    assert!(journal.write_mark(generation, 20, at(20)).is_err());
    journal.checkpoint(generation, 5);
    journal.sync_marks().unwrap();
    disk.make_room();
    journal.write_mark(generation, 20, at(30)).unwrap();
    assert_eq!(journal.get(&generation).arrived(&generation, 20), at(30));
    drop(journal);
    let journal = self::journal(&disk);
    assert_eq!(journal.get(&generation).arrived(&generation, 20), at(30));
    assert_eq!(journal.get(&generation).checkpoint, 5);
}

#[test]
fn journal_records_kept_while_the_disk_is_full_are_bounded() {
    let disk = disk();
    let generation = GenerationId::new(1, &[0; 10]);
    let mut journal = journal(&disk);
    disk.stay_full();
    for offset in 1..=50_000 {
        journal.checkpoint(generation, offset);
        assert!(journal.write().is_err());
    }
    disk.make_room();
    journal.sync().unwrap();
    assert!(disk.bytes_of(&format!("{STATE}/journal")).len() < 1_000);
    drop(journal);
    assert_eq!(self::journal(&disk).get(&generation).checkpoint, 50_000);
}

/// The files of a disk, as a process follows them.
fn files(disk: &SimDisk, pattern: &str) -> Files<SimDisk> {
    let settings = FileSettings {
        encoding: LineEncoding::default(),
        patterns: vec![pattern.to_owned()],
        scan_interval: Duration::from_secs(1),
        until_idle: false,
        state_dir: STATE.into(),
        format: FileFormat::Lines,
        exclude: Vec::new(),
        max_open_files: 10,
        read_from: ReadFrom::Beginning,
        ignore_older: None,
        read_compressed: false,
    };
    let mut random = Random::new(2);
    Files::new(disk.clone(), settings, Arc::new(RankedMutex::new(journal(disk))), Box::new(move || random.next()))
}

/// Number of files that a look opens, if all files are read to `read_to`; `None` if the look fails.
fn opened(files: &mut Files<SimDisk>, seconds: i64, read_to: Option<u64>) -> Option<usize> {
    let now = ClockReading { wall: at(seconds), elapsed: Duration::from_secs(seconds.try_into().unwrap()) };
    let trail = Trail::default();
    let events = files.poll(now, &|_| read_to.map(|read_to| Reading { read_to, checkpoint: 0, trail: &trail }));
    let is_opened = |event: &&FileEvent<_>| matches!(event, FileEvent::Opened { .. });
    events.map(|events| events.iter().filter(is_opened).count()).ok()
}

/// The files of a disk, as a process follows them.
#[test]
fn findings_on_a_full_disk_are_reported_before_the_next_look() {
    let disk = SimDisk::new(Random::new(1), &[STATE, "/logs"]);
    let pattern = "/logs/*.log";
    disk.put("/logs/a.log", LINE);
    assert_eq!(opened(&mut files(&disk, pattern), 0, None), Some(1));
    disk.put_rename("/logs/a.log", "/logs/a.log.1");
    let mut files = files(&disk, pattern);
    disk.set_full(true);
    for seconds in 1..100 {
        assert_eq!(opened(&mut files, seconds, None), None);
    }
    disk.set_full(false);
    assert_eq!(opened(&mut files, 100, None), Some(1));
    // All of it was read, and no line has its outcome yet.
    let read_to = Some(LINE.len() as u64);
    assert_eq!(opened(&mut files, 101, read_to), Some(0));
    disk.put("/logs/a.log.1", LINE);
    for seconds in 102..200 {
        assert_eq!(opened(&mut files, seconds, read_to), Some(0), "at {seconds}");
    }
}

#[test]
fn a_copy_that_was_found_on_a_full_disk_is_not_read_again() {
    let disk = SimDisk::new(Random::new(1), &[STATE, "/logs"]);
    let mut files = files(&disk, "/logs/*.log*");
    let lines = LINE.repeat(100);
    disk.put("/logs/a.log", &lines);
    assert_eq!(opened(&mut files, 0, None), Some(1));
    let read_to = Some(lines.len() as u64);
    assert_eq!(opened(&mut files, 1, read_to), Some(0));
    // The last line was written, and read, after the copy was made.
    disk.put_copy("/logs/a.log", "/logs/a.log.1");
    disk.put_shorter("/logs/a.log.1", lines.len() - LINE.len());
    disk.put_cut("/logs/a.log");
    disk.set_full(true);
    for seconds in 2..100 {
        assert_eq!(opened(&mut files, seconds, read_to), None);
    }
    disk.set_full(false);
    // The next life of the file.
    assert_eq!(opened(&mut files, 100, read_to), Some(1));
    for seconds in 101..200 {
        assert_eq!(opened(&mut files, seconds, None), Some(0), "at {seconds}");
    }
}
