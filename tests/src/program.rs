//! Starting the real programs, as they were built, in folders of their own.
//!
//! A program runs in its own process group, with its standard output and error in files; what is still running when
//! its [`Program`] goes out of scope is killed, with all that it started.

use std::ffi::OsStr;
use std::fs::File;
use std::net::SocketAddr;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::Value;
use tempfile::TempDir;

use crate::{http, lines, wait};

/// Where a program's executable is: beside the tests' own. Panics when it has not been built.
#[track_caller]
pub fn executable(name: &str) -> PathBuf {
    // target/debug/deps/observability-… is this test.
    let test = std::env::current_exe().unwrap();
    let path = test.parent().and_then(Path::parent).unwrap().join(name);
    assert!(path.is_file(), "{} is not built: run `make test` or `make integration`", path.display());
    path
}

/// A program to be started.
#[derive(Debug)]
pub struct Start {
    command: Command,
    folder: TempDir,
    piped: bool,
}

impl Start {
    /// The program of a name, without any of the settings that the tests' own environment may hold.
    #[track_caller]
    pub fn program(name: &str) -> Self {
        Self::at(&executable(name))
    }

    /// The program of a path, as [`Start::program`].
    #[track_caller]
    pub fn at(path: &Path) -> Self {
        let mut command = Command::new(path);
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).stdin(Stdio::null());
        Self { command, folder: tempfile::tempdir().unwrap(), piped: false }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.command.arg(argument);
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.command.args(arguments);
        self
    }

    /// Sets a variable of its environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Lets its standard input be a pipe that the test holds, by way of [`Program::child`], rather than empty.
    #[must_use]
    pub fn piped_stdin(mut self) -> Self {
        self.command.stdin(Stdio::piped());
        self
    }

    /// Lets its standard output be a pipe that the test holds, by way of [`Program::child`], rather than a file.
    #[must_use]
    pub fn piped_stdout(mut self) -> Self {
        self.piped = true;
        self
    }

    /// Starts it.
    #[track_caller]
    pub fn start(mut self) -> Program {
        let stdout = self.folder.path().join("stdout");
        let stderr = self.folder.path().join("stderr");
        self.command.stdout(if self.piped { Stdio::piped() } else { File::create(&stdout).unwrap().into() });
        self.command.stderr(File::create(&stderr).unwrap()).process_group(0);
        let child = self.command.spawn().unwrap_or_else(|error| panic!("{:?}: {error}", self.command));
        Program { child, folder: self.folder, ended: None }
    }

    /// Starts it and waits until `GET /healthz` at the address is answered with 200.
    #[track_caller]
    pub fn start_healthy(self, address: SocketAddr) -> Program {
        self.start_answering(address, "/healthz")
    }

    /// Starts it and waits until `GET` of the path at the address is answered with 200.
    #[track_caller]
    pub fn start_answering(self, address: SocketAddr, path: &str) -> Program {
        let mut program = self.start();
        wait::until("the program answers", || {
            if let Some(status) = program.has_ended() {
                panic!("it ended with {status} while starting: {}", program.stderr());
            }
            http::try_send(address, "GET", path, &[], b"").ok().filter(|answer| answer.status == 200)
        });
        program
    }
}

/// A program that was started.
#[derive(Debug)]
pub struct Program {
    child: Child,
    folder: TempDir,
    ended: Option<ExitStatus>,
}

impl Program {
    /// The process.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Its process id.
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// What it wrote to its standard output so far.
    #[track_caller]
    pub fn stdout(&self) -> String {
        String::from_utf8(std::fs::read(self.folder.path().join("stdout")).unwrap()).unwrap()
    }

    /// What it wrote to its standard error so far.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.folder.path().join("stderr")).unwrap()).into_owned()
    }

    /// The JSON lines that it wrote to its standard output so far.
    #[track_caller]
    pub fn lines(&self) -> Vec<Value> {
        lines::parse_ended(&self.stdout())
    }

    /// Sends the program itself a signal.
    pub fn signal(&self, signal: Signal) {
        if self.ended.is_none() {
            kill_process(self.pid(), signal).unwrap();
        }
    }

    /// Its exit status, if it ended.
    pub fn has_ended(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().unwrap();
        }
        self.ended
    }

    /// Waits for its end.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        let folder = self.folder.path().join("stderr");
        wait::until(&format!("the program ends; its words are in {}", folder.display()), || self.has_ended())
    }

    /// Waits for its end; the exit code it returned. Panics when a signal ended it.
    #[track_caller]
    pub fn exit_code(&mut self) -> i32 {
        let status = self.wait();
        status.code().unwrap_or_else(|| panic!("ended by signal {:?}: {}", status.signal(), self.stderr()))
    }

    /// Asks it to end with SIGTERM and waits; the exit code.
    #[track_caller]
    pub fn stop(&mut self) -> i32 {
        self.signal(Signal::TERM);
        self.exit_code()
    }

    /// Kills it without a chance to do anything about it, and waits.
    #[track_caller]
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.wait();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("-- standard error of process {}:\n{}", self.child.id(), self.stderr());
        }
        // The group stays until its last member ends, so its id can't be another's while the child is not waited for.
        if self.has_ended().is_none() {
            let _gone = kill_process_group(self.pid(), Signal::KILL);
            let _gone = self.child.wait();
        }
    }
}
