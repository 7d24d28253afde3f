//! `on_full = "drop_oldest"`, the default: a store that is down, and a disk without room, cost lines, which are counted, and
//! never hold up the service.

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
use crate::place::{assert_accounts_balance, disposed_of, mark};

/// Lines of one write.
const PIECE: u64 = 100;

/// A write may take this long: well more than giving up a segment does on a busy machine, and less than a stall.
const WRITE_MAX: Duration = Duration::from_secs(5);

/// A service that logs into a shipper's standard input, and is never held up by it.
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
        (Self { project: mark("drop-oldest"), pipe, admin, lines: 0 }, shipper)
    }

    #[track_caller]
    fn write_piece(&mut self) {
        let timestamp = now();
        let piece: String = (self.lines..self.lines + PIECE).map(|n| line(&self.project, &timestamp, n)).collect();
        let began = Instant::now();
        self.pipe.write_all(piece.as_bytes()).unwrap();
        assert!(began.elapsed() < WRITE_MAX, "the service was held up for {:?}", began.elapsed());
        self.lines += PIECE;
    }

    #[track_caller]
    fn scrape(&self) -> Scrape {
        Scrape::of(self.admin)
    }

    /// Waits until all that was written is disposed of.
    #[track_caller]
    fn wait_until_shipped(&self) -> Scrape {
        let scrape = wait::until_within(Duration::from_secs(180), "all lines are disposed of", || {
            let scrape = self.scrape();
            let read = scrape.metric("shipper_lines_read_total", &[]);
            (read >= self.lines as f64 && scrape.metric("shipper_lines_pending", &[]) == 0.0).then_some(scrape)
        });
        assert_accounts_balance(&scrape);
        scrape
    }
}

#[test]
fn a_store_that_is_down_costs_the_oldest_lines_and_holds_up_no_service() {
    let engine = Engine::with_processors();
    let relay = Relay::to(engine.address());
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let bounds = ["--spool-max-bytes", "400000", "--line-max-bytes", "20000"];
    let (mut service, mut program) =
        Service::logging_into(shipper(&format!("http://{}", relay.address), &state).args(bounds));
    service.write_piece();
    service.wait_until_shipped();
    relay.set_down(true);
    // Ten times what spool and pipe hold.
    for _ in 0..500 {
        service.write_piece();
        assert_accounts_balance(&service.scrape());
    }
    assert!(disposed_of(&service.scrape(), "dropped") > 0.0, "the spool has more room than it should");
    relay.set_down(false);
    let scrape = service.wait_until_shipped();
    let lines = service.lines;
    assert_eq!(scrape.metric("shipper_lines_read_total", &[]), lines as f64);
    let tally = Tally::of(&engine, &service.project);
    assert_eq!(tally.doubled(), [0_u64; 0]);
    assert_eq!(tally.counts.len() as f64, lines as f64 - disposed_of(&scrape, "dropped"), "of {lines} lines");
    assert!(tally.counts.contains_key(&(lines - 1)), "the newest lines are not the first to go");
    drop(service);
    assert_eq!(program.exit_code(), 0, "{}", program.stderr());
    verify(&engine.url, &state);
}

/// Also where the disk is full of something else, and giving up all of the spool makes no room.
#[test]
fn a_full_disk_costs_lines_and_holds_up_no_service() {
    let engine = Engine::with_processors();
    let relay = Relay::to(engine.address());
    let disk = SmallDisk::new(2_048);
    let state = disk.root.join("state");
    let bounds = ["--spool-segment-bytes", "200000", "--line-max-bytes", "20000"];
    let (mut service, mut program) =
        Service::logging_into(shipper(&format!("http://{}", relay.address), &state).args(bounds));
    service.write_piece();
    service.wait_until_shipped();
    relay.set_down(true);
    // The spool alone fills the disk.
    for _ in 0..200 {
        service.write_piece();
    }
    let lost = disposed_of(&service.scrape(), "dropped");
    assert!(lost > 0.0, "the disk has more room than it should");
    // Something else does.
    for _ in 0..200 {
        disk.fill();
        service.write_piece();
        assert_accounts_balance(&service.scrape());
    }
    let scrape = service.scrape();
    assert!(disposed_of(&scrape, "dropped") > lost && scrape.metric("shipper_spool_bytes", &[]) == 0.0);
    disk.free();
    for _ in 0..10 {
        service.write_piece();
    }
    relay.set_down(false);
    let scrape = service.wait_until_shipped();
    let tally = Tally::of(&engine, &service.project);
    assert_eq!(tally.doubled(), [0_u64; 0]);
    // A line of which one part was given up and the other was not is read as two.
    assert!(tally.counts.len() as f64 >= service.lines as f64 - disposed_of(&scrape, "dropped"));
    assert!(tally.counts.contains_key(&(service.lines - 1)), "it goes on once there is room");
    drop(service);
    assert_eq!(program.exit_code(), 0, "{}", program.stderr());
    verify(&engine.url, &state);
}
