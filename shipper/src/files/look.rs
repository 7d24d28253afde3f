//! What one look at the files finds, and how it becomes durable.

use std::io;

use store::GenerationId;

use super::{ContentOf, FileEvent, Files};
use crate::clock::ClockReading;
use crate::disk::{Disk, Stat};
use crate::journal::FileIdentity;
use crate::spool::lock;

/// What one look finds, until it is durable.
pub(super) struct Look<D: Disk> {
    pub(super) now: ClockReading,
    pub(super) events: Vec<FileEvent<ContentOf<D>>>,
    /// Open files that were found to be cut.
    pub(super) cut: Vec<GenerationId>,
    /// Generations that begin with this look.
    pub(super) begun: Vec<GenerationId>,
    /// Identities that cover more than before, with what was known of them.
    pub(super) grown: Vec<(GenerationId, FileIdentity, u64)>,
}

impl<D: Disk> Files<D> {
    /// Syncs the journal where a line could be sent that relies on what this look found: a process that knows less of a
    /// file would take what follows for another life. Where that fails, what relies on it is taken back.
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
            // The file gets another generation; a later process must not take it for this one's.
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
            // One that is to be parked is read no further than it was, and would be taken to end there.
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
