//! Request statistics, computed from the terms, times and durations of access lines.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::counts::{Accuracy, Breakdown, GroupKey, MAX_TOP, RequestStats, Requests, Selection, Steps, is_ordered};
use crate::query::{Field, Filter};
use crate::scope::Scope;
use crate::sqlite::bits::{self, Bits};
use crate::sqlite::counts::{Selected, VALUES_MAX, selected, steps};
use crate::sqlite::snapshot::{Chunk, Snapshot};
use crate::sqlite::terms::{self, STATUS};
use crate::timestamp::Timestamp;

/// Maximum number of durations kept for the percentiles of one answer, from the newest requests; the groups have the
/// same limit.
const DURATIONS_MAX: usize = 2_000_000;

/// Counts and durations of a group of requests.
#[derive(Clone, Default)]
struct RequestTally {
    requests: u64,
    server_errors: u64,
    unanswered: u64,
    durations: Vec<f64>,
}

impl RequestTally {
    fn stats(mut self) -> Requests {
        self.durations.sort_unstable_by(f64::total_cmp);
        let rank = |percent| percentile(&self.durations, percent);
        Requests {
            requests: self.requests,
            server_errors: self.server_errors,
            unanswered: self.unanswered,
            p50_ms: rank(50),
            p90_ms: rank(90),
            p99_ms: rank(99),
        }
    }
}

/// Returns the smallest value such that at least `percent` percent of all values are not greater.
fn percentile(sorted: &[f64], percent: usize) -> Option<f64> {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

/// The requests of a chunk, split as needed for the statistics.
struct ChunkRequests {
    /// Lines of each group.
    groups: Vec<(Vec<u8>, Bits)>,
    server_errors: Bits,
    answered: Bits,
    /// Milliseconds by index; indices do not decrease.
    durations: Vec<(u16, f64)>,
    /// For each index, where its durations begin; the last element is where they end.
    begins: Vec<usize>,
}

pub(crate) fn requests(
    snapshot: &Snapshot<'_>,
    scope: &Scope,
    selection: &Selection,
    by: Breakdown,
    top: usize,
) -> rusqlite::Result<RequestStats> {
    let filter = selection.filter.clone().and(Filter::access_lines());
    let (selected, mut accuracy) = selected(snapshot, scope, &Selection { filter, ..selection.clone() })?;
    let steps = match by {
        Breakdown::Time(step) => steps(snapshot, selection, &selected, step)?,
        _ => None,
    };
    if let (Breakdown::Time(step), None) = (by, steps) {
        return Ok(RequestStats { step: Some(step), accuracy, ..RequestStats::default() });
    }
    let mut total = RequestTally::default();
    let mut groups: BTreeMap<Vec<u8>, RequestTally> = BTreeMap::new();
    let (mut uncounted, mut requests) = (0, 0);
    let (mut kept, mut kept_of_groups) = (0, 0);
    for step in steps.iter().flat_map(Steps::starts) {
        groups.insert(step.unix_micros().to_be_bytes().to_vec(), RequestTally::default());
    }
    for Selected { chunk, bits } in &selected {
        snapshot.check_deadline()?;
        let requests_of = requests_of(snapshot, chunk, bits, by, steps)?;
        requests += bits.count();
        add_requests(&mut total, bits, &requests_of, &mut kept);
        for (group, own) in &requests_of.groups {
            if own.is_empty() {
                continue;
            }
            if groups.contains_key(group) || groups.len() < VALUES_MAX {
                add_requests(groups.entry(group.clone()).or_default(), own, &requests_of, &mut kept_of_groups);
            } else {
                uncounted += own.count();
            }
        }
    }
    if uncounted > 0 || kept.max(kept_of_groups) > DURATIONS_MAX {
        accuracy = Accuracy::AtLeast { examined: requests };
    }
    Ok(answer(total, groups, by, top, uncounted, steps, accuracy))
}

/// Adds the requests in `bits`.
fn add_requests(to: &mut RequestTally, bits: &Bits, requests_of: &ChunkRequests, kept: &mut usize) {
    let mut errors = bits.clone();
    errors.and(&requests_of.server_errors);
    let mut unanswered = bits.clone();
    unanswered.subtract(&requests_of.answered);
    to.requests += bits.count();
    to.server_errors += errors.count();
    to.unanswered += unanswered.count();
    for index in bits.iter() {
        let range = requests_of.begins.get(index).zip(requests_of.begins.get(index + 1));
        let own = range.and_then(|(begin, end)| requests_of.durations.get(*begin..*end)).unwrap_or_default();
        for (_, duration) in own {
            *kept += 1;
            if *kept <= DURATIONS_MAX {
                to.durations.push(*duration);
            }
        }
    }
}

fn requests_of(
    snapshot: &Snapshot<'_>,
    chunk: &Chunk,
    bits: &Bits,
    by: Breakdown,
    steps: Option<Steps>,
) -> rusqlite::Result<ChunkRequests> {
    let lines = chunk.info().lines;
    let mut requests_of = ChunkRequests {
        groups: Vec::new(),
        server_errors: Bits::none(),
        answered: Bits::none(),
        durations: snapshot.durations(chunk)?,
        begins: Vec::with_capacity(lines + 1),
    };
    let mut begin = 0;
    for index in 0..=lines {
        while requests_of.durations.get(begin).is_some_and(|(own, _)| usize::from(*own) < index) {
            begin += 1;
        }
        requests_of.begins.push(begin);
    }
    snapshot.each_term(chunk, &[STATUS], |term, set| {
        bits::add(&mut requests_of.answered, set, lines);
        if terms::status_of(term).is_some_and(|status| (500..600).contains(&status)) {
            bits::add(&mut requests_of.server_errors, set, lines);
        }
    })?;
    let field = match by {
        Breakdown::Endpoint => Some(Field::Endpoint),
        Breakdown::Project => Some(Field::ProjectId),
        Breakdown::Total | Breakdown::Time(_) => None,
    };
    if let Some(field) = field {
        snapshot.each_term(chunk, &[field.code()], |term, set| {
            let mut own = Bits::none();
            if bits::count_among(bits, set, lines) > 0 {
                bits::add(&mut own, set, lines);
                own.and(bits);
                requests_of.groups.push((term[1..].to_vec(), own));
            }
        })?;
    }
    if let Some(steps) = steps {
        let times = snapshot.times(chunk)?;
        let mut by_step: BTreeMap<usize, Bits> = BTreeMap::new();
        for index in bits.iter() {
            let time = times.get(index).map(|time| Timestamp::from_unix_micros(*time));
            if let Some(step) = time.filter(is_ordered).and_then(|time| steps.index_of(time)) {
                by_step.entry(step).or_insert_with(Bits::none).set(index);
            }
        }
        let starts: Vec<_> = steps.starts().collect();
        for (step, own) in by_step {
            requests_of.groups.extend(starts.get(step).map(|start| (start.unix_micros().to_be_bytes().to_vec(), own)));
        }
    }
    Ok(requests_of)
}

fn answer(
    total: RequestTally,
    groups: BTreeMap<Vec<u8>, RequestTally>,
    by: Breakdown,
    top: usize,
    uncounted: u64,
    steps: Option<Steps>,
    accuracy: Accuracy,
) -> RequestStats {
    let mut groups: Vec<_> = groups.into_iter().collect();
    let mut others = uncounted;
    let by_time = matches!(by, Breakdown::Time(_));
    if !by_time {
        // The sort is stable: groups with equal counts stay sorted by name.
        groups.sort_by_key(|(_, group)| Reverse(group.requests));
        let top = top.clamp(1, MAX_TOP);
        others += groups.iter().skip(top).map(|(_, group)| group.requests).sum::<u64>();
        groups.truncate(top);
    }
    let key = |key: Vec<u8>| match by {
        Breakdown::Time(_) => {
            let micros = key.first_chunk().map_or(0, |bytes| i64::from_be_bytes(*bytes));
            GroupKey::Time(Timestamp::from_unix_micros(micros))
        }
        _ => GroupKey::Value(String::from_utf8_lossy(&key).into_owned()),
    };
    RequestStats {
        total: total.stats(),
        groups: groups.into_iter().map(|(group, tally)| (key(group), tally.stats())).collect(),
        others,
        step: steps.map(|steps| steps.duration()),
        accuracy,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_existing_values() {
        let hundred: Vec<_> = (1..=100).map(f64::from).collect();
        assert_eq!([50, 90, 99].map(|percent| percentile(&hundred, percent)), [Some(50.0), Some(90.0), Some(99.0)]);
        assert_eq!((percentile(&[7.0], 50), percentile(&[], 50)), (Some(7.0), None));
    }
}
