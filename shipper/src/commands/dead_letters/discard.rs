//! `shipper dead-letters discard`: deletes dead letters after printing a summary, if `--yes` is given.

use std::collections::{BTreeMap, BTreeSet};

use shipper::dead_letters::discarded::Discarded;
use shipper::dead_letters::replayed::ReplayMarks;
use shipper::dead_letters::{self, DeadLetter, StoredLetter};
use shipper::disk::RealDisk;
use shipper::verify::known::Known;
use store::LineId;

use super::super::args::{DiscardArgs, lock_state_dir};
use super::super::{print, progress};
use super::{existing_dir, unreadable};
use crate::exit::{Exit, Failure};

/// Maximum number of kinds of letters listed separately.
const KINDS_SHOWN_MAX: usize = 20;

/// Discards dead letters, or prints what would be discarded.
pub(super) fn discard(args: DiscardArgs) -> Result<Exit, Failure> {
    let DiscardArgs { ids, all, filter, yes, state } = args;
    let state_dir = existing_dir(state.state_dir()?)?;
    let _lock = lock_state_dir(&state_dir)?;
    let mut missing: BTreeSet<LineId> = ids.iter().copied().collect();
    let wanted = missing.clone();
    let mut discarded = Discarded::read(&RealDisk, &state_dir).map_err(|error| unreadable(&state_dir, &error))?;
    let (letters, generations) =
        dead_letters::census(&RealDisk, &state_dir).map_err(|error| unreadable(&state_dir, &error))?;
    let bar = progress::count(letters, "discard");
    let mut summary = Summary::default();
    let read = dead_letters::read(&RealDisk, &state_dir, |found| {
        bar.inc(1);
        let is_wanted = if wanted.is_empty() { all || filter.takes(&found.letter) } else { wanted.contains(&found.id) };
        if is_wanted {
            missing.remove(&found.id);
            summary.add(&found);
            discarded.add(found.id, found.letter.length);
        }
        Ok(())
    });
    bar.finish_and_clear();
    read.map_err(|error| unreadable(&state_dir, &error))?;
    if let Some(id) = missing.first() {
        return Err(Failure::new(Exit::Usage, format!("no dead letter has the id {id}")));
    }
    if summary.letters == 0 {
        print("no dead letters\n")?;
        return Ok(Exit::Success);
    }
    print(&summary.text())?;
    if !yes {
        let message = format!("this would delete {} dead letters permanently: confirm with --yes", summary.letters);
        return Err(Failure::new(Exit::Usage, message));
    }
    let known = Known::read(&RealDisk, &state_dir)?;
    // The entry of a discarded letter is needed as long as the letter is in its file.
    discarded.keep(|generation| known.generations.contains_key(generation) || generations.contains(generation));
    let done = discarded.write(&RealDisk, &state_dir);
    done.and_then(|()| ReplayMarks::open(RealDisk, &state_dir).remove_done())
        .map_err(|error| unreadable(&state_dir, &error))?;
    print(&format!("{} discarded\n", summary.letters))?;
    Ok(Exit::Success)
}

/// A summary of the letters to discard.
#[derive(Default)]
struct Summary {
    letters: u64,
    kinds: BTreeMap<(u16, String), u64>,
}

impl Summary {
    fn add(&mut self, found: &StoredLetter<'_>) {
        let DeadLetter { status, index, .. } = &found.letter;
        self.letters += 1;
        let is_new = self.kinds.len() < KINDS_SHOWN_MAX;
        let kind = (*status, index.clone());
        if is_new || self.kinds.contains_key(&kind) {
            *self.kinds.entry(kind).or_default() += 1;
        }
    }

    fn text(&self) -> String {
        let line =
            |((status, index), count): (&(u16, String), &u64)| format!("{count} with status {status} for {index}\n");
        let mut text: String = self.kinds.iter().map(line).collect();
        let others = self.letters - self.kinds.values().sum::<u64>();
        if others > 0 {
            text += &format!("{others} others\n");
        }
        text
    }
}
