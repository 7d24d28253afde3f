//! Waiting for a condition, bounded. No test sleeps for a fixed time to be right.

use std::time::{Duration, Instant};

/// How long a condition may take by default. Generous, since it is only used up by a failure.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How often a condition is looked at.
const INTERVAL: Duration = Duration::from_millis(20);

/// Polls until `look` finds something and returns it; panics with `what` when it finds nothing within [`PATIENCE`].
#[track_caller]
pub fn until<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    until_within(PATIENCE, what, look)
}

/// As [`until`], with its own limit, for what has to happen within a time.
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

/// As [`until`], for what can say why it is not there yet; the last reason is in the panic.
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
