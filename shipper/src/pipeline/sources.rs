//! The generations that are being read: segments and files, how far each was read, and where each ends.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use store::GenerationId;

use super::Shared;
use crate::disk::{Disk, DiskFile};
use crate::document::{Documents, Origin, Place};
use crate::encoding::LineEncoding;
use crate::files::{Content, FileEvent, Reading};
use crate::journal::{Journal, Tail, Trail};
use crate::ledger::Ledger;
use crate::lines::Lines;
use crate::spool::lock;

/// Minimum distance of two notes in the journal of how far a file was read.
const READ_NOTE_INTERVAL: Duration = Duration::from_secs(1);

/// A generation that is being read.
pub(super) struct Source<F> {
    pub(super) lines: Lines<F>,
    pub(super) origin: Origin,
    /// Checkpoint as the journal has it.
    journaled: u64,
    /// How far a file goes; `None` for a spool segment, whose end the ledger knows.
    pub(super) file: Option<FileEnd>,
    /// Fingerprints of what was read of a file.
    pub(super) trail: Trail,
    /// How far the file was read when that was last noted in the journal, and when.
    read_noted: Option<(u64, Duration)>,
    /// The last read failed, and that was logged.
    pub(super) is_unreadable: bool,
}

impl<F: DiskFile> Source<F> {
    /// Whether the file still holds, right before the reader's place, what was read there. A file that was cut and written
    /// again does not, and is not read until the next look at it.
    pub(super) fn is_intact(&self) -> io::Result<bool> {
        let offset = self.lines.offset();
        let tail = self.trail.before(offset).or_else(|| self.trail.first()).filter(|_| self.file.is_some());
        tail.map_or(Ok(true), |tail| tail.matches(&**self.lines.file()))
    }

    /// Notes what a file was just read up to; gives what the journal should know of it: now and then, and whenever twice as
    /// much was read, so that of a file that was just met more is known than how it begins.
    pub(super) fn note_read(&mut self, now: Duration) -> Option<Tail> {
        let file = self.file.is_some().then(|| self.lines.file())?;
        let tail = Tail::read(&**file, self.lines.offset()).ok()??;
        self.trail.push(tail);
        let is_due = self.read_noted.is_none_or(|(to, at)| now >= at + READ_NOTE_INTERVAL || tail.end / 2 >= to);
        is_due.then(|| {
            self.read_noted = Some((tail.end, now));
            tail
        })
    }

    /// The fingerprint of the bytes before a checkpoint, if the file still is the one that was read.
    fn tail_at(&self, checkpoint: u64) -> Option<Tail> {
        let known = self.trail.before(checkpoint).filter(|tail| tail.end == checkpoint);
        known.copied().or_else(|| {
            let file = Some(self.lines.file()).filter(|file| !file.is_read_forward())?;
            let tail = Tail::read(&**file, checkpoint).ok()??;
            self.is_intact().is_ok_and(|is_intact| is_intact).then_some(tail)
        })
    }
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
    encoding: LineEncoding,
    by_generation: BTreeMap<GenerationId, Source<Content<F>>>,
    /// The file whose turn it is, where there was no room left for it.
    next_file: Option<GenerationId>,
}

impl<F: DiskFile> Sources<F> {
    pub(super) fn new(line_max_bytes: usize, encoding: LineEncoding) -> Self {
        Self { line_max_bytes, encoding, by_generation: BTreeMap::new(), next_file: None }
    }

    /// Segments, oldest first, and files, beginning with the one whose turn it is.
    pub(super) fn in_turn(&self) -> (VecDeque<GenerationId>, VecDeque<GenerationId>) {
        let (mut segments, mut files) = (VecDeque::new(), VecDeque::new());
        for (generation, source) in &self.by_generation {
            if source.file.is_some() { files.push_back(*generation) } else { segments.push_back(*generation) }
        }
        let before_next = self.next_file.map_or(0, |next| files.partition_point(|file| *file < next));
        files.rotate_left(before_next);
        (segments, files)
    }

    /// Sets the file that is read first at the next opportunity; the oldest if `None`.
    pub(super) fn set_next_file(&mut self, file: Option<GenerationId>) {
        self.next_file = file;
    }

    pub(super) fn get_mut(&mut self, generation: &GenerationId) -> Option<&mut Source<Content<F>>> {
        self.by_generation.get_mut(generation)
    }

    pub(super) fn remove(&mut self, generation: &GenerationId) {
        self.by_generation.remove(generation);
    }

    /// How far a file's generation is, if it is being read.
    pub(super) fn reading(&self, generation: &GenerationId, ledger: &Mutex<Ledger>) -> Option<Reading<'_>> {
        let source = self.by_generation.get(generation)?;
        let checkpoint = lock(ledger).progress(generation)?.checkpoint;
        Some(Reading { read_to: source.lines.offset(), checkpoint, trail: &source.trail })
    }

    /// The fingerprint of the bytes before a checkpoint of a file.
    pub(super) fn tail_at(&self, generation: &GenerationId, checkpoint: u64) -> Option<Tail> {
        self.by_generation.get(generation).filter(|source| source.file.is_some())?.tail_at(checkpoint)
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
            let file = Arc::new(Content::Plain(segment.file));
            let lines = Lines::new(&place, file, progress.checkpoint, self.line_max_bytes, self.encoding);
            let journaled = progress.checkpoint;
            let source = Source {
                lines,
                origin,
                journaled,
                file: None,
                trail: Trail::default(),
                read_noted: None,
                is_unreadable: false,
            };
            self.by_generation.insert(generation, source);
        }
    }

    /// Does as a look at the files says.
    pub(super) fn apply<D: Disk<File = F>>(
        &mut self,
        event: FileEvent<Content<F>>,
        shared: &Shared<D>,
        documents: &Documents,
    ) {
        match event {
            FileEvent::Opened { generation, file, place, offset, trail } => {
                let origin = documents.origin(&place, generation);
                let lines = Lines::new(&place, file, offset, self.line_max_bytes, self.encoding);
                let file = Some(FileEnd { end: offset, ended: None });
                lock(&shared.ledger).open(generation, offset, offset, 0);
                let source =
                    Source { lines, origin, journaled: offset, file, trail, read_noted: None, is_unreadable: false };
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
            FileEvent::Vanished { .. } | FileEvent::Destroyed { .. } => {}
        }
    }

    fn file_end(&mut self, generation: &GenerationId) -> Option<&mut FileEnd> {
        self.by_generation.get_mut(generation).and_then(|source| source.file.as_mut())
    }

    /// Whether a checkpoint moved that the journal does not have yet.
    pub(super) fn has_unwritten_checkpoint(&self, ledger: &Ledger) -> bool {
        let moved = |(generation, source): (&GenerationId, &Source<Content<F>>)| {
            ledger.progress(generation).is_some_and(|progress| progress.checkpoint > source.journaled)
        };
        self.by_generation.iter().any(moved)
    }

    /// Notes the checkpoints that moved.
    pub(super) fn note_checkpoints<D: Disk>(&mut self, ledger: &Ledger, journal: &mut Journal<D>) {
        for (generation, source) in &mut self.by_generation {
            let Some(progress) = ledger.progress(generation) else { continue };
            if progress.checkpoint > source.journaled {
                match source.file {
                    Some(_) => {
                        journal.file_checkpoint(*generation, progress.checkpoint, source.tail_at(progress.checkpoint))
                    }
                    None => journal.checkpoint(*generation, progress.checkpoint),
                }
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
