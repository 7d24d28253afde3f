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
struct Gathered {
    lines: u64,
    /// Index in [`Level::ALL`].
    worst: u8,
    first: i64,
    last: i64,
}

impl Gathered {
    const NOTHING: Self = Self { lines: 0, worst: 0, first: i64::MAX, last: i64::MIN };
}

pub(crate) fn patterns(
    snapshot: &Snapshot<'_>,
    scope: &Scope,
    selection: &Selection,
    top: usize,
) -> rusqlite::Result<Patterns> {
    let (selected, counted) = selected(snapshot, scope, selection)?;
    let mut patterns: HashMap<Vec<u8>, Gathered> = HashMap::new();
    let mut not_told_apart = 0;
    for Selected { stretch, bits } in &selected {
        snapshot.in_time()?;
        let (times, levels) = (snapshot.times(stretch)?, levels(snapshot, stretch)?);
        snapshot.each_term(stretch, &[PATTERN], |term, set| {
            let mut own = Gathered::NOTHING;
            bits::each(set, stretch.info().lines, |place| {
                if bits.has(place) {
                    let time = times.get(place).copied().unwrap_or(0);
                    let level = levels.get(place).copied().filter(|level| usize::from(*level) < Level::ALL.len());
                    own.lines += 1;
                    own.worst = own.worst.max(level.unwrap_or(0));
                    (own.first, own.last) = (own.first.min(time), own.last.max(time));
                }
            });
            let text = &term[1..];
            if own.lines == 0 {
            } else if let Some(all) = patterns.get_mut(text) {
                all.lines += own.lines;
                all.worst = all.worst.max(own.worst);
                (all.first, all.last) = (all.first.min(own.first), all.last.max(own.last));
            } else if patterns.len() < MAX_PATTERNS {
                patterns.insert(text.to_vec(), own);
            } else {
                not_told_apart += own.lines;
            }
        })?;
    }
    let mut patterns: Vec<_> = patterns.into_iter().collect();
    patterns.sort_unstable_by(|left, right| (Reverse(left.1.lines), &left.0).cmp(&(Reverse(right.1.lines), &right.0)));
    let top = top.clamp(1, MAX_TOP);
    let others = not_told_apart + patterns.iter().skip(top).map(|(_, gathered)| gathered.lines).sum::<u64>();
    patterns.truncate(top);
    let count = |(pattern, gathered): (Vec<u8>, Gathered)| PatternCount {
        pattern: String::from_utf8_lossy(&pattern).into_owned(),
        lines: gathered.lines,
        worst: Level::ALL.get(usize::from(gathered.worst)).copied().unwrap_or(Level::Info),
        first: Timestamp::from_unix_micros(gathered.first),
        last: Timestamp::from_unix_micros(gathered.last),
    };
    Ok(Patterns { patterns: patterns.into_iter().map(count).collect(), others, not_told_apart, counted })
}
