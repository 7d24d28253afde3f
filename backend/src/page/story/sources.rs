//! Checks whether lines are missing within the sources of a request, and directly before and after its lines. Offsets and
//! lengths are read without a scope: they cover lines that the reader may not see, but reveal nothing of their content.

use std::collections::BTreeMap;

use store::coverage::MAX_STEPS;
use store::id::MAX_OFFSET;
use store::{GenerationId, SearchError};

use crate::access::{Ended, ReadError, View};
use crate::dead_letters::{DeadLetters, Extent};
use crate::line::Line;
use crate::story::completeness::{self, Gap, Side, Verdict, Window};

/// Maximum number of sources that are checked.
pub const SOURCES_MAX: usize = 32;

/// Maximum lines of a window that is checked line by line; of a longer one, sums are read first.
pub const LINES_MAX: usize = store::coverage::MAX_SPANS;

/// Maximum lines checked where sums don't add up.
pub const CHECKED_LINES_MAX: usize = 50_000;

/// Maximum bytes of a window.
pub const WINDOW_MAX_BYTES: u64 = 256 * 1024 * 1024;

/// The result for one source of a request.
#[derive(Clone, Debug)]
pub struct SourceReport {
    /// Its name.
    pub name: String,
    /// The number of the request's lines in it.
    pub lines: usize,
    /// Whether lines are missing.
    pub verdict: Verdict,
    /// Whether no later line of it is stored.
    pub is_last: bool,
    /// How much of its dead letters was read.
    pub dead_letters: Extent,
    /// Lines of it that retention deleted, if there is a gap.
    pub removed: u64,
}

impl SourceReport {
    fn new(name: String, lines: usize, verdict: Verdict) -> Self {
        Self { name, lines, verdict, is_last: false, dead_letters: Extent::NotConfigured, removed: 0 }
    }
}

/// The request's lines in a source.
struct SourceLines {
    name: String,
    /// Their offsets and lengths.
    places: Vec<(u64, u64)>,
    /// Whether one of them is an access line.
    has_end: bool,
}

/// Checks each source of a request.
///
/// # Errors
/// The reader's rights ended, or the store does not respond.
pub async fn sources(
    view: View<'_>,
    dead_letters: &DeadLetters,
    lines: &[Line],
) -> Result<Vec<SourceReport>, ReadError> {
    let mut by_source: BTreeMap<GenerationId, SourceLines> = BTreeMap::new();
    for (line, origin) in lines.iter().filter_map(|line| Some((line, line.origin.as_ref()?))) {
        let new = || SourceLines { name: origin.source.clone(), places: Vec::new(), has_end: false };
        let lines_in_source = by_source.entry(origin.generation).or_insert_with(new);
        lines_in_source.places.push((origin.offset, origin.length));
        lines_in_source.has_end |= line.access.is_some();
    }
    let mut sources = Vec::new();
    for (index, (generation, lines_in_source)) in by_source.into_iter().enumerate() {
        let Some(window) = Window::new(&lines_in_source.places) else { continue };
        let verdict = if index >= SOURCES_MAX {
            Verdict::Unknown("the request has more than 32 sources")
        } else {
            match within(view, generation, &window).await {
                Err(ReadError::Store(SearchError::TimedOut { .. })) => {
                    Verdict::Unknown("the store took too long to check")
                }
                verdict => verdict?,
            }
        };
        let mut source = SourceReport::new(lines_in_source.name, window.lines, verdict);
        if !matches!(source.verdict, Verdict::Unknown(_)) {
            check_neighbours(view, generation, &window, &mut source).await?;
            explain(view, dead_letters, generation, (&window, lines_in_source.has_end), &mut source).await?;
        }
        sources.push(source);
    }
    let without_origin = lines.iter().filter(|line| line.origin.is_none()).count();
    if without_origin > 0 {
        let verdict = Verdict::Unknown("they do not record where they were read");
        sources.push(SourceReport::new("lines without an origin".to_owned(), without_origin, verdict));
    }
    Ok(sources)
}

/// Checks the range from a request's first line in a source to its last.
async fn within(view: View<'_>, generation: GenerationId, window: &Window) -> Result<Verdict, ReadError> {
    let places = async |range| -> Result<Vec<_>, ReadError> {
        let spans = view.places(async |store| store.spans(generation, range, LINES_MAX).await).await?;
        Ok(spans.iter().map(|span| (span.offset, span.length)).collect())
    };
    let bytes = window.offsets.end - window.offsets.start;
    if !window.has_lengths {
        return Ok(Verdict::Unknown("a line does not record its length"));
    }
    if bytes > WINDOW_MAX_BYTES {
        return Ok(Verdict::Unknown("its first and last line are more than 256 MiB apart"));
    }
    let stored = places(window.offsets.clone()).await?;
    if stored.len() < LINES_MAX {
        return Ok(completeness::check(&window.offsets, &stored));
    }
    let (offsets, step) = (window.offsets.clone(), bytes.div_ceil(MAX_STEPS));
    let steps = view.places(async |store| store.coverage_in_steps(generation, offsets, step).await).await?;
    let (mut gaps, mut checked) = (Vec::new(), 0);
    for range in completeness::doubtful(&steps, &window.offsets) {
        let stored = places(range.clone()).await?;
        checked += stored.len();
        if stored.len() >= LINES_MAX || checked > CHECKED_LINES_MAX {
            return Ok(Verdict::Unknown("more than 50,000 lines would have to be checked one by one"));
        }
        if let Verdict::Gaps(found) = completeness::check(&range, &stored) {
            gaps.extend(found);
        }
    }
    Ok(if gaps.is_empty() { Verdict::Complete } else { Verdict::Gaps(gaps) })
}

/// Checks directly before and after a request's lines in a source: its first or last line may be missing.
async fn check_neighbours(
    view: View<'_>,
    generation: GenerationId,
    window: &Window,
    source: &mut SourceReport,
) -> Result<(), ReadError> {
    let (start, rest) = (window.offsets.start, window.offsets.end..MAX_OFFSET + 1);
    let before = view.places(async |store| store.span_before(generation, start).await).await?;
    let after = view.places(async |store| store.spans(generation, rest, 1).await).await?;
    source.is_last = after.is_empty();
    let before = before.map(|span| (span.offset, span.length));
    let gaps = completeness::adjacent_gaps(&window.offsets, before, after.first().map(|span| span.offset));
    if !gaps.is_empty() || source.verdict != Verdict::Complete {
        source.removed = view.places(async |store| store.removed(generation).await).await?.lines;
    }
    let is_removed = |gap: &Gap| gap.side == Side::Before && before.is_none() && source.removed > 0;
    if source.verdict == Verdict::Complete && gaps.iter().any(is_removed) {
        source.verdict = Verdict::Unknown("the lines before its first line were deleted by retention");
    } else {
        source.verdict.add(gaps.into_iter().filter(|gap| !is_removed(gap)).collect());
    }
    Ok(())
}

/// Reads the dead letters in a source's gaps, and directly after its last line if there is no access line.
async fn explain(
    view: View<'_>,
    dead_letters: &DeadLetters,
    generation: GenerationId,
    (window, has_end): (&Window, bool),
    source: &mut SourceReport,
) -> Result<(), Ended> {
    let may_continue = source.is_last && !has_end;
    let gaps = source.verdict.gaps();
    if gaps.is_empty() && !may_continue {
        return Ok(());
    }
    let start = gaps.iter().map(|gap| gap.offsets.start).min().unwrap_or(window.offsets.end);
    let end = gaps.iter().map(|gap| gap.offsets.end).max().unwrap_or(start);
    let end = if may_continue { MAX_OFFSET + 1 } else { end };
    let (letters, extent) = view.letters(dead_letters, generation, start..end).await?;
    source.dead_letters = extent;
    source.verdict.explain(&letters);
    if may_continue {
        source.verdict.add(completeness::letters_after(window.offsets.end, &letters).into_iter().collect());
    }
    Ok(())
}
