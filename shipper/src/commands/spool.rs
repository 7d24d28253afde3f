//! `shipper spool`: checks the state directory and moves damaged parts to quarantine.

use std::fmt::Write as _;
use std::path::Path;

use serde::Serialize;
use shipper::disk::{RealDisk, path};
use shipper::inspect::{self, Flaw, Inspection, Remedy};
use shipper::journal::JournalError;
use shipper::shipper::StartError;

use super::args::{SpoolAction, lock_state_dir};
use super::{print, print_json, progress};
use crate::exit::{Exit, Failure};

#[derive(Serialize)]
struct Report<'a> {
    /// A shipper is running, so what looks torn at the end of a file may be a write in progress.
    live: bool,
    sound: bool,
    #[serde(flatten)]
    found: &'a Inspection,
}

/// Checks or repairs.
pub(crate) fn run(action: SpoolAction) -> Result<Exit, Failure> {
    match action {
        SpoolAction::Check { json, state } => check(&state.state_dir()?, json),
        SpoolAction::Repair { state } => repair(&state.state_dir()?),
    }
}

fn check(state_dir: &Path, json: bool) -> Result<Exit, Failure> {
    let live = match lock_state_dir(state_dir) {
        Ok(_) => false,
        Err(StartError::Locked { .. }) => true,
        Err(error) => return Err(error.into()),
    };
    let found = look(state_dir)?;
    let sound = found.is_sound();
    if json {
        print_json(&Report { live, sound, found: &found })?
    } else {
        print(&text(&found, live))?
    }
    Ok(if sound { Exit::Success } else { Exit::Unexpected })
}

fn repair(state_dir: &Path) -> Result<Exit, Failure> {
    let _lock = lock_state_dir(state_dir)?;
    let found = look(state_dir)?;
    let unusable = |error: std::io::Error| {
        Failure::new(
            Exit::StateDir,
            format!("can't repair {}: {error}; parts already moved stay in quarantine", state_dir.display()),
        )
    };
    let moved = inspect::repair(&RealDisk, state_dir, &found).map_err(unusable)?;
    if moved.is_empty() {
        print("nothing is damaged\n")?;
    } else {
        print(&(moved.join("\n") + "\n"))?;
    }
    Ok(Exit::Success)
}

fn look(state_dir: &Path) -> Result<Inspection, Failure> {
    let total = inspect::bytes(&RealDisk, state_dir).unwrap_or(0);
    let bar = progress::bytes(total, "check");
    let found = inspect::check(&RealDisk, state_dir, &|bytes| bar.inc(bytes));
    bar.finish_and_clear();
    found.map_err(|error| match error {
        JournalError::Io { .. } | JournalError::Newer { .. } | JournalError::Damaged { .. } => {
            Failure::new(Exit::StateDir, error.to_string())
        }
    })
}

fn text(found: &Inspection, live: bool) -> String {
    let mut text = String::new();
    // Writing to a string can't fail.
    if live {
        text += "a shipper is running: what looks torn at the end of a file may be a write in progress\n";
    }
    for segment in &found.segments {
        let (generation, stream) = (segment.generation, &segment.stream);
        let _ = writeln!(
            text,
            "segment   {generation} of {stream}: {} of {} bytes processed",
            segment.checkpoint, segment.bytes
        );
    }
    let _ = writeln!(text, "files     {} followed", found.files);
    let _ = writeln!(text, "dead      {} letters", found.dead_letters);
    for Flaw { path, offset, bytes, what, remedy } in &found.flaws {
        let mark = if *remedy == Remedy::Leave { "note     " } else { "DAMAGED  " };
        let _ = writeln!(text, "{mark} {} at offset {offset}, {bytes} bytes: {what}", path::text(path));
    }
    text += if found.is_sound() {
        "no damage found\n"
    } else {
        "run shipper spool repair to move damaged parts to quarantine\n"
    };
    text
}
