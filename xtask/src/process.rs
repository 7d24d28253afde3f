//! Child processes, signals, and waiting for conditions.

use std::ffi::OsString;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, WaitOptions, kill_process_group, test_kill_process_group, waitpid};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::obstacle::{UNAVAILABLE, obstacle};

/// Time between SIGTERM and SIGKILL.
const STOP_TIMEOUT: Duration = Duration::from_secs(15);
/// Time between two looks at a condition.
const PAUSE: Duration = Duration::from_millis(50);
/// Time limit for the response of a part of the stack.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(5);

/// The exit code of the last signal that this process received, or 0.
static SIGNAL: LazyLock<Arc<AtomicUsize>> = LazyLock::new(Arc::default);

/// From now on, a signal makes every wait return an error instead of ending this process, so that values are dropped and
/// clean up after themselves.
pub(crate) fn watch_signals() -> Result<()> {
    for signal in [SIGHUP, SIGINT, SIGTERM] {
        signal_hook::flag::register_usize(signal, SIGNAL.clone(), usize::try_from(128 + signal)?)?;
    }
    Ok(())
}

/// Polls a condition until it has a value, within a limit. Fails after a signal.
pub(crate) fn wait_until<T>(limit: Duration, mut look: impl FnMut() -> Result<Option<T>>) -> Result<Option<T>> {
    let began = Instant::now();
    loop {
        let value = look()?;
        if value.is_some() || began.elapsed() >= limit {
            return Ok(value);
        }
        let code = u8::try_from(SIGNAL.load(Ordering::Relaxed))?;
        if code != 0 {
            return Err(obstacle!(code, ""));
        }
        std::thread::sleep(PAUSE);
    }
}

/// A child that leads a process group, so that Ctrl-C does not reach it directly. Dropping it ends the group.
#[derive(Debug)]
pub(crate) struct Group(Child);

impl Group {
    pub(crate) fn spawn(command: &mut Command) -> Result<Self> {
        let child = command.stdin(Stdio::null()).process_group(0).spawn();
        Ok(Self(child.with_context(|| format!("{} can't be started", command.get_program().display()))?))
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.0)
    }

    pub(crate) fn has_ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.0.try_wait()?)
    }

    /// Waits for the end of the child and returns its exit code as a shell does. Fails after a signal.
    pub(crate) fn wait(mut self) -> Result<u8> {
        let status = wait_until(Duration::MAX, || self.has_ended())?.unwrap_or_default();
        Ok(u8::try_from(status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default()))?)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        stop_group(self.pid());
        let _reaped = self.0.wait();
    }
}

/// Ends a process group: with SIGTERM, then with SIGKILL. An error of `kill` means that the group has ended.
pub(crate) fn stop_group(leader: Pid) {
    let (began, _ended) = (Instant::now(), kill_process_group(leader, Signal::TERM));
    loop {
        // A child that has ended is part of the group until it is waited for.
        let _status = waitpid(Some(leader), WaitOptions::NOHANG);
        if test_kill_process_group(leader).is_err() {
            return;
        }
        if began.elapsed() >= STOP_TIMEOUT {
            let _ended = kill_process_group(leader, Signal::KILL);
        }
        std::thread::sleep(PAUSE);
    }
}

/// Runs a command to its end, with its output on standard error. Fails with the message if it does.
pub(crate) fn run(command: &mut Command, message: &str) -> Result<()> {
    let code = Group::spawn(command.stdout(io::stderr()))?.wait()?;
    if code == 0 { Ok(()) } else { Err(obstacle!(UNAVAILABLE, "{message}")) }
}

/// The standard output of a short command, if it succeeds.
pub(crate) fn output_of(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A command of words, the first of which may run a program that later ones name.
pub(crate) fn command_of(words: &[OsString]) -> Command {
    let mut command = Command::new(words.first().map_or("true".as_ref(), OsString::as_os_str));
    command.args(words.get(1..).unwrap_or_default());
    command
}

/// An executable file, by its path or a name on the `PATH`.
pub(crate) fn executable(name: impl AsRef<Path>) -> Option<PathBuf> {
    let is_executable =
        |path: &PathBuf| path.is_file() && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok();
    if name.as_ref().components().count() > 1 {
        return Some(name.as_ref().to_owned()).filter(is_executable);
    }
    std::env::split_paths(&std::env::var_os("PATH")?).map(|folder| folder.join(&name)).find(is_executable)
}

/// An environment variable that is not empty.
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Whether a GET is answered with 200.
pub(crate) fn answers(port: u16, path: &str) -> bool {
    let get = || -> io::Result<bool> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_read_timeout(Some(RESPONSE_TIMEOUT))?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")?;
        let mut status = String::new();
        BufReader::new(stream).read_line(&mut status)?;
        Ok(status.split(' ').nth(1) == Some("200"))
    };
    get().unwrap_or(false)
}

/// The last lines of a file.
pub(crate) fn last_lines(file: &Path, count: usize) -> String {
    let text = String::from_utf8_lossy(&std::fs::read(file).unwrap_or_default()).into_owned();
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_is_polled_until_its_limit() {
        let mut looks = 0;
        let found = wait_until(Duration::MAX, || {
            looks += 1;
            Ok((looks == 3).then_some(looks))
        });
        assert_eq!(found.unwrap(), Some(3));
        assert_eq!(wait_until(Duration::ZERO, || Ok(None::<()>)).unwrap(), None);
    }

    #[test]
    fn a_group_ends_with_all_of_its_processes() {
        let group = Group::spawn(Command::new("sh").args(["-c", "sleep 1000 & sleep 1000"])).unwrap();
        let pid = group.pid();
        assert!(test_kill_process_group(pid).is_ok());
        drop(group);
        assert!(test_kill_process_group(pid).is_err());
        assert_eq!(Group::spawn(Command::new("sh").args(["-c", "kill -KILL $$"])).unwrap().wait().unwrap(), 137);
    }
}
