//! Identifying files with the real program: copies and unrelated files, other content under an old name, links, and
//! more files than may be open.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;

use crate::program::{Place, Running, finish, free_address, get, run, start, until};
use crate::run::metric;

/// Number of files in the test of open files, and how many of them may be open.
const FILES: usize = 300;
const OPEN_FILES: usize = 20;

/// A shipper that follows a pattern, and can be restarted.
pub(crate) struct Follower {
    pub(crate) place: Place,
    admin: SocketAddr,
    pattern: &'static str,
    options: &'static [&'static str],
    pub(crate) shipper: Running,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum End {
    None,
    Orderly,
    Kill,
}

pub(crate) const ENDS: [End; 3] = [End::None, End::Orderly, End::Kill];

fn follow(place: &Place, admin: SocketAddr, pattern: &str, options: &[&str]) -> Running {
    let admin = admin.to_string();
    let run = ["run", "--file", pattern, "--scan-interval-ms", "50", "--admin-listen", &admin];
    start(place, place.ship(&[&run[..], options].concat()))
}

impl Follower {
    pub(crate) fn new(place: Place, pattern: &'static str) -> Self {
        Self::with_options(place, pattern, &[])
    }

    pub(crate) fn with_options(place: Place, pattern: &'static str, options: &'static [&'static str]) -> Self {
        let admin = free_address();
        let shipper = follow(&place, admin, pattern, options);
        Self { place, admin, pattern, options, shipper }
    }

    /// Stops it while `change` is made, or ends it before and starts it after.
    pub(crate) fn while_away(&mut self, end: End, change: impl FnOnce(&Place)) {
        match end {
            End::None => {}
            End::Orderly => {
                self.shipper.signal(Signal::TERM);
                assert_eq!(self.shipper.code(), 0, "{}", self.shipper.stderr());
            }
            End::Kill => self.shipper.kill(),
        }
        change(&self.place);
        if !matches!(end, End::None) {
            self.shipper = follow(&self.place, self.admin, self.pattern, self.options);
        }
    }

    /// Waits until the store holds these messages, sorted, and nothing else, and stays so.
    #[track_caller]
    pub(crate) fn until_stored(&self, wanted: &[&str]) {
        let mut wanted = wanted.to_vec();
        wanted.sort_unstable();
        let mut seen = Vec::new();
        until(&format!("{wanted:?} are stored"), || {
            seen = sorted(&self.place);
            assert!(seen.len() <= wanted.len(), "{seen:#?}\n{}", self.shipper.stderr());
            (seen == wanted).then_some(())
        });
    }

    pub(crate) fn event(&self, event: &str) -> f64 {
        metric(&get(self.admin, "/metrics").unwrap().1, &format!("shipper_files_total{{event=\"{event}\"}}"))
    }

    /// Ends it, and runs `verify`.
    #[track_caller]
    pub(crate) fn end(mut self) -> Place {
        self.shipper.signal(Signal::TERM);
        assert_eq!(self.shipper.code(), 0, "{}", self.shipper.stderr());
        let (code, printed) = run(&self.place, &["verify"]);
        assert_eq!(code, 0, "{printed}");
        self.place
    }

    /// The metrics; nothing while it does not respond.
    pub(crate) fn metrics(&self) -> String {
        get(self.admin, "/metrics").map_or(String::new(), |(_, text)| text)
    }
}

pub(crate) fn sorted(place: &Place) -> Vec<String> {
    let is_there = place.path("logs.db").exists();
    let mut stored = if is_there { place.stored() } else { Vec::new() };
    stored.sort();
    stored
}

pub(crate) fn append(path: &Path, text: &str) {
    OpenOptions::new().append(true).create(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

pub(crate) fn truncate(path: &Path) {
    OpenOptions::new().write(true).truncate(true).open(path).unwrap();
}

/// As logrotate does with `copytruncate`.
fn copy_and_truncate(place: &Place, copy: &str) {
    fs::copy(place.path("app.log"), place.path(copy)).unwrap();
    truncate(&place.path("app.log"));
}

/// A first line that is longer than a fingerprint.
fn banner() -> String {
    format!("banner {}\n", "x".repeat(1_100))
}

#[test]
fn lines_of_an_unrelated_file_are_never_read_as_the_rest_of_a_truncated_one() {
    const READ: &str = "started the nightly job\nfinished the nightly job\n";
    for end in ENDS {
        for stranger in ["admin-notes.txt", "app.txt", "app.log.notes", "app.log-own"] {
            let place = Place::new();
            let (log, notes) = (place.path("app.log"), place.path(stranger));
            fs::write(&notes, format!("{READ}secret\n")).unwrap();
            // A file written right before the last scan may be a copy made then.
            until("the notes are old", || {
                let age = fs::metadata(&notes).unwrap().modified().unwrap().elapsed().unwrap();
                (age > Duration::from_millis(2_200)).then_some(())
            });
            fs::write(&log, READ).unwrap();
            let mut follower = Follower::new(place, "app.log");
            follower.until_stored(&["started the nightly job", "finished the nightly job"]);
            follower.while_away(end, |_| {
                // None of this makes it a copy, if the file system records creation times.
                if fs::metadata(&notes).unwrap().created().is_ok() {
                    append(&notes, "another secret\n");
                    fs::set_permissions(&notes, fs::Permissions::from_mode(0o640)).unwrap();
                    fs::hard_link(&notes, notes.with_extension("link")).unwrap();
                }
                truncate(&log);
            });
            if matches!(end, End::None) {
                until("the truncation is noticed", || (follower.event("truncated") == 1.0).then_some(()));
                assert_eq!(follower.event("suspected_loss"), 1.0, "{stranger}");
            }
            append(&log, "next\n");
            follower.until_stored(&["started the nightly job", "finished the nightly job", "next"]);
            follower.end();
        }
    }
}

/// Another program's log, which a link makes look like a rotated copy.
#[test]
fn the_target_of_a_link_is_not_a_copy() {
    const READ: &str = "started the nightly job\nfinished the nightly job\n";
    let place = Place::new();
    let (log, other) = (place.path("app.log"), place.path("other"));
    fs::create_dir(&other).unwrap();
    std::os::unix::fs::symlink(other.join("job.log"), place.path("app.log.1")).unwrap();
    fs::write(&log, READ).unwrap();
    let mut follower = Follower::new(place, "app.log");
    follower.until_stored(&["started the nightly job", "finished the nightly job"]);
    follower.while_away(End::None, |_| {
        fs::write(other.join("job.log"), format!("{READ}secret\n")).unwrap();
        truncate(&log);
    });
    until("the truncation is noticed", || (follower.event("suspected_loss") == 1.0).then_some(()));
    append(&log, "next\n");
    follower.until_stored(&["started the nightly job", "finished the nightly job", "next"]);
    follower.end();
}

/// As logrotate does with `copytruncate` and `olddir`.
#[test]
fn the_rest_of_a_truncated_file_is_read_from_a_copy_in_a_subfolder() {
    for end in ENDS {
        let place = Place::new();
        let log = place.path("app.log");
        fs::create_dir(place.path("old")).unwrap();
        fs::write(&log, "a first line that is long enough to tell\n").unwrap();
        let mut follower = Follower::new(place, "app.log");
        follower.until_stored(&["a first line that is long enough to tell"]);
        follower.shipper.signal(Signal::STOP);
        append(&log, "unread\n");
        let change = |place: &Place| {
            fs::copy(place.path("app.log"), place.path("old/app.log.1")).unwrap();
            truncate(&place.path("app.log"));
            append(&place.path("app.log"), "next\n");
        };
        match end {
            End::None => {
                change(&follower.place);
                follower.shipper.signal(Signal::CONT);
            }
            _ => follower.while_away(End::Kill, change),
        }
        follower.until_stored(&["a first line that is long enough to tell", "unread", "next"]);
        assert_eq!((follower.event("copy"), follower.event("suspected_loss")), (1.0, 0.0), "{end:?}");
        follower.end();
    }
}

#[test]
fn a_matching_copy_is_read_from_the_offset_of_its_original() {
    for end in ENDS {
        let place = Place::new();
        let log = place.path("app.log");
        append(&log, "one, which is long enough to tell\n");
        let mut follower = Follower::new(place, "app.log*");
        follower.until_stored(&["one, which is long enough to tell"]);
        follower.while_away(end, |place| {
            append(&log, "two\n");
            copy_and_truncate(place, "app.log.1");
            append(&log, "three, which is long enough to tell\n");
        });
        let mut wanted = vec!["one, which is long enough to tell", "two", "three, which is long enough to tell"];
        follower.until_stored(&wanted);
        // Again, as soon as possible; the older copy is renamed.
        follower.while_away(end, |place| {
            append(&log, "four\n");
            fs::rename(place.path("app.log.1"), place.path("app.log.2")).unwrap();
            copy_and_truncate(place, "app.log.1");
            append(&log, "five\n");
        });
        wanted.extend(["four", "five"]);
        follower.until_stored(&wanted);
        // Before the truncation, and after it.
        follower.while_away(End::None, |place| {
            fs::copy(&log, place.path("app.log.copy")).unwrap();
        });
        append(&log, "six\n");
        wanted.push("six");
        follower.until_stored(&wanted);
        assert_eq!(follower.event("suspected_loss"), 0.0, "{end:?}");
        follower.end();
    }
}

#[test]
fn a_new_file_with_the_same_start_is_read_from_its_start() {
    let banner = banner();
    let first = banner.trim_end();
    for end in [End::Orderly, End::Kill] {
        for is_deleted in [false, true] {
            let place = Place::new();
            let log = place.path("app.log");
            fs::write(&log, format!("{banner}old 1\nold 2\n")).unwrap();
            let mut follower = Follower::new(place, "app.log");
            follower.until_stored(&[first, "old 1", "old 2"]);
            follower.while_away(end, |_| {
                if is_deleted {
                    fs::remove_file(&log).unwrap();
                }
                fs::write(&log, format!("{banner}new, and longer 1\nnew, and longer 2\n")).unwrap();
            });
            follower.until_stored(&[first, first, "new, and longer 1", "new, and longer 2", "old 1", "old 2"]);
            follower.end();
        }
    }
}

#[test]
fn a_file_with_two_names_is_read_once_and_is_free_while_idle() {
    let place = Place::new();
    let log = place.path("app.log");
    append(&log, "one\n");
    std::os::unix::fs::symlink("app.log", place.path("app.log.link")).unwrap();
    fs::hard_link(&log, place.path("app.log.hard")).unwrap();
    let journal = place.path("shipper-state/journal");
    let follower = Follower::new(place, "app.log*");
    follower.until_stored(&["one"]);
    let len = || fs::metadata(&journal).unwrap().len();
    // The checkpoint is recorded some time after the line is stored.
    let size = until("the journal stays as it is", || {
        let before = len();
        std::thread::sleep(Duration::from_millis(1_500));
        (len() == before).then_some(before)
    });
    append(&log, "two\n");
    follower.until_stored(&["one", "two"]);
    assert!(len() < size + 2_000, "{size} bytes, then {}", len());
    follower.end();
}

/// Number of the test's files that a process has open.
fn open_logs(shipper: &Running) -> usize {
    let folder = format!("/proc/{}/fd", shipper.pid().as_raw_pid());
    let links = fs::read_dir(folder).unwrap().filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    links.filter(|path| path.extension().is_some_and(|extension| extension == "log")).count()
}

#[test]
fn more_files_than_may_be_open_are_read_to_the_end() {
    let place = Place::new();
    for number in 0..FILES {
        fs::write(place.path(&format!("{number:03}.log")), format!("{number:03}\n")).unwrap();
    }
    let max = OPEN_FILES.to_string();
    let command = place.ship(&["run", "--file", "*.log", "--until-idle", "--max-open-files", &max]);
    let (code, stderr) = finish(&place, command);
    assert_eq!(code, 0, "{stderr}");
    let mut wanted: Vec<_> = (0..FILES).map(|number| format!("{number:03}")).collect();
    assert_eq!(sorted(&place), wanted);

    let admin = free_address();
    let mut shipper = follow(&place, admin, "*.log", &["--max-open-files", &max]);
    let until_stored = |wanted: &mut Vec<String>, more: Vec<String>| {
        wanted.extend(more);
        wanted.sort_unstable();
        until("everything is stored, and nothing twice", || {
            let open = open_logs(&shipper);
            // One more while it is scanned.
            assert!(open <= OPEN_FILES + 1, "{open} files are open");
            (sorted(&place) == *wanted).then_some(())
        });
    };
    // To parked files, all at once; then to new ones; then to one of each.
    (0..FILES).step_by(3).for_each(|number| append(&place.path(&format!("{number:03}.log")), "again\n"));
    until_stored(&mut wanted, vec!["again".to_owned(); FILES / 3]);
    (0..3 * OPEN_FILES).for_each(|number| append(&place.path(&format!("new-{number}.log")), "new\n"));
    until_stored(&mut wanted, vec!["new".to_owned(); 3 * OPEN_FILES]);
    append(&place.path("001.log"), "late\n");
    append(&place.path("new-0.log"), "late\n");
    until_stored(&mut wanted, vec!["late".to_owned(); 2]);
    until("the note of what waits is removed", || (!place.path("shipper-state/unread").exists()).then_some(()));
    shipper.signal(Signal::TERM);
    assert_eq!(shipper.code(), 0, "{}", shipper.stderr());
    let (code, printed) = run(&place, &["verify"]);
    assert_eq!(code, 0, "{printed}");
}

/// gzip creates its file first and writes it later, so a scan in between sees an empty file.
#[test]
fn a_compressed_file_first_seen_empty_is_ignored() {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(b"packed\n").unwrap();
    let gzip = gzip.finish().unwrap();
    for (end, max_open_files) in ENDS.into_iter().zip(["100"; 3]).chain([(End::None, "1")]) {
        let place = Place::new();
        fs::write(place.path("app.log.1.gz"), "").unwrap();
        fs::write(place.path("app.log"), "").unwrap();
        let options = match max_open_files {
            "1" => &["--max-open-files", "1"],
            _ => &["--max-open-files", "100"],
        };
        let mut follower = Follower::with_options(place, "app.log*", options);
        let admin = follower.admin;
        let metrics = || get(admin, "/metrics").map_or(String::new(), |(_, text)| text);
        until("both are followed", || metrics().contains("\nshipper_files_followed 2\n").then_some(()));
        append(&follower.place.path("app.log"), "plain\n");
        follower.until_stored(&["plain"]);
        follower.while_away(end, |place| fs::write(place.path("app.log.1.gz"), &gzip).unwrap());
        until("it is ignored", || {
            metrics().contains("\nshipper_files_unread{reason=\"compressed\"} 1\n").then_some(())
        });
        append(&follower.place.path("app.log"), "more\n");
        follower.until_stored(&["more", "plain"]);
        follower.end();
    }
}

/// As a nightly `cp app.log app.log.bak; : >app.log`: new content of the copy is not a new generation.
#[test]
fn a_copy_replaced_by_each_rotation_duplicates_nothing() {
    for end in ENDS {
        let place = Place::new();
        let log = place.path("app.log");
        fs::write(&log, "").unwrap();
        let mut follower = Follower::new(place, "app.log*");
        let mut wanted = Vec::new();
        for rotation in 0..4 {
            let lines: Vec<_> = (0..20).map(|number| format!("line {number} of {rotation}")).collect();
            append(&log, &(lines.join("\n") + "\n"));
            wanted.extend(lines);
            follower.until_stored(&wanted.iter().map(String::as_str).collect::<Vec<_>>());
            follower.while_away(end, |place| {
                let unread = format!("unread of {rotation}");
                append(&log, &(unread.clone() + "\n"));
                wanted.push(unread);
                copy_and_truncate(place, "app.log.bak");
            });
            follower.until_stored(&wanted.iter().map(String::as_str).collect::<Vec<_>>());
        }
        if matches!(end, End::None) {
            assert_eq!(follower.event("suspected_loss"), 0.0);
        }
        follower.end();
    }
}

/// logrotate creates the copy's file first and fills it later, so a scan in between sees an empty file.
#[test]
fn a_copy_first_seen_empty_duplicates_nothing() {
    for end in ENDS {
        let place = Place::new();
        let (log, copy) = (place.path("app.log"), place.path("app.log.1"));
        fs::write(&log, "one\ntwo\n").unwrap();
        let mut follower = Follower::new(place, "app.log*");
        follower.until_stored(&["one", "two"]);
        fs::write(&copy, "").unwrap();
        until("the empty copy is followed", || {
            get(follower.admin, "/metrics")?.1.contains("\nshipper_files_followed 2\n").then_some(())
        });
        follower.while_away(end, |_| {
            append(&log, "three\n");
            append(&copy, "one\ntwo\nthree\n");
            truncate(&log);
        });
        follower.until_stored(&["one", "two", "three"]);
        append(&log, "four\n");
        follower.until_stored(&["one", "two", "three", "four"]);
        if matches!(end, End::None) {
            assert_eq!(follower.event("suspected_loss"), 0.0);
        }
        follower.end();
    }
}

/// As with the logs of Kubernetes containers: the patterns match only links, and their targets are rotated.
#[test]
fn the_rest_of_a_linked_file_is_read_after_its_rotation() {
    for end in ENDS {
        let place = Place::new();
        fs::create_dir(place.path("pods")).unwrap();
        let (log, rotated) = (place.path("pods/0.log"), place.path("pods/0.log.1"));
        fs::write(&log, "one\n").unwrap();
        std::os::unix::fs::symlink("pods/0.log", place.path("app.log")).unwrap();
        let mut follower = Follower::new(place, "*.log");
        follower.until_stored(&["one"]);
        follower.while_away(end, |_| {
            append(&log, "two\n");
            fs::rename(&log, &rotated).unwrap();
            fs::write(&log, "three\n").unwrap();
        });
        follower.until_stored(&["one", "two", "three"]);
        append(&rotated, "late\n");
        follower.until_stored(&["one", "two", "three", "late"]);
        follower.end();
    }
}
