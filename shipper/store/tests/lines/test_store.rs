//! All faces of one store in one value, for tests.

use std::ops::{Deref, Range};

use store::{
    Batch, BootstrapError, BootstrapMode, BootstrapReport, Coverage, Disposition, EngineSettings, GenerationId,
    OpenError, PreflightReport, SearchError, Store, StoreAudit, StoreWriter, Target, WriteError,
};

/// A store that can be written to, searched and audited.
#[derive(Clone, Debug)]
pub(crate) struct TestStore {
    pub(crate) writer: StoreWriter,
    reader: Store,
    pub(crate) audit: StoreAudit,
}

impl Deref for TestStore {
    type Target = Store;

    fn deref(&self) -> &Store {
        &self.reader
    }
}

impl TestStore {
    pub(crate) async fn open(target: &Target, settings: &EngineSettings) -> Result<Self, OpenError> {
        let writer = StoreWriter::open(target, settings).await?;
        Ok(Self { reader: writer.reader(), audit: writer.audit(), writer })
    }

    pub(crate) async fn write(&self, batch: &Batch) -> Result<Vec<Disposition>, WriteError> {
        self.writer.write(batch).await
    }

    pub(crate) async fn write_to(&self, host: usize, batch: &Batch) -> Result<Vec<Disposition>, WriteError> {
        self.writer.write_to(host, batch).await
    }

    pub(crate) async fn bootstrap(&self, mode: BootstrapMode) -> Result<BootstrapReport, BootstrapError> {
        self.writer.bootstrap(mode).await
    }

    pub(crate) async fn preflight(&self) -> Result<PreflightReport, BootstrapError> {
        self.writer.preflight().await
    }

    pub(crate) async fn refresh(&self) -> Result<bool, SearchError> {
        self.audit.refresh().await
    }

    pub(crate) async fn coverage(
        &self,
        generation: GenerationId,
        offsets: Range<u64>,
    ) -> Result<Coverage, SearchError> {
        self.audit.coverage(generation, offsets).await
    }
}
