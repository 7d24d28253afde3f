//! The write face of a store.

use super::{Store, StoreAudit, StoreKind};
use crate::batch::Batch;
use crate::bootstrap::{BootstrapError, BootstrapMode, BootstrapOutcome, BootstrapReport};
use crate::disposition::{Disposition, WriteError};
use crate::engine::Engine;
use crate::error::OpenError;
use crate::preflight::{Finding, PreflightReport};
use crate::settings::EngineSettings;
use crate::sqlite::{FileChanges, RetentionPolicy, RetentionStep, Sqlite};
use crate::target::Target;
use crate::timestamp::Timestamp;

/// A log store, for writing. Clones are cheap and share connections.
#[derive(Clone, Debug)]
pub struct StoreWriter(StoreKind);

impl StoreWriter {
    /// Opens a store for writing. An embedded store is created if it is missing. An engine is not contacted yet.
    ///
    /// # Errors
    /// When the store can't be created or opened, or the settings are invalid.
    pub async fn open(target: &Target, settings: &EngineSettings) -> Result<Self, OpenError> {
        match target {
            Target::Sqlite(path) => Sqlite::open_writer(path, settings).await.map(StoreKind::Sqlite).map(Self),
            Target::Engine(addresses) => Engine::new(addresses, settings).map(StoreKind::Engine).map(Self),
        }
    }

    /// Returns the same store for searching.
    #[must_use]
    pub fn reader(&self) -> Store {
        Store(self.0.clone())
    }

    /// Returns the same store for auditing.
    #[must_use]
    pub fn audit(&self) -> StoreAudit {
        StoreAudit(self.reader())
    }

    /// Puts in place what writing needs, or checks it: an engine's ingest pipeline and index template, and the
    /// user-named fields of the settings. The embedded store's tables already exist once it is open.
    ///
    /// # Errors
    /// When something is not in place afterwards.
    pub async fn bootstrap(&self, mode: BootstrapMode) -> Result<BootstrapReport, BootstrapError> {
        match &self.0 {
            StoreKind::Engine(engine) => engine.bootstrap(mode).await,
            StoreKind::Sqlite(sqlite) => {
                let template = sqlite.bootstrap(mode).await?;
                Ok(BootstrapReport { pipeline: BootstrapOutcome::NotUsed, template })
            }
        }
    }

    /// Checks, without changing anything, that lines would be stored correctly.
    ///
    /// # Errors
    /// When something is missing, foreign or forbidden, or the store does not respond. Facts that can't be determined
    /// are reported as findings.
    pub async fn preflight(&self) -> Result<PreflightReport, BootstrapError> {
        match &self.0 {
            StoreKind::Engine(engine) => engine.preflight().await,
            StoreKind::Sqlite(_) => Ok(PreflightReport {
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
        match &self.0 {
            StoreKind::Engine(engine) => engine.write(batch, None).await,
            StoreKind::Sqlite(sqlite) => sqlite.write(batch).await,
        }
    }

    /// Returns the hosts that [`StoreWriter::write_to`] accepts, without credentials: an engine's nodes in the order of its
    /// addresses, or the embedded store alone.
    #[must_use]
    pub fn hosts(&self) -> Vec<String> {
        match &self.0 {
            StoreKind::Engine(engine) => engine.hosts(),
            StoreKind::Sqlite(_) => vec!["embedded".to_owned()],
        }
    }

    /// Writes a batch through one host, given by its index in [`StoreWriter::hosts`].
    ///
    /// # Errors
    /// Same as [`StoreWriter::write`]; also when no such host.
    pub async fn write_to(&self, host: usize, batch: &Batch) -> Result<Vec<Disposition>, WriteError> {
        match &self.0 {
            StoreKind::Engine(engine) => engine.write(batch, Some(host)).await,
            StoreKind::Sqlite(sqlite) => sqlite.write(batch).await,
        }
    }

    /// Checks that an embedded store's open file is still the one at its path, and reopens the path otherwise. The
    /// check is cheap; call it regularly while nothing is written. [`StoreWriter::write`] does the same check. Engines have
    /// nothing to check.
    ///
    /// # Errors
    /// Same as [`StoreWriter::write`], while there is no file to write to.
    pub async fn check(&self) -> Result<(), WriteError> {
        match &self.0 {
            StoreKind::Engine(_) => Ok(()),
            StoreKind::Sqlite(sqlite) => sqlite.check().await,
        }
    }

    /// Whether the embedded store's file is open. It is not while its disk is too full to open it, and briefly after
    /// the path was found to lead to another file. Always true for an engine.
    #[must_use]
    pub fn is_open(&self) -> bool {
        match &self.0 {
            StoreKind::Engine(_) => true,
            StoreKind::Sqlite(sqlite) => sqlite.is_open(),
        }
    }

    /// Returns how often the embedded store's file was deleted, moved or replaced while it was open for writing.
    #[must_use]
    pub fn file_changes(&self) -> FileChanges {
        match &self.0 {
            StoreKind::Engine(_) => FileChanges::default(),
            StoreKind::Sqlite(sqlite) => sqlite.file_changes(),
        }
    }

    /// Runs one step of retention. Does nothing on engines, which have their own lifecycle management.
    ///
    /// # Errors
    /// Same as [`StoreWriter::write`].
    pub async fn retain(&self, policy: &RetentionPolicy, now: Timestamp) -> Result<RetentionStep, WriteError> {
        match &self.0 {
            StoreKind::Engine(_) => Ok(RetentionStep::default()),
            StoreKind::Sqlite(sqlite) => sqlite.retain(policy, now).await,
        }
    }
}
