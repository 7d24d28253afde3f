//! What a running shipper logs of its store, its hosts and its disk: each change once.

use crate::dead_letters;
use crate::pipeline::Report;

/// Logs once that the store, or the disk, is in trouble, and once that it is not any more.
pub(crate) fn tell_of_trouble(told: &mut Option<String>, report: &Report) {
    let trouble = match (&report.trouble, &report.disk_error) {
        _ if report.dead_letters.is_full => Some(report.dead_letters.no_room()),
        (Some(trouble), _) => Some(trouble.cause.to_string()),
        (None, error) => error.clone(),
    };
    let cause = match &report.trouble {
        _ if report.dead_letters.is_full => dead_letters::CAUSE,
        Some(trouble) => trouble.cause.kind.as_str(),
        None => "disk",
    };
    match (&trouble, &told) {
        (Some(reason), None) => tracing::warn!(cause, %reason, "lines wait: they can't be shipped at the moment"),
        (None, Some(_)) => tracing::info!("lines are shipped again"),
        _ => {}
    }
    *told = trouble;
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
