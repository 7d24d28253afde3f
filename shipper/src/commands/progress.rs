//! Progress bars; hidden unless standard error is a terminal.

use indicatif::{ProgressBar, ProgressStyle};

/// A bar that counts bytes.
pub(crate) fn bytes(total: u64, what: &'static str) -> ProgressBar {
    bar(total, what, "{msg} [{wide_bar}] {bytes} of {total_bytes}, {eta} left")
}

/// A bar that counts items.
pub(crate) fn count(total: u64, what: &'static str) -> ProgressBar {
    bar(total, what, "{msg} [{wide_bar}] {pos} of {len}, {eta} left")
}

/// A bar that counts thousandths.
pub(crate) fn parts(what: &'static str) -> ProgressBar {
    bar(1_000, what, "{msg} [{wide_bar}] {percent} %, {eta} left")
}

fn bar(total: u64, what: &'static str, template: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::new(total).with_style(style.progress_chars("=> ")).with_message(what);
    // Shows the bar before the first step completes.
    bar.tick();
    bar
}
