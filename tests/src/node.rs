//! An engine of a test's own, that it may stop, freeze, kill and start again: `infra/local/run-engine.sh` in a folder and
//! on a port that stay the same.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Signal, kill_process_group};
use tempfile::TempDir;

use crate::engine::Engine;
use crate::program::{Program, Start};
use crate::{http, port, wait};

/// How long an engine may take until it answers. Two of them on two busy cores take most of a minute.
const START_PATIENCE: Duration = Duration::from_secs(240);

/// One node.
#[derive(Debug)]
pub struct Node {
    name: String,
    folder: TempDir,
    address: SocketAddr,
    program: Option<Program>,
}

impl Node {
    /// A node of an engine, `opensearch`, `elasticsearch` or `NAME-VERSION`, that does not run yet.
    pub fn new(name: &str) -> Self {
        let (folder, address) = (tempfile::tempdir().unwrap(), port::free_address());
        Self { name: name.to_owned(), folder, address, program: None }
    }

    /// A node that runs and answers.
    #[track_caller]
    pub fn started(name: &str) -> Self {
        let mut node = Self::new(name);
        node.start();
        node
    }

    /// Where a file lies that goes over the engine's own at its next start; `settings.yml` is added to its settings.
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

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// As the programs are given it.
    pub fn engine(&self) -> Engine {
        Engine::at(&format!("http://{}", self.address))
    }

    fn script(&self) -> Start {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../infra/local/run-engine.sh");
        let port = self.address.port().to_string();
        let mut start = Start::at(&script).arg(&self.name).arg(self.folder.path()).arg(port);
        for variable in ["CACHE_DIR", "ENGINE_HEAP", "JAVA_HOME", "HOME"] {
            if let Some(value) = std::env::var_os(variable) {
                start = start.env(variable, value);
            }
        }
        start
    }

    /// Runs one of the engine's own tools, beside the node's configuration; what it printed.
    #[track_caller]
    pub fn tool(&self, arguments: &[&str]) -> String {
        let mut tool = self.script().args(arguments).start();
        assert_eq!(tool.exit_code(), 0, "{arguments:?}: {} {}", tool.stdout(), tool.stderr());
        tool.stdout()
    }

    /// Starts it without waiting.
    #[track_caller]
    pub fn begin(&mut self) {
        assert!(self.program.is_none(), "it runs already");
        self.program = Some(self.script().start());
    }

    /// Starts it and waits until it takes writes.
    #[track_caller]
    pub fn start(&mut self) {
        self.begin();
        let address = self.address;
        self.wait_until("the engine takes writes", || {
            let path = "/_cluster/health?wait_for_status=yellow&timeout=1s";
            http::try_send(address, "GET", path, &[], b"").ok().filter(|answer| answer.status == 200).map(drop)
        });
    }

    /// Waits for a condition that the node brings about; panics with its words when it ends before that.
    #[track_caller]
    pub fn wait_until<T>(&mut self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        let program = self.program.as_mut().unwrap();
        wait::until_within(START_PATIENCE, what, || {
            if let Some(status) = program.has_ended() {
                panic!("the engine ended with {status}: {} {}", program.stdout(), program.stderr());
            }
            look()
        })
    }

    /// Sends a signal to its processes.
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        kill_process_group(self.program.as_ref().unwrap().pid(), signal).unwrap();
    }

    /// Ends it in order.
    #[track_caller]
    pub fn stop(&mut self) {
        self.signal(Signal::TERM);
        self.program.take().unwrap().wait();
    }

    /// Kills it.
    #[track_caller]
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.program.take().unwrap().wait();
    }
}
