//! The embedded store: one SQLite file in WAL mode, with one writing connection and a few reading ones.
//!
//! Each write is one transaction, synced to disk (`synchronous = FULL`) before it returns. Readers see whole batches
//! only. Each search is one short transaction, so it never holds up the WAL for long.
//!
//! The file's format is described in `schema`, `migrate` upgrades older versions. `file` detects whether the path still
//! leads to the open files, and `writer` reopens it if not.
//!
//! In the order the data flows: `line` parses a document, which is added to the `tail` together with the user-named
//! `fields`. Once the tail is full (`sizes`), it becomes a run (`runs`) with its `terms`; `bits` are the sets of lines
//! that have a term. `merge` combines runs, and `ids` records which runs contain a request id. `read_context` limits a
//! read: which file may answer it, and until when. A `search` takes a `snapshot`, selects the matching lines of each
//! run (`select`) and returns a page. `coverage` reports what is stored of a source, and `retention` deletes old lines.
//! `checkpoint` keeps the WAL short.

mod bits;
mod checkpoint;
mod counts;
mod coverage;
mod export;
mod failure;
mod fields;
mod file;
mod ids;
mod line;
mod matches;
mod merge;
mod migrate;
mod patterns;
mod read_context;
mod readers;
mod requests;
mod retention;
mod runs;
mod schema;
mod search;
mod select;
mod sizes;
mod snapshot;
mod source;
mod tail;
mod terms;
mod write;
mod writer;

pub use read_context::with_read_guard;
pub use retention::{RetentionPolicy, RetentionStep};
pub use writer::FileChanges;

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::batch::Batch;
use crate::bootstrap::{BootstrapError, BootstrapMode, BootstrapOutcome};
use crate::counts::{Breakdown, Facet, FacetCounts, Facets, Histogram, RequestStats, Selection};
use crate::coverage::{Coverage, DocumentCount, Removed, Span};
use crate::disposition::{Cause, CauseKind, Disposition, WriteError};
use crate::error::{OpenError, ReadyError, SearchError};
use crate::export::{ExportCursor, ExportPage};
use crate::id::{GenerationId, LineId};
use crate::missing_store::MissingStore;
use crate::patterns::Patterns;
use crate::query::{Filter, NamedFields};
use crate::scope::Scope;
use crate::search::{Around, PageLimits, Search, SearchPage};
use crate::settings::EngineSettings;
use crate::sqlite::fields::IndexedFields;
use crate::sqlite::read_context::{Pin, ReadContext};
use crate::sqlite::readers::Readers;
use crate::sqlite::snapshot::Snapshot;
use crate::sqlite::writer::{OTHER_FIELDS, Writer};
use crate::tail::{TailCursor, TailPage, TailPosition};
use crate::timestamp::Timestamp;

/// An embedded store. Clones are cheap and share connections.
#[derive(Clone, Debug)]
pub struct Sqlite {
    writer: Option<Arc<Writer>>,
    readers: Arc<Readers>,
    /// The file that all reads must use, if any.
    pin: Option<Pin>,
    /// The user-named fields that bootstrap puts in place.
    wanted: Option<NamedFields>,
}

impl Sqlite {
    pub(crate) async fn open_writer(path: &Path, settings: &EngineSettings) -> Result<Self, OpenError> {
        let readers = Arc::new(Readers::new(path));
        let (path, mode, wanted) = (path.to_owned(), settings.file_mode, settings.fields.clone());
        let own = Arc::clone(&readers);
        let writer = blocking(move || Writer::open(&path, mode, own))
            .await
            .unwrap_or_else(|cause| Err(OpenError::File { path: readers.path().to_owned(), reason: cause.reason }))?;
        Ok(Self { writer: Some(Arc::new(writer)), readers, pin: None, wanted })
    }

    pub(crate) async fn open_reader(path: &Path) -> Result<Self, OpenError> {
        let readers = Arc::new(Readers::new(path));
        let checked = Arc::clone(&readers);
        blocking(move || checked.check())
            .await
            .unwrap_or_else(|cause| Err(OpenError::File { path: readers.path().to_owned(), reason: cause.reason }))?;
        Ok(Self { writer: None, readers, pin: None, wanted: None })
    }

    /// Returns the same store with all reads bound to one file.
    pub(crate) fn pinned(&self) -> Self {
        Self { pin: Some(Pin::default()), ..self.clone() }
    }

    /// Puts the user-named fields of the settings in place, or checks them.
    pub(crate) async fn bootstrap(&self, mode: BootstrapMode) -> Result<BootstrapOutcome, BootstrapError> {
        let Some(writer) = self.writer.clone() else { return Ok(BootstrapOutcome::InPlace) };
        let wanted = self.wanted.clone();
        let named = blocking(move || match wanted {
            Some(wanted) => writer.set_fields(&wanted, mode == BootstrapMode::Apply),
            // Opening the file may have failed because the disk was full.
            None => writer.check().map(|()| false),
        })
        .await;
        match named.map_err(BootstrapError::Unavailable)? {
            Ok(false) => Ok(BootstrapOutcome::InPlace),
            Ok(true) if mode == BootstrapMode::Apply => Ok(BootstrapOutcome::Updated),
            Ok(true) => Err(BootstrapError::Refused(Cause::new(0, OTHER_FIELDS).with_kind(CauseKind::NotInPlace))),
            Err(WriteError::Unavailable(cause)) => Err(BootstrapError::Unavailable(cause)),
            Err(other) => Err(BootstrapError::Refused(other.cause().clone())),
        }
    }

    /// Returns the user-named fields.
    pub(crate) async fn fields(&self) -> Result<NamedFields, SearchError> {
        self.with_connection(|connection| Ok(IndexedFields::read(connection)?.fields())).await
    }

    pub(crate) async fn write(&self, batch: &Batch) -> Result<Vec<Disposition>, WriteError> {
        let Some(writer) = self.writer.clone() else {
            return Err(WriteError::Refused(Cause::new(0, "the store was opened read-only")));
        };
        let batch = batch.clone();
        blocking(move || writer.write(&batch)).await.map_err(WriteError::Unavailable)?
    }

    /// Checks that the path of a store opened for writing leads to the open file, and reopens it otherwise.
    pub(crate) async fn check(&self) -> Result<(), WriteError> {
        let Some(writer) = self.writer.clone() else { return Ok(()) };
        blocking(move || writer.check()).await.map_err(WriteError::Unavailable)?
    }

    pub(crate) async fn missing(&self) -> Result<Option<MissingStore>, SearchError> {
        let readers = Arc::clone(&self.readers);
        blocking(move || readers.missing()).await.map_err(SearchError::Unavailable)?
    }

    pub(crate) fn is_open(&self) -> bool {
        self.writer.as_ref().is_none_or(|writer| writer.is_open())
    }

    pub(crate) fn file_changes(&self) -> FileChanges {
        self.writer.as_ref().map(|writer| writer.changes()).unwrap_or_default()
    }

    pub(crate) async fn ready(&self) -> Result<(), ReadyError> {
        let (writer, readers) = (self.writer.clone(), Arc::clone(&self.readers));
        blocking(move || {
            if let Some(writer) = writer {
                writer.ready()?;
            }
            Ok(readers.ready()?)
        })
        .await
        .map_err(ReadyError::Unavailable)?
    }

    pub(crate) async fn search(&self, scope: &Scope, search: &Search) -> Result<SearchPage, SearchError> {
        let (scope, search) = (scope.copy(), search.clone());
        self.with_snapshot(move |snapshot| search::page(snapshot, &scope, &search)).await
    }

    pub(crate) async fn facets(
        &self,
        scope: &Scope,
        selection: &Selection,
        facets: &[Facet],
        top: usize,
    ) -> Result<Facets, SearchError> {
        let (scope, selection, facets) = (scope.copy(), selection.clone(), facets.to_vec());
        let empty = |facet: &Facet| FacetCounts { facet: facet.clone(), values: Vec::new(), others: 0 };
        let none = Facets { facets: facets.iter().map(empty).collect(), ..Facets::default() };
        let found =
            self.with_snapshot(move |snapshot| counts::facets(snapshot, &scope, &selection, &facets, top).map(Some));
        Ok(found.await?.unwrap_or(none))
    }

    pub(crate) async fn histogram(
        &self,
        scope: &Scope,
        selection: &Selection,
        step: Duration,
    ) -> Result<Histogram, SearchError> {
        let (scope, selection) = (scope.copy(), selection.clone());
        self.with_snapshot(move |snapshot| counts::histogram(snapshot, &scope, &selection, step)).await
    }

    pub(crate) async fn requests(
        &self,
        scope: &Scope,
        selection: &Selection,
        by: Breakdown,
        top: usize,
    ) -> Result<RequestStats, SearchError> {
        let (scope, selection) = (scope.copy(), selection.clone());
        self.with_snapshot(move |snapshot| requests::requests(snapshot, &scope, &selection, by, top)).await
    }

    pub(crate) async fn patterns(
        &self,
        scope: &Scope,
        selection: &Selection,
        top: usize,
    ) -> Result<Patterns, SearchError> {
        let (scope, selection) = (scope.copy(), selection.clone());
        self.with_snapshot(move |snapshot| patterns::patterns(snapshot, &scope, &selection, top)).await
    }

    pub(crate) async fn around(
        &self,
        scope: &Scope,
        generation: GenerationId,
        offset: u64,
        sides: (PageLimits, PageLimits),
    ) -> Result<Around, SearchError> {
        let scope = scope.copy();
        self.with_snapshot(move |snapshot| source::around(snapshot, &scope, generation, offset, sides)).await
    }

    pub(crate) async fn tail(
        &self,
        scope: &Scope,
        filter: &Filter,
        cursor: Option<&TailCursor>,
        limits: PageLimits,
    ) -> Result<TailPage, SearchError> {
        let (scope, filter, cursor) = (scope.copy(), filter.clone(), cursor.cloned());
        let found = self
            .with_snapshot(move |snapshot| source::tail(snapshot, &scope, &filter, cursor.as_ref(), limits).map(Some));
        // Without tables, any line will be new.
        let nothing = TailPage { lines: Vec::new(), cursor: TailCursor(TailPosition::Row(0)), more: false, gap: false };
        Ok(found.await?.unwrap_or(nothing))
    }

    pub(crate) async fn coverage(
        &self,
        generation: GenerationId,
        offsets: Range<u64>,
    ) -> Result<Coverage, SearchError> {
        self.with_connection(move |connection| coverage::coverage(connection, generation, &offsets)).await
    }

    pub(crate) async fn coverage_in_steps(
        &self,
        generation: GenerationId,
        offsets: Range<u64>,
        step: u64,
    ) -> Result<Vec<Coverage>, SearchError> {
        self.with_connection(move |connection| coverage::coverage_in_steps(connection, generation, &offsets, step))
            .await
    }

    pub(crate) async fn spans(
        &self,
        generation: GenerationId,
        offsets: Range<u64>,
        limit: usize,
    ) -> Result<Vec<Span>, SearchError> {
        self.with_connection(move |connection| coverage::spans(connection, generation, &offsets, limit)).await
    }

    pub(crate) async fn span_before(&self, generation: GenerationId, offset: u64) -> Result<Option<Span>, SearchError> {
        self.with_connection(move |connection| coverage::span_before(connection, generation, offset)).await
    }

    pub(crate) async fn document_counts(&self, ids: &[LineId]) -> Result<Vec<DocumentCount>, SearchError> {
        let ids = ids.to_vec();
        let none = ids.iter().map(|id| DocumentCount { id: *id, documents: 0 }).collect();
        let found =
            self.with_connection(move |connection| coverage::document_counts(connection, &ids).map(Some)).await?;
        Ok(found.unwrap_or(none))
    }

    pub(crate) async fn removed(&self, generation: GenerationId) -> Result<Removed, SearchError> {
        self.with_connection(move |connection| coverage::removed(connection, generation)).await
    }

    pub(crate) async fn export(&self, selection: &Selection, cursor: ExportCursor) -> Result<ExportPage, SearchError> {
        let selection = selection.clone();
        self.with_snapshot(move |snapshot| export::export(snapshot, &selection, cursor)).await
    }

    pub(crate) async fn retain(&self, policy: &RetentionPolicy, now: Timestamp) -> Result<RetentionStep, WriteError> {
        let Some(writer) = self.writer.clone() else {
            return Err(WriteError::Refused(Cause::new(0, "the store was opened read-only")));
        };
        let (readers, policy) = (Arc::clone(&self.readers), *policy);
        let work = move || {
            // If this fails, the step only takes longer.
            let _ = readers.with_connection(&ReadContext::blocking(), |connection| {
                retention::read_ahead(connection, &policy, now)
            });
            writer.retain(&policy, now)
        };
        blocking(work).await.map_err(WriteError::Unavailable)?
    }

    /// Runs `work` on a snapshot. Returns the default if the store has no tables yet.
    async fn with_snapshot<T: Default + Send + 'static>(
        &self,
        work: impl FnOnce(&Snapshot<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, SearchError> {
        Ok(self.read(|readers, context| readers.with_snapshot(context, work)).await?.unwrap_or_default())
    }

    /// Runs `work` on a reading connection. Returns the default if the store has no tables yet.
    async fn with_connection<T: Default + Send + 'static>(
        &self,
        work: impl FnOnce(&rusqlite::Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, SearchError> {
        Ok(self.read(|readers, context| readers.with_connection(context, work)).await?.unwrap_or_default())
    }

    /// Runs a read once a slot is free. The read is cancelled when its future is dropped, and keeps its slot until it
    /// has ended.
    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Readers, &ReadContext) -> Result<T, SearchError> + Send + 'static,
    ) -> Result<T, SearchError> {
        let guards = (self.readers.acquire().await, read_context::current_guard());
        let readers = Arc::clone(&self.readers);
        let (context, _cancel) = ReadContext::new(self.pin.clone());
        let read = move || {
            let done = work(&readers, &context);
            drop(guards);
            done
        };
        blocking(read).await.map_err(SearchError::Unavailable)?
    }
}

/// Runs blocking work on a thread for it.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Cause> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Cause::new(0, format!("the task was aborted: {error}")))
}
