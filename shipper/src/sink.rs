//! The store as used by the pipeline: opened once, and bootstrapped before its first batch.
//!
//! Startup waits for the store for [`START_PATIENCE`] at most, so that a store that hangs does not delay the service.
//! If it is not ready by then, it is bootstrapped before the first batch, which stays in the spool meanwhile.

use std::time::Duration;

use store::{BootstrapError, BootstrapMode, Cause, CauseKind, Disposition, Finding, StoreWriter, Target, WriteError};

use crate::config::{Bootstrap, Settings};
use crate::delivery::hosts::HostId;
use crate::start_error::StartError;

/// How long startup waits for the bootstrap to succeed or fail.
const START_PATIENCE: Duration = Duration::from_secs(3);

/// The store, bootstrapped before its first batch.
pub(crate) struct Sink {
    store: StoreWriter,
    bootstrap: Option<BootstrapMode>,
    is_ready: tokio::sync::Mutex<bool>,
}

impl Sink {
    /// Opens and bootstraps the store. One that does not respond is bootstrapped before its first batch.
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
            warn_unchecked(settings);
        }
        let Ok(ready) = tokio::time::timeout(START_PATIENCE, sink.make_ready()).await else {
            let seconds = START_PATIENCE.as_secs();
            tracing::warn!(to = %settings.to(), seconds, "store has not responded yet: lines stay pending");
            return Ok(sink);
        };
        match ready {
            Ok(()) => {}
            Err(BootstrapError::Unavailable(reason)) => {
                tracing::warn!(to = %settings.to(), %reason, "store unavailable: lines stay pending");
            }
            // These may end without a change to the shipper, and must not stop the service that it runs.
            Err(BootstrapError::Refused(cause)) if is_temporary(&cause) => {
                tracing::warn!(to = %settings.to(), reason = %cause, "store rejects this shipper: lines stay pending");
            }
            // A full disk is treated like a store that does not respond.
            Err(error) if !sink.store.is_open() => {
                tracing::warn!(to = %settings.to(), reason = %error, "store disk full: lines stay pending");
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
                    Finding::Unproven(why) => tracing::info!(what, %why, "preflight check not possible"),
                    Finding::Blocked(why) => tracing::warn!(what, %why, "preflight check failed: lines stay pending"),
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

/// Permissions and blocks, and redirects of a proxy, may be temporary.
fn is_temporary(cause: &Cause) -> bool {
    matches!(cause.kind, CauseKind::Rights | CauseKind::Block) || (300..=399).contains(&cause.status)
}

/// Warns that nothing was checked if the settings disable it.
fn warn_unchecked(settings: &Settings) {
    if matches!(settings.to(), Target::Engine(_)) {
        tracing::warn!(
            to = %settings.to(),
            advice = "run `shipper preflight` to check pipeline, template, credentials and blocks",
            "bootstrap is off: the store is not checked, so lines may be rejected or stored incorrectly without a warning"
        );
    } else if settings.engine().fields.is_some() {
        tracing::warn!(to = %settings.to(), "bootstrap is off: the fields of the store are not checked");
    }
}
