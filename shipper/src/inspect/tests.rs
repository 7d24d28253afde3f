//! Tests inspection and repair of state directories on the real disk.

use std::fs;

use super::*;
use crate::disk::RealDisk;
use crate::journal::Journal;

#[test]
fn damage_is_reported_and_moved_to_quarantine_and_nothing_is_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path();
    let generation = GenerationId::new(1, &[0; 10]);
    let mut journal = Journal::open(RealDisk, state).unwrap();
    journal.checkpoint(generation, 4);
    journal.sync().unwrap();
    let good = fs::read(state.join("journal")).unwrap();
    fs::write(state.join("journal"), [&good[..], b"torn"].concat()).unwrap();
    fs::create_dir_all(state.join("spool/stdin")).unwrap();
    let mut segment = b"one\ntwo\n".to_vec();
    segment.extend([0; 700]);
    fs::write(state.join(format!("spool/stdin/{generation}.log")), &segment).unwrap();
    fs::write(state.join("spool/stdin/notes.txt"), "mine").unwrap();
    fs::create_dir(state.join("dead-letters")).unwrap();
    let id = store::LineId { generation, offset: 0 };
    let letter = format!(
        "{{\"at\":\"x\",\"id\":\"{id}\",\"index\":\"i\",\"status\":400,\"reason\":\"r\",\"attempts\":1,\"length\":4,\
         \"document\":{{}}}}\n"
    );
    fs::write(state.join("dead-letters/00000000.ndjson"), format!("{letter}not one\n{letter}{{\"at\"")).unwrap();

    let found = check(&RealDisk, state, &|_| {}).unwrap();
    let seen: Vec<_> = found.flaws.iter().map(|flaw| (flaw.offset, flaw.bytes, flaw.remedy)).collect();
    let (at, len) = (good.len() as u64, letter.len() as u64);
    assert_eq!(
        seen,
        [
            (at, 4, Remedy::TakeOut),
            (8, 700, Remedy::Leave),
            (708, 0, Remedy::Leave),
            (0, 0, Remedy::MoveAway),
            (len, 8, Remedy::TakeOut),
            (2 * len + 8, 5, Remedy::TakeOut),
        ],
        "{found:#?}"
    );
    assert!(!found.is_sound());
    let state_of = SegmentState { generation, stream: "stdin".to_owned(), bytes: 708, checkpoint: 4 };
    assert_eq!((found.segments, found.dead_letters), (vec![state_of], 2));

    let found = check(&RealDisk, state, &|_| {}).unwrap();
    assert_eq!(repair(&RealDisk, state, &found).unwrap().len(), 3);
    let found = check(&RealDisk, state, &|_| {}).unwrap();
    assert!(found.is_sound(), "{found:#?}");
    assert_eq!(fs::read(state.join("journal")).unwrap(), good);
    assert_eq!(fs::read_to_string(state.join("dead-letters/00000000.ndjson")).unwrap(), letter.repeat(2));
    let kept: Vec<_> = fs::read_dir(state.join("quarantine")).unwrap().map(|entry| entry.unwrap().path()).collect();
    let mut kept: Vec<_> = kept.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    kept.sort();
    assert_eq!(kept, ["mine", "not one\n{\"at\"", "torn"]);
}

#[test]
fn unfinished_files_are_reported_and_moved_to_quarantine() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path();
    fs::create_dir(state.join("dead-letters")).unwrap();
    fs::create_dir(state.join("past")).unwrap();
    let leftovers = [
        "journal.new",
        "journal.torn-1",
        "dead-letters/discarded.new",
        "dead-letters/00000000.repaired",
        "past/00000000.repaired",
    ];
    for name in leftovers {
        fs::write(state.join(name), name).unwrap();
    }
    fs::write(state.join("dead-letters/discarded.ndjson"), "").unwrap();
    let found = check(&RealDisk, state, &|_| {}).unwrap();
    let named = |flaw: &Flaw| (flaw.path.strip_prefix(state).unwrap().to_str().unwrap().to_owned(), flaw.bytes);
    let mut named: Vec<_> = found.flaws.iter().map(named).collect();
    named.sort();
    let mut expected = leftovers.map(|name| (name.to_owned(), name.len() as u64));
    expected.sort();
    assert_eq!(named, expected);
    assert_eq!(repair(&RealDisk, state, &found).unwrap().len(), leftovers.len());
    assert_eq!(check(&RealDisk, state, &|_| {}).unwrap().flaws, []);
    assert!(state.join("dead-letters/discarded.ndjson").exists());
    for name in leftovers {
        let aside = state.join("quarantine").join(format!("{}.at-0.1", name.replace('/', "_")));
        assert_eq!(fs::read_to_string(aside).unwrap(), name);
    }
}

#[test]
fn a_directory_of_a_newer_version_is_rejected() {
    let dir = tempfile::tempdir().unwrap();
    let json = r#"{"journal":{"version":99}}"#;
    let record = format!("{:08x} {json}\n", crc32fast::hash(json.as_bytes()));
    fs::write(dir.path().join("journal"), record).unwrap();
    let error = check(&RealDisk, dir.path(), &|_| {}).unwrap_err();
    assert!(error.to_string().contains("version 99"), "{error}");
}
