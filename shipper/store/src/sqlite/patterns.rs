//! Counts lines by message pattern, using the pattern terms of runs.

use std::cmp::Reverse;
use std::collections::HashMap;

use crate::counts::{MAX_TOP, Selection};
use crate::level::Level;
use crate::patterns::{MAX_PATTERNS, PatternCount, Patterns};
use crate::scope::Scope;
use crate::sqlite::bits;
use crate::sqlite::counts::{Selected, levels, selected};
use crate::sqlite::snapshot::Snapshot;
use crate::sqlite::terms::PATTERN;
use crate::timestamp::Timestamp;

/// Counts of one pattern.
#[derive(Clone, Copy)]
struct PatternTally {
    lines: u64,
    /// Index in [`Level::ALL`].
    highest_level: u8,
    first: i64,
    last: i64,
}

impl PatternTally {
    const EMPTY: Self = Self { lines: 0, highest_level: 0, first: i64::MAX, last: i64::MIN };
}

pub(crate) fn patterns(
    snapshot: &Snapshot<'_>,
    scope: &Scope,
    selection: &Selection,
    top: usize,
) -> rusqlite::Result<Patterns> {
    let (selected, accuracy) = selected(snapshot, scope, selection)?;
    let mut patterns: HashMap<Vec<u8>, PatternTally> = HashMap::new();
    let mut uncounted = 0;
    for Selected { chunk, bits } in &selected {
        snapshot.check_deadline()?;
        let (times, levels) = (snapshot.times(chunk)?, levels(snapshot, chunk)?);
        snapshot.each_term(chunk, &[PATTERN], |term, set| {
            let mut own = PatternTally::EMPTY;
            bits::each(set, chunk.info().lines, |index| {
                if bits.has(index) {
                    let time = times.get(index).copied().unwrap_or(0);
                    let level = levels.get(index).copied().filter(|level| usize::from(*level) < Level::ALL.len());
                    own.lines += 1;
                    own.highest_level = own.highest_level.max(level.unwrap_or(0));
                    (own.first, own.last) = (own.first.min(time), own.last.max(time));
                }
            });
            let text = &term[1..];
            if own.lines == 0 {
            } else if let Some(all) = patterns.get_mut(text) {
                all.lines += own.lines;
                all.highest_level = all.highest_level.max(own.highest_level);
                (all.first, all.last) = (all.first.min(own.first), all.last.max(own.last));
            } else if patterns.len() < MAX_PATTERNS {
                patterns.insert(text.to_vec(), own);
            } else {
                uncounted += own.lines;
            }
        })?;
    }
    let mut patterns: Vec<_> = patterns.into_iter().collect();
    patterns.sort_unstable_by(|left, right| (Reverse(left.1.lines), &left.0).cmp(&(Reverse(right.1.lines), &right.0)));
    let top = top.clamp(1, MAX_TOP);
    let others = uncounted + patterns.iter().skip(top).map(|(_, tally)| tally.lines).sum::<u64>();
    patterns.truncate(top);
    let count = |(pattern, tally): (Vec<u8>, PatternTally)| PatternCount {
        pattern: String::from_utf8_lossy(&pattern).into_owned(),
        lines: tally.lines,
        highest_level: Level::ALL.get(usize::from(tally.highest_level)).copied().unwrap_or(Level::Info),
        first: Timestamp::from_unix_micros(tally.first),
        last: Timestamp::from_unix_micros(tally.last),
    };
    Ok(Patterns { patterns: patterns.into_iter().map(count).collect(), others, uncounted, accuracy })
}
