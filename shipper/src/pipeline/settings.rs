//! The settings of the pipeline.

use std::time::Duration;

use crate::delivery::DeliverySettings;
use crate::encoding::LineEncoding;

/// The settings of the pipeline.
#[derive(Clone, Debug)]
pub struct PipelineSettings {
    /// Indices are named `<index_prefix>-YYYY.MM.DD`.
    pub index_prefix: String,
    /// A batch is flushed after this many lines,
    pub batch_max_lines: usize,
    /// this many bytes of body,
    pub batch_max_bytes: usize,
    /// or this long after its first line was read.
    pub batch_max_age: Duration,
    /// Maximum total size of all batches; reading pauses above it. One batch may exceed it.
    pub in_flight_max_bytes: usize,
    /// Lines longer than this many bytes are truncated.
    pub line_max_bytes: usize,
    /// The encoding of files without a byte order mark.
    pub encoding: LineEncoding,
    /// Interval between checkpoints.
    pub checkpoint_interval: Duration,
    /// The settings of delivery.
    pub delivery: DeliverySettings,
}
