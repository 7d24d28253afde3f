//! How far something is, on a terminal; nothing where standard error is none.

use indicatif::{ProgressBar, ProgressStyle};

/// Shows how many of `total` bytes are done.
pub(super) fn bytes(total: u64, what: &'static str) -> ProgressBar {
    bar(total, what, "{msg} [{wide_bar}] {bytes} of {total_bytes}, {eta} left")
}

/// Shows how many of `total` things are done.
pub(super) fn count(total: u64, what: &'static str) -> ProgressBar {
    bar(total, what, "{msg} [{wide_bar}] {pos} of {len}, {eta} left")
}

fn bar(total: u64, what: &'static str, template: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(total).with_style(style.progress_chars("=> ")).with_message(what)
}
