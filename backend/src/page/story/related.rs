//! Queries for related requests: recent ones of the same endpoint, a successful one to compare with, and others with the same
//! error. Each query is bounded, and reports what a bound leaves out.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use store::query::{Bounds, Number};
use store::{Field, Filter, NumberField, Order, Search, Timestamp};

use crate::access::{ReadError, View};
use crate::answers::{self, SIDE_QUERY};
use crate::line::{Access, Line};
use crate::line_query::range::ALL_TIME;
use crate::line_query::{LineParams, Param};
use crate::page::story::queries::{self, FirstLines, LINES_MAX};
use crate::story::baseline::{Baseline, StepBaselines};
use crate::story::steps::{Step, StepKey, steps};

/// The baseline is computed from at most this many recent requests of the endpoint that did not fail.
pub const RECENT_REQUESTS: usize = 50;

/// Number of successful requests checked before and after a request, the nearest ones. Others in between don't matter.
pub const NEAREST_REQUESTS: usize = 20;

/// Number of lines, newest first, that are checked for the same error.
pub const ERROR_LINES: usize = 200;

/// Number of an error's words that the query contains; its results are compared with the whole message.
const ERROR_WORDS: usize = 8;

/// Maximum number of requests with the same error that are shown.
pub const SAME_ERROR_MAX: usize = 10;

/// Recent requests of an endpoint, and their baselines.
#[derive(Debug, Default)]
pub struct Similar {
    /// The baseline of their durations.
    pub total: Option<Baseline>,
    /// The baselines of their steps.
    pub steps: StepBaselines,
    /// Their lines.
    lines: BTreeMap<String, Vec<Line>>,
}

/// A successful request to compare with.
#[derive(Debug)]
pub enum Reference {
    /// The nearest in time: its ID and first lines.
    Found(String, FirstLines),
    /// There is none.
    NotStored,
    /// All of the nearest, of which this many were checked, were slower than usual too.
    AllSlow(usize),
}

/// Other requests with the same error.
#[derive(Debug)]
pub struct SameErrorRequests {
    /// Some of them, with the time of the error, newest first.
    pub requests: Vec<(String, Option<Timestamp>)>,
    /// How many were found among the checked lines.
    pub found: usize,
    /// The number of checked lines.
    pub checked: usize,
    /// Whether more lines match.
    pub is_cut: bool,
    /// The URL of a search for all such lines.
    pub search: String,
}

/// Another request.
struct Other {
    request_id: String,
    /// Time of its access line.
    time: Option<Timestamp>,
    access: Access,
}

/// Recent requests with the same method and endpoint that did not fail, up to `until`, with their lines.
///
/// # Errors
/// The reader's rights ended, or the store does not respond.
pub async fn similar(
    view: View<'_>,
    of: &Access,
    until: Option<Timestamp>,
    except: &str,
) -> Result<Similar, ReadError> {
    let failures = [
        Filter::Number(NumberField::Status, Bounds { from: status(500), to: Bound::Unbounded }),
        Filter::is(Field::Outcome, "panic"),
        Filter::is(Field::Outcome, "body_failed"),
    ];
    let filter = like(of).and(Filter::Not(Box::new(Filter::Any(failures.into()))));
    let search = Search { to: until, limit: RECENT_REQUESTS, ..Search::new(filter) };
    let requests = others(view, &search, except).await?;
    let times = requests.iter().filter_map(|other| other.access.took_us()).collect();
    let lines = lines_of(view, requests.into_iter().map(|other| other.request_id).collect()).await?;
    let stories: Vec<Vec<Step>> = lines.values().map(|lines| steps(lines)).collect();
    Ok(Similar { total: Baseline::from_times(times), steps: StepBaselines::from_requests(&stories), lines })
}

/// The nearest successful request to the same endpoint that was not slow. A failed request may also be compared with a slow one.
///
/// # Errors
/// The reader's rights ended, or the store does not respond.
pub async fn reference(
    view: View<'_>,
    (of, at): (&Access, Timestamp),
    similar: &Similar,
    except: &str,
) -> Result<Reference, ReadError> {
    let successful = like(of).and(Filter::All(vec![
        Filter::is(Field::Outcome, "answered"),
        Filter::Number(NumberField::Status, Bounds { from: Bound::Unbounded, to: status(399) }),
    ]));
    let search = Search { limit: NEAREST_REQUESTS, ..Search::new(successful) };
    let before = Search { to: Some(at), ..search.clone() };
    let after = Search { from: Some(at), order: Order::OldestFirst, ..search };
    let mut nearest = others(view, &before, except).await?;
    nearest.extend(others(view, &after, except).await?);
    nearest.sort_by_key(|other| other.time.map_or(u64::MAX, |time| time.unix_micros().abs_diff(at.unix_micros())));
    let is_slow = |other: &&Other| {
        similar.total.zip(other.access.took_us()).is_some_and(|(baseline, took)| baseline.is_exceeded_by(took))
    };
    let chosen = nearest.iter().find(|other| !is_slow(other)).or(nearest.first().filter(|_| !of.is_success()));
    let Some(chosen) = chosen else {
        return Ok(if nearest.is_empty() { Reference::NotStored } else { Reference::AllSlow(nearest.len()) });
    };
    let first = match similar.lines.get(&chosen.request_id) {
        Some(lines) => FirstLines { lines: lines.clone(), is_cut: false },
        None => queries::first_lines(view, &chosen.request_id).await?,
    };
    Ok(Reference::Found(chosen.request_id.clone(), first))
}

/// Other requests with a line like this error.
///
/// # Errors
/// The reader's rights ended, or the store does not respond.
pub async fn same_error(view: View<'_>, line: &Line, except: &str) -> Result<SameErrorRequests, ReadError> {
    let key = StepKey::new(line);
    let mut filters = vec![Filter::is(Field::Service, line.service.as_str()), Filter::Has(Field::RequestId)];
    filters.extend(line.level.map(|level| Filter::levels([level])));
    let level = line.level.map(|level| level.to_string()).unwrap_or_default();
    let mut params = LineParams::default().with(Param::Last, ALL_TIME).with(Param::Service, &line.service);
    params = params.with(Param::Level, &level);
    if let Some(access) = &line.access {
        filters.push(endpoint(access));
        let same = |number| Filter::Number(NumberField::Status, Bounds { from: status(number), to: status(number) });
        filters.extend(access.status.map(same));
        let status = access.status.map(|status| status.to_string()).unwrap_or_default();
        params = params.with(Param::Endpoint, &access.endpoint).with(Param::Status, &status);
    } else {
        let words: Vec<_> = store::pattern_words(&line.message).into_iter().take(ERROR_WORDS).collect();
        if !words.is_empty() {
            let words = Filter::Words(words.join(" "));
            params = params.with(Param::Query, &words.to_string());
            filters.push(words);
        }
    }
    let search = Search { limit: ERROR_LINES, ..Search::new(Filter::All(filters)) };
    let page = answers::search(view, &search, SIDE_QUERY).await?;
    let ended = |line: &Line| line.access.as_ref().map(|access| access.status);
    let is_like = |found: &Line| StepKey::new(found) == key && ended(found) == ended(line);
    let mut seen = BTreeSet::from([except.to_owned()]);
    let mut requests = Vec::new();
    for found in page.lines.iter().map(|line| Line::parse(line.get())).filter(is_like) {
        if let Some(id) = found.request_id.filter(|id| seen.insert(id.clone())) {
            requests.push((id, found.time));
        }
    }
    let found = requests.len();
    requests.truncate(SAME_ERROR_MAX);
    let (checked, is_cut) = (page.lines.len(), page.next.is_some());
    Ok(SameErrorRequests { requests, found, checked, is_cut, search: params.href("/search") })
}

/// Access lines with a duration of the same method and endpoint.
fn like(of: &Access) -> Filter {
    endpoint(of).and(Filter::Number(NumberField::DurationMs, Bounds::ANY))
}

fn endpoint(of: &Access) -> Filter {
    Filter::All(vec![
        Filter::access_lines(),
        Filter::is(Field::Endpoint, of.endpoint.as_str()),
        Filter::is(Field::Method, of.method.as_str()),
    ])
}

fn status(number: u16) -> Bound<Number> {
    Number::new(f64::from(number)).map_or(Bound::Unbounded, Bound::Included)
}

async fn others(view: View<'_>, search: &Search, except: &str) -> Result<Vec<Other>, ReadError> {
    // One more, since this request itself may be among them.
    let page = answers::search(view, &Search { limit: search.limit + 1, ..search.clone() }, SIDE_QUERY).await?;
    let lines = page.lines.iter().map(|line| Line::parse(line.get()));
    let other = |line: Line| Some(Other { request_id: line.request_id?, time: line.time, access: line.access? });
    Ok(lines.filter_map(other).filter(|other| other.request_id != except).take(search.limit).collect())
}

/// The lines of these requests, at most [`LINES_MAX`]; a request that the limit cuts is left out.
async fn lines_of(view: View<'_>, ids: BTreeSet<String>) -> Result<BTreeMap<String, Vec<Line>>, ReadError> {
    let mut by_request: BTreeMap<String, Vec<Line>> = BTreeMap::new();
    if ids.is_empty() {
        return Ok(by_request);
    }
    // Newest first, so that the limit cuts the oldest requests.
    let filter = Filter::Is(Field::RequestId, ids.into_iter().collect());
    let page = answers::search(view, &Search { limit: LINES_MAX, ..Search::new(filter) }, SIDE_QUERY).await?;
    for line in page.lines.iter().rev().map(|line| Line::parse(line.get())) {
        if let Some(id) = line.request_id.clone() {
            by_request.entry(id).or_default().push(line);
        }
    }
    if page.next.is_some() {
        let oldest = page.lines.last().and_then(|line| Line::parse(line.get()).request_id);
        oldest.and_then(|oldest| by_request.remove(&oldest));
    }
    Ok(by_request)
}
