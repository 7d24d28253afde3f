//! The limit on open files. The shipper raises its own soft limit to the hard limit, and a command that it runs gets
//! the original limit.

use std::io;
use std::sync::OnceLock;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use shipper::config::Settings;
use store::Target;

use crate::exit::{Exit, Failure};

/// Maximum soft limit that is requested. Files and sockets need far fewer.
const SOFT_LIMIT_MAX: u64 = 65_536;

/// Maximum number of connections to the admin port. Further ones wait until one is closed.
pub(crate) const ADMIN_CONNECTIONS_MAX: usize = 64;

/// Descriptors that do not depend on settings: standard streams, the runtime, the locks and journals of the state
/// directory, dead letters, the embedded store, name resolution, a folder being listed.
const OWN_DESCRIPTORS: u64 = 64;

/// Minimum limit for all subcommands.
const MIN_LIMIT: u64 = 32;

/// The soft limit that this process was started with.
static INHERITED: OnceLock<Option<u64>> = OnceLock::new();

/// The soft limit on open files that this process was started with; `None` if unlimited.
pub(crate) fn inherited() -> Option<u64> {
    *INHERITED.get_or_init(|| getrlimit(Resource::Nofile).current)
}

/// Raises the soft limit and returns the one in force; `None` if unlimited.
pub(crate) fn raise() -> Option<u64> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let current = inherited()?;
    let wanted = maximum.unwrap_or(SOFT_LIMIT_MAX).min(SOFT_LIMIT_MAX);
    if wanted <= current {
        tracing::debug!(soft_limit = current, hard_limit = maximum, "open file limit kept");
        return Some(current);
    }
    match setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum }) {
        Ok(()) => {
            tracing::debug!(from = current, soft_limit = wanted, hard_limit = maximum, "open file limit raised");
            Some(wanted)
        }
        Err(error) => {
            tracing::warn!(%error, soft_limit = current, "open file limit could not be raised");
            Some(current)
        }
    }
}

/// Rejects a limit that is too low for the runtime itself.
///
/// # Errors
/// The limit, and what to do.
pub(crate) fn check_minimum() -> Result<(), Failure> {
    match getrlimit(Resource::Nofile).current {
        Some(limit) if limit < MIN_LIMIT => Err(Failure::new(
            Exit::OpenFiles,
            format!(
                "the limit on open files is {limit}, the minimum is {MIN_LIMIT}: raise it (ulimit -n, LimitNOFILE)"
            ),
        )),
        _ => Ok(()),
    }
}

/// Restores the original soft limit, for a command that is about to be executed in this process.
///
/// # Errors
/// The error of the system.
pub(crate) fn restore(inherited: Option<u64>) -> io::Result<()> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == inherited {
        return Ok(());
    }
    Ok(setrlimit(Resource::Nofile, Rlimit { current: inherited, maximum })?)
}

/// The limit as text, for the process that executes the command.
pub(crate) fn to_text(limit: Option<u64>) -> String {
    limit.map_or_else(|| UNLIMITED.to_owned(), |limit| limit.to_string())
}

/// Parses a limit.
pub(crate) fn from_text(text: &str) -> Option<Option<u64>> {
    if text == UNLIMITED { Some(None) } else { text.parse().ok().map(Some) }
}

/// Stands for no limit, as in a shell's `ulimit`.
const UNLIMITED: &str = "unlimited";

/// Limits the files held open to what the system allows, minus a reserve for all other descriptors.
pub(crate) fn limit_files(settings: &mut Settings, system_limit: Option<u64>) {
    let Some(system_limit) = system_limit else { return };
    let reserve = reserve(settings);
    let available = usize::try_from(available(system_limit, reserve)).unwrap_or(usize::MAX);
    let files = settings.files();
    if available < files.max_open_files {
        if !files.patterns.is_empty() {
            tracing::warn!(
                system_limit,
                reserve,
                wanted = files.max_open_files,
                max_open_files = available,
                "max_open_files lowered to the system limit: raise the hard limit (ulimit -Hn, LimitNOFILE) or lower max_open_files"
            );
        }
        settings.limit_open_files(available);
    }
}

/// Descriptors reserved for sockets, the spool, the store and the admin port.
fn reserve(settings: &Settings) -> u64 {
    let hosts = match settings.to() {
        Target::Engine(addresses) => addresses.len(),
        Target::Sqlite(_) => 0,
    };
    // Each host has its requests in flight, and a probe while it is ejected.
    let requests = hosts * (settings.pipeline().delivery.requests_in_flight + 1);
    let admin = if settings.admin_listen().is_some() { ADMIN_CONNECTIONS_MAX } else { 0 };
    let spool = settings.spool();
    // Each segment is held open.
    let segments = spool.max_bytes.div_ceil(spool.segment_bytes);
    OWN_DESCRIPTORS + (requests + admin) as u64 + segments
}

/// Descriptors available for files: all except the reserve, but at least a quarter. With such a low limit a shipper
/// with many segments or connections may still reach it; the operation that fails reports it.
fn available(system_limit: u64, reserve: u64) -> u64 {
    system_limit.saturating_sub(reserve).max(system_limit / 4).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_get_all_but_the_reserve_and_at_least_a_quarter() {
        assert_eq!(available(20_000, 150), 19_850);
        assert_eq!(available(256, 150), 106);
        assert_eq!(available(200, 150), 50);
        assert_eq!((available(64, 150), available(3, 150), available(0, 150)), (16, 1, 1));
        assert_eq!(available(1_024, u64::MAX), 256);
    }

    #[test]
    fn a_limit_round_trips_through_text() {
        for limit in [None, Some(0), Some(1_024), Some(u64::MAX)] {
            assert_eq!(from_text(&to_text(limit)), Some(limit));
        }
        assert_eq!((from_text(""), from_text("/bin/sh"), from_text("-1")), (None, None, None));
    }

    #[test]
    fn the_reserve_depends_on_the_settings() {
        let settings = |to: &str, admin: bool| {
            let options = shipper::config::Options {
                to: Some(to.to_owned()),
                admin_listen: admin.then(|| "127.0.0.1:9600".parse().unwrap()),
                ..Default::default()
            };
            Settings::new(options, None).unwrap()
        };
        let embedded = settings("sqlite:x", false);
        assert_eq!(reserve(&embedded), 64 + 16);
        assert_eq!(reserve(&settings("sqlite:x", true)), 64 + 16 + 64);
        assert_eq!(reserve(&settings("http://a:1,http://b:1", false)), 64 + 16 + 6);
        let mut limited = embedded;
        limit_files(&mut limited, Some(256));
        assert_eq!(limited.files().max_open_files, 176);
        limit_files(&mut limited, None);
        assert_eq!(limited.files().max_open_files, 176, "a limit is never raised");
    }
}
