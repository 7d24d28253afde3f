//! What stops a task: an exit code, of sysexits.h where one fits, and a message with the remedy.

use anyhow::Error;

/// An argument or a variable is wrong.
pub(crate) const USAGE: u8 = 64;
/// A program that the user must provide is missing.
pub(crate) const MISSING: u8 = 69;
/// Anything else, such as a file that can't be written.
const OTHER: u8 = 74;
/// Something did not start, or a download failed.
pub(crate) const UNAVAILABLE: u8 = 75;
/// A configuration file has a mistake.
pub(crate) const MISTAKE: u8 = 78;

/// The error of a task with its exit code. The message is empty after a signal.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Obstacle {
    pub(crate) code: u8,
    pub(crate) message: String,
}

/// An error with an exit code: `obstacle!(MISSING, "missing: {name}")`.
macro_rules! obstacle {
    ($code:expr, $($message:tt)*) => {
        anyhow::Error::new($crate::obstacle::Obstacle { code: $code, message: format!($($message)*) })
    };
}

/// Prints a line about the progress to standard error.
macro_rules! say {
    ($($message:tt)*) => { eprintln!("xtask: {}", format_args!($($message)*)) };
}

pub(crate) use {obstacle, say};

/// Prints the message of an error, if it has one, and returns its exit code.
pub(crate) fn report(error: &Error) -> u8 {
    let message = format!("{error:#}");
    if !message.is_empty() {
        say!("{message}");
    }
    error.downcast_ref::<Obstacle>().map_or(OTHER, |obstacle| obstacle.code)
}
