//! The generations being read: segments and files, their offsets, and where each ends.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use store::GenerationId;

use super::Shared;
use crate::disk::{Disk, DiskFile};
use crate::document::{Documents, Origin};
use crate::encoding::LineEncoding;
use crate::files::{Content, FileEvent, Reading};
use crate::journal::{Journal, Tail, Trail};
use crate::ledger::Ledger;
use crate::sources::{Lines, Source, StreamSource};
use crate::sync::RankedMutex;

/// Minimum interval between two journal records of the read offset of a file.
const READ_NOTE_INTERVAL: Duration = Duration::from_secs(1);

/// A generation being read.
pub(super) struct OpenGeneration<F> {
    pub(super) lines: Lines<F>,
    pub(super) origin: Origin,
    /// The checkpoint in the journal.
    journaled: u64,
    /// The end of a file; `None` for a spool segment, whose end is in the ledger.
    pub(super) file: Option<FileEnd>,
    /// Fingerprints of what was read of a file.
    pub(super) trail: Trail,
    /// The read offset last recorded in the journal, and when.
    read_noted: Option<(u64, Duration)>,
    /// Whether the last read failed, which was logged.
    pub(super) is_unreadable: bool,
}

impl<F: DiskFile> OpenGeneration<F> {
    /// Whether the file still has the bytes that were read before the present offset. A truncated and rewritten file
    /// has not, and is not read until the next scan.
    pub(super) fn is_intact(&self) -> io::Result<bool> {
        let offset = self.lines.offset();
        let tail = self.trail.before(offset).or_else(|| self.trail.first()).filter(|_| self.file.is_some());
        tail.map_or(Ok(true), |tail| tail.matches(&**self.lines.file()))
    }

    /// Whether this is a file that was read to its final end.
    pub(super) fn is_at_final_end(&self) -> bool {
        self.file.is_some_and(|file| file.ended.is_some() && self.lines.offset() >= file.end)
    }

    /// Limits a file to its present length: it was truncated, and only what is there can be read.
    pub(super) fn limit_to_file_len(&mut self) -> io::Result<()> {
        if let Some(file) = &mut self.file {
            file.end = self.lines.file_len()?.min(file.end).max(self.lines.offset());
        }
        Ok(())
    }

    /// Records the read offset of a file. Returns a fingerprint for the journal at intervals, and whenever twice as
    /// much was read, so that more than the start is known of a new file.
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

    /// The fingerprint of the bytes before a checkpoint, if the file still has them.
    fn tail_at(&self, checkpoint: u64) -> Option<Tail> {
        let known = self.trail.before(checkpoint).filter(|tail| tail.end == checkpoint);
        known.copied().or_else(|| {
            let file = Some(self.lines.file()).filter(|file| !file.is_read_forward())?;
            let tail = Tail::read(&**file, checkpoint).ok()??;
            self.is_intact().is_ok_and(|is_intact| is_intact).then_some(tail)
        })
    }
}

/// The end of a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct FileEnd {
    pub(super) end: u64,
    /// Set if the file has ended for good; says whether the journal may forget it.
    pub(super) ended: Option<Ended>,
}

/// What to do with the generation of a file when it is completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// The file was deleted, or will not be needed again.
    Forget,
    /// The file still exists: a later process must know how far it was read.
    Keep,
}

/// All generations being read, oldest first.
pub(super) struct OpenGenerations<F> {
    line_max_bytes: usize,
    encoding: LineEncoding,
    by_generation: BTreeMap<GenerationId, OpenGeneration<Content<F>>>,
    /// The file whose turn is next, if there was no room for it.
    next_file: Option<GenerationId>,
}

impl<F: DiskFile> OpenGenerations<F> {
    pub(super) fn new(line_max_bytes: usize, encoding: LineEncoding) -> Self {
        Self { line_max_bytes, encoding, by_generation: BTreeMap::new(), next_file: None }
    }

    /// Segments, oldest first, and files, starting with the one whose turn it is.
    pub(super) fn in_turn(&self) -> (VecDeque<GenerationId>, VecDeque<GenerationId>) {
        let (mut segments, mut files) = (VecDeque::new(), VecDeque::new());
        for (generation, reading) in &self.by_generation {
            if reading.file.is_some() { files.push_back(*generation) } else { segments.push_back(*generation) }
        }
        let before_next = self.next_file.map_or(0, |next| files.partition_point(|file| *file < next));
        files.rotate_left(before_next);
        (segments, files)
    }

    /// Sets the file that is read first at the next opportunity; the oldest if `None`.
    pub(super) fn set_next_file(&mut self, file: Option<GenerationId>) {
        self.next_file = file;
    }

    pub(super) fn get(&self, generation: &GenerationId) -> Option<&OpenGeneration<Content<F>>> {
        self.by_generation.get(generation)
    }

    pub(super) fn get_mut(&mut self, generation: &GenerationId) -> Option<&mut OpenGeneration<Content<F>>> {
        self.by_generation.get_mut(generation)
    }

    pub(super) fn remove(&mut self, generation: &GenerationId) {
        self.by_generation.remove(generation);
    }

    /// The read position of a file's generation, if it is being read.
    pub(super) fn reading(&self, generation: &GenerationId, ledger: &RankedMutex<Ledger>) -> Option<Reading<'_>> {
        let reading = self.by_generation.get(generation)?;
        let checkpoint = ledger.lock().progress(generation)?.checkpoint;
        Some(Reading { read_to: reading.lines.offset(), checkpoint, trail: &reading.trail })
    }

    /// The fingerprint of the bytes before a checkpoint of a file.
    pub(super) fn tail_at(&self, generation: &GenerationId, checkpoint: u64) -> Option<Tail> {
        self.by_generation.get(generation).filter(|reading| reading.file.is_some())?.tail_at(checkpoint)
    }

    /// The read offset of a generation, if it is being read.
    pub(super) fn read_to(&self, generation: &GenerationId) -> Option<u64> {
        self.by_generation.get(generation).map(|reading| reading.lines.offset())
    }

    pub(super) fn is_file(&self, generation: &GenerationId) -> bool {
        self.by_generation.get(generation).is_some_and(|reading| reading.file.is_some())
    }

    /// Whether the journal keeps a generation after its completion.
    pub(super) fn is_kept(&self, generation: &GenerationId) -> bool {
        let file = self.by_generation.get(generation).and_then(|reading| reading.file);
        file.is_some_and(|file| file.ended == Some(Ended::Keep))
    }

    /// Starts to read new segments.
    pub(super) fn open_segments<D: Disk<File = F>>(&mut self, shared: &Shared<D>, documents: &Documents) {
        for generation in shared.spool.generations() {
            if self.by_generation.contains_key(&generation) {
                continue;
            }
            let Some(segment) = shared.spool.segment(&generation) else { continue };
            let Some(progress) = shared.ledger.lock().progress(&generation) else { continue };
            let source = Source::Stream(StreamSource::new(segment.stream));
            let origin = documents.origin(&source, generation);
            let file = Arc::new(Content::Plain(segment.file));
            let lines = Lines::new(&source, file, progress.checkpoint, self.line_max_bytes, self.encoding);
            let journaled = progress.checkpoint;
            let reading = OpenGeneration {
                lines,
                origin,
                journaled,
                file: None,
                trail: Trail::default(),
                read_noted: None,
                is_unreadable: false,
            };
            self.by_generation.insert(generation, reading);
        }
    }

    /// Applies the events of a file scan.
    pub(super) fn apply<D: Disk<File = F>>(
        &mut self,
        event: FileEvent<Content<F>>,
        shared: &Shared<D>,
        documents: &Documents,
    ) {
        match event {
            FileEvent::Opened { generation, file, source, offset, trail } => {
                let origin = documents.origin(&source, generation);
                let lines = Lines::new(&source, file, offset, self.line_max_bytes, self.encoding);
                let file = Some(FileEnd { end: offset, ended: None });
                shared.ledger.lock().open(generation, offset, offset, 0);
                let reading = OpenGeneration {
                    lines,
                    origin,
                    journaled: offset,
                    file,
                    trail,
                    read_noted: None,
                    is_unreadable: false,
                };
                self.by_generation.insert(generation, reading);
            }
            FileEvent::Grown { generation, end } => {
                if let Some(file) = self.file_end(&generation) {
                    file.end = end;
                }
            }
            FileEvent::Moved { generation, file } => {
                if let Some(reading) = self.by_generation.get_mut(&generation) {
                    reading.lines.move_to(file);
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
        self.by_generation.get_mut(generation).and_then(|reading| reading.file.as_mut())
    }

    /// Whether a checkpoint has moved since the last journal record.
    pub(super) fn has_unwritten_checkpoint(&self, ledger: &Ledger) -> bool {
        let moved = |(generation, reading): (&GenerationId, &OpenGeneration<Content<F>>)| {
            ledger.progress(generation).is_some_and(|progress| progress.checkpoint > reading.journaled)
        };
        self.by_generation.iter().any(moved)
    }

    /// Records the checkpoints that moved.
    pub(super) fn note_checkpoints<D: Disk>(&mut self, ledger: &Ledger, journal: &mut Journal<D>) {
        for (generation, reading) in &mut self.by_generation {
            let Some(progress) = ledger.progress(generation) else { continue };
            if progress.checkpoint > reading.journaled {
                match reading.file {
                    Some(_) => {
                        journal.file_checkpoint(*generation, progress.checkpoint, reading.tail_at(progress.checkpoint))
                    }
                    None => journal.checkpoint(*generation, progress.checkpoint),
                }
                reading.journaled = progress.checkpoint;
            }
        }
    }

    /// Records how far each file was read, when the process ends in order.
    pub(super) fn note_horizons<D: Disk>(&self, journal: &mut Journal<D>) {
        for (generation, reading) in self.by_generation.iter().filter(|(_, reading)| reading.file.is_some()) {
            journal.horizon(*generation, reading.lines.offset());
        }
    }
}
