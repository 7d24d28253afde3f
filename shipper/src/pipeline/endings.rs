//! How generations end: what is done is removed and forgotten, what has no room is given up, and of both is noted how
//! far they went.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use store::{GenerationId, Timestamp};

use super::{Pipeline, Shared};
use crate::completed::Note;
use crate::disk::{Disk, is_full, path};
use crate::journal::{Entry, FileIdentity};
use crate::ledger::Progress;
use crate::spool::lock;

/// What is known of generations between their end and their being closed.
#[derive(Default)]
pub(super) struct Endings {
    /// Segments that were given up: from where on, and of which stream they were.
    given_up: BTreeMap<GenerationId, (u64, String)>,
    /// Generations that the past knows and that are not closed yet.
    noted: BTreeSet<GenerationId>,
}

impl Endings {
    fn give_up(&mut self, generation: GenerationId, from: u64, stream: String) {
        self.given_up.insert(generation, (from, stream));
    }

    fn forget(&mut self, generation: &GenerationId) {
        self.given_up.remove(generation);
        self.noted.remove(generation);
    }

    /// Notes, durably unless the disk is full, how far a generation went that nothing else will tell of.
    fn note<D: Disk>(&mut self, generation: GenerationId, now: Timestamp, shared: &mut Shared<D>) -> io::Result<()> {
        let end = lock(&shared.ledger).progress(&generation).map_or(0, |progress| progress.end);
        if end == 0 || !self.noted.insert(generation) {
            return Ok(());
        }
        let given_up = self.given_up.get(&generation).cloned();
        let segment = shared.spool.segment(&generation).map(|segment| segment.stream);
        let stream = segment.or_else(|| given_up.as_ref().map(|(_, stream)| stream.clone()));
        let file = lock(&shared.journal).get(&generation).file;
        shared.note_start(generation, file.as_ref());
        let source = match (stream, file) {
            (Some(stream), _) => format!("stream {stream}"),
            (None, file) => format!("file {}", file.map_or_else(String::new, |file| path::text(&file.path))),
        };
        let given_up_from = given_up.map(|(from, _)| from);
        shared.past.note(&Note::Ended { generation, source, end, given_up_from, unix_ms: now.unix_ms() });
        shared.sync_past().inspect_err(|_| {
            self.noted.remove(&generation);
        })
    }
}

impl<D: Disk> Shared<D> {
    /// Notes the bytes at a file's beginning that are not this generation's.
    fn note_start(&mut self, generation: GenerationId, file: Option<&FileIdentity>) {
        if let Some(to) = file.map(|file| file.start).filter(|start| *start > 0) {
            self.past.note(&Note::Skipped { generation, from: 0, to });
        }
    }

    /// Makes the notes durable. A full disk takes them later: what is removed meanwhile makes room for them.
    pub(super) fn sync_past(&mut self) -> io::Result<()> {
        match self.past.sync() {
            Err(error) if is_full(&error) => Ok(()),
            synced => synced,
        }
    }
}

impl<D: Disk> Pipeline<D> {
    /// Drops from the journal the segments that were removed before it could say so.
    pub(super) fn forget_the_gone(&self) {
        let mut journal = lock(&self.shared.journal);
        let ledger = lock(&self.shared.ledger);
        let gone = |(generation, entry): (&GenerationId, &Entry)| {
            (entry.file.is_none() && ledger.progress(generation).is_none()).then_some(*generation)
        };
        let gone: Vec<_> = journal.entries().filter_map(gone).collect();
        gone.into_iter().for_each(|generation| journal.retire(generation));
    }

    /// Notes how far a file went that an earlier process read and nobody finds any more.
    pub(super) fn note_vanished(&mut self, generation: GenerationId, file: &Path, end: u64, now: Timestamp) {
        let source = format!("file {}", path::text(file));
        let unix_ms = now.unix_ms();
        let identity = lock(&self.shared.journal).get(&generation).file;
        self.shared.note_start(generation, identity.as_ref());
        self.shared.past.note(&Note::Ended { generation, source, end, given_up_from: None, unix_ms });
        // What the disk does not take now stays to be written, and the journal's own delivery_error is told.
        let _ = self.shared.sync_past();
        self.dead_letters.forget_before(&generation, u64::MAX);
        lock(&self.shared.journal).retire(generation);
    }

    /// Notes what went with a file before it was read, so that it is missing where the store is held to what was taken.
    pub(super) fn note_destroyed(&mut self, generation: GenerationId, file: &Path, from: u64, to: u64) {
        let source = format!("file {}", path::text(file));
        self.shared.past.note(&Note::Destroyed { generation, source, from, to });
        // As above.
        let _ = self.shared.sync_past();
    }

    /// Gives up the oldest segment where `on_full` says so and a writer waits for room.
    pub(super) fn make_room(&mut self, now: Timestamp) -> io::Result<()> {
        while let Some(generation) = self.shared.spool.to_drop() {
            let read_to = self.sources.read_to(&generation);
            let progress = lock(&self.shared.ledger).progress(&generation);
            // Lines under way may yet be stored; should this process end before, they are given up as well.
            let checkpoint = progress.map_or(0, |progress| progress.checkpoint);
            let stream = self.shared.spool.segment(&generation).map_or_else(String::new, |segment| segment.stream);
            self.endings.give_up(generation, checkpoint, stream.clone());
            // Room comes first: a disk that is full takes the note once there is some.
            let _ = self.endings.note(generation, now, &mut self.shared);
            self.endings.noted.remove(&generation);
            self.shared.spool.remove(&generation).inspect_err(|_| {
                // It is still there, and may yet be shipped.
                self.endings.given_up.remove(&generation);
            })?;
            self.endings.give_up(generation, read_to.unwrap_or(checkpoint), stream);
            let lost = lock(&self.shared.ledger).lose(generation);
            self.sources.remove(&generation);
            tracing::error!(%generation, lost_lines = lost, "the spool is full: its oldest segment was given up");
        }
        Ok(())
    }

    /// Removes segments of which nothing is left to do, and forgets them.
    pub(super) fn retire_done(&mut self, now: Timestamp) -> io::Result<()> {
        let done = |(generation, progress): (GenerationId, Progress)| progress.is_done().then_some(generation);
        let done: Vec<_> = lock(&self.shared.ledger).generations().filter_map(done).collect();
        for generation in done {
            if !self.sources.is_kept(&generation) {
                self.endings.note(generation, now, &mut self.shared)?;
            }
            self.shared.spool.remove(&generation)?;
            let kept = self.sources.is_kept(&generation);
            let checkpoint = lock(&self.shared.ledger).progress(&generation).map_or(0, |progress| progress.checkpoint);
            let tail = self.sources.tail_at(&generation, checkpoint);
            self.sources.remove(&generation);
            self.endings.forget(&generation);
            self.dead_letters.forget_before(&generation, if kept { checkpoint } else { u64::MAX });
            let mut journal = lock(&self.shared.journal);
            let mut ledger = lock(&self.shared.ledger);
            if kept {
                journal.file_checkpoint(generation, checkpoint, tail);
            } else {
                journal.retire(generation);
            }
            ledger.close(&generation);
        }
        Ok(())
    }
}
