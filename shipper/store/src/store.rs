//! One store over both kinds.

use crate::batch::Batch;
use crate::bootstrap::{BootstrapError, BootstrapMode, BootstrapReport, Outcome};
use crate::disposition::{Disposition, WriteError};
use crate::engine::Engine;
use crate::error::{OpenError, ReadyError, SearchError};
use crate::search::{Page, Search};
use crate::settings::EngineSettings;
use crate::sqlite::Sqlite;
use crate::target::Target;

/// Where logs rest. A copy is cheap and leads to the same store.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use store::{EngineSettings, Search, Store, Target};
///
/// let target: Target = "sqlite:/nowhere/logs.db".parse()?;
/// let store = Store::open_reader(&target, &EngineSettings::default()).await?;
/// let page = store.search(&Search { request_id: Some("demo-1".into()), ..Search::default() }).await?;
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

    /// Finds lines.
    ///
    /// # Errors
    /// When the store does not answer, refuses, or takes too long.
    pub async fn search(&self, search: &Search) -> Result<Page, SearchError> {
        match self {
            Self::Engine(engine) => engine.search(search).await,
            Self::Sqlite(sqlite) => sqlite.search(search).await,
        }
    }
}
