//! Helpers for a service's tests of its own telemetry; see the [crate documentation](crate#testing-your-telemetry).

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus::proto::{Metric, MetricType};
use prometheus::{Encoder as _, TextEncoder};
use serde_json::Value;
use tracing::Dispatch;
use tracing::dispatcher::{DefaultGuard, set_default};

use crate::settings::ObservabilitySettings;
use crate::wiring::{Observability, StartError};

/// Maximum time to wait for the log writer, which has nothing slower than memory to write to.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(20);

/// Captures the log lines and metrics of one test, apart from those of other tests in the process.
///
/// Nothing is installed process-wide: there is no panic hook, and records of the `log` crate are not captured.
#[derive(Debug)]
pub struct TestTelemetry {
    observability: Observability,
    subscriber: Dispatch,
    output: SharedOutput,
}

impl TestTelemetry {
    /// Starts with the default settings for a service of this name. Environment variables are ignored.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn new(service: &str) -> Result<Self, StartError> {
        Self::with_settings(ObservabilitySettings::new(service))
    }

    /// Starts with these settings. [`log_target`](ObservabilitySettings::log_target) has no effect.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn with_settings(settings: ObservabilitySettings) -> Result<Self, StartError> {
        let output = SharedOutput::default();
        let (observability, subscriber) = Observability::detached(settings, Box::new(output.clone()))?;
        Ok(Self { observability, subscriber, output })
    }

    /// The handle to build the app with, as in the service's `main`.
    pub fn observability(&self) -> &Observability {
        &self.observability
    }

    /// The subscriber that captures log lines, for code on other threads (`tracing::dispatcher::with_default`).
    pub fn subscriber(&self) -> &Dispatch {
        &self.subscriber
    }

    /// Captures the log lines of this thread until the guard is dropped.
    #[must_use = "log lines are captured until the guard is dropped"]
    pub fn capture(&self) -> DefaultGuard {
        set_default(&self.subscriber)
    }

    /// All log output so far, one record per line.
    ///
    /// # Panics
    /// Panics if the log writer does not finish within 20 seconds.
    pub fn log_text(&self) -> String {
        assert!(self.observability.flush(FLUSH_TIMEOUT), "log lines were not written within {FLUSH_TIMEOUT:?}");
        let bytes = self.output.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// All log lines so far, in order.
    ///
    /// # Panics
    /// Panics if a line is not valid JSON, or as [`log_text`](Self::log_text) does.
    pub fn log_lines(&self) -> Vec<Value> {
        let text = self.log_text();
        let parse = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("invalid JSON: {error}: {line}"));
        text.lines().map(parse).collect()
    }

    /// All log lines so far with this message, in order.
    ///
    /// # Panics
    /// As [`log_lines`](Self::log_lines).
    pub fn lines_with_message(&self, message: &str) -> Vec<Value> {
        self.log_lines().into_iter().filter(|line| line["message"] == message).collect()
    }

    /// All access lines so far, in order.
    ///
    /// # Panics
    /// As [`log_lines`](Self::log_lines).
    pub fn access_lines(&self) -> Vec<Value> {
        self.log_lines().into_iter().filter(|line| line["target"] == "access").collect()
    }

    /// Sum of a metric over all label sets with these labels; 0 if there is none. Of a histogram or summary it is the
    /// number of observations.
    pub fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let families = self.observability.registry().gather();
        let Some(family) = families.iter().find(|family| family.name() == name) else { return 0.0 };
        let value = |metric: &Metric| match family.get_field_type() {
            MetricType::COUNTER => metric.get_counter().get_value(),
            MetricType::GAUGE => metric.get_gauge().get_value(),
            MetricType::HISTOGRAM => metric.get_histogram().get_sample_count() as f64,
            MetricType::SUMMARY => metric.get_summary().sample_count() as f64,
            MetricType::UNTYPED => 0.0,
        };
        family.get_metric().iter().filter(|metric| has_labels(metric, labels)).map(value).sum()
    }

    /// The registry's metrics in Prometheus text format: what `/metrics` serves, without the process metrics.
    ///
    /// # Panics
    /// Panics if a metric can't be encoded.
    pub fn metrics_text(&self) -> String {
        let mut text = Vec::new();
        let encoded = TextEncoder::new().encode(&self.observability.registry().gather(), &mut text);
        encoded.unwrap_or_else(|error| panic!("can't encode metrics: {error}"));
        String::from_utf8_lossy(&text).into_owned()
    }
}

fn has_labels(metric: &Metric, labels: &[(&str, &str)]) -> bool {
    let has = |(name, value): &(&str, &str)| {
        metric.get_label().iter().any(|label| label.name() == *name && label.value() == *value)
    };
    labels.iter().all(has)
}

/// Log output in memory.
#[derive(Clone, Debug, Default)]
struct SharedOutput(Arc<Mutex<Vec<u8>>>);

impl Write for SharedOutput {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
