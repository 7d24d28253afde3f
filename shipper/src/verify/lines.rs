//! The proof by lines: of what is still there, every line's document is made again as it was for the store, and the
//! store is asked for its id.
//!
//! A line without a time of its own has that of its arrival. Marks of arrival that no line beyond the checkpoint needs are
//! forgotten, so a line that is missing and sent again may have the day of its generation's birth; its id is the same.

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

use serde::Serialize;
use store::coverage::MAX_IDS;
use store::{Batch, BatchBuilder, GenerationId, StoreAudit};

use super::gone::{self, Indices, WithIndex};
use super::known::{Generation, Known, Lies};
use super::{Listed, Missing, Twice, Unreadable, VerifyError};
use crate::config::Settings;
use crate::disk::{Disk, DiskFile as _, path};
use crate::document::{Documents, Place};
use crate::files::{self, Content, ContentOf, Format};
use crate::lines::Lines as Reading;

/// What the proof by lines found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Lines {
    /// Segments and files read.
    pub sources: u64,
    /// Those that are not there any more, or that the store removed lines of: only sums prove them.
    pub gone: u64,
    /// Lines asked for.
    pub lines: u64,
    /// Of them, those that rest in the store.
    pub stored: u64,
    /// Those that rest among the dead letters.
    pub dead_letters: u64,
    /// Those whose dead letters were discarded.
    pub discarded: u64,
    /// Those that rest nowhere and whose index is gone, by its name; where that is expected they are not missing.
    pub with_index: WithIndex,
    /// Segments and files that are there and can't be read, or not to their end.
    pub unreadable: Listed<Unreadable>,
    /// Those that rest nowhere.
    pub missing: Listed<Missing>,
    /// Those that rest in more than one index.
    pub twice: Listed<Twice>,
}

impl Lines {
    /// Whether all could be read, nothing is missing and nothing is there twice.
    #[must_use]
    pub fn are_right(&self) -> bool {
        self.unreadable.count == 0 && self.missing.count == 0 && self.twice.count == 0
    }

    fn could_not_read(&mut self, id: GenerationId, generation: &Generation, error: &io::Error) {
        let source = generation.source.clone();
        self.unreadable.push(Unreadable { generation: id, source, reason: error.to_string() });
    }
}

/// The bytes of the generations whose lines can be read, where nobody has moved them meanwhile.
#[must_use]
pub fn bytes(known: &Known) -> u64 {
    let lies = |generation: &&Generation| generation.lies != Lies::Gone;
    known.generations.values().filter(lies).map(|generation| generation.proven_to).sum()
}

/// A proof under way.
pub struct Check<'a, D: Disk> {
    /// The disk that the sources lie on.
    pub disk: D,
    /// How the shipper was told to read them and to name their documents.
    pub settings: &'a Settings,
    /// The store.
    pub store: &'a StoreAudit,
    /// The indices that the store has.
    pub indices: &'a Indices,
    /// Gets the bytes that were read.
    pub progress: &'a dyn Fn(u64),
}

impl<D: Disk> Check<'_, D> {
    /// Asks the store for every line before the checkpoints, and gives those that rest nowhere to `resend`, as batches.
    ///
    /// # Errors
    /// [`VerifyError`], and what `resend` says.
    pub async fn run<E: From<VerifyError>>(
        &self,
        known: &Known,
        mut resend: impl AsyncFnMut(Batch) -> Result<(), E>,
    ) -> Result<Lines, E> {
        let mut found = Lines::default();
        let mut documents = Documents::new(self.settings.host(), self.settings.name(), self.settings.service());
        for (id, generation) in &known.generations {
            if generation.proven_to == 0 || generation.lies == Lies::Gone {
                continue;
            }
            let is_whole = self.store.reader().removed(*id).await.map_err(VerifyError::from)?.lines == 0;
            match self.open(generation) {
                Err(error) => {
                    found.could_not_read(*id, generation, &error);
                    (self.progress)(generation.proven_to);
                }
                Ok(Some((place, file))) if is_whole => {
                    found.sources += 1;
                    let source = Source { id: *id, generation, place, file };
                    self.read(&source, &mut documents, &mut found, &mut resend).await?;
                }
                Ok(_) => {
                    found.gone += 1;
                    (self.progress)(generation.proven_to);
                }
            }
        }
        Ok(found)
    }

    fn open(&self, generation: &Generation) -> io::Result<Option<Opened<ContentOf<D>>>> {
        match &generation.lies {
            Lies::Gone => Ok(None),
            Lies::Segment { stream, path } => match self.disk.open(path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                opened => Ok(Some((Place::Stream(stream.clone()), Arc::new(Content::plain(opened?))))),
            },
            Lies::File(identity) => {
                let found = files::find(&self.disk, &generation.entry, generation.proven_to)?;
                let Some(file) = found else { return Ok(None) };
                let place = match &self.settings.files().format {
                    Format::Lines => Place::File(path::text(&identity.path)),
                    docker @ Format::Docker(_) => docker.place(&identity.path, &file).unwrap_or(Place::Container {
                        file: path::text(&identity.path),
                        container: None,
                        compose_service: None,
                    }),
                };
                Ok(Some((place, Arc::new(file))))
            }
        }
    }

    async fn read<E: From<VerifyError>>(
        &self,
        source: &Source<'_, ContentOf<D>>,
        documents: &mut Documents,
        found: &mut Lines,
        resend: &mut impl AsyncFnMut(Batch) -> Result<(), E>,
    ) -> Result<(), E> {
        let shape = self.settings.pipeline();
        let (id, entry) = (source.id, &source.generation.entry);
        let origin = documents.origin(&source.place, id);
        let len = match source.file.stat() {
            Ok(stat) => stat.len,
            Err(error) => {
                found.could_not_read(id, source.generation, &error);
                return Ok(());
            }
        };
        let end = source.generation.proven_to.min(len);
        let file = Arc::clone(&source.file);
        let start = entry.file.as_ref().map_or(0, |file| file.start);
        let mut reading = Reading::new(&source.place, file, start, shape.line_max_bytes, shape.encoding);
        let mut builder = BatchBuilder::new(&shape.index_prefix);
        let mut buffer = Vec::new();
        loop {
            let chunk = reading.read(&mut buffer, end, true, |line| {
                documents.push(&mut builder, &origin, &line, entry.arrived(&id, line.offset));
                let full = builder.count() >= MAX_IDS || builder.bytes() >= shape.batch_max_bytes;
                if full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            let chunk = match chunk {
                Ok(chunk) => chunk,
                Err(error) => {
                    found.could_not_read(id, source.generation, &error);
                    return Ok(());
                }
            };
            (self.progress)(chunk.end - chunk.start);
            let is_last = !chunk.more;
            if builder.count() > 0
                && (is_last || builder.count() >= MAX_IDS || builder.bytes() >= shape.batch_max_bytes)
            {
                let batch = builder.finish(0);
                let missing = self.ask(source.generation, &batch, found).await?;
                if !missing.is_empty() {
                    resend(batch.select(missing)).await?;
                }
            }
            if is_last {
                return Ok(());
            }
        }
    }

    /// Asks for the lines of a batch; gives the places of those that rest nowhere.
    async fn ask(&self, generation: &Generation, batch: &Batch, found: &mut Lines) -> Result<Vec<usize>, VerifyError> {
        let mut missing = Vec::new();
        for (part, lines) in batch.lines().chunks(MAX_IDS).enumerate() {
            let ids: Vec<_> = lines.iter().map(|line| line.id).collect();
            for (place, (line, count)) in lines.iter().zip(self.store.document_counts(&ids).await?).enumerate() {
                found.lines += 1;
                let (source, offset) = (generation.source.clone(), line.id.offset);
                match count.documents {
                    0 if generation.dead.contains_key(&offset) => found.dead_letters += 1,
                    0 if generation.discarded.contains_key(&offset) => found.discarded += 1,
                    0 => {
                        let place = part * MAX_IDS + place;
                        let index = batch.index_name(place);
                        let index_gone = self.indices.lack(index).then(|| index.to_owned());
                        if let Some(index) = &index_gone {
                            gone::add(&mut found.with_index, index.clone(), 1, line.length);
                        }
                        if index_gone.is_none() || !self.indices.removal_is_expected {
                            let (generation, bytes) = (line.id.generation, line.length);
                            let is_destroyed = false;
                            found.missing.push(Missing { generation, source, offset, bytes, index_gone, is_destroyed });
                            missing.push(place);
                        }
                    }
                    1 => found.stored += 1,
                    _ => {
                        let generation = line.id.generation;
                        found.stored += 1;
                        found.twice.push(Twice { generation, source, offset, indices: Vec::new() });
                    }
                }
            }
        }
        Ok(missing)
    }
}

/// What a file is, and the file.
type Opened<F> = (Place, Arc<F>);

/// A generation being read.
struct Source<'a, F> {
    id: GenerationId,
    generation: &'a Generation,
    place: Place,
    file: Arc<F>,
}
