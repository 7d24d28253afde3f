//! The load test's script works, reports obstacles and judges by its limits. The measured figures are not judged here,
//! because tests share the machine.

use std::fs::File;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use observability_tests::port;
use observability_tests::program::executable;
use observability_tests::schema::repository;
use rustix::process::{Pid, Signal, kill_process};

fn folder() -> PathBuf {
    repository().join("specs/003-improve-observability-prometheus/load-tests")
}

/// The script for the service built by the tests, on two consecutive ports.
fn script(first_port: u16) -> Command {
    let mut command = Command::new(folder().join("run_wrk.sh"));
    command.stdin(Stdio::null()).env("BIN", executable("examples/load")).env("PORT", first_port.to_string());
    command
}

/// Runs the script and returns its output and status. The output goes to files, because a service left running would keep
/// a pipe open.
fn run(command: &mut Command) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| File::create(folder.path().join(name)).unwrap();
    let status = command.stdout(file("stdout")).stderr(file("stderr")).status().unwrap();
    let read = |name: &str| std::fs::read(folder.path().join(name)).unwrap();
    Output { status, stdout: read("stdout"), stderr: read("stderr") }
}

/// The running services that were started with this port. Checking the port alone is not enough, because another test may
/// use it once it is free.
fn services_on(port: u16) -> Vec<Pid> {
    let listen = format!("LISTEN=127.0.0.1:{port}");
    let is_told = |pid: &Pid| {
        let environ = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environ.split(|byte| *byte == 0).any(|variable| variable == listen.as_bytes())
    };
    let names = std::fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().file_name());
    let numbers = names.filter_map(|name| name.to_str()?.parse().ok());
    numbers.filter_map(Pid::from_raw).filter(is_told).collect()
}

/// The only line of standard error.
#[track_caller]
fn only_line(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(text.lines().count(), 1, "{text}");
    text
}

#[test]
fn load_test_measures_both_services_and_leaves_none_running() {
    let first = port::first_of_two_free();
    let output = run(script(first).arg("--quick"));
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{stdout}{stderr}");
    for row in ["flat out", "1000 requests a second", "  p99.9, ms", "  CPU, us a request", "Not judged"] {
        assert!(stdout.contains(row), "{row}: {stdout}");
    }
    let rates: Vec<&str> = stdout.lines().filter(|line| line.starts_with("  requests a second")).collect();
    let numbers = |line: &str| line.split_whitespace().filter_map(|word| word.parse().ok()).collect::<Vec<f64>>();
    assert_eq!(rates.len(), 2, "{stdout}");
    assert!(rates.iter().all(|line| numbers(line)[..2].iter().all(|rate| *rate > 0.0)), "{stdout}");
    let left: Vec<Pid> = [first, first + 1].into_iter().flat_map(services_on).collect();
    for pid in &left {
        let _ = kill_process(*pid, Signal::KILL);
    }
    assert!(left.is_empty(), "services are still running: {left:?}");
}

#[test]
fn load_test_reports_an_obstacle_in_one_line() {
    let port = port::free_address().port();
    let taken = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let output = run(script(port).arg("--quick").env("WRK", "/bin/true"));
    assert_eq!(output.status.code(), Some(75));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.lines().last().unwrap().contains(&format!("port {port} is taken: set PORT")), "{text}");
    drop(taken);

    let output = run(script(port::first_of_two_free()).arg("--quick").env("WRK", "/nowhere/wrk"));
    assert_eq!(output.status.code(), Some(69));
    assert!(only_line(&output).contains("missing: WRK=/nowhere/wrk"));

    for (arguments, variable) in
        [(&["--long"][..], ("RATE", "1000")), (&[], ("RATE", "fast")), (&[], ("PORT", "65535"))]
    {
        let output = run(script(8181).args(arguments).env(variable.0, variable.1));
        assert_eq!(output.status.code(), Some(64), "{arguments:?} {variable:?}");
        only_line(&output);
    }
}

/// A result row of the script for a run of one second: requests, errors, p50 and p99 in milliseconds, CPU milliseconds.
fn row(mode: &str, side: &str, requests: u64, errors: u64, p50: u64, p99: u64, cpu: u64) -> String {
    format!(
        "{mode} {side} {requests} 1000000 {errors} {} {} {} {} {cpu}\n",
        p50 * 1000,
        p99 * 1000,
        p99 * 1000,
        p99 * 1000
    )
}

/// Judges result rows and returns the exit code and output.
fn judged(rows: &str) -> (i32, String) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), rows).unwrap();
    let awk = ["-v", "judge=1", "-v", "rate=1000", "-f"];
    let output = Command::new("awk").args(awk).arg(folder().join("judge.awk")).arg(file.path()).output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn load_test_passes_or_fails_by_its_limits() {
    let flat = |p50, p99| row("flat", "without", 9000, 0, 1, 9, 900) + &row("flat", "with", 8000, 0, p50, p99, 950);
    let held = |p50, p99, cpu| row("held", "without", 1000, 0, 1, 5, 20) + &row("held", "with", 1000, 0, p50, p99, cpu);
    for (rows, code, says) in [
        (flat(5, 999) + &held(5, 999, 49), 0, "pass  CPU added at 1000 requests a second: 2.900 % of a core"),
        (flat(5, 1000) + &held(1, 5, 20), 1, "FAIL  worst p99"),
        (flat(1, 9) + &held(1, 1000, 20), 1, "FAIL  worst p99"),
        (flat(6, 9) + &held(1, 5, 20), 1, "FAIL  median latency added: 5.000 ms"),
        (flat(1, 9) + &held(6, 7, 20), 1, "FAIL  median latency added: 5.000 ms"),
        (flat(1, 9) + &held(1, 5, 50), 1, "FAIL  CPU added"),
    ] {
        let (found, text) = judged(&rows);
        assert!(found == code && text.contains(says), "{found} instead of {code}, {says}:\n{text}");
        assert_eq!(text.matches("FAIL").count(), usize::try_from(code).unwrap(), "{text}");
    }
}

#[test]
fn load_test_compares_within_rounds_and_reports_the_median() {
    let mut rows = String::new();
    for cpu in [100, 300, 200] {
        rows += &(row("held", "with", 1000, 0, 1, 5, cpu + 10) + &row("held", "without", 1000, 0, 1, 5, cpu));
        rows += &(row("flat", "without", 9000, 0, 1, 9, 900) + &row("flat", "with", 9000, 0, 1, 9, 900));
    }
    let (code, text) = judged(&rows);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("CPU added at 1000 requests a second: 1.000 % of a core"), "{text}");
    assert!(text.contains("Medians of 3 rounds"), "{text}");
}

#[test]
fn load_test_does_not_judge_incomplete_measurements() {
    let flat = row("flat", "without", 9000, 0, 1, 9, 900) + &row("flat", "with", 8000, 0, 1, 9, 950);
    let held =
        |requests, errors| row("held", "without", 1000, 0, 1, 5, 20) + &row("held", "with", requests, errors, 1, 5, 20);
    for (rows, says) in [
        (flat.clone() + &held(949, 0), "949 requests/s instead of 1000 with: the machine is too busy"),
        (flat.clone() + &held(1000, 3), "3 errors"),
        (flat.clone() + &row("held", "without", 1000, 0, 1, 5, 20), "not as many rounds with as without, held"),
        (flat.clone() + &held(0, 0), "not measured"),
        (flat.clone() + "held with  20\n", "not measured"),
        (String::new(), "not as many rounds"),
    ] {
        let (code, text) = judged(&rows);
        assert!(code == 75 && text.contains(says) && !text.contains("pass"), "{code}: {says}:\n{text}");
    }
    assert_eq!(judged(&(flat + &held(950, 0))).0, 0);
}
