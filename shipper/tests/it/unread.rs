//! Matching files that are not read: they are reported, with their own exit code, and `verify` fails.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::program::{Place, finish, run};

const SHIP: [&str; 4] = ["run", "--file", "*.log*", "--until-idle"];

#[test]
fn an_unread_file_is_reported_and_verify_fails() {
    let place = Place::new();
    fs::write(place.path("good.log"), "one\n").unwrap();
    mknodat(CWD, place.path("pipe.log"), FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    let (code, text) = run(&place, &SHIP);
    assert_eq!(code, 16, "{text}");
    assert!(text.contains("1 matching files are not read: pipe.log (type)"), "{text}");
    assert_eq!(place.stored(), ["one"]);
    let (code, text) = run(&place, &["verify"]);
    assert!(code == 1 && text.contains("NOT VERIFIED") && text.contains("pipe.log (type)"), "{text}");
    fs::remove_file(place.path("pipe.log")).unwrap();
    assert_eq!(run(&place, &SHIP).0, 0);
    let (code, text) = run(&place, &["verify"]);
    assert!(code == 0 && text.contains("verified"), "{text}");
}

/// Runs the program without root's permission to read everything.
fn run_as_others(place: &Place, arguments: &[&str]) -> (i32, String) {
    let command = place.ship(arguments);
    if !rustix::process::geteuid().is_root() {
        return finish(place, command);
    }
    let mut without = Command::new("setpriv");
    without.arg("--bounding-set=-dac_override,-dac_read_search").arg(command.get_program()).args(command.get_args());
    without.current_dir(&place.folder).env("SHIPPER_TO", "sqlite:logs.db");
    finish(place, without)
}

/// Data that an earlier run read may be in an inaccessible file, which does not delay the exit forever.
#[test]
fn an_unreadable_file_of_an_earlier_run_does_not_block_until_idle() {
    let obstruct: [fn(&Path); 2] = [
        |path| {
            fs::remove_file(path).unwrap();
            mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        },
        |path| fs::set_permissions(path, fs::Permissions::from_mode(0o000)).unwrap(),
    ];
    for obstruct in obstruct {
        let place = Place::new();
        fs::write(place.path("app.log"), "one\n").unwrap();
        assert_eq!(run_as_others(&place, &SHIP).0, 0);
        obstruct(&place.path("app.log"));
        fs::write(place.path("other.log"), "other\n").unwrap();
        let (code, text) = run_as_others(&place, &SHIP);
        assert!(code == 16 && text.contains("app.log ("), "{text}");
        assert_eq!(place.stored(), ["one", "other"], "{text}");
    }
}

#[test]
fn an_unreadable_folder_hides_no_file_in_another() {
    let place = Place::new();
    for folder in ["open", "private"] {
        fs::create_dir(place.path(folder)).unwrap();
        fs::write(place.path(folder).join("app.log"), format!("{folder}\n")).unwrap();
    }
    fs::set_permissions(place.path("private"), fs::Permissions::from_mode(0o000)).unwrap();
    for pattern in ["*/*.log", "**/app.log", "*/app.log"] {
        let (code, text) = run_as_others(&place, &["run", "--file", pattern, "--until-idle"]);
        assert!(code == 16 && text.contains("private") && text.contains("(permission)"), "{text}");
        assert_eq!(place.stored(), ["open"], "{text}");
    }
    fs::set_permissions(place.path("private"), fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(run_as_others(&place, &["run", "--file", "*/*.log", "--until-idle"]).0, 0);
    assert_eq!(place.stored(), ["open", "private"]);
}

#[test]
fn patterns_that_match_nothing_or_a_folder_fail() {
    let place = Place::new();
    let (code, text) = run(&place, &SHIP);
    assert!(code == 15 && text.contains("--allow-empty"), "{text}");
    assert_eq!(run(&place, &[&SHIP[..], &["--allow-empty"]].concat()).0, 0);
    fs::create_dir(place.path("folder")).unwrap();
    let (code, text) = run(&place, &["run", "--file", "folder", "--until-idle"]);
    assert!(code == 15 && text.contains("matches a folder"), "{text}");
}

#[test]
fn compressed_files_are_ignored_by_any_name() {
    let place = Place::new();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(b"packed\n").unwrap();
    fs::write(place.path("app.log.1"), gzip.finish().unwrap()).unwrap();
    fs::write(place.path("app.log"), "plain\n").unwrap();
    let (code, text) = run(&place, &SHIP);
    assert!(code == 0 && text.contains("1 compressed files were ignored"), "{text}");
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

/// There was nothing at the first start, so nothing is skipped.
#[test]
fn a_file_that_appears_after_an_empty_first_start_is_read_completely() {
    let from_end = [&SHIP[..], &["--read-from", "end", "--allow-empty"]].concat();
    let place = Place::new();
    assert_eq!(run(&place, &from_end).0, 0);
    fs::write(place.path("app.log"), "first\n").unwrap();
    assert_eq!(run(&place, &from_end).0, 0);
    assert_eq!(place.stored(), ["first"]);
}
