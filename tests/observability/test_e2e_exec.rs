//! `shipper exec`: the lines of any command are shipped unchanged, its exit code and signals are forwarded, it ends if the
//! shipper is killed, and undelivered lines and invalid configurations are reported.

use std::collections::BTreeSet;

use observability_tests::lines::is_access_line;
use observability_tests::program::Start;
use observability_tests::{http, port, wait};
use rustix::process::{Signal, test_kill_process};

use crate::test_store::{TestStore, assert_each_once, numbers_in_files, record, unique_name};

#[test]
fn the_lines_of_another_service_are_shipped_unchanged() {
    let store = TestStore::embedded();
    let state = tempfile::tempdir().unwrap();
    let address = port::free_address();
    let mut hello = store
        .shipper("exec", &state.path().join("state"))
        .arg("--")
        .arg(observability_tests::program::executable("examples/hello"))
        .env("PORT", address.port().to_string())
        .start_answering(address, "/metrics");
    let headers: [(&str, &[u8]); 2] = [("X-Request-Id", b"hello-1"), ("X-Project-Id", b"p-1")];
    assert_eq!(http::get_with(address, "/hello/world", &headers).text(), "hello, world\n");
    assert_eq!(hello.stop(), 0, "{}", hello.stderr());
    let lines = store.explorer().project("p-1");
    assert_eq!(lines.iter().filter(|line| is_access_line(line)).count(), 1, "{lines:#?}");
    assert!(lines.iter().all(|line| line["service"] == "hello" && line["request_id"] == "hello-1"), "{lines:#?}");
    assert!(lines.iter().any(|line| line["message"] == "greeting" && line["name"] == "world"), "{lines:#?}");
}

#[test]
fn the_shipper_exits_with_the_commands_code_and_ships_its_last_line() {
    let store = TestStore::embedded();
    let project = unique_name("last");
    let state = tempfile::tempdir().unwrap();
    for (n, code) in [0, 7, 255].into_iter().enumerate() {
        let script = format!("printf '%s' '{}'; exit {code}", record(&project, n));
        let mut shipper =
            store.shipper("exec", &state.path().join("state")).args(["--", "/bin/sh", "-c", &script]).start();
        assert_eq!(shipper.exit_code(), code, "{}", shipper.stderr());
    }
    assert_each_once(&store.explorer().project(&project), 3);
}

#[test]
fn a_signal_is_forwarded_and_the_remaining_lines_are_shipped() {
    let store = TestStore::embedded();
    let project = unique_name("signal");
    let folder = tempfile::tempdir().unwrap();
    let ready = folder.path().join("ready");
    for (n, signal) in [Signal::TERM, Signal::INT].into_iter().enumerate() {
        let script = format!(
            "trap 'echo '\\''{}'\\''; exit 9' TERM INT; touch {}; while :; do sleep 0.05; done",
            record(&project, n),
            ready.display()
        );
        let mut shipper =
            store.shipper("exec", &folder.path().join("state")).args(["--", "/bin/sh", "-c", &script]).start();
        wait::until("the command runs", || ready.exists().then_some(()));
        shipper.signal(signal);
        assert_eq!(shipper.exit_code(), 9, "{}", shipper.stderr());
        std::fs::remove_file(&ready).unwrap();
    }
    assert_each_once(&store.explorer().project(&project), 2);
}

#[test]
fn the_command_ends_if_the_shipper_is_killed() {
    let store = TestStore::embedded();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pid");
    let script = format!("echo $$ > {0}.new; mv {0}.new {0}; exec sleep 600", file.display());
    let mut shipper =
        store.shipper("exec", &folder.path().join("state")).args(["--", "/bin/sh", "-c", &script]).start();
    let service = wait::until("the command runs", || {
        let pid = std::fs::read_to_string(&file).ok()?.trim().parse().ok()?;
        rustix::process::Pid::from_raw(pid)
    });
    assert!(test_kill_process(service).is_ok());
    shipper.kill();
    wait::until("the command has ended", || test_kill_process(service).is_err().then_some(()));
}

#[test]
fn lines_that_a_store_that_is_down_did_not_accept_are_kept_and_reported() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let project = unique_name("down");
    let script = format!("echo '{}'; exit 3", record(&project, 0));
    let nobody = format!("http://{}", port::free_address());
    let mut shipper = Start::program("shipper")
        .args(["exec", "--to", &nobody, "--state-dir"])
        .arg(&state)
        .args(["--", "/bin/sh", "-c", &script])
        .start();
    assert_eq!(shipper.exit_code(), 3, "{}", shipper.stderr());
    assert!(!shipper.stderr().is_empty());
    assert_eq!(numbers_in_files(&state, &project), [0]);

    let store = TestStore::embedded();
    let mut shipper = store.shipper("run", &state).arg("--until-idle").start();
    assert_eq!(shipper.exit_code(), 0, "{}", shipper.stderr());
    assert_each_once(&store.explorer().project(&project), 1);
}

#[test]
fn an_invalid_configuration_fails_with_its_own_message_and_exit_code() {
    let store = TestStore::embedded();
    let folder = tempfile::tempdir().unwrap();
    let admin = port::free_address();
    let mut first = store
        .shipper("run", &folder.path().join("state"))
        .args(["--admin-listen", &admin.to_string()])
        .piped_stdin()
        .start_healthy(admin);
    std::fs::write(folder.path().join("a-file"), "").unwrap();

    let refused = |start: Start| {
        let mut shipper = start.start();
        let code = shipper.exit_code();
        let error = shipper.stderr();
        assert!(code != 0 && code != 101 && !error.is_empty() && !error.contains("panicked"), "{code}: {error}");
        code
    };
    let locked = refused(store.shipper("run", &folder.path().join("state")));
    let unwritable = refused(store.shipper("run", &folder.path().join("a-file/state")));
    let bad_url = refused(
        Start::program("shipper").args(["run", "--to", "ftp://x", "--state-dir"]).arg(folder.path().join("s1")),
    );
    let taken = refused(
        store.shipper("run", &folder.path().join("s2")).args(["--admin-listen", &admin.to_string()]).piped_stdin(),
    );
    let codes = BTreeSet::from([locked, unwritable, bad_url, taken]);
    assert_eq!(codes.len(), 4, "{codes:?}");
    assert_eq!(first.stop(), 0, "{}", first.stderr());
}
