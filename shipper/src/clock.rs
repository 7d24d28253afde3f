//! Time as the stages get it: handed in by whoever runs them, never asked of a clock.

use std::time::{Duration, Instant};

use store::Timestamp;

/// One reading of both clocks.
#[derive(Clone, Copy, Debug)]
pub struct ClockReading {
    /// The calendar's time, which may jump; for what is written down.
    pub wall: Timestamp,
    /// Time since some fixed moment, which never goes back; for intervals and deadlines.
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
    /// Now.
    #[must_use]
    pub fn now(&self) -> ClockReading {
        ClockReading { wall: Timestamp::now(), elapsed: self.started.elapsed() }
    }
}
