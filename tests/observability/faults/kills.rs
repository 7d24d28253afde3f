//! SIGKILL of the shipper at random moments under load.

use std::io::Write;

use observability_tests::books::Watch;
use observability_tests::engine::Engine;
use observability_tests::numbers::{Load, Tally};
use observability_tests::port;

use super::{Bench, Soak, shipper, verify};
use crate::place::mark;

#[test]
fn a_shipper_killed_at_random_moments_stores_each_line_of_a_file_once() {
    let engine = Engine::with_processors();
    let mut soak = Soak::new("SIGKILL of the shipper, a file", 6, 50);
    let bench = Bench::new("kills-file");
    let load = bench.load(3_000);
    let admin = port::free_address();
    let books = Watch::of(admin);
    while soak.goes_on() {
        let mut shipper = bench.shipper(&engine.url).args(["--admin-listen", &admin.to_string()]).start();
        soak.pause_ms(20..1_200);
        shipper.kill();
    }
    let lines = load.stop();
    books.end();
    bench.finish(&engine.url);
    bench.assert_each_once(&engine, lines);
    soak.report(lines, "");
}

/// What a pipe's shipper had taken is a beginning of what was written: each line of it is stored once.
#[test]
fn a_shipper_killed_at_random_moments_stores_each_line_that_it_took_from_a_pipe_once() {
    let engine = Engine::with_processors();
    let mut soak = Soak::new("SIGKILL of the shipper, a pipe", 3, 50);
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let mut rounds = Vec::new();
    let admin = port::free_address();
    let books = Watch::of(admin);
    while soak.goes_on() {
        let project = mark("kills-pipe");
        let start = shipper(&engine.url, &state).args(["--admin-listen", &admin.to_string()]);
        let mut shipper = start.piped_stdin().start();
        let mut stdin = shipper.child().stdin.take().unwrap();
        let load = Load::start(&project, 3_000, move |lines| stdin.write_all(lines));
        soak.pause_ms(20..1_200);
        shipper.kill();
        load.stop();
        rounds.push((project.clone(), first_missing_in_files(&state, &project)));
    }
    books.end();
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

/// One past the highest number of a project's whole lines in the spool's files.
fn first_missing_in_files(state: &std::path::Path, project: &str) -> u64 {
    crate::place::numbers_under(state, project, "status").into_iter().map(|n| n + 1).max().unwrap_or(0)
}
