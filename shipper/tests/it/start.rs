//! Startup while the store hangs, is unreachable, redirects, or is not checked.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::program::{Place, Running, finish, free_address, get, names, start, until};
use crate::run::metric;

/// Far longer than startup may wait for its store, and far shorter than the request timeout.
const WELL_BEFORE_A_TIMEOUT: Duration = Duration::from_secs(50);

/// A practically unlimited request timeout.
const NO_TIMEOUT: &str = "--request-timeout-ms=3600000";

/// A store that accepts connections and never answers.
fn silent() -> (TcpListener, String) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    (listener, url)
}

/// A store that redirects every request.
fn redirecting(elsewhere: SocketAddr) -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            // A small request arrives in one piece.
            let _ = stream.read(&mut [0; 64 * 1024]);
            let _ = write!(
                stream,
                "HTTP/1.1 302 Found\r\nlocation: http://{elsewhere}/login\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
            );
        }
    });
    url
}

/// The line of the shipper's own log that contains this text.
#[track_caller]
fn log_line(shipper: &Running, text: &str) -> String {
    until(text, || {
        let log = shipper.stderr();
        log.lines().find(|line| line.starts_with('{') && line.contains(text)).map(str::to_owned)
    })
}

#[test]
fn a_service_starts_while_its_store_hangs_and_its_lines_are_accepted() {
    let place = Place::new();
    let (_store, url) = silent();
    let begun = Instant::now();
    let script = ["--", "/bin/sh", "-c", "echo taken; exit 6"];
    let mut command = place.shipper(&["exec", NO_TIMEOUT, "--shutdown-timeout-ms", "100"]);
    command.args(script).env("SHIPPER_TO", &url);
    let (code, stderr) = finish(&place, command);
    assert!(begun.elapsed() < WELL_BEFORE_A_TIMEOUT, "{stderr}");
    assert_eq!(code, 6, "{stderr}");
    assert!(stderr.contains("store has not responded yet") && stderr.contains(&url), "{stderr}");
    assert!(stderr.contains("1 lines are pending in"), "{stderr}");
    assert_eq!(names(&place.path("shipper-state/spool/stdout")).len(), 1);
    let (code, stderr) = finish(&place, place.ship(&["run", "--until-idle"]));
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(place.stored(), ["taken"]);
}

#[test]
fn a_signal_ends_a_start_that_waits() {
    for arguments in [&["run"][..], &["exec", "--", "/bin/sh", "-c", "echo begun > begun; exec sleep 600"]] {
        let place = Place::new();
        let (store, url) = silent();
        let begun = Instant::now();
        let mut command = place.shipper(&arguments[..1]);
        command.args([NO_TIMEOUT, "--shutdown-timeout-ms", "0"]).args(&arguments[1..]);
        command.env("SHIPPER_TO", &url).stdin(Stdio::piped());
        let mut shipper = start(&place, command);
        let _stdin = shipper.stdin();
        // It is waiting for the store's answer.
        let _asked = store.accept().unwrap();
        shipper.signal(Signal::TERM);
        shipper.code();
        assert!(begun.elapsed() < WELL_BEFORE_A_TIMEOUT, "{}", shipper.stderr());
    }
}

#[test]
fn a_redirecting_store_is_reported_and_lines_stay_pending() {
    let place = Place::new();
    let elsewhere = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    elsewhere.set_nonblocking(true).unwrap();
    let admin = free_address();
    let mut command = place.shipper(&["run", "--admin-listen", &admin.to_string(), "--shutdown-timeout-ms", "0"]);
    command.env("SHIPPER_TO", redirecting(elsewhere.local_addr().unwrap())).stdin(Stdio::piped());
    let mut shipper = start(&place, command);
    let mut stdin = shipper.stdin();
    stdin.write_all(b"one\n").unwrap();
    let (_, reason) = until("it says so", || get(admin, "/readyz").filter(|(_, text)| text.contains("redirect")));
    assert!(reason.contains("the store rejects writes") && reason.contains("--to"), "{reason}");
    let text = get(admin, "/metrics").unwrap().1;
    assert_eq!(metric(&text, "shipper_sink_error{cause=\"address\"}"), 1.0);
    assert_eq!(metric(&text, "shipper_lines_pending"), 1.0);
    log_line(&shipper, "lines stay pending");
    assert!(elsewhere.accept().is_err(), "nothing goes there");
    drop(stdin);
    assert_eq!(shipper.code(), 3, "{}", shipper.stderr());
}

#[test]
fn a_disabled_check_is_reported() {
    let place = Place::new();
    let nobody = format!("http://{}", free_address());
    for (mode, is_expected) in [("off", true), ("check", false)] {
        let mut command = place.shipper(&["run", "--bootstrap", mode, "--shutdown-timeout-ms", "0"]);
        command.env("SHIPPER_TO", &nobody);
        let (_, stderr) = finish(&place, command);
        let warned = stderr.lines().any(|line| {
            line.contains("bootstrap is off: the store is not checked")
                && line.contains("\"warn\"")
                && line.contains(&nobody)
        });
        assert_eq!(warned, is_expected, "{stderr}");
    }
    let (_, stderr) = finish(&place, place.ship(&["run", "--bootstrap", "off"]));
    assert!(!stderr.contains("bootstrap is off"), "an embedded store has its tables when it is open: {stderr}");
}
