//! The clock. The stages receive its readings and never read a clock themselves.

use std::time::{Duration, Instant};

use store::Timestamp;

/// A reading of both clocks.
#[derive(Clone, Copy, Debug)]
pub struct ClockReading {
    /// Wall-clock time, which may jump; for timestamps.
    pub wall: Timestamp,
    /// Monotonic time since some fixed moment; for intervals and deadlines.
    pub elapsed: Duration,
}

/// Reads both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started: Instant,
}

impl Default for Clock {
    fn default() -> Self {
        Self { started: Instant::now() }
    }
}

impl Clock {
    /// Reads both clocks.
    #[must_use]
    pub fn now(&self) -> ClockReading {
        ClockReading { wall: Timestamp::now(), elapsed: self.started.elapsed() }
    }
}
