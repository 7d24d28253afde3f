//! Where a command waits until it is guarded: none of it runs before the [`guard`](crate::guard) knows its group.
//!
//! `exec` does not start the command but this program once more, with [`ARGUMENT`] and the command, as leader of a process
//! group. Before the command stands the soft limit on open files that it is to have, which the shipper has raised for
//! itself. It waits at one end of a socket. Once the guard knows the group, [`GO`] comes over it and with that
//! the command's standard output; then the process becomes the command, which so is the leader of its group, with the
//! arguments, the environment and the files that it would have had at once. Where it can't become the command, the system's
//! error goes back, four bytes, little-endian; where it can, the socket just ends. A socket that ends without a [`GO`] means
//! that the shipper is gone, and the process ends, too.

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

/// The first argument of a process that waits to become a command; no subcommand that anyone is shown.
pub(crate) const ARGUMENT: &str = "__start";

/// The guard knows the group.
const GO: u8 = b'!';

/// The shipper's side: a command that has not begun.
pub(crate) struct Waiting {
    child: Child,
    group: Pid,
    socket: UnixStream,
}

impl Waiting {
    /// Starts the process that is to become the command.
    pub(crate) fn start(command: &[OsString], stdin: Stdio) -> io::Result<Self> {
        let (socket, theirs) = UnixStream::pair()?;
        let mut waiting = Command::new(OWN_EXECUTABLE);
        waiting.arg0("shipper").arg(ARGUMENT).arg(descriptors::to_text(descriptors::inherited())).args(command);
        waiting.stdin(stdin).stdout(OwnedFd::from(theirs)).process_group(0);
        let child = waiting.spawn()?;
        // The other end is the process's alone from here on, or its end could not be seen.
        drop(waiting);
        let group = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)).ok_or(io::ErrorKind::NotFound)?;
        Ok(Self { child, group, socket })
    }

    /// The group that the command will lead.
    pub(crate) fn group(&self) -> Pid {
        self.group
    }

    /// Lets the command begin, with `stdout` for its standard output.
    ///
    /// # Errors
    /// Why it can't be executed, as if it had been started at once.
    pub(crate) fn go(mut self, stdout: &OwnedFd) -> io::Result<Child> {
        let files = [stdout.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        ancillary.push(SendAncillaryMessage::ScmRights(&files));
        let told = [IoSlice::new(&[GO])];
        match rustix::io::retry_on_intr(|| {
            rustix::net::sendmsg(&self.socket, &told, &mut ancillary, SendFlags::NOSIGNAL)
        }) {
            // A signal has ended it, as one may end a command; its status tells.
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

/// The waiting process's own work: becomes the command that `arguments` are, once it may.
///
/// # Errors
/// Where that fails; the shipper knows why.
pub(crate) fn stand(mut arguments: impl Iterator<Item = OsString>) -> io::Result<()> {
    // Closed by itself when the command begins.
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

/// Waits for the word to go; nothing where the shipper ended without it.
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
    // There is none where no more files may be open here.
    files.last().map(Some).ok_or_else(|| Errno::MFILE.into())
}

/// Comes back with an error only.
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
