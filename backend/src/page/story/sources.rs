//! Asks the store whether lines are missing within the sources of a request, and right before and after its lines there.
//! What rests of a source is asked without a scope: it tells places and lengths, of lines that the reader may not see too, and
//! nothing of what they say.

use std::collections::BTreeMap;

use store::coverage::MAX_STEPS;
use store::id::MAX_OFFSET;
use store::{GenerationId, SearchError};

use crate::access::{Ended, ReadError, View};
use crate::dead_letters::{DeadLetters, Looked};
use crate::line::Line;
use crate::story::whole::{self, Gap, Side, Verdict, Window};

/// Sources of a story that are judged; a story of more is not.
pub const SOURCES_MAX: usize = 32;

/// A window is looked at line by line up to so many lines; of a longer one sums are asked for first.
pub const LINES_MAX: usize = store::coverage::MAX_SPANS;

/// So many lines are looked at where sums are wrong.
pub const LOOKS_MAX: usize = 50_000;

/// No longer window is judged.
pub const WINDOW_MAX_BYTES: u64 = 256 * 1024 * 1024;

/// What is found of one source of a story.
#[derive(Clone, Debug)]
pub struct Source {
    /// As people call it.
    pub name: String,
    /// Its lines of the request.
    pub lines: usize,
    /// Whether lines are missing.
    pub verdict: Verdict,
    /// Whether nothing of it is stored after them.
    pub is_last: bool,
    /// How far its dead letters were looked at, where that was done.
    pub looked: Looked,
    /// Lines of it that the store has removed because of their age or for room, where some are not there.
    pub removed: u64,
}

impl Source {
    fn of(name: String, lines: usize, verdict: Verdict) -> Self {
        Self { name, lines, verdict, is_last: false, looked: Looked::Nowhere, removed: 0 }
    }
}

/// The lines of a source.
struct Stand {
    name: String,
    /// By offset and length.
    places: Vec<(u64, u64)>,
    /// Whether one of them tells how the request ended.
    has_end: bool,
}

/// Whether lines are missing, source by source.
///
/// # Errors
/// The reader may not go on, or the store does not answer.
pub async fn sources(view: View<'_>, dead_letters: &DeadLetters, lines: &[Line]) -> Result<Vec<Source>, ReadError> {
    let mut by_source: BTreeMap<GenerationId, Stand> = BTreeMap::new();
    for (line, origin) in lines.iter().filter_map(|line| Some((line, line.origin.as_ref()?))) {
        let new = || Stand { name: origin.source.clone(), places: Vec::new(), has_end: false };
        let stand = by_source.entry(origin.generation).or_insert_with(new);
        stand.places.push((origin.offset, origin.length));
        stand.has_end |= line.access.is_some();
    }
    let mut sources = Vec::new();
    for (place, (generation, stand)) in by_source.into_iter().enumerate() {
        let Some(window) = Window::of(&stand.places) else { continue };
        let verdict = if place >= SOURCES_MAX {
            Verdict::Unknown("the request has more than 32 sources")
        } else {
            match within(view, generation, &window).await {
                Err(ReadError::Store(SearchError::TimedOut { .. })) => {
                    Verdict::Unknown("the store took too long to check")
                }
                verdict => verdict?,
            }
        };
        let mut source = Source::of(stand.name, window.lines, verdict);
        if !matches!(source.verdict, Verdict::Unknown(_)) {
            beside(view, generation, &window, &mut source).await?;
            explain(view, dead_letters, generation, (&window, stand.has_end), &mut source).await?;
        }
        sources.push(source);
    }
    let without_origin = lines.iter().filter(|line| line.origin.is_none()).count();
    if without_origin > 0 {
        let verdict = Verdict::Unknown("they do not record where they were read");
        sources.push(Source::of("lines without an origin".to_owned(), without_origin, verdict));
    }
    Ok(sources)
}

/// Judges what stands between a request's first line in a source and its last.
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
        return Ok(whole::judge(&window.offsets, &stored));
    }
    let (offsets, step) = (window.offsets.clone(), bytes.div_ceil(MAX_STEPS));
    let steps = view.places(async |store| store.coverage_in_steps(generation, offsets, step).await).await?;
    let (mut gaps, mut looked_at) = (Vec::new(), 0);
    for range in whole::doubtful(&steps, &window.offsets) {
        let stored = places(range.clone()).await?;
        looked_at += stored.len();
        if stored.len() >= LINES_MAX || looked_at > LOOKS_MAX {
            return Ok(Verdict::Unknown("more than 50,000 lines would have to be checked one by one"));
        }
        if let Verdict::Gaps(found) = whole::judge(&range, &stored) {
            gaps.extend(found);
        }
    }
    Ok(if gaps.is_empty() { Verdict::Complete } else { Verdict::Gaps(gaps) })
}

/// Judges what stands right before a request's lines in a source and right after them: what is missing there may be its first
/// line or its last.
async fn beside(
    view: View<'_>,
    generation: GenerationId,
    window: &Window,
    source: &mut Source,
) -> Result<(), ReadError> {
    let (start, rest) = (window.offsets.start, window.offsets.end..MAX_OFFSET + 1);
    let before = view.places(async |store| store.span_before(generation, start).await).await?;
    let after = view.places(async |store| store.spans(generation, rest, 1).await).await?;
    source.is_last = after.is_empty();
    let before = before.map(|span| (span.offset, span.length));
    let gaps = whole::beside(&window.offsets, before, after.first().map(|span| span.offset));
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

/// Looks for the dead letters in a source's gaps, and right after its last line where that does not tell how the request
/// ended.
async fn explain(
    view: View<'_>,
    dead_letters: &DeadLetters,
    generation: GenerationId,
    (window, has_end): (&Window, bool),
    source: &mut Source,
) -> Result<(), Ended> {
    let may_go_on = source.is_last && !has_end;
    let gaps = source.verdict.gaps();
    if gaps.is_empty() && !may_go_on {
        return Ok(());
    }
    let start = gaps.iter().map(|gap| gap.offsets.start).min().unwrap_or(window.offsets.end);
    let end = gaps.iter().map(|gap| gap.offsets.end).max().unwrap_or(start);
    let end = if may_go_on { MAX_OFFSET + 1 } else { end };
    let (letters, looked) = view.letters(dead_letters, generation, start..end).await?;
    source.looked = looked;
    source.verdict.explain(&letters);
    if may_go_on {
        source.verdict.add(whole::letters_after(window.offsets.end, &letters).into_iter().collect());
    }
    Ok(())
}
