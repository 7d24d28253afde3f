//! One store over engines and the embedded database.

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

use crate::batch::Batch;
use crate::bootstrap::{BootstrapError, BootstrapMode, BootstrapOutcome, BootstrapReport};
use crate::counts::{Breakdown, Facet, Facets, Histogram, RequestStats, Selection};
use crate::coverage::{Coverage, DocumentCount, Removed, Span};
use crate::disposition::{Cause, Disposition, WriteError};
use crate::engine::Engine;
use crate::error::{OpenError, ReadyError, SearchError};
use crate::export::{ExportCursor, ExportPage};
use crate::id::{GenerationId, LineId};
use crate::missing_store::MissingStore;
use crate::patterns::Patterns;
use crate::preflight::{Finding, PreflightReport};
use crate::query::{Filter, NamedFields};
use crate::scope::Scope;
use crate::search::{Around, PageLimits, Search, SearchPage};
use crate::settings::EngineSettings;
use crate::sqlite::{FileChanges, RetentionPolicy, RetentionStep, Sqlite};
use crate::tail::{TailCursor, TailPage};
use crate::target::Target;
use crate::timestamp::Timestamp;

/// A log store. Clones are cheap and share connections.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use store::{EngineSettings, Filter, Scope, Search, Store, Target};
///
/// let target: Target = "sqlite:/nowhere/logs.db".parse()?;
/// let store = Store::open_reader(&target, &EngineSettings::default()).await?;
/// let page = store.search(&Scope::All, &Search::new(Filter::request("demo-1"))).await?;
/// assert!(page.lines.is_empty());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub enum Store {
    /// An Elasticsearch or OpenSearch cluster.
    Engine(Engine),
    /// An embedded database.
    Sqlite(Sqlite),
}

impl Store {
    /// Opens a store for writing and searching. An embedded store is created if it is missing. An engine is not
    /// contacted yet.
    ///
    /// # Errors
    /// When the store can't be created or opened, or the settings are invalid.
    pub async fn open_writer(target: &Target, settings: &EngineSettings) -> Result<Self, OpenError> {
        match target {
            Target::Sqlite(path) => Sqlite::open_writer(path, settings).await.map(Self::Sqlite),
            Target::Engine(addresses) => Engine::new(addresses, settings).map(Self::Engine),
        }
    }

    /// Opens a store for searching only. An embedded store whose file does not exist yet reads as empty, and is picked
    /// up once the file appears; see [`Store::missing`]. Once a file was read, its removal makes searches fail.
    ///
    /// # Errors
    /// When the file exists and is not a readable store, or the settings are invalid.
    pub async fn open_reader(target: &Target, settings: &EngineSettings) -> Result<Self, OpenError> {
        match target {
            Target::Sqlite(path) => Sqlite::open_reader(path).await.map(Self::Sqlite),
            Target::Engine(addresses) => Engine::new(addresses, settings).map(Self::Engine),
        }
    }

    /// Returns the same store for several reads that belong to one answer. All of them read the file that the embedded
    /// store's path led to at the first read. If the file is replaced in between, a read fails with
    /// [`CauseKind::FileReplaced`](crate::CauseKind::FileReplaced).
    #[must_use]
    pub fn pinned(&self) -> Self {
        match self {
            Self::Engine(engine) => Self::Engine(engine.clone()),
            Self::Sqlite(sqlite) => Self::Sqlite(sqlite.pinned()),
        }
    }

    /// Puts in place what writing needs, or checks it: an engine's ingest pipeline and index template, and the
    /// user-named fields of the settings. The embedded store's tables already exist once it is open.
    ///
    /// # Errors
    /// When something is not in place afterwards.
    pub async fn bootstrap(&self, mode: BootstrapMode) -> Result<BootstrapReport, BootstrapError> {
        match self {
            Self::Engine(engine) => engine.bootstrap(mode).await,
            Self::Sqlite(sqlite) => {
                let template = sqlite.bootstrap(mode).await?;
                Ok(BootstrapReport { pipeline: BootstrapOutcome::NotUsed, template })
            }
        }
    }

    /// Checks, without changing anything, that lines would be stored correctly.
    ///
    /// # Errors
    /// When something is missing, foreign or forbidden, or the store does not answer. Facts that can't be determined
    /// are reported as findings.
    pub async fn preflight(&self) -> Result<PreflightReport, BootstrapError> {
        match self {
            Self::Engine(engine) => engine.preflight().await,
            Self::Sqlite(_) => Ok(PreflightReport {
                in_place: self.bootstrap(BootstrapMode::Check).await?,
                template_in_force: Finding::NotUsed,
                sample_lines: Finding::NotUsed,
                // The store was opened for writing, so the tables exist.
                rights: Finding::Proven,
                index_blocks: Finding::NotUsed,
                cluster_blocks: Finding::NotUsed,
            }),
        }
    }

    /// Writes a batch and returns the disposition of each line, in order. A line that is already stored is not written
    /// again.
    ///
    /// # Errors
    /// When the store reports no result for single lines. The embedded store has then stored nothing of the batch. An
    /// engine may have stored any part of it, and reports those lines as [`Disposition::AlreadyStored`] on the next
    /// write.
    pub async fn write(&self, batch: &Batch) -> Result<Vec<Disposition>, WriteError> {
        match self {
            Self::Engine(engine) => engine.write(batch, None).await,
            Self::Sqlite(sqlite) => sqlite.write(batch).await,
        }
    }

    /// Returns the hosts that [`Store::write_to`] accepts, without credentials: an engine's nodes in the order of its
    /// addresses, or the embedded store alone.
    #[must_use]
    pub fn hosts(&self) -> Vec<String> {
        match self {
            Self::Engine(engine) => engine.hosts(),
            Self::Sqlite(_) => vec!["embedded".to_owned()],
        }
    }

    /// Writes a batch through one host, given by its index in [`Store::hosts`].
    ///
    /// # Errors
    /// Same as [`Store::write`]; also when no such host.
    pub async fn write_to(&self, host: usize, batch: &Batch) -> Result<Vec<Disposition>, WriteError> {
        match self {
            Self::Engine(engine) => engine.write(batch, Some(host)).await,
            Self::Sqlite(sqlite) => sqlite.write(batch).await,
        }
    }

    /// Checks that an embedded store's open file is still the one at its path, and reopens the path otherwise. The
    /// check is cheap; call it regularly while nothing is written. [`Store::write`] does the same check. Engines have
    /// nothing to check.
    ///
    /// # Errors
    /// Same as [`Store::write`], while there is no file to write to.
    pub async fn check(&self) -> Result<(), WriteError> {
        match self {
            Self::Engine(_) => Ok(()),
            Self::Sqlite(sqlite) => sqlite.check().await,
        }
    }

    /// Returns why an embedded store does not exist at its path, or `None` if it does. Engines always return `None`.
    ///
    /// # Errors
    /// [`SearchError::Refused`] when the path can't be examined, for example for missing permissions.
    pub async fn missing(&self) -> Result<Option<MissingStore>, SearchError> {
        match self {
            Self::Engine(_) => Ok(None),
            Self::Sqlite(sqlite) => sqlite.missing().await,
        }
    }

    /// Whether the embedded store's file is open. It is not while its disk is too full to open it, and briefly after
    /// the path was found to lead to another file. Always true for an engine.
    #[must_use]
    pub fn is_open(&self) -> bool {
        match self {
            Self::Engine(_) => true,
            Self::Sqlite(sqlite) => sqlite.is_open(),
        }
    }

    /// Returns how often the embedded store's file was deleted, moved or replaced while it was open for writing.
    #[must_use]
    pub fn file_changes(&self) -> FileChanges {
        match self {
            Self::Engine(_) => FileChanges::default(),
            Self::Sqlite(sqlite) => sqlite.file_changes(),
        }
    }

    /// Checks that the store answers.
    ///
    /// # Errors
    /// When it does not answer, or refuses.
    pub async fn ready(&self) -> Result<(), ReadyError> {
        match self {
            Self::Engine(engine) => engine.ready().await,
            Self::Sqlite(sqlite) => sqlite.ready().await,
        }
    }

    /// Finds the lines that `scope` may see.
    ///
    /// # Errors
    /// When the store does not answer, refuses, or exceeds the time limit.
    pub async fn search(&self, scope: &Scope, search: &Search) -> Result<SearchPage, SearchError> {
        match self {
            Self::Engine(engine) => engine.search(scope, search).await,
            Self::Sqlite(sqlite) => sqlite.search(scope, search).await,
        }
    }

    /// Returns the user-named fields of the store, which [`Filter::parse`](crate::Filter::parse) needs to read a query.
    ///
    /// # Errors
    /// When the store does not answer, or refuses.
    pub async fn fields(&self) -> Result<NamedFields, SearchError> {
        match self {
            Self::Engine(engine) => engine.fields().await,
            Self::Sqlite(sqlite) => sqlite.fields().await,
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
        match self {
            Self::Engine(engine) => engine.facets(scope, selection, facets, top).await,
            Self::Sqlite(sqlite) => sqlite.facets(scope, selection, facets, top).await,
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
        match self {
            Self::Engine(engine) => engine.histogram(scope, selection, step).await,
            Self::Sqlite(sqlite) => sqlite.histogram(scope, selection, step).await,
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
        match self {
            Self::Engine(engine) => engine.requests(scope, selection, by, top).await,
            Self::Sqlite(sqlite) => sqlite.requests(scope, selection, by, top).await,
        }
    }

    /// Counts lines by the [`pattern`](crate::pattern()) of their message, and returns the `top` most frequent.
    ///
    /// # Errors
    /// Same as [`Store::search`].
    pub async fn patterns(&self, scope: &Scope, selection: &Selection, top: usize) -> Result<Patterns, SearchError> {
        match self {
            Self::Engine(engine) => engine.patterns(scope, selection, top).await,
            Self::Sqlite(sqlite) => sqlite.patterns(scope, selection, top).await,
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
        match self {
            Self::Engine(engine) => engine.around(scope, generation, offset, (before, after)).await,
            Self::Sqlite(sqlite) => sqlite.around(scope, generation, offset, (before, after)).await,
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
        match self {
            Self::Engine(engine) => engine.tail(scope, filter, place, limits).await,
            Self::Sqlite(sqlite) => sqlite.tail(scope, filter, place, limits).await,
        }
    }

    /// Makes all earlier writes searchable. Returns `false` if the credentials do not allow it; an engine then
    /// refreshes at its own interval, one second.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn refresh(&self) -> Result<bool, SearchError> {
        match self {
            Self::Engine(engine) => engine.refresh().await,
            Self::Sqlite(_) => Ok(true),
        }
    }

    /// Returns what is stored of the lines that begin in a range of a generation.
    ///
    /// # Errors
    /// When the store does not answer, refuses, or exceeds the time limit.
    pub async fn coverage(&self, generation: GenerationId, offsets: Range<u64>) -> Result<Coverage, SearchError> {
        match self {
            Self::Engine(engine) => engine.coverage(generation, offsets).await,
            Self::Sqlite(sqlite) => sqlite.coverage(generation, offsets).await,
        }
    }

    /// Returns the coverage of each `step` bytes of the range in which a line begins, in order. Steps are widened so
    /// that there are at most [`MAX_STEPS`](crate::coverage::MAX_STEPS).
    ///
    /// # Errors
    /// Same as [`Store::coverage`].
    pub async fn coverage_in_steps(
        &self,
        generation: GenerationId,
        offsets: Range<u64>,
        step: u64,
    ) -> Result<Vec<Coverage>, SearchError> {
        match self {
            Self::Engine(engine) => engine.coverage_in_steps(generation, offsets, step).await,
            Self::Sqlite(sqlite) => sqlite.coverage_in_steps(generation, offsets, step).await,
        }
    }

    /// Returns the positions of the lines that begin in a range of a generation, in order. At most `limit` and at most
    /// [`MAX_SPANS`](crate::coverage::MAX_SPANS) are returned.
    ///
    /// # Errors
    /// Same as [`Store::coverage`].
    pub async fn spans(
        &self,
        generation: GenerationId,
        offsets: Range<u64>,
        limit: usize,
    ) -> Result<Vec<Span>, SearchError> {
        match self {
            Self::Engine(engine) => engine.spans(generation, offsets, limit).await,
            Self::Sqlite(sqlite) => sqlite.spans(generation, offsets, limit).await,
        }
    }

    /// Returns the position of the last line of a generation that begins before an offset.
    ///
    /// # Errors
    /// Same as [`Store::coverage`].
    pub async fn span_before(&self, generation: GenerationId, offset: u64) -> Result<Option<Span>, SearchError> {
        match self {
            Self::Engine(engine) => engine.span_before(generation, offset).await,
            Self::Sqlite(sqlite) => sqlite.span_before(generation, offset).await,
        }
    }

    /// Returns the names of the non-empty indices, or `None` for a store without indices.
    ///
    /// # Errors
    /// Same as [`Store::coverage`].
    pub async fn index_names(&self) -> Result<Option<BTreeSet<String>>, SearchError> {
        match self {
            Self::Engine(engine) => engine.index_names().await.map(Some),
            Self::Sqlite(_) => Ok(None),
        }
    }

    /// Counts the stored documents of each id, in the given order, for at most [`MAX_IDS`](crate::coverage::MAX_IDS)
    /// ids.
    ///
    /// # Errors
    /// Same as [`Store::coverage`].
    pub async fn document_counts(&self, ids: &[LineId]) -> Result<Vec<DocumentCount>, SearchError> {
        match self {
            Self::Engine(engine) => engine.document_counts(ids).await,
            Self::Sqlite(sqlite) => sqlite.document_counts(ids).await,
        }
    }

    /// Returns a page of lines in the order in which the store received them. Embedded stores only; engines have their
    /// own tools.
    ///
    /// # Errors
    /// Same as [`Store::search`].
    pub async fn export(&self, selection: &Selection, place: ExportCursor) -> Result<ExportPage, SearchError> {
        match self {
            Self::Engine(_) => Err(SearchError::Refused(Cause::new(0, "only embedded stores can be exported"))),
            Self::Sqlite(sqlite) => sqlite.export(selection, place).await,
        }
    }

    /// Runs one step of retention. Does nothing on engines, which have their own lifecycle management.
    ///
    /// # Errors
    /// Same as [`Store::write`].
    pub async fn retain(&self, policy: &RetentionPolicy, now: Timestamp) -> Result<RetentionStep, WriteError> {
        match self {
            Self::Engine(_) => Ok(RetentionStep::default()),
            Self::Sqlite(sqlite) => sqlite.retain(policy, now).await,
        }
    }

    /// Returns what retention has removed from a generation. Engines keep no record of that.
    ///
    /// # Errors
    /// Same as [`Store::coverage`].
    pub async fn removed(&self, generation: GenerationId) -> Result<Removed, SearchError> {
        match self {
            Self::Engine(_) => Ok(Removed::default()),
            Self::Sqlite(sqlite) => sqlite.removed(generation).await,
        }
    }
}
