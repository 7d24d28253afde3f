//! A state directory has one shipper at a time.
//!
//! Two locks make sure of that: `flock` on the file `lock` in the directory, and on the directory itself. A lock belongs
//! to an open file, so that the kernel releases it when the last process that has the file open ends, however it ends.
//! A child process has its parent's files open between its fork and its exec. Therefore a shipper starts no process while
//! it holds the locks: `exec` starts its helper processes first. A process that was killed may take a moment to end; so
//! a lock that is held is waited for, at most [`LOCK_WAIT`].
//!
//! Over NFS the file's lock excludes shippers on other machines, too; a directory can't be locked there, so that the file
//! `lock` must not be removed. File systems without locks are refused.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use super::{StartError, unusable};
use crate::disk::{Disk, RealDisk};

/// How long a lock is waited for that another process holds: longer than a killed process takes to end, as a rule.
const LOCK_WAIT: Duration = Duration::from_secs(2);

/// How often a held lock is tried.
const LOCK_POLL_INTERVAL: Duration = Duration::from_millis(10);

/// A state directory that no other process uses as long as this is there.
#[derive(Debug)]
pub struct Held {
    _locks: [std::fs::File; 2],
}

impl Held {
    /// Holds a directory, which is made if it is not there. Blocks for up to two seconds while another process holds it.
    ///
    /// # Errors
    /// [`StartError::StateDir`], [`StartError::Locked`].
    pub fn made(state_dir: &Path) -> Result<Self, StartError> {
        RealDisk.create_dir_all(state_dir).map_err(|error| unusable(state_dir, error.to_string()))?;
        Self::existing(state_dir)
    }

    /// Holds a directory that is there. Blocks for up to two seconds while another process holds it.
    ///
    /// # Errors
    /// [`StartError::StateDir`], [`StartError::Locked`].
    pub fn existing(state_dir: &Path) -> Result<Self, StartError> {
        let deadline = Instant::now() + LOCK_WAIT;
        loop {
            match Self::try_existing(state_dir) {
                Err(StartError::Locked { .. }) if Instant::now() < deadline => std::thread::sleep(LOCK_POLL_INTERVAL),
                other => return other,
            }
        }
    }

    fn try_existing(state_dir: &Path) -> Result<Self, StartError> {
        let failed = |error: io::Error| unusable(state_dir, error.to_string());
        if !state_dir.is_dir() {
            return Err(unusable(state_dir, "there is no such directory".to_owned()));
        }
        let file = RealDisk.open_append(&state_dir.join("lock")).map_err(failed)?;
        // The file can be removed by whoever tidies up, and made anew by the next process; the folder can't while it is used.
        let folder = RealDisk.open(state_dir).map_err(failed)?;
        for lock in [&file, &folder] {
            match rustix::fs::flock(lock, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(Errno::WOULDBLOCK) => return Err(StartError::Locked { path: state_dir.to_owned() }),
                // Where files are locked over a network, a folder need not be.
                Err(Errno::BADF | Errno::INVAL | Errno::NOTSUP | Errno::NOLCK) if std::ptr::eq(lock, &folder) => {}
                Err(error) => return Err(failed(error.into())),
            }
        }
        Ok(Self { _locks: [file, folder] })
    }
}
