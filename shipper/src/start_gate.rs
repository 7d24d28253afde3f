//! Delays the start of a command until it is guarded: none of it runs before the [`guard`](crate::guard) knows its
//! group.
//!
//! `exec` does not start the command directly. It starts this program again, as leader of a process group, with
//! [`ARGUMENT`], the command's soft limit on open files (the shipper has raised its own) and the command. That process
//! waits on a socket. When the guard knows the group, the shipper sends [`GO`] and the command's standard output. The
//! process then executes the command, which is thereby the leader of its group and has the arguments, environment and
//! files of a direct start. If that fails, the process sends the system's error number, four bytes, little-endian;
//! otherwise the socket is closed by `exec`. If the socket is closed without [`GO`], the shipper has ended, and the
//! process ends too.

use std::ffi::OsString;
use std::io::{self, IoSlice, IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::Stdio;

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
};
use rustix::process::Pid;
use tokio::process::{Child, Command};

use crate::descriptors;
use crate::guard::OWN_EXECUTABLE;

/// The argument of a process that waits to execute a command. It is not a documented subcommand.
pub(crate) const ARGUMENT: &str = "__start";

/// Sent when the guard knows the group.
const GO: u8 = b'!';

/// The shipper's end of the socket: a command that has not started.
pub(crate) struct GatedCommand {
    child: Child,
    group: Pid,
    socket: UnixStream,
}

impl GatedCommand {
    /// Starts the process that will execute the command.
    pub(crate) fn start(command: &[OsString], stdin: Stdio) -> io::Result<Self> {
        let (socket, theirs) = UnixStream::pair()?;
        let mut process = Command::new(OWN_EXECUTABLE);
        process.arg0("shipper").arg(ARGUMENT).arg(descriptors::to_text(descriptors::inherited())).args(command);
        process.stdin(stdin).stdout(OwnedFd::from(theirs)).process_group(0);
        let child = process.spawn()?;
        // Closes our copy of the other end, so that its end can be noticed.
        drop(process);
        let group = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)).ok_or(io::ErrorKind::NotFound)?;
        Ok(Self { child, group, socket })
    }

    /// The group that the command will lead.
    pub(crate) fn group(&self) -> Pid {
        self.group
    }

    /// Starts the command with the given standard output.
    ///
    /// # Errors
    /// The error of executing it, as from a direct start.
    pub(crate) fn start_command(mut self, stdout: &OwnedFd) -> io::Result<Child> {
        let files = [stdout.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        ancillary.push(SendAncillaryMessage::ScmRights(&files));
        let message = [IoSlice::new(&[GO])];
        match rustix::io::retry_on_intr(|| {
            rustix::net::sendmsg(&self.socket, &message, &mut ancillary, SendFlags::NOSIGNAL)
        }) {
            // The process was killed, as a command may be. Its status shows it.
            Ok(_) | Err(Errno::PIPE | Errno::CONNRESET) => {}
            Err(error) => return Err(error.into()),
        }
        let mut error = [0; 4];
        match self.socket.read_exact(&mut error) {
            Ok(()) => Err(io::Error::from_raw_os_error(i32::from_le_bytes(error))),
            Err(_ended) => Ok(self.child),
        }
    }
}

/// Runs the gated process: waits, and then executes the command given by `arguments`.
///
/// # Errors
/// If that fails; the shipper has received the error.
pub(crate) fn run(mut arguments: impl Iterator<Item = OsString>) -> io::Result<()> {
    // Closed by `exec`.
    let socket = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), rustix::stdio::raw_stderr() + 1)?;
    let mut socket = UnixStream::from(socket);
    let limit = arguments.next().and_then(|limit| descriptors::from_text(limit.to_str()?));
    let limit = limit.ok_or(io::ErrorKind::InvalidInput)?;
    let error = match wait(&socket) {
        Ok(None) => return Ok(()),
        Ok(Some(stdout)) => become_command(&mut arguments, stdout, limit),
        Err(error) => error,
    };
    socket.write_all(&error.raw_os_error().unwrap_or(Errno::INVAL.raw_os_error()).to_le_bytes())
}

/// Waits for [`GO`]; returns `None` if the shipper has ended.
fn wait(socket: &UnixStream) -> io::Result<Option<OwnedFd>> {
    let mut word = [0];
    let mut words = [IoSliceMut::new(&mut word)];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = rustix::io::retry_on_intr(|| {
        rustix::net::recvmsg(socket, &mut words, &mut ancillary, RecvFlags::CMSG_CLOEXEC)
    })?;
    if received.bytes == 0 || word != [GO] {
        return Ok(None);
    }
    let files = ancillary.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut files) => files.next(),
        _ => None,
    });
    // The kernel drops the descriptor if no more files may be open.
    files.last().map(Some).ok_or_else(|| Errno::MFILE.into())
}

/// Executes the command. Returns only if that fails.
fn become_command(arguments: &mut impl Iterator<Item = OsString>, stdout: OwnedFd, limit: Option<u64>) -> io::Error {
    if let Err(error) = rustix::stdio::dup2_stdout(&stdout) {
        return error.into();
    }
    drop(stdout);
    if let Err(error) = descriptors::restore(limit) {
        return error;
    }
    let program = arguments.next().unwrap_or_default();
    std::process::Command::new(program).args(arguments).exec()
}
