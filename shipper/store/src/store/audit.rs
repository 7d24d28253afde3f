//! The audit face of a store: what only verification and export need.

use std::collections::BTreeSet;
use std::ops::Range;

use super::{Store, StoreKind};
use crate::counts::Selection;
use crate::coverage::{Coverage, DocumentCount};
use crate::disposition::Cause;
use crate::error::{OpenError, SearchError};
use crate::export::{ExportCursor, ExportPage};
use crate::id::{GenerationId, LineId};
use crate::settings::EngineSettings;
use crate::target::Target;

/// A log store, for comparing its content with what was sent, and for exporting it. Clones are cheap and share
/// connections.
#[derive(Clone, Debug)]
pub struct StoreAudit(pub(super) Store);

impl StoreAudit {
    /// Opens a store for auditing. See [`Store::open`].
    ///
    /// # Errors
    /// Same as [`Store::open`].
    pub async fn open(target: &Target, settings: &EngineSettings) -> Result<Self, OpenError> {
        Store::open(target, settings).await.map(Self)
    }

    /// Returns the same store for searching.
    #[must_use]
    pub fn reader(&self) -> &Store {
        &self.0
    }

    /// Returns the same store with all reads bound to one file. See [`Store::pinned`].
    #[must_use]
    pub fn pinned(&self) -> Self {
        Self(self.0.pinned())
    }

    /// Makes all earlier writes searchable. Returns `false` if the credentials do not allow it; an engine then
    /// refreshes at its own interval, one second.
    ///
    /// # Errors
    /// When the store does not respond.
    pub async fn refresh(&self) -> Result<bool, SearchError> {
        match &self.0.0 {
            StoreKind::Engine(engine) => engine.refresh().await,
            StoreKind::Sqlite(_) => Ok(true),
        }
    }

    /// Returns what is stored of the lines that begin in a range of a generation.
    ///
    /// # Errors
    /// When the store does not respond, refuses, or exceeds the time limit.
    pub async fn coverage(&self, generation: GenerationId, offsets: Range<u64>) -> Result<Coverage, SearchError> {
        match &self.0.0 {
            StoreKind::Engine(engine) => engine.coverage(generation, offsets).await,
            StoreKind::Sqlite(sqlite) => sqlite.coverage(generation, offsets).await,
        }
    }

    /// Returns the names of the non-empty indices, or `None` for a store without indices.
    ///
    /// # Errors
    /// Same as [`StoreAudit::coverage`].
    pub async fn index_names(&self) -> Result<Option<BTreeSet<String>>, SearchError> {
        match &self.0.0 {
            StoreKind::Engine(engine) => engine.index_names().await.map(Some),
            StoreKind::Sqlite(_) => Ok(None),
        }
    }

    /// Counts the stored documents of each id, in the given order, for at most [`MAX_IDS`](crate::coverage::MAX_IDS)
    /// ids.
    ///
    /// # Errors
    /// Same as [`StoreAudit::coverage`].
    pub async fn document_counts(&self, ids: &[LineId]) -> Result<Vec<DocumentCount>, SearchError> {
        match &self.0.0 {
            StoreKind::Engine(engine) => engine.document_counts(ids).await,
            StoreKind::Sqlite(sqlite) => sqlite.document_counts(ids).await,
        }
    }

    /// Returns a page of lines in the order in which the store received them. Embedded stores only; engines have their
    /// own tools.
    ///
    /// # Errors
    /// Same as [`Store::search`].
    pub async fn export(&self, selection: &Selection, place: ExportCursor) -> Result<ExportPage, SearchError> {
        match &self.0.0 {
            StoreKind::Engine(_) => Err(SearchError::Refused(Cause::new(0, "only embedded stores can be exported"))),
            StoreKind::Sqlite(sqlite) => sqlite.export(selection, place).await,
        }
    }
}
