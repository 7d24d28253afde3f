//! The limit on open files: the shipper raises its own soft limit to the hard one, and a command that it runs gets back
//! the limit that it would have had without the shipper.

use std::io;
use std::sync::OnceLock;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use shipper::config::Settings;
use store::Target;

use crate::exit::{Exit, Failure};

/// The soft limit is raised no further: what files and sockets need stays far below.
const SOFT_LIMIT_MAX: u64 = 65_536;

/// Connections to the admin port at a time. Further ones wait until one of these is closed.
pub(crate) const ADMIN_CONNECTIONS_MAX: usize = 64;

/// Descriptors for everything whose number does not depend on settings: standard streams, the runtime, the state
/// directory's lock and journals, dead letters, the embedded store, name resolution, a folder being listed.
const OWN_DESCRIPTORS: u64 = 64;

/// With a limit below this one no subcommand begins.
const LEAST: u64 = 32;

/// The soft limit that this process was started with, once it was read.
static INHERITED: OnceLock<Option<u64>> = OnceLock::new();

/// The soft limit on open files that this process was started with; `None` if there is none.
pub(crate) fn inherited() -> Option<u64> {
    *INHERITED.get_or_init(|| getrlimit(Resource::Nofile).current)
}

/// Raises the soft limit and returns the limit that is in force; `None` if there is none.
pub(crate) fn raise() -> Option<u64> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let current = inherited()?;
    let wanted = maximum.unwrap_or(SOFT_LIMIT_MAX).min(SOFT_LIMIT_MAX);
    if wanted <= current {
        tracing::debug!(soft_limit = current, hard_limit = maximum, "limit on open files kept");
        return Some(current);
    }
    match setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum }) {
        Ok(()) => {
            tracing::debug!(from = current, soft_limit = wanted, hard_limit = maximum, "limit on open files raised");
            Some(wanted)
        }
        Err(error) => {
            tracing::warn!(%error, soft_limit = current, "limit on open files could not be raised");
            Some(current)
        }
    }
}

/// Refuses a limit with which not even the runtime could begin.
///
/// # Errors
/// The limit, and what to do.
pub(crate) fn need_enough() -> Result<(), Failure> {
    match getrlimit(Resource::Nofile).current {
        Some(limit) if limit < LEAST => Err(Failure::new(
            Exit::OpenFiles,
            format!(
                "only {limit} files may be open, and at least {LEAST} are needed: raise the limit (ulimit -n, LimitNOFILE)"
            ),
        )),
        _ => Ok(()),
    }
}

/// Sets the soft limit to what it was before it was raised, for a command that is about to run in this process.
///
/// # Errors
/// As the system says.
pub(crate) fn restore(inherited: Option<u64>) -> io::Result<()> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == inherited {
        return Ok(());
    }
    Ok(setrlimit(Resource::Nofile, Rlimit { current: inherited, maximum })?)
}

/// The limit as text, for the process that becomes the command.
pub(crate) fn to_text(limit: Option<u64>) -> String {
    limit.map_or_else(|| UNLIMITED.to_owned(), |limit| limit.to_string())
}

/// The limit that a text names.
pub(crate) fn from_text(text: &str) -> Option<Option<u64>> {
    if text == UNLIMITED { Some(None) } else { text.parse().ok().map(Some) }
}

/// What stands for no limit, as in a shell's `ulimit`.
const UNLIMITED: &str = "unlimited";

/// Limits the files held open to what the system allows, less a reserve for everything else that is open.
pub(crate) fn limit_files(settings: &mut Settings, system_limit: Option<u64>) {
    let Some(system_limit) = system_limit else { return };
    let reserve = reserve(settings);
    let left = usize::try_from(left(system_limit, reserve)).unwrap_or(usize::MAX);
    let files = settings.files();
    if left < files.max_open_files {
        if !files.patterns.is_empty() {
            tracing::warn!(
                system_limit,
                reserve,
                wanted = files.max_open_files,
                max_open_files = left,
                "open files limited by the system: raise the hard limit (ulimit -Hn, LimitNOFILE) or lower max_open_files"
            );
        }
        settings.limit_open_files(left);
    }
}

/// Descriptors that files must not take: for sockets, the spool, the store and the admin port.
fn reserve(settings: &Settings) -> u64 {
    let hosts = match settings.to() {
        Target::Engine(addresses) => addresses.len(),
        Target::Sqlite(_) => 0,
    };
    // Each host has its requests in flight, and one that asks whether it is back.
    let requests = hosts * (settings.pipeline().delivery.requests_in_flight + 1);
    let admin = if settings.admin_listen().is_some() { ADMIN_CONNECTIONS_MAX } else { 0 };
    let spool = settings.spool();
    // Each segment is held open.
    let segments = spool.max_bytes.div_ceil(spool.segment_bytes);
    OWN_DESCRIPTORS + (requests + admin) as u64 + segments
}

/// What a limit leaves for files: all but the reserve, and a quarter at least. Where the limit is that low, a shipper
/// with many segments or connections may still run into it, which the operation that meets it reports.
fn left(system_limit: u64, reserve: u64) -> u64 {
    system_limit.saturating_sub(reserve).max(system_limit / 4).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_get_what_the_reserve_leaves_and_a_quarter_at_least() {
        assert_eq!(left(20_000, 150), 19_850);
        assert_eq!(left(256, 150), 106);
        assert_eq!(left(200, 150), 50);
        assert_eq!((left(64, 150), left(3, 150), left(0, 150)), (16, 1, 1));
        assert_eq!(left(1_024, u64::MAX), 256);
    }

    #[test]
    fn a_limit_is_the_same_after_it_was_text() {
        for limit in [None, Some(0), Some(1_024), Some(u64::MAX)] {
            assert_eq!(from_text(&to_text(limit)), Some(limit));
        }
        assert_eq!((from_text(""), from_text("/bin/sh"), from_text("-1")), (None, None, None));
    }

    #[test]
    fn the_reserve_grows_with_what_is_open() {
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
        assert_eq!(limited.files().max_open_files, 176, "a limit is only ever lowered");
    }
}
