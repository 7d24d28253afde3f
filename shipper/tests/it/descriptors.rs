//! The limit on open files with the real program: raised at startup, restored for the command, and never exhausted.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Resource, Signal, getrlimit};

use crate::program::{Place, finish, free_address, get, start, until};
use crate::run::metric;

/// More files than the soft limit of the test allows, and fewer than the hard limit.
const FILES: usize = 400;

/// The command with these limits on open files, set by a shell.
pub(crate) fn limited(soft: u64, hard: u64, command: &Command) -> Command {
    let mut limited = Command::new("/bin/sh");
    limited.args(["-c", &format!("ulimit -Sn {soft} && ulimit -Hn {hard} && exec \"$@\""), "sh"]);
    limited.arg(command.get_program()).args(command.get_args()).current_dir(command.get_current_dir().unwrap());
    limited.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    limited.stdin(Stdio::null()).process_group(0);
    limited
}

/// The limits of a process, from the kernel.
fn limits(pid: Pid) -> (u64, u64) {
    let text = std::fs::read_to_string(format!("/proc/{}/limits", pid.as_raw_pid())).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    let mut words = line.split_whitespace().map(|word| word.parse().unwrap());
    (words.next().unwrap(), words.next().unwrap())
}

/// This hard limit, or that of the tests if lower.
fn hard(wanted: u64) -> u64 {
    getrlimit(Resource::Nofile).maximum.map_or(wanted, |maximum| maximum.min(wanted))
}

#[test]
fn the_soft_limit_is_raised_and_the_command_gets_its_own_back() {
    let place = Place::new();
    let hard = hard(20_000);
    let script = "ulimit -Sn > soft; ulimit -Hn > hard; echo $$ > pid; exec sleep 600";
    let mut shipper = start(&place, limited(1_024, hard, &place.script(script)));
    let command = place.pid("pid");
    assert_eq!((place.line("soft"), place.line("hard")), ("1024".to_owned(), hard.to_string()));
    assert_eq!(limits(command), (1_024, hard));
    assert_eq!(limits(shipper.pid()), (hard, hard));
    shipper.signal(Signal::TERM);
    assert_eq!(shipper.code(), 143, "{}", shipper.stderr());
}

#[test]
fn more_files_than_the_soft_limit_are_read_and_the_admin_port_responds() {
    let place = Place::new();
    for number in 0..FILES {
        std::fs::write(place.path(&format!("{number}.log")), format!("line of {number}\n")).unwrap();
    }
    let admin = free_address();
    let command = place.ship(&["run", "--file", "*.log", "--admin-listen", &admin.to_string()]);
    let mut shipper = start(&place, limited(128, hard(20_000), &command));
    until("all files are read", || {
        let (_, text) = get(admin, "/metrics")?;
        (metric(&text, "shipper_lines_stored_total") == FILES as f64).then_some(())
    });
    assert!(!shipper.stderr().contains("Too many open files"), "{}", shipper.stderr());
    shipper.signal(Signal::TERM);
    assert_eq!(shipper.code(), 0, "{}", shipper.stderr());
}

#[test]
fn a_low_hard_limit_keeps_a_reserve_and_is_logged() {
    let place = Place::new();
    std::fs::write(place.path("a.log"), "line\n").unwrap();
    let run = ["run", "--file", "*.log", "--until-idle", "--max-open-files"];
    let with = |max_open_files: &str| place.ship(&[&run[..], &[max_open_files]].concat());
    let (code, stderr) = finish(&place, limited(256, 256, &with("1000")));
    assert_eq!(code, 0, "{stderr}");
    assert!(stderr.contains("max_open_files lowered") && stderr.contains("\"system_limit\":256"), "{stderr}");
    let (code, stderr) = finish(&place, limited(256, 256, &with("50")));
    assert_eq!(code, 0, "{stderr}");
    assert!(!stderr.contains("max_open_files lowered"), "{stderr}");
}

/// With any limit the shipper either ships or reports why it does not start.
#[test]
fn a_too_low_limit_is_an_error_and_not_a_panic() {
    for limit in [3, 8, 16, 24, 31, 32, 40, 64] {
        let place = Place::new();
        std::fs::write(place.path("a.log"), "one\n").unwrap();
        let command = place.ship(&["run", "--file", "*.log", "--until-idle"]);
        let mut shipper = start(&place, limited(limit, limit, &command));
        let (code, text) = (shipper.code(), shipper.stderr());
        assert!(!text.contains("panicked"), "{limit}: {text}");
        if limit < 8 {
            // The program's libraries can't be opened.
            assert_ne!(code, 0, "{text}");
        } else if limit < 32 {
            assert_eq!(code, 17, "{limit}: {text}");
            assert!(text.contains(&format!("the limit on open files is {limit}, the minimum is 32")), "{text}");
        } else {
            assert_eq!((code, place.stored()), (0, vec!["one".to_owned()]), "{limit}: {text}");
        }
    }
}
