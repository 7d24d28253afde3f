//! Panic hook that logs each panic with message, location, thread and the ids of its request.

use std::panic::{self, PanicHookInfo};
use std::time::Duration;

use super::writer::LogWriter;
use crate::catch_panic::{is_catching, mark_logged, message};

/// Flush timeout of a panic that may end the process.
const FLUSH_TIMEOUT: Duration = Duration::from_millis(500);

/// Installs the panic hook. The previous hook still runs if `RUST_BACKTRACE` is set, or if the log filter disables the
/// line.
pub(crate) fn install_hook(writer: LogWriter) {
    let previous = panic::take_hook();
    let backtrace = std::env::var_os("RUST_BACKTRACE").is_some_and(|value| value != "0");
    panic::set_hook(Box::new(move |info| {
        let is_logged = log_panic(info);
        if backtrace || !is_logged {
            previous(info);
        }
        // a caught panic ends only its request
        if !is_catching() || cfg!(panic = "abort") {
            writer.flush(FLUSH_TIMEOUT);
        }
    }));
}

fn log_panic(info: &PanicHookInfo<'_>) -> bool {
    if !tracing::enabled!(target: "panic", tracing::Level::ERROR) {
        return false;
    }
    let location = info.location().map(tracing::field::display);
    let thread = std::thread::current();
    tracing::error!(target: "panic", location, thread = thread.name(), "panicked: {}", message(info.payload()));
    mark_logged();
    true
}
