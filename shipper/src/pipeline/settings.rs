//! What shapes the pipeline.

use std::time::Duration;

use crate::delivery::DeliverySettings;
use crate::encoding::LineEncoding;

/// What shapes the pipeline.
#[derive(Clone, Debug)]
pub struct PipelineSettings {
    /// Indices are named `<index_prefix>-YYYY.MM.DD`.
    pub index_prefix: String,
    /// A batch is done at so many lines,
    pub batch_max_lines: usize,
    /// or so many bytes of body,
    pub batch_max_bytes: usize,
    /// or this long after its first line was read.
    pub batch_max_age: Duration,
    /// Bytes of all batches together, above which nothing is read; one batch may go over it.
    pub in_flight_max_bytes: usize,
    /// Of a longer line, so many bytes are kept.
    pub line_max_bytes: usize,
    /// The encoding of files that begin with no byte order mark.
    pub encoding: LineEncoding,
    /// How often checkpoints are written down.
    pub checkpoint_interval: Duration,
    /// When batches go and go again.
    pub delivery: DeliverySettings,
}
