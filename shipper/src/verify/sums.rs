//! The check by sums: one request per generation, or per [`WINDOW_BYTES`] of it, and more only where a sum is wrong.
//!
//! A window is divided into steps. For each step the store returns the offset of its first line, the number of lines
//! that start in it, the number of distinct offsets, and their total length. The length reaches exactly to the first
//! line of the next step, unless a line is missing or duplicate. Where a sum is wrong the offsets of the lines are
//! read.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::Serialize;
use store::coverage::{DISTINCT_UP_TO, MAX_SPANS, MAX_STEPS};
use store::{GenerationId, Span, StoreAudit, Timestamp};

use super::deleted_indices::{self, ByIndex, Indices};
use super::known::{Generation, Known};
use super::{Duplicate, Listed, Missing, VerifyError};

/// Bytes of a generation per request.
pub const WINDOW_BYTES: u64 = 256 * 1024 * 1024;

/// The result of the check by sums.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Sums {
    /// Generations checked.
    pub generations: u64,
    /// Generations ignored because they were completed before the requested time.
    pub left_out: u64,
    /// Whether notes of older generations were deleted.
    pub is_cut: bool,
    /// Lines in the store.
    pub stored_lines: u64,
    /// Their length at the source.
    pub stored_bytes: u64,
    /// Dead letters.
    pub dead_letters: u64,
    /// Their length at the source.
    pub dead_letter_bytes: u64,
    /// Discarded dead letters.
    pub discarded: u64,
    /// Their length at the source.
    pub discarded_bytes: u64,
    /// Dead letters that are in the store too: a replay was interrupted, and the next one marks them.
    pub unmarked_replays: u64,
    /// Bytes that are not lines.
    pub skipped_bytes: u64,
    /// Bytes dropped because the spool was full.
    pub dropped_bytes: u64,
    /// Lines deleted by the store's retention.
    pub removed_lines: u64,
    /// Bytes after the checkpoints, which are not checked.
    pub pending_bytes: u64,
    /// Missing lines of deleted indices. If that is expected they are not missing.
    pub deleted_indices: ByIndex,
    /// Missing lines.
    pub missing: Listed<Missing>,
    /// Lines stored more than once.
    pub duplicates: Listed<Duplicate>,
}

/// What the store holds of a step, or of several steps up to the next one that has lines.
#[derive(Clone, Copy, Debug)]
struct Step {
    first: u64,
    bytes: u64,
    /// Whether duplicates are possible: only the offsets of the lines can show it.
    is_doubtful: bool,
}

/// Compares a store with what is known of each generation. Generations completed before `since_unix_ms` are ignored.
/// `progress` is called with the number of bytes checked.
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
        sums.pending_bytes += generation.pending_bytes;
        sums.dropped_bytes += generation.dropped_bytes;
        let dead = generation.dead.range(..generation.checkpoint);
        sums.dead_letters += dead.clone().count() as u64;
        sums.dead_letter_bytes += dead.map(|(_, length)| length).sum::<u64>();
        let discarded = generation.discarded.range(..generation.checkpoint);
        sums.discarded += discarded.clone().count() as u64;
        sums.discarded_bytes += discarded.map(|(_, length)| length).sum::<u64>();
        sums.skipped_bytes += generation.skipped.iter().map(|range| range.end - range.start).sum::<u64>();
        let comparison = Comparison { id: *id, generation, store, indices };
        sums.check_generation(&comparison, progress).await?;
        for destroyed in &generation.destroyed {
            let range = destroyed.start.max(generation.checkpoint)..destroyed.end;
            if !range.is_empty() {
                sums.locate(&comparison, range).await?;
            }
        }
    }
    Ok(sums)
}

impl Sums {
    /// Whether nothing is missing or duplicate.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.missing.count == 0 && self.duplicates.count == 0
    }

    /// Whether there was a line to verify. A source that was skipped entirely has none.
    #[must_use]
    pub fn has_lines(&self) -> bool {
        let lines = self.stored_lines + self.dead_letters + self.discarded + self.removed_lines + self.missing.count;
        lines + self.dropped_bytes + self.left_out > 0 || !self.deleted_indices.is_empty()
    }

    async fn check_generation(
        &mut self,
        comparison: &Comparison<'_>,
        progress: &dyn Fn(u64),
    ) -> Result<(), VerifyError> {
        let Comparison { id, generation, store, .. } = *comparison;
        let removed = store.reader().removed(id).await?;
        let stored_before = self.stored_bytes;
        let steps = self.steps(comparison, progress).await?;
        if removed.lines > 0 {
            self.removed_lines += removed.lines;
            let there = self.stored_bytes - stored_before + removed.bytes + bytes_elsewhere(generation);
            if there < generation.checkpoint {
                self.add_missing(comparison, 0..generation.checkpoint - there, (None, None));
            }
            return Ok(());
        }
        for doubtful in mismatches(&steps, generation.checkpoint) {
            self.locate(comparison, doubtful).await?;
        }
        Ok(())
    }

    /// What the store holds of the generation, by steps, including what is known not to be in the store.
    async fn steps(&mut self, comparison: &Comparison<'_>, progress: &dyn Fn(u64)) -> Result<Vec<Step>, VerifyError> {
        let Comparison { id, generation, store, .. } = *comparison;
        let step_bytes = WINDOW_BYTES / MAX_STEPS;
        let mut steps: BTreeMap<u64, Step> = BTreeMap::new();
        let mut add = |first: u64, bytes: u64, is_doubtful: bool| {
            let step = steps.entry(first / step_bytes).or_insert(Step { first, bytes: 0, is_doubtful: false });
            step.first = step.first.min(first);
            step.bytes += bytes;
            step.is_doubtful |= is_doubtful;
        };
        let mut start = 0;
        while start < generation.checkpoint {
            let end = generation.checkpoint.min(start + WINDOW_BYTES);
            for coverage in store.reader().coverage_in_steps(id, start..end, step_bytes).await? {
                self.stored_lines += coverage.lines;
                self.stored_bytes += coverage.bytes;
                let is_doubtful = coverage.distinct < coverage.lines || coverage.lines > DISTINCT_UP_TO;
                add(coverage.first.unwrap_or(start), coverage.bytes, is_doubtful);
            }
            progress(end - start);
            start = end;
        }
        for (offset, length) in accounted_elsewhere(generation, &(0..generation.checkpoint)) {
            add(offset, length, false);
        }
        Ok(steps.into_values().collect())
    }

    /// Reads the offsets of the lines of a range, and finds missing lines and duplicates.
    async fn locate(&mut self, comparison: &Comparison<'_>, range: Range<u64>) -> Result<(), VerifyError> {
        let mut cursor = Cursor { expected: range.start, index: None };
        let mut from = range.start;
        while from < range.end {
            let mut spans = comparison.store.reader().spans(comparison.id, from..range.end, MAX_SPANS).await?;
            let next = next_page(&mut spans, range.end);
            self.walk(comparison, &mut cursor, from..next, &spans);
            from = next;
        }
        if cursor.expected < range.end {
            let checkpoint = comparison.generation.checkpoint;
            let after = match range.end < checkpoint {
                true => comparison.store.reader().spans(comparison.id, range.end..checkpoint, 1).await?,
                false => Vec::new(),
            };
            let after = after.first().and_then(|span| span.index.as_deref());
            self.add_missing(comparison, cursor.expected..range.end, (cursor.index.as_deref(), after));
        }
        Ok(())
    }

    /// Visits the lines of a page.
    fn walk(&mut self, comparison: &Comparison<'_>, cursor: &mut Cursor, page: Range<u64>, spans: &[Span]) {
        let generation = comparison.generation;
        let mut offsets: BTreeMap<u64, (u64, Vec<&Span>)> = BTreeMap::new();
        for span in spans {
            let found = offsets.entry(span.offset).or_default();
            found.0 = found.0.max(span.length);
            found.1.push(span);
        }
        for (offset, length) in accounted_elsewhere(generation, &page) {
            let found = offsets.entry(offset).or_default();
            // A discarded letter can't be marked as replayed.
            self.unmarked_replays += u64::from(!found.1.is_empty() && generation.dead.contains_key(&offset));
            found.0 = found.0.max(length);
        }
        for (offset, (length, there)) in offsets {
            let index = there.first().and_then(|span| span.index.as_deref());
            if offset > cursor.expected {
                self.add_missing(comparison, cursor.expected..offset, (cursor.index.as_deref(), index));
            }
            if there.len() > 1 || offset < cursor.expected {
                let indices = there.iter().filter_map(|span| span.index.clone()).collect();
                self.duplicates.push(Duplicate {
                    generation: comparison.id,
                    source: generation.source.clone(),
                    offset,
                    indices,
                });
            }
            cursor.expected = cursor.expected.max(offset + length);
            if let Some(index) = index {
                index.clone_into(cursor.index.get_or_insert_default());
            }
        }
    }

    /// Records a gap between two lines, whose indices are given if known.
    fn add_missing(&mut self, comparison: &Comparison<'_>, range: Range<u64>, lines: (Option<&str>, Option<&str>)) {
        let Comparison { id, generation, indices, .. } = *comparison;
        let (offset, bytes) = (range.start, range.end - range.start);
        let begun = i64::try_from(id.created_unix_ms()).unwrap_or(i64::MAX);
        let ended = generation.ended_unix_ms.unwrap_or_else(|| Timestamp::now().unix_ms());
        let is_destroyed = generation.destroyed.iter().any(|destroyed| destroyed.contains(&offset));
        let deleted_index = if is_destroyed { None } else { indices.deleted_between(lines, begun, ended) };
        if let Some(index) = &deleted_index {
            deleted_indices::add(&mut self.deleted_indices, index.clone(), 0, bytes);
        }
        if deleted_index.is_none() || !indices.deletion_is_expected {
            let source = generation.source.clone();
            self.missing.push(Missing { generation: id, source, offset, bytes, deleted_index, is_destroyed });
        }
    }
}

/// A generation and what it is compared with.
#[derive(Clone, Copy)]
struct Comparison<'a> {
    id: GenerationId,
    generation: &'a Generation,
    store: &'a StoreAudit,
    indices: &'a Indices,
}

/// The position in a walk over contiguous lines.
struct Cursor {
    /// Offset at which the next line must start.
    expected: u64,
    /// The index of the last line that has one.
    index: Option<String>,
}

/// Ranges that are not in the store, and need not be: offset and length.
fn accounted_elsewhere<'a>(generation: &'a Generation, range: &Range<u64>) -> impl Iterator<Item = (u64, u64)> + 'a {
    let range = range.clone();
    let skipped = generation.skipped.iter().map(|skipped| (skipped.start, skipped.end - skipped.start));
    let dead = generation.dead.iter().chain(&generation.discarded).map(|(offset, length)| (*offset, *length));
    skipped.chain(dead).filter(move |(offset, _)| range.contains(offset))
}

fn bytes_elsewhere(generation: &Generation) -> u64 {
    accounted_elsewhere(generation, &(0..generation.checkpoint)).map(|(_, length)| length).sum()
}

/// The ranges whose sums do not match, with adjacent ones merged.
fn mismatches(steps: &[Step], end: u64) -> Vec<Range<u64>> {
    let mut wrong: Vec<Range<u64>> = Vec::new();
    let mut add = |range: Range<u64>| match wrong.last_mut() {
        Some(last) if last.end == range.start => last.end = range.end,
        _ if range.is_empty() => {}
        _ => wrong.push(range),
    };
    if let Some(first) = steps.first().map_or(Some(end), |step| (step.first > 0).then_some(step.first)) {
        add(0..first);
    }
    for (index, step) in steps.iter().enumerate() {
        let next = steps.get(index + 1).map_or(end, |next| next.first);
        if step.is_doubtful || step.first + step.bytes != next {
            add(step.first..next);
        }
    }
    wrong
}

/// The offset of the next page. The last offset of a full page may have more lines than the page shows, so it is left
/// to the next page.
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

    fn step(first: u64, bytes: u64) -> Step {
        Step { first, bytes, is_doubtful: false }
    }

    #[test]
    fn wrong_sums_are_found_with_their_range() {
        let offsets = |steps: &[Step], end| {
            mismatches(steps, end).iter().map(|range| (range.start, range.end)).collect::<Vec<_>>()
        };
        assert_eq!(offsets(&[step(0, 10), step(10, 5)], 15), []);
        assert_eq!(offsets(&[], 15), [(0, 15)]);
        assert_eq!(offsets(&[], 0), []);
        assert_eq!(offsets(&[step(3, 7), step(10, 5)], 15), [(0, 3)]);
        assert_eq!(offsets(&[step(0, 9), step(10, 5)], 15), [(0, 10)]);
        assert_eq!(offsets(&[step(0, 10), step(10, 4), step(15, 6)], 20), [(10, 20)]);
        let duplicates = Step { is_doubtful: true, ..step(10, 5) };
        assert_eq!(offsets(&[step(0, 10), duplicates, step(15, 5)], 20), [(10, 15)]);
    }

    #[test]
    fn a_full_page_leaves_its_last_offset_to_the_next() {
        let span = |offset| Span { offset, length: 1, index: None };
        let mut short: Vec<_> = (0..5).map(span).collect();
        assert_eq!(next_page(&mut short, 100), 100);
        let mut full: Vec<_> = (0..MAX_SPANS as u64).map(|index| span(index / 2)).collect();
        let last = MAX_SPANS as u64 / 2 - 1;
        assert_eq!(next_page(&mut full, 1 << 40), last);
        assert_eq!(full.last().unwrap().offset, last - 1);
        let mut same: Vec<_> = (0..MAX_SPANS).map(|_| span(7)).collect();
        assert_eq!(next_page(&mut same, 100), 8);
    }

    #[test]
    fn skipped_dead_and_discarded_lines_need_not_be_stored() {
        let mut known = crate::verify::known::Known::default();
        let id = GenerationId::new(1, &[0; 10]);
        // The same bytes may be skipped again after a restart.
        for _ in 0..2 {
            known.note(crate::completed::Note::Skipped { generation: id, from: 0, to: 5 });
        }
        let generation = known.generations.get_mut(&id).unwrap();
        generation.checkpoint = 30;
        generation.dead.insert(5, 10);
        generation.discarded.insert(15, 15);
        assert_eq!(bytes_elsewhere(generation), 30);
        assert_eq!(accounted_elsewhere(generation, &(10..30)).collect::<Vec<_>>(), [(15, 15)]);
    }
}
