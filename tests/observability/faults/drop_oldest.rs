//! `on_full = "drop_oldest"`, the default: while the store is down or the disk is full, lines are dropped and counted, and
//! the service is never blocked.

use std::fs::File;
use std::io::Write;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use observability_tests::engine::Engine;
use observability_tests::numbers::{Tally, line, now};
use observability_tests::program::{Program, Start};
use observability_tests::relay::Relay;
use observability_tests::scrape::Scrape;
use observability_tests::wait;

use super::small_disk::SmallDisk;
use super::{following, shipper, verify};
use crate::test_store::{assert_accounting_holds, lines_with_outcome, unique_name};

/// Lines per write.
const CHUNK: u64 = 100;

/// Maximum duration of a write: much longer than dropping a segment takes on a busy machine, shorter than a stall.
const WRITE_MAX: Duration = Duration::from_secs(5);

/// A service that logs to a shipper's standard input and must not be blocked by it.
struct Service {
    project: String,
    pipe: File,
    admin: SocketAddr,
    lines: u64,
}

impl Service {
    #[track_caller]
    fn logging_into(shipper: Start) -> (Self, Program) {
        let (mut shipper, admin) = following(shipper.piped_stdin());
        let pipe = File::from(OwnedFd::from(shipper.child().stdin.take().unwrap()));
        (Self { project: unique_name("drop-oldest"), pipe, admin, lines: 0 }, shipper)
    }

    #[track_caller]
    fn write_chunk(&mut self) {
        let timestamp = now();
        let chunk: String = (self.lines..self.lines + CHUNK).map(|n| line(&self.project, &timestamp, n)).collect();
        let began = Instant::now();
        self.pipe.write_all(chunk.as_bytes()).unwrap();
        assert!(began.elapsed() < WRITE_MAX, "the service was blocked for {:?}", began.elapsed());
        self.lines += CHUNK;
    }

    #[track_caller]
    fn scrape(&self) -> Scrape {
        Scrape::of(self.admin)
    }

    /// Waits until every written line has its outcome.
    #[track_caller]
    fn wait_until_shipped(&self) -> Scrape {
        let scrape = wait::until_within(Duration::from_secs(180), "all lines have their outcome", || {
            let scrape = self.scrape();
            let read = scrape.metric("shipper_lines_read_total", &[]);
            (read >= self.lines as f64 && scrape.metric("shipper_lines_pending", &[]) == 0.0).then_some(scrape)
        });
        assert_accounting_holds(&scrape);
        scrape
    }
}

#[test]
fn the_oldest_lines_are_dropped_while_the_store_is_down() {
    let engine = Engine::with_processors();
    let relay = Relay::to(engine.address());
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let bounds = ["--spool-max-bytes", "400000", "--line-max-bytes", "20000"];
    let (mut service, mut program) =
        Service::logging_into(shipper(&format!("http://{}", relay.address), &state).args(bounds));
    service.write_chunk();
    service.wait_until_shipped();
    relay.set_down(true);
    // ten times the capacity of spool and pipe
    for _ in 0..500 {
        service.write_chunk();
        assert_accounting_holds(&service.scrape());
    }
    assert!(lines_with_outcome(&service.scrape(), "dropped") > 0.0, "the spool exceeds its limit");
    relay.set_down(false);
    let scrape = service.wait_until_shipped();
    let lines = service.lines;
    assert_eq!(scrape.metric("shipper_lines_read_total", &[]), lines as f64);
    let tally = Tally::of(&engine, &service.project);
    assert_eq!(tally.doubled(), [0_u64; 0]);
    assert_eq!(tally.counts.len() as f64, lines as f64 - lines_with_outcome(&scrape, "dropped"), "of {lines} lines");
    assert!(tally.counts.contains_key(&(lines - 1)), "the newest lines must be kept");
    drop(service);
    assert_eq!(program.exit_code(), 0, "{}", program.stderr());
    verify(&engine.url, &state);
}

/// Lines are dropped even if other files fill the disk and dropping all of the spool makes no room.
#[test]
fn lines_are_dropped_on_a_full_disk_without_blocking_the_service() {
    let engine = Engine::with_processors();
    let relay = Relay::to(engine.address());
    let disk = SmallDisk::new(2_048);
    let state = disk.root.join("state");
    let bounds = ["--spool-segment-bytes", "200000", "--line-max-bytes", "20000"];
    let (mut service, mut program) =
        Service::logging_into(shipper(&format!("http://{}", relay.address), &state).args(bounds));
    service.write_chunk();
    service.wait_until_shipped();
    relay.set_down(true);
    // the spool fills the disk
    for _ in 0..200 {
        service.write_chunk();
    }
    let dropped = lines_with_outcome(&service.scrape(), "dropped");
    assert!(dropped > 0.0, "the disk is larger than expected");
    // another file fills the disk
    for _ in 0..200 {
        disk.fill();
        service.write_chunk();
        assert_accounting_holds(&service.scrape());
    }
    let scrape = service.scrape();
    assert!(lines_with_outcome(&scrape, "dropped") > dropped && scrape.metric("shipper_spool_bytes", &[]) == 0.0);
    disk.free();
    for _ in 0..10 {
        service.write_chunk();
    }
    relay.set_down(false);
    let scrape = service.wait_until_shipped();
    let tally = Tally::of(&engine, &service.project);
    assert_eq!(tally.doubled(), [0_u64; 0]);
    // a line that was dropped in part is read as two lines
    assert!(tally.counts.len() as f64 >= service.lines as f64 - lines_with_outcome(&scrape, "dropped"));
    assert!(tally.counts.contains_key(&(service.lines - 1)), "lines are accepted again once there is room");
    drop(service);
    assert_eq!(program.exit_code(), 0, "{}", program.stderr());
    verify(&engine.url, &state);
}
