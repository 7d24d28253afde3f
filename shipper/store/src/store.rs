//! One store over both kinds.

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

use crate::absence::Absence;
use crate::batch::Batch;
use crate::bootstrap::{BootstrapError, BootstrapMode, BootstrapReport, Outcome};
use crate::counts::{Breakdown, Facet, Facets, Histogram, RequestStats, Selection};
use crate::coverage::{Coverage, Removed, Resting, Span};
use crate::disposition::{Cause, Disposition, WriteError};
use crate::engine::Engine;
use crate::error::{OpenError, ReadyError, SearchError};
use crate::export::{ExportPage, ExportPlace};
use crate::id::{GenerationId, LineId};
use crate::patterns::Patterns;
use crate::preflight::{Finding, PreflightReport};
use crate::query::{Filter, NamedFields};
use crate::scope::Scope;
use crate::search::{Around, Page, Room, Search};
use crate::settings::EngineSettings;
use crate::sqlite::{FileChanges, Keep, Retained, Sqlite};
use crate::tail::{TailPage, TailPlace};
use crate::target::Target;
use crate::timestamp::Timestamp;

/// Where logs rest. A copy is cheap and leads to the same store.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use store::{EngineSettings, Filter, Scope, Search, Store, Target};
///
/// let target: Target = "sqlite:/nowhere/logs.db".parse()?;
/// let store = Store::open_reader(&target, &EngineSettings::default()).await?;
/// let page = store.search(&Scope::All, &Search::of(Filter::request("demo-1"))).await?;
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
    /// Opens a store to write to and to search. An embedded one is made if it is not there; no engine is spoken to yet.
    ///
    /// # Errors
    /// When the store can't be made or opened, or the settings can't be used.
    pub async fn open_writer(target: &Target, settings: &EngineSettings) -> Result<Self, OpenError> {
        match target {
            Target::Sqlite(path) => Sqlite::open_writer(path, settings).await.map(Self::Sqlite),
            Target::Engine(addresses) => Engine::new(addresses, settings).map(Self::Engine),
        }
    }

    /// Opens a store to search only. An embedded store's file that is not there yet reads as empty, and is found when
    /// it appears; see [`Store::absence`]. One that was there and is missing has no answer.
    ///
    /// # Errors
    /// When there is a file that can't be read as a store, or the settings can't be used.
    pub async fn open_reader(target: &Target, settings: &EngineSettings) -> Result<Self, OpenError> {
        match target {
            Target::Sqlite(path) => Sqlite::open_reader(path).await.map(Self::Sqlite),
            Target::Engine(addresses) => Engine::new(addresses, settings).map(Self::Engine),
        }
    }

    /// The same store for one answer of several reads. An embedded one answers all of them from the file that its path led
    /// to at the first. Where the file was replaced since, a read fails with a cause of the kind
    /// [`FileReplaced`](crate::CauseKind::FileReplaced).
    #[must_use]
    pub fn pinned(&self) -> Self {
        match self {
            Self::Engine(engine) => Self::Engine(engine.clone()),
            Self::Sqlite(sqlite) => Self::Sqlite(sqlite.pinned()),
        }
    }

    /// Puts in place what writing needs, or checks it: an engine's pipeline and template, and in either
    /// store the fields that the settings name. The embedded store has its tables since it was opened.
    ///
    /// # Errors
    /// When it is not in place afterwards.
    pub async fn bootstrap(&self, mode: BootstrapMode) -> Result<BootstrapReport, BootstrapError> {
        match self {
            Self::Engine(engine) => engine.bootstrap(mode).await,
            Self::Sqlite(sqlite) => {
                let template = sqlite.bootstrap(mode).await?;
                Ok(BootstrapReport { pipeline: Outcome::NotUsed, template })
            }
        }
    }

    /// Proves, as far as the store tells and without changing anything, that lines will come to rest as they should.
    ///
    /// # Errors
    /// When something is missing, foreign or forbidden, or the store does not answer. What nobody may or can say is a
    /// finding.
    pub async fn preflight(&self) -> Result<PreflightReport, BootstrapError> {
        match self {
            Self::Engine(engine) => engine.preflight().await,
            Self::Sqlite(_) => Ok(PreflightReport {
                in_place: self.bootstrap(BootstrapMode::Check).await?,
                template_in_force: Finding::NotUsed,
                sample_lines: Finding::NotUsed,
                // It was opened to write, and has its tables since.
                rights: Finding::Proven,
                index_blocks: Finding::NotUsed,
                cluster_blocks: Finding::NotUsed,
            }),
        }
    }

    /// Writes a batch: what became of each of its lines, in their order. A line that is there already is not written
    /// again.
    ///
    /// # Errors
    /// When the store says nothing of single lines. The embedded store then holds none of the batch; an engine may
    /// hold any part of it, and says [`Disposition::AlreadyStored`] of those the next time.
    pub async fn write(&self, batch: &Batch) -> Result<Vec<Disposition>, WriteError> {
        match self {
            Self::Engine(engine) => engine.write(batch, None).await,
            Self::Sqlite(sqlite) => sqlite.write(batch).await,
        }
    }

    /// The names of the hosts that [`Store::write_to`] may be asked for, without credentials: an engine's nodes in the
    /// order of its addresses, or the embedded store alone.
    #[must_use]
    pub fn hosts(&self) -> Vec<String> {
        match self {
            Self::Engine(engine) => engine.hosts(),
            Self::Sqlite(_) => vec!["embedded".to_owned()],
        }
    }

    /// As [`Store::write`], by the host at this place among [`Store::hosts`] and no other.
    ///
    /// # Errors
    /// As [`Store::write`]. Nobody is there at a place past the last.
    pub async fn write_to(&self, host: usize, batch: &Batch) -> Result<Vec<Disposition>, WriteError> {
        match self {
            Self::Engine(engine) => engine.write(batch, Some(host)).await,
            Self::Sqlite(sqlite) => sqlite.write(batch).await,
        }
    }

    /// Looks whether an embedded store's file, opened to write, is still the one at its path, and opens what is there where it
    /// is not: cheap, and to be called now and then while nothing is written. [`Store::write`] looks itself. Engines have
    /// nothing to look at.
    ///
    /// # Errors
    /// As [`Store::write`], while there is no file to write to.
    pub async fn check(&self) -> Result<(), WriteError> {
        match self {
            Self::Engine(_) => Ok(()),
            Self::Sqlite(sqlite) => sqlite.check().await,
        }
    }

    /// Why there is nothing at an embedded store's path, where that is so: not yet, or not any more. An engine is never absent.
    ///
    /// # Errors
    /// [`SearchError::Refused`] when that can't be seen, such as for want of rights.
    pub async fn absence(&self) -> Result<Option<Absence>, SearchError> {
        match self {
            Self::Engine(_) => Ok(None),
            Self::Sqlite(sqlite) => sqlite.absence().await,
        }
    }

    /// Whether the embedded store's file is open. It is not while its disk has had no room to open it, and, for a moment, where
    /// its path was found to lead elsewhere. An engine is.
    #[must_use]
    pub fn is_open(&self) -> bool {
        match self {
            Self::Engine(_) => true,
            Self::Sqlite(sqlite) => sqlite.is_open(),
        }
    }

    /// How often the embedded store's file was found deleted, moved or replaced while it was open to write.
    #[must_use]
    pub fn file_changes(&self) -> FileChanges {
        match self {
            Self::Engine(_) => FileChanges::default(),
            Self::Sqlite(sqlite) => sqlite.file_changes(),
        }
    }

    /// Whether the store answers.
    ///
    /// # Errors
    /// When it does not, or with a no.
    pub async fn ready(&self) -> Result<(), ReadyError> {
        match self {
            Self::Engine(engine) => engine.ready().await,
            Self::Sqlite(sqlite) => sqlite.ready().await,
        }
    }

    /// Finds lines, of those that `scope` sees.
    ///
    /// # Errors
    /// When the store does not answer, refuses, or takes too long.
    pub async fn search(&self, scope: &Scope, search: &Search) -> Result<Page, SearchError> {
        match self {
            Self::Engine(engine) => engine.search(scope, search).await,
            Self::Sqlite(sqlite) => sqlite.search(scope, search).await,
        }
    }

    /// The fields that can be asked for beside the template's, as the user named them: a query is
    /// [parsed](crate::Filter::parse) with them.
    ///
    /// # Errors
    /// When the store does not answer, or refuses.
    pub async fn fields(&self) -> Result<NamedFields, SearchError> {
        match self {
            Self::Engine(engine) => engine.fields().await,
            Self::Sqlite(sqlite) => sqlite.fields().await,
        }
    }

    /// Counts lines by the values of fields, the `top` most frequent of each, at most [`MAX_TOP`](crate::counts::MAX_TOP).
    ///
    /// # Errors
    /// As [`Store::search`].
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

    /// Counts lines by level over time, in steps of whole milliseconds: those between the selection's times, or between
    /// its first line and its last where it does not say.
    ///
    /// # Errors
    /// As [`Store::search`].
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

    /// Figures of the requests whose access lines are selected, of all and of the `top` groups.
    ///
    /// # Errors
    /// As [`Store::search`].
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

    /// Counts lines by the [`pattern`](crate::pattern()) of their message, the `top` most frequent.
    ///
    /// # Errors
    /// As [`Store::search`].
    pub async fn patterns(&self, scope: &Scope, selection: &Selection, top: usize) -> Result<Patterns, SearchError> {
        match self {
            Self::Engine(engine) => engine.patterns(scope, selection, top).await,
            Self::Sqlite(sqlite) => sqlite.patterns(scope, selection, top).await,
        }
    }

    /// The lines of a source around a place, by offset: those that begin before it, then the one at `offset` or the next
    /// that may be seen, which needs no room among its lines, and those after that. For a scope that does
    /// not see all lines the embedded store goes no farther than [`AROUND_MAX_BYTES`](crate::search::AROUND_MAX_BYTES).
    ///
    /// # Errors
    /// As [`Store::search`].
    pub async fn around(
        &self,
        scope: &Scope,
        generation: GenerationId,
        offset: u64,
        (before, after): (Room, Room),
    ) -> Result<Around, SearchError> {
        match self {
            Self::Engine(engine) => engine.around(scope, generation, offset, (before, after)).await,
            Self::Sqlite(sqlite) => sqlite.around(scope, generation, offset, (before, after)).await,
        }
    }

    /// What came in since `place`, in that order, as much as there is room for; without a place, or with another
    /// store's, nothing, and the place to begin at. No line comes twice. Of an engine, a line whose number
    /// is seen after that of later ones may come two seconds late, and lines in indices older than the newest 64 are missed.
    ///
    /// # Errors
    /// As [`Store::search`].
    pub async fn tail(
        &self,
        scope: &Scope,
        filter: &Filter,
        place: Option<&TailPlace>,
        room: Room,
    ) -> Result<TailPage, SearchError> {
        match self {
            Self::Engine(engine) => engine.tail(scope, filter, place, room).await,
            Self::Sqlite(sqlite) => sqlite.tail(scope, filter, place, room).await,
        }
    }

    /// Makes everything that was written before this call findable, and says whether it may: with rights that do not
    /// reach so far, an engine shows it after its own interval, which is one second.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn refresh(&self) -> Result<bool, SearchError> {
        match self {
            Self::Engine(engine) => engine.refresh().await,
            Self::Sqlite(_) => Ok(true),
        }
    }

    /// What rests of the lines that begin in a range of a generation.
    ///
    /// # Errors
    /// When the store does not answer, refuses, or takes too long.
    pub async fn coverage(&self, generation: GenerationId, offsets: Range<u64>) -> Result<Coverage, SearchError> {
        match self {
            Self::Engine(engine) => engine.coverage(generation, offsets).await,
            Self::Sqlite(sqlite) => sqlite.coverage(generation, offsets).await,
        }
    }

    /// The same for each `step` bytes of the range that a line begins in, in order; steps are as much longer as it
    /// takes for them to be no more than [`MAX_STEPS`](crate::coverage::MAX_STEPS).
    ///
    /// # Errors
    /// As [`Store::coverage`].
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

    /// The places of the lines that begin in a range of a generation, in order, and at most `limit` or
    /// [`MAX_SPANS`](crate::coverage::MAX_SPANS) of them.
    ///
    /// # Errors
    /// As [`Store::coverage`].
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

    /// The place of the last line of a generation that begins before an offset.
    ///
    /// # Errors
    /// As [`Store::coverage`].
    pub async fn span_before(&self, generation: GenerationId, offset: u64) -> Result<Option<Span>, SearchError> {
        match self {
            Self::Engine(engine) => engine.span_before(generation, offset).await,
            Self::Sqlite(sqlite) => sqlite.span_before(generation, offset).await,
        }
    }

    /// The names of the indices that hold something; `None` of a store that has none.
    ///
    /// # Errors
    /// As [`Store::coverage`].
    pub async fn index_names(&self) -> Result<Option<BTreeSet<String>>, SearchError> {
        match self {
            Self::Engine(engine) => engine.index_names().await.map(Some),
            Self::Sqlite(_) => Ok(None),
        }
    }

    /// How often each of these lines rests here, in the order asked; at most [`MAX_IDS`](crate::coverage::MAX_IDS) at
    /// once.
    ///
    /// # Errors
    /// As [`Store::coverage`].
    pub async fn resting(&self, ids: &[LineId]) -> Result<Vec<Resting>, SearchError> {
        match self {
            Self::Engine(engine) => engine.resting(ids).await,
            Self::Sqlite(sqlite) => sqlite.resting(ids).await,
        }
    }

    /// Gives lines back in the order in which they came. Of an embedded store only; engines have tools of their own.
    ///
    /// # Errors
    /// As [`Store::search`].
    pub async fn export(&self, selection: &Selection, place: ExportPlace) -> Result<ExportPage, SearchError> {
        match self {
            Self::Engine(_) => Err(SearchError::Refused(Cause::new(0, "only an embedded store is exported"))),
            Self::Sqlite(sqlite) => sqlite.export(selection, place).await,
        }
    }

    /// Takes out what need not be kept, a little at a time; engines have a life cycle of their own and do nothing here.
    ///
    /// # Errors
    /// As [`Store::write`].
    pub async fn retain(&self, keep: &Keep, now: Timestamp) -> Result<Retained, WriteError> {
        match self {
            Self::Engine(_) => Ok(Retained::default()),
            Self::Sqlite(sqlite) => sqlite.retain(keep, now).await,
        }
    }

    /// What the store has removed itself of a generation. An engine's own life cycle keeps no record of that.
    ///
    /// # Errors
    /// As [`Store::coverage`].
    pub async fn removed(&self, generation: GenerationId) -> Result<Removed, SearchError> {
        match self {
            Self::Engine(_) => Ok(Removed::default()),
            Self::Sqlite(sqlite) => sqlite.removed(generation).await,
        }
    }
}
