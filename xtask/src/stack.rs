//! The stack without Docker: OpenSearch, the service carried by the shipper, Prometheus and Alertmanager, from the same
//! files as `docker-compose.observability.yml`. `PART.pid` has a part's process and its start time.

use std::fs::{self, File};
use std::io::{Write as _, stdout};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result};
use clap::Subcommand;
use rustix::process::Pid;

use crate::artifact::Release;
use crate::engine::{self, HEALTH, heap, start_timeout};
use crate::find::{require, root};
use crate::obstacle::{MISSING, MISTAKE, UNAVAILABLE, USAGE, obstacle, say};
use crate::process::{answers, executable, last_lines, stop_group, variable, wait_until};
use crate::render::{mistake_in, speed_up};

/// Memory that the stack needs at most, without the engine's heap.
const MEMORY_MB: u64 = 700;
/// Exit code of `status` unless all parts are ready.
const NOT_READY: u8 = 3;

/// What to do with the stack.
#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// Start all parts that do not run, wait until they are ready, and print the addresses
    Up,
    /// Stop all parts; the state stays in LOCAL_DIR
    Down,
    /// Show whether each part runs and is ready; the exit code is 3 unless all are
    Status,
    /// Print the last log lines of all parts, or of one
    Logs { part: Option<String> },
    /// Write the configuration to LOCAL_DIR/etc and check it, as `up` does first
    Config,
}

/// A part, with the variable of its port and the default, as in `.env.example`.
#[derive(Debug)]
struct Part {
    name: &'static str,
    variable: &'static str,
    default_port: u16,
    /// Its path that is answered with 200 when it is ready.
    ready: &'static str,
}

const fn part(name: &'static str, variable: &'static str, default_port: u16, ready: &'static str) -> Part {
    Part { name, variable, default_port, ready }
}

/// In the order in which they start. The backend is the shipper's child, and the shipper is ready with it.
static PARTS: [Part; 5] = [
    part("opensearch", "ELASTICSEARCH_PORT", 9200, HEALTH),
    part("shipper", "SHIPPER_PORT", 9600, "/readyz"),
    part("backend", "BACKEND_PORT", 8000, "/readyz"),
    part("alertmanager", "ALERTMANAGER_PORT", 9093, "/-/ready"),
    part("prometheus", "PROMETHEUS_PORT", 9090, "/-/ready"),
];

impl Part {
    fn port(&self) -> Result<u16> {
        let Some(value) = variable(self.variable) else { return Ok(self.default_port) };
        value.parse().map_err(|_| obstacle!(USAGE, "{}={value}: a port", self.variable))
    }

    fn is_ready(&self) -> Result<bool> {
        Ok(answers(self.port()?, self.ready))
    }
}

/// The address of a part.
fn address(name: &str) -> Result<String> {
    Ok(format!("127.0.0.1:{}", named(name)?.port()?))
}

fn named(name: &str) -> Result<&'static Part> {
    PARTS.iter().find(|part| part.name == name).ok_or_else(|| obstacle!(USAGE, "no part is called '{name}'"))
}

/// Runs an action and returns its exit code.
pub(crate) fn run(action: Action) -> Result<u8> {
    let folder = variable("LOCAL_DIR").map_or_else(|| root().join(".local"), PathBuf::from);
    fs::create_dir_all(&folder).with_context(|| format!("LOCAL_DIR={}", folder.display()))?;
    let programs = variable("BIN_DIR").map_or_else(|| root().join("target/release"), PathBuf::from);
    let stack = Stack { folder: folder.canonicalize()?, programs, given_engine: variable("ENGINE_URL") };
    let lock = File::create(stack.folder.join("lock"))?;
    if !matches!(action, Action::Status | Action::Logs { .. }) {
        let folder = stack.folder.display();
        lock.try_lock().map_err(|_| obstacle!(UNAVAILABLE, "another run of this task uses {folder}"))?;
    }
    match action {
        Action::Up => stack.up()?,
        Action::Down => stack.down()?,
        Action::Status => return stack.status(),
        Action::Logs { part } => stack.logs(part.as_deref())?,
        Action::Config => stack.config()?,
    }
    Ok(0)
}

struct Stack {
    /// State, logs and rendered configuration; absolute.
    folder: PathBuf,
    /// The folder of `backend` and `shipper`.
    programs: PathBuf,
    /// The engine to use instead of starting one.
    given_engine: Option<String>,
}

impl Stack {
    /// The parts of this stack.
    fn parts(&self) -> impl Iterator<Item = &'static Part> {
        PARTS.iter().filter(|part| part.name != "opensearch" || self.given_engine.is_none())
    }

    fn engine_url(&self) -> Result<String> {
        self.given_engine.clone().map_or_else(|| Ok(format!("http://{}", address("opensearch")?)), Ok)
    }

    /// A file about the process of a part.
    fn file(&self, part: &Part, extension: &str) -> PathBuf {
        let process = if part.name == "backend" { "shipper" } else { part.name };
        self.folder.join(process).with_extension(extension)
    }

    /// A part's process, if it is the one that was started here: its number may have been reused.
    fn pid_of(&self, part: &Part) -> Option<Pid> {
        let text = fs::read_to_string(self.file(part, "pid")).ok()?;
        let (pid, began) = text.trim().split_once(' ')?;
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        Pid::from_raw(pid.parse().ok()?).filter(|_| start_time(&stat) == Some(began))
    }

    fn up(&self) -> Result<()> {
        let (began, mut started) = (Instant::now(), Vec::new());
        let to_start: Vec<_> = self.parts().filter(|part| self.pid_of(part).is_none()).collect();
        self.check(&to_start)?;
        self.config()?;
        let done = self.parts().filter(|part| part.name != "shipper").try_for_each(|part| {
            let process = if part.name == "backend" { &PARTS[1] } else { part };
            if self.pid_of(process).is_none() {
                started.push(process);
                self.launch(process)?;
            }
            self.wait_for(part)
        });
        if let Err(error) = done.and_then(|()| self.wait_for(&PARTS[1])) {
            // Nothing half-started remains.
            self.stop(&started)?;
            return Err(error);
        }
        say!("all is ready after {} s", began.elapsed().as_secs());
        let (backend, shipper, engine) = (address("backend")?, address("shipper")?, self.engine_url()?);
        let (prometheus, alertmanager) = (address("prometheus")?, address("alertmanager")?);
        let folder = self.folder.display();
        let text = format!(
            "\n  service        http://{backend}     /api/requests/{{request_id}}, /metrics\n  \
             shipper        http://{shipper}     /metrics, /readyz\n  engine         {engine}     /app-logs-*/_search\n  \
             Prometheus     http://{prometheus}\n  Alertmanager   http://{alertmanager}\n\n\
             Grafana and Kibana need Docker ('make up'). State and logs: {folder}\n"
        );
        Ok(stdout().write_all(text.as_bytes())?)
    }

    /// Finds obstacles before anything is started.
    fn check(&self, to_start: &[&Part]) -> Result<()> {
        for program in ["backend", "shipper"].iter().filter(|_| !to_start.is_empty()) {
            let path = self.programs.join(program);
            let advice = "Run 'make up-local', which builds it.";
            executable(&path).ok_or_else(|| obstacle!(MISSING, "missing: {}. {advice}", path.display()))?;
        }
        for part in to_start {
            let (port, Part { name, variable, .. }) = (part.port()?, part);
            if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok() {
                let remedy = format!("stop the program that uses it, or set {variable}");
                return Err(obstacle!(UNAVAILABLE, "port {port}, for {name}, is taken: {remedy}"));
            }
        }
        if to_start.iter().any(|part| part.name == "opensearch") {
            require_memory(&heap(), &fs::read_to_string("/proc/meminfo").unwrap_or_default())?;
            crate::deps::unpack(&["opensearch"])?;
        }
        Ok(())
    }

    /// Writes the configuration files: those of the repository, with this machine's addresses.
    fn config(&self) -> Result<()> {
        crate::deps::unpack(&["prometheus", "alertmanager"])?;
        let divisor = variable("ALERT_SPEEDUP").unwrap_or_else(|| "1".to_owned());
        let by = divisor.parse().ok().filter(|number| (1..1000).contains(number));
        let by = by.ok_or_else(|| obstacle!(USAGE, "ALERT_SPEEDUP={divisor}: a number from 1 to 999"))?;
        let (infra, etc, backend) = (root().join("infra"), self.folder.join("etc"), address("backend")?);
        fs::create_dir_all(&etc)?;
        fs::remove_dir_all(&etc)?;
        let copy = |from: &str, to: &str| {
            render(&infra.join(from), &etc.join(to), |text| {
                let text = speed_up(text, by)?.replace("http://backend:8000/", &format!("http://{backend}/"));
                PARTS.iter().try_fold(text, |text, Part { name, .. }| {
                    Ok(text.replace(&format!("@{}_ADDRESS@", name.to_uppercase()), &address(name)?))
                })
            })
        };
        copy("prometheus", "prometheus")?;
        copy("prometheus/rules", "prometheus/rules")?;
        copy("prometheus/targets/local", "prometheus/targets")?;
        copy("alertmanager", "alertmanager")?;
        self.check_file(&["promtool", "check", "config"], "prometheus/prometheus.yml")?;
        self.check_file(&["amtool", "check-config"], "alertmanager/alertmanager.yml")
    }

    /// Fails with the message of a checker if a file is invalid. The same mistake is in the repository's file.
    fn check_file(&self, checker: &[&str], file: &str) -> Result<()> {
        let etc = self.folder.join("etc");
        let output = Command::new(require(checker[0])?).args(&checker[1..]).arg(etc.join(file)).output()?;
        if output.status.success() {
            return Ok(());
        }
        let words = [output.stdout, output.stderr].concat();
        let words = String::from_utf8_lossy(&words).replace(&format!("{}/", etc.display()), "infra/");
        let mistake = mistake_in(&format!("infra/{file}"), &words)?;
        Err(obstacle!(MISTAKE, "a configuration file has a mistake: {mistake}"))
    }

    /// Starts a part, which outlives this process and its terminal, and leads its own process group.
    fn launch(&self, part: &Part) -> Result<()> {
        let (mut command, mut log) = (Command::new("setsid"), self.file(part, "log"));
        let option = |name: &str, path: &str| format!("--{name}={}", self.folder.join(path).display());
        let name = part.name;
        if name == "opensearch" {
            let _old = fs::remove_file(&log);
            symlink("opensearch/output", &log)?;
            log = self.folder.join("opensearch/output");
            let (release, folder) = (Release::named(name)?, self.folder.join(name));
            command = engine::command(release, name, &folder, part.port()?, "setsid")?;
        } else if name == "shipper" {
            let (engine, listen) = (self.engine_url()?, address(name)?);
            command.arg(self.programs.join(name)).args(["exec", "--to", &engine, "--admin-listen", &listen]);
            command.arg("--").arg(self.programs.join("backend"));
            // The ports are not variables of the service: it would refuse them.
            command.env_remove("BACKEND_PORT").env_remove("SHIPPER_PORT").env("LISTEN", address("backend")?);
            command.env("STORE", engine).env("SHIPPER_STATE_DIR", self.folder.join(name));
        } else {
            command.arg(require(name)?).arg(option("config.file", &format!("etc/{name}/{name}.yml")));
            command.arg(format!("--web.listen-address={}", address(name)?));
            command.arg(format!("--web.external-url=http://{}", address(name)?));
            if name == "alertmanager" {
                command.arg(option("storage.path", name)).arg("--cluster.listen-address=");
            } else {
                command.arg(option("storage.tsdb.path", name)).arg("--storage.tsdb.retention.time=31d");
            }
        }
        let output = File::create(log)?;
        let pid = command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output).spawn()?.id();
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        Ok(fs::write(self.file(part, "pid"), format!("{pid} {}\n", start_time(&stat).unwrap_or_default()))?)
    }

    fn wait_for(&self, part: &Part) -> Result<()> {
        let (name, limit, began) = (part.name, start_timeout(), Instant::now());
        if !part.is_ready()? {
            say!("{name}: starting …");
        }
        let failure = |what: &str| {
            let log = self.file(part, "log");
            say!("the last lines of {name}:\n{}", last_lines(&log, 15));
            let advice = match name {
                "opensearch" => "the usual cause is memory: ENGINE_HEAP=384m make up-local".to_owned(),
                _ => format!("set {} if another program uses its port", part.variable),
            };
            let log = log.display();
            obstacle!(UNAVAILABLE, "{name} {what}. Its last lines are above, the whole log is {log}; {advice}")
        };
        let ready = wait_until(limit, || match part.is_ready()? {
            false if self.pid_of(part).is_none() => Err(failure("ended while starting")),
            is_ready => Ok(is_ready.then_some(())),
        })?;
        ready.ok_or_else(|| failure(&format!("was not ready within {} s", limit.as_secs())))?;
        say!("{name}: ready at http://{} after {} s", address(name)?, began.elapsed().as_secs());
        Ok(())
    }

    fn down(&self) -> Result<()> {
        let (all, folder) = (PARTS.iter().filter(|part| part.name != "backend"), self.folder.display());
        let running: Vec<_> = all.filter(|part| self.pid_of(part).is_some()).collect();
        self.stop(&running)?;
        match running.is_empty() {
            true => say!("nothing runs in {folder}"),
            false => say!("all is stopped; the state stays in {folder}"),
        }
        Ok(())
    }

    /// Stops parts in reverse order of their start, so that the shipper has its store until it has shipped all lines.
    fn stop(&self, parts: &[&Part]) -> Result<()> {
        for part in parts.iter().rev() {
            if let Some(pid) = self.pid_of(part) {
                say!("{}: stopping …", part.name);
                stop_group(pid);
            }
            fs::remove_file(self.file(part, "pid"))?;
        }
        Ok(())
    }

    fn status(&self) -> Result<u8> {
        let mut code = 0;
        for part in self.parts() {
            let (name, address) = (part.name, address(part.name)?);
            let state = match (self.pid_of(part).is_some(), part.is_ready()?) {
                (true, true) => "ready".to_owned(),
                (true, false) => format!("running, not ready: cargo xtask stack logs {name}"),
                (false, _) => "not running".to_owned(),
            };
            code = if state == "ready" { code } else { NOT_READY };
            writeln!(stdout(), "{name:<13} http://{address:<16} {state}")?;
        }
        self.given_engine.iter().try_for_each(|url| writeln!(stdout(), "engine        {url} given"))?;
        Ok(code)
    }

    fn logs(&self, name: Option<&str>) -> Result<()> {
        let one = name.map(named).transpose()?;
        for part in PARTS.iter().filter(|part| one.map_or(part.name != "backend", |one| one.name == part.name)) {
            let log = self.file(part, "log");
            if log.exists() {
                writeln!(stdout(), "== {}\n{}", log.display(), last_lines(&log, 20))?;
            }
        }
        Ok(())
    }
}

/// Start time of a process that has not ended, in the kernel's ticks, from its `/proc/PID/stat`.
fn start_time(stat: &str) -> Option<&str> {
    // The program's name, in brackets, may have spaces and brackets.
    let fields: Vec<_> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    if fields.first() == Some(&"Z") { None } else { fields.get(19).copied() }
}

/// Fails if there is too little memory for an engine with a heap.
fn require_memory(heap: &str, meminfo: &str) -> Result<()> {
    let megabytes = |unit: char, factor: u64| Some(u64::from(heap.strip_suffix(unit)?.parse::<u32>().ok()?) * factor);
    let size = megabytes('m', 1).or_else(|| megabytes('g', 1024)).filter(|size| *size > 0);
    let needed = size.ok_or_else(|| obstacle!(USAGE, "ENGINE_HEAP={heap}: a size such as 512m or 1g"))? + MEMORY_MB;
    let available = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:")?.strip_suffix(" kB"));
    let free = available.and_then(|number| number.trim().parse::<u64>().ok()).map_or(u64::MAX, |number| number / 1024);
    if free >= needed {
        return Ok(());
    }
    let remedy = "Stop other programs, lower ENGINE_HEAP, or set ENGINE_URL to an engine elsewhere";
    let numbers = format!("{free} MB are free and {needed} are needed with ENGINE_HEAP={heap}");
    Err(obstacle!(MISSING, "too little memory: {numbers}. {remedy}"))
}

/// Writes the YAML files of a folder, changed, to another.
fn render(from: &Path, to: &Path, change: impl Fn(&str) -> Result<String>) -> Result<()> {
    fs::create_dir_all(to)?;
    for file in fs::read_dir(from).with_context(|| from.display().to_string())? {
        let file = file?;
        if file.path().extension().is_some_and(|extension| extension == "yml") {
            fs::write(to.join(file.file_name()), change(&fs::read_to_string(file.path())?)?)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_of_a_process_is_read_behind_its_name() {
        let fields = "1 1 1 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 777 1000";
        assert_eq!(start_time(&format!("12 (a ) b) S {fields}")), Some("777"));
        assert_eq!(start_time(&format!("12 (ended) Z {fields}")), None);
        assert!(start_time(&fs::read_to_string("/proc/self/stat").unwrap()).unwrap().parse::<u64>().is_ok());
    }

    #[test]
    fn memory_is_required_for_heap_and_programs() {
        let meminfo = "MemTotal: 1 kB\nMemAvailable:    2097152 kB\n";
        assert!(require_memory("1g", meminfo).is_ok());
        let message = require_memory("2g", meminfo).unwrap_err().to_string();
        assert!(message.starts_with("too little memory: 2048 MB are free and 2748 are needed"), "{message}");
        for heap in ["much", "0m", "512", "-1g"] {
            assert!(require_memory(heap, meminfo).unwrap_err().to_string().contains("a size such as"), "{heap}");
        }
    }
}
