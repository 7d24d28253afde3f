//! Bounded waiting for conditions. No test relies on a fixed sleep.

use std::time::{Duration, Instant};

/// Default timeout. It is generous, because only a failure uses it up.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Polling interval.
const INTERVAL: Duration = Duration::from_millis(20);

/// Polls until `look` returns a value, and returns it. Panics with `what` after [`PATIENCE`].
#[track_caller]
pub fn until<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    until_within(PATIENCE, what, look)
}

/// As [`until`], with another timeout.
#[track_caller]
pub fn until_within<T>(limit: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {limit:?}: {what}");
        std::thread::sleep(INTERVAL);
    }
}

/// As [`until`], for conditions that return a reason while they do not hold. The panic has the last reason.
#[track_caller]
pub fn until_ok<T>(what: &str, mut look: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match look() {
            Ok(found) => return found,
            Err(reason) => assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}: {reason}"),
        }
        std::thread::sleep(INTERVAL);
    }
}
