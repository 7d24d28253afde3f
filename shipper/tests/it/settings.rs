//! Settings of the pipeline for tests with real files and a controlled clock.

use std::time::Duration;

use shipper::delivery::DeliverySettings;
use shipper::encoding::LineEncoding;
use shipper::pipeline::PipelineSettings;

/// One request at a time, with at most this many lines, retried at once.
pub(crate) fn pipeline_settings(batch_max_lines: usize) -> PipelineSettings {
    PipelineSettings {
        encoding: LineEncoding::default(),
        index_prefix: "app-logs".to_owned(),
        batch_max_lines,
        batch_max_bytes: 1 << 20,
        batch_max_age: Duration::from_millis(50),
        in_flight_max_bytes: 1 << 22,
        line_max_bytes: 1 << 20,
        checkpoint_interval: Duration::from_millis(100),
        delivery: DeliverySettings {
            hosts: Vec::new(),
            poison_attempts: 4,
            poison_span: Duration::from_secs(60),
            requests_in_flight: 1,
            retry_min: Duration::from_millis(1),
            retry_max: Duration::from_millis(1),
        },
    }
}
