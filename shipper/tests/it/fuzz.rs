//! Runs the fuzz targets with proptest: each input of the corpus, and inputs derived from it by cutting, joining and
//! changing bytes. `fuzz/` has the same targets for libFuzzer, and the corpus.

use std::path::Path;

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestRunner};

#[path = "../../../fuzz/targets.rs"]
mod targets;

/// Number of inputs generated for each target.
const CASES: u32 = 2_000;

/// A change of an input.
#[derive(Clone, Debug)]
enum Change {
    Set(Index, u8),
    Insert(Index, Vec<u8>),
    Cut(Index, Index),
    Join(Index, Index),
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let pieces = prop_oneof![
        proptest::collection::vec(any::<u8>(), 1..6),
        proptest::sample::select(vec![
            &b"\""[..],
            b"\\",
            b"\\u",
            b"\\ud800",
            b"{",
            b"}",
            b"[",
            b"]",
            b"\n",
            b"\0",
            b":",
            b",",
            b"1e999",
            b"null",
            b"\"origin\":1,",
            b"\"_id\":1,",
            b"\"status\":201",
            b"\xff",
            b"-",
            b"NOT ",
            b" OR ",
            b"..",
            b">=",
            b"order.id:",
            b"tries:",
            b"due:",
        ])
        .prop_map(<[u8]>::to_vec),
    ];
    let change = prop_oneof![
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Change::Set(at, byte)),
        (any::<Index>(), pieces).prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        (any::<Index>(), any::<Index>()).prop_map(|(from, to)| Change::Cut(from, to)),
        (any::<Index>(), any::<Index>()).prop_map(|(which, at)| Change::Join(which, at)),
    ];
    proptest::collection::vec(change, 0..8)
}

fn changed(mut input: Vec<u8>, corpus: &[Vec<u8>], changes: &[Change]) -> Vec<u8> {
    for change in changes {
        let places = input.len() + 1;
        match change {
            Change::Set(at, byte) if !input.is_empty() => {
                let at = at.index(input.len());
                input[at] = *byte;
            }
            Change::Set(..) => {}
            Change::Insert(at, bytes) => {
                let at = at.index(places);
                input.splice(at..at, bytes.iter().copied());
            }
            Change::Cut(from, to) => {
                let (from, to) = (from.index(places), to.index(places));
                input.drain(from.min(to)..from.max(to));
            }
            Change::Join(which, at) => {
                let other = which.get(corpus);
                input.truncate(at.index(places));
                input.extend_from_slice(&other[at.index(other.len() + 1)..]);
            }
        }
    }
    input
}

fn holds(name: &str) {
    let (_, target) = targets::TARGETS.iter().find(|(found, _)| *found == name).unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(name);
    let files = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    paths.sort();
    let corpus: Vec<_> = paths.iter().map(|path| std::fs::read(path).unwrap()).collect();
    assert!(!corpus.is_empty());
    corpus.iter().for_each(|input| target(input));
    let mut runner = TestRunner::new(Config { cases: CASES, failure_persistence: None, ..Config::default() });
    let inputs = (any::<Index>(), changes());
    let outcome = runner.run(&inputs, |(which, changes)| {
        target(&changed(which.get(&corpus).clone(), &corpus, &changes));
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{name}: {error}"));
}

#[test]
fn lines_are_read_completely() {
    holds("line_reader");
}

#[test]
fn records_are_distinguished_from_other_lines() {
    holds("record_check");
}

#[test]
fn bulk_answers_are_read_as_far_as_they_are_valid() {
    holds("bulk_answer");
}

#[test]
fn journals_with_any_content_can_be_opened() {
    holds("journal");
}

#[test]
fn configurations_are_rejected_or_valid() {
    holds("config");
}

#[test]
fn queries_are_rejected_or_round_trip() {
    holds("query");
}
