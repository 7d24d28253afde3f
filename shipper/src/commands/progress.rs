//! How far something is, on a terminal; nothing where standard error is none.

use indicatif::{ProgressBar, ProgressStyle};

/// Shows how many of `total` bytes are done.
pub(crate) fn bytes(total: u64, what: &'static str) -> ProgressBar {
    bar(total, what, "{msg} [{wide_bar}] {bytes} of {total_bytes}, {eta} left")
}

/// Shows how many of `total` things are done.
pub(crate) fn count(total: u64, what: &'static str) -> ProgressBar {
    bar(total, what, "{msg} [{wide_bar}] {pos} of {len}, {eta} left")
}

/// Shows how many of a thousand parts are done.
pub(crate) fn parts(what: &'static str) -> ProgressBar {
    bar(1_000, what, "{msg} [{wide_bar}] {percent} %, {eta} left")
}

fn bar(total: u64, what: &'static str, template: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::new(total).with_style(style.progress_chars("=> ")).with_message(what);
    // There from the start, however long the first part takes.
    bar.tick();
    bar
}
