//! A long outage of the store: memory stays limited, nothing is dropped, and a second signal loses nothing.

use std::io::Write as _;
use std::net::TcpListener;
use std::process::Stdio;

use rustix::process::{Pid, Signal};

use crate::program::{Place, free_address, get, start, until};
use crate::run::metric;

/// Lines that arrive meanwhile: far more than may be held in memory.
const LINES: usize = 400_000;
const LINE_BYTES: usize = 250;

/// Batches (8 MiB by default, and one), and the program's memory without them.
const MEMORY_MAX_KIB: u64 = 64 * 1024;

fn peak_kib(pid: Pid) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", pid.as_raw_pid())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    peak.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn memory_is_limited_during_an_outage_and_a_second_signal_loses_nothing() {
    let place = Place::new();
    let admin = free_address();
    // One host refuses connections, the other accepts them and never answers.
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
        // Hosts are unknown before the shipper has started.
        text.contains("shipper_requests_total{").then_some(())?;
        let tried = metric(&text, &format!("shipper_requests_total{{host=\"{silent}\"}}")) > 5.0;
        (metric(&text, "shipper_lines_pending") == LINES as f64 && tried && ejected(&silent)).then_some(text)
    });
    assert_eq!(metric(&text, "shipper_lines_read_total"), LINES as f64);
    let (held, most) = (metric(&text, "shipper_in_flight_bytes"), metric(&text, "shipper_in_flight_max_bytes"));
    // Plus the batch started below the limit, and what is added to its lines.
    assert!(held <= most + 2_200_000.0, "{held} bytes are in flight, of {most}");
    let troubles: Vec<_> =
        text.lines().filter(|line| line.starts_with("shipper_sink_error") && line.ends_with(" 1")).collect();
    assert!(matches!(&troubles[..], [one] if one.contains("unreachable") || one.contains("timed_out")), "{troubles:?}");
    let peak = peak_kib(shipper.pid());
    assert!(peak < MEMORY_MAX_KIB, "{peak} KiB at most");

    // Two different signals: two equal ones may be merged.
    shipper.signal(Signal::TERM);
    shipper.signal(Signal::INT);
    assert_eq!(shipper.code(), 3, "{}", shipper.stderr());
    assert!(shipper.stderr().contains(&format!("{LINES} lines are pending in")), "{}", shipper.stderr());
    drop(stdin);

    // Everything is there for the next start.
    let mut command = place.shipper(&["run", "--bootstrap", "off", "--admin-listen", &admin.to_string()]);
    command.args(["--shutdown-timeout-ms", "0"]).env("SHIPPER_TO", format!("http://{}", free_address()));
    command.stdin(Stdio::piped());
    let mut shipper = start(&place, command);
    let stdin = shipper.stdin();
    until("what waits is known", || {
        (metric(&get(admin, "/metrics")?.1, "shipper_lines_pending") == LINES as f64).then_some(())
    });
    drop(stdin);
    assert_eq!(shipper.code(), 3, "{}", shipper.stderr());
}

/// Twice the default segment size, at which a line of a pipe is cut.
const PIECE_BYTES: usize = 128 * 1024 * 1024;

/// A line of a pipe has no end to wait for. It is cut into pieces, each of which is a truncated line, and its
/// neighbours are unchanged.
#[test]
fn a_line_of_300_mib_from_a_pipe_is_cut_in_limited_memory() {
    const LINE_BYTES: usize = 300 * 1024 * 1024;
    let place = Place::new();
    let admin = free_address();
    let mut command = place.ship(&["run", "--admin-listen", &admin.to_string()]);
    command.stdin(Stdio::piped());
    let mut shipper = start(&place, command);
    let mut stdin = shipper.stdin();
    stdin.write_all(b"before\n").unwrap();
    let piece = vec![b'x'; 1024 * 1024];
    for _ in 0..LINE_BYTES / piece.len() {
        stdin.write_all(&piece).unwrap();
    }
    stdin.write_all(b"\nafter\n").unwrap();
    let pieces = LINE_BYTES.div_ceil(PIECE_BYTES);
    let text = until("all is stored", || {
        let (_, text) = get(admin, "/metrics")?;
        (metric(&text, "shipper_lines_stored_total") == (pieces + 2) as f64).then_some(text)
    });
    assert_eq!(metric(&text, "shipper_lines_read_total"), (pieces + 2) as f64);
    assert_eq!(metric(&text, "shipper_lines_wrapped_total{reason=\"too_long\"}"), pieces as f64);
    assert!(metric(&text, "shipper_bytes_read_total") > LINE_BYTES as f64);
    let peak = peak_kib(shipper.pid());
    assert!(peak < MEMORY_MAX_KIB, "{peak} KiB at most");
    drop(stdin);
    assert_eq!(shipper.code(), 0, "{}", shipper.stderr());
    let stored = place.stored();
    assert_eq!((stored.len(), stored[0].as_str(), stored[pieces + 1].as_str()), (pieces + 2, "before", "after"));
    // Each piece is truncated at the limit of a line.
    assert!(stored[1..=pieces].iter().all(|line| line.len() == 1024 * 1024 && line.bytes().all(|byte| byte == b'x')));
    let verified = place.ship(&["verify"]).output().unwrap();
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
}
