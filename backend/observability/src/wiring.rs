//! Builds [`Observability`] from its parts: registry, log writer, subscriber, panic hook and `/metrics`. This is the only
//! module that knows all of them.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_web::web::ServiceConfig;
use actix_web_prom::PrometheusMetrics;
use prometheus::Registry;
use thiserror::Error;
use tracing::{Dispatch, dispatcher};

use crate::logs;
use crate::logs::writer::{LogWriter, output};
use crate::metrics::exposition::{self, AdminServer};
use crate::metrics::requests::RequestMetrics;
use crate::metrics::runtime::{RuntimeCollector, Runtimes};
use crate::middleware::ObservabilityMiddleware;
use crate::settings::{ObservabilitySettings, SettingsError};

/// Flush timeout when the last handle is dropped.
const FLUSH_AT_EXIT: Duration = Duration::from_secs(2);

/// Reason why observability could not be started.
#[derive(Debug, Error)]
pub enum StartError {
    /// A setting is invalid.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The process already has a `tracing` subscriber or a `log` logger.
    #[error("a tracing subscriber or logger is already installed: start observability once, before any other")]
    AlreadyInstalled,
    /// The log output could not be opened, or its thread could not be started.
    #[error("can't write logs: {0}")]
    Logs(#[source] io::Error),
    /// The address in `ADMIN_LISTEN` could not be bound.
    #[error("can't listen on ADMIN_LISTEN={address}: {source}")]
    Admin {
        /// The configured address.
        address: SocketAddr,
        /// The operating system's error.
        source: io::Error,
    },
    /// A metric could not be registered.
    #[error("can't register metrics: {0}")]
    Metrics(String),
}

/// Handle to the running observability; cheap to clone. Keep one until the end of `main`: dropping the last one flushes
/// buffered log lines, for at most two seconds.
#[derive(Clone, Debug)]
pub struct Observability(Arc<Inner>);

struct Inner {
    settings: Arc<ObservabilitySettings>,
    registry: Registry,
    metrics: Arc<RequestMetrics>,
    runtimes: Runtimes,
    exposition: PrometheusMetrics,
    writer: LogWriter,
    admin: Option<AdminServer>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Observability").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.writer.flush(FLUSH_AT_EXIT);
    }
}

impl Observability {
    /// Starts observability with the defaults for `service`, overridden by environment variables
    /// (see [`ObservabilitySettings::VARIABLES`]). Call it once per process.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn from_env(service: &str) -> Result<Self, StartError> {
        Self::start(ObservabilitySettings::from_env(service)?)
    }

    /// Starts observability and installs the process's subscriber, `log` bridge and panic hook. Call it once per process.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn start(settings: ObservabilitySettings) -> Result<Self, StartError> {
        let output = output(settings.log_target).map_err(StartError::Logs)?;
        let (this, subscriber) = Self::detached(settings, output)?;
        dispatcher::set_global_default(subscriber).map_err(|_| StartError::AlreadyInstalled)?;
        tracing_log::LogTracer::init().map_err(|_| StartError::AlreadyInstalled)?;
        logs::panic::install_hook(this.0.writer.clone());
        Ok(this)
    }

    /// Starts observability without installing anything process-wide. Log lines go to `output`, and only code that runs
    /// under the returned subscriber is logged. Meant for programs with their own subscriber; tests use
    /// [`TestTelemetry`](crate::testing::TestTelemetry).
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn detached(
        settings: ObservabilitySettings,
        output: Box<dyn Write + Send>,
    ) -> Result<(Self, Dispatch), StartError> {
        settings.check()?;
        let metrics_error = |error: prometheus::Error| StartError::Metrics(error.to_string());
        let registry = Registry::new();
        let metrics = RequestMetrics::register(&settings, &registry).map_err(metrics_error)?;
        let runtimes = Runtimes::default();
        let collector = RuntimeCollector::new(&settings.service, runtimes.clone()).map_err(metrics_error)?;
        registry.register(Box::new(collector)).map_err(metrics_error)?;
        let writer = LogWriter::start(output, settings.log_buffer_bytes, &settings.service, &registry)
            .map_err(StartError::Logs)?;
        let subscriber = logs::subscriber(&settings, &writer)?;
        let exposition = exposition::exposition(&registry).map_err(StartError::Metrics)?;
        let admin = match settings.admin_listen {
            Some(address) => Some(
                AdminServer::start(address, exposition.clone())
                    .map_err(|source| StartError::Admin { address, source })?,
            ),
            None => None,
        };
        let (settings, metrics) = (Arc::new(settings), Arc::new(metrics));
        Ok((Self(Arc::new(Inner { settings, registry, metrics, runtimes, exposition, writer, admin })), subscriber))
    }

    /// Returns the middleware for `App::wrap`. Wrap it last, so that it is outermost and counts what is really sent.
    pub fn middleware(&self) -> ObservabilityMiddleware {
        ObservabilityMiddleware {
            settings: self.0.settings.clone(),
            metrics: self.0.metrics.clone(),
            runtimes: self.0.runtimes.clone(),
            check_required: false,
        }
    }

    /// Returns the configuration for `App::configure` that adds `GET /metrics`. It adds nothing if `ADMIN_LISTEN` is set,
    /// because that address serves the metrics then.
    pub fn metrics_route(&self) -> impl FnOnce(&mut ServiceConfig) + use<> {
        let exposition = self.0.admin.is_none().then(|| self.0.exposition.clone());
        move |app| {
            if let Some(exposition) = exposition {
                exposition::configure(exposition)(app);
            }
        }
    }

    /// The registry behind `/metrics`. Register the service's own metrics here.
    pub fn registry(&self) -> &Registry {
        &self.0.registry
    }

    /// The settings that observability was started with.
    pub fn settings(&self) -> &ObservabilitySettings {
        &self.0.settings
    }

    /// Bound address of the `ADMIN_LISTEN` server, if there is one.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.0.admin.as_ref().map(|admin| admin.address)
    }

    /// Waits until all lines logged so far are written or dropped; returns false on timeout. Call it before
    /// `std::process::exit`, which runs no destructors.
    pub fn flush(&self, timeout: Duration) -> bool {
        self.0.writer.flush(timeout)
    }
}
