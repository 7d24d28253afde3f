//! What a running shipper logs of its store, its hosts and its disk: each change once.

use crate::pipeline::{Obstacle, Report};

/// Logs once that lines wait for the store, one of its indices or the disk, and once that none does any more.
pub(crate) fn tell_of_trouble(told: &mut bool, report: &Report) {
    let obstacle = report.obstacle();
    match (&obstacle, *told) {
        (Some(Obstacle { cause, reason }), false) => {
            tracing::warn!(cause, %reason, "lines wait: they can't be shipped at the moment");
        }
        (None, true) => tracing::info!("lines are shipped again"),
        _ => {}
    }
    *told = obstacle.is_some();
}

/// Logs once that a host is ejected, where there are others, and once that it is taken back.
pub(crate) fn tell_of_hosts(told: &mut Vec<bool>, report: &Report) {
    told.resize(report.hosts.len(), false);
    if report.hosts.len() < 2 {
        return;
    }
    for (host, told) in report.hosts.iter().zip(told) {
        match (&host.trouble, *told) {
            (Some(trouble), false) => {
                tracing::warn!(host = %host.name, reason = %trouble.cause, "a host of the store is left alone for a while");
            }
            (None, true) => tracing::info!(host = %host.name, "a host of the store is used again"),
            _ => {}
        }
        *told = host.trouble.is_some();
    }
}
