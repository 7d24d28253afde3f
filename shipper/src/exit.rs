//! Exit codes. Scripts rely on them, so a code never changes its meaning.

use std::fmt;
use std::io::{self, Write as _};
use std::process::ExitCode;

use shipper::config::ConfigError;
use shipper::shipper::StartError;

/// Writes a line to standard error. Ignores a closed pipe, which must not change the exit code.
pub(crate) fn print_error(line: fmt::Arguments<'_>) {
    let _nobody_there = writeln!(io::stderr(), "{line}");
}

/// How the program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Success.
    Success,
    /// A check failed (not verified, rejected, damaged), or an unexpected error occurred.
    Unexpected,
    /// Invalid command line, variables or configuration file.
    Usage,
    /// The shutdown timeout or a second signal ended shipping before all lines were shipped.
    Incomplete,
    /// The state directory can't be created, read or written.
    StateDir,
    /// Another process uses the state directory.
    StateDirLocked,
    /// The store can't be opened or bootstrapped.
    Store,
    /// The store does not respond.
    StoreUnreachable,
    /// The admin address can't be used.
    AdminListen,
    /// There was nothing to read with `--until-idle`.
    NothingToRead,
    /// Some files could not be read completely with `--until-idle`.
    FilesUnread,
    /// The limit on open files is too low.
    OpenFiles,
    /// The command exists but can't be executed.
    NotExecutable,
    /// The command does not exist.
    NotFound,
    /// The command's own exit code, or 128 plus the number of the signal that ended it.
    Command(u8),
}

impl Exit {
    /// Those with a fixed code.
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

    /// The code.
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

    /// The meaning, for help and man page.
    pub(crate) const fn meaning(self) -> &'static str {
        match self {
            Self::Success => "success; with --until-idle, every line has been processed",
            Self::Unexpected => "verify, spool check, replay: the check failed; otherwise an unexpected error",
            Self::Usage => "invalid option, variable or configuration file",
            Self::Incomplete => "run: not all lines were shipped in time; the rest is shipped at the next start",
            Self::StateDir => "the state directory can't be created, read or written",
            Self::StateDirLocked => "the state directory is in use by another process",
            Self::Store => "the store can't be opened or bootstrapped",
            Self::StoreUnreachable => "bootstrap, preflight, verify, dead-letters replay: the store does not respond",
            Self::AdminListen => "--admin-listen: the address is in use or not of this machine",
            Self::NothingToRead => "--until-idle: no file matches; use --allow-empty if that is expected",
            Self::FilesUnread => "--until-idle: some files could not be read completely; the log names them",
            Self::OpenFiles => "the limit on open files (ulimit -n, LimitNOFILE) is too low",
            Self::NotExecutable => "exec: the command can't be executed",
            Self::NotFound => "exec: command not found",
            Self::Command(_) => "exec: the command's own exit code",
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// An error that ends the program.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The exit code.
    pub(crate) exit: Exit,
    /// What is wrong and what to do, in one line.
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
