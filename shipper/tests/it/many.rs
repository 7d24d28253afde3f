//! Far more files than may be open, with the real program: each line is stored once, and the number of open files is
//! limited.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal};

use crate::descriptors::limited;
use crate::program::{Place, Running, free_address, get, start, until};
use crate::run::metric;

const FILES: usize = 5_000;
/// Growing files, more than may be open.
const ACTIVE: usize = 300;
const ROUNDS: usize = 5;
/// The soft and hard limit on open files, and what the reserve leaves for files.
const LIMIT: u64 = 256;
const OPEN_FILES_MAX: usize = 112;
/// Threads of the runtime, the store and the admin port; none per file.
const THREADS_MAX: usize = 40;

fn log(place: &Place, number: usize) -> PathBuf {
    place.path(&format!("logs/{number:04}.log"))
}

/// Number of files that a process has open in a folder, and of its threads.
fn held(pid: Pid, folder: &Path) -> (usize, usize) {
    let process = PathBuf::from(format!("/proc/{}", pid.as_raw_pid()));
    let open = fs::read_dir(process.join("fd")).unwrap().filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    let open = open.filter(|path| path.starts_with(folder)).count();
    (open, fs::read_dir(process.join("task")).unwrap().count())
}

/// Waits until this many lines are stored; the number of open files stays limited meanwhile.
fn until_stored(shipper: &Running, place: &Place, admin: std::net::SocketAddr, lines: usize) {
    let folder = fs::canonicalize(place.path("logs")).unwrap();
    until(&format!("{lines} lines are stored"), || {
        let (open, threads) = held(shipper.pid(), &folder);
        // One more while it is scanned, and the folder while it is listed.
        assert!(open <= OPEN_FILES_MAX + 2, "{open} files are open");
        assert!(threads <= THREADS_MAX, "{threads} threads");
        let (_, text) = get(admin, "/metrics")?;
        (metric(&text, "shipper_lines_stored_total") >= lines as f64).then_some(text)
    });
}

#[test]
fn each_line_of_thousands_of_files_is_stored_once_with_few_open() {
    let place = Place::new();
    fs::create_dir(place.path("logs")).unwrap();
    let mut wanted = BTreeMap::new();
    for number in 0..FILES {
        fs::write(log(&place, number), format!("first of {number}\n")).unwrap();
        wanted.insert(format!("first of {number}"), 1);
    }
    let admin = free_address();
    let run = ["run", "--file", "logs/*.log", "--batch-max-age-ms", "50", "--admin-listen", &admin.to_string()];
    let mut shipper = start(&place, limited(LIMIT, LIMIT, &place.ship(&run)));
    until_stored(&shipper, &place, admin, FILES);
    for round in 0..ROUNDS {
        for number in (0..ACTIVE).map(|active| active * FILES / ACTIVE) {
            let line = format!("{round} of {number}");
            let mut file = fs::OpenOptions::new().append(true).open(log(&place, number)).unwrap();
            file.write_all(format!("{line}\n").as_bytes()).unwrap();
            wanted.insert(line, 1);
        }
        // Some are read while the next lines are written.
        until_stored(&shipper, &place, admin, wanted.len() - ACTIVE / 2);
    }
    until_stored(&shipper, &place, admin, wanted.len());
    shipper.signal(Signal::TERM);
    assert_eq!(shipper.code(), 0, "{}", shipper.stderr());
    assert!(!shipper.stderr().contains("Too many open files"), "{}", shipper.stderr());

    let export = place.shipper(&["export", "sqlite:logs.db"]).output().unwrap();
    let mut stored = BTreeMap::new();
    for line in String::from_utf8(export.stdout).unwrap().lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        *stored.entry(line["message"].as_str().unwrap().to_owned()).or_insert(0) += 1;
    }
    assert!(stored == wanted, "{} lines stored, {} wanted", stored.len(), wanted.len());
    let verify = place.ship(&["verify"]).output().unwrap();
    let printed = String::from_utf8_lossy(&verify.stdout).into_owned();
    assert!(verify.status.success() && printed.contains("verified"), "{printed}");
}
