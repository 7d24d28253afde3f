//! Elasticsearch or OpenSearch, through the `elasticsearch` crate.

use url::Url;

use crate::batch::Batch;
use crate::bootstrap::{BootstrapError, BootstrapMode, BootstrapReport};
use crate::disposition::{Cause, Disposition, WriteError};
use crate::error::{OpenError, ReadyError, SearchError};
use crate::search::{Page, Search};
use crate::settings::EngineSettings;

/// A cluster's client. A copy is cheap and shares its connections.
#[derive(Clone, Debug)]
pub struct Engine {
    settings: EngineSettings,
}

impl Engine {
    pub(crate) fn new(_addresses: &[Url], settings: &EngineSettings) -> Result<Self, OpenError> {
        Ok(Self { settings: settings.clone() })
    }

    pub(crate) async fn bootstrap(&self, _mode: BootstrapMode) -> Result<BootstrapReport, BootstrapError> {
        Err(BootstrapError::Unavailable(self.unfinished()))
    }

    pub(crate) async fn write(&self, _batch: &Batch) -> Result<Vec<Disposition>, WriteError> {
        Err(WriteError::Unavailable(self.unfinished()))
    }

    pub(crate) async fn ready(&self) -> Result<(), ReadyError> {
        Err(ReadyError::Unavailable(self.unfinished()))
    }

    pub(crate) async fn search(&self, _search: &Search) -> Result<Page, SearchError> {
        Err(SearchError::Unavailable(self.unfinished()))
    }

    fn unfinished(&self) -> Cause {
        Cause::new(0, format!("engines are not served yet ({})", self.settings.index_prefix))
    }
}
