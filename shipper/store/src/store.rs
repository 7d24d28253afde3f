//! A log store in an engine or in the embedded database, with three faces: [`Store`] searches, [`StoreWriter`] writes, and
//! [`StoreAudit`] has what only verification and export need. A [`Store`] leads to neither of the others.

mod audit;
mod writer;

pub use audit::StoreAudit;
pub use writer::StoreWriter;

use std::ops::Range;
use std::time::Duration;

use crate::counts::{Breakdown, Facet, Facets, Histogram, RequestStats, Selection};
use crate::coverage::{Coverage, Removed, Span};
use crate::engine::Engine;
use crate::error::{OpenError, ReadyError, SearchError};
use crate::id::GenerationId;
use crate::missing_store::MissingStore;
use crate::patterns::Patterns;
use crate::query::{Filter, NamedFields};
use crate::scope::Scope;
use crate::search::{Around, PageLimits, Search, SearchPage};
use crate::settings::EngineSettings;
use crate::sqlite::Sqlite;
use crate::tail::{TailCursor, TailPage};
use crate::target::Target;

/// A log store, for searching. Clones are cheap and share connections.
///
/// [`StoreWriter`] writes to a store, and [`StoreAudit`] compares its content with what was sent.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use store::{EngineSettings, Filter, Scope, Search, Store, Target};
///
/// let target: Target = "sqlite:/nowhere/logs.db".parse()?;
/// let store = Store::open(&target, &EngineSettings::default()).await?;
/// let page = store.search(&Scope::All, &Search::new(Filter::request("demo-1"))).await?;
/// assert!(page.lines.is_empty());
/// # Ok(())
/// # }
/// ```
///
/// It does not lead to the other faces:
///
/// ```compile_fail
/// async fn write(store: store::Store, batch: store::Batch) {
///     let _ = store.write(&batch).await;
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Store(StoreKind);

/// The kinds of stores.
#[derive(Clone, Debug)]
enum StoreKind {
    /// An Elasticsearch or OpenSearch cluster.
    Engine(Engine),
    /// An embedded database.
    Sqlite(Sqlite),
}

impl Store {
    /// Opens a store for searching. An embedded store whose file does not exist yet reads as empty, and is picked up once
    /// the file appears; see [`Store::missing`]. Once a file was read, its removal makes searches fail.
    ///
    /// # Errors
    /// When the file exists and is not a readable store, or the settings are invalid.
    pub async fn open(target: &Target, settings: &EngineSettings) -> Result<Self, OpenError> {
        match target {
            Target::Sqlite(path) => Sqlite::open_reader(path).await.map(StoreKind::Sqlite).map(Self),
            Target::Engine(addresses) => Engine::new(addresses, settings).map(StoreKind::Engine).map(Self),
        }
    }

    /// Returns the same store for several reads that belong to one answer. All of them read the file that the embedded
    /// store's path led to at the first read. If the file is replaced in between, a read fails with
    /// [`CauseKind::FileReplaced`](crate::CauseKind::FileReplaced).
    #[must_use]
    pub fn pinned(&self) -> Self {
        match &self.0 {
            StoreKind::Engine(_) => self.clone(),
            StoreKind::Sqlite(sqlite) => Self(StoreKind::Sqlite(sqlite.pinned())),
        }
    }

    /// Returns why an embedded store does not exist at its path, or `None` if it does. Engines always return `None`.
    ///
    /// # Errors
    /// [`SearchError::Refused`] when the path can't be examined, for example for missing permissions.
    pub async fn missing(&self) -> Result<Option<MissingStore>, SearchError> {
        match &self.0 {
            StoreKind::Engine(_) => Ok(None),
            StoreKind::Sqlite(sqlite) => sqlite.missing().await,
        }
    }

    /// Checks that the store answers.
    ///
    /// # Errors
    /// When it does not respond, or refuses.
    pub async fn ready(&self) -> Result<(), ReadyError> {
        match &self.0 {
            StoreKind::Engine(engine) => engine.ready().await,
            StoreKind::Sqlite(sqlite) => sqlite.ready().await,
        }
    }

    /// Finds the lines that `scope` may see.
    ///
    /// # Errors
    /// When the store does not respond, refuses, or exceeds the time limit.
    pub async fn search(&self, scope: &Scope, search: &Search) -> Result<SearchPage, SearchError> {
        match &self.0 {
            StoreKind::Engine(engine) => engine.search(scope, search).await,
            StoreKind::Sqlite(sqlite) => sqlite.search(scope, search).await,
        }
    }

    /// Returns the user-named fields of the store, which [`Filter::parse`](crate::Filter::parse) needs to read a query.
    ///
    /// # Errors
    /// When the store does not respond, or refuses.
    pub async fn fields(&self) -> Result<NamedFields, SearchError> {
        match &self.0 {
            StoreKind::Engine(engine) => engine.fields().await,
            StoreKind::Sqlite(sqlite) => sqlite.fields().await,
        }
    }

    /// Counts lines by field values: the `top` most frequent of each field, at most
    /// [`MAX_TOP`](crate::counts::MAX_TOP).
    ///
    /// # Errors
    /// Same as [`Store::search`].
    pub async fn facets(
        &self,
        scope: &Scope,
        selection: &Selection,
        facets: &[Facet],
        top: usize,
    ) -> Result<Facets, SearchError> {
        match &self.0 {
            StoreKind::Engine(engine) => engine.facets(scope, selection, facets, top).await,
            StoreKind::Sqlite(sqlite) => sqlite.facets(scope, selection, facets, top).await,
        }
    }

    /// Counts lines by level over time, in steps of whole milliseconds. Where the selection has no time bounds, the
    /// first and the last selected line are used instead.
    ///
    /// # Errors
    /// Same as [`Store::search`].
    pub async fn histogram(
        &self,
        scope: &Scope,
        selection: &Selection,
        step: Duration,
    ) -> Result<Histogram, SearchError> {
        match &self.0 {
            StoreKind::Engine(engine) => engine.histogram(scope, selection, step).await,
            StoreKind::Sqlite(sqlite) => sqlite.histogram(scope, selection, step).await,
        }
    }

    /// Returns statistics of requests from the selected access lines: totals, and those of the `top` groups.
    ///
    /// # Errors
    /// Same as [`Store::search`].
    pub async fn requests(
        &self,
        scope: &Scope,
        selection: &Selection,
        by: Breakdown,
        top: usize,
    ) -> Result<RequestStats, SearchError> {
        match &self.0 {
            StoreKind::Engine(engine) => engine.requests(scope, selection, by, top).await,
            StoreKind::Sqlite(sqlite) => sqlite.requests(scope, selection, by, top).await,
        }
    }

    /// Counts lines by the [`pattern`](crate::pattern()) of their message, and returns the `top` most frequent.
    ///
    /// # Errors
    /// Same as [`Store::search`].
    pub async fn patterns(&self, scope: &Scope, selection: &Selection, top: usize) -> Result<Patterns, SearchError> {
        match &self.0 {
            StoreKind::Engine(engine) => engine.patterns(scope, selection, top).await,
            StoreKind::Sqlite(sqlite) => sqlite.patterns(scope, selection, top).await,
        }
    }

    /// Returns the lines of a source around an offset: those before it, the first visible line at or after it, which
    /// does not count towards the limit, and those that follow. With a scope that does not see all lines, the embedded
    /// store looks no farther than [`AROUND_MAX_BYTES`](crate::search::AROUND_MAX_BYTES).
    ///
    /// # Errors
    /// Same as [`Store::search`].
    pub async fn around(
        &self,
        scope: &Scope,
        generation: GenerationId,
        offset: u64,
        (before, after): (PageLimits, PageLimits),
    ) -> Result<Around, SearchError> {
        match &self.0 {
            StoreKind::Engine(engine) => engine.around(scope, generation, offset, (before, after)).await,
            StoreKind::Sqlite(sqlite) => sqlite.around(scope, generation, offset, (before, after)).await,
        }
    }

    /// Returns the lines received since `place`, in order, up to a limit. Without a cursor, or with one of another
    /// store, returns no lines and the current position. No line is returned twice. An engine may return a line up to
    /// two seconds late if its sequence number became visible after later ones; lines in indices older than the newest
    /// 64 are missed.
    ///
    /// # Errors
    /// Same as [`Store::search`].
    pub async fn tail(
        &self,
        scope: &Scope,
        filter: &Filter,
        place: Option<&TailCursor>,
        limits: PageLimits,
    ) -> Result<TailPage, SearchError> {
        match &self.0 {
            StoreKind::Engine(engine) => engine.tail(scope, filter, place, limits).await,
            StoreKind::Sqlite(sqlite) => sqlite.tail(scope, filter, place, limits).await,
        }
    }

    /// Returns the coverage of each `step` bytes of the range in which a line begins, in order. Steps are widened so
    /// that there are at most [`MAX_STEPS`](crate::coverage::MAX_STEPS).
    ///
    /// # Errors
    /// Same as [`Store::search`].
    pub async fn coverage_in_steps(
        &self,
        generation: GenerationId,
        offsets: Range<u64>,
        step: u64,
    ) -> Result<Vec<Coverage>, SearchError> {
        match &self.0 {
            StoreKind::Engine(engine) => engine.coverage_in_steps(generation, offsets, step).await,
            StoreKind::Sqlite(sqlite) => sqlite.coverage_in_steps(generation, offsets, step).await,
        }
    }

    /// Returns the positions of the lines that begin in a range of a generation, in order. At most `limit` and at most
    /// [`MAX_SPANS`](crate::coverage::MAX_SPANS) are returned.
    ///
    /// # Errors
    /// Same as [`Store::search`].
    pub async fn spans(
        &self,
        generation: GenerationId,
        offsets: Range<u64>,
        limit: usize,
    ) -> Result<Vec<Span>, SearchError> {
        match &self.0 {
            StoreKind::Engine(engine) => engine.spans(generation, offsets, limit).await,
            StoreKind::Sqlite(sqlite) => sqlite.spans(generation, offsets, limit).await,
        }
    }

    /// Returns the position of the last line of a generation that begins before an offset.
    ///
    /// # Errors
    /// Same as [`Store::search`].
    pub async fn span_before(&self, generation: GenerationId, offset: u64) -> Result<Option<Span>, SearchError> {
        match &self.0 {
            StoreKind::Engine(engine) => engine.span_before(generation, offset).await,
            StoreKind::Sqlite(sqlite) => sqlite.span_before(generation, offset).await,
        }
    }

    /// Returns what retention has removed from a generation. Engines keep no record of that.
    ///
    /// # Errors
    /// Same as [`Store::search`].
    pub async fn removed(&self, generation: GenerationId) -> Result<Removed, SearchError> {
        match &self.0 {
            StoreKind::Engine(_) => Ok(Removed::default()),
            StoreKind::Sqlite(sqlite) => sqlite.removed(generation).await,
        }
    }
}
