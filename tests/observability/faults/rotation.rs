//! The real logrotate, by renaming and by copying and cutting, under load.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use observability_tests::engine::Engine;
use observability_tests::numbers::{Load, Tally};
use observability_tests::program::installed;
use observability_tests::scrape::Scrape;
use serde_json::Value;

use super::{Bench, Soak, following, shipper, verify, verify_what_is_left, wait_until_shipped};

/// Logrotate over the file in a folder, now, whatever its age and size; `how` is directives.
pub(super) fn rotation(program: &Path, folder: &Path, how: &str) -> Command {
    let (config, state) = (folder.join("rotate.conf"), folder.join("rotate.state"));
    let file = folder.join("app.log");
    let directives = format!("{} {{\n  {how}\n  rotate 10000\n  missingok\n}}\n", file.display());
    fs::write(&config, directives).unwrap();
    let mut command = Command::new(program);
    command.args(["--force", "--state"]).arg(&state).arg(&config);
    command
}

fn rotate(program: &Path, folder: &Path, how: &str) {
    let output = rotation(program, folder, how).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A service's log file, reopened after a rename, as services do on a signal.
pub(super) struct Reopened {
    path: PathBuf,
    file: File,
}

impl Reopened {
    pub(super) fn new(path: PathBuf) -> Self {
        let file = OpenOptions::new().create(true).append(true).open(&path).unwrap();
        Self { path, file }
    }

    pub(super) fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        let ours = self.file.metadata()?.ino();
        // Only logrotate makes the new file. It would rename one that the service makes first, and no scan may have seen that.
        if fs::metadata(&self.path).is_ok_and(|there| there.ino() != ours) {
            self.file = OpenOptions::new().append(true).open(&self.path)?;
        }
        self.file.write_all(lines)
    }
}

#[test]
fn a_file_that_logrotate_renames_is_shipped_whole() {
    let (engine, logrotate) = (Engine::with_processors(), installed("logrotate"));
    let mut soak = Soak::new("logrotate, by renaming", 5, 60);
    let bench = Bench::new("rename");
    let mut file = Reopened::new(bench.file());
    let load = Load::start(&bench.project, 3_000, move |lines| file.write(lines));
    // The names that it gets are in the pattern: a file may be made and renamed between two looks.
    let pattern = format!("{}*", bench.file().display());
    let (mut program, admin) = following(shipper(&engine.url, &bench.state()).args(["--file", &pattern]));
    while soak.continues() {
        soak.pause_ms(100..1_500);
        rotate(&logrotate, bench.folder.path(), "create");
    }
    let lines = load.stop();
    wait_until_shipped(admin, lines);
    assert_eq!(program.stop(), 0, "{}", program.stderr());
    verify(&engine.url, &bench.state());
    bench.assert_each_once(&engine, lines);
    soak.report(lines, "");
}

/// What is written between logrotate's copy and its cut is in no file any more. All else is stored, and nothing twice.
#[test]
fn of_a_file_that_logrotate_copies_and_cuts_each_line_that_is_left_is_stored_once() {
    let (engine, logrotate) = (Engine::with_processors(), installed("logrotate"));
    let mut soak = Soak::new("logrotate, by copying and cutting", 5, 60);
    let bench = Bench::new("copytruncate");
    let load = bench.load(1_000);
    let (mut program, admin) = following(bench.shipper(&engine.url));
    // A life of the file that ends before the first look, while the store is waited for, nobody has seen.
    observability_tests::wait::until("the file is followed", || {
        (Scrape::of(admin).metric("shipper_files_followed", &[]) >= 1.0).then_some(())
    });
    while soak.continues() {
        soak.pause_ms(500..1_500);
        rotate(&logrotate, bench.folder.path(), "copytruncate");
    }
    let lines = load.stop();
    let left = numbers_of_files(bench.folder.path());
    let tally = observability_tests::wait::until("what is in files is stored", || {
        let tally = Tally::of(&engine, &bench.project);
        left.iter().all(|n| tally.counts.contains_key(n)).then_some(tally)
    });
    let scrape = Scrape::of(admin);
    crate::test_store::assert_accounting_holds(&scrape);
    assert_eq!(program.stop(), 0, "{}", program.stderr());
    verify_what_is_left(&engine.url, &bench.state());
    assert_eq!(tally.doubled(), [0_u64; 0], "stored twice");
    let destroyed = lines - left.len() as u64;
    let stored = tally.counts.len() as u64;
    soak.report(
        stored,
        &format!(
            "; {destroyed} of {lines} destroyed by logrotate, {} of them stored before",
            stored - left.len() as u64
        ),
    );
}

/// The numbers of all whole lines in a folder's files.
fn numbers_of_files(folder: &Path) -> BTreeSet<u64> {
    let mut numbers = BTreeSet::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_string_lossy().starts_with("app.log") {
            let text = fs::read(&path).unwrap();
            let lines = text.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice::<Value>(line).ok());
            numbers.extend(lines.filter_map(|line| line["status"].as_u64()));
        }
    }
    numbers
}
