//! A state directory has one shipper at a time.

use std::io;
use std::path::Path;

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use super::{StartError, unusable};
use crate::disk::{Disk, RealDisk};

/// A state directory that no other process uses as long as this is there.
#[derive(Debug)]
pub struct Held {
    _locks: [std::fs::File; 2],
}

impl Held {
    /// Holds a directory, which is made if it is not there.
    ///
    /// # Errors
    /// [`StartError::StateDir`], [`StartError::Locked`].
    pub fn made(state_dir: &Path) -> Result<Self, StartError> {
        RealDisk.create_dir_all(state_dir).map_err(|error| unusable(state_dir, error.to_string()))?;
        Self::existing(state_dir)
    }

    /// Holds a directory that is there.
    ///
    /// # Errors
    /// [`StartError::StateDir`], [`StartError::Locked`].
    pub fn existing(state_dir: &Path) -> Result<Self, StartError> {
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
