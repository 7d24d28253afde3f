//! Locks a state directory for one shipper.
//!
//! There are two locks: `flock` on the file `lock` in the directory, and on the directory itself. A lock belongs to an
//! open file, so the kernel releases it when the last process with that open file ends. A child process has its
//! parent's files open between fork and exec. A shipper therefore starts no process while it holds the locks: `exec`
//! starts its helper processes first. A killed process may take a moment to end, so a held lock is retried for up to
//! [`LOCK_WAIT`].
//!
//! Over NFS the lock on the file also excludes shippers on other machines. Directories can't be locked there, so the
//! file `lock` must not be removed. File systems without locks are rejected.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use super::{StartError, unusable};
use crate::disk::{Disk, RealDisk};

/// How long to retry a held lock; usually longer than a killed process takes to end.
const LOCK_WAIT: Duration = Duration::from_secs(2);

/// How often to retry a held lock.
const LOCK_POLL_INTERVAL: Duration = Duration::from_millis(10);

/// A locked state directory. It is unlocked when this is dropped.
#[derive(Debug)]
pub struct StateDirLock {
    _locks: [std::fs::File; 2],
}

impl StateDirLock {
    /// Locks a directory and creates it if it does not exist. Blocks for up to two seconds while another process holds
    /// the lock.
    ///
    /// # Errors
    /// [`StartError::StateDir`], [`StartError::Locked`].
    pub fn create(state_dir: &Path) -> Result<Self, StartError> {
        RealDisk.create_dir_all(state_dir).map_err(|error| unusable(state_dir, error.to_string()))?;
        Self::acquire(state_dir)
    }

    /// Locks an existing directory. Blocks for up to two seconds while another process holds the lock.
    ///
    /// # Errors
    /// [`StartError::StateDir`], [`StartError::Locked`].
    pub fn acquire(state_dir: &Path) -> Result<Self, StartError> {
        let deadline = Instant::now() + LOCK_WAIT;
        loop {
            match Self::try_acquire(state_dir) {
                Err(StartError::Locked { .. }) if Instant::now() < deadline => std::thread::sleep(LOCK_POLL_INTERVAL),
                other => return other,
            }
        }
    }

    fn try_acquire(state_dir: &Path) -> Result<Self, StartError> {
        let failed = |error: io::Error| unusable(state_dir, error.to_string());
        if !state_dir.is_dir() {
            return Err(unusable(state_dir, "the directory does not exist".to_owned()));
        }
        let file = RealDisk.open_append(&state_dir.join("lock")).map_err(failed)?;
        // The file may be removed by a cleanup and created again by the next process. The folder can't be removed while
        // in use.
        let folder = RealDisk.open(state_dir).map_err(failed)?;
        for lock in [&file, &folder] {
            match rustix::fs::flock(lock, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(Errno::WOULDBLOCK) => return Err(StartError::Locked { path: state_dir.to_owned() }),
                // Network file systems that lock files may not lock folders.
                Err(Errno::BADF | Errno::INVAL | Errno::NOTSUP | Errno::NOLCK) if std::ptr::eq(lock, &folder) => {}
                Err(error) => return Err(failed(error.into())),
            }
        }
        Ok(Self { _locks: [file, folder] })
    }
}
