//! One store over both kinds.

use std::ops::Range;

use crate::batch::Batch;
use crate::bootstrap::{BootstrapError, BootstrapMode, BootstrapReport, Outcome};
use crate::coverage::{Coverage, Removed, Resting, Span};
use crate::disposition::{Disposition, WriteError};
use crate::engine::Engine;
use crate::error::{OpenError, ReadyError, SearchError};
use crate::id::{GenerationId, LineId};
use crate::scope::Scope;
use crate::search::{Page, Search};
use crate::settings::EngineSettings;
use crate::sqlite::Sqlite;
use crate::target::Target;

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
    /// Opens a store to write to and to search. The embedded store's folder, file and tables are made if they are not
    /// there; an engine is not spoken to yet.
    ///
    /// # Errors
    /// When the store can't be made or opened, or the settings can't be used.
    pub async fn open_writer(target: &Target, settings: &EngineSettings) -> Result<Self, OpenError> {
        match target {
            Target::Sqlite(path) => Sqlite::open_writer(path).await.map(Self::Sqlite),
            Target::Engine(addresses) => Engine::new(addresses, settings).map(Self::Engine),
        }
    }

    /// Opens a store to search only. An embedded store's file that is not there yet reads as empty, and is found when
    /// it appears.
    ///
    /// # Errors
    /// When there is a file that can't be read as a store, or the settings can't be used.
    pub async fn open_reader(target: &Target, settings: &EngineSettings) -> Result<Self, OpenError> {
        match target {
            Target::Sqlite(path) => Sqlite::open_reader(path).await.map(Self::Sqlite),
            Target::Engine(addresses) => Engine::new(addresses, settings).map(Self::Engine),
        }
    }

    /// Puts in place what writing needs, or checks it: an engine's pipeline and template. The embedded store has its
    /// tables since it was opened.
    ///
    /// # Errors
    /// When it is not in place afterwards.
    pub async fn bootstrap(&self, mode: BootstrapMode) -> Result<BootstrapReport, BootstrapError> {
        match self {
            Self::Engine(engine) => engine.bootstrap(mode).await,
            Self::Sqlite(_) => Ok(BootstrapReport { pipeline: Outcome::NotUsed, template: Outcome::InPlace }),
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
            Self::Engine(engine) => engine.write(batch).await,
            Self::Sqlite(sqlite) => sqlite.write(batch).await,
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
