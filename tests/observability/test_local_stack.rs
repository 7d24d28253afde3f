//! The stack without Docker: its configuration matches the compose file except for addresses, a failed start leaves nothing
//! running, and `make e2e` and the alert drill pass.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use observability_tests::{port, program};
use tempfile::TempDir;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
const DRILL: &str = "specs/003-improve-observability-prometheus/alert-testing/trigger_error_spike.sh";
/// Target file, port variable and compose address of each part.
const PARTS: [(&str, &str, &str); 4] = [
    ("backend.yml", "BACKEND_PORT", "backend:8000"),
    ("shipper.yml", "SHIPPER_PORT", "shipper:9600"),
    ("prometheus.yml", "PROMETHEUS_PORT", "prometheus:9090"),
    ("alertmanager.yml", "ALERTMANAGER_PORT", "alertmanager:9093"),
];

/// A local stack in its own folder and on its own ports.
struct Stack {
    folder: TempDir,
    ports: Vec<(&'static str, String)>,
    bin_dir: PathBuf,
    /// The repository, or a copy of its `infra`.
    root: PathBuf,
}

impl Stack {
    fn new() -> Self {
        let ports = PARTS.map(|(_, variable, _)| (variable, port::free_address().port().to_string())).to_vec();
        let bin_dir = program::executable("backend").parent().unwrap().to_owned();
        Self { folder: tempfile::tempdir().unwrap(), ports, bin_dir, root: PathBuf::from(ROOT) }
    }

    fn run(&self, command: &str) -> Output {
        let mut task = self.with_settings(Command::new(program::executable("xtask")));
        task.args(["stack", command]).env("CARGO_MANIFEST_DIR", self.root.join("xtask")).output().unwrap()
    }

    fn with_settings(&self, mut command: Command) -> Command {
        command.env("CACHE_DIR", std::env::var("CACHE_DIR").unwrap_or_else(|_| format!("{ROOT}/.cache")));
        command.envs(self.ports.iter().cloned()).env("LOCAL_DIR", self.folder.path()).env("BIN_DIR", &self.bin_dir);
        if self.ports.iter().any(|(name, _)| *name == "ELASTICSEARCH_PORT") {
            // start a private engine instead of using that of the tests
            command.env_remove("ENGINE_URL");
        }
        command
    }

    /// Asserts that the start fails with this exit code and this reason in the last line, and leaves nothing running.
    #[track_caller]
    fn assert_start_fails(&self, code: i32, reason: &str) {
        let output = self.run("up");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{stderr}");
        assert!(stderr.lines().last().unwrap().contains(reason), "{reason} is not in the last line of {stderr}");
        let names = std::fs::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let left: Vec<_> = names.filter(|name| name.to_string_lossy().ends_with(".pid")).collect();
        assert!(left.is_empty(), "{left:?}: {stderr}");
        let status = self.run("status");
        assert_eq!(status.status.code(), Some(3));
        assert!(!String::from_utf8_lossy(&status.stdout).contains(" ready"));
    }

    fn set(&mut self, variable: &'static str, value: String) {
        self.ports.retain(|(name, _)| *name != variable);
        self.ports.push((variable, value));
    }
}

fn read(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.as_ref().display()))
}

/// A YAML file without comments.
fn content(path: impl AsRef<Path>) -> String {
    read(path).lines().filter(|line| !line.trim_start().starts_with('#')).map(|line| line.to_owned() + "\n").collect()
}

#[test]
fn its_configuration_matches_compose_except_for_addresses() {
    let stack = Stack::new();
    let output = stack.run("config");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let (here, there) = (stack.folder.path().join("etc"), Path::new(ROOT).join("infra"));
    let mut names = vec!["prometheus/prometheus.yml".to_owned()];
    for rules in std::fs::read_dir(there.join("prometheus/rules")).unwrap() {
        let rules = rules.unwrap();
        if rules.file_type().unwrap().is_file() {
            names.push(format!("prometheus/rules/{}", rules.file_name().to_string_lossy()));
        }
    }
    assert!(names.len() > 3, "{names:?}");
    for name in names {
        assert_eq!(read(here.join(&name)), read(there.join(&name)), "{name}");
    }
    let port = |variable| &stack.ports.iter().find(|(name, _)| *name == variable).unwrap().1;
    for (file, variable, host) in PARTS {
        let of_compose = content(there.join("prometheus/targets/compose").join(file));
        let expected = of_compose.replace(host, &format!("127.0.0.1:{}", port(variable)));
        assert_ne!(of_compose, expected, "{file}");
        assert_eq!(content(here.join("prometheus/targets").join(file)), expected, "{file}");
    }
    for environment in ["compose", "local"] {
        let files = std::fs::read_dir(there.join("prometheus/targets").join(environment)).unwrap();
        assert_eq!(files.count(), PARTS.len(), "{environment}");
    }
    let alertmanager = "alertmanager/alertmanager.yml";
    let webhook = format!("http://127.0.0.1:{}/", port("BACKEND_PORT"));
    let expected = content(there.join(alertmanager)).replace("http://backend:8000/", &webhook);
    assert_eq!(content(here.join(alertmanager)), expected);
    assert!(expected.contains(&format!("{webhook}api/alerts")));
}

#[test]
fn a_port_in_use_is_reported_and_nothing_is_started() {
    let mut stack = Stack::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let number = taken.local_addr().unwrap().port().to_string();
    stack.set("PROMETHEUS_PORT", number.clone());
    stack.assert_start_fails(75, &format!("port {number}, for prometheus, is taken"));
}

#[test]
fn a_service_that_does_not_start_stops_the_others() {
    let mut stack = Stack::new();
    let programs = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(program::executable("shipper"), programs.path().join("shipper")).unwrap();
    // a fake, because the real service always starts
    let backend = programs.path().join("backend");
    std::fs::write(&backend, "#!/bin/sh\necho broken >&2\nexit 1\n").unwrap();
    std::fs::set_permissions(&backend, std::fs::Permissions::from_mode(0o755)).unwrap();
    stack.bin_dir = programs.path().to_owned();
    stack.assert_start_fails(75, "backend ended while starting");
}

#[test]
fn an_invalid_rule_file_is_reported_with_the_error() {
    let mut stack = Stack::new();
    let copy = tempfile::tempdir().unwrap();
    let copied = Command::new("cp").args(["-R", &format!("{ROOT}/infra")]).arg(copy.path()).status().unwrap();
    assert!(copied.success());
    copy.path().clone_into(&mut stack.root);
    let rules = copy.path().join("infra/prometheus/rules/requests.yml");
    std::fs::write(&rules, read(&rules).replacen("expr: ", "expr: sum((", 1)).unwrap();
    stack.assert_start_fails(78, "has a mistake: infra/prometheus/rules/requests.yml: ");
    let alertmanager = copy.path().join("infra/alertmanager/alertmanager.yml");
    std::fs::copy(Path::new(ROOT).join("infra/prometheus/rules/requests.yml"), rules).unwrap();
    std::fs::write(&alertmanager, read(&alertmanager).replacen("receiver: logs", "receiver: nobody", 1)).unwrap();
    stack.assert_start_fails(78, "has a mistake: infra/alertmanager/alertmanager.yml: undefined receiver");
}

#[test]
fn too_little_memory_is_reported_before_the_engine_is_started() {
    let mut stack = Stack::new();
    stack.set("ELASTICSEARCH_PORT", port::free_address().port().to_string());
    stack.set("ENGINE_HEAP", "9000g".to_owned());
    stack.assert_start_fails(69, "too little memory: ");
    stack.set("ENGINE_HEAP", "much".to_owned());
    stack.assert_start_fails(64, "ENGINE_HEAP=much: a size such as");
}

#[test]
fn a_missing_build_is_reported() {
    let mut stack = Stack::new();
    stack.bin_dir = stack.folder.path().join("nowhere");
    stack.assert_start_fails(69, "Run 'make up-local', which builds it");
}

/// Stops the stack, even if the test fails.
struct Down<'a>(&'a Stack);

impl Drop for Down<'_> {
    fn drop(&mut self) {
        let output = self.0.run("down");
        if !output.status.success() {
            eprintln!("{}", String::from_utf8_lossy(&output.stderr));
        }
    }
}

/// Uses a private OpenSearch, because the tests check all documents of the stack.
#[test]
fn make_e2e_tests_the_stack_and_reports_if_it_is_not_up() {
    let mut stack = Stack::new();
    stack.set("ELASTICSEARCH_PORT", port::free_address().port().to_string());
    let target_dir = stack.bin_dir.parent().unwrap();
    let test = |argument: &str| {
        let mut script = stack.with_settings(Command::new(stack.root.join("infra/test-stack.sh")));
        let output = script.arg(argument).env("CARGO_TARGET_DIR", target_dir).output().unwrap();
        let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        (output.status.code(), format!("{stdout}{stderr}"))
    };
    let (code, report) = test("local");
    assert_eq!(code, Some(75), "{report}");
    assert!(report.contains("nothing answers for backend") && report.contains("make up-local"), "{report}");
    assert_eq!(test("nonsense").0, Some(64));

    let _down = Down(&stack);
    let up = stack.run("up");
    assert!(up.status.success(), "{}", String::from_utf8_lossy(&up.stderr));
    let (code, report) = test("local");
    assert_eq!(code, Some(0), "{report}");
    assert!(report.contains("testing the local stack") && report.contains("0 failed"), "{report}");
}

/// Runs the complete stack: an alert gets from Prometheus to the log line and resolves.
#[test]
fn the_alert_drill_passes() {
    let bin_dir = program::executable("backend").parent().unwrap().to_owned();
    let temporary = tempfile::tempdir().unwrap();
    let mut drill = Command::new(Path::new(ROOT).join(DRILL));
    let output = drill.arg("--fast").env("BIN_DIR", bin_dir).env("TMPDIR", temporary.path()).output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{stdout}{stderr}");
    for step in ["pending", "fires", "received", "webhook", "found in the logs", "resolved", "drill passed"] {
        assert!(stdout.contains(step), "{step} is not in {stdout}");
    }
    assert!(stderr.contains("all is stopped"), "{stderr}");
    let left: Vec<_> = std::fs::read_dir(temporary.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(left.is_empty(), "{left:?}");
}
