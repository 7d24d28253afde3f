//! The store is down for long: memory stays bounded, nothing is given up, and a signal too many loses nothing.

use std::io::Write as _;
use std::net::TcpListener;
use std::process::Stdio;

use rustix::process::{Pid, Signal};

use crate::program::{Place, free_address, get, start, until};
use crate::run::metric;

/// What comes meanwhile: well more than may be held in memory.
const LINES: usize = 400_000;
const LINE_BYTES: usize = 250;

/// Batches (8 MiB by default, and one), and what the program has without them.
const MEMORY_MAX_KIB: u64 = 64 * 1024;

fn peak_kib(pid: Pid) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", pid.as_raw_pid())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    peak.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn memory_is_bounded_however_long_the_store_is_down_and_a_second_signal_loses_nothing() {
    let place = Place::new();
    let admin = free_address();
    // One host refuses connections, the other takes them and never answers.
    let silent = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let to = format!("http://{},http://{}", free_address(), silent.local_addr().unwrap());
    let mut command = place.shipper(&["run", "--bootstrap", "off", "--request-timeout-ms", "200"]);
    command.args(["--retry-max-ms", "200", "--shutdown-timeout-ms", "600000", "--admin-listen", &admin.to_string()]);
    command.env("SHIPPER_TO", to).stdin(Stdio::piped());
    let mut shipper = start(&place, command);
    let mut stdin = shipper.stdin();
    let line = "x".repeat(LINE_BYTES - 1) + "\n";
    let chunk = line.repeat(1_000);
    for _ in 0..LINES / 1_000 {
        stdin.write_all(chunk.as_bytes()).unwrap();
    }
    let text = until("all is taken, and both hosts were tried often", || {
        let (_, text) = get(admin, "/metrics")?;
        let ejected = |host: &str| text.contains(&format!("shipper_host_up{{host=\"{host}\"}} 0"));
        let silent = silent.local_addr().unwrap().to_string();
        let tried = metric(&text, &format!("shipper_requests_total{{host=\"{silent}\"}}")) > 5.0;
        (metric(&text, "shipper_lines_waiting") == LINES as f64 && tried && ejected(&silent)).then_some(text)
    });
    assert_eq!(metric(&text, "shipper_lines_read_total"), LINES as f64);
    let (held, most) = (metric(&text, "shipper_in_flight_bytes"), metric(&text, "shipper_in_flight_max_bytes"));
    // The batch that was begun below the bound, with what is added to its lines.
    assert!(held <= most + 2_200_000.0, "{held} bytes are in flight, of {most}");
    let troubles: Vec<_> =
        text.lines().filter(|line| line.starts_with("shipper_sink_trouble") && line.ends_with(" 1")).collect();
    assert!(matches!(&troubles[..], [one] if one.contains("unreachable") || one.contains("timed_out")), "{troubles:?}");
    let peak = peak_kib(shipper.pid());
    assert!(peak < MEMORY_MAX_KIB, "{peak} KiB at most");

    // Two that differ: of two alike, one may be all that comes.
    shipper.signal(Signal::TERM);
    shipper.signal(Signal::INT);
    assert_eq!(shipper.code(), 3, "{}", shipper.stderr());
    assert!(shipper.stderr().contains(&format!("{LINES} lines could not be shipped yet")), "{}", shipper.stderr());
    drop(stdin);

    // All of it is there for the next start.
    let mut command = place.shipper(&["run", "--bootstrap", "off", "--admin-listen", &admin.to_string()]);
    command.args(["--shutdown-timeout-ms", "0"]).env("SHIPPER_TO", format!("http://{}", free_address()));
    command.stdin(Stdio::piped());
    let mut shipper = start(&place, command);
    let stdin = shipper.stdin();
    until("what waits is known", || {
        (metric(&get(admin, "/metrics")?.1, "shipper_lines_waiting") == LINES as f64).then_some(())
    });
    drop(stdin);
    assert_eq!(shipper.code(), 3, "{}", shipper.stderr());
}
