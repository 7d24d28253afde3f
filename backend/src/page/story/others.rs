//! Asks the store for other requests to hold one against: recent ones of its endpoint, a good one, and those that met the
//! same error. Each question is bounded, and what a bound leaves out is told.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use store::query::{Bounds, Number};
use store::{Field, Filter, NumberField, Order, Search, Timestamp};

use crate::access::{ReadError, View};
use crate::answers::{self, LOOKED_AT};
use crate::line::{Access, Line};
use crate::page::params::Params;
use crate::page::story::gather::{self, First, LINES_MAX};
use crate::story::steps::{Step, StepKey, steps};
use crate::story::usual::{Usual, UsualSteps};

/// What is usual is told by so many recent requests of the endpoint that did not fail.
pub const RECENT_REQUESTS: usize = 50;

/// So many good requests of the endpoint are looked at on either side of the one at hand, the nearest. How many others lie
/// between does not matter.
pub const NEAREST_REQUESTS: usize = 20;

/// Other requests with the same error are looked for among so many of the newest lines that share its words.
pub const ERROR_LINES: usize = 200;

/// So many of its words are looked for; what is found is held against all of it.
const ERROR_WORDS: usize = 8;

/// So many of them are shown.
pub const SAME_ERROR_MAX: usize = 10;

/// Recent requests of an endpoint, and what is usual among them.
#[derive(Debug, Default)]
pub struct Recent {
    /// How long they took.
    pub whole: Option<Usual>,
    /// How long their steps took.
    pub steps: UsualSteps,
    /// Their lines.
    lines: BTreeMap<String, Vec<Line>>,
}

/// A good request of an endpoint.
#[derive(Debug)]
pub enum Good {
    /// The nearest in time, with its first lines.
    One(String, First),
    /// There is none.
    NotStored,
    /// All of the nearest, which are so many, took longer than usual too.
    AllSlow(usize),
}

/// Requests with a line.
#[derive(Debug)]
pub struct Alike {
    /// Some of them, and when each wrote it, newest first.
    pub requests: Vec<(String, Option<Timestamp>)>,
    /// How many there are among the lines that were looked at.
    pub found: usize,
    /// How many lines were looked at.
    pub looked_at: usize,
    /// Whether there are more.
    pub is_cut: bool,
    /// Where all lines like it are.
    pub search: String,
}

/// Another request.
struct Other {
    request_id: String,
    /// When it ended.
    time: Option<Timestamp>,
    access: Access,
}

/// Recent requests like this one that did not fail, up to when it ended, with their lines.
///
/// # Errors
/// The reader may not go on, or the store does not answer.
pub async fn recent(view: View<'_>, of: &Access, until: Option<Timestamp>, but: &str) -> Result<Recent, ReadError> {
    let failures = [
        Filter::Number(NumberField::Status, Bounds { from: status(500), to: Bound::Unbounded }),
        Filter::is(Field::Outcome, "panic"),
        Filter::is(Field::Outcome, "body_failed"),
    ];
    let filter = like(of).and(Filter::Not(Box::new(Filter::Any(failures.into()))));
    let search = Search { to: until, limit: RECENT_REQUESTS, ..Search::new(filter) };
    let requests = others(view, &search, but).await?;
    let times = requests.iter().filter_map(|other| other.access.took_us()).collect();
    let lines = lines_of(view, requests.into_iter().map(|other| other.request_id).collect()).await?;
    let stories: Vec<Vec<Step>> = lines.values().map(|lines| steps(lines)).collect();
    Ok(Recent { whole: Usual::of(times), steps: UsualSteps::of(&stories), lines })
}

/// The good request of the same endpoint that is nearest in time. Beside a failure one that took longer than usual is better
/// than none.
///
/// # Errors
/// The reader may not go on, or the store does not answer.
pub async fn good_one(
    view: View<'_>,
    (of, at): (&Access, Timestamp),
    recent: &Recent,
    but: &str,
) -> Result<Good, ReadError> {
    let good = like(of).and(Filter::All(vec![
        Filter::is(Field::Outcome, "answered"),
        Filter::Number(NumberField::Status, Bounds { from: Bound::Unbounded, to: status(399) }),
    ]));
    let search = Search { limit: NEAREST_REQUESTS, ..Search::new(good) };
    let before = Search { to: Some(at), ..search.clone() };
    let after = Search { from: Some(at), order: Order::OldestFirst, ..search };
    let mut nearest = others(view, &before, but).await?;
    nearest.extend(others(view, &after, but).await?);
    nearest.sort_by_key(|other| other.time.map_or(u64::MAX, |time| time.unix_micros().abs_diff(at.unix_micros())));
    let is_slow = |other: &&Other| {
        recent.whole.zip(other.access.took_us()).is_some_and(|(usual, took)| usual.is_exceeded_by(took))
    };
    let chosen = nearest.iter().find(|other| !is_slow(other)).or(nearest.first().filter(|_| !of.is_good()));
    let Some(chosen) = chosen else {
        return Ok(if nearest.is_empty() { Good::NotStored } else { Good::AllSlow(nearest.len()) });
    };
    let first = match recent.lines.get(&chosen.request_id) {
        Some(lines) => First { lines: lines.clone(), is_cut: false },
        None => gather::first(view, &chosen.request_id).await?,
    };
    Ok(Good::One(chosen.request_id.clone(), first))
}

/// Other requests with a line like this one.
///
/// # Errors
/// The reader may not go on, or the store does not answer.
pub async fn same_error(view: View<'_>, line: &Line, but: &str) -> Result<Alike, ReadError> {
    let key = StepKey::of(line);
    let mut filters = vec![Filter::is(Field::Service, line.service.as_str()), Filter::Has(Field::RequestId)];
    filters.extend(line.level.map(|level| Filter::levels([level])));
    let mut params = Params {
        service: line.service.clone(),
        level: line.level.map(|level| level.to_string()).unwrap_or_default(),
        last: "all".to_owned(),
        ..Params::default()
    };
    if let Some(access) = &line.access {
        filters.push(of_endpoint(access));
        let same = |number| Filter::Number(NumberField::Status, Bounds { from: status(number), to: status(number) });
        filters.extend(access.status.map(same));
        params.endpoint.clone_from(&access.endpoint);
        params.status = access.status.map(|status| status.to_string()).unwrap_or_default();
    } else {
        let words: Vec<_> = store::pattern_words(&line.message).into_iter().take(ERROR_WORDS).collect();
        if !words.is_empty() {
            let words = Filter::Words(words.join(" "));
            params.q = words.to_string();
            filters.push(words);
        }
    }
    let search = Search { limit: ERROR_LINES, ..Search::new(Filter::All(filters)) };
    let page = answers::search(view, &search, LOOKED_AT).await?;
    let ended = |line: &Line| line.access.as_ref().map(|access| access.status);
    let is_like = |found: &Line| StepKey::of(found) == key && ended(found) == ended(line);
    let mut seen = BTreeSet::from([but.to_owned()]);
    let mut requests = Vec::new();
    for found in page.lines.iter().map(|line| Line::read(line.get())).filter(is_like) {
        if let Some(id) = found.request_id.filter(|id| seen.insert(id.clone())) {
            requests.push((id, found.time));
        }
    }
    let found = requests.len();
    requests.truncate(SAME_ERROR_MAX);
    let (looked_at, is_cut) = (page.lines.len(), page.next.is_some());
    Ok(Alike { requests, found, looked_at, is_cut, search: params.href("/search") })
}

/// Access lines of the same method and endpoint that say how long it took.
fn like(of: &Access) -> Filter {
    of_endpoint(of).and(Filter::Number(NumberField::DurationMs, Bounds::ANY))
}

fn of_endpoint(of: &Access) -> Filter {
    Filter::All(vec![
        Filter::access_lines(),
        Filter::is(Field::Endpoint, of.endpoint.as_str()),
        Filter::is(Field::Method, of.method.as_str()),
    ])
}

fn status(number: u16) -> Bound<Number> {
    Number::new(f64::from(number)).map_or(Bound::Unbounded, Bound::Included)
}

async fn others(view: View<'_>, search: &Search, but: &str) -> Result<Vec<Other>, ReadError> {
    // One more, for the request at hand.
    let page = answers::search(view, &Search { limit: search.limit + 1, ..search.clone() }, LOOKED_AT).await?;
    let lines = page.lines.iter().map(|line| Line::read(line.get()));
    let other = |line: Line| Some(Other { request_id: line.request_id?, time: line.time, access: line.access? });
    Ok(lines.filter_map(other).filter(|other| other.request_id != but).take(search.limit).collect())
}

/// The lines of these requests, as far as [`LINES_MAX`] reaches; a request that is cut by it is left out.
async fn lines_of(view: View<'_>, ids: BTreeSet<String>) -> Result<BTreeMap<String, Vec<Line>>, ReadError> {
    let mut by_request: BTreeMap<String, Vec<Line>> = BTreeMap::new();
    if ids.is_empty() {
        return Ok(by_request);
    }
    // Newest first: what the bound cuts are the oldest requests.
    let filter = Filter::Is(Field::RequestId, ids.into_iter().collect());
    let page = answers::search(view, &Search { limit: LINES_MAX, ..Search::new(filter) }, LOOKED_AT).await?;
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
