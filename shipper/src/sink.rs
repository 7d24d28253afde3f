//! The store as the pipeline's requests find it: opened once, and made ready before its first batch.
//!
//! A start waits for it no longer than [`START_PATIENCE`]: whoever is carried is not held up by a store that hangs. What is
//! not ready by then is made ready before the first batch, which waits in the spool meanwhile.

use std::time::Duration;

use store::{BootstrapError, BootstrapMode, Cause, CauseKind, Disposition, Finding, StoreWriter, Target, WriteError};

use crate::config::{Bootstrap, Settings};
use crate::delivery::hosts::HostId;
use crate::shipper::StartError;

/// How long a start waits for the store to be made ready, or refused.
const START_PATIENCE: Duration = Duration::from_secs(3);

/// The store, made ready before its first batch.
pub(crate) struct Sink {
    store: StoreWriter,
    bootstrap: Option<BootstrapMode>,
    is_ready: tokio::sync::Mutex<bool>,
}

impl Sink {
    /// Opens the store and makes it ready; one that does not answer is made ready before its first batch.
    pub(crate) async fn open(settings: &Settings) -> Result<Self, StartError> {
        let store = StoreWriter::open(settings.to(), &settings.engine()).await;
        let store = store.map_err(|error| StartError::Store(error.to_string()))?;
        let bootstrap = match settings.bootstrap() {
            Bootstrap::Apply => Some(BootstrapMode::Apply),
            Bootstrap::Check => Some(BootstrapMode::Check),
            Bootstrap::Off => None,
        };
        let sink = Self { store, bootstrap, is_ready: tokio::sync::Mutex::new(false) };
        if sink.bootstrap.is_none() {
            tell_unproven(settings);
        }
        let Ok(ready) = tokio::time::timeout(START_PATIENCE, sink.make_ready()).await else {
            let seconds = START_PATIENCE.as_secs();
            tracing::warn!(to = %settings.to(), seconds, "the store has not answered yet, and the start does not wait longer: lines wait for it");
            return Ok(sink);
        };
        match ready {
            Ok(()) => {}
            Err(BootstrapError::Unavailable(reason)) => {
                tracing::warn!(to = %settings.to(), %reason, "the store does not answer yet: lines wait for it");
            }
            // These come and go without anybody touching the shipper; the service it carries is not to fall with them.
            Err(BootstrapError::Refused(cause)) if comes_and_goes(&cause) => {
                tracing::warn!(to = %settings.to(), reason = %cause, "the store takes nothing from this shipper yet: lines wait");
            }
            // A full disk is waited for as a store that does not answer.
            Err(error) if !sink.store.is_open() => {
                tracing::warn!(to = %settings.to(), reason = %error, "the store's disk has no room to open it: lines wait");
            }
            Err(error) => return Err(StartError::Bootstrap(error.to_string())),
        }
        Ok(sink)
    }

    /// The store's hosts, by name.
    pub(crate) fn hosts(&self) -> Vec<String> {
        self.store.hosts()
    }

    async fn make_ready(&self) -> Result<(), BootstrapError> {
        let mut is_ready = self.is_ready.lock().await;
        if let (false, Some(mode)) = (*is_ready, self.bootstrap) {
            self.store.bootstrap(mode).await?;
            let report = self.store.preflight().await?;
            for (what, finding) in report.findings() {
                match finding {
                    Finding::Unproven(why) => tracing::info!(what, %why, "the store could not be asked"),
                    Finding::Blocked(why) => tracing::warn!(what, %why, "the store takes no lines at the moment"),
                    Finding::Proven | Finding::NotUsed => {}
                }
            }
        }
        *is_ready = true;
        Ok(())
    }

    /// The store itself.
    pub(crate) fn store(&self) -> &StoreWriter {
        &self.store
    }

    /// Writes a batch to one of the store's hosts.
    pub(crate) async fn write(&self, host: HostId, batch: &store::Batch) -> Result<Vec<Disposition>, WriteError> {
        match self.make_ready().await {
            Ok(()) => self.store.write_to(host.0, batch).await,
            Err(BootstrapError::Unavailable(cause)) => Err(WriteError::Unavailable(cause)),
            Err(BootstrapError::Refused(cause)) => Err(WriteError::Refused(cause)),
        }
    }
}

/// Rights and blocks, and what a proxy in between sends elsewhere for a while.
fn comes_and_goes(cause: &Cause) -> bool {
    matches!(cause.kind, CauseKind::Rights | CauseKind::Block) || (300..=399).contains(&cause.status)
}

/// Says what nobody has looked at where the settings want no look.
fn tell_unproven(settings: &Settings) {
    if matches!(settings.to(), Target::Engine(_)) {
        tracing::warn!(
            to = %settings.to(),
            "bootstrap is off: nothing is proven of the store. Whether its ingest pipeline and index template are there and are \
             this program's, what the pipeline makes of lines, whether the credentials may write, and whether indices and \
             cluster take lines, shows only when lines go there, and lines that come out wrong are not told; \
             `shipper preflight` proves it"
        );
    } else if settings.engine().fields.is_some() {
        tracing::warn!(to = %settings.to(), "bootstrap is off: whether the store knows the fields that are named is not proven");
    }
}
