//! The number of connections that the process's open file limit allows.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::server::connections::Room;

/// Descriptors reserved for the store, the log and listeners.
pub const KEPT: u64 = 32;

/// Descriptors reserved for each worker.
pub const KEPT_PER_WORKER: u64 = 4;

/// Maximum number of connections reserved for health checks and scrapes.
pub const RESERVE_MAX: usize = 32;

/// Minimum number of connections, whatever the limit is.
const LEAST: usize = 8;

/// The soft limit is raised to at most this.
const RAISED_MAX: u64 = 65_536;

/// Raises the soft limit of open files to the hard limit, and returns the result; none if there is no limit.
#[must_use]
pub fn raise_limit() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.unwrap_or(RAISED_MAX).min(RAISED_MAX);
    let current = limit.current?;
    if current >= wanted {
        return Some(current);
    }
    match setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: limit.maximum }) {
        Ok(()) => Some(wanted),
        Err(error) => {
            tracing::warn!(%error, "the open file limit can't be raised");
            Some(current)
        }
    }
}

/// The room for connections under a limit of open files, of which `wanted` are configured. Each connection may need a second
/// descriptor for a request to an engine.
#[must_use]
pub fn room(limit: Option<u64>, workers: u64, wanted: usize) -> Room {
    let Some(limit) = limit else { return Room { connections: wanted, reserve: RESERVE_MAX } };
    let all =
        usize::try_from(limit.saturating_sub(KEPT + KEPT_PER_WORKER * workers) / 2).unwrap_or(usize::MAX).max(LEAST);
    let reserve = RESERVE_MAX.min(all / 4);
    Room { connections: wanted.min(all - reserve), reserve }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_divided_into_connections_and_a_reserve() {
        let of = |limit: u64| room(Some(limit), 2, 1_024);
        assert_eq!(of(65_536), Room { connections: 1_024, reserve: 32 });
        assert_eq!(of(1_024), Room { connections: 460, reserve: 32 });
        assert_eq!(of(128), Room { connections: 33, reserve: 11 });
        assert_eq!(of(0), Room { connections: 6, reserve: 2 });
        assert_eq!(room(None, 2, 1_024), Room { connections: 1_024, reserve: 32 });
        assert_eq!(room(Some(65_536), 2, 10), Room { connections: 10, reserve: 32 });
    }
}
