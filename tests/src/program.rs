//! Starts the built programs, each in its own folder and process group, with standard output and error in files.
//!
//! Dropping a [`Program`] kills its process group.

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

/// The path of a program's executable, in the folder above the tests' own. Panics if it has not been built.
#[track_caller]
pub fn executable(name: &str) -> PathBuf {
    // this test is target/debug/deps/observability-…
    let test = std::env::current_exe().unwrap();
    let path = test.parent().and_then(Path::parent).unwrap().join(name);
    assert!(path.is_file(), "{} is not built: run `make test` or `make integration`", path.display());
    path
}

/// The path of a program that is not built here, such as `promtool`. Panics if it is missing.
#[track_caller]
pub fn installed(name: &str) -> PathBuf {
    let output = Command::new(executable("xtask")).args(["find", name]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
}

/// Builder of a [`Program`].
#[derive(Debug)]
pub struct Start {
    command: Command,
    folder: TempDir,
    piped: bool,
}

impl Start {
    /// A program of this workspace, with an environment cleared of the tests' own settings.
    #[track_caller]
    pub fn program(name: &str) -> Self {
        Self::at(&executable(name))
    }

    /// As [`Start::program`], for the program at a path.
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

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Connects standard input, which is empty otherwise, to a pipe in [`Program::child`].
    #[must_use]
    pub fn piped_stdin(mut self) -> Self {
        self.command.stdin(Stdio::piped());
        self
    }

    /// Connects standard output, which is a file otherwise, to a pipe in [`Program::child`].
    #[must_use]
    pub fn piped_stdout(mut self) -> Self {
        self.piped = true;
        self
    }

    /// Starts the program.
    #[track_caller]
    pub fn start(mut self) -> Program {
        let stdout = self.folder.path().join("stdout");
        let stderr = self.folder.path().join("stderr");
        self.command.stdout(if self.piped { Stdio::piped() } else { File::create(&stdout).unwrap().into() });
        self.command.stderr(File::create(&stderr).unwrap()).process_group(0);
        let child = self.command.spawn().unwrap_or_else(|error| panic!("{:?}: {error}", self.command));
        Program { child, folder: self.folder, ended: None }
    }

    /// Starts the program and waits until `GET /healthz` at the address returns 200.
    #[track_caller]
    pub fn start_healthy(self, address: SocketAddr) -> Program {
        self.start_answering(address, "/healthz")
    }

    /// Starts the program and waits until `GET` of the path at the address returns 200.
    #[track_caller]
    pub fn start_answering(self, address: SocketAddr, path: &str) -> Program {
        let mut program = self.start();
        wait::until("the program responds", || {
            if let Some(status) = program.has_ended() {
                panic!("the program exited with {status} while starting: {}", program.stderr());
            }
            http::try_send(address, "GET", path, &[], b"").ok().filter(|answer| answer.status == 200)
        });
        program
    }
}

/// A started program.
#[derive(Debug)]
pub struct Program {
    child: Child,
    folder: TempDir,
    ended: Option<ExitStatus>,
}

impl Program {
    /// The child process.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// The process id.
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// The standard output so far.
    #[track_caller]
    pub fn stdout(&self) -> String {
        String::from_utf8(std::fs::read(self.folder.path().join("stdout")).unwrap()).unwrap()
    }

    /// The standard error so far.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.folder.path().join("stderr")).unwrap()).into_owned()
    }

    /// The complete JSON lines on standard output so far.
    #[track_caller]
    pub fn lines(&self) -> Vec<Value> {
        lines::parse_complete(&self.stdout())
    }

    /// Sends a signal to the program, but not to its children.
    pub fn signal(&self, signal: Signal) {
        if self.ended.is_none() {
            kill_process(self.pid(), signal).unwrap();
        }
    }

    /// The exit status, if the program has exited.
    pub fn has_ended(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().unwrap();
        }
        self.ended
    }

    /// Waits for the program to exit.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        let folder = self.folder.path().join("stderr");
        wait::until(&format!("the program exits; its output is in {}", folder.display()), || self.has_ended())
    }

    /// Waits for the program to exit and returns its exit code. Panics if a signal ended it.
    #[track_caller]
    pub fn exit_code(&mut self) -> i32 {
        let status = self.wait();
        status.code().unwrap_or_else(|| panic!("ended by signal {:?}: {}", status.signal(), self.stderr()))
    }

    /// Stops the program with SIGTERM and returns its exit code.
    #[track_caller]
    pub fn stop(&mut self) -> i32 {
        self.signal(Signal::TERM);
        self.exit_code()
    }

    /// Kills the program with SIGKILL and waits for its end.
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
        // until the child is waited for, its process group id cannot be reused
        if self.has_ended().is_none() {
            let _ignored = kill_process_group(self.pid(), Signal::KILL);
            let _ignored = self.child.wait();
        }
    }
}
