//! The generations that are being read: segments and files, how far each was read, and where each ends.

use std::collections::BTreeMap;

use store::GenerationId;

use super::Shared;
use crate::disk::{Disk, DiskFile};
use crate::document::{Documents, Origin, Place};
use crate::files::FileEvent;
use crate::journal::Journal;
use crate::ledger::Ledger;
use crate::lines::Lines;
use crate::spool::lock;

/// A generation that is being read.
pub(super) struct Source<F> {
    pub(super) lines: Lines<F>,
    pub(super) origin: Origin,
    /// Checkpoint as the journal has it.
    journaled: u64,
    /// How far a file goes; `None` for a spool segment, whose end the ledger knows.
    pub(super) file: Option<FileEnd>,
    /// The last read failed, and that was told.
    pub(super) is_unreadable: bool,
}

/// How far a file goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct FileEnd {
    pub(super) end: u64,
    /// It ends there for good; whether the journal may then forget it.
    pub(super) ended: Option<Ended>,
}

/// What to do with a file's generation once all of it is disposed of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// The file is gone, or will not be asked for again.
    Forget,
    /// The file is still there: a later process must know how far it was read.
    Keep,
}

/// All generations that are being read, oldest first.
pub(super) struct Sources<F> {
    line_max_bytes: usize,
    by_generation: BTreeMap<GenerationId, Source<F>>,
}

impl<F: DiskFile> Sources<F> {
    pub(super) fn new(line_max_bytes: usize) -> Self {
        Self { line_max_bytes, by_generation: BTreeMap::new() }
    }

    pub(super) fn generations(&self) -> Vec<GenerationId> {
        self.by_generation.keys().copied().collect()
    }

    pub(super) fn get_mut(&mut self, generation: &GenerationId) -> Option<&mut Source<F>> {
        self.by_generation.get_mut(generation)
    }

    pub(super) fn remove(&mut self, generation: &GenerationId) {
        self.by_generation.remove(generation);
    }

    /// How far a generation was read, if it is being read.
    pub(super) fn read_to(&self, generation: &GenerationId) -> Option<u64> {
        self.by_generation.get(generation).map(|source| source.lines.offset())
    }

    pub(super) fn is_file(&self, generation: &GenerationId) -> bool {
        self.by_generation.get(generation).is_some_and(|source| source.file.is_some())
    }

    /// Whether the journal goes on knowing a generation of which all is disposed of.
    pub(super) fn is_kept(&self, generation: &GenerationId) -> bool {
        let file = self.by_generation.get(generation).and_then(|source| source.file);
        file.is_some_and(|file| file.ended == Some(Ended::Keep))
    }

    /// Begins with the segments that are new.
    pub(super) fn open_segments<D: Disk<File = F>>(&mut self, shared: &Shared<D>, documents: &Documents) {
        for generation in shared.spool.generations() {
            if self.by_generation.contains_key(&generation) {
                continue;
            }
            let Some(segment) = shared.spool.segment(&generation) else { continue };
            let Some(progress) = lock(&shared.ledger).progress(&generation) else { continue };
            let place = Place::Stream(segment.stream);
            let origin = documents.origin(&place, generation);
            let lines = Lines::new(&place, segment.file, progress.checkpoint, self.line_max_bytes);
            let journaled = progress.checkpoint;
            let source = Source { lines, origin, journaled, file: None, is_unreadable: false };
            self.by_generation.insert(generation, source);
        }
    }

    /// Does as a look at the files says.
    pub(super) fn apply<D: Disk<File = F>>(&mut self, event: FileEvent<F>, shared: &Shared<D>, documents: &Documents) {
        match event {
            FileEvent::Opened { generation, file, place, offset } => {
                let origin = documents.origin(&place, generation);
                let lines = Lines::new(&place, file, offset, self.line_max_bytes);
                let file = Some(FileEnd { end: offset, ended: None });
                lock(&shared.ledger).open(generation, offset, offset, 0);
                let source = Source { lines, origin, journaled: offset, file, is_unreadable: false };
                self.by_generation.insert(generation, source);
            }
            FileEvent::Grown { generation, end } => {
                if let Some(file) = self.file_end(&generation) {
                    file.end = end;
                }
            }
            FileEvent::Moved { generation, file } => {
                if let Some(source) = self.by_generation.get_mut(&generation) {
                    source.lines.move_to(file);
                }
            }
            FileEvent::Ended { generation, forget } => {
                if let Some(file) = self.file_end(&generation) {
                    file.ended = Some(if forget { Ended::Forget } else { Ended::Keep });
                }
            }
            // It was never opened.
            FileEvent::Vanished { .. } => {}
        }
    }

    fn file_end(&mut self, generation: &GenerationId) -> Option<&mut FileEnd> {
        self.by_generation.get_mut(generation).and_then(|source| source.file.as_mut())
    }

    /// Whether a checkpoint moved that the journal does not have yet.
    pub(super) fn has_unwritten_checkpoint(&self, ledger: &Ledger) -> bool {
        let moved = |(generation, source): (&GenerationId, &Source<F>)| {
            ledger.progress(generation).is_some_and(|progress| progress.checkpoint > source.journaled)
        };
        self.by_generation.iter().any(moved)
    }

    /// Notes the checkpoints that moved.
    pub(super) fn note_checkpoints<D: Disk>(&mut self, ledger: &Ledger, journal: &mut Journal<D>) {
        for (generation, source) in &mut self.by_generation {
            let Some(progress) = ledger.progress(generation) else { continue };
            if progress.checkpoint > source.journaled {
                journal.checkpoint(*generation, progress.checkpoint);
                source.journaled = progress.checkpoint;
            }
        }
    }

    /// Notes how far each file was read, as the process ends in order.
    pub(super) fn note_horizons<D: Disk>(&self, journal: &mut Journal<D>) {
        for (generation, source) in self.by_generation.iter().filter(|(_, source)| source.file.is_some()) {
            journal.horizon(*generation, source.lines.offset());
        }
    }
}
