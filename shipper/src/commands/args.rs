//! What these subcommands take.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use shipper::config::{ConfigError, Options};
use shipper::dead_letters::DeadLetter;
use shipper::disk::RealDisk;
use shipper::journal::{self, JournalError};
use shipper::shipper::{Held, StartError};
use store::{LineId, Timestamp};

use crate::cli::CommonArgs;

/// Where the state directory is.
#[derive(Debug, Args)]
pub(crate) struct StateArgs {
    /// Configuration file, TOML
    #[arg(long, env = "SHIPPER_CONFIG", hide_env_values = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Directory of spool, checkpoints and dead letters [default: shipper-state]
    #[arg(long, env = "SHIPPER_STATE_DIR", hide_env_values = true, value_name = "DIR")]
    state_dir: Option<PathBuf>,
}

impl StateArgs {
    /// The directory, from option, variable, file or default. Files that are made from now on have the permissions that the
    /// configuration file says.
    pub(crate) fn state_dir(self) -> Result<PathBuf, ConfigError> {
        let file = self.config.as_deref().map(Options::from_file).transpose()?.unwrap_or_default();
        if let Some(Ok(mode)) = file.file_mode.as_deref().map(str::parse) {
            RealDisk::set_file_mode(mode);
        }
        let given = self.state_dir.or(file.state_dir).or(Options::defaults().state_dir);
        Ok(given.unwrap_or_default())
    }
}

/// `shipper dead-letters`.
#[derive(Debug, Subcommand)]
pub(crate) enum DeadLettersAction {
    /// List them, oldest first
    List(ListArgs),
    /// Show one with its document
    Show {
        /// Its id
        id: LineId,
        #[command(flatten)]
        state: StateArgs,
    },
    /// Send them again under their ids
    ///
    /// What the store takes now, or has already, is a dead letter no more; what it refuses again stays one. Needs the
    /// state directory for itself: no shipper may be using it.
    Replay(Box<ReplayArgs>),
    /// Give them up for good
    ///
    /// Says what it is about to remove, and removes it with --yes only. The lines count as disposed of: they are not sent
    /// again, and verify does not miss them. Needs the state directory for itself: no shipper may be using it.
    Discard(DiscardArgs),
}

/// What `dead-letters list` takes.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    pub(crate) state: StateArgs,
    #[command(flatten)]
    pub(crate) filter: LetterFilter,
    /// One JSON object a line, without the documents
    #[arg(long)]
    pub(crate) json: bool,
}

/// Which dead letters: those that all that is given holds for.
#[derive(Debug, Default, Args)]
pub(crate) struct LetterFilter {
    /// Only those with this status
    #[arg(long, value_name = "N")]
    status: Option<u16>,
    /// Only those for this index
    #[arg(long, value_name = "INDEX")]
    index: Option<String>,
    /// Only those whose reason has this text
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Only those that were refused before this time, RFC 3339
    #[arg(long, value_name = "TIME", value_parser = time)]
    before: Option<Timestamp>,
}

impl LetterFilter {
    /// Whether it is one of them.
    pub(crate) fn takes(&self, letter: &DeadLetter<'_>) -> bool {
        // A letter whose time can't be read was not refused before any.
        let is_before = |time: &Timestamp| Timestamp::parse(letter.at.as_bytes()).is_some_and(|at| at < *time);
        self.status.is_none_or(|status| letter.status == status)
            && self.index.as_ref().is_none_or(|index| letter.index == *index)
            && self.reason.as_ref().is_none_or(|reason| letter.reason.contains(reason.as_str()))
            && self.before.as_ref().is_none_or(is_before)
    }
}

/// What `dead-letters discard` takes.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("which").args(["ids", "all", "status", "index", "reason", "before"]).multiple(true).required(true))]
pub(crate) struct DiscardArgs {
    /// Their ids
    #[arg(value_name = "ID", conflicts_with_all = ["all", "status", "index", "reason", "before"])]
    pub(crate) ids: Vec<LineId>,
    /// All of them
    #[arg(long, conflicts_with_all = ["status", "index", "reason", "before"])]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) filter: LetterFilter,
    /// Really do it
    #[arg(long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) state: StateArgs,
}

/// What `dead-letters replay` takes.
#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// Their ids
    #[arg(required_unless_present = "all", value_name = "ID")]
    pub(crate) ids: Vec<LineId>,
    /// All of them
    #[arg(long, conflicts_with = "ids")]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

/// What `verify` takes.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// Send what is missing and still lies in its segment or file; no shipper may be using the state directory
    #[arg(long)]
    pub(crate) resend: bool,
    /// Prove by sums only: ask for no single line
    #[arg(long, conflicts_with = "resend")]
    pub(crate) sums_only: bool,
    /// Leave out what was done with before this time, RFC 3339, such as what an index life cycle has removed
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) since: Option<Timestamp>,
    /// Take no line for missing whose day has no index any more, as where an index life cycle removes old ones
    #[arg(long)]
    pub(crate) expect_removed: bool,
    /// The result as JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

fn time(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse(text.as_bytes()).ok_or_else(|| "give a time such as 2026-11-23T00:00:00Z".to_owned())
}

/// `shipper spool`.
#[derive(Debug, Subcommand)]
pub(crate) enum SpoolAction {
    /// Name what is torn or does not belong there, and change nothing
    Check {
        /// The result as JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        state: StateArgs,
    },
    /// Set aside what is torn, in the state directory's quarantine; nothing is deleted
    Repair {
        #[command(flatten)]
        state: StateArgs,
    },
}

/// What a shipper leaves in its state directory from its start on.
const LEFT: [&str; 4] = ["journal", "spool", "past", "dead-letters"];

/// Holds a state directory that is there.
pub(crate) fn hold(state_dir: &Path) -> Result<Held, StartError> {
    used(state_dir)?;
    Held::existing(state_dir)
}

/// A folder of something else is none, and one of a newer program may mean something else; either is left as it is.
pub(crate) fn used(state_dir: &Path) -> Result<(), StartError> {
    let refused = |reason: String| Err(StartError::StateDir { path: state_dir.to_owned(), reason });
    if !state_dir.is_dir() {
        return Ok(());
    }
    if !LEFT.iter().any(|name| state_dir.join(name).exists()) {
        return refused("no shipper has used it".to_owned());
    }
    match journal::read(&RealDisk, state_dir) {
        Err(error @ JournalError::Newer { .. }) => refused(error.to_string()),
        // What else there is to say is said by what needs it.
        _ => Ok(()),
    }
}
