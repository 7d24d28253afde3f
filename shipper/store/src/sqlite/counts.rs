//! Aggregations over the terms, times and durations of runs. Documents are read only for lines that terms can't decide,
//! at most [`MAX_EXAMINED`] in one answer.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::time::Duration;

use crate::counts::{Accuracy, Bucket, Facet, FacetCounts, Facets, Histogram, MAX_TOP, Selection, Steps, is_ordered};
use crate::level::Level;
use crate::query::{Field, FieldType};
use crate::scope::Scope;
use crate::sqlite::bits::{self, Bits};
use crate::sqlite::snapshot::{Chunk, Snapshot};
use crate::sqlite::terms::{self, STATUS};
use crate::timestamp::Timestamp;

/// Maximum number of documents read for one answer, the newest first.
const MAX_EXAMINED: u64 = 50_000;

/// Maximum number of distinct values, groups or patterns counted in one answer; lines beyond it count as others.
pub(super) const VALUES_MAX: usize = 200_000;

/// The selected lines of a chunk.
pub(super) struct Selected {
    pub(super) chunk: Chunk,
    pub(super) bits: Bits,
}

/// Returns the selected lines by chunk, the newest first, and whether they are complete.
pub(super) fn selected(
    snapshot: &Snapshot<'_>,
    scope: &Scope,
    selection: &Selection,
) -> rusqlite::Result<(Vec<Selected>, Accuracy)> {
    let (from, to) = (selection.from.map(Timestamp::unix_micros), selection.to.map(Timestamp::unix_micros));
    let mut left = MAX_EXAMINED;
    let mut is_cut = false;
    let mut all = Vec::new();
    for chunk in snapshot.chunks(scope, &selection.filter, from, to)?.into_iter().rev() {
        let mut found = snapshot.matches(&chunk, scope, &selection.filter)?;
        if let Some(within) = snapshot.within(&chunk, from, to)? {
            found.certain.and(&within);
            found.possible.and(&within);
        }
        let mut bits = found.certain;
        let mut open = found.possible;
        open.subtract(&bits);
        for index in open.iter() {
            if left == 0 {
                is_cut = true;
                break;
            }
            left -= 1;
            if left.is_multiple_of(256) {
                snapshot.check_deadline()?;
            }
            let id = chunk.info().first + i64::try_from(index).unwrap_or(0);
            let (row, named) = (snapshot.row(id)?, snapshot.indexed_fields()?);
            if row.is_some_and(|row| named.is_match(id, scope, &selection.filter, &row.document)) {
                bits.set(index);
            }
        }
        if !bits.is_empty() {
            all.push(Selected { chunk, bits });
        }
    }
    let accuracy = if is_cut { Accuracy::AtLeast { examined: MAX_EXAMINED } } else { Accuracy::Exact };
    Ok((all, accuracy))
}

/// Counts by value, up to a limit.
#[derive(Default)]
struct ValueTally {
    values: HashMap<Vec<u8>, u64>,
    others: u64,
    is_cut: bool,
}

impl ValueTally {
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
            Facet::Field(_) => String::from_utf8_lossy(&value[1..]).into_owned(),
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
    let (selected, mut accuracy) = selected(snapshot, scope, selection)?;
    let mut tallies: Vec<_> = facets.iter().map(|_| ValueTally::default()).collect();
    let mut lines = 0;
    for Selected { chunk, bits } in &selected {
        let own = bits.count();
        lines += own;
        let all = own == chunk.info().lines as u64;
        for (facet, tally) in facets.iter().zip(&mut tallies) {
            snapshot.check_deadline()?;
            let mut count = |term: &[u8], set: &[u8]| {
                let count = if all { bits::count(set) } else { bits::count_among(bits, set, chunk.info().lines) };
                tally.add(term, count);
            };
            match facet {
                Facet::Field(field) => snapshot.each_term(chunk, &[field.code()], count)?,
                Facet::Status => snapshot.each_term(chunk, &[STATUS], count)?,
                Facet::Named(field) => {
                    // It may have been named several times.
                    for prefix in snapshot.indexed_fields()?.prefixes(field) {
                        snapshot.each_term(chunk, &prefix, |term, set| count(&term[prefix.len()..], set))?;
                    }
                }
            }
        }
    }
    if tallies.iter().any(|tally| tally.is_cut) {
        accuracy = Accuracy::AtLeast { examined: lines };
    }
    let top = top.clamp(1, MAX_TOP);
    let facets = facets.iter().zip(tallies).map(|(facet, tally)| tally.top(facet.clone(), top)).collect();
    Ok(Facets { lines, facets, accuracy })
}

/// Returns the buckets of a selection's time range, or from its first to its last line. Returns `None` if it is empty.
pub(super) fn steps(
    snapshot: &Snapshot<'_>,
    selection: &Selection,
    selected: &[Selected],
    step: Duration,
) -> rusqlite::Result<Option<Steps>> {
    if let Some(steps) = Steps::from_selection(selection, step) {
        return Ok(Some(steps));
    }
    let mut ends = None::<(Timestamp, Timestamp)>;
    for Selected { chunk, bits } in selected {
        snapshot.check_deadline()?;
        let at = Timestamp::from_unix_micros;
        let (earliest, latest) = (at(chunk.info().earliest), at(chunk.info().latest));
        if ends.is_some_and(|(first, last)| earliest >= first && latest <= last) {
            continue;
        }
        let times = snapshot.times(chunk)?;
        for time in bits.iter().filter_map(|index| times.get(index).copied()).map(at).filter(is_ordered) {
            let (first, last) = ends.get_or_insert((time, time));
            (*first, *last) = ((*first).min(time), (*last).max(time));
        }
    }
    Ok(ends.map(|ends| Steps::from_selection_or(selection, ends, step)))
}

/// Returns the index in [`Level::ALL`] of each line's level; the length of it for lines without a level.
pub(super) fn levels(snapshot: &Snapshot<'_>, chunk: &Chunk) -> rusqlite::Result<Vec<u8>> {
    let lines = chunk.info().lines;
    let mut levels = vec![u8::try_from(Level::ALL.len()).unwrap_or(u8::MAX); lines];
    snapshot.each_term(chunk, &[Field::Level.code()], |term, set| {
        let number = Level::ALL.iter().position(|level| level.as_str().as_bytes() == &term[1..]);
        if let Some(number) = number.and_then(|number| u8::try_from(number).ok()) {
            bits::each(set, lines, |index| {
                if let Some(level) = levels.get_mut(index) {
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
    let (selected, accuracy) = selected(snapshot, scope, selection)?;
    let Some(steps) = steps(snapshot, selection, &selected, step)? else {
        return Ok(Histogram { step, accuracy, ..Histogram::default() });
    };
    let bucket = |start| Bucket { start, lines: 0, levels: [0; Level::ALL.len()] };
    let mut buckets: Vec<_> = steps.starts().map(bucket).collect();
    for Selected { chunk, bits } in &selected {
        snapshot.check_deadline()?;
        let (times, levels) = (snapshot.times(chunk)?, levels(snapshot, chunk)?);
        for index in bits.iter() {
            let time = times.get(index).map(|time| Timestamp::from_unix_micros(*time));
            let step = time.filter(is_ordered).and_then(|time| steps.index_of(time));
            let Some(bucket) = step.and_then(|step| buckets.get_mut(step)) else { continue };
            bucket.lines += 1;
            if let Some(count) = levels.get(index).and_then(|level| bucket.levels.get_mut(usize::from(*level))) {
                *count += 1;
            }
        }
    }
    Ok(Histogram { step: steps.duration(), buckets, accuracy })
}
