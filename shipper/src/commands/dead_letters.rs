//! `shipper dead-letters`: what no store took, and another try.

mod discard;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;
use shipper::config::Settings;
use shipper::dead_letters::replayed::{Marks, ReplayOutcome};
use shipper::dead_letters::{self, DeadLetter, Found};
use shipper::disk::RealDisk;
use shipper::resend::Resender;
use store::{Batch, BatchBuilder, Day, Disposition, LineId, Timestamp};
use tokio::sync::mpsc;

use super::args::{DeadLettersAction, ListArgs, ReplayArgs, hold, used};
use super::{open_to_write, progress, say, say_json};
use crate::exit::{Exit, Failure, tell};

/// Of a reason so many characters are shown in the table.
const REASON_SHOWN_CHARS: usize = 80;

/// Batches that are read ahead of the one that is sent.
const READ_AHEAD: usize = 1;

/// So many letters that are refused again are shown.
const REFUSED_SHOWN_MAX: usize = 20;

/// Lists, shows, replays or discards.
pub(crate) fn run(action: DeadLettersAction) -> Result<Exit, Failure> {
    match action {
        DeadLettersAction::List(args) => list(args),
        DeadLettersAction::Show { id, state } => show(id, &state.state_dir()?),
        DeadLettersAction::Discard(args) => discard::discard(args),
        DeadLettersAction::Replay(args) => crate::block_on(replay(*args)),
    }
}

/// A letter without its document.
#[derive(Serialize)]
struct Listed<'a> {
    id: String,
    at: &'a str,
    status: u16,
    index: &'a str,
    attempts: u32,
    length: u64,
    reason: &'a str,
}

impl<'a> Listed<'a> {
    fn of(found: &'a Found<'_>) -> Self {
        let DeadLetter { at, index, status, reason, attempts, length, .. } = &found.letter;
        Self { id: found.id.to_string(), at, status: *status, index, attempts: *attempts, length: *length, reason }
    }
}

fn list(args: ListArgs) -> Result<Exit, Failure> {
    let ListArgs { state, filter, json } = args;
    let state_dir = there(state.state_dir()?)?;
    let mut count = 0_u64;
    let bad = dead_letters::read(&RealDisk, &state_dir, |found| {
        if !filter.takes(&found.letter) {
            return Ok(());
        }
        let head = if count == 0 && !json { HEAD } else { "" };
        count += 1;
        let listed = Listed::of(&found);
        let line = if json { serde_json::to_string(&listed)? } else { row(&listed) };
        say(&format!("{head}{line}\n")).map_err(|failure| io::Error::other(failure.message))
    });
    let bad = bad.map_err(|error| unreadable(&state_dir, &error))?;
    if !json && count == 0 {
        say("no dead letters\n")?;
    }
    if let Some(first) = bad.iter().find(|bad| !bad.is_torn_end) {
        let (path, offset) = (first.path.display(), first.offset);
        tell(format_args!(
            "shipper: {path} has lines that are no dead letters, the first at {offset}: see shipper spool check"
        ));
    }
    Ok(Exit::Success)
}

const HEAD: &str = "ID                                             AT                           STATUS  INDEX                 REASON\n";

fn row(listed: &Listed<'_>) -> String {
    let Listed { id, at, status, index, reason, .. } = listed;
    // A reason is an engine's text, which may hold what a terminal would obey.
    let shown = reason.chars().map(|character| if character.is_control() { ' ' } else { character });
    let reason: String = shown.take(REASON_SHOWN_CHARS).collect();
    format!("{id}  {at:<27}  {status:>6}  {index:<20}  {reason}")
}

fn show(id: LineId, state_dir: &Path) -> Result<Exit, Failure> {
    let state_dir = there(state_dir.to_owned())?;
    let mut shown = None;
    let read = dead_letters::read(&RealDisk, &state_dir, |found| {
        if found.id == id && shown.is_none() {
            shown = Some(serde_json::to_value(&found.letter)?);
        }
        Ok(())
    });
    read.map_err(|error| unreadable(&state_dir, &error))?;
    match shown {
        Some(letter) => say_json(&letter).map(|()| Exit::Success),
        None => Err(Failure::new(Exit::Usage, format!("there is no dead letter {id}"))),
    }
}

/// What became of the letters of a replay.
#[derive(Default)]
struct Counts {
    stored: u64,
    already_stored: u64,
    refused: u64,
}

async fn replay(args: ReplayArgs) -> Result<Exit, Failure> {
    let settings = args.common.settings()?;
    let state_dir = settings.state_dir().to_owned();
    let _held = hold(&state_dir)?;
    let wanted: BTreeSet<LineId> = args.ids.into_iter().collect();
    let mut missing = wanted.clone();
    let mut total = 0;
    let read = dead_letters::read(&RealDisk, &state_dir, |found| {
        total += u64::from(args.all || missing.remove(&found.id));
        Ok(())
    });
    read.map_err(|error| unreadable(&state_dir, &error))?;
    if let Some(id) = missing.first() {
        return Err(Failure::new(Exit::Usage, format!("there is no dead letter {id}")));
    }
    let store = open_to_write(&settings).await?;
    let (delivery, patience) = (settings.pipeline().delivery, settings.shutdown_timeout());
    let resender = Resender { store: &store, settings: delivery, patience };
    let mut marks = Marks::open(RealDisk, &state_dir);
    let mut counts = Counts::default();
    let bar = progress::count(total, "replay");
    let (sender, mut batches) = mpsc::channel(READ_AHEAD);
    let reader = std::thread::spawn({
        let (settings, all) = (settings.clone(), args.all);
        move || read_batches(&settings, |id| all || wanted.contains(id), &sender)
    });
    let mut stopped = None;
    while let Some((sequence, batch)) = batches.recv().await {
        let resent = resender.send(batch).await;
        let mut done = Vec::new();
        for (id, disposition) in resent.lines() {
            bar.inc(1);
            counts.add(id, disposition, &mut done);
        }
        marks.mark(sequence, &done, Timestamp::now()).map_err(|error| unreadable(&state_dir, &error))?;
        stopped = resent.stopped;
        if stopped.is_some() {
            break;
        }
    }
    drop(batches);
    let read = reader.join().unwrap_or_else(|_| Err(io::Error::other("the reader panicked")));
    bar.finish_and_clear();
    marks.remove_done().map_err(|error| unreadable(&state_dir, &error))?;
    let Counts { stored, already_stored, refused } = counts;
    say(&format!("{stored} stored, {already_stored} already stored, {refused} refused again\n"))?;
    if let Some(cause) = stopped {
        return Err(super::unreachable(&settings, &cause));
    }
    read.map_err(|error| unreadable(&state_dir, &error))?;
    Ok(if refused == 0 { Exit::Success } else { Exit::Unexpected })
}

impl Counts {
    fn add(&mut self, id: LineId, disposition: &Disposition, done: &mut Vec<(LineId, ReplayOutcome)>) {
        match disposition {
            Disposition::Stored => {
                self.stored += 1;
                done.push((id, ReplayOutcome::Stored));
            }
            Disposition::AlreadyStored => {
                self.already_stored += 1;
                done.push((id, ReplayOutcome::AlreadyStored));
            }
            Disposition::DeadLetter(cause) => {
                self.refused += 1;
                if self.refused <= REFUSED_SHOWN_MAX as u64 {
                    tell(format_args!("shipper: {id} is refused again: {cause}"));
                }
            }
            Disposition::Retry(_) => {}
        }
    }
}

/// Reads letters into batches, each of one file and for indices of one prefix, until nobody takes them any more.
fn read_batches(
    settings: &Settings,
    is_wanted: impl Fn(&LineId) -> bool,
    batches: &mpsc::Sender<(u64, Batch)>,
) -> io::Result<()> {
    let shape = settings.pipeline();
    let mut builders: BTreeMap<String, BatchBuilder> = BTreeMap::new();
    let mut sequence = 0;
    let send = |sequence: u64, builder: &mut BatchBuilder| {
        let batch = builder.finish(0);
        let is_empty = batch.lines().is_empty();
        if is_empty { Ok(()) } else { batches.blocking_send((sequence, batch)).map_err(|_| io::ErrorKind::BrokenPipe) }
    };
    let read = dead_letters::read(&RealDisk, settings.state_dir(), |found| {
        if !is_wanted(&found.id) {
            return Ok(());
        }
        if found.sequence != sequence {
            for builder in builders.values_mut() {
                send(sequence, builder)?;
            }
            sequence = found.sequence;
        }
        let (prefix, day) = prefix_and_day(&found.letter.index)
            .ok_or_else(|| io::Error::other(format!("{:?} is no index of the shipper's", found.letter.index)))?;
        let builder = builders.entry(prefix.to_owned()).or_insert_with(|| BatchBuilder::new(prefix));
        let document = found.letter.document.get().as_bytes();
        builder.push(found.id, found.letter.length, day, |body| body.extend_from_slice(document));
        if builder.count() >= shape.batch_max_lines || builder.bytes() >= shape.batch_max_bytes {
            send(sequence, builder)?;
        }
        Ok(())
    });
    match read {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
        read => read.map(drop)?,
    }
    for builder in builders.values_mut() {
        let _gone = send(sequence, builder);
    }
    Ok(())
}

/// What an index's name is made of.
fn prefix_and_day(index: &str) -> Option<(&str, Day)> {
    let (prefix, day) = index.rsplit_once('-')?;
    let time = format!("{}T00:00:00Z", day.replace('.', "-"));
    Some((prefix, Timestamp::parse(time.as_bytes())?.day()))
}

fn there(state_dir: PathBuf) -> Result<PathBuf, Failure> {
    if state_dir.is_dir() {
        used(&state_dir)?;
        return Ok(state_dir);
    }
    Err(Failure::new(
        Exit::StateDir,
        format!("there is no state directory {}: name it with --state-dir", state_dir.display()),
    ))
}

fn unreadable(state_dir: &Path, error: &io::Error) -> Failure {
    if error.kind() == io::ErrorKind::InvalidData {
        return Failure::new(Exit::StateDir, error.to_string());
    }
    Failure::new(Exit::StateDir, format!("can't use the state directory {}: {error}", state_dir.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_is_taken_apart_as_it_was_made() {
        let (prefix, day) = prefix_and_day("app-logs-2026.11.23").unwrap();
        assert_eq!((prefix, day.to_string().as_str()), ("app-logs", "2026.11.23"));
        for strange in ["app-logs", "app-logs-2026.13.45", "x"] {
            assert!(prefix_and_day(strange).is_none(), "{strange}");
        }
    }
}
