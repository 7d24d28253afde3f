//! `/tail` and `/api/tail`: lines as they come in. A tail is one request with one access line when it ends; it asks the store
//! at an interval and writes nothing itself meanwhile, so that it can't feed on what it causes.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::HeaderName;
use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use bytes::Bytes;
use futures_util::stream::{self, Stream};
use serde::{Deserialize, Serialize};
use store::tail::ParseTailCursorError;
use store::{Filter, PageLimits, Store, TailCursor, TailPage};
use tokio::sync::watch;
use utoipa::IntoParams;

use crate::access::{ReadError, Reader};
use crate::answers::{ANSWER_BYTES_PER_TOKEN, Answers, Held, TAKEN_BY_STREAM};
use crate::limits::Limits;
use crate::line::Line;
use crate::links::page_path;
use crate::page::params::Params;
use crate::page::places::{Names, Places};
use crate::page::seats::{Seat, Seats};
use crate::page::{self, Failure, Head, Menu};
use crate::problem::{Details, Problem};

/// How often a tail asks the store that has nothing more yet.
pub const ASK_EVERY: Duration = Duration::from_millis(500);

/// Lines of one event. More come with the next at once.
pub const EVENT_LINES: usize = 200;

/// Bytes of the lines of one event; one line always fits.
pub const EVENT_BYTES_MAX: usize = TAKEN_BY_STREAM / 4;

/// So many events without a line, and the place is told anyway: what watches the connection sees that it lives.
const QUIET_ROUNDS: u32 = 30;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// How many tails there are, and when they all have to end.
#[derive(Clone, Debug)]
pub struct Tails {
    seats: Seats,
    places: Places,
    end: watch::Receiver<bool>,
}

impl Tails {
    /// Tails that end when `end` says so, and count what they refuse in these limits.
    #[must_use]
    pub fn until(end: watch::Receiver<bool>, limits: Limits) -> Self {
        Self { seats: Seats::new(limits), places: Places::default(), end }
    }
}

#[derive(Template)]
#[template(path = "tail.html")]
struct Page<'a> {
    head: Head<'a>,
    params: &'a Params,
    chips: Vec<(String, String)>,
    wrong: Option<String>,
    source: String,
    search: String,
}

/// `GET /tail`: the page.
///
/// # Errors
/// The page can't be made; what is wrong with the query is told on it.
pub async fn show(
    store: web::Data<Store>,
    reader: Reader,
    params: web::Query<Params>,
) -> Result<HttpResponse, Failure> {
    // A store that does not answer is told of by the tail itself, which goes on trying.
    let fields = crate::ask::fields(&store, params.text()).await.ok();
    let wrong = fields.and_then(|fields| params.filter(&fields).err()).map(|problem| problem.to_string());
    let timeless = params.timeless();
    let page = Page {
        head: Head::of("Live tail", Menu::Tail, &reader).with_query(&params.q).with_notice_of(&store).await,
        chips: timeless.chips("/tail"),
        source: timeless.href("/api/tail"),
        search: timeless.href("/search"),
        params: &params,
        wrong,
    };
    page::html(if page.wrong.is_some() { StatusCode::BAD_REQUEST } else { StatusCode::OK }, &page)
}

/// Which lines are followed, and from where on. What is empty asks for nothing.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct TailQuery {
    /// A query in the language of docs/search.md, as that of /api/logs, at most 1024 bytes; without one, all lines.
    #[param(required = false)]
    q: String,
    /// This level, or with + this level and graver ones.
    #[param(required = false)]
    level: String,
    /// Only lines of this service.
    #[param(required = false)]
    service: String,
    /// Only lines of this project.
    #[param(required = false)]
    project: String,
    /// Only access lines of this endpoint.
    #[param(required = false)]
    endpoint: String,
    /// Only access lines of this status: 404, 5xx.
    #[param(required = false)]
    status: String,
    /// The id of the event to go on from. `Last-Event-ID` goes before it.
    #[param(required = false)]
    after: String,
}

impl TailQuery {
    /// What chooses the lines, and the place to go on from.
    fn split(self) -> (Params, Option<String>) {
        let Self { q, level, service, project, endpoint, status, after } = self;
        let params = Params { q, level, service, project, endpoint, status, ..Params::default() };
        (params, Some(after).filter(|after| !after.is_empty()))
    }
}

/// A line as an event carries it.
#[derive(Serialize)]
struct Shown<'a> {
    clock: &'a str,
    level: &'static str,
    service: &'a str,
    message: &'a str,
    story: Option<String>,
    offset: Option<u64>,
    json: &'a str,
}

/// `GET /api/tail`: server-sent events. `lines` carries an array of lines, at most 200, and `place` none; each has the place
/// after it as its id. `anew` is a `place` of a tail that can't go on right after its own, which is not known any more, is of
/// another store, or is of lines that were removed since: what came in meanwhile is left to a search. `trouble` says in words
/// that the store does not answer, and the tail goes on trying. `end` is the last event of a tail whose token or session is
/// good no more, or whose projects were changed, and says which.
///
/// # Errors
/// 400 for a wrong query or place, 503 when there are [`TAILS_MAX`](crate::page::seats::TAILS_MAX) already, or too many of this token.
#[utoipa::path(
    get, path = "/api/tail", tag = "search",
    params(
        TailQuery,
        ("Last-Event-ID" = Option<String>, Header, description = "The same; goes before `after`"),
    ),
    responses(
        (status = 200, body = String, content_type = "text/event-stream", description = "Server-sent events without an end"),
        (status = "default", body = Details, content_type = "application/problem+json", description = "What is wrong"),
    )
)]
pub async fn events(
    store: web::Data<Store>,
    tails: web::Data<Tails>,
    answers: web::Data<Answers>,
    reader: Reader,
    request: HttpRequest,
    query: web::Query<TailQuery>,
) -> Result<HttpResponse, Problem> {
    let (params, after) = query.into_inner().split();
    let filter = params.filter(&crate::ask::fields(&store, params.text()).await?)?;
    let last = request.headers().get(LAST_EVENT_ID).and_then(|id| id.to_str().ok()).map(str::to_owned);
    let place = last.filter(|place| !place.is_empty()).or(after);
    // A name that is not known any more was good once: only its lines are lost to the tail, and that is told.
    let (place, is_anew) = match (place, reader.sees_all()) {
        (Some(name), false) => {
            let place = tails.places.of(&name);
            let is_anew = place.is_none();
            (place, is_anew)
        }
        (Some(place), true) => {
            (Some(place.parse().map_err(|error: ParseTailCursorError| Problem::bad_request(error.to_string()))?), false)
        }
        (None, _) => (None, false),
    };
    let no_randomness = |error| {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, format!("the system's random number generator failed: {error}"))
    };
    let names = if reader.sees_all() { None } else { Some(tails.places.names().map_err(no_randomness)?) };
    let seat = tails.seats.take(reader.token())?;
    let tail = Tail {
        store: store.get_ref().clone(),
        reader,
        answers: answers.get_ref().clone(),
        step: EVENT_LINES,
        held: None,
        end: tails.end.clone(),
        filter,
        place,
        quiet: QUIET_ROUNDS,
        names,
        is_anew,
        more: true,
        in_trouble: false,
        is_over: false,
        _seat: seat,
    };
    Ok(HttpResponse::Ok()
        .content_type("text/event-stream")
        .insert_header((HeaderName::from_static("x-accel-buffering"), "no"))
        .streaming(tail.events()))
}

/// One tail.
struct Tail {
    store: Store,
    reader: Reader,
    answers: Answers,
    /// How many lines to read next: what fits into one event, estimated from the last one.
    step: usize,
    /// What the last event takes beyond [`TAKEN_BY_STREAM`], kept for the next event.
    held: Option<Held>,
    end: watch::Receiver<bool>,
    filter: Filter,
    place: Option<TailCursor>,
    /// What places are called, where they would tell too much.
    names: Option<Names>,
    /// It could not go on right after its place; not told yet.
    is_anew: bool,
    /// Rounds without a line.
    quiet: u32,
    /// There is more than was asked for yet, or nothing was.
    more: bool,
    in_trouble: bool,
    is_over: bool,
    _seat: Seat,
}

impl Tail {
    fn events(self) -> impl Stream<Item = Result<Bytes, actix_web::Error>> {
        stream::unfold(self, |mut tail| async move { tail.next().await.map(|event| (Ok(event), tail)) })
    }

    /// The next event; none when the service ends, and after the `end` of a tail that may not go on.
    async fn next(&mut self) -> Option<Bytes> {
        let mut end = self.end.clone();
        tokio::select! {
            _ = end.wait_for(|is_over| *is_over) => None,
            event = self.next_of_store() => event,
        }
    }

    /// The next event; none after the `end`. What is there already is not waited for, so that a tail
    /// that fell behind, or goes on after a pause, catches up as fast as its client takes lines.
    async fn next_of_store(&mut self) -> Option<Bytes> {
        if self.is_over {
            return None;
        }
        self.held = None;
        loop {
            if !std::mem::take(&mut self.more) {
                actix_rt::time::sleep(ASK_EVERY).await;
            }
            let limits = PageLimits { lines: self.step, bytes: EVENT_BYTES_MAX };
            let found = match self.reader.view(&self.store).tail(&self.filter, self.place.as_ref(), limits).await {
                Ok(page) => self.event_of(page).await,
                Err(ReadError::Ended(ended)) => {
                    self.is_over = true;
                    Some(event("end", None, &format!("Live tail ended: {ended}.")).into())
                }
                Err(ReadError::Store(error)) => {
                    self.trouble(&format!("Log storage is not responding, retrying. {error}"))
                }
            };
            if let Some(event) = found {
                return Some(event);
            }
        }
    }

    /// Tells once of what keeps the tail from going on.
    fn trouble(&mut self, words: &str) -> Option<Bytes> {
        let is_told = std::mem::replace(&mut self.in_trouble, true);
        (!is_told).then(|| event("trouble", None, words).into())
    }

    /// The event of what came in since the last time; none where there is nothing to tell.
    async fn event_of(&mut self, page: TailPage) -> Option<Bytes> {
        let bytes = page.lines.iter().map(|line| line.get().len()).sum::<usize>();
        // Each line is there as it is, parsed, and as the event has it.
        let beyond = (4 * bytes).saturating_sub(TAKEN_BY_STREAM).min(ANSWER_BYTES_PER_TOKEN / 2);
        if beyond > 0 {
            match self.answers.take(self.reader.token(), beyond).await {
                Ok(held) => self.held = Some(held),
                Err(problem) => {
                    // What was read is read again.
                    self.step = 1;
                    return self.trouble(&format!("{problem}; retrying."));
                }
            }
        }
        // To wait for room took a while; the next read tells why there is no more.
        if self.reader.check().is_err() {
            return None;
        }
        if !page.lines.is_empty() {
            let of_line = bytes.div_ceil(page.lines.len()).max(1);
            self.step = (EVENT_BYTES_MAX / of_line).clamp(1, EVENT_LINES.min(4 * self.step));
        }
        let recovered = std::mem::take(&mut self.in_trouble);
        self.quiet += 1;
        self.more = page.more;
        let is_anew = std::mem::take(&mut self.is_anew) || page.gap;
        self.place = Some(page.cursor);
        if page.lines.is_empty() {
            if self.quiet < QUIET_ROUNDS && !recovered && !is_anew {
                return None;
            }
            self.quiet = 0;
            return Some(event(if is_anew { "anew" } else { "place" }, self.id().as_deref(), "").into());
        }
        self.quiet = 0;
        let lines: Vec<_> = page.lines.iter().map(|line| Line::read(line.get())).collect();
        let shown: Vec<_> = lines.iter().map(shown).collect();
        let text = serde_json::to_string(&shown).unwrap_or_else(|_| "[]".to_owned());
        let before = if is_anew { event("anew", None, "") } else { String::new() };
        Some((before + &event("lines", self.id().as_deref(), &text)).into())
    }

    /// The place as it is told.
    fn id(&mut self) -> Option<String> {
        let place = self.place.as_ref()?;
        Some(self.names.as_mut().map_or_else(|| place.to_string(), |names| names.name(place)))
    }
}

fn shown(line: &Line) -> Shown<'_> {
    Shown {
        clock: line.clock(),
        level: line.level_name(),
        service: &line.service,
        message: &line.message,
        story: line.request_id.as_deref().map(page_path),
        offset: line.origin.as_ref().map(|origin| origin.offset),
        json: &line.json,
    }
}

/// An event as it is sent. Its data is one line: JSON has no other, and an error's words get none.
fn event(name: &str, place: Option<&str>, data: &str) -> String {
    let id = place.map(|place| format!("id: {place}\n")).unwrap_or_default();
    let data = data.replace(['\n', '\r'], " ");
    format!("event: {name}\n{id}data: {data}\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_event_whatever_it_says() {
        assert_eq!(event("lines", Some("r7"), "a\nid: 9\r\n\r\nb"), "event: lines\nid: r7\ndata: a id: 9    b\n\n");
    }

    #[test]
    fn a_tail_is_asked_for_as_a_page_asks_for_it() {
        let asked = Params { q: "level:error".into(), service: "s".into(), last: "1h".into(), ..Params::default() };
        let address = asked.timeless().href("/api/tail");
        let query = address.split_once('?').unwrap().1;
        let read = web::Query::<TailQuery>::from_query(&format!("{query}&after=r7")).unwrap().into_inner();
        let (params, after) = read.split();
        assert_eq!((params.text(), params.service.as_str(), after.as_deref()), (Some("level:error"), "s", Some("r7")));
        for wrong in ["nothing=1", "last=1h", "cursor=1"] {
            assert!(web::Query::<TailQuery>::from_query(wrong).is_err(), "{wrong}");
        }
    }
}
