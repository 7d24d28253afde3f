//! `shipper exec` with real commands: exit codes, signals, killing the shipper, and output that can't be shipped.

use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use crate::program::{Place, Stray, finish, free_address, is_gone, names, start, until};

/// A script that reports each of these signals, and ends at the last one.
const TRAPS: &str = "
    trap 'echo got INT' INT; trap 'echo got HUP' HUP; trap 'echo got QUIT' QUIT; trap 'echo got USR1' USR1; trap 'echo got USR2' USR2
    trap 'echo got TERM; exit 9' TERM
    echo $$ > pid; while :; do sleep 0.02; done";

#[test]
fn the_exit_code_is_the_commands_and_its_last_line_is_stored() {
    let place = Place::new();
    for (script, code) in [
        ("printf 'zero\\n'", 0),
        ("printf 'seven, without an end'; exit 7", 7),
        ("echo most; exit 255", 255),
        ("echo killed; kill -KILL $$", 137),
        ("echo ended; kill -TERM $$", 143),
    ] {
        let (found, stderr) = finish(&place, place.script(script));
        assert_eq!(found, code, "{script}: {stderr}");
    }
    assert_eq!(place.stored(), ["zero", "seven, without an end", "most", "killed", "ended"]);
}

#[test]
fn a_command_that_can_not_be_run_is_told_as_a_shell_does() {
    let place = Place::new();
    for (command, code, says) in [
        ("no-such-command-anywhere", 127, "command no-such-command-anywhere not found"),
        ("/etc/passwd", 126, "can't execute /etc/passwd"),
    ] {
        let (found, stderr) = finish(&place, place.ship(&["exec", "--", command]));
        assert_eq!(found, code, "{stderr}");
        assert!(stderr.starts_with("shipper: ") && stderr.contains(says), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
    }
}

#[test]
fn signals_are_forwarded() {
    let place = Place::new();
    let mut shipper = start(&place, place.script(TRAPS));
    place.pid("pid");
    let mut signals =
        vec![("INT", Signal::INT), ("QUIT", Signal::QUIT), ("USR1", Signal::USR1), ("USR2", Signal::USR2)];
    // Under nohup it is ignored, and stays so.
    if !is_ignored(Signal::HUP) {
        signals.push(("HUP", Signal::HUP));
    }
    for (name, signal) in &signals {
        shipper.signal(*signal);
        let reported = format!("got {name}");
        until("the command got the signal", || (place.stored().last() == Some(&reported)).then_some(()));
    }
    shipper.signal(Signal::TERM);
    assert_eq!(shipper.code(), 9, "{}", shipper.stderr());
    assert_eq!(place.stored().len(), signals.len() + 1, "{:?}", place.stored());
}

fn is_ignored(signal: Signal) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
    u64::from_str_radix(mask.trim(), 16).unwrap() & (1 << (signal.as_raw() - 1)) != 0
}

#[test]
fn signals_reach_the_whole_group() {
    let place = Place::new();
    let script = "sh -c 'trap \"echo inner; exit\" TERM; echo $$ > inner; while :; do sleep 0.02; done' &
        trap 'wait; echo outer; exit 4' TERM; echo $$ > pid; while :; do sleep 0.02; done";
    let mut shipper = start(&place, place.script(script));
    let inner = Stray(place.pid("inner"));
    place.pid("pid");
    shipper.signal(Signal::TERM);
    assert_eq!(shipper.code(), 4, "{}", shipper.stderr());
    assert!(is_gone(inner.0));
    assert_eq!(place.stored(), ["inner", "outer"]);
}

#[test]
fn the_command_has_a_group_of_its_own_and_none_of_the_shippers_files() {
    let place = Place::new();
    let script = "echo $$ > pid; cut -d' ' -f5 /proc/$$/stat > group; for fd in /proc/$$/fd/*; do echo ${fd##*/}; done";
    let (code, stderr) = finish(&place, place.script(script));
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(place.line("pid"), place.line("group"));
    let files = place.stored();

    // Compare with a run without the shipper: the test's own process may pass open files too.
    let output = Command::new("/bin/sh").args(["-c", script]).current_dir(&place.folder).output().unwrap();
    let without: Vec<_> = String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
    assert_eq!(files, without);
}

#[test]
fn the_command_reads_the_shippers_input() {
    let place = Place::new();
    let mut command = place.ship(&["exec", "--", "cat"]);
    command.stdin(Stdio::piped());
    let mut shipper = start(&place, command);
    shipper.stdin().write_all(b"by way of cat\n").unwrap();
    assert_eq!(shipper.code(), 0, "{}", shipper.stderr());
    assert_eq!(place.stored(), ["by way of cat"]);
}

#[test]
fn the_service_is_the_commands_name() {
    let place = Place::new();
    let (code, stderr) = finish(&place, place.ship(&["exec", "--", "/bin/echo", "hello"]));
    assert_eq!(code, 0, "{stderr}");
    let output = place.ship(&["check-config", "--name", "x"]).output().unwrap();
    assert!(String::from_utf8(output.stdout).unwrap().contains("service = \"unknown\""));
    let database = std::fs::read(place.path("logs.db")).unwrap();
    assert!(String::from_utf8_lossy(&database).contains("\"service\":\"echo\""));
}

#[test]
fn a_killed_shipper_takes_its_command_along() {
    let place = Place::new();
    let script = "sleep 600 & echo $! > inner; echo $$ > pid; wait";
    let mut shipper = start(&place, place.script(script));
    let (inner, outer) = (Stray(place.pid("inner")), Stray(place.pid("pid")));
    shipper.kill();
    until("the whole group has ended", || (is_gone(inner.0) && is_gone(outer.0)).then_some(()));
    until("the guard says why", || shipper.stderr().contains("the shipper was killed").then_some(()));
}

#[test]
fn a_killed_shipper_takes_a_command_along_that_does_not_want_to_end() {
    let place = Place::new();
    let script = "trap '' TERM; echo $$ > pid; while :; do sleep 0.1; done";
    let mut shipper = start(&place, place.script(script));
    let service = Stray(place.pid("pid"));
    let killed = Instant::now();
    shipper.kill();
    until("the command has ended", || is_gone(service.0).then_some(()));
    assert!(killed.elapsed() > Duration::from_secs(5), "it had no time to end by itself");
}

#[test]
fn whenever_the_shipper_is_killed_no_command_outlives_it() {
    let place = Place::new();
    let here = place.folder.path().canonicalize().unwrap();
    let mut begun = 0;
    for round in 0..40 {
        let mut shipper = start(&place, place.script("echo $$ > begun; exec sleep 600"));
        if round % 4 == 0 {
            place.line("begun");
        } else {
            // The exact moment does not matter, so it is varied.
            std::thread::sleep(Duration::from_millis(round));
        }
        shipper.kill();
        begun += usize::from(std::fs::remove_file(place.path("begun")).is_ok());
    }
    assert!(begun >= 10, "{begun}");
    until("nothing of them is left", || processes_in(&here).is_empty().then_some(()));
}

/// Processes whose working directory is this folder.
fn processes_in(folder: &Path) -> Vec<String> {
    let is_in = |name: &String| std::fs::read_link(format!("/proc/{name}/cwd")).is_ok_and(|cwd| cwd == folder);
    let is_running = |name: &String| name.parse().ok().and_then(Pid::from_raw).is_some_and(|pid| !is_gone(pid));
    names(Path::new("/proc")).into_iter().filter(is_in).filter(is_running).collect()
}

#[test]
fn a_command_that_nobody_lets_begin_does_not() {
    let place = Place::new();
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut command = place.shipper(&["__start", "1024", "/bin/sh", "-c", "echo $$ > begun"]);
    let mut waiting = command.stdout(OwnedFd::from(theirs)).spawn().unwrap();
    drop(command);
    assert!(waiting.try_wait().unwrap().is_none(), "it waits for the word");
    drop(ours);
    until("it sees that the shipper has ended", || waiting.try_wait().unwrap());
    assert_eq!(names(place.folder.path()), [""; 0]);
}

#[test]
fn output_held_open_by_others_does_not_delay_the_exit() {
    let place = Place::new();
    let script = "sleep 600 & echo $! > inner; echo before; exit 3";
    let began = Instant::now();
    let (code, stderr) = finish(&place, place.script(script));
    let inner = Stray(place.pid("inner"));
    assert_eq!(code, 3, "{stderr}");
    assert!(began.elapsed() < Duration::from_secs(30));
    assert!(!is_gone(inner.0), "what the command left running is its own affair");
    assert_eq!(place.stored(), ["before"]);
}

#[test]
fn endless_output_does_not_delay_the_exit() {
    let place = Place::new();
    let script = "(while :; do echo again; done) & echo $! > inner; exit 5";
    let mut shipper = start(&place, place.script(script));
    let _inner = Stray(place.pid("inner"));
    assert_eq!(shipper.code(), 5, "{}", shipper.stderr());
}

#[test]
fn lines_that_can_not_be_shipped_stay_for_the_next_start() {
    let place = Place::new();
    let mut command =
        place.shipper(&["exec", "--shutdown-timeout-ms", "100", "--", "/bin/sh", "-c", "echo kept; exit 6"]);
    command.env("SHIPPER_TO", format!("http://{}", free_address()));
    let (code, stderr) = finish(&place, command);
    assert_eq!(code, 6, "{stderr}");
    let reported: Vec<_> = stderr.lines().filter(|line| line.starts_with("shipper: ")).collect();
    assert_eq!(reported.len(), 1, "{stderr}");
    assert!(reported[0].contains("1 lines are pending in shipper-state"), "{stderr}");
    assert_eq!(names(&place.path("shipper-state/spool/stdout")).len(), 1);

    let (code, stderr) = finish(&place, place.ship(&["run", "--until-idle"]));
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(place.stored(), ["kept"]);
}

#[test]
fn input_without_room_is_reported() {
    let place = Place::new();
    let small = ["--spool-max-bytes=8192", "--line-max-bytes=1024", "--on-full=wait", "--shutdown-timeout-ms=100"];
    let script = "i=0; while [ $i -lt 2000 ]; do echo this line finds room or it does not; i=$((i+1)); done; exit 2";
    let mut command = place.shipper(&["exec"]);
    command.args(small).args(["--", "/bin/sh", "-c", script]);
    command.env("SHIPPER_TO", format!("http://{}", free_address()));
    let (code, stderr) = finish(&place, command);
    assert_eq!(code, 2, "{stderr}");
    assert!(stderr.contains("bytes at the end of the input were not accepted"), "{stderr}");

    let (code, stderr) = finish(&place, place.ship(&["run", "--until-idle"]));
    assert_eq!(code, 0, "{stderr}");
    assert!(!place.stored().is_empty(), "what found room is stored");
}

#[test]
fn a_second_signal_ends_the_shutdown_without_losing_lines() {
    let place = Place::new();
    let script = "trap 'echo last; exit 8' TERM; echo $$ > pid; while :; do sleep 0.02; done";
    let mut command = place.shipper(&["exec", "--shutdown-timeout-ms", "600000", "--", "/bin/sh", "-c", script]);
    command.env("SHIPPER_TO", format!("http://{}", free_address()));
    let mut shipper = start(&place, command);
    let service = place.pid("pid");
    shipper.signal(Signal::TERM);
    until("the command has ended", || is_gone(service).then_some(()));
    // The shipper may not have noticed the command's end; this signal is then for the command, and the next one ends
    // the shutdown.
    let code = until("the shipper ends", || {
        shipper.signal(Signal::TERM);
        shipper.has_ended()
    });
    assert_eq!(code, 8, "{}", shipper.stderr());

    let (code, stderr) = finish(&place, place.ship(&["run", "--until-idle"]));
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(place.stored(), ["last"]);
}
