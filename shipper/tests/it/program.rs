//! Runs the real program in its own folder, with helpers for tests.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use store::{EngineSettings, Order, Search, Store, Target};
use tempfile::TempDir;

/// Reached only if a test fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// Polls until `look` returns a value.
#[track_caller]
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A folder with a store, a state directory and files of a test.
pub(crate) struct Place {
    pub(crate) folder: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The program in this folder with these arguments, without variables of the tests.
    pub(crate) fn shipper(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_shipper"));
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.current_dir(&self.folder).args(arguments).stdin(Stdio::null()).process_group(0);
        command
    }

    /// A subcommand with the embedded store of this folder.
    pub(crate) fn ship(&self, arguments: &[&str]) -> Command {
        let mut command = self.shipper(arguments);
        command.env("SHIPPER_TO", "sqlite:logs.db");
        command
    }

    /// `exec` of a shell script with the embedded store of this folder.
    pub(crate) fn script(&self, script: &str) -> Command {
        self.ship(&["exec", "--", "/bin/sh", "-c", script])
    }

    /// The messages in the embedded store, oldest first.
    pub(crate) fn stored(&self) -> Vec<String> {
        let target = Target::Sqlite(self.path("logs.db"));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let page = runtime.block_on(async {
            let store = Store::open(&target, &EngineSettings::default()).await.unwrap();
            let search = Search { order: Order::OldestFirst, limit: 1_000, ..Search::default() };
            store.search(&store::Scope::All, &search).await.unwrap()
        });
        let message = |line: &str| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            line["message"].as_str().unwrap().to_owned()
        };
        page.lines.iter().map(|line| message(line.get())).collect()
    }

    /// The first line of a file, once it is complete.
    #[track_caller]
    pub(crate) fn line(&self, name: &str) -> String {
        until(&format!("a line in {name}"), || {
            let text = std::fs::read_to_string(self.path(name)).ok()?;
            text.split_once('\n').map(|(line, _)| line.to_owned())
        })
    }

    /// The process whose id a script wrote to a file.
    #[track_caller]
    pub(crate) fn pid(&self, name: &str) -> Pid {
        Pid::from_raw(self.line(name).trim().parse().unwrap()).unwrap()
    }
}

/// A running program.
pub(crate) struct Running {
    child: Child,
    stderr: PathBuf,
    ended: Option<ExitStatus>,
}

/// Starts a program with its standard error redirected to a file.
#[track_caller]
pub(crate) fn start(place: &Place, mut command: Command) -> Running {
    let number = std::fs::read_dir(place.folder.path()).unwrap().count();
    let stderr = place.path(&format!("stderr-{number}"));
    let child = command.stdout(Stdio::null()).stderr(File::create(&stderr).unwrap()).spawn().unwrap();
    Running { child, stderr, ended: None }
}

/// Runs a program to its end.
#[track_caller]
pub(crate) fn finish(place: &Place, command: Command) -> (i32, String) {
    let mut running = start(place, command);
    (running.code(), running.stderr())
}

impl Running {
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Sends a signal. A process that has ended but was not reaped accepts it without effect.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    pub(crate) fn stdin(&mut self) -> ChildStdin {
        self.child.stdin.take().unwrap()
    }

    /// Its exit code, once it has ended.
    #[track_caller]
    pub(crate) fn code(&mut self) -> i32 {
        let status = until("the program ends", || self.child.try_wait().unwrap());
        self.ended = Some(status);
        status.code().unwrap_or_else(|| panic!("{status}: {}", self.stderr()))
    }

    /// Its exit code, if it has ended.
    pub(crate) fn has_ended(&mut self) -> Option<i32> {
        self.ended = self.child.try_wait().unwrap();
        self.ended.and_then(|status| status.code())
    }

    /// Kills it with SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.ended = Some(self.child.wait().unwrap());
    }

    pub(crate) fn stderr(&self) -> String {
        std::fs::read_to_string(&self.stderr).unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.ended.is_none() {
            let _gone = kill_process_group(self.pid(), Signal::KILL);
            let _gone = self.child.wait();
        }
    }
}

/// Whether a process has ended, even if it was not reaped.
pub(crate) fn is_gone(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_pid())).unwrap_or_default();
    stat.rsplit(") ").next().is_none_or(|rest| rest.is_empty() || rest.starts_with(['Z', 'X']))
}

/// A process that must not outlive the test.
pub(crate) struct Stray(pub(crate) Pid);

impl Drop for Stray {
    fn drop(&mut self) {
        let _gone = kill_process(self.0, Signal::KILL);
    }
}

/// An address that nobody listens on.
pub(crate) fn free_address() -> SocketAddr {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap()
}

/// Requests a path; returns status and body, or nothing if nobody answers.
pub(crate) fn get(address: SocketAddr, path: &str) -> Option<(u16, String)> {
    let mut connection = TcpStream::connect(address).ok()?;
    connection.set_read_timeout(Some(PATIENCE)).ok()?;
    write!(connection, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}

/// The names in a folder, sorted; none if it does not exist.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Runs a subcommand to its end; returns its code and both outputs.
#[track_caller]
pub(crate) fn run(place: &Place, arguments: &[&str]) -> (i32, String) {
    let output = place.ship(arguments).output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.code().unwrap(), text)
}

/// Ships lines from a pipe.
#[track_caller]
pub(crate) fn ship_stdin(place: &Place, text: &str) {
    let mut command = place.ship(&["run"]);
    command.stdin(Stdio::piped());
    let mut shipper = start(place, command);
    shipper.stdin().write_all(text.as_bytes()).unwrap();
    assert_eq!(shipper.code(), 0, "{}", shipper.stderr());
}
