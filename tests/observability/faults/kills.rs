//! SIGKILL of the shipper at random times under load.

use std::io::Write;

use observability_tests::accounting::Watch;
use observability_tests::engine::Engine;
use observability_tests::numbers::{Load, Tally};
use observability_tests::port;

use super::{Bench, Soak, shipper, verify};
use crate::test_store::unique_name;

#[test]
fn a_shipper_killed_at_random_times_stores_each_line_of_a_file_once() {
    let engine = Engine::with_processors();
    let mut soak = Soak::new("SIGKILL of the shipper, a file", 6, 50);
    let bench = Bench::new("kills-file");
    let load = bench.load(3_000);
    let admin = port::free_address();
    let accounting = Watch::start(admin);
    while soak.continues() {
        let mut shipper = bench.shipper(&engine.url).args(["--admin-listen", &admin.to_string()]).start();
        soak.pause_ms(20..1_200);
        shipper.kill();
    }
    let lines = load.stop();
    accounting.stop();
    bench.finish(&engine.url);
    bench.assert_each_once(&engine, lines);
    soak.report(lines, "");
}

/// The lines accepted from a pipe are a prefix of those written, and each is stored once.
#[test]
fn a_shipper_killed_at_random_times_stores_each_accepted_line_of_a_pipe_once() {
    let engine = Engine::with_processors();
    let mut soak = Soak::new("SIGKILL of the shipper, a pipe", 3, 50);
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let mut rounds = Vec::new();
    let admin = port::free_address();
    let accounting = Watch::start(admin);
    while soak.continues() {
        let project = unique_name("kills-pipe");
        let start = shipper(&engine.url, &state).args(["--admin-listen", &admin.to_string()]);
        let mut shipper = start.piped_stdin().start();
        let mut stdin = shipper.child().stdin.take().unwrap();
        let load = Load::start(&project, 3_000, move |lines| stdin.write_all(lines));
        soak.pause_ms(20..1_200);
        shipper.kill();
        load.stop();
        rounds.push((project.clone(), first_missing_in_files(&state, &project)));
    }
    accounting.stop();
    let mut last = shipper(&engine.url, &state).arg("--until-idle").start();
    assert_eq!(last.exit_code(), 0, "{}", last.stderr());
    verify(&engine.url, &state);
    let mut lines = 0;
    for (project, spooled) in rounds {
        let tally = Tally::of(&engine, &project);
        let stored = tally.counts.len() as u64;
        if stored > 0 {
            tally.assert_each_once(stored);
        }
        assert!(spooled <= stored, "{spooled} lines were in the spool, {stored} are stored");
        lines += stored;
    }
    soak.report(lines, "");
}

/// One more than the highest number of a project's complete lines in the spool's files.
fn first_missing_in_files(state: &std::path::Path, project: &str) -> u64 {
    crate::test_store::numbers_under(state, project, "status").into_iter().map(|n| n + 1).max().unwrap_or(0)
}
