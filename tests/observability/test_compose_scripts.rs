//! Scripts of the stack report an obstacle in one line with a remedy and leave nothing half-started. Docker is a fake
//! script with configurable results.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

use observability_tests::port;
use observability_tests::schema::repository;
use tempfile::TempDir;

use crate::stack_file::text;

/// A fake `docker` for `up.sh`. Variables determine its results, and it records its calls.
const DOCKER: &str = r#"#!/bin/sh
echo "$*" >>"$DOCKER_CALLS"
case "$*" in
    "compose version") ;;
    "info -f {{.ServerVersion}}") [ -z "$DOCKER_DOWN" ] || { echo "Cannot connect to the Docker daemon." >&2; exit 1; } ;;
    "info -f {{.MemTotal}}") echo "$DOCKER_MEMORY" ;;
    "info -f {{.DockerRootDir}}") echo /var/lib/docker ;;
    *" config --services") printf '%s\n' ${DOCKER_SERVICES:-backend prometheus} ;;
    *" config") printf '    mem_limit: 256m\n    mem_limit: "536870912"\n' ;;
    "image inspect "*) [ -z "$DOCKER_NO_IMAGE" ] ;;
    "run "*promtool*) [ -z "$DOCKER_MISTAKE" ] || {
        printf 'Checking x\n  SUCCESS: 4 rule files found\n\nChecking y\n  FAILED:\n/etc/prometheus/rules/y.yml: 9:15: bad\n'
        exit "$DOCKER_MISTAKE"
    } ;;
    "pull "*) echo "lookup registry.example: no such host" >&2; exit "${DOCKER_PULL:-0}" ;;
    *" build "*) exit "${DOCKER_BUILD:-0}" ;;
    *" up -d "*) touch "$DOCKER_CALLS.up"; exit "${DOCKER_UP:-0}" ;;
    *" down "*) rm -f "$DOCKER_CALLS.up" ;;
    "ps -a --filter "*) [ ! -e "$DOCKER_CALLS.up" ] || printf '%s\n' "backend $DOCKER_STATUS" "elasticsearch $DOCKER_STATUS" \
        "shipper Up 1 second (healthy)" "prometheus Up 1 second (healthy)" ;;
    "ps -q --filter publish=${DOCKER_PUBLISHES:-none} "*) echo 0123456789ab ;;
    "ps -aq "*) echo 0123456789ab ;;
    "inspect -f {{.RestartCount}} "*) echo "${DOCKER_RESTARTS:-0}" ;;
    "logs "*) printf '%b\n' "${DOCKER_LOGS-output of the container}" | sed '/^$/d' ;;
esac
"#;

/// A machine with the fake Docker.
struct Machine {
    folder: TempDir,
    port: u16,
}

impl Machine {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let docker = folder.path().join("docker");
        fs::write(&docker, DOCKER).unwrap();
        fs::set_permissions(&docker, fs::Permissions::from_mode(0o755)).unwrap();
        Self { folder, port: port::free_address().port() }
    }

    /// Runs `make up` with these results of Docker.
    fn up(&self, answers: &[(&str, &str)]) -> Output {
        self.run("infra/compose/up.sh", &[], answers)
    }

    fn run(&self, script: &str, arguments: &[&str], answers: &[(&str, &str)]) -> Output {
        let path = std::env::var("PATH").unwrap();
        let mut command = Command::new(repository().join(script));
        command
            .args(arguments)
            .env("PATH", format!("{}:{path}", self.folder.path().display()))
            .env("DOCKER_CALLS", self.folder.path().join("calls"))
            .env("DOCKER_MEMORY", "8000000000")
            .env("DOCKER_STATUS", "Up 3 seconds (healthy)")
            .env("BACKEND_PORT", self.port.to_string())
            .env("PROMETHEUS_PORT", port::free_address().port().to_string())
            .env("ELASTICSEARCH_MMAP", "false");
        command.envs(answers.iter().copied()).output().unwrap()
    }

    fn calls(&self) -> String {
        fs::read_to_string(self.folder.path().join("calls")).unwrap_or_default()
    }
}

/// Asserts the exit code and words of the last line, and that nothing was started or all of it was stopped.
#[track_caller]
fn assert_refused(machine: &Machine, output: &Output, code: i32, words: &[&str]) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    let last = stderr.lines().last().unwrap_or_default();
    for word in words {
        assert!(last.starts_with("up.sh: ") && last.contains(word), "{word:?} is not in the last line: {stderr}");
    }
    let calls = machine.calls();
    assert_eq!(calls.contains(" up -d "), calls.contains(" down "), "{calls}");
}

#[test]
fn a_healthy_stack_prints_its_addresses() {
    let machine = Machine::new();
    let output = machine.up(&[]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    assert!(stderr.contains("all healthy after"), "{stderr}");
    assert!(stderr.contains(&format!("http://127.0.0.1:{}", machine.port)), "{stderr}");
    assert!(!machine.calls().contains(" down "));
}

#[test]
fn a_docker_that_does_not_run_is_reported() {
    let machine = Machine::new();
    let output = machine.up(&[("DOCKER_DOWN", "1")]);
    assert_refused(&machine, &output, 69, &["Docker is not running", "systemctl start docker"]);
}

#[test]
fn too_little_memory_is_reported_with_the_amount_needed() {
    let machine = Machine::new();
    let output = machine.up(&[("DOCKER_MEMORY", "500000000")]);
    assert_refused(&machine, &output, 71, &["476 MiB", "768 MiB", "ELASTICSEARCH_HEAP"]);
}

#[test]
fn a_port_in_use_is_reported_with_its_variable() {
    let machine = Machine::new();
    let _holder = TcpListener::bind(("127.0.0.1", machine.port)).unwrap();
    let output = machine.up(&[]);
    assert_refused(&machine, &output, 71, &[&format!("port {}", machine.port), "backend", "BACKEND_PORT="]);
}

#[test]
fn an_image_that_cannot_be_pulled_is_reported_before_the_build() {
    let machine = Machine::new();
    let output = machine.up(&[("DOCKER_NO_IMAGE", "1"), ("DOCKER_PULL", "1")]);
    let words = ["prom/prometheus:", "for prometheus can't be pulled: lookup", "no such host", "make up-local"];
    assert_refused(&machine, &output, 75, &words);
    assert!(!machine.calls().contains(" build "), "{}", machine.calls());
}

#[test]
fn missing_images_are_pulled() {
    let machine = Machine::new();
    let output = machine.up(&[("DOCKER_NO_IMAGE", "1")]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(machine.calls().matches("pull --quiet prom/prometheus:").count(), 1, "{}", machine.calls());
}

#[test]
fn an_invalid_rule_file_is_reported_with_the_error() {
    let machine = Machine::new();
    let output = machine.up(&[("DOCKER_MISTAKE", "1")]);
    assert_refused(&machine, &output, 78, &["has a mistake: infra/prometheus/rules/y.yml: 9:15: bad"]);
    assert!(!machine.calls().contains(" build "), "{}", machine.calls());
    // if Docker can't run the check, the stack is started anyway
    let output = Machine::new().up(&[("DOCKER_MISTAKE", "125")]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_compose_stack_that_is_not_up_is_reported_before_the_tests() {
    let machine = Machine::new();
    for (down, code, words) in [("1", 69, "Docker is not running"), ("", 75, "make up starts the stack")] {
        let output = machine.run("infra/test-stack.sh", &["compose"], &[("DOCKER_DOWN", down)]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{stderr}");
        assert!(stderr.lines().count() == 1 && stderr.contains(words), "{stderr}");
    }
}

#[test]
fn a_failed_build_is_reported() {
    let machine = Machine::new();
    let output = machine.up(&[("DOCKER_BUILD", "1")]);
    assert_refused(&machine, &output, 75, &["can't be built"]);
}

#[test]
fn a_service_that_does_not_start_is_reported_and_the_stack_is_stopped() {
    let machine = Machine::new();
    let output = machine.up(&[("DOCKER_UP", "1"), ("DOCKER_STATUS", "Up 1 minute (unhealthy)")]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("output of the container"));
    assert_refused(&machine, &output, 75, &["backend does not start"]);
}

#[test]
fn waiting_for_an_unhealthy_service_times_out() {
    let machine = Machine::new();
    let output = machine.up(&[("UP_TIMEOUT_S", "1"), ("DOCKER_STATUS", "Up 1 minute (health: starting)")]);
    assert_refused(&machine, &output, 75, &["backend is not healthy after 1 s"]);
}

#[test]
fn a_service_that_restarts_repeatedly_fails_immediately() {
    let machine = Machine::new();
    let output = machine.up(&[("DOCKER_RESTARTS", "3"), ("DOCKER_STATUS", "Restarting (1) 2 seconds ago")]);
    assert_refused(&machine, &output, 75, &["backend ended 3 times"]);
}

/// Output of Elasticsearch 8.8.0's Java on a newer kernel.
const CGROUP_FAILURE: &str = "Exception in thread \"main\" java.lang.NullPointerException: Cannot invoke \
     \"jdk.internal.platform.CgroupInfo.getMountPoint()\" because \"anyController\" is null\\n\tat more lines";

#[test]
fn a_java_that_fails_on_a_new_kernel_is_recognised_with_a_remedy() {
    let machine = Machine::new();
    let dying = [("DOCKER_SERVICES", "elasticsearch"), ("DOCKER_STATUS", "Restarting (1) 2 seconds ago")];
    let answers = [&dying[..], &[("DOCKER_RESTARTS", "3"), ("DOCKER_LOGS", CGROUP_FAILURE)]].concat();
    let words = ["-XX:-UseContainerSupport", "ES_JAVA_OPTS", "CLI_JAVA_OPTS", "ELASTICSEARCH_IMAGE=", "KIBANA_IMAGE="];
    assert_refused(&machine, &machine.up(&answers), 75, &words);
    // other failures have another message
    let output = Machine::new().up(&[&dying[..], &[("DOCKER_RESTARTS", "3")]].concat());
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(stderr.contains("It needs memory") && !stderr.contains("UseContainerSupport"), "{stderr}");
}

#[test]
fn images_set_by_variables_are_pulled() {
    let machine = Machine::new();
    let image = "registry.example/elasticsearch:8.19.0";
    let answers = [("DOCKER_SERVICES", "elasticsearch"), ("DOCKER_NO_IMAGE", "1"), ("ELASTICSEARCH_IMAGE", image)];
    let output = machine.up(&answers);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(machine.calls().contains(&format!("pull --quiet {image}\n")), "{}", machine.calls());
}

#[test]
fn a_low_map_count_is_a_warning() {
    let machine = Machine::new();
    let count = machine.folder.path().join("max_map_count");
    fs::write(&count, "65530\n").unwrap();
    let file = count.to_str().unwrap();
    let output = machine.up(&[("MAP_COUNT_FILE", file), ("ELASTICSEARCH_MMAP", "true")]);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    assert!(stderr.contains("warning: vm.max_map_count is 65530") && stderr.contains("262144"), "{stderr}");
    let output = machine.up(&[("MAP_COUNT_FILE", file)]);
    assert!(!String::from_utf8_lossy(&output.stderr).contains("max_map_count"));
}

/// Starts a server that returns shipper metrics with this many lines read.
fn serve_shipper_metrics(lines: u32) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let request = BufReader::new(stream.try_clone().unwrap());
            let _ = request.lines().map_while(Result::ok).take_while(|line| !line.is_empty()).count();
            let body = format!("# TYPE shipper_lines_read_total counter\nshipper_lines_read_total {lines}\n");
            // the client may have disconnected
            let _ = stream.write_all(format!("HTTP/1.0 200 OK\r\n\r\n{body}").as_bytes());
        }
    });
    port
}

#[test]
fn a_shipper_that_reads_no_line_is_reported_with_a_remedy() {
    let up = |lines: u32, logs: &str| {
        let machine = Machine::new();
        let port = serve_shipper_metrics(lines).to_string();
        let services = ("DOCKER_SERVICES", "backend shipper");
        // this project's own container uses the port
        let own = ("DOCKER_PUBLISHES", port.as_str());
        let output =
            machine.up(&[services, own, ("SHIPPER_PORT", &port), ("READ_TIMEOUT_S", "1"), ("DOCKER_LOGS", logs)]);
        assert!(!machine.calls().contains(" down "), "the stack is healthy, and stays up");
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, stderr) = up(1, "a line");
    assert_eq!(code, 0, "{stderr}");
    assert!(stderr.contains("the shipper reads the service's log"), "{stderr}");
    let (code, stderr) = up(0, "a line");
    assert_eq!(code, 74, "{stderr}");
    let last = stderr.lines().last().unwrap();
    for word in
        ["DOCKER_LOGS_DIR", "/var/lib/docker/containers", "ootless", "data-root", "userns-remap", "Docker Desktop"]
    {
        assert!(last.contains(word), "{word}: {last}");
    }
    // the service logs nothing, as with RUST_LOG=error
    let (code, stderr) = up(0, "");
    assert_eq!(code, 0, "{stderr}");
    assert!(stderr.contains("has not written a line yet"), "{stderr}");
}

/// Constructs that bash 3.2 of macOS does not support. Not detected: there, an empty array is an unbound variable.
const NEWER_BASH: [&str; 16] = [
    "mapfile",
    "readarray",
    "declare -A",
    "local -A",
    "local -n",
    "declare -n",
    "^^}",
    ",,}",
    "^}",
    "&>>",
    "|&",
    "wait -n",
    "coproc",
    "[-1]}",
    "globstar",
    "EPOCHSECONDS",
];

#[test]
fn scripts_of_make_up_are_compatible_with_bash_3_2() {
    let scripts = [
        "infra/compose/compose.sh",
        "infra/compose/lib.sh",
        "infra/compose/up.sh",
        "infra/lib.sh",
        "infra/test-stack.sh",
    ];
    for script in scripts {
        for (number, line) in text(script).lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with('#')) {
            for construct in NEWER_BASH {
                assert!(!line.contains(construct), "{script}:{}: {construct}: {line}", number + 1);
            }
        }
    }
}
