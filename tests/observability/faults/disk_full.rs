//! A disk that is full for a while: a small tmpfs in a user and mount namespace, which needs no root.

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use observability_tests::engine::Engine;
use observability_tests::numbers::{Load, Tally};
use observability_tests::program::{Program, Start, executable};
use observability_tests::scrape::Scrape;
use observability_tests::wait;
use tempfile::TempDir;

use super::{Bench, Soak, following, shipper, verify, wait_until_shipped};
use crate::place::{Place, append, assert_each_once, mark};

/// A disk of its own, in the namespaces of the process that holds it.
struct SmallDisk {
    holder: Program,
    /// Where it is mounted there.
    folder: TempDir,
    /// How it is reached from here.
    root: PathBuf,
}

impl SmallDisk {
    /// Mounts one of so many KiB.
    #[track_caller]
    fn new(kib: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = format!("size={kib}k,nr_inodes=1000");
        let script = "mount -t tmpfs -o \"$1\" tmpfs \"$2\" && echo mounted && exec sleep 100000";
        let mut holder = Start::at(Path::new("/usr/bin/env"))
            .args(["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh", &options])
            .arg(folder.path())
            .start();
        wait::until("a small disk is mounted", || {
            assert!(
                holder.has_ended().is_none(),
                "this test mounts a tmpfs in a user and mount namespace, which this kernel or container forbids \
                 (sysctl kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns, or a seccomp \
                 profile): {}",
                holder.stderr()
            );
            holder.stdout().contains("mounted").then_some(())
        });
        let path = folder.path().strip_prefix("/").unwrap();
        let root = Path::new("/proc").join(holder.pid().as_raw_nonzero().to_string()).join("root").join(path);
        Self { holder, folder, root }
    }

    /// A program within the namespaces: SQLite follows links, and `/proc/PID/root` is one that leads out again.
    fn enter(&self, program: &str) -> Start {
        let target = self.holder.pid().as_raw_nonzero().to_string();
        Start::at(Path::new("/usr/bin/env"))
            .args(["nsenter", "--user", "--mount", "--preserve-credentials", "--target", &target, "--"])
            .arg(executable(program))
    }

    /// Fills it to the last byte.
    fn fill(&self) {
        let mut ballast = File::options().create(true).append(true).open(self.root.join("ballast")).unwrap();
        for piece in [vec![0; 64 * 1024], vec![0; 1]] {
            let is_full = (0..1_000_000).any(|_| ballast.write_all(&piece).is_err());
            assert!(is_full, "the disk has no end");
        }
    }

    /// Keeps it full for a while, whatever is removed from it.
    fn keep_full(&self, time: Duration) {
        let began = Instant::now();
        while began.elapsed() < time {
            self.fill();
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Makes room again.
    fn free(&self) {
        fs::remove_file(self.root.join("ballast")).unwrap();
    }
}

#[test]
fn a_spool_on_a_full_disk_takes_nothing_and_goes_on_when_there_is_room() {
    let engine = Engine::with_processors();
    let mut soak = Soak::new("disk full under the spool", 2, 30);
    let disk = SmallDisk::new(4_096);
    let (project, state) = (mark("full-spool"), disk.root.join("state"));
    let options = ["--on-full", "wait", "--spool-max-bytes", "1000000", "--line-max-bytes", "100000"];
    let (mut program, admin) = following(shipper(&engine.url, &state).args(options).piped_stdin());
    // Held open to the end: a pipe that closes is the end of what there is to take.
    let stdin = OwnedFd::from(program.child().stdin.take().unwrap());
    let mut pipe = File::from(stdin.try_clone().unwrap());
    let load = Load::start(&project, 1_500, move |lines| pipe.write_all(lines));
    let mut stalled = 0;
    while soak.goes_on() {
        soak.pause_ms(100..700);
        disk.keep_full(Duration::from_millis(soak.random.within(500..1_500)));
        let written = load.written();
        disk.keep_full(Duration::from_millis(100));
        stalled += u64::from(load.written() == written);
        disk.free();
    }
    assert!(stalled > 0, "the spool took lines although its disk was full");
    let lines = load.stop();
    wait_until_shipped(admin, lines);
    drop(stdin);
    assert_eq!(program.exit_code(), 0, "{}", program.stderr());
    verify(&engine.url, &state);
    Tally::of(&engine, &project).assert_each_once(lines);
    soak.report(lines, &format!("; the pipe stood still {stalled} times"));
}

#[test]
fn a_state_directory_on_a_full_disk_survives_kills_and_a_start() {
    let engine = Engine::with_processors();
    let mut soak = Soak::new("disk full under the state of a followed file, with SIGKILL", 2, 30);
    let disk = SmallDisk::new(2_048);
    let bench = Bench::new("full-state");
    let state = disk.root.join("state");
    let load = bench.load(1_500);
    let follow = || shipper(&engine.url, &state).arg("--file").arg(bench.file());
    while soak.goes_on() {
        let (mut program, _) = following(follow());
        soak.pause_ms(50..700);
        disk.keep_full(Duration::from_millis(soak.random.within(10..1_500)));
        program.kill();
        // A start on a full disk either works or is refused in a line, and breaks nothing.
        let mut refused = follow().arg("--until-idle").start();
        soak.pause_ms(10..500);
        match refused.has_ended() {
            Some(_) => assert!(!refused.stderr().contains("panicked"), "{}", refused.stderr()),
            None => refused.kill(),
        }
        disk.free();
    }
    let lines = load.stop();
    let mut last = follow().arg("--until-idle").start();
    assert_eq!(last.exit_code(), 0, "{}", last.stderr());
    verify(&engine.url, &state);
    bench.assert_each_once(&engine, lines);
    soak.report(lines, "");
}

#[test]
fn an_embedded_store_on_a_full_disk_is_waited_for() {
    let disk = SmallDisk::new(32_768);
    let (project, folder) = (mark("full-store"), tempfile::tempdir().unwrap());
    let file = folder.path().join("app.log");
    let mut growing = File::options().create(true).append(true).open(&file).unwrap();
    let to = format!("sqlite:{}", disk.folder.path().join("logs.db").display());
    let start = disk
        .enter("shipper")
        .args(["run", "--to", &to, "--retry-max-ms", "500", "--state-dir"])
        .arg(folder.path().join("state"))
        .arg("--file")
        .arg(&file);
    let (mut program, admin) = following(start);
    let mut written = 0;
    append(&mut growing, &project, &mut written, 200);
    wait_until_shipped(admin, 200);
    disk.fill();
    append(&mut growing, &project, &mut written, 20_000);
    wait::until("the sink pauses", || (Scrape::of(admin).metric("shipper_sink_paused", &[]) == 1.0).then_some(()));
    disk.free();
    wait_until_shipped(admin, 20_200);
    assert_eq!(program.stop(), 0, "{}", program.stderr());
    // Where the backend can be given a path of its own.
    let place = Place::Embedded(tempfile::tempdir().unwrap());
    let copy = PathBuf::from(place.target().trim_start_matches("sqlite:"));
    for suffix in ["", "-wal", "-shm"] {
        let from = disk.root.join(format!("logs.db{suffix}"));
        if from.exists() {
            fs::copy(from, copy.with_file_name(format!("logs.db{suffix}"))).unwrap();
        }
    }
    assert_each_once(&place.explorer().project(&project), written);
}
