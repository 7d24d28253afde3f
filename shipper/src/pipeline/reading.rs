//! Reads lines from files and segments into batches.

use std::io;
use std::ops::ControlFlow;

use store::{GenerationId, LineId};

use super::Pipeline;
use crate::clock::ClockReading;
use crate::completed::Note;
use crate::disk::Disk;
use crate::files::FileEvent;
use crate::ledger::Outcome;
use crate::sync::lock;

/// Number of chunks read from a source before the next one has its turn.
const TURN_CHUNKS: usize = 4;

impl<D: Disk> Pipeline<D> {
    /// Reads until the in-flight limit, or until there is nothing more. Files take turns, so that a busy one does not
    /// delay the others. Segments are read oldest first, which makes room in the spool, and take turns with files.
    pub(super) fn read(&mut self, now: ClockReading) -> io::Result<()> {
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
        !self.assembly.is_held() && self.bytes_in_flight() < self.settings.in_flight_max_bytes
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
        let Some(source) = self.open_generations.get_mut(&generation) else { return Ok(false) };
        let Some(progress) = lock(&self.shared.ledger).progress(&generation) else { return Ok(false) };
        let batch_max_bytes = self.assembly.max_bytes(&self.delivery);
        let offset = source.lines.offset();
        let (end, ended) = match source.file {
            Some(_) if self.files_closed => return Ok(false),
            Some(file) => (file.end, file.ended.is_some()),
            None => (progress.end, progress.sealed),
        };
        if offset >= end {
            if source.file.is_some() && ended && !progress.sealed {
                lock(&self.shared.ledger).seal(generation, 0);
            }
            return Ok(false);
        }
        if !source.is_intact().unwrap_or(false) {
            return Ok(false);
        }
        let entry = lock(&self.shared.journal).get(&generation);
        let mut arrived = entry.arrived(&generation, offset);
        let mut next_mark = entry.next_mark(offset).unwrap_or(u64::MAX);
        let (assembly, documents) = (&mut self.assembly, &mut self.documents);
        let (kinds, dead_letters, origin) = (&mut self.report.kinds, &self.dead_letters, &source.origin);
        let (mut dead, mut lines_end) = (Vec::new(), offset);
        let chunk = source.lines.read(&mut self.buffer, end, ended, |line| {
            if line.offset >= next_mark {
                arrived = entry.arrived(&generation, line.offset);
                next_mark = entry.next_mark(line.offset).unwrap_or(u64::MAX);
            }
            let id = LineId { generation, offset: line.offset };
            lines_end = line.offset + line.length;
            if dead_letters.contains(&id) {
                dead.push((id, Outcome::DeadLettered));
                return ControlFlow::Continue(());
            }
            let pushed = assembly.push(documents, origin, &line, arrived);
            kinds.add(pushed.kind, pushed.changes);
            if assembly.is_full(batch_max_bytes) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        let chunk = match chunk {
            // Try again later, without delaying others. An error of the spool is one of the state directory.
            Err(error) if source.file.is_some() => {
                if !std::mem::replace(&mut source.is_unreadable, true) {
                    tracing::warn!(%generation, offset, %error, "file read failed, retrying");
                }
                return Ok(false);
            }
            chunk => chunk?,
        };
        source.is_unreadable = false;
        if chunk.end > chunk.start {
            // Recorded before these lines can be sent, so that a later process recognises this generation.
            if let Some(tail) = source.note_read(now.elapsed)
                && lock(&self.shared.journal).write_read(generation, tail).is_err()
            {
                self.assembly.wait_for_journal();
            }
            let mut ledger = lock(&self.shared.ledger);
            match source.file {
                Some(_) => ledger.read(generation, chunk.start, chunk.end, chunk.lines),
                None => ledger.dispatch(generation, chunk.start, chunk.end, chunk.lines),
            }
            ledger.settle(dead);
            if chunk.end > lines_end {
                self.shared.completed.note(&Note::Skipped { generation, from: lines_end, to: chunk.end });
            }
        } else if let Some(file) = source.file.as_mut().filter(|_| ended && !chunk.more) {
            // The file was truncated: read only what is there.
            file.end = source.lines.file_len()?.clamp(offset, end);
        }
        let at_file_end = source.file.is_some_and(|file| file.ended.is_some() && source.lines.offset() >= file.end);
        if at_file_end {
            lock(&self.shared.ledger).seal(generation, 0);
        }
        self.assembly.note_time(now);
        if self.assembly.is_full(batch_max_bytes) {
            self.assembly.offer(&self.shared.journal, &mut self.delivery)?;
        }
        Ok(chunk.more)
    }
}
