//! Compressed files with the real program: unread rests are found in them, and with `read_compressed` each is read once
//! and completely.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use flate2::Compression;
use flate2::write::GzEncoder;
use rustix::process::Signal;

use crate::identity::{ENDS, End, Follower, append, sorted, truncate};
use crate::program::{Place, run, until};

const SHIP: [&str; 5] = ["run", "--file", "*.log*", "--until-idle", "--read-compressed"];

const FOLLOW: [&str; 1] = ["--read-compressed"];

fn gzipped(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// Compresses a file like logrotate.
fn gzip(path: &Path) {
    assert!(Command::new("gzip").arg(path).status().unwrap().success());
}

/// Distinct lines that compress badly.
fn lines(count: u64) -> String {
    let word = |number: u64| number.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23);
    (0..count).map(|number| format!("{number} {:016x}{:016x}\n", word(number), word(number ^ 0xffff))).collect()
}

/// The messages in the store, sorted.
fn exported(place: &Place) -> Vec<String> {
    let output = place.ship(&["export", "sqlite:logs.db"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let message = |line: &[u8]| {
        let line: serde_json::Value = serde_json::from_slice(line).unwrap();
        line["message"].as_str().unwrap().to_owned()
    };
    let lines = output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let mut messages: Vec<_> = lines.map(message).collect();
    messages.sort_unstable();
    messages
}

#[track_caller]
fn verify(place: &Place) {
    let (code, text) = run(place, &["verify"]);
    assert!(code == 0 && text.contains("verified"), "{text}");
}

#[test]
fn gzip_and_zstd_files_are_read_once_and_completely() {
    let place = Place::new();
    fs::write(place.path("a.log.1.gz"), [gzipped(b"gzip 1\ngzi"), gzipped(b"p 2\ngzip 3")].concat()).unwrap();
    fs::write(place.path("b.log.zst"), zstd::encode_all(&b"zstd 1\nzstd 2\n"[..], 3).unwrap()).unwrap();
    fs::write(place.path("c.log"), "plain\n").unwrap();
    fs::write(place.path("d.log.gz"), gzipped(b"")).unwrap();
    let wanted = ["gzip 1", "gzip 2", "gzip 3", "plain", "zstd 1", "zstd 2"];
    let (code, text) = run(&place, &SHIP);
    assert_eq!(code, 0, "{text}");
    assert_eq!(sorted(&place), wanted);
    fs::rename(place.path("a.log.1.gz"), place.path("a.log.2.gz")).unwrap();
    let (code, text) = run(&place, &SHIP);
    assert_eq!(code, 0, "{text}");
    assert_eq!(sorted(&place), wanted);
    verify(&place);
    // Another member.
    let mut grown = fs::OpenOptions::new().append(true).open(place.path("a.log.2.gz")).unwrap();
    grown.write_all(&gzipped(b"\ngzip 4\n")).unwrap();
    let (code, text) = run(&place, &SHIP);
    assert_eq!(code, 0, "{text}");
    verify(&place);
    // Missing lines are sent from the compressed files.
    for entry in fs::read_dir(place.folder.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_string_lossy().starts_with("logs.db") {
            fs::remove_file(path).unwrap();
        }
    }
    assert_eq!(run(&place, &["verify"]).0, 1);
    let (code, text) = run(&place, &["verify", "--resend"]);
    assert_eq!(code, 0, "{text}");
    assert_eq!(sorted(&place), ["gzip 1", "gzip 2", "gzip 3", "gzip 4", "plain", "zstd 1", "zstd 2"]);
    verify(&place);
}

#[test]
fn damaged_and_incomplete_files_are_reported_and_read_once_repaired() {
    let place = Place::new();
    let content = lines(20_000);
    let mut damaged = gzipped(content.as_bytes());
    let len = damaged.len();
    damaged[len / 2] ^= 0x55;
    let whole = gzipped(b"whole\n");
    let mut large = zstd::Encoder::new(Vec::new(), 1).unwrap();
    large.window_log(27).unwrap();
    large.write_all(content.as_bytes()).unwrap();
    large.flush().unwrap();
    fs::write(place.path("a.log.gz"), &damaged).unwrap();
    fs::write(place.path("b.log.gz"), &whole[..whole.len() - 3]).unwrap();
    fs::write(place.path("c.log.zst"), large.finish().unwrap()).unwrap();
    fs::write(place.path("d.log"), "plain\n").unwrap();
    let (code, text) = run(&place, &SHIP);
    assert_eq!(code, 16, "{text}");
    assert!(text.contains("3 matching files are not read"), "{text}");
    for reason in ["a.log.gz (damaged)", "b.log.gz (damaged)", "c.log.zst (damaged)", "without --long"] {
        assert!(text.contains(reason), "{reason}: {text}");
    }
    assert_eq!(sorted(&place), ["plain"]);
    let (code, text) = run(&place, &["verify"]);
    assert!(code == 1 && text.contains("b.log.gz (damaged)"), "{text}");
    fs::remove_file(place.path("a.log.gz")).unwrap();
    fs::remove_file(place.path("c.log.zst")).unwrap();
    let follower = Follower::with_options(place, "*.log*", &FOLLOW);
    let is_unread = |count: u64| {
        let wanted = format!("\nshipper_files_unread{{reason=\"damaged\"}} {count}\n");
        move |follower: &Follower| follower.metrics().contains(&wanted).then_some(())
    };
    until("it is counted", || is_unread(1)(&follower));
    let named = |follower: &Follower| follower.shipper.stderr().matches("file not readable").count();
    until("the log names it", || (named(&follower) > 0).then_some(()));
    append_bytes(&follower.place.path("b.log.gz"), &whole[whole.len() - 3..]);
    follower.until_stored(&["plain", "whole"]);
    until("it is not unread any more", || is_unread(0)(&follower));
    assert_eq!(named(&follower), 1, "{}", follower.shipper.stderr());
    follower.end();
}

fn append_bytes(path: &Path, bytes: &[u8]) {
    fs::OpenOptions::new().append(true).open(path).unwrap().write_all(bytes).unwrap();
}

#[test]
fn the_unread_rest_of_a_file_is_read_from_its_compressed_copy() {
    for end in [End::Orderly, End::Kill] {
        for (pattern, is_cut) in [("app.log", false), ("app.log*", false), ("app.log", true), ("app.log*", true)] {
            let place = Place::new();
            let log = place.path("app.log");
            append(&log, "one, which is long enough to tell\n");
            let mut follower = Follower::new(place, pattern);
            follower.until_stored(&["one, which is long enough to tell"]);
            follower.while_away(end, |place| {
                append(&log, "two\n");
                if is_cut {
                    fs::copy(&log, place.path("app.log.1")).unwrap();
                    truncate(&log);
                } else {
                    fs::rename(&log, place.path("app.log.1")).unwrap();
                }
                gzip(&place.path("app.log.1"));
                fs::rename(place.path("app.log.1.gz"), place.path("app.log.2.gz")).unwrap();
                append(&log, "three\n");
            });
            follower.until_stored(&["one, which is long enough to tell", "two", "three"]);
            for loss in ["suspected_loss", "vanished"] {
                assert_eq!(follower.event(loss), 0.0, "{end:?} {pattern} {loss}: {}", follower.shipper.stderr());
            }
            follower.while_away(end, |_| append(&log, "four\n"));
            follower.until_stored(&["one, which is long enough to tell", "two", "three", "four"]);
            follower.end();
        }
    }
}

#[test]
fn an_unrelated_compressed_file_is_not_searched_for_a_rest() {
    const READ: &str = "one, which is long enough to tell\n";
    for content in ["another, which is long enough to tell\nsecret\n", "one, which is long enough to tell it\nsecret\n"]
    {
        let place = Place::new();
        let log = place.path("app.log");
        append(&log, READ);
        let mut follower = Follower::new(place, "app.log");
        follower.until_stored(&[READ.trim_end()]);
        follower.while_away(End::Orderly, |place| {
            fs::remove_file(&log).unwrap();
            fs::write(place.path("app.log.1.gz"), gzipped(content.as_bytes())).unwrap();
            append(&log, "next\n");
        });
        follower.until_stored(&[READ.trim_end(), "next"]);
        assert_eq!(follower.event("vanished"), 1.0);
        follower.end();
    }
}

#[test]
fn a_compressed_copy_of_a_read_file_is_not_read_again() {
    for end in ENDS {
        for is_cut in [false, true] {
            let place = Place::new();
            let log = place.path("app.log");
            append(&log, "one, which is long enough to tell\n");
            let mut follower = Follower::with_options(place, "app.log*", &FOLLOW);
            follower.until_stored(&["one, which is long enough to tell"]);
            // As with `delaycompress`: it gets a number first, and another one later.
            follower.while_away(end, |place| {
                if is_cut {
                    fs::copy(&log, place.path("app.log.1")).unwrap();
                    truncate(&log);
                } else {
                    fs::rename(&log, place.path("app.log.1")).unwrap();
                }
                append(&log, "two, which is long enough to tell\n");
            });
            follower.until_stored(&["one, which is long enough to tell", "two, which is long enough to tell"]);
            follower.while_away(end, |place| {
                append(&log, "three\n");
                gzip(&place.path("app.log.1"));
                fs::rename(place.path("app.log.1.gz"), place.path("app.log.2.gz")).unwrap();
                fs::rename(&log, place.path("app.log.1")).unwrap();
                append(&log, "four\n");
            });
            let mut wanted = vec!["one, which is long enough to tell", "two, which is long enough to tell"];
            wanted.extend(["three", "four"]);
            follower.until_stored(&wanted);
            // The unread rest is only in the compressed file.
            follower.while_away(if matches!(end, End::None) { End::Orderly } else { end }, |place| {
                append(&place.path("app.log.1"), "five\n");
                gzip(&place.path("app.log.1"));
                append(&log, "six\n");
            });
            wanted.extend(["five", "six"]);
            follower.until_stored(&wanted);
            let place = follower.end();
            let (code, text) = run(&place, &SHIP);
            assert_eq!(code, 0, "{text}");
            wanted.sort_unstable();
            assert_eq!(sorted(&place), wanted);
            verify(&place);
        }
    }
}

#[test]
fn a_large_compressed_file_is_continued_after_each_restart() {
    let place = Place::new();
    let content = lines(400_000);
    fs::write(place.path("app.log.1.gz"), gzipped(content.as_bytes())).unwrap();
    let mut wanted: Vec<_> = content.lines().collect();
    wanted.sort_unstable();
    let mut follower = Follower::with_options(place, "app.log*", &FOLLOW);
    for (end, name, renamed) in [
        (End::Kill, "app.log.1.gz", "app.log.1.gz"),
        (End::Orderly, "app.log.1.gz", "app.log.2.gz"),
        (End::Kill, "app.log.2.gz", "app.log.2.gz"),
    ] {
        until("some lines are stored", || {
            let text = follower.metrics();
            let stored = text.lines().find_map(|line| line.strip_prefix("shipper_lines_stored_total ")?.parse().ok());
            stored.is_some_and(|stored: f64| stored >= 20_000.0).then_some(())
        });
        follower.while_away(end, |place| {
            assert!(exported(place).len() < wanted.len(), "it is not in the middle");
            fs::rename(place.path(name), place.path(renamed)).unwrap();
        });
    }
    until("all is stored", || (exported(&follower.place).len() >= wanted.len()).then_some(()));
    let place = follower.end();
    assert!(exported(&place) == wanted, "other lines");
}

/// Number of bytes that a process has read.
fn bytes_read(follower: &Follower) -> u64 {
    let io = fs::read_to_string(format!("/proc/{}/io", follower.shipper.pid().as_raw_pid())).unwrap();
    io.lines().find_map(|line| line.strip_prefix("rchar: ")).unwrap().parse().unwrap()
}

#[test]
fn read_compressed_files_are_not_decoded_again_after_a_restart() {
    const FILES: u64 = 100;
    let place = Place::new();
    let content = lines(2_000);
    for number in 0..FILES {
        let content = format!("{number}\n{content}");
        fs::write(place.path(&format!("{number}.log.gz")), gzipped(content.as_bytes())).unwrap();
    }
    let all: u64 =
        fs::read_dir(place.folder.path()).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
    let mut follower = Follower::with_options(place, "*.log.gz", &FOLLOW);
    until("all are read", || {
        let text = follower.metrics();
        let count = format!("\nshipper_lines_stored_total {}\n", FILES * 2_001);
        (text.contains(&count) && text.contains("\nshipper_files_open 0\n")).then_some(())
    });
    assert!(bytes_read(&follower) > 2 * all, "they were measured, and then read");
    follower.while_away(End::Orderly, |_| {});
    until("all are known", || {
        let text = follower.metrics();
        text.contains(&format!("\nshipper_files_followed {FILES}\n")).then_some(())
    });
    let again = bytes_read(&follower);
    assert!(again < all / 5, "{again} of {all} bytes");
    follower.shipper.signal(Signal::TERM);
    assert_eq!(follower.shipper.code(), 0);
}

#[test]
fn compressed_copies_of_similar_files_do_not_delay_a_rest() {
    let banner = "banner ".repeat(300);
    let place = Place::new();
    for number in 1..=3 {
        let life = format!("{banner}\nof life {number}\n{}", lines(100));
        fs::write(place.path(&format!("app.log.{number}.gz")), gzipped(life.as_bytes())).unwrap();
    }
    let log = place.path("app.log");
    append(&log, &format!("{banner}\none\n"));
    let mut follower = Follower::new(place, "app.log*");
    follower.until_stored(&[&banner, "one"]);
    follower.while_away(End::Orderly, |place| {
        append(&log, "two\n");
        fs::copy(&log, place.path("app.log.4")).unwrap();
        truncate(&log);
        gzip(&place.path("app.log.4"));
        append(&log, "three\n");
    });
    follower.until_stored(&[&banner, "one", "two", "three"]);
    for loss in ["suspected_loss", "vanished"] {
        assert_eq!(follower.event(loss), 0.0, "{loss}: {}", follower.shipper.stderr());
    }
    follower.end();
}
