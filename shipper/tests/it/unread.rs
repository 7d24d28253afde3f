//! What the patterns name and is not read: the real program says so, ends with a code of its own, and `verify` calls
//! nothing proven.

use std::fs;
use std::io::Write as _;

use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::program::{Place, run};

const SHIP: [&str; 4] = ["run", "--file", "*.log*", "--until-idle"];

#[test]
fn a_file_that_is_not_read_is_named_and_keeps_verify_from_a_proof() {
    let place = Place::new();
    fs::write(place.path("good.log"), "one\n").unwrap();
    mknodat(CWD, place.path("pipe.log"), FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    let (code, text) = run(&place, &SHIP);
    assert_eq!(code, 16, "{text}");
    assert!(text.contains("1 files that the patterns name are not read: pipe.log (type)"), "{text}");
    assert_eq!(place.stored(), ["one"]);
    let (code, text) = run(&place, &["verify"]);
    assert!(code == 1 && text.contains("NOT PROVEN") && text.contains("pipe.log (type)"), "{text}");
    fs::remove_file(place.path("pipe.log")).unwrap();
    assert_eq!(run(&place, &SHIP).0, 0);
    let (code, text) = run(&place, &["verify"]);
    assert!(code == 0 && text.contains("proven"), "{text}");
}

#[test]
fn patterns_that_match_nothing_or_a_folder_are_no_success() {
    let place = Place::new();
    let (code, text) = run(&place, &SHIP);
    assert!(code == 15 && text.contains("--allow-empty"), "{text}");
    assert_eq!(run(&place, &[&SHIP[..], &["--allow-empty"]].concat()).0, 0);
    fs::create_dir(place.path("folder")).unwrap();
    let (code, text) = run(&place, &["run", "--file", "folder", "--until-idle"]);
    assert!(code == 15 && text.contains("names a folder"), "{text}");
}

#[test]
fn compressed_files_are_left_alone_whatever_they_are_called() {
    let place = Place::new();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(b"packed\n").unwrap();
    fs::write(place.path("app.log.1"), gzip.finish().unwrap()).unwrap();
    fs::write(place.path("app.log"), "plain\n").unwrap();
    let (code, text) = run(&place, &SHIP);
    assert!(code == 0 && text.contains("1 compressed files were left alone"), "{text}");
    assert_eq!(place.stored(), ["plain"]);
    fs::write(place.path("b.log"), "excluded\n").unwrap();
    assert_eq!(run(&place, &[&SHIP[..], &["--exclude", "b*"]].concat()).0, 0);
    assert_eq!(place.stored(), ["plain"]);
}

#[test]
fn a_first_start_at_the_end_reads_what_is_added() {
    let place = Place::new();
    fs::write(place.path("old.log"), "history\n").unwrap();
    let from_end = [&SHIP[..], &["--read-from", "end"]].concat();
    assert_eq!(run(&place, &from_end).0, 0);
    assert_eq!(place.stored(), [""; 0]);
    let mut old = fs::OpenOptions::new().append(true).open(place.path("old.log")).unwrap();
    old.write_all(b"added\n").unwrap();
    fs::write(place.path("new.log"), "whole\n").unwrap();
    assert_eq!(run(&place, &from_end).0, 0);
    let mut stored = place.stored();
    stored.sort();
    assert_eq!(stored, ["added", "whole"]);
    let (code, text) = run(&place, &["verify"]);
    assert_eq!(code, 0, "{text}");
}
