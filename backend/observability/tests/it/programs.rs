//! Process-wide behaviour: subscriber, `log` bridge, panic hook, standard output, exit. Each test runs this binary again as
//! a program, which is one of the ignored tests.

use std::process::{Command, Output};
use std::time::Duration;

use observability::{LogTarget, Observability, ObservabilitySettings, StartError};
use serde_json::Value;

/// Environment variable that makes the ignored tests run as programs.
const RUN: &str = "OBSERVABILITY_TEST_PROGRAM";

fn run(program: &str, variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(std::env::current_exe().unwrap());
    let name = format!("programs::{program}");
    command.args(["--ignored", "--exact", &name, "--nocapture", "--test-threads", "1"]);
    command.env(RUN, "1").env_remove("RUST_LOG").env_remove("RUST_BACKTRACE").envs(variables.iter().copied());
    command.output().unwrap()
}

/// The records in a program's output, which also has lines of the test harness.
fn records(output: &[u8]) -> Vec<Value> {
    let text = String::from_utf8(output.to_vec()).unwrap();
    let records = text.lines().filter_map(|line| line.find("{\"").map(|at| &line[at..]));
    records.map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

fn is_program() -> bool {
    std::env::var_os(RUN).is_some()
}

#[test]
#[ignore = "a program"]
fn exits() {
    if is_program() {
        let obs = Observability::from_env("exits").unwrap();
        assert!(matches!(Observability::from_env("exits"), Err(StartError::AlreadyInstalled)));
        for n in 0..10_000 {
            tracing::info!(n, "line");
        }
        assert!(obs.flush(Duration::from_secs(20)));
        std::process::exit(7);
    }
}

#[test]
fn lines_logged_before_a_flush_survive_an_exit() {
    let output = run("exits", &[("SERVICE_NAME", "named")]);
    assert_eq!(output.status.code(), Some(7));
    let records = records(&output.stdout);
    let numbers: Vec<_> = records.iter().filter_map(|line| line["n"].as_u64()).collect();
    assert_eq!(numbers, (0..10_000).collect::<Vec<_>>());
    assert!(records.iter().all(|line| line["service"] == "named"));
}

#[test]
#[ignore = "a program"]
fn panics() {
    if is_program() {
        let _obs = Observability::from_env("panics").unwrap();
        tracing::info!("before");
        let panicked =
            std::thread::Builder::new().name("worker".to_owned()).spawn(|| panic!("on\n\"purpose\"")).unwrap();
        assert!(panicked.join().is_err());
        // runs no destructor, so only the panic hook flushes
        std::process::abort();
    }
}

#[test]
fn a_panic_is_one_line_that_survives_an_abort() {
    let output = run("panics", &[]);
    assert!(!output.status.success());
    let records = records(&output.stdout);
    assert_eq!(records.len(), 2, "{records:?}");
    let panic = &records[1];
    assert_eq!((&panic["level"], &panic["message"]), (&"error".into(), &"panicked: on\n\"purpose\"".into()));
    assert_eq!((&panic["target"], &panic["thread"]), (&"panic".into(), &"worker".into()));
    assert!(panic["location"].as_str().unwrap().contains("programs.rs:"), "{panic}");
    assert!(!String::from_utf8_lossy(&output.stderr).contains("purpose"), "logged once");
    let output = run("panics", &[("RUST_BACKTRACE", "1")]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("stack backtrace"));
}

/// Logs a line when its thread ends, after the library's thread-locals may have been destroyed.
struct LogsAtThreadEnd;

impl Drop for LogsAtThreadEnd {
    fn drop(&mut self) {
        tracing::info!("at the thread's end");
    }
}

thread_local! {
    static FIRST: LogsAtThreadEnd = const { LogsAtThreadEnd };
}

#[test]
#[ignore = "a program"]
fn logs_at_the_end_of_a_thread() {
    if is_program() {
        let mut settings = ObservabilitySettings::new("ends");
        settings.log_target = LogTarget::Stderr;
        let obs = Observability::start(settings).unwrap();
        let thread = std::thread::spawn(|| {
            FIRST.with(|_| {});
            log::warn!(target: "crate_with_log", "logged with log");
        });
        thread.join().unwrap();
        assert!(obs.flush(Duration::from_secs(20)));
    }
}

#[test]
fn lines_at_a_threads_end_and_records_of_the_log_crate_are_written() {
    let output = run("logs_at_the_end_of_a_thread", &[]);
    assert!(output.status.success(), "{output:?}");
    assert!(records(&output.stdout).is_empty());
    let records = records(&output.stderr);
    assert_eq!(records.len(), 2, "{records:?}");
    let from_log = &records[0];
    assert_eq!((&from_log["target"], &from_log["level"]), (&"crate_with_log".into(), &"warn".into()));
    assert!(from_log.as_object().unwrap().keys().all(|key| !key.starts_with("log.")), "{from_log}");
    assert_eq!(records[1]["message"], "at the thread's end");
}

#[test]
#[ignore = "a program"]
fn starts() {
    if is_program() {
        let _obs = Observability::from_env("starts").unwrap_or_else(|error| {
            eprintln!("{error}");
            std::process::exit(2)
        });
        tracing::info!("started");
    }
}

#[test]
fn an_invalid_setting_is_rejected_and_named() {
    for (name, value) in [("LOG_FORMAT", "xml"), ("METRICS_LABEL_SETS", "0"), ("ADMIN_LISTEN", "1.2.3.4.5:1")] {
        let output = run("starts", &[(name, value)]);
        assert_eq!(output.status.code(), Some(2), "{name}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(name), "{output:?}");
    }
    let output = run("starts", &[("LOG_FORMAT", "bunyan")]);
    let records = records(&output.stdout);
    assert_eq!((&records[0]["name"], &records[0]["v"]), (&"starts".into(), &0.into()), "{records:?}");
}
