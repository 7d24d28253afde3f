//! `/requests/{request_id}`: one request on one page: its summary, whether all of its lines are present, its lines, which
//! steps were slow, how it differs from a successful request, and other requests with the same error.
//!
//! [`queries`], [`sources`] and [`related`] read the store; [`view`] prepares the template's values, with [`summary`], [`badge`]
//! and [`comparison`]. The analysis itself is in [`crate::story`].

use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_DISPOSITION, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use serde::Deserialize;
use store::Store;
use utoipa::IntoParams;

use crate::access::Reader;
use crate::dead_letters::DeadLetters;
use crate::line_query::range::ALL_TIME;
use crate::line_query::url::{NoLines, UrlParams, check_id, parse_cursor};
use crate::line_query::{LineParams, Param};
use crate::links::{Links, Root};
use crate::page::{self, Head, Menu};
use crate::problem::Problem;
use crate::story::steps::steps_from;

pub mod badge;
pub mod comparison;
pub mod queries;
pub mod related;
pub mod sources;
pub mod summary;
pub mod view;

use comparison::Comparison;
use queries::FirstLines;
use related::{Reference, Similar};
use summary::Summary;
use view::Story;

/// The route's parameters.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct RequestPageParams {
    /// ID of the request to compare with, instead of the nearest successful one.
    compare: Option<String>,
    /// The cursor of a page, if the request has several.
    cursor: Option<String>,
}

#[derive(Template)]
#[template(path = "story.html")]
struct RequestPage<'a> {
    head: Head<'a>,
    story: &'a Story,
    root: Root,
}

#[derive(Template)]
#[template(path = "story_file.html")]
struct RequestFile<'a> {
    story: &'a Story,
    root: Root,
    style: &'static str,
}

#[derive(Template)]
#[template(path = "no_story.html")]
struct NotFoundPage<'a> {
    head: Head<'a>,
    id: &'a str,
    /// A search for the ID as text.
    search: String,
}

/// `GET /requests/{request_id}`
///
/// # Errors
/// 400 for an invalid ID or parameter; 503 or 504 if the store does not respond. A request without lines that the reader sees
/// is answered with a page and 404.
pub async fn show(
    loader: web::Data<StoryLoader>,
    reader: Reader,
    id: web::Path<String>,
    UrlParams(_, params): UrlParams<NoLines, RequestPageParams>,
) -> Result<HttpResponse, Problem> {
    match loader.load(&reader, &id, &params).await? {
        Some(story) => {
            let head = Head::new(&story.title, Menu::Other, &reader).with_query(&id);
            page::html(StatusCode::OK, &RequestPage { head, story: &story, root: Root::Page })
        }
        None => {
            let head = Head::new("Request not found", Menu::Other, &reader).with_query(&id);
            let head = head.with_notice_of(&loader.store).await;
            let text = LineParams::default().with(Param::Query, &format!("\"{}\"", id.as_str()));
            let search = text.with(Param::Last, ALL_TIME).href("/search");
            page::html(StatusCode::NOT_FOUND, &NotFoundPage { head, id: &id, search })
        }
    }
}

/// `GET /requests/{request_id}/file`: the same as a self-contained file. Its links are absolute; if the service does not know
/// its own URL, there are none.
///
/// # Errors
/// As [`show`]; 404 for a request without lines that the reader sees.
pub async fn file(
    loader: web::Data<StoryLoader>,
    reader: Reader,
    id: web::Path<String>,
    UrlParams(_, params): UrlParams<NoLines, RequestPageParams>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let Some(story) = loader.load(&reader, &id, &params).await? else {
        return Err(Problem::new(StatusCode::NOT_FOUND, "request not found"));
    };
    let root = loader.links.file_root(request.headers());
    let style = include_str!("../../../assets/style.css");
    let mut response = page::html(StatusCode::OK, &RequestFile { story: &story, root, style })?;
    let name: String =
        id.chars().map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' }).collect();
    let disposition = format!("attachment; filename=\"request-{name}.html\"");
    if let Ok(value) = HeaderValue::try_from(disposition) {
        response.headers_mut().insert(CONTENT_DISPOSITION, value);
    }
    Ok(response)
}

/// Loads the data of a request's page.
#[derive(Clone, Debug)]
pub struct StoryLoader {
    /// The store of its lines.
    pub store: Store,
    /// The shipper's dead letters.
    pub dead_letters: DeadLetters,
    /// Links to other tools.
    pub links: Links,
}

impl StoryLoader {
    /// Loads a request; none if it has no lines.
    async fn load(&self, reader: &Reader, id: &str, params: &RequestPageParams) -> Result<Option<Story>, Problem> {
        let store = self.store.pinned();
        let view = reader.view(&store);
        let compare = params.compare.as_deref();
        check_id("request ID", id)?;
        compare.map_or(Ok(()), |id| check_id("request ID", id))?;
        let (lines, neighbours) = queries::page(view, id, parse_cursor(params.cursor.as_deref())?).await?;
        if lines.is_empty() {
            return Ok(None);
        }
        let summary =
            if neighbours.is_partial() { queries::summary(view, id).await? } else { Summary::from_lines(&lines) };
        let sources = sources::sources(view, &self.dead_letters, &lines).await?;
        let end = summary.end();
        let similar = match end {
            Some((line, access)) => related::similar(view, access, line.time, id).await?,
            None => Similar::default(),
        };
        let steps = steps_from(&lines, summary.started, summary.started.filter(|_| neighbours.here.is_none()));
        let is_slow = end.is_some_and(|(_, access)| {
            similar.total.zip(access.took_us()).is_some_and(|(baseline, took)| baseline.is_exceeded_by(took))
        });
        let reference = match (compare, end) {
            (Some(compare), _) => {
                Some(Reference::Found(compare.to_owned(), queries::first_lines(view, compare).await?))
            }
            (None, Some((line, access))) if is_slow || !access.is_success() => {
                let at = line.time.unwrap_or_else(store::Timestamp::now);
                Some(related::reference(view, (access, at), &similar, id).await?)
            }
            _ => None,
        };
        // The first lines of the reference are compared with the first lines of this request, whichever page is shown.
        let first = match (&reference, neighbours.here) {
            (Some(Reference::Found(..)), Some(_)) => queries::first_lines(view, id).await?,
            _ => FirstLines { lines: lines.clone(), is_cut: neighbours.next.is_some() },
        };
        let same_error = match &summary.error {
            Some(line) => Some((related::same_error(view, line, id).await?, line.title())),
            None => None,
        };
        let findings = view::Findings {
            id,
            lines: &lines,
            steps: &steps,
            sources: &sources,
            similar: &similar,
            is_slow,
            summary: &summary,
            neighbours: &neighbours,
            compare,
        };
        let mut story = Story::new(&findings, &self.links);
        story.comparison = reference.map(|reference| Comparison::new(&first, &reference));
        story.set_same_error(same_error);
        Ok(Some(story))
    }
}
