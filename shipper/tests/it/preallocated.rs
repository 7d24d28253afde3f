//! Files allocated before they are written, as by memory-mapped appenders.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;

use rustix::process::Signal;

use crate::program::{Place, Running, start, until};

/// A file of zeros, and how far it was written.
struct Allocated {
    file: File,
    written: u64,
    lines: usize,
}

impl Allocated {
    fn new(place: &Place, bytes: u64) -> Self {
        let file = File::create(place.path("a.log")).unwrap();
        file.set_len(bytes).unwrap();
        Self { file, written: 0, lines: 0 }
    }

    /// Writes a line in two parts, after the previous one.
    fn write(&mut self, newline: &[u8]) {
        let line = format!("line {}", self.lines);
        for part in [line.as_bytes(), newline] {
            self.file.write_all_at(part, self.written).unwrap();
            self.written += part.len() as u64;
            std::thread::yield_now();
        }
        self.lines += 1;
    }

    fn wanted(&self) -> Vec<String> {
        (0..self.lines).map(|line| format!("line {line}")).collect()
    }
}

fn follow(place: &Place, pattern: &str) -> Running {
    start(place, place.ship(&["run", "--file", pattern, "--scan-interval-ms", "20"]))
}

#[test]
fn each_line_written_over_zeros_is_stored_once() {
    for (pattern, bytes) in [("a.log", 512), ("a.log*", 300_000), ("a.log", 3_000_000)] {
        let place = Place::new();
        let mut file = Allocated::new(&place, bytes);
        let mut shipper = follow(&place, pattern);
        for round in 0..20 {
            file.write(b"\n");
            if round % 3 == 0 {
                until("the line is stored", || {
                    (place.path("logs.db").exists() && place.stored() == file.wanted()).then_some(())
                });
            }
            if round == 10 {
                shipper.kill();
                shipper = follow(&place, pattern);
            }
        }
        until("all lines are stored", || (place.stored() == file.wanted()).then_some(()));
        // Closing such a file truncates the rest.
        file.file.set_len(file.written).unwrap();
        file.write(b"\n");
        until("the last line is stored", || (place.stored() == file.wanted()).then_some(()));
        shipper.signal(Signal::TERM);
        assert_eq!(shipper.code(), 0, "{}", shipper.stderr());
        let verify = place.ship(&["verify"]).output().unwrap();
        assert_eq!(verify.status.code(), Some(0), "{}", String::from_utf8_lossy(&verify.stdout));
        assert!(!shipper.stderr().contains("truncated"), "{}", shipper.stderr());
    }
}

#[test]
fn a_file_is_read_up_to_trailing_zeros_and_the_shipper_ends() {
    let place = Place::new();
    fs::write(place.path("a.log"), [b"one\ntwo\n".as_slice(), &[0; 5_000]].concat()).unwrap();
    fs::write(place.path("zeros.log"), [0; 5_000]).unwrap();
    let (code, printed) = crate::program::finish(&place, place.ship(&["run", "--file", "*.log", "--until-idle"]));
    assert_eq!((code, place.stored()), (0, vec!["one".to_owned(), "two".to_owned()]), "{printed}");
}

#[test]
fn utf_16_text_keeps_its_last_zero() {
    let place = Place::new();
    let text: Vec<u8> = "\u{feff}one\ntwo\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    fs::write(place.path("a.log"), &text).unwrap();
    let (code, printed) = crate::program::finish(&place, place.ship(&["run", "--file", "a.log", "--until-idle"]));
    assert_eq!((code, place.stored()), (0, vec!["one".to_owned(), "two".to_owned()]), "{printed}");
}
