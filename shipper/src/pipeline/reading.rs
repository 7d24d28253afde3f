//! Reads lines from files and segments into batches.

use std::io;
use std::ops::ControlFlow;
use std::time::Duration;

use store::{GenerationId, LineId};

use super::Pipeline;
use super::open_generations::OpenGeneration;
use crate::clock::ClockReading;
use crate::completed::Note;
use crate::disk::Disk;
use crate::files::FileEvent;
use crate::ledger::Outcome;
use crate::reader::Chunk;

/// Number of chunks read from a source before the next one has its turn.
const TURN_CHUNKS: usize = 4;

/// Number of chunks without a complete line after which a tick ends. Each is up to [`SCAN_BYTES`](crate::reader::SCAN_BYTES)
/// of a hole or of a very long line, which fills no batch.
const EMPTY_CHUNKS_MAX: usize = 4;

/// The bytes of a generation that may be read now.
struct Unread {
    from: u64,
    end: u64,
    /// Whether nothing will follow, so that the last line is complete without a newline.
    ended: bool,
}

/// A chunk whose lines were added to the batch.
struct Added {
    chunk: Chunk,
    /// Offset after the last line; what follows was skipped.
    lines_end: u64,
    /// Lines that an earlier process made dead letters. They are not in the batch.
    dead_lettered: Vec<(LineId, Outcome)>,
}

impl<D: Disk> Pipeline<D> {
    /// Reads until the in-flight limit, or until there is nothing more. Files take turns, so that a busy one does not
    /// delay the others. Segments are read oldest first, which makes room in the spool, and take turns with files.
    pub(super) fn read(&mut self, now: ClockReading) -> io::Result<()> {
        self.empty_chunks = 0;
        self.open_generations.open_segments(&self.shared, &self.documents);
        // A journal error of files must not stop segments, which make room.
        let mut done = self.look_at_files(now);
        let (mut segments, mut files) = self.open_generations.in_turn();
        let mut has_more = |read: io::Result<bool>| {
            read.unwrap_or_else(|error| {
                done = std::mem::replace(&mut done, Ok(())).and(Err(error));
                false
            })
        };
        while self.has_capacity() && !(segments.is_empty() && files.is_empty()) {
            if let Some(segment) = segments.pop_front()
                && has_more(self.read_turn(segment, now))
            {
                segments.push_front(segment);
            }
            if self.has_capacity()
                && let Some(file) = files.pop_front()
                && has_more(self.read_turn(file, now))
            {
                files.push_back(file);
            }
        }
        self.open_generations.set_next_file(files.front().copied());
        done
    }

    /// Reads some chunks of a source; returns whether there is more now.
    fn read_turn(&mut self, generation: GenerationId, now: ClockReading) -> io::Result<bool> {
        for _ in 0..TURN_CHUNKS {
            if self.has_capacity() && !self.read_chunk(generation, now)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn has_capacity(&self) -> bool {
        !self.assembly.is_held() && self.bytes_in_flight() < self.settings.in_flight_max_bytes && !self.was_cut_short()
    }

    /// Whether the last tick left bytes unread because it found too few lines.
    pub(super) fn was_cut_short(&self) -> bool {
        self.empty_chunks >= EMPTY_CHUNKS_MAX
    }

    fn look_at_files(&mut self, now: ClockReading) -> io::Result<()> {
        if self.files_closed {
            return Ok(());
        }
        let (sources, ledger) = (&self.open_generations, &self.shared.ledger);
        for event in self.files.poll(now, &|generation| sources.reading(generation, ledger))? {
            match event {
                FileEvent::Vanished { generation, file, end } => self.note_vanished(generation, &file, end, now.wall),
                FileEvent::Destroyed { generation, file, from, to } => self.note_destroyed(generation, &file, from, to),
                event => self.open_generations.apply(event, &self.shared, &self.documents),
            }
        }
        Ok(())
    }

    /// Reads one chunk of a generation into the batch; returns whether there is more now.
    fn read_chunk(&mut self, generation: GenerationId, now: ClockReading) -> io::Result<bool> {
        let Some(unread) = self.unread(generation) else { return Ok(false) };
        if unread.from >= unread.end {
            self.seal_at_end(generation);
            return Ok(false);
        }
        let batch_max_bytes = self.assembly.max_bytes(&self.delivery);
        let Some(added) = self.add_lines(generation, &unread, batch_max_bytes)? else { return Ok(false) };
        let more = added.chunk.more;
        self.empty_chunks += usize::from(more && added.chunk.lines == 0);
        if added.chunk.end > added.chunk.start {
            self.account_for(generation, added, now.elapsed);
        } else if unread.ended && !more {
            self.open_generations.get_mut(&generation).map_or(Ok(()), OpenGeneration::limit_to_file_len)?;
        }
        self.seal_at_end(generation);
        self.assembly.note_time(now);
        if self.assembly.is_full(batch_max_bytes) {
            self.assembly.offer(&self.shared.journal, &mut self.delivery)?;
        }
        Ok(more)
    }

    /// What may be read now; `None` if files are closed.
    fn unread(&self, generation: GenerationId) -> Option<Unread> {
        let source = self.open_generations.get(&generation)?;
        let progress = self.shared.ledger.lock().progress(&generation)?;
        let (end, ended) = match source.file {
            Some(_) if self.files_closed => return None,
            Some(file) => (file.end, file.ended.is_some()),
            None => (progress.end, progress.sealed),
        };
        Some(Unread { from: source.lines.offset(), end, ended })
    }

    /// Adds the lines of one chunk to the batch. Returns `None` if the file can't be read, or no longer has the bytes
    /// that were read before.
    fn add_lines(
        &mut self,
        generation: GenerationId,
        unread: &Unread,
        batch_max_bytes: usize,
    ) -> io::Result<Option<Added>> {
        let Some(source) = self.open_generations.get_mut(&generation) else { return Ok(None) };
        if !source.is_intact().unwrap_or(false) {
            return Ok(None);
        }
        let entry = self.shared.journal.lock().get(&generation);
        let mut arrived = entry.arrived(&generation, unread.from);
        let mut next_mark = entry.next_mark(unread.from).unwrap_or(u64::MAX);
        let (assembly, documents) = (&mut self.assembly, &mut self.documents);
        let (kinds, dead_letters, origin) = (&mut self.report.kinds, &self.dead_letters, &source.origin);
        let (mut dead_lettered, mut lines_end) = (Vec::new(), unread.from);
        let chunk = source.lines.read(&mut self.buffer, unread.end, unread.ended, |line| {
            if line.offset >= next_mark {
                arrived = entry.arrived(&generation, line.offset);
                next_mark = entry.next_mark(line.offset).unwrap_or(u64::MAX);
            }
            let id = LineId { generation, offset: line.offset };
            lines_end = line.offset + line.length;
            if dead_letters.contains(&id) {
                dead_lettered.push((id, Outcome::DeadLettered));
                return ControlFlow::Continue(());
            }
            let pushed = assembly.push(documents, origin, &line, arrived);
            kinds.add(pushed.kind, pushed.changes);
            if assembly.is_full(batch_max_bytes) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        match chunk {
            // Try again later, without delaying others. An error of the spool is one of the state directory.
            Err(error) if source.file.is_some() => {
                if !std::mem::replace(&mut source.is_unreadable, true) {
                    tracing::warn!(%generation, offset = unread.from, %error, "file read failed, retrying");
                }
                Ok(None)
            }
            chunk => {
                source.is_unreadable = false;
                Ok(Some(Added { chunk: chunk?, lines_end, dead_lettered }))
            }
        }
    }

    /// Records the lines of a chunk: in the journal first, before they can be sent, so that a later process recognises
    /// the generation.
    fn account_for(&mut self, generation: GenerationId, added: Added, now: Duration) {
        let Some(source) = self.open_generations.get_mut(&generation) else { return };
        let chunk = added.chunk;
        if let Some(tail) = source.note_read(now)
            && self.shared.journal.lock().write_read(generation, tail).is_err()
        {
            self.assembly.wait_for_journal();
        }
        let mut ledger = self.shared.ledger.lock();
        match source.file {
            Some(_) => ledger.read(generation, chunk.start, chunk.end, chunk.lines),
            None => ledger.dispatch(generation, chunk.start, chunk.end, chunk.lines),
        }
        ledger.settle(added.dead_lettered);
        drop(ledger);
        if chunk.end > added.lines_end {
            self.shared.completed.note(&Note::Skipped { generation, from: added.lines_end, to: chunk.end });
        }
    }

    /// Seals the account of a file that was read to its final end.
    fn seal_at_end(&self, generation: GenerationId) {
        if self.open_generations.get(&generation).is_some_and(|source| source.is_at_final_end()) {
            self.shared.ledger.lock().seal(generation, 0);
        }
    }
}
