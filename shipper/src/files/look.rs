//! The results of one check of all files, and how they are made durable.

use std::io;

use store::GenerationId;

use super::{ContentOf, FileEvent, Files};
use crate::clock::ClockReading;
use crate::disk::Disk;

/// What one look finds.
pub(super) struct Look<D: Disk> {
    pub(super) now: ClockReading,
    pub(super) events: Vec<FileEvent<ContentOf<D>>>,
    /// Open files that were found truncated.
    pub(super) cut: Vec<GenerationId>,
    /// Generations that this look created.
    pub(super) begun: Vec<GenerationId>,
}

impl<D: Disk> Files<D> {
    /// Syncs the journal if it holds identities that may not be durable.
    ///
    /// A line must not be sent before the identity that it relies on is durable: after a power loss the next process
    /// would take the file for another generation. If the sync fails, the caller reports no event of the look, and tries
    /// again. Nothing is undone: what a look found depends on all of it. For example, a truncated file ends in the same
    /// look that starts its copy at the copy's end, and without that start the next scan reads the copy from 0.
    ///
    /// # Errors
    /// Errors of the journal.
    pub(super) fn make_durable(&mut self) -> io::Result<()> {
        if !self.is_unsynced {
            return Ok(());
        }
        let looked_at = self.looked_at();
        let mut journal = self.journal.lock();
        looked_at.into_iter().for_each(|at| journal.scanned(at));
        journal.sync()?;
        self.is_unsynced = false;
        Ok(())
    }
}
