//! Asks the store for what a story needs: its lines, what rests around them, and other requests to hold it against. Each
//! question is bounded, and what a bound leaves out is told.

use std::collections::{BTreeMap, BTreeSet};

use store::{
    Cursor, Facet, Field, Filter, GenerationId, Level, NumberField, Order, Scope, Search, SearchError, Selection,
    Store, Timestamp,
};

use crate::dead_letters::{DeadLetters, Looked};
use crate::line::{Access, Line};
use crate::page::story::head::Head;
use crate::story::steps::{Step, StepKey, steps};
use crate::story::usual::{Usual, UsualSteps};
use crate::story::whole::{self, Verdict, Window};

/// A story is shown in parts of so many lines.
pub const LINES_MAX: usize = store::MAX_LIMIT;

/// What is usual is told by so many recent requests of the endpoint.
pub const RECENT_REQUESTS: usize = 50;

/// A good request is looked for among so many after the one at hand, besides the recent ones before it.
pub const LATER_REQUESTS: usize = 20;

/// Other requests with the same error are looked for among so many of the newest lines that share its words.
pub const ERROR_LINES: usize = 200;

/// So many of them are shown.
pub const SAME_ERROR_MAX: usize = 10;

/// Access lines of a request of several parts that are looked at, the newest.
const ENDS_MAX: usize = 100;

/// Services and projects of such a request that are named.
const NAMES_MAX: usize = 20;

/// Sources of a story that are judged; a story of more is not.
pub const SOURCES_MAX: usize = 32;

/// Lines of a source by offset and length.
type Places = Vec<(u64, u64)>;

/// What is found of one source of a story.
#[derive(Clone, Debug)]
pub struct Source {
    /// As people call it.
    pub name: String,
    /// Its lines of the request.
    pub lines: usize,
    /// Whether lines are missing.
    pub verdict: Verdict,
    /// How far its dead letters were looked at, where it has gaps.
    pub looked: Looked,
    /// Lines of it that the store has removed because of their age or for room, where it has gaps.
    pub removed: u64,
}

/// Another request.
#[derive(Clone, Debug)]
pub struct Other {
    /// Its id.
    pub request_id: String,
    /// When it ended, or the line was written.
    pub time: Option<Timestamp>,
    /// How it ended.
    pub access: Access,
}

/// Requests with a line, and when each was written, and how many lines were looked at.
pub type Alike = (Vec<(String, Option<Timestamp>)>, usize);

/// Recent requests of an endpoint, and what is usual among them.
#[derive(Debug, Default)]
pub struct Recent {
    /// Newest first.
    pub requests: Vec<Other>,
    /// How long they took.
    pub whole: Option<Usual>,
    /// How long their steps took.
    pub steps: UsualSteps,
    /// Their lines.
    lines: BTreeMap<String, Vec<Line>>,
}

/// Where the lines before those at hand are, and those after them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Neighbours {
    /// What these were asked with.
    pub here: Option<Cursor>,
    /// What those before them are to be asked with; none where these are the first.
    pub previous: Option<Option<Cursor>>,
    /// What those after them are to be asked with.
    pub next: Option<Cursor>,
}

impl Neighbours {
    /// Whether there are any.
    #[must_use]
    pub fn is_part(&self) -> bool {
        self.here.is_some() || self.next.is_some()
    }
}

/// A request's first lines, at most [`LINES_MAX`], oldest first.
///
/// # Errors
/// The store does not answer.
pub async fn lines(store: &Store, scope: &Scope, id: &str) -> Result<Vec<Line>, SearchError> {
    Ok(part(store, scope, id, None).await?.0)
}

/// A request's lines after a place, at most [`LINES_MAX`], oldest first, and where the others are.
///
/// # Errors
/// The store does not answer.
pub async fn part(
    store: &Store,
    scope: &Scope,
    id: &str,
    here: Option<Cursor>,
) -> Result<(Vec<Line>, Neighbours), SearchError> {
    let search =
        Search { order: Order::OldestFirst, limit: LINES_MAX, cursor: here, ..Search::of(Filter::request(id)) };
    let page = store.search(scope, &search).await?;
    let mut neighbours = Neighbours { here, previous: None, next: page.next };
    if here.is_some() {
        // A cursor is a line's place. Backwards from the line that these come after, a whole part less that line, is the
        // last line of the part before that one, which is what the part before these comes after.
        let back = Search { order: Order::NewestFirst, ..search };
        neighbours.previous = Some(store.search(scope, &back).await?.next);
    }
    Ok((page.lines.iter().map(|line| Line::read(line.get())).collect(), neighbours))
}

/// What holds of a request of whose lines only a part is at hand.
///
/// # Errors
/// The store does not answer.
pub async fn head(store: &Store, scope: &Scope, id: &str) -> Result<Head, SearchError> {
    let some = async |filter: Filter, order: Order, limit: usize| -> Result<Vec<Line>, SearchError> {
        let page = store.search(scope, &Search { order, limit, ..Search::of(filter) }).await?;
        Ok(page.lines.iter().map(|line| Line::read(line.get())).collect())
    };
    let of_request = Filter::request(id);
    let ends =
        some(Filter::All(vec![of_request.clone(), Filter::access_lines()]), Order::NewestFirst, ENDS_MAX).await?;
    let mut sides = some(of_request.clone(), Order::OldestFirst, 1).await?;
    sides.extend(some(of_request.clone(), Order::NewestFirst, 1).await?);
    sides.extend(ends);
    let selection = Selection { filter: of_request.clone(), from: None, to: None };
    let fields = [Field::Level, Field::Service, Field::ProjectId].map(Facet::Of);
    let counts = store.facets(scope, &selection, &fields, NAMES_MAX).await?;
    let names = |place: usize| counts.facets.get(place).map(|facet| facet.values.clone()).unwrap_or_default();
    let names = |place: usize| names(place).into_iter().map(|(name, _)| name);
    let worst = names(0).filter_map(|name| name.parse().ok()).max();
    let errors = Filter::All(vec![of_request, Filter::levels([Level::Error])]);
    let error = some(errors, Order::OldestFirst, 1).await?;
    Ok(Head {
        lines: counts.lines,
        worst,
        error: error.into_iter().next(),
        services: names(1).collect(),
        projects: names(2).collect(),
        ..Head::of(&sides)
    })
}

/// Whether a request has a line at all.
///
/// # Errors
/// The store does not answer.
pub async fn is_there(store: &Store, scope: &Scope, id: &str) -> Result<bool, SearchError> {
    let search = Search { limit: 1, ..Search::of(Filter::request(id)) };
    Ok(!store.search(scope, &search).await?.lines.is_empty())
}

/// The line that tells how a request ended; of several, that of the outermost service, which took longest.
#[must_use]
pub fn end(lines: &[Line]) -> Option<(&Line, &Access)> {
    let ends = lines.iter().filter_map(|line| Some((line, line.access.as_ref()?)));
    ends.max_by(|(_, one), (_, other)| one.duration_ms.total_cmp(&other.duration_ms))
}

/// Whether lines are missing, source by source. What rests between two places is asked without a scope: it tells places and
/// lengths, of lines that the reader may not see too, and nothing of what they say.
///
/// # Errors
/// The store does not answer.
pub async fn sources(
    store: &Store,
    dead_letters: &DeadLetters,
    scope: &Scope,
    lines: &[Line],
) -> Result<Vec<Source>, SearchError> {
    let mut by_source: BTreeMap<GenerationId, (String, Places)> = BTreeMap::new();
    for origin in lines.iter().filter_map(|line| line.origin.as_ref()) {
        let of = by_source.entry(origin.generation);
        let (_, places) = of.or_insert_with(|| (origin.source.clone(), Vec::new()));
        places.push((origin.offset, origin.length));
    }
    let mut sources = Vec::new();
    for (place, (generation, (name, places))) in by_source.into_iter().enumerate() {
        let Some(window) = Window::of(&places) else { continue };
        let mut source =
            Source { name, lines: window.lines, verdict: Verdict::Complete, looked: Looked::Nowhere, removed: 0 };
        if place >= SOURCES_MAX {
            source.verdict = Verdict::Unknown("it has more than 32 sources");
        } else {
            let spans = store.spans(generation, window.offsets.clone(), whole::LINES_MAX).await?;
            let stored: Vec<_> = spans.iter().map(|span| (span.offset, span.length)).collect();
            source.verdict = whole::judge(&window, &stored);
            if let Verdict::Gaps(gaps) = &mut source.verdict {
                let (letters, looked) = dead_letters.of(generation, window.offsets, scope).await;
                gaps.iter_mut().for_each(|gap| gap.explain(&letters));
                source.looked = looked;
                source.removed = store.removed(generation).await?.lines;
            }
        }
        sources.push(source);
    }
    if lines.iter().any(|line| line.origin.is_none()) {
        let name = "lines without an origin".to_owned();
        let lines = lines.iter().filter(|line| line.origin.is_none()).count();
        let verdict = Verdict::Unknown("they do not tell where they were read");
        sources.push(Source { name, lines, verdict, looked: Looked::Nowhere, removed: 0 });
    }
    Ok(sources)
}

/// Recent requests like this one, up to when it ended, with their lines.
///
/// # Errors
/// The store does not answer.
pub async fn recent(
    store: &Store,
    scope: &Scope,
    of: &Access,
    until: Option<Timestamp>,
    but: &str,
) -> Result<Recent, SearchError> {
    let filter = like(of);
    let search = Search { to: until, limit: RECENT_REQUESTS + 1, ..Search::of(filter) };
    let requests = others(store, scope, &search, but).await?;
    let good: Vec<_> = requests.iter().filter(|other| !other.access.is_failure()).collect();
    let times = good.iter().map(|other| (other.access.duration_ms * 1_000.0) as i64).collect();
    let ids: BTreeSet<_> = good.iter().map(|other| other.request_id.clone()).collect();
    let lines = lines_of(store, scope, ids).await?;
    let stories: Vec<Vec<Step>> = lines.values().map(|lines| steps(lines)).collect();
    Ok(Recent { whole: Usual::of(times), steps: UsualSteps::of(&stories), requests, lines })
}

/// The good request of the same endpoint that is nearest in time, with its lines.
///
/// # Errors
/// The store does not answer.
pub async fn good_one(
    store: &Store,
    scope: &Scope,
    (of, at): (&Access, Timestamp),
    recent: &Recent,
    but: &str,
) -> Result<Option<(Other, Vec<Line>)>, SearchError> {
    let after = Search { from: Some(at), order: Order::OldestFirst, limit: LATER_REQUESTS, ..Search::of(like(of)) };
    let later = others(store, scope, &after, but).await?;
    let is_good = |other: &&Other| {
        let took = (other.access.duration_ms * 1_000.0) as i64;
        other.access.is_good() && recent.whole.is_none_or(|usual| !usual.is_exceeded_by(took))
    };
    let distance = |other: &&Other| other.time.map_or(u64::MAX, |time| time.unix_micros().abs_diff(at.unix_micros()));
    let Some(good) = recent.requests.iter().chain(&later).filter(is_good).min_by_key(distance).cloned() else {
        return Ok(None);
    };
    let lines = match recent.lines.get(&good.request_id) {
        Some(lines) => lines.clone(),
        None => lines(store, scope, &good.request_id).await?,
    };
    Ok(Some((good, lines)))
}

/// Other requests with a line like this one, newest first, and how many lines were looked at.
///
/// # Errors
/// The store does not answer.
pub async fn same_error(store: &Store, scope: &Scope, line: &Line, but: &str) -> Result<Alike, SearchError> {
    let key = StepKey::of(line);
    let words: Vec<_> = key.shape().split(|c: char| !c.is_alphabetic()).filter(|word| word.len() > 2).take(8).collect();
    let mut filters = vec![Filter::is(Field::Service, line.service.as_str()), Filter::Has(Field::RequestId)];
    filters.extend(line.level.map(|level| Filter::levels([level])));
    if !words.is_empty() && line.access.is_none() {
        filters.push(Filter::Words(words.join(" ")));
    }
    let search = Search { limit: ERROR_LINES, ..Search::of(Filter::All(filters)) };
    let found = store.search(scope, &search).await?;
    let looked_at = found.lines.len();
    let mut seen = BTreeSet::from([but.to_owned()]);
    let mut same = Vec::new();
    for found in found.lines.iter().map(|line| Line::read(line.get())).filter(|found| StepKey::of(found) == key) {
        if let Some(id) = found.request_id.filter(|id| same.len() < SAME_ERROR_MAX && seen.insert(id.clone())) {
            same.push((id, found.time));
        }
    }
    Ok((same, looked_at))
}

/// Access lines of the same method and endpoint.
fn like(of: &Access) -> Filter {
    Filter::All(vec![
        Filter::access_lines(),
        Filter::is(Field::Endpoint, of.endpoint.as_str()),
        Filter::is(Field::Method, of.method.as_str()),
        Filter::Number(NumberField::DurationMs, store::query::Bounds::ANY),
    ])
}

async fn others(store: &Store, scope: &Scope, search: &Search, but: &str) -> Result<Vec<Other>, SearchError> {
    let page = store.search(scope, search).await?;
    let lines = page.lines.iter().map(|line| Line::read(line.get()));
    let other = |line: Line| Some(Other { request_id: line.request_id?, time: line.time, access: line.access? });
    Ok(lines.filter_map(other).filter(|other| other.request_id != but).collect())
}

/// The lines of these requests, as far as [`LINES_MAX`] reaches; a request that is cut by it is left out.
async fn lines_of(
    store: &Store,
    scope: &Scope,
    ids: BTreeSet<String>,
) -> Result<BTreeMap<String, Vec<Line>>, SearchError> {
    let mut by_request: BTreeMap<String, Vec<Line>> = BTreeMap::new();
    if ids.is_empty() {
        return Ok(by_request);
    }
    // Newest first: what the bound cuts are the oldest requests.
    let filter = Filter::Is(Field::RequestId, ids.into_iter().collect());
    let page = store.search(scope, &Search { limit: LINES_MAX, ..Search::of(filter) }).await?;
    for line in page.lines.iter().rev().map(|line| Line::read(line.get())) {
        if let Some(id) = line.request_id.clone() {
            by_request.entry(id).or_default().push(line);
        }
    }
    if page.next.is_some() {
        let oldest = page.lines.last().and_then(|line| Line::read(line.get()).request_id);
        oldest.and_then(|oldest| by_request.remove(&oldest));
    }
    Ok(by_request)
}
