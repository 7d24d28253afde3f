//! `shipper run`, `bootstrap` and the admin port with the real program.

use std::io::Write as _;
use std::net::TcpListener;
use std::process::Stdio;

use rustix::process::Signal;

use crate::program::{Place, finish, free_address, get, names, start, until};

#[test]
fn standard_input_is_shipped_to_the_end() {
    let place = Place::new();
    let mut command = place.ship(&["run"]);
    command.stdin(Stdio::piped());
    let mut shipper = start(&place, command);
    shipper.stdin().write_all(b"one\ntwo\nthree, without an end").unwrap();
    assert_eq!(shipper.code(), 0, "{}", shipper.stderr());
    assert_eq!(place.stored(), ["one", "two", "three, without an end"]);
}

#[test]
fn a_signal_ends_reading_and_pending_lines_are_shipped() {
    let place = Place::new();
    for (signal, line) in [(Signal::TERM, "by TERM"), (Signal::INT, "by INT")] {
        let mut command = place.ship(&["run"]);
        command.stdin(Stdio::piped());
        let mut shipper = start(&place, command);
        let mut stdin = shipper.stdin();
        writeln!(stdin, "{line}, first").unwrap();
        until("it reads", || place.stored().contains(&format!("{line}, first")).then_some(()));
        writeln!(stdin, "{line}, last").unwrap();
        shipper.signal(signal);
        assert_eq!(shipper.code(), 0, "{}", shipper.stderr());
        assert_eq!(place.stored().last(), Some(&format!("{line}, last")));
    }
}

#[test]
fn files_are_shipped_until_idle() {
    let place = Place::new();
    std::fs::write(place.path("a.log"), "a1\na2\n").unwrap();
    std::fs::write(place.path("b.log"), "b1, without an end").unwrap();
    let (code, stderr) = finish(&place, place.ship(&["run", "--file", "*.log", "--until-idle"]));
    assert_eq!(code, 0, "{stderr}");
    let mut stored = place.stored();
    stored.sort();
    assert_eq!(stored, ["a1", "a2", "b1, without an end"]);
}

#[test]
fn until_idle_continues_while_lines_are_pending() {
    let place = Place::new();
    std::fs::write(place.path("a.log"), "kept\n").unwrap();
    let mut command = place.shipper(&["run", "--file", "a.log", "--until-idle", "--shutdown-timeout-ms", "100"]);
    command.env("SHIPPER_TO", format!("http://{}", free_address()));
    let mut shipper = start(&place, command);
    until("it says that lines wait", || shipper.stderr().contains("the store does not respond").then_some(()));
    shipper.signal(Signal::TERM);
    assert_eq!(shipper.code(), 3, "{}", shipper.stderr());
    let (code, stderr) = finish(&place, place.ship(&["run", "--file", "a.log", "--until-idle"]));
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(place.stored(), ["kept"]);
}

#[test]
fn pending_lines_at_the_end_of_input_stay_for_the_next_start() {
    let place = Place::new();
    let mut command = place.shipper(&["run", "--shutdown-timeout-ms", "100"]);
    command.env("SHIPPER_TO", format!("http://{}", free_address())).stdin(Stdio::piped());
    let mut shipper = start(&place, command);
    shipper.stdin().write_all(b"one\ntwo\n").unwrap();
    assert_eq!(shipper.code(), 3, "{}", shipper.stderr());
    assert!(shipper.stderr().contains("2 lines are pending in"), "{}", shipper.stderr());
    assert_eq!(names(&place.path("shipper-state/spool/stdin")).len(), 1);
    let (code, stderr) = finish(&place, place.ship(&["run", "--until-idle"]));
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(place.stored(), ["one", "two"]);
}

#[test]
fn each_startup_error_is_one_line_with_its_own_code() {
    let place = Place::new();
    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let nobody = format!("http://{}", free_address());
    std::fs::write(place.path("a-file"), "").unwrap();
    std::fs::create_dir(place.path("a-folder")).unwrap();
    let cases: [(&[&str], i32, &str); 8] = [
        (&["run", "--to", "ftp://x"], 2, "expected sqlite:PATH or http(s)://"),
        (&["run", "--to", "sqlite:x", "--state-dir", "a-file/state"], 10, "set another one with --state-dir"),
        (&["run", "--to", "sqlite:a-folder"], 12, "can't open the store"),
        (&["bootstrap", "--to", "sqlite:a-folder"], 12, "can't open the store"),
        (&["bootstrap", "--to", &nobody], 13, "does not respond"),
        (&["preflight", "--to", "sqlite:a-folder"], 12, "can't open the store"),
        (&["preflight", "--to", &nobody], 13, "does not respond"),
        (&["run", "--to", "sqlite:x", "--admin-listen", &taken], 14, "set another address with --admin-listen"),
    ];
    for (arguments, code, says) in cases {
        let (found, stderr) = finish(&place, place.shipper(arguments));
        assert_eq!(found, code, "{arguments:?}: {stderr}");
        assert!(stderr.starts_with("shipper: ") && stderr.contains(says), "{arguments:?}: {stderr}");
        assert_eq!(stderr.lines().count(), 1, "{arguments:?}: {stderr}");
    }
}

#[test]
fn preflight_prints_its_findings() {
    let place = Place::new();
    let output = place.ship(&["preflight"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let printed = String::from_utf8(output.stdout).unwrap();
    assert_eq!(
        printed,
        "sqlite:logs.db: pipeline not used, template in place\ntemplate in force: not used\nsample lines: not used\n\
         rights: proven\nindex blocks: not used\ncluster blocks: not used\n"
    );
}

#[test]
fn a_state_directory_has_one_shipper() {
    let place = Place::new();
    let admin = free_address();
    let mut command = place.ship(&["run", "--admin-listen", &admin.to_string()]);
    command.stdin(Stdio::piped());
    let mut first = start(&place, command);
    let stdin = first.stdin();
    until("the first is ready", || get(admin, "/readyz").filter(|(status, _)| *status == 200));
    let (code, stderr) = finish(&place, place.ship(&["run"]));
    assert_eq!(code, 11, "{stderr}");
    assert!(stderr.contains("another shipper uses the state directory"), "{stderr}");
    drop(stdin);
    assert_eq!(first.code(), 0, "{}", first.stderr());
}

#[test]
fn the_admin_port_serves_metrics_and_health() {
    let place = Place::new();
    let admin = free_address();
    let mut command = place.ship(&["run", "--admin-listen", &admin.to_string()]);
    command.stdin(Stdio::piped());
    let mut shipper = start(&place, command);
    let mut stdin = shipper.stdin();
    stdin.write_all(b"one\n{\"a\":1}\n").unwrap();
    let text = until("both are stored", || {
        let (status, text) = get(admin, "/metrics")?;
        assert_eq!(status, 200, "{text}");
        let of = |name: &str| metric(&text, &format!("shipper_lines_{name}"));
        let disposed =
            of("stored_total") + of("already_stored_total") + of("dead_lettered_total") + of("dropped_total");
        assert_eq!(of("read_total"), disposed + of("pending"), "{text}");
        (of("stored_total") == 2.0).then_some(text)
    });
    assert_eq!(metric(&text, "shipper_lines_wrapped_total{reason=\"not_json\"}"), 1.0);
    assert!(text.contains("process_resident_memory_bytes"), "{text}");
    assert_eq!(get(admin, "/healthz"), Some((200, "alive\n".to_owned())));
    assert_eq!(get(admin, "/readyz"), Some((200, "ready\n".to_owned())));
    drop(stdin);
    assert_eq!(shipper.code(), 0, "{}", shipper.stderr());
}

#[test]
fn readyz_reports_why_lines_are_pending() {
    let place = Place::new();
    let admin = free_address();
    let mut command = place.shipper(&["run", "--admin-listen", &admin.to_string(), "--shutdown-timeout-ms", "0"]);
    command.env("SHIPPER_TO", format!("http://{}", free_address())).stdin(Stdio::piped());
    let mut shipper = start(&place, command);
    let mut stdin = shipper.stdin();
    stdin.write_all(b"one\n").unwrap();
    until("it is not ready", || {
        let (status, reason) = get(admin, "/readyz")?;
        (status == 503 && reason.starts_with("the store does not respond: ")).then_some(())
    });
    assert_eq!(get(admin, "/healthz").unwrap().0, 200);
    let text = get(admin, "/metrics").unwrap().1;
    assert_eq!(metric(&text, "shipper_delivery_paused"), 1.0);
    assert_eq!(metric(&text, "shipper_sink_error{cause=\"unreachable\"}"), 1.0);
    until("the line is seen to get older", || {
        (metric(&get(admin, "/metrics")?.1, "shipper_lag_seconds") >= 1.0).then_some(())
    });
    drop(stdin);
    assert_eq!(shipper.code(), 3, "{}", shipper.stderr());
}

#[test]
fn the_log_is_json_on_standard_error() {
    let place = Place::new();
    let mut command = place.shipper(&["run", "--shutdown-timeout-ms", "0", "--name", "edge"]);
    command
        .env("SHIPPER_TO", format!("http://{}", free_address()))
        .env("SHIPPER_LOG_FILTER", "warn")
        .env("RUST_LOG", "off");
    let (_, stderr) = finish(&place, command);
    let line = stderr.lines().find(|line| line.starts_with('{')).unwrap_or_else(|| panic!("{stderr}"));
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    assert_eq!((line["service"].as_str(), line["level"].as_str()), (Some("edge"), Some("warn")), "{line}");
    let mut command = place.ship(&["run"]);
    command.env("SHIPPER_LOG_FILTER", "info,=");
    let (code, stderr) = finish(&place, command);
    assert!(code == 2 && stderr.contains("log_filter: \"info,=\""), "{code}: {stderr}");
}

#[test]
fn a_log_filter_is_valid_or_rejected_by_name() {
    for (filter, directive) in
        [("info, shipper=loud", "shipper=loud"), ("inof", "inof"), ("info;a=debug", "info;a=debug")]
    {
        let place = Place::new();
        let mut command = place.ship(&["check-config"]);
        command.env("SHIPPER_LOG_FILTER", filter);
        let (code, stderr) = finish(&place, command);
        assert!(code == 2 && stderr.contains(&format!("{directive:?}")), "{filter}: {code}: {stderr}");
    }
    for (filter, writes) in
        [("info,", true), (" info , ,", true), ("INFO", true), ("3", true), ("", true), (" , ", true), ("off", false)]
    {
        let place = Place::new();
        let mut command = place.shipper(&["run", "--shutdown-timeout-ms", "0"]);
        command.env("SHIPPER_TO", format!("http://{}", free_address())).env("SHIPPER_LOG_FILTER", filter);
        let (code, stderr) = finish(&place, command);
        assert!(
            code != 2 && stderr.lines().any(|line| line.starts_with('{')) == writes,
            "{filter:?}: {code}: {stderr}"
        );
    }
}

#[track_caller]
pub(crate) fn metric(text: &str, name: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{name} is not in\n{text}")).parse().unwrap()
}

#[test]
fn pending_lines_are_reported_with_their_location() {
    let place = Place::new();
    std::fs::write(place.path("a.log"), "one\ntwo\n").unwrap();
    let nowhere = format!("http://{}", free_address());
    let mut shipper = place.shipper(&["run", "--file", "*.log", "--shutdown-timeout-ms", "100"]);
    shipper.env("SHIPPER_TO", nowhere);
    let mut shipper = start(&place, shipper);
    until("lines wait", || shipper.stderr().contains("delivery paused").then_some(()));
    shipper.signal(Signal::TERM);
    assert_eq!(shipper.code(), 3, "{}", shipper.stderr());
    let text = shipper.stderr();
    assert!(text.contains("2 lines are pending in their files"), "{text}");
    assert!(!text.contains("pending in shipper-state"), "{text}");
    let (code, stderr) = finish(&place, place.ship(&["run", "--file", "*.log", "--until-idle"]));
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(place.stored(), ["one", "two"]);
}
