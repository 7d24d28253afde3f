//! `shipper dead-letters`: lists, shows, replays and discards the lines that the store rejected.

mod discard;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;
use shipper::config::Settings;
use shipper::dead_letters::replayed::{ReplayMarks, ReplayOutcome};
use shipper::dead_letters::{self, DeadLetter, StoredLetter};
use shipper::disk::RealDisk;
use shipper::resend::Resender;
use store::{Batch, BatchBuilder, Day, Disposition, LineId, Timestamp};
use tokio::sync::mpsc;

use super::args::{DeadLettersAction, ListArgs, ReplayArgs, lock_state_dir, refuse_foreign};
use super::{open_to_write, print, print_json, progress};
use crate::exit::{Exit, Failure, print_error};

/// Number of characters of a reason shown in the table.
const REASON_SHOWN_CHARS: usize = 80;

/// Number of batches read ahead of the one being sent.
const READ_AHEAD: usize = 1;

/// Maximum number of letters rejected again that are printed.
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

/// A dead letter without its document.
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
    fn new(found: &'a StoredLetter<'_>) -> Self {
        let DeadLetter { at, index, status, reason, attempts, length, .. } = &found.letter;
        Self { id: found.id.to_string(), at, status: *status, index, attempts: *attempts, length: *length, reason }
    }
}

fn list(args: ListArgs) -> Result<Exit, Failure> {
    let ListArgs { state, filter, json } = args;
    let state_dir = existing_dir(state.state_dir()?)?;
    let mut count = 0_u64;
    let bad = dead_letters::read(&RealDisk, &state_dir, |found| {
        if !filter.takes(&found.letter) {
            return Ok(());
        }
        let header = if count == 0 && !json { HEADER } else { "" };
        count += 1;
        let listed = Listed::new(&found);
        let line = if json { serde_json::to_string(&listed)? } else { row(&listed) };
        print(&format!("{header}{line}\n")).map_err(|failure| io::Error::other(failure.message))
    });
    let bad = bad.map_err(|error| unreadable(&state_dir, &error))?;
    if !json && count == 0 {
        print("no dead letters\n")?;
    }
    if let Some(first) = bad.iter().find(|bad| !bad.is_torn_end) {
        let (path, offset) = (first.path.display(), first.offset);
        print_error(format_args!(
            "shipper: {path} has invalid lines, the first at offset {offset}: run shipper spool check"
        ));
    }
    Ok(Exit::Success)
}

const HEADER: &str = "ID                                             AT                           STATUS  INDEX                 REASON\n";

fn row(listed: &Listed<'_>) -> String {
    let Listed { id, at, status, index, reason, .. } = listed;
    // A reason is text of an engine, and may contain control characters.
    let shown = reason.chars().map(|character| if character.is_control() { ' ' } else { character });
    let reason: String = shown.take(REASON_SHOWN_CHARS).collect();
    format!("{id}  {at:<27}  {status:>6}  {index:<20}  {reason}")
}

fn show(id: LineId, state_dir: &Path) -> Result<Exit, Failure> {
    let state_dir = existing_dir(state_dir.to_owned())?;
    let mut shown = None;
    let read = dead_letters::read(&RealDisk, &state_dir, |found| {
        if found.id == id && shown.is_none() {
            shown = Some(serde_json::to_value(&found.letter)?);
        }
        Ok(())
    });
    read.map_err(|error| unreadable(&state_dir, &error))?;
    match shown {
        Some(letter) => print_json(&letter).map(|()| Exit::Success),
        None => Err(Failure::new(Exit::Usage, format!("no dead letter has the id {id}"))),
    }
}

/// The results of a replay.
#[derive(Default)]
struct Counts {
    stored: u64,
    already_stored: u64,
    refused: u64,
}

async fn replay(args: ReplayArgs) -> Result<Exit, Failure> {
    let settings = args.common.settings()?;
    let state_dir = settings.state_dir().to_owned();
    let _lock = lock_state_dir(&state_dir)?;
    let wanted: BTreeSet<LineId> = args.ids.into_iter().collect();
    let mut missing = wanted.clone();
    let mut total = 0;
    let read = dead_letters::read(&RealDisk, &state_dir, |found| {
        total += u64::from(args.all || missing.remove(&found.id));
        Ok(())
    });
    read.map_err(|error| unreadable(&state_dir, &error))?;
    if let Some(id) = missing.first() {
        return Err(Failure::new(Exit::Usage, format!("no dead letter has the id {id}")));
    }
    let store = open_to_write(&settings).await?;
    let (delivery, timeout) = (settings.pipeline().delivery, settings.shutdown_timeout());
    let resender = Resender { store: &store, settings: delivery, timeout };
    let mut marks = ReplayMarks::open(RealDisk, &state_dir);
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
    print(&format!("{stored} stored, {already_stored} already stored, {refused} rejected again\n"))?;
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
                    print_error(format_args!("shipper: {id} rejected again: {cause}"));
                }
            }
            Disposition::Retry(_) => {}
        }
    }
}

/// Reads dead letters into batches, each of one file and one index prefix, until the receiver is dropped.
fn read_batches(
    settings: &Settings,
    is_wanted: impl Fn(&LineId) -> bool,
    batches: &mpsc::Sender<(u64, Batch)>,
) -> io::Result<()> {
    let pipeline = settings.pipeline();
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
            .ok_or_else(|| io::Error::other(format!("{:?} is not an index of the shipper", found.letter.index)))?;
        let builder = builders.entry(prefix.to_owned()).or_insert_with(|| BatchBuilder::new(prefix));
        let document = found.letter.document.get().as_bytes();
        builder.push(found.id, found.letter.length, day, |body| body.extend_from_slice(document));
        if builder.count() >= pipeline.batch_max_lines || builder.bytes() >= pipeline.batch_max_bytes {
            send(sequence, builder)?;
        }
        Ok(())
    });
    match read {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
        read => read.map(drop)?,
    }
    for builder in builders.values_mut() {
        let _receiver_dropped = send(sequence, builder);
    }
    Ok(())
}

/// Splits an index name into its prefix and day.
fn prefix_and_day(index: &str) -> Option<(&str, Day)> {
    let (prefix, day) = index.rsplit_once('-')?;
    let time = format!("{}T00:00:00Z", day.replace('.', "-"));
    Some((prefix, Timestamp::parse(time.as_bytes())?.day()))
}

fn existing_dir(state_dir: PathBuf) -> Result<PathBuf, Failure> {
    if state_dir.is_dir() {
        refuse_foreign(&state_dir)?;
        return Ok(state_dir);
    }
    Err(Failure::new(Exit::StateDir, format!("state directory {} not found: set --state-dir", state_dir.display())))
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
    fn an_index_name_is_split_into_prefix_and_day() {
        let (prefix, day) = prefix_and_day("app-logs-2026.11.23").unwrap();
        assert_eq!((prefix, day.to_string().as_str()), ("app-logs", "2026.11.23"));
        for strange in ["app-logs", "app-logs-2026.13.45", "x"] {
            assert!(prefix_and_day(strange).is_none(), "{strange}");
        }
    }
}
