//! Random numbers. The stages receive a source of them, so that a simulation can repeat a run.

/// A source of random numbers.
pub type Random = Box<dyn FnMut() -> u64 + Send>;
