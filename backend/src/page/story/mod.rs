//! `/requests/{request_id}`: the story of a request, on one page: what became of it, whether all of it is there, its lines in
//! order, what took longer than it does, what went otherwise than in a good one, and who else met the same error.
//!
//! [`gather`], [`sources`] and [`others`] ask the store, [`view`] puts what is found into words: with [`head`] what holds of the whole request, with
//! [`badge`] whether all of it is here, with [`beside`] another one; what is judged is judged in [`crate::story`].

use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_DISPOSITION, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use serde::Deserialize;
use store::Store;

use crate::access::Reader;
use crate::ask::{check_id, parse_cursor};
use crate::dead_letters::DeadLetters;
use crate::links::{Links, Root, page_path};
use crate::page::{self, Failure, Menu};
use crate::problem::Problem;
use crate::story::steps::steps_from;

pub mod badge;
pub mod beside;
pub mod gather;
pub mod head;
pub mod others;
pub mod sources;
pub mod view;

use beside::Beside;
use gather::First;
use head::Head;
use others::{Good, Recent};
use view::Story;

/// What may be asked of a story.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Query {
    /// The request to lay beside it, instead of one that is chosen.
    with: Option<String>,
    /// The place that its lines are shown after, where they are too many for one page.
    cursor: Option<String>,
}

#[derive(Template)]
#[template(path = "story.html")]
struct Page<'a> {
    head: page::Head<'a>,
    story: &'a Story,
    root: Root,
}

#[derive(Template)]
#[template(path = "story_file.html")]
struct File<'a> {
    story: &'a Story,
    root: Root,
    style: &'static str,
}

#[derive(Template)]
#[template(path = "no_story.html")]
struct NoStory<'a> {
    head: page::Head<'a>,
    id: &'a str,
}

/// `GET /requests/{request_id}`: its story.
///
/// # Errors
/// 400 for what is no request id, 404 for one without lines that the reader sees, 503 or 504 where the store does not
/// answer.
pub async fn show(
    sources: web::Data<Sources>,
    reader: Reader,
    id: web::Path<String>,
    query: web::Query<Query>,
) -> Result<HttpResponse, Failure> {
    match sources.tell(&reader, &id, &query).await? {
        Some(story) => {
            let head = page::Head::of(&story.title, Menu::Other, &reader).with_query(&id);
            page::html(StatusCode::OK, &Page { head, story: &story, root: Root::Page })
        }
        None => {
            let head = page::Head::of("Request not found", Menu::Other, &reader).with_query(&id);
            let head = head.with_notice_of(&sources.store).await;
            page::html(StatusCode::NOT_FOUND, &NoStory { head, id: &id })
        }
    }
}

/// `GET /requests/{request_id}/file`: the same as one file that needs nothing else, to keep or to send. Its links are whole
/// addresses, or no links where the service does not know its own.
///
/// # Errors
/// As [`show`].
pub async fn file(
    sources: web::Data<Sources>,
    reader: Reader,
    id: web::Path<String>,
    query: web::Query<Query>,
    request: HttpRequest,
) -> Result<HttpResponse, Failure> {
    let Some(story) = sources.tell(&reader, &id, &query).await? else {
        return Err(Problem::new(StatusCode::NOT_FOUND, "request not found").into());
    };
    let root = sources.links.root_of_file(request.headers());
    let style = include_str!("../../../assets/style.css");
    let mut answer = page::html(StatusCode::OK, &File { story: &story, root, style })?;
    let name: String =
        id.chars().map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' }).collect();
    let disposition = format!("attachment; filename=\"request-{name}.html\"");
    if let Ok(value) = HeaderValue::try_from(disposition) {
        answer.headers_mut().insert(CONTENT_DISPOSITION, value);
    }
    Ok(answer)
}

/// What a story is put together from.
#[derive(Clone, Debug)]
pub struct Sources {
    /// Its lines.
    pub store: Store,
    /// What of them no store takes.
    pub dead_letters: DeadLetters,
    /// Where it leads.
    pub links: Links,
}

impl Sources {
    /// Puts a story together; none where there are no lines.
    async fn tell(&self, reader: &Reader, id: &str, query: &Query) -> Result<Option<Story>, Problem> {
        let store = self.store.pinned();
        let view = reader.view(&store);
        let with = query.with.as_deref();
        check_id("a request id", id)?;
        with.map_or(Ok(()), |id| check_id("a request id", id))?;
        let (lines, neighbours) = gather::part(view, id, parse_cursor(query.cursor.as_deref())?).await?;
        if lines.is_empty() {
            return Ok(None);
        }
        let head = if neighbours.is_part() { gather::head(view, id).await? } else { Head::of(&lines) };
        let sources = sources::sources(view, &self.dead_letters, &lines).await?;
        let end = gather::end(&head.ends);
        let recent = match end {
            Some((line, access)) => others::recent(view, access, line.time, id).await?,
            None => Recent::default(),
        };
        let steps = steps_from(&lines, head.began, head.began.filter(|_| neighbours.here.is_none()));
        let is_slow = end.is_some_and(|(_, access)| {
            recent.whole.zip(access.took_us()).is_some_and(|(usual, took)| usual.is_exceeded_by(took))
        });
        let good = match (with, end) {
            (Some(with), _) => Some(Good::One(with.to_owned(), gather::first(view, with).await?)),
            (None, Some((line, access))) if is_slow || !access.is_good() => {
                let at = line.time.unwrap_or_else(store::Timestamp::now);
                Some(others::good_one(view, (access, at), &recent, id).await?)
            }
            _ => None,
        };
        // Beside another's first lines belong the first ones of this, whichever of its parts is shown.
        let first = match (&good, neighbours.here) {
            (Some(Good::One(..)), Some(_)) => gather::first(view, id).await?,
            _ => First { lines: lines.clone(), is_cut: neighbours.next.is_some() },
        };
        let same_error = match &head.error {
            Some(line) => Some((others::same_error(view, line, id).await?, line.said())),
            None => None,
        };
        let found = view::Found {
            id,
            lines: &lines,
            steps: &steps,
            sources: &sources,
            recent: &recent,
            is_slow,
            head: &head,
            neighbours: &neighbours,
            with,
        };
        let mut story = Story::of(&found, &self.links);
        story.beside = good.map(|good| Beside::of(&first, &good));
        story.set_same_error(same_error);
        Ok(Some(story))
    }
}

/// Where a request's story is, with another beside it.
fn path_with(id: &str, with: &str) -> String {
    format!("{}?with={}#compare", page_path(id), page::encode(with))
}
