//! `/search`: lines by text, fields and time, newest first, with counts per value and a histogram. A query that is the ID of a
//! request redirects to that request.

use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, web};
use askama::Template;
use observability::is_valid_id;
use serde::Deserialize;
use store::counts::{Accuracy, Facet, FacetCounts, Histogram, Selection};
use store::{Cursor, Field, Filter, Order, Search, Store, Timestamp};
use utoipa::IntoParams;

use crate::access::{Reader, View};
use crate::answers::{self, HTML_PAGE};
use crate::line::Line;
use crate::line_query::range::{ALL_TIME, SPANS};
use crate::line_query::url::{UrlParams, parse_cursor};
use crate::line_query::{LineParams, LineQuery, LineQueryError, Param, TimeRange, named_fields};
use crate::page::chart::{self, Area, Stack};
use crate::page::story::queries;
use crate::page::text::{count, counted, datetime};
use crate::page::{self, Head, Menu};
use crate::paths::request_page;
use crate::problem::Problem;

/// Lines of a page.
pub const PAGE_LINES: usize = 100;

/// The time range of a search without one.
const DEFAULT_LAST: &str = "24h";

/// Values shown per field.
const VALUES: usize = 8;

/// Approximate number of buckets of the histogram.
const BUCKETS: i64 = 60;

/// Fields that lines are counted by, with the parameter that filters by a value.
const FACETS: [(Facet, Param, &str); 5] = [
    (Facet::Field(Field::Level), Param::Level, "Level"),
    (Facet::Field(Field::Service), Param::Service, "Service"),
    (Facet::Field(Field::ProjectId), Param::Project, "Project"),
    (Facet::Field(Field::Endpoint), Param::Endpoint, "Endpoint"),
    (Facet::Status, Param::Status, "Status"),
];

/// The route's own parameters.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct SearchParams {
    /// The cursor of a neighbouring page.
    cursor: Option<String>,
    /// Whether the page continues after the cursor, `older` (default), or ends before it, `newer`.
    direction: Option<String>,
}

#[derive(Template)]
#[template(path = "search.html")]
struct SearchPage<'a> {
    head: Head<'a>,
    params: &'a LineParams,
    /// The selected time range; empty for a fixed one.
    last: &'a str,
    spans: [(&'static str, &'static str); 7],
    chips: Vec<(String, String)>,
    error: Option<InvalidQuery>,
    results: Option<Results>,
    tail: String,
}

/// An invalid parameter.
struct InvalidQuery {
    detail: String,
    /// The value, with a mark below the invalid character.
    marked: Option<String>,
}

/// The lines of a page, and counts over all lines that match.
struct Results {
    summary: String,
    /// What the counts leave out.
    counted: Option<String>,
    /// What the histogram leaves out.
    not_charted: Option<String>,
    histogram: String,
    /// The same for a phone.
    narrow_histogram: String,
    lines: Vec<Line>,
    facets: Vec<FacetView>,
    next: Option<String>,
    previous: Option<String>,
    first: Option<String>,
    is_empty_store: bool,
}

/// Counts of one field.
struct FacetView {
    name: &'static str,
    /// Value, count, link, and whether it is selected.
    values: Vec<(String, String, String, bool)>,
    others: Option<String>,
}

/// `GET /search`
///
/// # Errors
/// 400 for an unknown parameter, 503 or 504 if the store does not respond. An invalid value is reported on the page.
pub async fn show(
    store: web::Data<Store>,
    reader: Reader,
    UrlParams(params, own): UrlParams<LineParams, SearchParams>,
) -> Result<HttpResponse, Problem> {
    let store = store.pinned();
    let view = reader.view(&store);
    if let Some(id) = params.given(Param::Query).filter(|text| is_valid_id(text.as_bytes())) {
        // Existence is checked within the reader's scope, so that the answer reveals nothing beyond it.
        if queries::exists(view, id).await? {
            return Ok(HttpResponse::SeeOther().insert_header((header::LOCATION, request_page(id))).finish());
        }
    }
    let params = params.or_last(DEFAULT_LAST);
    let fields = named_fields(&params, &store).await?;
    let (status, error, results) = match LineQuery::parse(&params, &fields, Timestamp::now()) {
        Err(error) => (StatusCode::BAD_REQUEST, Some(InvalidQuery::new(&error, &params)), None),
        Ok(query) => match Position::parse(&own) {
            Err(problem) => {
                (StatusCode::BAD_REQUEST, Some(InvalidQuery { detail: problem.to_string(), marked: None }), None)
            }
            Ok(position) => (StatusCode::OK, None, Some(find(view, &params, &query, position).await?)),
        },
    };
    let mut spans = [(ALL_TIME, "All time"); 7];
    for (span, (name, label, _)) in spans.iter_mut().zip(SPANS) {
        *span = (name, label);
    }
    let page = SearchPage {
        head: Head::new("Search", Menu::Search, &reader)
            .with_query(params.get(Param::Query))
            .with_notice_of(&store)
            .await,
        last: params.get(Param::Last),
        spans,
        chips: params.chips("/search"),
        error,
        results,
        tail: params.filters().href("/tail"),
        params: &params,
    };
    page::html(status, &page)
}

impl InvalidQuery {
    fn new(error: &LineQueryError, params: &LineParams) -> Self {
        let (parameter, column) = error.position();
        let value = Param::ALL.into_iter().find(|param| param.name() == parameter).map(|param| params.get(param));
        let marked =
            value.zip(column).map(|(value, column)| format!("{value}\n{}^", " ".repeat(column.saturating_sub(1))));
        Self { detail: error.to_string(), marked }
    }
}

/// Which page of the lines to show.
#[derive(Clone, Copy)]
enum Position {
    Newest,
    OlderThan(Cursor),
    NewerThan(Cursor),
}

impl Position {
    fn parse(own: &SearchParams) -> Result<Self, Problem> {
        let cursor = parse_cursor(own.cursor.as_deref())?;
        match (cursor, own.direction.as_deref()) {
            (None, None | Some("older" | "newer")) => Ok(Self::Newest),
            (Some(cursor), None | Some("older")) => Ok(Self::OlderThan(cursor)),
            (Some(cursor), Some("newer")) => Ok(Self::NewerThan(cursor)),
            (_, Some(_)) => Err(Problem::bad_request("invalid direction: expected older or newer")),
        }
    }
}

/// Lines of a page, newest first, and the cursors of its neighbours.
struct LinesPage {
    lines: Vec<Line>,
    older: Option<Cursor>,
    newer: Option<Cursor>,
}

/// Cursors are positions of lines, so no line is skipped or repeated while new ones arrive.
async fn lines_page(view: View<'_>, query: &LineQuery, position: Position) -> Result<LinesPage, Problem> {
    let (order, cursor) = match position {
        Position::Newest => (Order::NewestFirst, None),
        Position::OlderThan(cursor) => (Order::NewestFirst, Some(cursor)),
        Position::NewerThan(cursor) => (Order::OldestFirst, Some(cursor)),
    };
    let page = answers::search(view, &query.search(order, PAGE_LINES, cursor), HTML_PAGE).await?;
    let mut lines: Vec<_> = page.lines.iter().map(|line| Line::parse(line.get())).collect();
    Ok(match position {
        Position::Newest => LinesPage { lines, older: page.next, newer: None },
        // Retention may have left no line on this page and some on newer ones.
        Position::OlderThan(cursor) => LinesPage { lines, older: page.next, newer: page.first.or(Some(cursor)) },
        Position::NewerThan(_) => {
            lines.reverse();
            LinesPage { lines, older: page.first, newer: page.next }
        }
    })
}

async fn find(view: View<'_>, params: &LineParams, query: &LineQuery, position: Position) -> Result<Results, Problem> {
    let LinesPage { lines, older, newer } = lines_page(view, query, position).await?;
    let (selection, range) = (query.selection(), query.range());
    let facets = view.facets(&selection, &FACETS.map(|(facet, ..)| facet), VALUES).await?;
    let (from, to) = charted_range(view, &selection).await?;
    let step = std::time::Duration::from_millis(step_ms(from, to).unsigned_abs());
    let histogram = view.histogram(&selection, step).await?;
    let fixed = params.within(range);
    let next = older.map(|cursor| fixed.href_with("/search", &[("cursor", &cursor.to_string())]));
    let previous =
        newer.map(|cursor| fixed.href_with("/search", &[("cursor", &cursor.to_string()), ("direction", "newer")]));
    let first = (!matches!(position, Position::Newest)).then(|| params.href("/search"));
    let range_text = match (range.from.map(datetime), range.to.map(datetime)) {
        (None, None) => "in all time".to_owned(),
        (Some(from), None) => format!("since {from} UTC"),
        (None, Some(to)) => format!("until {to} UTC"),
        (Some(from), Some(to)) => format!("from {from} to {to} UTC"),
    };
    Ok(Results {
        summary: format!("{} {range_text}", counted(facets.lines, "line", "lines")),
        counted: coverage_note(facets.accuracy),
        not_charted: not_charted(facets.lines, &histogram),
        histogram: histogram_chart(&histogram, params, range, chart::WIDE),
        narrow_histogram: histogram_chart(&histogram, params, range, chart::NARROW),
        is_empty_store: lines.is_empty() && *query.filter() == Filter::EVERY && range.from.is_none(),
        facets: facets
            .facets
            .iter()
            .zip(FACETS)
            .filter(|(counts, _)| !counts.values.is_empty())
            .map(|(counts, (_, param, title))| facet(counts, param, title, params))
            .collect(),
        lines,
        next,
        previous,
        first,
    })
}

/// How many lines are in no bucket of the histogram.
fn not_charted(lines: u64, histogram: &Histogram) -> Option<String> {
    let charted: u64 = histogram.buckets.iter().map(|bucket| bucket.lines).sum();
    let left = lines.checked_sub(charted).filter(|left| *left > 0 && histogram.accuracy == Accuracy::Exact)?;
    let verb = if left == 1 { "is" } else { "are" };
    Some(format!("{} dated before 1970 or after 2262 {verb} not charted", counted(left, "line", "lines")))
}

/// The time range of the histogram; an open side ends at the first or last line.
async fn charted_range(view: View<'_>, selection: &Selection) -> Result<(Timestamp, Timestamp), Problem> {
    let outermost = async |given: Option<Timestamp>, order: Order| -> Result<Option<Timestamp>, Problem> {
        if given.is_some() {
            return Ok(given);
        }
        let Selection { filter, from, to } = selection.clone();
        let page = view.search(&Search { filter, from, to, order, limit: 1, ..Search::default() }).await?;
        Ok(page.lines.first().and_then(|line| Line::parse(line.get()).time))
    };
    let to = outermost(selection.to, Order::NewestFirst).await?.unwrap_or_else(Timestamp::now);
    Ok((outermost(selection.from, Order::OldestFirst).await?.unwrap_or(to), to))
}

fn facet(counts: &FacetCounts, param: Param, title: &'static str, params: &LineParams) -> FacetView {
    let values = counts.values.iter().map(|(value, lines)| {
        let is_selected = params.get(param) == value;
        let href = params.with(param, if is_selected { "" } else { value }).href("/search");
        (value.clone(), count(*lines), href, is_selected)
    });
    let others = (counts.others > 0).then(|| format!("{} more in other values", count(counts.others)));
    FacetView { name: title, values: values.collect(), others }
}

/// A note for counts that don't cover all lines.
#[must_use]
pub fn coverage_note(accuracy: Accuracy) -> Option<String> {
    match accuracy {
        Accuracy::Exact => None,
        Accuracy::AtLeast { examined } => {
            Some(format!("Counts cover the newest {} only.", counted(examined, "line", "lines")))
        }
    }
}

/// The length of a bucket: a round number that gives about 60 buckets.
#[must_use]
pub fn step_ms(from: Timestamp, to: Timestamp) -> i64 {
    const ROUND_S: [i64; 13] = [1, 5, 10, 30, 60, 300, 600, 1_800, 3_600, 10_800, 21_600, 43_200, 86_400];
    let wanted_s = (to.unix_ms() - from.unix_ms()).max(0) / 1_000 / BUCKETS;
    let round = ROUND_S.into_iter().find(|round| *round >= wanted_s);
    round.unwrap_or_else(|| wanted_s.div_euclid(86_400).saturating_add(1) * 86_400) * 1_000
}

/// A chart of lines over time by level. Each bucket links to its lines within the range that was counted.
#[must_use]
pub fn histogram_chart(histogram: &Histogram, params: &LineParams, range: TimeRange, size: chart::Size) -> String {
    let step_ms = i64::try_from(histogram.step.as_millis()).unwrap_or(i64::MAX).max(1);
    let stacks: Vec<_> = histogram
        .buckets
        .iter()
        .map(|bucket| {
            let title = format!("{} from {}", counted(bucket.lines, "line", "lines"), datetime(bucket.start));
            let href = params.within(range.bucket(bucket.start, step_ms)).href("/search");
            Stack { start_ms: bucket.start.unix_ms(), levels: bucket.levels, area: Area { href, title } }
        })
        .collect();
    chart::stacks("Lines over time, by level", &stacks, step_ms, size)
}
