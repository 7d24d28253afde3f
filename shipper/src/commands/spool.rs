//! `shipper spool`: what lies in the state directory, what of it is torn, and setting that aside.

use std::fmt::Write as _;
use std::path::Path;

use serde::Serialize;
use shipper::disk::{RealDisk, path};
use shipper::inspect::{self, Flaw, Inspection, Remedy};
use shipper::journal::JournalError;
use shipper::shipper::StartError;

use super::args::{SpoolAction, hold};
use super::{progress, say, say_json};
use crate::exit::{Exit, Failure};

#[derive(Serialize)]
struct Report<'a> {
    /// A shipper is at work there: an end that looks torn may be one that it is writing.
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
    let live = match hold(state_dir) {
        Ok(_) => false,
        Err(StartError::Locked { .. }) => true,
        Err(error) => return Err(error.into()),
    };
    let found = look(state_dir)?;
    let sound = found.is_sound();
    if json {
        say_json(&Report { live, sound, found: &found })?
    } else {
        say(&text(&found, live))?
    }
    Ok(if sound { Exit::Success } else { Exit::Unexpected })
}

fn repair(state_dir: &Path) -> Result<Exit, Failure> {
    let _held = hold(state_dir)?;
    let found = look(state_dir)?;
    let unusable = |error: std::io::Error| {
        Failure::new(Exit::StateDir, format!("can't repair {}: {error}; what was set aside is", state_dir.display()))
    };
    let said = inspect::repair(&RealDisk, state_dir, &found).map_err(unusable)?;
    if said.is_empty() {
        say("nothing is torn\n")?;
    } else {
        say(&(said.join("\n") + "\n"))?;
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
    // Writing to memory does not fail.
    if live {
        text += "a shipper is at work there: an end that looks torn may be one that it is writing\n";
    }
    for segment in &found.segments {
        let (generation, stream) = (segment.generation, &segment.stream);
        let _ = writeln!(
            text,
            "segment   {generation} of {stream}: {} of {} bytes done",
            segment.checkpoint, segment.bytes
        );
    }
    let _ = writeln!(text, "files     {} followed", found.files);
    let _ = writeln!(text, "dead      {} letters", found.dead_letters);
    for Flaw { path, offset, bytes, what, remedy } in &found.flaws {
        let mark = if *remedy == Remedy::Leave { "note     " } else { "TORN     " };
        let _ = writeln!(text, "{mark} {} at {offset}, {bytes} bytes: {what}", path::text(path));
    }
    text += if found.is_sound() { "sound\n" } else { "shipper spool repair sets aside what is torn\n" };
    text
}
