//! The line of a panic: message, place and thread, with the ids of the request it happened in.

use std::panic::{self, PanicHookInfo};
use std::time::Duration;

use super::writer::LogWriter;
use crate::catch_panic::{hook_wrote, is_catching, text};

/// How long a panic that may end the process waits for its line to be written.
const FLUSH: Duration = Duration::from_millis(500);

/// Puts our hook in place of the one there is, which still runs when `RUST_BACKTRACE` is set, or when panics are
/// filtered from the log.
pub(crate) fn install_hook(writer: LogWriter) {
    let before = panic::take_hook();
    let backtrace = std::env::var_os("RUST_BACKTRACE").is_some_and(|value| value != "0");
    panic::set_hook(Box::new(move |info| {
        let written = write_line(info);
        if backtrace || !written {
            before(info);
        }
        // a caught one ends only its request
        if !is_catching() || cfg!(panic = "abort") {
            writer.flush(FLUSH);
        }
    }));
}

fn write_line(info: &PanicHookInfo<'_>) -> bool {
    if !tracing::enabled!(target: "panic", tracing::Level::ERROR) {
        return false;
    }
    let location = info.location().map(tracing::field::display);
    let thread = std::thread::current();
    tracing::error!(target: "panic", location, thread = thread.name(), "panicked: {}", text(info.payload()));
    hook_wrote();
    true
}
