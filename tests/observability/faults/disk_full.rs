//! A disk that is full temporarily or permanently.

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use observability_tests::engine::Engine;
use observability_tests::numbers::{Load, Tally, line, now};
use observability_tests::relay::Relay;
use observability_tests::scrape::Scrape;
use observability_tests::{http, port, wait};

use super::small_disk::SmallDisk;
use super::{Bench, Soak, following, shipper, verify, wait_until_shipped};
use crate::test_store::{
    TestStore, append, assert_accounting_holds, assert_each_once, lines_with_outcome, unique_name,
};

/// A line that no mapping accepts: an object in a keyword field.
const REFUSED: &str = r#"{"trace_id":{"a":{"b":1}},"message":"refused"}"#;

#[test]
fn a_spool_on_a_full_disk_accepts_nothing_until_there_is_room() {
    let engine = Engine::with_processors();
    let mut soak = Soak::new("disk full under the spool", 2, 30);
    let disk = SmallDisk::new(4_096);
    let (project, state) = (unique_name("full-spool"), disk.root.join("state"));
    let options = ["--on-full", "wait", "--spool-max-bytes", "1000000", "--line-max-bytes", "100000"];
    let (mut program, admin) = following(shipper(&engine.url, &state).args(options).piped_stdin());
    // keep the pipe open, because the shipper exits when it closes
    let stdin = OwnedFd::from(program.child().stdin.take().unwrap());
    let mut pipe = File::from(stdin.try_clone().unwrap());
    let load = Load::start(&project, 1_500, move |lines| pipe.write_all(lines));
    let mut stalled = 0;
    while soak.continues() {
        soak.pause_ms(100..700);
        disk.keep_full(Duration::from_millis(soak.random.within(500..1_500)));
        let written = load.written();
        disk.keep_full(Duration::from_millis(100));
        stalled += u64::from(load.written() == written);
        disk.free();
    }
    assert!(stalled > 0, "the spool accepted lines although its disk was full");
    let lines = load.stop();
    wait_until_shipped(admin, lines);
    drop(stdin);
    assert_eq!(program.exit_code(), 0, "{}", program.stderr());
    verify(&engine.url, &state);
    Tally::of(&engine, &project).assert_each_once(lines);
    soak.report(lines, &format!("; the pipe stalled {stalled} times"));
}

/// The store is down until the spool has filled the disk completely. Then only the shipper frees space: stored lines make
/// room for the rest, including a dead letter.
#[test]
fn a_spool_that_filled_its_disk_is_shipped_once_the_store_is_back() {
    let engine = Engine::with_processors();
    let relay = Relay::to(engine.address());
    let disk = SmallDisk::new(4_096);
    let (project, state) = (unique_name("filled-disk"), disk.root.join("state"));
    let options = ["--on-full", "wait", "--spool-segment-bytes", "200000", "--line-max-bytes", "20000"];
    let to = format!("http://{}", relay.address);
    let (mut program, admin) = following(shipper(&to, &state).args(options).piped_stdin());
    let stdin = OwnedFd::from(program.child().stdin.take().unwrap());
    let mut pipe = File::from(stdin.try_clone().unwrap());
    // ship one line first, so that the bootstrap is done
    pipe.write_all(line(&unique_name("first"), &now(), 0).as_bytes()).unwrap();
    wait_until_shipped(admin, 1);
    relay.set_down(true);
    pipe.write_all(format!("{REFUSED}\n").as_bytes()).unwrap();
    let load = Load::start(&project, 20_000, move |lines| pipe.write_all(lines));
    wait::until("the pipe stalls", || {
        let written = load.written();
        std::thread::sleep(Duration::from_millis(500));
        (written > 0 && load.written() == written).then_some(())
    });
    disk.fill();
    relay.set_down(false);
    let before = load.written();
    wait::until("the pipe is read again", || (load.written() > before).then_some(()));
    let lines = load.stop();
    let scrape = wait::until_within(Duration::from_secs(180), "all lines have their outcome", || {
        let scrape = Scrape::of(admin);
        let read = scrape.metric("shipper_lines_read_total", &[]) >= (lines + 2) as f64;
        (read && scrape.metric("shipper_lines_pending", &[]) == 0.0).then_some(scrape)
    });
    assert_accounting_holds(&scrape);
    assert_eq!((lines_with_outcome(&scrape, "dropped"), lines_with_outcome(&scrape, "dead_lettered")), (0.0, 1.0));
    drop(stdin);
    assert_eq!(program.exit_code(), 0, "{}", program.stderr());
    verify(&engine.url, &state);
    Tally::of(&engine, &project).assert_each_once(lines);
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
    while soak.continues() {
        let (mut program, _) = following(follow());
        soak.pause_ms(50..700);
        disk.keep_full(Duration::from_millis(soak.random.within(10..1_500)));
        program.kill();
        // a start on a full disk either works or fails with an error
        let mut restarted = follow().arg("--until-idle").start();
        soak.pause_ms(10..500);
        match restarted.has_ended() {
            Some(_) => assert!(!restarted.stderr().contains("panicked"), "{}", restarted.stderr()),
            None => restarted.kill(),
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

/// The command runs although there is no space to open the store, whether its file exists or not.
#[test]
fn a_shipper_waits_for_an_embedded_store_on_a_disk_that_is_full_at_the_start() {
    for exists in [false, true] {
        let disk = SmallDisk::new(8_192);
        let folder = tempfile::tempdir().unwrap();
        let to = format!("sqlite:{}", disk.folder.path().join("logs.db").display());
        let shipper = |subcommand: &str| {
            let start = disk.enter("shipper").args([subcommand, "--to", &to, "--retry-max-ms", "500", "--state-dir"]);
            start.arg(folder.path().join("state"))
        };
        if exists {
            let file = folder.path().join("app.log");
            fs::write(&file, "before\n").unwrap();
            let mut first = shipper("run").args(["--until-idle", "--file"]).arg(&file).start();
            assert_eq!(first.exit_code(), 0, "{}", first.stderr());
        }
        disk.fill();
        let admin = port::free_address();
        let script = "echo shipped; : > started; until [ -e go ]; do sleep 0.1; done";
        let script = format!("cd '{}'; {script}", folder.path().display());
        let start = shipper("exec").args(["--admin-listen", &admin.to_string(), "--", "/bin/sh", "-c", &script]);
        let mut program = start.start_healthy(admin);
        wait::until("the command runs", || folder.path().join("started").exists().then_some(()));
        wait::until("delivery is paused", || {
            (Scrape::of(admin).metric("shipper_delivery_paused", &[]) == 1.0).then_some(())
        });
        assert_eq!(http::get(admin, "/readyz").status, 503);
        disk.free();
        wait_until_shipped(admin, 1);
        File::create(folder.path().join("go")).unwrap();
        assert_eq!(program.exit_code(), 0, "{}", program.stderr());
    }
}

#[test]
fn a_shipper_waits_for_an_embedded_store_on_a_full_disk() {
    let disk = SmallDisk::new(32_768);
    let (project, folder) = (unique_name("full-store"), tempfile::tempdir().unwrap());
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
    wait::until("delivery is paused", || {
        (Scrape::of(admin).metric("shipper_delivery_paused", &[]) == 1.0).then_some(())
    });
    disk.free();
    wait_until_shipped(admin, 20_200);
    assert_eq!(program.stop(), 0, "{}", program.stderr());
    // the log explorer cannot read the mount, so copy the file
    let store = TestStore::Embedded(tempfile::tempdir().unwrap());
    let copy = PathBuf::from(store.target().trim_start_matches("sqlite:"));
    for suffix in ["", "-wal", "-shm"] {
        let from = disk.root.join(format!("logs.db{suffix}"));
        if from.exists() {
            fs::copy(from, copy.with_file_name(format!("logs.db{suffix}"))).unwrap();
        }
    }
    assert_each_once(&store.explorer().project(&project), written);
}
