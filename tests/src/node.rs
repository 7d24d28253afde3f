//! A private engine that a test can stop, freeze, kill and restart. `cargo xtask engine` runs it in a fixed folder and on
//! a fixed port.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Signal, kill_process_group};
use tempfile::TempDir;

use crate::engine::Engine;
use crate::program::{Program, Start};
use crate::{http, port, wait};

/// Maximum time to start an engine. Two of them on two busy cores take most of a minute.
const START_PATIENCE: Duration = Duration::from_secs(240);

/// One engine node.
#[derive(Debug)]
pub struct Node {
    name: String,
    folder: TempDir,
    address: SocketAddr,
    program: Option<Program>,
}

impl Node {
    /// A node of an engine, `opensearch`, `elasticsearch` or `NAME-VERSION`, that is not started.
    pub fn new(name: &str) -> Self {
        let (folder, address) = (tempfile::tempdir().unwrap(), port::free_address());
        Self { name: name.to_owned(), folder, address, program: None }
    }

    /// A started node that accepts writes.
    #[track_caller]
    pub fn started(name: &str) -> Self {
        let mut node = Self::new(name);
        node.start();
        node
    }

    /// Path of a file that replaces the engine's own at the next start. `settings.yml` is appended to its settings.
    #[track_caller]
    pub fn extra(&self, file: &str) -> PathBuf {
        let path = self.folder.path().join("extra").join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    /// The node's folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The node's address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A client of the node.
    pub fn engine(&self) -> Engine {
        Engine::at(&format!("http://{}", self.address))
    }

    fn task(&self) -> Start {
        let port = self.address.port().to_string();
        let mut start = Start::program("xtask").arg("engine").arg(&self.name).arg(self.folder.path()).arg(port);
        for variable in ["CACHE_DIR", "ENGINE_HEAP", "JAVA_HOME", "HOME"] {
            if let Some(value) = std::env::var_os(variable) {
                start = start.env(variable, value);
            }
        }
        start
    }

    /// Runs one of the engine's tools with the node's configuration and returns its output.
    #[track_caller]
    pub fn tool(&self, arguments: &[&str]) -> String {
        let mut tool = self.task().args(arguments).start();
        assert_eq!(tool.exit_code(), 0, "{arguments:?}: {} {}", tool.stdout(), tool.stderr());
        tool.stdout()
    }

    /// Starts the node without waiting.
    #[track_caller]
    pub fn begin(&mut self) {
        assert!(self.program.is_none(), "the node is running");
        self.program = Some(self.task().start());
    }

    /// Starts the node and waits until it accepts writes.
    #[track_caller]
    pub fn start(&mut self) {
        self.begin();
        let address = self.address;
        self.wait_until("the engine accepts writes", || {
            let path = "/_cluster/health?wait_for_status=yellow&timeout=1s";
            http::try_send(address, "GET", path, &[], b"").ok().filter(|answer| answer.status == 200).map(drop)
        });
    }

    /// Waits for a condition. Panics with the node's output if it exits first.
    #[track_caller]
    pub fn wait_until<T>(&mut self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        let program = self.program.as_mut().unwrap();
        wait::until_within(START_PATIENCE, what, || {
            if let Some(status) = program.has_ended() {
                panic!("the engine exited with {status}: {} {}", program.stdout(), program.stderr());
            }
            look()
        })
    }

    /// Sends a signal to the node's processes.
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        kill_process_group(self.program.as_ref().unwrap().pid(), signal).unwrap();
    }

    /// Stops the node with SIGTERM.
    #[track_caller]
    pub fn stop(&mut self) {
        self.signal(Signal::TERM);
        self.program.take().unwrap().wait();
    }

    /// Kills the node.
    #[track_caller]
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.program.take().unwrap().wait();
    }
}
