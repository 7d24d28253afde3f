//! Logging: the [`filter`] selects events, the [`layer`] formats each as a record (with [`line`], [`escape`] and
//! [`clock`]), and the [`writer`] buffers the records and writes them on its own thread. [`panic`] logs panics.

pub(crate) mod clock;
pub(crate) mod escape;
pub(crate) mod layer;
pub(crate) mod line;
pub(crate) mod panic;
pub(crate) mod writer;

use tracing::Dispatch;
use tracing_bunyan_formatter::{BunyanFormattingLayer, JsonStorageLayer};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Layer, Registry};

pub(crate) use layer::with_context;

use crate::log_filter::LogFilter;
use crate::settings::{LogFormat, ObservabilitySettings, SettingsError};
use layer::RecordLayer;
use writer::LogWriter;

/// Creates the configured subscriber, which logs to `writer`.
pub(crate) fn subscriber(settings: &ObservabilitySettings, writer: &LogWriter) -> Result<Dispatch, SettingsError> {
    Ok(match settings.filter()? {
        LogFilter::Targets(filter) => filtered(*filter, settings, writer),
        LogFilter::Spans(filter) => filtered(*filter, settings, writer),
    })
}

fn filtered<F>(filter: F, settings: &ObservabilitySettings, writer: &LogWriter) -> Dispatch
where
    F: Layer<Registry> + Send + Sync,
{
    let filtered = Registry::default().with(filter);
    match settings.log_format {
        LogFormat::Json => Dispatch::new(filtered.with(RecordLayer::new(&settings.service, writer.clone()))),
        LogFormat::Bunyan => {
            let stock = BunyanFormattingLayer::new(settings.service.clone(), writer.clone());
            Dispatch::new(filtered.with(JsonStorageLayer).with(stock))
        }
    }
}
