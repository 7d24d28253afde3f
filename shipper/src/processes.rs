//! The processes of a command: its process group and, with `--wait-for-eof`, every other process that can write to the
//! command's standard output.
//!
//! A daemon leaves its parent's group and session, and its parent ends. Only the pipe ties it to the command, so
//! `/proc` is searched for open write ends of that pipe. Processes of other users are visible only to root. Signals are
//! sent through a pidfd, so that a reused process id never gets one.

use std::ffi::OsStr;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::OFlags;
use rustix::process::{Pid, PidfdFlags, Signal};

/// Maximum number of processes named in a log line.
const NAMED_MAX: usize = 8;

/// Length of [`Processes::to_bytes`].
pub(crate) const ENCODED_BYTES: usize = 12;

/// A pipe, identified by its inode as in `/proc`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PipeId(u64);

impl PipeId {
    /// The pipe of one of its ends.
    pub(crate) fn new(end: impl AsFd) -> io::Result<Self> {
        Ok(Self(rustix::fs::fstat(end)?.st_ino))
    }

    /// The processes that have the write end open, except this one.
    pub(crate) fn writers(self) -> Vec<Pid> {
        let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let pid = |name: &OsStr| Pid::from_raw(name.to_str()?.parse().ok()?);
        let pids = entries.filter_map(|entry| pid(&entry.file_name()));
        pids.filter(|pid| *pid != rustix::process::getpid() && self.is_held_by(*pid)).collect()
    }

    fn is_held_by(self, pid: Pid) -> bool {
        let process = Path::new("/proc").join(pid.as_raw_pid().to_string());
        let name = format!("pipe:[{}]", self.0);
        let is_writable = |fd: &OsStr| {
            let info = std::fs::read_to_string(process.join("fdinfo").join(fd)).unwrap_or_default();
            let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
            let flags = flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok()).unwrap_or_default();
            OFlags::from_bits_retain(flags).intersects(OFlags::WRONLY | OFlags::RDWR)
        };
        let files = std::fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
        let mut files =
            files.filter(|file| std::fs::read_link(file.path()).is_ok_and(|target| target == Path::new(&name)));
        files.any(|file| is_writable(&file.file_name()))
    }

    /// Names the processes that have the write end open, for a log line.
    pub(crate) fn name_writers(self) -> String {
        let writers = self.writers();
        let name = |pid: &Pid| {
            let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            format!("{} ({pid})", name.trim_end())
        };
        let mut names: Vec<_> = writers.iter().take(NAMED_MAX).map(name).collect();
        match writers.len() {
            0 => names.push("processes of another user".to_owned()),
            count if count > NAMED_MAX => names.push(format!("{} more", count - NAMED_MAX)),
            _ => {}
        }
        names.join(", ")
    }
}

/// The processes of a command.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Processes {
    group: Pid,
    /// Processes that can write to this pipe belong to the command.
    output: Option<PipeId>,
    /// Whether the command itself was reaped. Its process id, and that of its group, may be reused.
    leader_ended: bool,
}

impl Processes {
    /// The processes of a command that leads `group`, and with `output` all others that can write to it.
    pub(crate) fn new(group: Pid, output: Option<PipeId>) -> Self {
        Self { group, output, leader_ended: false }
    }

    /// Records that the command itself was reaped. From now on its group counts only while a member can write to the
    /// output.
    pub(crate) fn leader_has_ended(&mut self) {
        self.leader_ended = true;
    }

    /// Sends a signal to all of them; returns false if there are none.
    pub(crate) fn signal(&self, signal: Signal) -> io::Result<bool> {
        let (within, outside) = self.writers();
        let mut reached = 0;
        let group = if self.leader_ended && within.is_empty() {
            Ok(())
        } else {
            rustix::process::kill_process_group(self.group, signal).inspect(|()| reached += 1)
        };
        for pid in outside {
            reached += usize::from(self.signal_writer(pid, signal));
        }
        match group {
            Err(error) if error != rustix::io::Errno::SRCH => Err(error.into()),
            _ => Ok(reached > 0),
        }
    }

    /// Whether any of them exists.
    pub(crate) fn exist(&self) -> bool {
        let (within, outside) = self.writers();
        let has_group = !self.leader_ended && rustix::process::test_kill_process_group(self.group).is_ok();
        has_group || !within.is_empty() || !outside.is_empty()
    }

    /// The processes that can write to the output: members of the group, and others.
    fn writers(&self) -> (Vec<Pid>, Vec<Pid>) {
        let writers = self.output.map(PipeId::writers).unwrap_or_default();
        writers.into_iter().partition(|pid| rustix::process::getpgid(Some(*pid)).is_ok_and(|group| group == self.group))
    }

    /// Sends a signal to a process if it can still write to the output.
    fn signal_writer(&self, pid: Pid, signal: Signal) -> bool {
        let Ok(process) = rustix::process::pidfd_open(pid, PidfdFlags::empty()) else { return false };
        self.output.is_some_and(|output| output.is_held_by(pid))
            && rustix::process::pidfd_send_signal(process, signal).is_ok()
    }

    /// Encodes the group (four bytes) and the inode of the pipe or zero (eight bytes), little-endian.
    pub(crate) fn to_bytes(self) -> [u8; ENCODED_BYTES] {
        let mut bytes = [0; ENCODED_BYTES];
        bytes[..4].copy_from_slice(&self.group.as_raw_pid().to_le_bytes());
        bytes[4..].copy_from_slice(&self.output.map_or(0, |PipeId(inode)| inode).to_le_bytes());
        bytes
    }

    /// Decodes what [`Self::to_bytes`] encoded.
    pub(crate) fn from_bytes(bytes: &[u8; ENCODED_BYTES]) -> Option<Self> {
        let (group, inode) = bytes.split_first_chunk()?;
        let inode = u64::from_le_bytes(inode.try_into().ok()?);
        let output = (inode != 0).then_some(PipeId(inode));
        Some(Self::new(Pid::from_raw(i32::from_le_bytes(*group))?, output))
    }
}
