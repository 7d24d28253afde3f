//! Runs the commands of the documents in a terminal with a fresh copy of this repository.
//!
//! Commands run unchanged, with two exceptions. Their ports are replaced by free ones, so that tests can run in parallel.
//! And `cargo` is a fake that only records its arguments, except for `cargo xtask`, which runs what the tests have built;
//! `target/release` and `target/try` link to that too.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use observability_tests::program::executable;
use observability_tests::schema::repository;
use observability_tests::{http, port, wait};
use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use tempfile::TempDir;

/// Folders that are not copied: build output, unpacked programs and data of other runs.
const NOT_COPIED: [&str; 5] = [".git", "target", ".cache", "data", ".local"];

/// The ports in the documents, and the variables that change them. All after `PORT` belong to the stack and are set only
/// for its commands, because service and shipper reject them.
const PORTS: [(u16, &str); 7] = [
    (8000, "LISTEN"),
    (8080, "PORT"),
    (8000, "BACKEND_PORT"),
    (9600, "SHIPPER_PORT"),
    (9200, "ELASTICSEARCH_PORT"),
    (9090, "PROMETHEUS_PORT"),
    (9093, "ALERTMANAGER_PORT"),
];

/// Environment variables that the local stack needs to find unpacked programs and running engines.
const FORWARDED: [&str; 6] = ["CACHE_DIR", "ENGINE_URL", "JAVA_HOME", "PROMETHEUS_HOME", "ALERTMANAGER_HOME", "TMPDIR"];

/// Maximum duration of commands. Starting an engine on a busy machine takes longest.
const TIMEOUT: Duration = Duration::from_secs(240);

/// A fake `cargo`.
const CARGO: &str = r#"#!/bin/sh
[ "$1" = xtask ] || exec echo "$*" >>"$CARGO_CALLS"
shift
CARGO_MANIFEST_DIR=$PWD/xtask exec "$BUILT_XTASK" "$@"
"#;

/// The result of commands.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A terminal. Dropping it ends everything that still runs in it.
pub(crate) struct Terminal {
    home: TempDir,
    /// Each port in the documents, and its replacement.
    ports: Vec<(u16, u16)>,
    /// `export` lines of earlier commands.
    exports: String,
    staying: Vec<Staying>,
}

/// Commands that run until Ctrl-C.
struct Staying {
    child: Child,
    address: String,
}

impl Terminal {
    pub(crate) fn open() -> Self {
        let home = tempfile::tempdir().unwrap();
        copy(&repository(), home.path(), &NOT_COPIED);
        let built = executable("backend").parent().unwrap().to_owned();
        fs::create_dir(home.path().join("target")).unwrap();
        for profile in ["release", "try"] {
            symlink(&built, home.path().join("target").join(profile)).unwrap();
        }
        fs::create_dir(home.path().join("bin")).unwrap();
        let cargo = home.path().join("bin/cargo");
        fs::write(&cargo, CARGO).unwrap();
        fs::set_permissions(&cargo, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let mut ports: Vec<(u16, u16)> = Vec::new();
        for (default, _) in PORTS {
            if !ports.iter().any(|(known, _)| *known == default) {
                ports.push((default, port::free_address().port()));
            }
        }
        Self { home, ports, exports: String::new(), staying: Vec::new() }
    }

    /// Puts a program on the `PATH`, as if it were installed.
    pub(crate) fn install(&self, program: &str) {
        symlink(executable(program), self.home.path().join("bin").join(program)).unwrap();
    }

    /// A path in the working directory of the commands.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Writes a file and creates its parent folders.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Runs commands and waits for their end.
    pub(crate) fn run(&mut self, text: &str) -> Outcome {
        let stdout = self.home.path().join("bin/stdout");
        let stderr = self.home.path().join("bin/stderr");
        let mut command = self.command(text);
        command.stdout(File::create(&stdout).unwrap()).stderr(File::create(&stderr).unwrap());
        let mut child = command.spawn().unwrap();
        let deadline = Instant::now() + TIMEOUT;
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            if Instant::now() > deadline {
                let _ignored = kill_process_group(Pid::from_child(&child), Signal::KILL);
                let _ignored = child.wait();
                panic!("not within {TIMEOUT:?}: {text}\n{}", fs::read_to_string(&stderr).unwrap_or_default());
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        self.remember_exports(text);
        let read = |path: &Path| String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
        Outcome { status, stdout: read(&stdout), stderr: read(&stderr) }
    }

    /// Starts commands that keep running, and waits until `url` returns 200.
    pub(crate) fn start(&mut self, text: &str, url: &str) {
        let stderr = self.home.path().join(format!("bin/stderr-{}", self.staying.len()));
        let mut command = self.command(text);
        let child = command.stdout(Stdio::null()).stderr(File::create(&stderr).unwrap()).spawn().unwrap();
        let (address, path) = self.address_of(url);
        self.remember_exports(text);
        // from now on it ends with the terminal, even if the test fails
        self.staying.push(Staying { child, address: address.clone() });
        let staying = self.staying.last_mut().unwrap();
        wait::until(&format!("{url} answers"), || {
            if let Some(status) = staying.child.try_wait().unwrap() {
                panic!("ended with {status}: {text}\n{}", fs::read_to_string(&stderr).unwrap());
            }
            let answer = http::try_send(address.parse().unwrap(), "GET", &path, &[], b"");
            answer.is_ok_and(|answer| answer.status == 200).then_some(())
        });
    }

    /// Presses Ctrl-C for all running commands and waits for the end of their process groups.
    pub(crate) fn ctrl_c(&mut self) {
        for mut staying in self.staying.drain(..).rev() {
            let group = Pid::from_child(&staying.child);
            kill_process_group(group, Signal::INT).unwrap();
            wait::until("running commands end on Ctrl-C", || staying.child.try_wait().unwrap());
            wait::until("the process group is empty", || test_kill_process_group(group).is_err().then_some(()));
            let listens = std::net::TcpStream::connect(&staying.address).is_ok();
            assert!(!listens, "{} is still served after Ctrl-C", staying.address);
        }
    }

    /// The recorded calls of `cargo`.
    pub(crate) fn cargo_commands(&self) -> Vec<String> {
        let calls = fs::read_to_string(self.home.path().join("bin/cargo-calls")).unwrap_or_default();
        calls.lines().map(str::to_owned).collect()
    }

    /// Address and path of a URL in the documents, with the replaced port.
    fn address_of(&self, url: &str) -> (String, String) {
        let url = self.with_free_ports(url);
        let (address, path) = url.strip_prefix("http://").and_then(|rest| rest.split_once('/')).unwrap();
        (address.to_owned(), format!("/{path}"))
    }

    fn with_free_ports(&self, text: &str) -> String {
        let engine = std::env::var("ENGINE_URL").ok();
        let mut text = text.to_owned();
        for (default, free) in &self.ports {
            // a running engine keeps its address
            let address = match engine.as_deref().and_then(|url| url.trim_end_matches('/').strip_prefix("http://")) {
                Some(engine) if *default == 9200 => engine.to_owned(),
                _ => format!("127.0.0.1:{free}"),
            };
            text = text.replace(&format!("127.0.0.1:{default}"), &address);
        }
        text
    }

    fn command(&self, text: &str) -> Command {
        let home = self.home.path();
        let mut command = Command::new("bash");
        let path = std::env::var("PATH").unwrap_or_default();
        command
            .args(["-euo", "pipefail", "-c"])
            .arg(format!("{}{}", self.exports, self.with_free_ports(text)))
            .current_dir(home)
            .env_clear()
            .env("HOME", home)
            .env("PATH", format!("{}:{path}", home.join("bin").display()))
            .env("CARGO_CALLS", home.join("bin/cargo-calls"))
            .env("BUILT_XTASK", executable("xtask"))
            .env("CACHE_DIR", repository().join(".cache"))
            .stdin(Stdio::null())
            .process_group(0);
        for name in FORWARDED {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        let of_stack = is_of_stack(text);
        for (default, name) in PORTS {
            let free = self.ports.iter().find(|(known, _)| *known == default).unwrap().1;
            if name == "LISTEN" {
                command.env(name, format!("127.0.0.1:{free}"));
            } else if name == "PORT" || of_stack {
                command.env(name, free.to_string());
            }
        }
        if ["make test", "make e2e"].contains(&text.trim()) {
            // the first would run this test again; test_local_stack.rs tests the second
            command.env("MAKEFLAGS", "n");
        }
        command
    }

    fn remember_exports(&mut self, text: &str) {
        for line in text.lines().filter(|line| line.starts_with("export ")) {
            self.exports.push_str(line);
            self.exports.push('\n');
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        for staying in &mut self.staying {
            let group = Pid::from_child(&staying.child);
            // SIGTERM first, because a killed shipper ends its service with a delay
            let _ignored = kill_process_group(group, Signal::TERM);
            let deadline = Instant::now() + Duration::from_secs(15);
            while test_kill_process_group(group).is_ok() && Instant::now() < deadline {
                let _ignored = staying.child.try_wait();
                std::thread::sleep(Duration::from_millis(20));
            }
            let _ignored = kill_process_group(group, Signal::KILL);
            let _ignored = staying.child.wait();
        }
        if self.home.path().join(".local").exists() {
            let down = self.command("make down-local").stdout(Stdio::null()).stderr(Stdio::null()).status();
            if !down.is_ok_and(|status| status.success()) {
                eprintln!("the stack in {} could not be stopped", self.home.path().display());
            }
        }
    }
}

fn is_of_stack(text: &str) -> bool {
    ["make up-local", "make status", "make down-local"].iter().any(|command| text.contains(command))
}

/// Copies a folder and keeps symbolic links.
fn copy(from: &Path, to: &Path, except: &[&str]) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (path, target, kind) = (entry.path(), to.join(entry.file_name()), entry.file_type().unwrap());
        if except.iter().any(|name| entry.file_name() == *name) {
            continue;
        }
        if kind.is_dir() {
            fs::create_dir(&target).unwrap();
            copy(&path, &target, &[]);
        } else if kind.is_symlink() {
            symlink(fs::read_link(&path).unwrap(), &target).unwrap();
        } else if kind.is_file() {
            fs::copy(&path, &target).unwrap();
        }
    }
}
