//! Aggregations over the terms, times and durations of runs. Documents are read only for lines that terms can't decide,
//! at most [`LOOKED_AT_MAX`] in one answer.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::time::Duration;

use crate::counts::{Bucket, Counted, Facet, FacetCounts, Facets, Histogram, MAX_TOP, Selection, Steps, is_ordered};
use crate::level::Level;
use crate::query::{Field, FieldType};
use crate::scope::Scope;
use crate::sqlite::bits::{self, Bits};
use crate::sqlite::snapshot::{Snapshot, Stretch};
use crate::sqlite::terms::{self, STATUS};
use crate::timestamp::Timestamp;

/// Maximum number of documents read for one answer, the newest first.
const LOOKED_AT_MAX: u64 = 50_000;

/// Maximum number of distinct values, groups or patterns counted in one answer; lines beyond it count as others.
pub(super) const VALUES_MAX: usize = 200_000;

/// The selected lines of a chunk.
pub(super) struct Selected {
    pub(super) stretch: Stretch,
    pub(super) bits: Bits,
}

/// Returns the selected lines by chunk, the newest first, and whether they are complete.
pub(super) fn selected(
    snapshot: &Snapshot<'_>,
    scope: &Scope,
    selection: &Selection,
) -> rusqlite::Result<(Vec<Selected>, Counted)> {
    let (from, to) = (selection.from.map(Timestamp::unix_micros), selection.to.map(Timestamp::unix_micros));
    let mut left = LOOKED_AT_MAX;
    let mut is_cut = false;
    let mut all = Vec::new();
    for stretch in snapshot.stretches(scope, &selection.filter, from, to)?.into_iter().rev() {
        let mut found = snapshot.found(&stretch, scope, &selection.filter)?;
        if let Some(within) = snapshot.within(&stretch, from, to)? {
            found.surely.and(&within);
            found.maybe.and(&within);
        }
        let mut bits = found.surely;
        let mut open = found.maybe;
        open.minus(&bits);
        for place in open.iter() {
            if left == 0 {
                is_cut = true;
                break;
            }
            left -= 1;
            if left.is_multiple_of(256) {
                snapshot.in_time()?;
            }
            let id = stretch.info().first + i64::try_from(place).unwrap_or(0);
            let (row, named) = (snapshot.row(id)?, snapshot.named()?);
            if row.is_some_and(|row| named.is_found(id, scope, &selection.filter, &row.document)) {
                bits.set(place);
            }
        }
        if !bits.is_empty() {
            all.push(Selected { stretch, bits });
        }
    }
    let counted = if is_cut { Counted::AtLeast { looked_at: LOOKED_AT_MAX } } else { Counted::Exact };
    Ok((all, counted))
}

/// Counts by value, up to a limit.
#[derive(Default)]
struct Tally {
    values: HashMap<Vec<u8>, u64>,
    others: u64,
    is_cut: bool,
}

impl Tally {
    fn add(&mut self, value: &[u8], lines: u64) {
        if lines == 0 {
            return;
        }
        if let Some(count) = self.values.get_mut(value) {
            *count += lines;
        } else if self.values.len() < VALUES_MAX {
            self.values.insert(value.to_vec(), lines);
        } else {
            self.others += lines;
            self.is_cut = true;
        }
    }

    fn top(self, facet: Facet, top: usize) -> FacetCounts {
        let text = |value: &[u8]| match &facet {
            Facet::Status => terms::status_of(value).map(|status| status.to_string()).unwrap_or_default(),
            Facet::Of(_) => String::from_utf8_lossy(&value[1..]).into_owned(),
            Facet::Named(field) if field.kind() == FieldType::Boolean => (value == [1]).to_string(),
            Facet::Named(_) => String::from_utf8_lossy(value).into_owned(),
        };
        // Terms have the order of their values, and statuses that of numbers.
        let mut values: Vec<_> = self.values.into_iter().collect();
        values.sort_unstable_by(|left, right| (Reverse(left.1), &left.0).cmp(&(Reverse(right.1), &right.0)));
        let rest: u64 = values.iter().skip(top).map(|(_, lines)| lines).sum();
        values.truncate(top);
        let values = values.iter().map(|(value, lines)| (text(value), *lines)).collect();
        FacetCounts { facet, values, others: self.others + rest }
    }
}

pub(crate) fn facets(
    snapshot: &Snapshot<'_>,
    scope: &Scope,
    selection: &Selection,
    facets: &[Facet],
    top: usize,
) -> rusqlite::Result<Facets> {
    let (selected, mut counted) = selected(snapshot, scope, selection)?;
    let mut tallies: Vec<_> = facets.iter().map(|_| Tally::default()).collect();
    let mut lines = 0;
    for Selected { stretch, bits } in &selected {
        let own = bits.count();
        lines += own;
        let all = own == stretch.info().lines as u64;
        for (facet, tally) in facets.iter().zip(&mut tallies) {
            snapshot.in_time()?;
            let mut count = |term: &[u8], set: &[u8]| {
                let count = if all { bits::count(set) } else { bits::count_among(bits, set, stretch.info().lines) };
                tally.add(term, count);
            };
            match facet {
                Facet::Of(field) => snapshot.each_term(stretch, &[terms::code(*field)], count)?,
                Facet::Status => snapshot.each_term(stretch, &[STATUS], count)?,
                Facet::Named(field) => {
                    // It may have been named several times.
                    for prefix in snapshot.named()?.prefixes(field) {
                        snapshot.each_term(stretch, &prefix, |term, set| count(&term[prefix.len()..], set))?;
                    }
                }
            }
        }
    }
    if tallies.iter().any(|tally| tally.is_cut) {
        counted = Counted::AtLeast { looked_at: lines };
    }
    let top = top.clamp(1, MAX_TOP);
    let facets = facets.iter().zip(tallies).map(|(facet, tally)| tally.top(facet.clone(), top)).collect();
    Ok(Facets { lines, facets, counted })
}

/// Returns the buckets of a selection's time range, or from its first to its last line. Returns `None` if it is empty.
pub(super) fn steps(
    snapshot: &Snapshot<'_>,
    selection: &Selection,
    selected: &[Selected],
    step: Duration,
) -> rusqlite::Result<Option<Steps>> {
    if let Some(steps) = Steps::of(selection, step) {
        return Ok(Some(steps));
    }
    let mut ends = None::<(Timestamp, Timestamp)>;
    for Selected { stretch, bits } in selected {
        snapshot.in_time()?;
        let at = Timestamp::from_unix_micros;
        let (earliest, latest) = (at(stretch.info().earliest), at(stretch.info().latest));
        if ends.is_some_and(|(first, last)| earliest >= first && latest <= last) {
            continue;
        }
        let times = snapshot.times(stretch)?;
        for time in bits.iter().filter_map(|place| times.get(place).copied()).map(at).filter(is_ordered) {
            let (first, last) = ends.get_or_insert((time, time));
            (*first, *last) = ((*first).min(time), (*last).max(time));
        }
    }
    Ok(ends.map(|ends| Steps::around(selection, ends, step)))
}

/// Returns the index in [`Level::ALL`] of each line's level; the length of it for lines without a level.
pub(super) fn levels(snapshot: &Snapshot<'_>, stretch: &Stretch) -> rusqlite::Result<Vec<u8>> {
    let lines = stretch.info().lines;
    let mut levels = vec![u8::try_from(Level::ALL.len()).unwrap_or(u8::MAX); lines];
    snapshot.each_term(stretch, &[terms::code(Field::Level)], |term, set| {
        let number = Level::ALL.iter().position(|level| level.as_str().as_bytes() == &term[1..]);
        if let Some(number) = number.and_then(|number| u8::try_from(number).ok()) {
            bits::each(set, lines, |place| {
                if let Some(level) = levels.get_mut(place) {
                    *level = number;
                }
            });
        }
    })?;
    Ok(levels)
}

pub(crate) fn histogram(
    snapshot: &Snapshot<'_>,
    scope: &Scope,
    selection: &Selection,
    step: Duration,
) -> rusqlite::Result<Histogram> {
    let (selected, counted) = selected(snapshot, scope, selection)?;
    let Some(steps) = steps(snapshot, selection, &selected, step)? else {
        return Ok(Histogram { step, counted, ..Histogram::default() });
    };
    let bucket = |start| Bucket { start, lines: 0, levels: [0; Level::ALL.len()] };
    let mut buckets: Vec<_> = steps.starts().map(bucket).collect();
    for Selected { stretch, bits } in &selected {
        snapshot.in_time()?;
        let (times, levels) = (snapshot.times(stretch)?, levels(snapshot, stretch)?);
        for place in bits.iter() {
            let time = times.get(place).map(|time| Timestamp::from_unix_micros(*time));
            let step = time.filter(is_ordered).and_then(|time| steps.place(time));
            let Some(bucket) = step.and_then(|step| buckets.get_mut(step)) else { continue };
            bucket.lines += 1;
            if let Some(count) = levels.get(place).and_then(|level| bucket.levels.get_mut(usize::from(*level))) {
                *count += 1;
            }
        }
    }
    Ok(Histogram { step: steps.duration(), buckets, counted })
}
