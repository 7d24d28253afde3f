//! Arguments of these subcommands.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use shipper::config::{ConfigError, Options};
use shipper::dead_letters::DeadLetter;
use shipper::disk::RealDisk;
use shipper::journal::{self, JournalError};
use shipper::shipper::{StartError, StateDirLock};
use store::{LineId, Timestamp};

use crate::cli::CommonArgs;

/// Arguments that name the state directory.
#[derive(Debug, Args)]
pub(crate) struct StateArgs {
    /// Configuration file (TOML)
    #[arg(long, env = "SHIPPER_CONFIG", hide_env_values = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Directory of the spool, checkpoints and dead letters [default: shipper-state]
    #[arg(long, env = "SHIPPER_STATE_DIR", hide_env_values = true, value_name = "DIR")]
    state_dir: Option<PathBuf>,
}

impl StateArgs {
    /// The directory, from option, variable, file or default. Also sets the permissions of new files from the
    /// configuration file.
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
    /// List dead letters, oldest first
    List(ListArgs),
    /// Show a dead letter with its document
    Show {
        /// ID of the dead letter
        id: LineId,
        #[command(flatten)]
        state: StateArgs,
    },
    /// Send dead letters again, with the same IDs
    ///
    /// A line that the store accepts now, or already has, is no longer a dead letter; a line rejected again remains
    /// one. Needs exclusive use of the state directory: stop the shipper first.
    Replay(Box<ReplayArgs>),
    /// Delete dead letters
    ///
    /// Prints what would be deleted, and deletes it only with --yes. The lines count as processed: they are not sent
    /// again, and verify does not report them missing. Needs exclusive use of the state directory: stop the shipper
    /// first.
    Discard(DiscardArgs),
}

/// Arguments of `dead-letters list`.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    pub(crate) state: StateArgs,
    #[command(flatten)]
    pub(crate) filter: LetterFilter,
    /// Print one JSON object per line, without the documents
    #[arg(long)]
    pub(crate) json: bool,
}

/// Selects dead letters that match all given filters.
#[derive(Debug, Default, Args)]
pub(crate) struct LetterFilter {
    /// Only those with this status
    #[arg(long, value_name = "N")]
    status: Option<u16>,
    /// Only those for this index
    #[arg(long, value_name = "INDEX")]
    index: Option<String>,
    /// Only those whose reason contains this text
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Only those rejected before this time (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = time)]
    before: Option<Timestamp>,
}

impl LetterFilter {
    /// Whether a dead letter matches.
    pub(crate) fn takes(&self, letter: &DeadLetter<'_>) -> bool {
        // A dead letter with an invalid time matches no `before`.
        let is_before = |time: &Timestamp| Timestamp::parse(letter.at.as_bytes()).is_some_and(|at| at < *time);
        self.status.is_none_or(|status| letter.status == status)
            && self.index.as_ref().is_none_or(|index| letter.index == *index)
            && self.reason.as_ref().is_none_or(|reason| letter.reason.contains(reason.as_str()))
            && self.before.as_ref().is_none_or(is_before)
    }
}

/// Arguments of `dead-letters discard`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("which").args(["ids", "all", "status", "index", "reason", "before"]).multiple(true).required(true))]
pub(crate) struct DiscardArgs {
    /// IDs of dead letters
    #[arg(value_name = "ID", conflicts_with_all = ["all", "status", "index", "reason", "before"])]
    pub(crate) ids: Vec<LineId>,
    /// All dead letters
    #[arg(long, conflicts_with_all = ["status", "index", "reason", "before"])]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) filter: LetterFilter,
    /// Confirm the deletion
    #[arg(long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) state: StateArgs,
}

/// Arguments of `dead-letters replay`.
#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// IDs of dead letters
    #[arg(required_unless_present = "all", value_name = "ID")]
    pub(crate) ids: Vec<LineId>,
    /// All dead letters
    #[arg(long, conflicts_with = "ids")]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

/// Arguments of `verify`.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// Send missing lines that are still in their segment or file; stop the shipper first
    #[arg(long)]
    pub(crate) resend: bool,
    /// Verify by sums only, without looking up each line
    #[arg(long, conflicts_with = "resend")]
    pub(crate) sums_only: bool,
    /// Ignore sources completed before this time (RFC 3339), such as those whose indices were deleted by an index life
    /// cycle
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) since: Option<Timestamp>,
    /// Do not report lines as missing whose daily index was deleted, as by an index life cycle
    #[arg(long)]
    pub(crate) expect_removed: bool,
    /// Print the result as JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

fn time(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse(text.as_bytes()).ok_or_else(|| "expected a time such as 2026-11-23T00:00:00Z".to_owned())
}

/// `shipper spool`.
#[derive(Debug, Subcommand)]
pub(crate) enum SpoolAction {
    /// Report damaged and unknown files, without changing anything
    Check {
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        state: StateArgs,
    },
    /// Move damaged parts to the quarantine folder of the state directory; nothing is deleted
    Repair {
        #[command(flatten)]
        state: StateArgs,
    },
}

/// Entries of a state directory; any of them identifies one.
const STATE_DIR_ENTRIES: [&str; 4] = ["journal", "spool", "past", "dead-letters"];

/// Locks an existing state directory.
pub(crate) fn lock_state_dir(state_dir: &Path) -> Result<StateDirLock, StartError> {
    refuse_foreign(state_dir)?;
    StateDirLock::acquire(state_dir)
}

/// Refuses a directory that no shipper has used, and one of a newer version, whose files may differ.
pub(crate) fn refuse_foreign(state_dir: &Path) -> Result<(), StartError> {
    let refused = |reason: String| Err(StartError::StateDir { path: state_dir.to_owned(), reason });
    if !state_dir.is_dir() {
        return Ok(());
    }
    if !STATE_DIR_ENTRIES.iter().any(|name| state_dir.join(name).exists()) {
        return refused("it is not a state directory of a shipper".to_owned());
    }
    match journal::read(&RealDisk, state_dir) {
        Err(error @ JournalError::Newer { .. }) => refused(error.to_string()),
        // Other errors are reported by what needs the journal.
        _ => Ok(()),
    }
}
