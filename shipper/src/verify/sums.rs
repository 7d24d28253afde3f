//! The proof by sums: one question a generation, or one for each [`WINDOW_BYTES`] of it, and more only where a sum is
//! wrong.
//!
//! A window is asked for in steps. Of each step the store tells where its first line begins, how many lines begin in it,
//! at how many places, and how long they are together: as long as it is to the first line of the next step, unless a
//! line is missing or there twice. Where something is wrong the places of the lines are read.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::Serialize;
use store::coverage::{DISTINCT_UP_TO, MAX_SPANS, MAX_STEPS};
use store::{GenerationId, Span, StoreAudit, Timestamp};

use super::gone::{self, Indices, WithIndex};
use super::known::{Generation, Known};
use super::{Listed, Missing, Twice, VerifyError};

/// Bytes of a generation that one question is about.
pub const WINDOW_BYTES: u64 = 256 * 1024 * 1024;

/// What the proof by sums found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Sums {
    /// Generations looked at.
    pub generations: u64,
    /// Generations left out because they ended before the time that was asked for.
    pub left_out: u64,
    /// Older generations are not known any more.
    pub is_cut: bool,
    /// Lines that rest in the store.
    pub stored_lines: u64,
    /// Their lengths at their source.
    pub stored_bytes: u64,
    /// Dead letters.
    pub dead_letters: u64,
    /// Their lengths at their source.
    pub dead_letter_bytes: u64,
    /// Lines whose dead letters were discarded.
    pub discarded: u64,
    /// Their lengths at their source.
    pub discarded_bytes: u64,
    /// Dead letters that rest in the store as well: a replay was cut short, and the next one marks them.
    pub unmarked_replays: u64,
    /// Bytes that are no lines for a store.
    pub skipped_bytes: u64,
    /// Bytes given up because the spool was full.
    pub given_up_bytes: u64,
    /// Lines that the store has removed itself.
    pub removed_lines: u64,
    /// Bytes beyond the checkpoints, which nothing is said of.
    pub waiting_bytes: u64,
    /// What is not there and went with its index; where that is expected it is not missing.
    pub with_index: WithIndex,
    /// What is not there.
    pub missing: Listed<Missing>,
    /// What is there more than once.
    pub twice: Listed<Twice>,
}

/// What rests of a step, or of the steps up to the next one that has something.
#[derive(Clone, Copy, Debug)]
struct Cell {
    first: u64,
    bytes: u64,
    /// Nothing but the places of its lines would show whether one is there twice.
    is_doubtful: bool,
}

/// Holds a store to what is known of each generation. Generations that ended before `since_unix_ms` are left out.
/// `progress` gets the bytes that are proved or refuted.
///
/// # Errors
/// [`VerifyError::Store`].
pub async fn check(
    known: &Known,
    store: &StoreAudit,
    indices: &Indices,
    since_unix_ms: Option<i64>,
    progress: &dyn Fn(u64),
) -> Result<Sums, VerifyError> {
    let mut sums = Sums { is_cut: known.is_cut, ..Sums::default() };
    for (id, generation) in &known.generations {
        if since_unix_ms.is_some_and(|since| generation.ended_unix_ms.is_some_and(|ended| ended < since)) {
            sums.left_out += 1;
            continue;
        }
        sums.generations += 1;
        sums.waiting_bytes += generation.waiting_bytes;
        sums.given_up_bytes += generation.given_up_bytes;
        let dead = generation.dead.range(..generation.proven_to);
        sums.dead_letters += dead.clone().count() as u64;
        sums.dead_letter_bytes += dead.map(|(_, length)| length).sum::<u64>();
        let discarded = generation.discarded.range(..generation.proven_to);
        sums.discarded += discarded.clone().count() as u64;
        sums.discarded_bytes += discarded.map(|(_, length)| length).sum::<u64>();
        sums.skipped_bytes += generation.skipped.iter().map(|range| range.end - range.start).sum::<u64>();
        let source = Source { id: *id, generation, store, indices };
        sums.of_generation(&source, progress).await?;
        for destroyed in &generation.destroyed {
            let range = destroyed.start.max(generation.proven_to)..destroyed.end;
            if !range.is_empty() {
                sums.look_closely(&source, range).await?;
            }
        }
    }
    Ok(sums)
}

impl Sums {
    /// Whether nothing is missing and nothing is there twice.
    #[must_use]
    pub fn are_right(&self) -> bool {
        self.missing.count == 0 && self.twice.count == 0
    }

    /// Whether there was a line to look for. Where a source was skipped from its beginning, there is none.
    #[must_use]
    pub fn have_lines(&self) -> bool {
        let lines = self.stored_lines + self.dead_letters + self.discarded + self.removed_lines + self.missing.count;
        lines + self.given_up_bytes + self.left_out > 0 || !self.with_index.is_empty()
    }

    async fn of_generation(&mut self, source: &Source<'_>, progress: &dyn Fn(u64)) -> Result<(), VerifyError> {
        let Source { id, generation, store, .. } = *source;
        let removed = store.reader().removed(id).await?;
        let stored_before = self.stored_bytes;
        let cells = self.cells(source, progress).await?;
        if removed.lines > 0 {
            self.removed_lines += removed.lines;
            let there = self.stored_bytes - stored_before + removed.bytes + known_bytes(generation);
            if there < generation.proven_to {
                self.miss(source, 0..generation.proven_to - there, (None, None));
            }
            return Ok(());
        }
        for doubtful in wrong(&cells, generation.proven_to) {
            self.look_closely(source, doubtful).await?;
        }
        Ok(())
    }

    /// What rests of the generation, by steps, with what is known to rest elsewhere.
    async fn cells(&mut self, source: &Source<'_>, progress: &dyn Fn(u64)) -> Result<Vec<Cell>, VerifyError> {
        let Source { id, generation, store, .. } = *source;
        let step = WINDOW_BYTES / MAX_STEPS;
        let mut cells: BTreeMap<u64, Cell> = BTreeMap::new();
        let mut add = |first: u64, bytes: u64, is_doubtful: bool| {
            let cell = cells.entry(first / step).or_insert(Cell { first, bytes: 0, is_doubtful: false });
            cell.first = cell.first.min(first);
            cell.bytes += bytes;
            cell.is_doubtful |= is_doubtful;
        };
        let mut start = 0;
        while start < generation.proven_to {
            let end = generation.proven_to.min(start + WINDOW_BYTES);
            for coverage in store.reader().coverage_in_steps(id, start..end, step).await? {
                self.stored_lines += coverage.lines;
                self.stored_bytes += coverage.bytes;
                let is_doubtful = coverage.distinct < coverage.lines || coverage.lines > DISTINCT_UP_TO;
                add(coverage.first.unwrap_or(start), coverage.bytes, is_doubtful);
            }
            progress(end - start);
            start = end;
        }
        for (offset, length) in elsewhere(generation, &(0..generation.proven_to)) {
            add(offset, length, false);
        }
        Ok(cells.into_values().collect())
    }

    /// Reads the places of the lines of a range and finds what is missing and what is there twice.
    async fn look_closely(&mut self, source: &Source<'_>, range: Range<u64>) -> Result<(), VerifyError> {
        let mut reached = Reached { expected: range.start, index: None };
        let mut from = range.start;
        while from < range.end {
            let mut spans = source.store.reader().spans(source.id, from..range.end, MAX_SPANS).await?;
            let next = next_page(&mut spans, range.end);
            self.walk(source, &mut reached, from..next, &spans);
            from = next;
        }
        if reached.expected < range.end {
            let proven_to = source.generation.proven_to;
            let after = match range.end < proven_to {
                true => source.store.reader().spans(source.id, range.end..proven_to, 1).await?,
                false => Vec::new(),
            };
            let after = after.first().and_then(|span| span.index.as_deref());
            self.miss(source, reached.expected..range.end, (reached.index.as_deref(), after));
        }
        Ok(())
    }

    /// Goes from line to line of a page.
    fn walk(&mut self, source: &Source<'_>, reached: &mut Reached, page: Range<u64>, spans: &[Span]) {
        let generation = source.generation;
        let mut places: BTreeMap<u64, (u64, Vec<&Span>)> = BTreeMap::new();
        for span in spans {
            let place = places.entry(span.offset).or_default();
            place.0 = place.0.max(span.length);
            place.1.push(span);
        }
        for (offset, length) in elsewhere(generation, &page) {
            let place = places.entry(offset).or_default();
            // One that was discarded since is no letter that could be marked.
            self.unmarked_replays += u64::from(!place.1.is_empty() && generation.dead.contains_key(&offset));
            place.0 = place.0.max(length);
        }
        for (offset, (length, there)) in places {
            let index = there.first().and_then(|span| span.index.as_deref());
            if offset > reached.expected {
                self.miss(source, reached.expected..offset, (reached.index.as_deref(), index));
            }
            if there.len() > 1 || offset < reached.expected {
                let indices = there.iter().filter_map(|span| span.index.clone()).collect();
                self.twice.push(Twice { generation: source.id, source: generation.source.clone(), offset, indices });
            }
            reached.expected = reached.expected.max(offset + length);
            if let Some(index) = index {
                index.clone_into(reached.index.get_or_insert_default());
            }
        }
    }

    /// Notes a gap between two lines, of which the indices are known where they are there.
    fn miss(&mut self, source: &Source<'_>, range: Range<u64>, lines: (Option<&str>, Option<&str>)) {
        let Source { id, generation, indices, .. } = *source;
        let (offset, bytes) = (range.start, range.end - range.start);
        let begun = i64::try_from(id.created_unix_ms()).unwrap_or(i64::MAX);
        let ended = generation.ended_unix_ms.unwrap_or_else(|| Timestamp::now().unix_ms());
        let is_destroyed = generation.destroyed.iter().any(|destroyed| destroyed.contains(&offset));
        let index_gone = if is_destroyed { None } else { indices.gone_between(lines, begun, ended) };
        if let Some(index) = &index_gone {
            gone::add(&mut self.with_index, index.clone(), 0, bytes);
        }
        if index_gone.is_none() || !indices.removal_is_expected {
            let source = generation.source.clone();
            self.missing.push(Missing { generation: id, source, offset, bytes, index_gone, is_destroyed });
        }
    }
}

/// A generation, and what it is held to.
#[derive(Clone, Copy)]
struct Source<'a> {
    id: GenerationId,
    generation: &'a Generation,
    store: &'a StoreAudit,
    indices: &'a Indices,
}

/// How far the lines stand end to end.
struct Reached {
    /// Where the next one must begin.
    expected: u64,
    /// The index of the last one that rests in one.
    index: Option<String>,
}

/// What of a range is known to rest elsewhere than in the store, or nowhere by right: where it begins and how long it is.
fn elsewhere<'a>(generation: &'a Generation, range: &Range<u64>) -> impl Iterator<Item = (u64, u64)> + 'a {
    let range = range.clone();
    let skipped = generation.skipped.iter().map(|skipped| (skipped.start, skipped.end - skipped.start));
    let dead = generation.dead.iter().chain(&generation.discarded).map(|(offset, length)| (*offset, *length));
    skipped.chain(dead).filter(move |(offset, _)| range.contains(offset))
}

fn known_bytes(generation: &Generation) -> u64 {
    elsewhere(generation, &(0..generation.proven_to)).map(|(_, length)| length).sum()
}

/// The ranges in which the sums do not tell that all is there once, those next to each other as one.
fn wrong(cells: &[Cell], end: u64) -> Vec<Range<u64>> {
    let mut wrong: Vec<Range<u64>> = Vec::new();
    let mut add = |range: Range<u64>| match wrong.last_mut() {
        Some(last) if last.end == range.start => last.end = range.end,
        _ if range.is_empty() => {}
        _ => wrong.push(range),
    };
    if let Some(first) = cells.first().map_or(Some(end), |cell| (cell.first > 0).then_some(cell.first)) {
        add(0..first);
    }
    for (place, cell) in cells.iter().enumerate() {
        let next = cells.get(place + 1).map_or(end, |next| next.first);
        if cell.is_doubtful || cell.first + cell.bytes != next {
            add(cell.first..next);
        }
    }
    wrong
}

/// Where the next page of places begins. Of a page that is full the last place may have more lines than it shows, so
/// they are left to the next one.
fn next_page(spans: &mut Vec<Span>, end: u64) -> u64 {
    let (Some(first), Some(last)) = (spans.first(), spans.last()) else { return end };
    let (first, last) = (first.offset, last.offset);
    if spans.len() < MAX_SPANS {
        return end;
    }
    if first == last {
        return last + 1;
    }
    spans.retain(|span| span.offset < last);
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(first: u64, bytes: u64) -> Cell {
        Cell { first, bytes, is_doubtful: false }
    }

    #[test]
    fn sums_that_are_wrong_are_found_with_their_place() {
        let places =
            |cells: &[Cell], end| wrong(cells, end).iter().map(|range| (range.start, range.end)).collect::<Vec<_>>();
        assert_eq!(places(&[cell(0, 10), cell(10, 5)], 15), []);
        assert_eq!(places(&[], 15), [(0, 15)]);
        assert_eq!(places(&[], 0), []);
        assert_eq!(places(&[cell(3, 7), cell(10, 5)], 15), [(0, 3)]);
        assert_eq!(places(&[cell(0, 9), cell(10, 5)], 15), [(0, 10)]);
        assert_eq!(places(&[cell(0, 10), cell(10, 4), cell(15, 6)], 20), [(10, 20)]);
        let twice = Cell { is_doubtful: true, ..cell(10, 5) };
        assert_eq!(places(&[cell(0, 10), twice, cell(15, 5)], 20), [(10, 15)]);
    }

    #[test]
    fn a_full_page_leaves_its_last_place_to_the_next() {
        let span = |offset| Span { offset, length: 1, index: None };
        let mut short: Vec<_> = (0..5).map(span).collect();
        assert_eq!(next_page(&mut short, 100), 100);
        let mut full: Vec<_> = (0..MAX_SPANS as u64).map(|place| span(place / 2)).collect();
        let last = MAX_SPANS as u64 / 2 - 1;
        assert_eq!(next_page(&mut full, 1 << 40), last);
        assert_eq!(full.last().unwrap().offset, last - 1);
        let mut same: Vec<_> = (0..MAX_SPANS).map(|_| span(7)).collect();
        assert_eq!(next_page(&mut same, 100), 8);
    }

    #[test]
    fn what_rests_elsewhere_is_skipped_dead_or_discarded() {
        let mut known = crate::verify::known::Known::default();
        let id = GenerationId::new(1, &[0; 10]);
        // The same bytes may be passed over again after a restart.
        for _ in 0..2 {
            known.note(crate::completed::Note::Skipped { generation: id, from: 0, to: 5 });
        }
        let generation = known.generations.get_mut(&id).unwrap();
        generation.proven_to = 30;
        generation.dead.insert(5, 10);
        generation.discarded.insert(15, 15);
        assert_eq!(known_bytes(generation), 30);
        assert_eq!(elsewhere(generation, &(10..30)).collect::<Vec<_>>(), [(15, 15)]);
    }
}
