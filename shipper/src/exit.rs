//! How the program ends, as numbers. They are part of its interface: scripts tell apart by them what happened, so a
//! number keeps its meaning.

use std::fmt;
use std::io::{self, Write as _};
use std::process::ExitCode;

use shipper::config::ConfigError;
use shipper::shipper::StartError;

/// Writes a line to standard error. Whoever reads it may be gone, which must not end the program otherwise than it ends.
pub(crate) fn tell(line: fmt::Arguments<'_>) {
    let _nobody_there = writeln!(io::stderr(), "{line}");
}

/// Why the program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All went well.
    Success,
    /// What was asked for is not so: not proven, refused, torn. Or what nobody thought of.
    Unexpected,
    /// Command line, variables or configuration file.
    Usage,
    /// The shutdown timeout or a second signal came before all was shipped.
    Incomplete,
    /// The state directory can't be made, read or written.
    StateDir,
    /// Another process holds the state directory.
    StateDirLocked,
    /// The store can't be opened or be made ready.
    Store,
    /// The store was asked and did not answer.
    StoreUnreachable,
    /// The admin port can't be had.
    AdminListen,
    /// Nothing was there to read until idle.
    NothingToRead,
    /// Files could not be read, or not whole, until idle.
    FilesUnread,
    /// Too few files may be open.
    OpenFiles,
    /// The command is there but can't be run.
    NotExecutable,
    /// There is no such command.
    NotFound,
    /// The command's own exit code, or 128 and the number of the signal that ended it.
    Command(u8),
}

impl Exit {
    /// Those with a number of their own.
    pub(crate) const ALL: [Self; 14] = [
        Self::Success,
        Self::Unexpected,
        Self::Usage,
        Self::Incomplete,
        Self::StateDir,
        Self::StateDirLocked,
        Self::Store,
        Self::StoreUnreachable,
        Self::AdminListen,
        Self::NothingToRead,
        Self::FilesUnread,
        Self::OpenFiles,
        Self::NotExecutable,
        Self::NotFound,
    ];

    /// The number.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Unexpected => 1,
            Self::Usage => 2,
            Self::Incomplete => 3,
            Self::StateDir => 10,
            Self::StateDirLocked => 11,
            Self::Store => 12,
            Self::StoreUnreachable => 13,
            Self::AdminListen => 14,
            Self::NothingToRead => 15,
            Self::FilesUnread => 16,
            Self::OpenFiles => 17,
            Self::NotExecutable => 126,
            Self::NotFound => 127,
            Self::Command(code) => code,
        }
    }

    /// What it means, for help and manual.
    pub(crate) const fn meaning(self) -> &'static str {
        match self {
            Self::Success => "all is done; with --until-idle, every line that was there is disposed of",
            Self::Unexpected => "verify, spool check, replay: not all is as it must be; else: something unexpected",
            Self::Usage => "an option, a variable or the configuration file can't be used",
            Self::Incomplete => {
                "run: not all lines were shipped in time; the rest is kept and goes with the next start"
            }
            Self::StateDir => "the state directory can't be made, read or written",
            Self::StateDirLocked => "another process uses the state directory",
            Self::Store => "the store can't be opened, or refuses to be made ready",
            Self::StoreUnreachable => "bootstrap, preflight, verify, dead-letters replay: the store does not answer",
            Self::AdminListen => "the address for metrics and health is taken or not this machine's",
            Self::NothingToRead => "--until-idle: the patterns match no file; give --allow-empty if that is fine",
            Self::FilesUnread => "--until-idle: some files could not be read, or not whole; the log names them",
            Self::OpenFiles => "too few files may be open: the limit (ulimit -n, LimitNOFILE) is too low to start",
            Self::NotExecutable => "exec: the command can't be executed",
            Self::NotFound => "exec: there is no such command",
            Self::Command(_) => "exec: the command's own",
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// An end before its time: how, and a line that says what to do.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The exit code.
    pub(crate) exit: Exit,
    /// One line.
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::new(Exit::Usage, error.to_string())
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        let exit = match error {
            StartError::StateDir { .. } | StartError::Damaged(_) => Exit::StateDir,
            StartError::Locked { .. } => Exit::StateDirLocked,
            StartError::Store(_) | StartError::Bootstrap(_) => Exit::Store,
        };
        Self::new(exit, error.to_string())
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::new(Exit::Unexpected, format!("{error:#}"))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_reason_has_a_number_of_its_own() {
        let numbers: BTreeSet<_> = Exit::ALL.into_iter().map(Exit::code).collect();
        assert_eq!(numbers.len(), Exit::ALL.len());
    }
}
