//! Logs each change of the delivery's state once.

use crate::pipeline::{Obstacle, Report};

/// Logs when delivery pauses and when it resumes. `logged` is the state that was logged last.
pub(crate) fn log_delivery(logged: &mut bool, report: &Report) {
    let obstacle = report.obstacle();
    match (&obstacle, *logged) {
        (Some(Obstacle { cause, reason }), false) => tracing::warn!(cause, %reason, "delivery paused"),
        (None, true) => tracing::info!("delivery resumed"),
        _ => {}
    }
    *logged = obstacle.is_some();
}

/// Logs when a host is ejected and when it is used again, if there are other hosts. `logged` holds the ejected ones.
pub(crate) fn log_hosts(logged: &mut Vec<bool>, report: &Report) {
    logged.resize(report.hosts.len(), false);
    if report.hosts.len() < 2 {
        return;
    }
    for (host, logged) in report.hosts.iter().zip(logged) {
        match (&host.delivery_error, *logged) {
            (Some(error), false) => tracing::warn!(host = %host.name, reason = %error.cause, "host ejected"),
            (None, true) => tracing::info!(host = %host.name, "host restored"),
            _ => {}
        }
        *logged = host.delivery_error.is_some();
    }
}
