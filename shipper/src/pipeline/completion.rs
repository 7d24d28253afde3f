//! Completes generations: removes completed ones, drops the oldest segment if there is no room, and notes how far each
//! was processed.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use store::{GenerationId, Timestamp};

use super::{Pipeline, Shared};
use crate::completed::Note;
use crate::disk::{Disk, is_full, path};
use crate::journal::{Entry, FileIdentity};
use crate::ledger::Progress;

/// Generations that are completed but not closed yet.
#[derive(Default)]
pub(super) struct Completions {
    /// Dropped segments: from which offset on, and their stream.
    dropped: BTreeMap<GenerationId, (u64, String)>,
    /// Generations with a note that are not closed yet.
    noted: BTreeSet<GenerationId>,
}

impl Completions {
    fn set_dropped(&mut self, generation: GenerationId, from: u64, stream: String) {
        self.dropped.insert(generation, (from, stream));
    }

    fn forget(&mut self, generation: &GenerationId) {
        self.dropped.remove(generation);
        self.noted.remove(generation);
    }

    /// Writes the note of a completed generation, durably unless the disk is full.
    fn note<D: Disk>(&mut self, generation: GenerationId, now: Timestamp, shared: &mut Shared<D>) -> io::Result<()> {
        let end = shared.ledger.lock().progress(&generation).map_or(0, |progress| progress.end);
        if end == 0 || !self.noted.insert(generation) {
            return Ok(());
        }
        let dropped = self.dropped.get(&generation).cloned();
        let segment = shared.spool.segment(&generation).map(|segment| segment.stream);
        let stream = segment.or_else(|| dropped.as_ref().map(|(_, stream)| stream.clone()));
        let file = shared.journal.lock().get(&generation).file;
        shared.note_start(generation, file.as_ref());
        let source = match (stream, file) {
            (Some(stream), _) => format!("stream {stream}"),
            (None, file) => format!("file {}", file.map_or_else(String::new, |file| path::text(&file.path))),
        };
        let given_up_from = dropped.map(|(from, _)| from);
        shared.completed.note(&Note::Ended { generation, source, end, given_up_from, unix_ms: now.unix_ms() });
        shared.sync_completed().inspect_err(|_| {
            self.noted.remove(&generation);
        })
    }
}

impl<D: Disk> Shared<D> {
    /// Notes the bytes at the start of a file that do not belong to this generation.
    fn note_start(&mut self, generation: GenerationId, file: Option<&FileIdentity>) {
        if let Some(to) = file.map(|file| file.start).filter(|start| *start > 0) {
            self.completed.note(&Note::Skipped { generation, from: 0, to });
        }
    }

    /// Makes the notes durable. On a full disk that is done later, when removals have made room.
    pub(super) fn sync_completed(&mut self) -> io::Result<()> {
        match self.completed.sync() {
            Err(error) if is_full(&error) => Ok(()),
            synced => synced,
        }
    }
}

impl<D: Disk> Pipeline<D> {
    /// Removes segments from the journal that were deleted before it could record that.
    pub(super) fn forget_removed(&self) {
        let mut journal = self.shared.journal.lock();
        let ledger = self.shared.ledger.lock();
        let removed = |(generation, entry): (&GenerationId, &Entry)| {
            (entry.file.is_none() && ledger.progress(generation).is_none()).then_some(*generation)
        };
        let removed: Vec<_> = journal.entries().filter_map(removed).collect();
        removed.into_iter().for_each(|generation| journal.retire(generation));
    }

    /// Notes how far an earlier process read a file that can't be found any more.
    pub(super) fn note_vanished(&mut self, generation: GenerationId, file: &Path, end: u64, now: Timestamp) {
        let source = format!("file {}", path::text(file));
        let unix_ms = now.unix_ms();
        let identity = self.shared.journal.lock().get(&generation).file;
        self.shared.note_start(generation, identity.as_ref());
        self.shared.completed.note(&Note::Ended { generation, source, end, given_up_from: None, unix_ms });
        // Notes stay queued on a disk error, which the journal reports itself.
        let _ = self.shared.sync_completed();
        self.dead_letters.forget_before(&generation, u64::MAX);
        self.shared.journal.lock().retire(generation);
    }

    /// Notes bytes that were destroyed before they were read, so that `verify` reports them missing.
    pub(super) fn note_destroyed(&mut self, generation: GenerationId, file: &Path, from: u64, to: u64) {
        let source = format!("file {}", path::text(file));
        self.shared.completed.note(&Note::Destroyed { generation, source, from, to });
        // See above.
        let _ = self.shared.sync_completed();
    }

    /// Drops the oldest segment if `on_full` says so and a writer waits for room.
    pub(super) fn make_room(&mut self, now: Timestamp) -> io::Result<()> {
        while let Some(generation) = self.shared.spool.segment_to_drop() {
            let read_to = self.open_generations.read_to(&generation);
            let progress = self.shared.ledger.lock().progress(&generation);
            // Lines in flight may be stored yet. If this process ends before, they count as dropped too.
            let checkpoint = progress.map_or(0, |progress| progress.checkpoint);
            let stream = self.shared.spool.segment(&generation).map_or_else(String::new, |segment| segment.stream);
            self.completions.set_dropped(generation, checkpoint, stream.clone());
            // Making room comes first: a full disk accepts the note afterwards.
            let _ = self.completions.note(generation, now, &mut self.shared);
            self.completions.noted.remove(&generation);
            self.shared.spool.remove(&generation).inspect_err(|_| {
                // It still exists, and may be shipped.
                self.completions.dropped.remove(&generation);
            })?;
            self.completions.set_dropped(generation, read_to.unwrap_or(checkpoint), stream);
            let dropped = self.shared.ledger.lock().drop_undispatched(generation);
            self.open_generations.remove(&generation);
            tracing::error!(%generation, dropped_lines = dropped, "spool full: oldest segment dropped");
        }
        Ok(())
    }

    /// Removes completed segments and forgets them.
    pub(super) fn retire_done(&mut self, now: Timestamp) -> io::Result<()> {
        let done = |(generation, progress): (GenerationId, Progress)| progress.is_done().then_some(generation);
        let done: Vec<_> = self.shared.ledger.lock().generations().filter_map(done).collect();
        for generation in done {
            if !self.open_generations.is_kept(&generation) {
                self.completions.note(generation, now, &mut self.shared)?;
            }
            self.shared.spool.remove(&generation)?;
            let kept = self.open_generations.is_kept(&generation);
            let checkpoint = self.shared.ledger.lock().progress(&generation).map_or(0, |progress| progress.checkpoint);
            let tail = self.open_generations.tail_at(&generation, checkpoint);
            self.open_generations.remove(&generation);
            self.completions.forget(&generation);
            self.dead_letters.forget_before(&generation, if kept { checkpoint } else { u64::MAX });
            let mut journal = self.shared.journal.lock();
            let mut ledger = self.shared.ledger.lock();
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
