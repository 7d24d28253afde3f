//! The check by lines: builds the document of every line that can still be read, as the shipper did, and looks up its
//! id.
//!
//! A line without a timestamp has the time of its arrival. Arrival marks before the checkpoint are not kept, so a
//! missing line that is sent again may get the day of its generation's birth. Its id is the same.

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

use serde::Serialize;
use store::coverage::MAX_IDS;
use store::{Batch, BatchBuilder, GenerationId, StoreAudit};

use super::deleted_indices::{self, ByIndex, Indices};
use super::known::{Generation, Known, Location};
use super::{Duplicate, Listed, Missing, Unreadable, VerifyError};
use crate::config::Settings;
use crate::disk::{Disk, DiskFile as _};
use crate::document::Documents;
use crate::files::{self, Content, ContentOf};
use crate::sources::{Lines as LineReader, Source, StreamSource};

/// The result of the check by lines.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Lines {
    /// Segments and files read.
    pub sources: u64,
    /// Sources that were deleted, or of which the store's retention deleted lines; they are verified by sums only.
    pub deleted: u64,
    /// Lines looked up.
    pub lines: u64,
    /// Lines in the store.
    pub stored: u64,
    /// Dead letters.
    pub dead_letters: u64,
    /// Discarded dead letters.
    pub discarded: u64,
    /// Lines that were not found and whose index was deleted, by index. If that is expected they are not missing.
    pub deleted_indices: ByIndex,
    /// Segments and files that can't be read, or not completely.
    pub unreadable: Listed<Unreadable>,
    /// Lines that were not found.
    pub missing: Listed<Missing>,
    /// Lines stored in more than one index.
    pub duplicates: Listed<Duplicate>,
}

impl Lines {
    /// Whether everything could be read, and nothing is missing or duplicate.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.unreadable.count == 0 && self.missing.count == 0 && self.duplicates.count == 0
    }

    fn add_unreadable(&mut self, id: GenerationId, generation: &Generation, error: &io::Error) {
        let source = generation.source.clone();
        self.unreadable.push(Unreadable { generation: id, source, reason: error.to_string() });
    }
}

/// Total bytes of the generations that can be read, if their files were not moved.
#[must_use]
pub fn bytes(known: &Known) -> u64 {
    let location = |generation: &&Generation| generation.location != Location::Deleted;
    known.generations.values().filter(location).map(|generation| generation.checkpoint).sum()
}

/// Runs the check by lines.
pub struct Check<'a, D: Disk> {
    /// The disk with the sources.
    pub disk: D,
    /// The settings of the shipper, for reading files and naming documents.
    pub settings: &'a Settings,
    /// The store.
    pub store: &'a StoreAudit,
    /// The indices of the store.
    pub indices: &'a Indices,
    /// Called with the number of bytes read.
    pub progress: &'a dyn Fn(u64),
}

impl<D: Disk> Check<'_, D> {
    /// Looks up every line before the checkpoints, and passes those not found to `resend`, in batches.
    ///
    /// # Errors
    /// [`VerifyError`], and errors of `resend`.
    pub async fn run<E: From<VerifyError>>(
        &self,
        known: &Known,
        mut resend: impl AsyncFnMut(Batch) -> Result<(), E>,
    ) -> Result<Lines, E> {
        let mut found = Lines::default();
        let mut documents = Documents::new(self.settings.host(), self.settings.name(), self.settings.service());
        for (id, generation) in &known.generations {
            if generation.checkpoint == 0 || generation.location == Location::Deleted {
                continue;
            }
            let is_whole = self.store.reader().removed(*id).await.map_err(VerifyError::from)?.lines == 0;
            match self.open(generation) {
                Err(error) => {
                    found.add_unreadable(*id, generation, &error);
                    (self.progress)(generation.checkpoint);
                }
                Ok(Some((source, file))) if is_whole => {
                    found.sources += 1;
                    let opened = OpenGeneration { id: *id, generation, source, file };
                    self.read(&opened, &mut documents, &mut found, &mut resend).await?;
                }
                Ok(_) => {
                    found.deleted += 1;
                    (self.progress)(generation.checkpoint);
                }
            }
        }
        Ok(found)
    }

    fn open(&self, generation: &Generation) -> io::Result<Option<Opened<ContentOf<D>>>> {
        match &generation.location {
            Location::Deleted => Ok(None),
            Location::Segment { stream, path } => match self.disk.open(path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                opened => {
                    let source = Source::Stream(StreamSource::new(stream.clone()));
                    Ok(Some((source, Arc::new(Content::plain(opened?)))))
                }
            },
            Location::File(identity) => {
                let found = files::find(&self.disk, &generation.entry, generation.checkpoint)?;
                let Some(file) = found else { return Ok(None) };
                let source = self.settings.files().format.selected(&identity.path, &file);
                Ok(Some((source, Arc::new(file))))
            }
        }
    }

    async fn read<E: From<VerifyError>>(
        &self,
        opened: &OpenGeneration<'_, ContentOf<D>>,
        documents: &mut Documents,
        found: &mut Lines,
        resend: &mut impl AsyncFnMut(Batch) -> Result<(), E>,
    ) -> Result<(), E> {
        let pipeline = self.settings.pipeline();
        let (id, entry) = (opened.id, &opened.generation.entry);
        let origin = documents.origin(&opened.source, id);
        let len = match opened.file.stat() {
            Ok(stat) => stat.len,
            Err(error) => {
                found.add_unreadable(id, opened.generation, &error);
                return Ok(());
            }
        };
        let end = opened.generation.checkpoint.min(len);
        let file = Arc::clone(&opened.file);
        let start = entry.file.as_ref().map_or(0, |file| file.start);
        let mut reader = LineReader::new(&opened.source, file, start, pipeline.line_max_bytes, pipeline.encoding);
        let mut builder = BatchBuilder::new(&pipeline.index_prefix);
        let mut buffer = Vec::new();
        loop {
            let chunk = reader.read(&mut buffer, end, true, |line| {
                documents.push(&mut builder, &origin, &line, entry.arrived(&id, line.offset));
                let full = builder.count() >= MAX_IDS || builder.bytes() >= pipeline.batch_max_bytes;
                if full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            let chunk = match chunk {
                Ok(chunk) => chunk,
                Err(error) => {
                    found.add_unreadable(id, opened.generation, &error);
                    return Ok(());
                }
            };
            (self.progress)(chunk.end - chunk.start);
            let is_last = !chunk.more;
            if builder.count() > 0
                && (is_last || builder.count() >= MAX_IDS || builder.bytes() >= pipeline.batch_max_bytes)
            {
                let batch = builder.finish(0);
                let missing = self.look_up(opened.generation, &batch, found).await?;
                if !missing.is_empty() {
                    resend(batch.select(missing)).await?;
                }
            }
            if is_last {
                return Ok(());
            }
        }
    }

    /// Looks up the lines of a batch and returns the indices of those not found.
    async fn look_up(
        &self,
        generation: &Generation,
        batch: &Batch,
        found: &mut Lines,
    ) -> Result<Vec<usize>, VerifyError> {
        let mut missing = Vec::new();
        for (part, lines) in batch.lines().chunks(MAX_IDS).enumerate() {
            let ids: Vec<_> = lines.iter().map(|line| line.id).collect();
            for (position, (line, stored)) in lines.iter().zip(self.store.document_counts(&ids).await?).enumerate() {
                found.lines += 1;
                let (source, offset) = (generation.source.clone(), line.id.offset);
                match stored.documents {
                    0 if generation.dead.contains_key(&offset) => found.dead_letters += 1,
                    0 if generation.discarded.contains_key(&offset) => found.discarded += 1,
                    0 => {
                        let position = part * MAX_IDS + position;
                        let index = batch.index_name(position);
                        let deleted_index = self.indices.is_deleted(index).then(|| index.to_owned());
                        if let Some(index) = &deleted_index {
                            deleted_indices::add(&mut found.deleted_indices, index.clone(), 1, line.length);
                        }
                        if deleted_index.is_none() || !self.indices.deletion_is_expected {
                            let (generation, bytes) = (line.id.generation, line.length);
                            let is_destroyed = false;
                            found.missing.push(Missing {
                                generation,
                                source,
                                offset,
                                bytes,
                                deleted_index,
                                is_destroyed,
                            });
                            missing.push(position);
                        }
                    }
                    1 => found.stored += 1,
                    _ => {
                        let generation = line.id.generation;
                        found.stored += 1;
                        found.duplicates.push(Duplicate { generation, source, offset, indices: Vec::new() });
                    }
                }
            }
        }
        Ok(missing)
    }
}

/// A source and its open file.
type Opened<F> = (Source, Arc<F>);

/// A generation being read.
struct OpenGeneration<'a, F> {
    id: GenerationId,
    generation: &'a Generation,
    source: Source,
    file: Arc<F>,
}
