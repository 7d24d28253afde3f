//! A killed shipper can be restarted at once: its locks and port are released.

use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, Signal};

use crate::program::{Place, Running, finish, free_address, names, start, until};

/// Locks a state directory from the test.
fn hold(state_dir: &Path) -> [File; 2] {
    std::fs::create_dir_all(state_dir).unwrap();
    let lock = File::options().append(true).create(true).open(state_dir.join("lock")).unwrap();
    let files = [lock, File::open(state_dir).unwrap()];
    for file in &files {
        flock(file, FlockOperation::NonBlockingLockExclusive).unwrap();
    }
    files
}

/// The arguments of a process's children.
fn children(pid: Pid) -> Vec<String> {
    let is_child = |name: &String| {
        let stat = std::fs::read_to_string(format!("/proc/{name}/stat")).unwrap_or_default();
        let parent = stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(1));
        parent == Some(pid.to_string().as_str())
    };
    let arguments = |name: String| {
        String::from_utf8_lossy(&std::fs::read(format!("/proc/{name}/cmdline")).unwrap_or_default()).replace('\0', " ")
    };
    names(Path::new("/proc")).into_iter().filter(is_child).map(arguments).collect()
}

/// Whether this shipper, and no other test, has the port open.
fn listens(shipper: &Running, address: SocketAddr) -> bool {
    let sockets = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let inode = sockets.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).find_map(|columns| {
        let is_it = columns[1].ends_with(&format!(":{:04X}", address.port())) && columns[3] == "0A";
        is_it.then(|| format!("socket:[{}]", columns[9]))
    });
    let folder = format!("/proc/{}/fd", shipper.pid());
    let opened = names(Path::new(&folder)).into_iter().map(|name| std::fs::read_link(format!("{folder}/{name}")));
    inode.is_some_and(|inode| opened.flatten().any(|link| link == Path::new(&inode)))
}

/// Whether both helpers have started and executed their commands.
fn has_helpers(shipper: &Running) -> Option<()> {
    let children = children(shipper.pid());
    let all = ["shipper __guard", "shipper __start"].iter().all(|name| children.iter().any(|it| it.starts_with(name)));
    all.then_some(())
}

#[test]
fn no_process_is_started_while_the_state_directory_is_locked() {
    let place = Place::new();
    let held = hold(&place.path("shipper-state"));
    let mut shipper = start(&place, place.script("echo begun; exit 5"));
    until("the helpers wait for the lock", || has_helpers(&shipper));
    assert!(names(&place.path("shipper-state")).iter().all(|name| name == "lock"), "it has begun without the lock");
    drop(held);
    assert_eq!(shipper.code(), 5, "{}", shipper.stderr());
    assert_eq!(place.stored(), ["begun"]);
}

#[test]
fn no_process_is_started_while_the_port_is_open() {
    let place = Place::new();
    let address = free_address();
    let held = hold(&place.path("shipper-state"));
    let command = ["exec", "--admin-listen", &address.to_string(), "--", "/bin/true"].map(str::to_owned);
    let mut shipper = start(&place, place.ship(&command.each_ref().map(String::as_str)));
    until("the port is open", || listens(&shipper, address).then_some(()));
    has_helpers(&shipper).expect("the helpers were started before");
    drop(held);
    assert_eq!(shipper.code(), 0, "{}", shipper.stderr());
}

#[test]
fn a_lock_that_stays_held_is_an_error_within_seconds() {
    let place = Place::new();
    let _held = hold(&place.path("shipper-state"));
    for arguments in [&["run"][..], &["exec", "--", "/bin/true"]] {
        let began = Instant::now();
        let mut shipper = start(&place, place.ship(arguments));
        assert_eq!(shipper.code(), 11, "{}", shipper.stderr());
        assert!(shipper.stderr().contains("another shipper uses the state directory"), "{}", shipper.stderr());
        assert!(began.elapsed() < Duration::from_secs(20), "{arguments:?}: {:?}", began.elapsed());
    }
    assert!(names(&place.path("shipper-state")).iter().all(|name| name == "lock"));
}

#[test]
fn a_killed_shipper_can_be_restarted_before_it_is_reaped() {
    let place = Place::new();
    let lock = place.path("shipper-state/lock");
    let is_held = || File::open(&lock).is_ok_and(|lock| flock(&lock, FlockOperation::NonBlockingLockShared).is_err());
    for _ in 0..10 {
        let mut command = place.ship(&["run"]);
        command.stdin(Stdio::piped());
        let mut shipper = start(&place, command);
        until("it is at work", || is_held().then_some(()));
        shipper.signal(Signal::KILL);
        let (code, stderr) = finish(&place, place.ship(&["run"]));
        assert_eq!(code, 0, "{stderr}");
        shipper.kill();
    }
}
