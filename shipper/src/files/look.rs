//! The results of one check of all files, and how they are made durable.

use std::io;

use store::GenerationId;

use super::{ContentOf, FileEvent, Files};
use crate::clock::ClockReading;
use crate::disk::{Disk, Stat};
use crate::journal::FileIdentity;
use crate::sync::lock;

/// The results of one check, until they are durable.
pub(super) struct Look<D: Disk> {
    pub(super) now: ClockReading,
    pub(super) events: Vec<FileEvent<ContentOf<D>>>,
    /// Open files that were truncated.
    pub(super) cut: Vec<GenerationId>,
    /// Generations created by this check.
    pub(super) begun: Vec<GenerationId>,
    /// Identities with a longer fingerprint, and their previous length.
    pub(super) grown: Vec<(GenerationId, FileIdentity, u64)>,
}

impl<D: Disk> Files<D> {
    /// Syncs the journal if a line that relies on these results could be sent: a process that knows less about a file
    /// would take later data for another generation. If that fails, the results are reverted.
    pub(super) fn make_durable(&mut self, look: &mut Look<D>) -> io::Result<()> {
        self.is_unsynced |= !look.begun.is_empty() || !look.grown.is_empty();
        if !self.is_unsynced {
            return Ok(());
        }
        let looked_at = self.looked_at();
        let mut journal = lock(&self.journal);
        looked_at.into_iter().for_each(|at| journal.scanned(at));
        let Err(error) = journal.sync() else {
            self.is_unsynced = false;
            return Ok(());
        };
        for generation in &look.begun {
            // The file gets another generation; a later process must not use this one.
            journal.retire(*generation);
            if let Some(followed) = self.followed.remove(generation) {
                self.by_inode.remove(&followed.identity.key());
            }
        }
        drop(journal);
        for (generation, identity, len) in look.grown.drain(..) {
            if let Some(followed) = self.followed.get_mut(&generation) {
                followed.identity = identity;
                followed.seen = Stat::default();
                followed.open.iter_mut().for_each(|open| (open.len, open.ended) = (len, false));
            }
            // One to be parked is not read further, and would be considered complete.
            let is_of_it = |event: &FileEvent<ContentOf<D>>| match event {
                FileEvent::Grown { generation: of, .. } | FileEvent::Ended { generation: of, forget: false } => {
                    *of == generation
                }
                _ => false,
            };
            look.events.retain(|event| !is_of_it(event));
        }
        look.events.retain(|event| !look.begun.contains(&event.generation()));
        Err(error)
    }
}
