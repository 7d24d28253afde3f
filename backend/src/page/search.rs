//! `/search`: lines by words, fields and time, newest first, with counts per value beside them and a picture over time. What
//! is a request's id opens its story instead.

use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, web};
use askama::Template;
use observability::is_valid_id;
use store::counts::{Accuracy, Facet, Histogram, Selection};
use store::{Cursor, Field, Filter, NamedFields, Order, Search, Store, Timestamp};

use crate::access::{Reader, View};
use crate::answers::{self, SHOWN};
use crate::line::Line;
use crate::links::page_path;
use crate::page::chart::{self, Area, Stack};
use crate::page::params::{Params, RANGES, Times};
use crate::page::story::gather;
use crate::page::text::{count, counted, moment};
use crate::page::{self, Failure, Head, Menu};
use crate::problem::Problem;
use crate::times;

/// Lines of a page.
pub const PAGE_LINES: usize = 100;

/// Values of each field beside the lines.
const VALUES: usize = 8;

/// Pieces of the picture over time.
const PIECES: i64 = 60;

/// Fields that lines are counted by, with the parameter that narrows to a value.
const FACETS: [(Facet, &str, &str); 5] = [
    (Facet::Field(Field::Level), "level", "Level"),
    (Facet::Field(Field::Service), "service", "Service"),
    (Facet::Field(Field::ProjectId), "project", "Project"),
    (Facet::Field(Field::Endpoint), "endpoint", "Endpoint"),
    (Facet::Status, "status", "Status"),
];

/// The page.
#[derive(Template)]
#[template(path = "search.html")]
struct Page<'a> {
    head: Head<'a>,
    params: &'a Params,
    chosen: &'a str,
    ranges: [(&'static str, &'static str); 7],
    chips: Vec<(String, String)>,
    wrong: Option<Wrong>,
    found: Option<Found>,
    tail: String,
}

/// What is wrong with a query or a time, and where.
struct Wrong {
    detail: String,
    /// What is wrong, with a mark below the place.
    marked: Option<String>,
}

/// What was found.
struct Found {
    summary: String,
    counted: Option<String>,
    /// Lines that are in no piece of the picture.
    not_drawn: Option<String>,
    picture: String,
    /// The same for a phone.
    narrow_picture: String,
    lines: Vec<Line>,
    facets: Vec<FacetView>,
    next: Option<String>,
    previous: Option<String>,
    first: Option<String>,
    nothing_at_all: bool,
}

/// Counts of one field.
struct FacetView {
    name: &'static str,
    /// Value, count, link, and whether it is chosen.
    values: Vec<(String, String, String, bool)>,
    others: Option<String>,
}

/// `GET /search`
///
/// # Errors
/// 503 or 504 where the store does not answer; what is wrong with the query is told on the page.
pub async fn show(
    store: web::Data<Store>,
    reader: Reader,
    params: web::Query<Params>,
) -> Result<HttpResponse, Failure> {
    let store = store.pinned();
    let view = reader.view(&store);
    if let Some(id) = params.text().filter(|text| is_valid_id(text.as_bytes()) && params.words.is_empty()) {
        // The same question whether it is there or not, and whoever's it is.
        if gather::is_there(view, id).await.map_err(Problem::from)? {
            return Ok(HttpResponse::SeeOther().insert_header((header::LOCATION, page_path(id))).finish());
        }
    }
    let fields = crate::ask::fields(&store, params.text()).await?;
    let (status, wrong, found) = match understood(&params, &fields) {
        Ok(asked) => (StatusCode::OK, None, Some(find(view, &params, asked).await?)),
        Err(problem) => {
            let wrong = Wrong { detail: problem.to_string(), marked: marked(&params, &fields) };
            (StatusCode::BAD_REQUEST, Some(wrong), None)
        }
    };
    let page = Page {
        head: Head::of("Search", Menu::Search, &reader).with_query(&params.q).with_notice_of(&store).await,
        chosen: params.chosen(),
        ranges: ranges(),
        chips: params.chips("/search"),
        wrong,
        found,
        tail: params.timeless().href("/tail"),
        params: &params,
    };
    page::html(status, &page)
}

/// The ranges to choose from.
#[must_use]
pub fn ranges() -> [(&'static str, &'static str); 7] {
    let mut ranges = [("all", "All time"); 7];
    for (place, (name, words, _)) in ranges.iter_mut().zip(RANGES) {
        *place = (name, words);
    }
    ranges
}

/// The query or the time that is wrong, with a mark below the place. What is told first is marked.
fn marked(params: &Params, fields: &NamedFields) -> Option<String> {
    let of_time = |name, text: &str| Some((text.trim().to_owned(), times::parse(name, text).err()?.column));
    let of_query = || {
        params.times(Timestamp::now()).ok()?;
        let text = params.text()?;
        Some((text.to_owned(), Filter::parse(text, fields).err()?.column))
    };
    let (text, column) = of_time("from", &params.from).or_else(|| of_time("to", &params.to)).or_else(of_query)?;
    Some(format!("{text}\n{}^", " ".repeat(column.saturating_sub(1))))
}

/// What is asked of the store.
struct Asked {
    selection: Selection,
    place: Place,
}

/// Which page of the lines.
enum Place {
    /// The newest.
    First,
    /// The one that comes after this place.
    After(Cursor),
    /// The one that comes before it.
    Before(Cursor),
}

fn understood(params: &Params, fields: &NamedFields) -> Result<Asked, Problem> {
    let times = params.times(Timestamp::now())?;
    let cursor = |text: &str| crate::ask::parse_cursor(Some(text).filter(|text| !text.is_empty()));
    let place = match (cursor(&params.cursor)?, cursor(&params.before)?) {
        (None, None) => Place::First,
        (Some(after), None) => Place::After(after),
        (None, Some(before)) => Place::Before(before),
        (Some(_), Some(_)) => return Err(Problem::bad_request("a page comes after a cursor or before one, not both")),
    };
    Ok(Asked { selection: Selection { filter: params.filter(fields)?, from: times.from, to: times.to }, place })
}

/// A page of lines, the newest first, and the places of the pages on both sides of it, where there are any.
struct PageOfLines {
    lines: Vec<Line>,
    older: Option<Cursor>,
    newer: Option<Cursor>,
}

/// Both sides go on from a line's own place, so that no line is left out or shown twice while others come in.
async fn page_of(view: View<'_>, asked: &Asked) -> Result<PageOfLines, Problem> {
    let Asked { selection: Selection { filter, from, to }, place } = asked;
    let (order, cursor) = match place {
        Place::First => (Order::NewestFirst, None),
        Place::After(cursor) => (Order::NewestFirst, Some(*cursor)),
        Place::Before(cursor) => (Order::OldestFirst, Some(*cursor)),
    };
    let (from, to, filter) = (*from, *to, filter.clone());
    let search = Search { filter, from, to, order, limit: PAGE_LINES, cursor, ..Search::default() };
    let page = answers::search(view, &search, SHOWN).await?;
    let mut lines: Vec<_> = page.lines.iter().map(|line| Line::read(line.get())).collect();
    Ok(match place {
        Place::First => PageOfLines { lines, older: page.next, newer: None },
        // Where lines were removed meanwhile there may be none on this page, and still some before it.
        Place::After(cursor) => PageOfLines { lines, older: page.next, newer: page.first.or(Some(*cursor)) },
        Place::Before(_) => {
            lines.reverse();
            PageOfLines { lines, older: page.first, newer: page.next }
        }
    })
}

async fn find(view: View<'_>, params: &Params, asked: Asked) -> Result<Found, Problem> {
    let PageOfLines { lines, older, newer } = page_of(view, &asked).await?;
    let Asked { selection, place } = asked;
    let facets = view.facets(&selection, &FACETS.map(|(facet, ..)| facet), VALUES).await?;
    let within = Times { from: selection.from, to: selection.to };
    let (from, to) = range(view, &selection).await?;
    let step = std::time::Duration::from_millis(step_ms(from, to).unsigned_abs());
    let histogram = view.histogram(&selection, step).await?;
    let fixed = params.within(within);
    let next = older.map(|place| fixed.with("cursor", &place.to_string()).href("/search"));
    let previous = newer.map(|place| fixed.with("before", &place.to_string()).href("/search"));
    let first = (!matches!(place, Place::First)).then(|| params.with("cursor", "").href("/search"));
    let range = match (selection.from.map(moment), selection.to.map(moment)) {
        (None, None) => "in all time".to_owned(),
        (Some(from), None) => format!("since {from} UTC"),
        (None, Some(to)) => format!("until {to} UTC"),
        (Some(from), Some(to)) => format!("from {from} to {to} UTC"),
    };
    Ok(Found {
        summary: format!("{} {range}", counted(facets.lines, "line", "lines")),
        counted: honesty(facets.accuracy),
        not_drawn: not_drawn(facets.lines, &histogram),
        picture: picture(&histogram, params, within, chart::WIDE),
        narrow_picture: picture(&histogram, params, within, chart::NARROW),
        nothing_at_all: lines.is_empty() && selection.filter == Filter::EVERY && selection.from.is_none(),
        facets: facets
            .facets
            .iter()
            .zip(FACETS)
            .filter(|(counts, _)| !counts.values.is_empty())
            .map(|(counts, (_, name, title))| facet(counts, name, title, params))
            .collect(),
        lines,
        next,
        previous,
        first,
    })
}

/// Lines of times that no piece of a picture is of.
fn not_drawn(lines: u64, histogram: &Histogram) -> Option<String> {
    let drawn: u64 = histogram.buckets.iter().map(|bucket| bucket.lines).sum();
    let left = lines.checked_sub(drawn).filter(|left| *left > 0 && histogram.accuracy == Accuracy::Exact)?;
    Some(format!(
        "{} dated before 1970 or after 2262 {} not charted.",
        counted(left, "line", "lines"),
        if left == 1 { "is" } else { "are" }
    ))
}

/// What a picture is of: the range that is asked for, and where it is open, from the first line or to the last.
async fn range(view: View<'_>, selection: &Selection) -> Result<(Timestamp, Timestamp), Problem> {
    let outermost = async |given: Option<Timestamp>, order: Order| -> Result<Option<Timestamp>, Problem> {
        if given.is_some() {
            return Ok(given);
        }
        let Selection { filter, from, to } = selection.clone();
        let page = view.search(&Search { filter, from, to, order, limit: 1, ..Search::default() }).await?;
        Ok(page.lines.first().and_then(|line| Line::read(line.get()).time))
    };
    let to = outermost(selection.to, Order::NewestFirst).await?.unwrap_or_else(Timestamp::now);
    Ok((outermost(selection.from, Order::OldestFirst).await?.unwrap_or(to), to))
}

fn facet(counts: &store::counts::FacetCounts, name: &str, title: &'static str, params: &Params) -> FacetView {
    let chosen = match name {
        "level" => &params.level,
        "service" => &params.service,
        "project" => &params.project,
        "endpoint" => &params.endpoint,
        _ => &params.status,
    };
    let values = counts.values.iter().map(|(value, lines)| {
        let on = chosen == value;
        let href = params.with(name, if on { "" } else { value }).href("/search");
        (value.clone(), count(*lines), href, on)
    });
    let others = (counts.others > 0).then(|| format!("{} more in other values", count(counts.others)));
    FacetView { name: title, values: values.collect(), others }
}

/// Which counts are not of everything; none where they are.
#[must_use]
pub fn honesty(counted_how: Accuracy) -> Option<String> {
    match counted_how {
        Accuracy::Exact => None,
        Accuracy::AtLeast { examined } => {
            Some(format!("Counts cover the newest {} only.", counted(examined, "line", "lines")))
        }
    }
}

/// Steps so long that there are about 60 of them, of a length that people count in.
#[must_use]
pub fn step_ms(from: Timestamp, to: Timestamp) -> i64 {
    const NICE_S: [i64; 13] = [1, 5, 10, 30, 60, 300, 600, 1_800, 3_600, 10_800, 21_600, 43_200, 86_400];
    let wanted_s = (to.unix_ms() - from.unix_ms()).max(0) / 1_000 / PIECES;
    let nice = NICE_S.into_iter().find(|nice| *nice >= wanted_s);
    nice.unwrap_or_else(|| wanted_s.div_euclid(86_400).saturating_add(1) * 86_400) * 1_000
}

/// Lines over time by level, each piece with a link to its lines: those of it that are `within` the time that was counted.
#[must_use]
pub fn picture(histogram: &Histogram, params: &Params, within: Times, size: chart::Size) -> String {
    let step_ms = i64::try_from(histogram.step.as_millis()).unwrap_or(i64::MAX).max(1);
    let stacks: Vec<_> = histogram
        .buckets
        .iter()
        .map(|bucket| {
            let title = format!("{} from {}", counted(bucket.lines, "line", "lines"), moment(bucket.start));
            let href = params.within(within.piece(bucket.start, step_ms)).href("/search");
            Stack { start_ms: bucket.start.unix_ms(), levels: bucket.levels, area: Area { href, title } }
        })
        .collect();
    chart::stacks("Lines over time, by level", &stacks, step_ms, size)
}
