//! `shipper dead-letters discard`: gives dead letters up, once it was said which and once more that it shall be.

use std::collections::{BTreeMap, BTreeSet};

use shipper::dead_letters::discarded::Discarded;
use shipper::dead_letters::replayed::Marks;
use shipper::dead_letters::{self, DeadLetter, Found};
use shipper::disk::RealDisk;
use shipper::verify::known::Known;
use store::LineId;

use super::super::args::{DiscardArgs, hold};
use super::super::{progress, say};
use super::{there, unreadable};
use crate::exit::{Exit, Failure};

/// So many kinds of letters are told apart; the rest is added up.
const KINDS_SHOWN_MAX: usize = 20;

/// Discards, or says what would be.
pub(super) fn discard(args: DiscardArgs) -> Result<Exit, Failure> {
    let DiscardArgs { ids, all, filter, yes, state } = args;
    let state_dir = there(state.state_dir()?)?;
    let _held = hold(&state_dir)?;
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
        return Err(Failure::new(Exit::Usage, format!("there is no dead letter {id}")));
    }
    if summary.letters == 0 {
        say("no dead letters\n")?;
        return Ok(Exit::Success);
    }
    say(&summary.text())?;
    if !yes {
        let message = format!("{} dead letters would be lost for good; nothing was done: add --yes", summary.letters);
        return Err(Failure::new(Exit::Usage, message));
    }
    let known = Known::read(&RealDisk, &state_dir)?;
    // As long as a letter lies in its file, what is remembered keeps it from being one.
    discarded.keep(|generation| known.generations.contains_key(generation) || generations.contains(generation));
    let done = discarded.write(&RealDisk, &state_dir);
    done.and_then(|()| Marks::open(RealDisk, &state_dir).remove_done())
        .map_err(|error| unreadable(&state_dir, &error))?;
    say(&format!("{} discarded\n", summary.letters))?;
    Ok(Exit::Success)
}

/// What is about to be discarded.
#[derive(Default)]
struct Summary {
    letters: u64,
    kinds: BTreeMap<(u16, String), u64>,
}

impl Summary {
    fn add(&mut self, found: &Found<'_>) {
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
            |((status, index), count): (&(u16, String), &u64)| format!("{count} of status {status} for {index}\n");
        let mut text: String = self.kinds.iter().map(line).collect();
        let others = self.letters - self.kinds.values().sum::<u64>();
        if others > 0 {
            text += &format!("{others} others\n");
        }
        text
    }
}
