//! `shipper exec` with commands that end while processes that they started still have their standard output open:
//! daemons and background jobs.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::program::{Place, Stray, finish, is_gone, run, start, until};

/// How long the output is read without `--wait-for-eof`.
const GRACE: Duration = Duration::from_secs(2);

/// `exec` of a shell script with `--wait-for-eof`.
fn waiting(place: &Place, options: &[&str], script: &str) -> Command {
    let mut command = place.ship(&["exec", "--wait-for-eof"]);
    command.args(options).args(["--", "/bin/sh", "-c", script]);
    command
}

/// A command with this exit code that leaves a process in its own session, two generations down. It writes its process
/// id to the file `daemon` and runs `script`.
fn daemon(place: &Place, code: u8, script: &str) -> String {
    fs::write(place.path("daemon.sh"), format!("echo $$ > daemon\n{script}\n")).unwrap();
    format!(
        "setsid sh -c 'sh ./daemon.sh & exit' & while [ ! -s daemon ]; do sleep 0.02; done; echo first; exit {code}"
    )
}

const UNTIL_GO: &str = "while [ ! -e go ]; do sleep 0.02; done";

#[track_caller]
fn until_it_waits(shipper: &crate::program::Running) {
    until("the command has ended", || shipper.stderr().contains("waiting for end of output").then_some(()));
}

#[test]
fn output_held_open_by_others_is_warned_about_at_once() {
    let place = Place::new();
    let script = daemon(&place, 3, "while [ ! -e go ]; do sleep 0.02; done; echo late");
    let mut shipper = start(&place, place.script(&script));
    let daemon = Stray(place.pid("daemon"));
    until("it warns", || shipper.stderr().contains("output still open").then_some(()));
    fs::write(place.path("go"), "").unwrap();
    assert_eq!(shipper.code(), 3, "{}", shipper.stderr());
    let printed = shipper.stderr();
    for words in [&format!("sh ({})", daemon.0) as &str, "--wait-for-eof", "\"level\":\"warn\""] {
        assert!(printed.contains(words), "{words}: {printed}");
    }
    assert_eq!(place.stored(), ["first", "late"], "what comes in time is shipped");
}

#[test]
fn a_command_whose_output_nobody_holds_is_not_warned_of() {
    let place = Place::new();
    for options in [&["exec"][..], &["exec", "--wait-for-eof"]] {
        // The daemon has closed its output; the job ends with the command.
        let script = daemon(&place, 4, &format!("exec >/dev/null 2>&1; echo > closed; {UNTIL_GO}"));
        let script = script.replace("exit 4", "while [ ! -s closed ]; do sleep 0.02; done; exit 4");
        let mut command = place.ship(options);
        command.args(["--", "/bin/sh", "-c", &script]);
        let (code, printed) = finish(&place, command);
        let _daemon = Stray(place.pid("daemon"));
        assert_eq!(code, 4, "{printed}");
        assert!(!printed.contains("still open"), "{options:?}: {printed}");
        for name in ["daemon", "closed"] {
            fs::remove_file(place.path(name)).unwrap();
        }
    }
}

#[test]
fn output_is_shipped_until_the_last_process_closes_it() {
    let place = Place::new();
    let script = daemon(&place, 6, &format!("{UNTIL_GO}; echo late; (sh -c 'echo last') &"));
    let mut shipper = start(&place, waiting(&place, &[], &script));
    until_it_waits(&shipper);
    let began = Instant::now();
    until("more than the grace is over", || (began.elapsed() > GRACE + Duration::from_millis(500)).then_some(()));
    assert_eq!(shipper.has_ended(), None, "{}", shipper.stderr());
    assert!(shipper.stderr().contains(&format!("sh ({})", place.pid("daemon"))), "{}", shipper.stderr());
    fs::write(place.path("go"), "").unwrap();
    assert_eq!(shipper.code(), 6, "{}", shipper.stderr());
    assert_eq!(place.stored(), ["first", "late", "last"]);
}

#[test]
fn signals_reach_the_remaining_processes() {
    let place = Place::new();
    let traps = "trap 'echo got HUP' HUP; trap 'echo got TERM; exit' TERM; while :; do sleep 0.02; done";
    let mut shipper = start(&place, waiting(&place, &[], &daemon(&place, 7, traps)));
    until_it_waits(&shipper);
    shipper.signal(Signal::HUP);
    let got_it = || place.stored().contains(&"got HUP".to_owned()).then_some(());
    if !hangup_is_ignored() {
        until("it got SIGHUP", got_it);
    }
    shipper.signal(Signal::TERM);
    assert_eq!(shipper.code(), 7, "{}", shipper.stderr());
    assert_eq!(place.stored().last().unwrap(), "got TERM");
}

/// Whether SIGHUP is ignored, as under nohup; the shipper leaves it alone then.
fn hangup_is_ignored() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
    u64::from_str_radix(mask.trim(), 16).unwrap() & 1 != 0
}

#[test]
fn a_background_job_of_the_group_gets_signals_too() {
    let place = Place::new();
    let script = "sh -c 'trap \"echo ended; exit\" TERM; echo $$ > daemon; while :; do sleep 0.02; done' &
        while [ ! -s daemon ]; do sleep 0.02; done; exit 9";
    let mut shipper = start(&place, waiting(&place, &[], script));
    until_it_waits(&shipper);
    shipper.signal(Signal::TERM);
    assert_eq!(shipper.code(), 9, "{}", shipper.stderr());
    assert_eq!(place.stored(), ["ended"]);
}

#[test]
fn a_process_that_ignores_signals_does_not_delay_the_exit_forever() {
    for (options, signals) in [(&["--shutdown-timeout-ms=300"][..], 1), (&["--shutdown-timeout-ms=600000"], 2)] {
        let place = Place::new();
        let script = daemon(&place, 8, "trap '' TERM; echo > deaf; while :; do sleep 0.02; done");
        let script = script.replace("exit 8", "while [ ! -s deaf ]; do sleep 0.02; done; exit 8");
        let mut shipper = start(&place, waiting(&place, options, &script));
        let daemon = Stray(place.pid("daemon"));
        until_it_waits(&shipper);
        for _ in 0..signals {
            shipper.signal(Signal::TERM);
            // Two signals at once may be merged.
            std::thread::sleep(Duration::from_millis(100));
        }
        assert_eq!(shipper.code(), 8, "{}", shipper.stderr());
        assert!(shipper.stderr().contains("output still open at shutdown"), "{}", shipper.stderr());
        assert!(!is_gone(daemon.0));
        assert_eq!(place.stored(), ["first"]);
    }
}

#[test]
fn killing_the_shipper_terminates_the_remaining_processes() {
    let place = Place::new();
    let script = daemon(&place, 0, &format!("trap '' HUP; {UNTIL_GO}"));
    let mut shipper = start(&place, waiting(&place, &[], &script));
    let daemon = Stray(place.pid("daemon"));
    until_it_waits(&shipper);
    shipper.kill();
    until("the daemon has ended", || is_gone(daemon.0).then_some(()));
}

#[test]
fn wait_for_eof_is_for_exec_only() {
    let place = Place::new();
    let (code, printed) = run(&place, &["run", "--wait-for-eof"]);
    assert_eq!(code, 2, "{printed}");
    assert!(printed.contains("wait_for_eof: run always reads its input to the end"), "{printed}");
}
