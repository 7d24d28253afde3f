//! `/sources/{generation}/{offset}`: what a source says before and after one of its lines.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;
use store::{GenerationId, Store};

use crate::access::Reader;
use crate::line::Line;
use crate::page::{self, Failure, Head, Menu};
use crate::problem::Problem;

/// Lines of a side unless more are asked for.
const LINES: usize = 20;

/// Lines of a side at most.
pub const LINES_MAX: usize = 500;

/// How many lines more a link asks for.
const MORE: usize = 50;

/// How many lines.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Query {
    before: Option<usize>,
    after: Option<usize>,
}

#[derive(Template)]
#[template(path = "around.html")]
struct Page<'a> {
    head: Head<'a>,
    source: String,
    lines: Vec<Shown>,
    earlier: Option<String>,
    later: Option<String>,
    limits: bool,
}

struct Shown {
    line: Line,
    /// Whether this is the line that was asked for.
    anchor: bool,
    /// Bytes between the line before and this one that hold no line that is here.
    gap: Option<u64>,
}

/// `GET /sources/{generation}/{offset}`
///
/// # Errors
/// 400 for what is no place, 404 where there is no line that the reader sees, 503 or 504 where the store does not answer.
pub async fn show(
    store: web::Data<Store>,
    reader: Reader,
    place: web::Path<(String, u64)>,
    query: web::Query<Query>,
) -> Result<HttpResponse, Failure> {
    let (generation, offset) = place.into_inner();
    let generation: GenerationId =
        generation.parse().map_err(|_| Problem::bad_request("a source's generation is 32 hexadecimal digits"))?;
    let (before, after) = (query.before.unwrap_or(LINES), query.after.unwrap_or(LINES));
    if before.max(after) > LINES_MAX {
        return Err(Problem::bad_request(format!("before and after are at most {LINES_MAX}")).into());
    }
    let found = store.around(reader.scope(), generation, offset, before, after).await.map_err(Problem::from)?;
    let lines: Vec<_> = found.iter().map(|found| Line::read(found.line.get())).collect();
    let here = found.iter().position(|found| found.offset == offset);
    let Some(here) = here else {
        return Err(Problem::new(StatusCode::NOT_FOUND, "there is no line at this place that you may see").into());
    };
    let there = (here, lines.len() - here - 1);
    let href = |before: usize, after: usize| {
        format!("/sources/{generation}/{offset}?before={}&after={}#anchor", before.min(LINES_MAX), after.min(LINES_MAX))
    };
    let mut reached = None;
    let source = lines[here].origin.as_ref().map(|origin| origin.source.clone()).unwrap_or_default();
    let shown = lines.into_iter().enumerate().map(|(place, line)| {
        let origin = line.origin.as_ref().map(|origin| (origin.offset, origin.offset.saturating_add(origin.length)));
        let gap = origin.zip(reached).and_then(|((start, _), end): ((u64, u64), u64)| start.checked_sub(end));
        reached = origin.map(|(_, end)| end);
        Shown { line, anchor: place == here, gap: gap.filter(|gap| *gap > 0) }
    });
    let page = Page {
        head: Head::of("Lines around", Menu::Other, &reader),
        source,
        lines: shown.collect(),
        earlier: (there.0 == before && before < LINES_MAX).then(|| href(before + MORE, after)),
        later: (there.1 == after && after < LINES_MAX).then(|| href(before, after + MORE)),
        limits: before.max(after) >= LINES_MAX,
    };
    page::html(StatusCode::OK, &page)
}
