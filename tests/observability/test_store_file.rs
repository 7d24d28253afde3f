//! The embedded store's file is deleted, moved or replaced while shipper and log explorer run. The log explorer answers from
//! the file at the path, or reports that it is missing.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;

use observability_tests::http::Answer;
use observability_tests::program::{Program, Start};
use observability_tests::wait;
use rustix::process::Signal;
use tempfile::TempDir;

use crate::rig::Backend;
use crate::test_store::{found_lines, record};

struct Both {
    folder: TempDir,
    shipper: Program,
    explorer: Backend,
    written: usize,
}

impl Both {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let target = format!("sqlite:{}", folder.path().join("store/logs.db").display());
        let log = folder.path().join("app.log");
        fs::write(&log, "").unwrap();
        let options = ["run", "--to", &target, "--scan-interval-ms", "20", "--retry-max-ms", "100", "--state-dir"];
        let shipper = Start::program("shipper").args(options).arg(folder.path().join("state")).arg("--file").arg(&log);
        let explorer = Backend::start(&[("STORE", &target)]);
        Self { shipper: shipper.start(), explorer, written: 0, folder }
    }

    fn store(&self, name: &str) -> PathBuf {
        self.folder.path().join("store").join(name)
    }

    /// Writes a line and returns its number.
    fn write(&mut self) -> usize {
        let number = self.written;
        self.written += 1;
        let log = self.folder.path().join("app.log");
        let mut file = fs::OpenOptions::new().append(true).open(log).unwrap();
        writeln!(file, "{}", record("p-1", number)).unwrap();
        number
    }

    fn find(&self) -> Answer {
        self.explorer.get("/api/projects/p-1/logs?limit=100")
    }

    fn numbers(&self) -> Option<Vec<u64>> {
        let answer = self.find();
        let lines = || found_lines(&answer.json()).iter().map(|line| line["n"].as_u64().unwrap()).collect();
        (answer.status == 200).then(lines)
    }

    #[track_caller]
    fn until_found(&self, wanted: &[usize]) {
        self.until_found_besides(wanted, None);
    }

    /// As [`Self::until_found`], except that one more line may be found.
    #[track_caller]
    fn until_found_besides(&self, wanted: &[usize], perhaps: Option<usize>) {
        let mut wanted: Vec<_> = wanted.iter().map(|number| *number as u64).collect();
        wanted.sort_unstable();
        wait::until(&format!("exactly {wanted:?} are found"), || {
            let mut found = self.numbers()?;
            found.retain(|number| perhaps.is_none_or(|perhaps| *number != perhaps as u64));
            found.sort_unstable();
            (found == wanted).then_some(())
        });
    }
}

#[test]
fn the_explorer_answers_from_the_file_at_the_path_or_reports_that_it_is_missing() {
    let mut both = Both::start();
    let first = both.write();
    both.until_found(&[first]);

    // nobody creates a new file
    both.shipper.signal(Signal::STOP);
    fs::remove_file(both.store("logs.db")).unwrap();
    let answer = both.find();
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(answer.text().contains("the store is missing: its file was deleted"), "{}", answer.text());
    let ready = both.explorer.get("/readyz");
    assert!(ready.status == 503 && ready.text().contains("the store is missing"), "{}", ready.text());
    let page = both.explorer.get_with("/", &[("Accept", "text/html")]);
    assert!(page.status == 503 && page.text().contains("the store is missing"), "{}", page.text());

    both.shipper.signal(Signal::CONT);
    let second = both.write();
    both.until_found(&[second]);
    assert_eq!(both.explorer.get("/readyz").json()["status"], "ready");

    // the same file with another WAL
    fs::remove_file(both.store("logs.db-wal")).unwrap();
    fs::remove_file(both.store("logs.db-shm")).unwrap();
    let third = both.write();
    both.until_found(&[second, third]);

    // moved away, and moved back over the file created meanwhile
    fs::rename(both.store("logs.db"), both.store("moved.db")).unwrap();
    let fourth = both.write();
    // the third line is found as soon as its WAL is applied, possibly before the retry that counts it as stored
    both.until_found_besides(&[fourth], Some(third));
    fs::rename(both.store("moved.db"), both.store("logs.db")).unwrap();
    let fifth = both.write();
    both.until_found(&[second, third, fifth]);

    let folder = both.folder.path().join("store");
    fs::rename(&folder, folder.with_file_name("away")).unwrap();
    let sixth = both.write();
    assert_eq!(both.find().status, 503);
    fs::rename(folder.with_file_name("away"), &folder).unwrap();
    both.until_found(&[second, third, fifth, sixth]);
    assert_eq!(both.shipper.stop(), 0, "{}", both.shipper.stderr());
}
