//! `/tail` and `/api/tail`: lines as they arrive. A tail is one request with one access line when it ends. It polls the store
//! and logs nothing until then, so that it can't feed on its own lines.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::HeaderName;
use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use bytes::Bytes;
use futures_util::stream::{self, Stream};
use serde::{Deserialize, Serialize};
use store::tail::ParseTailCursorError;
use store::{Filter, PageLimits, Store, TailCursor, TailPage, Timestamp};
use tokio::sync::watch;
use utoipa::IntoParams;

use crate::access::{ReadError, Reader};
use crate::answers::{ANSWER_BYTES_PER_TOKEN, Answers, Held, RESERVED_BY_STREAM};
use crate::limits::Limits;
use crate::line::Line;
use crate::line_query::url::{NoOwn, UrlParams};
use crate::line_query::{FilterParams, LineParams, LineQuery, Param, named_fields};
use crate::page::tail_cursors::{CursorNames, TailCursors};
use crate::page::tail_slots::{TailSlot, TailSlots};
use crate::page::{self, Head, Menu};
use crate::paths::request_page;
use crate::problem::{Details, Problem};

/// How often a tail polls the store when there is nothing new.
pub const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// Maximum lines of one event. More follow in the next one at once.
pub const EVENT_LINES: usize = 200;

/// Maximum bytes of the lines of one event; one line always fits.
pub const EVENT_BYTES_MAX: usize = RESERVED_BY_STREAM / 4;

/// After this many polls without a line, the cursor is sent anyway, so that proxies see a live connection.
const QUIET_POLLS: u32 = 30;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// State shared by all live tails.
#[derive(Clone, Debug)]
pub struct Tails {
    slots: TailSlots,
    cursors: TailCursors,
    shutdown: watch::Receiver<bool>,
}

impl Tails {
    /// Tails that end at `shutdown` and count in these limits what they refuse.
    #[must_use]
    pub fn new(shutdown: watch::Receiver<bool>, limits: Limits) -> Self {
        Self { slots: TailSlots::new(limits), cursors: TailCursors::default(), shutdown }
    }
}

#[derive(Template)]
#[template(path = "tail.html")]
struct LiveTailPage<'a> {
    head: Head<'a>,
    params: &'a LineParams,
    chips: Vec<(String, String)>,
    error: Option<String>,
    source: String,
    search: String,
}

/// `GET /tail`: the page.
///
/// # Errors
/// 400 for an unknown parameter. An invalid value is reported on the page.
pub async fn show(
    store: web::Data<Store>,
    reader: Reader,
    UrlParams(FilterParams(params), _): UrlParams<FilterParams, NoOwn>,
) -> Result<HttpResponse, Problem> {
    // A store that does not respond is reported by the tail itself, which retries.
    let fields = named_fields(&params, &store).await.ok();
    let error = fields.and_then(|fields| LineQuery::parse(&params, &fields, Timestamp::now()).err());
    let page = LiveTailPage {
        head: Head::new("Live tail", Menu::Tail, &reader)
            .with_query(params.get(Param::Query))
            .with_notice_of(&store)
            .await,
        chips: params.chips("/tail"),
        source: params.href("/api/tail"),
        search: params.href("/search"),
        params: &params,
        error: error.map(|error| error.to_string()),
    };
    page::html(if page.error.is_some() { StatusCode::BAD_REQUEST } else { StatusCode::OK }, &page)
}

/// Own parameters of `/api/tail`.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct TailParams {
    /// The ID of the event to resume after. `Last-Event-ID` takes precedence.
    cursor: Option<String>,
}

/// A line in an event.
#[derive(Serialize)]
struct ShownLine<'a> {
    clock: &'a str,
    level: &'static str,
    service: &'a str,
    message: &'a str,
    /// Path of its request's page.
    request: Option<String>,
    offset: Option<u64>,
    json: &'a str,
}

/// Follows lines as server-sent events.
///
/// | event | data | ID |
/// | --- | --- | --- |
/// | `lines` | array of at most 200 lines | cursor after them |
/// | `cursor` | none; a keep-alive | current cursor |
/// | `gap` | none; lines before this event were skipped, since the cursor is no longer known, is of another store, or is of deleted lines | current cursor, if no lines follow |
/// | `unavailable` | message; the store does not respond, and the tail retries | none |
/// | `end` | message; the token or session is no longer valid, or its projects have changed | none |
///
/// # Errors
/// 400 for an invalid parameter; 503 if [`TAILS_MAX`](crate::page::tail_slots::TAILS_MAX) tails are open, or too many of this
/// token.
#[utoipa::path(
    get, path = "/api/tail", tag = "search",
    params(
        FilterParams, TailParams,
        ("Last-Event-ID" = Option<String>, Header, description = "As `cursor`, which it takes precedence over"),
    ),
    responses(
        (status = 200, body = String, content_type = "text/event-stream", description = "Server-sent events without an end"),
        (status = "default", body = Details, content_type = "application/problem+json", description = "Error"),
    )
)]
pub async fn events(
    store: web::Data<Store>,
    tails: web::Data<Tails>,
    answers: web::Data<Answers>,
    reader: Reader,
    request: HttpRequest,
    UrlParams(FilterParams(params), own): UrlParams<FilterParams, TailParams>,
) -> Result<HttpResponse, Problem> {
    let query = LineQuery::for_store(&params, &store).await?;
    let last = request.headers().get(LAST_EVENT_ID).and_then(|id| id.to_str().ok()).map(str::to_owned);
    let cursor = last.filter(|cursor| !cursor.is_empty()).or(own.cursor);
    // A name that is no longer known was valid once: the tail continues, and reports the gap.
    let (place, has_gap) = match (cursor, reader.sees_all()) {
        (Some(name), false) => {
            let place = tails.cursors.get(&name);
            let has_gap = place.is_none();
            (place, has_gap)
        }
        (Some(place), true) => {
            (Some(place.parse().map_err(|error: ParseTailCursorError| Problem::bad_request(error.to_string()))?), false)
        }
        (None, _) => (None, false),
    };
    let no_randomness = |error| {
        let detail = format!("the system's random number generator failed: {error}");
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    };
    let names = if reader.sees_all() { None } else { Some(tails.cursors.names().map_err(no_randomness)?) };
    let slot = tails.slots.take(reader.token())?;
    let tail = Tail {
        store: store.get_ref().clone(),
        reader,
        answers: answers.get_ref().clone(),
        step: EVENT_LINES,
        held: None,
        shutdown: tails.shutdown.clone(),
        filter: query.filter().clone(),
        place,
        quiet: QUIET_POLLS,
        names,
        has_gap,
        has_more: true,
        is_unavailable: false,
        is_over: false,
        _slot: slot,
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
    /// What the last event takes beyond [`RESERVED_BY_STREAM`], kept until the next event.
    held: Option<Held>,
    shutdown: watch::Receiver<bool>,
    filter: Filter,
    place: Option<TailCursor>,
    /// Names for cursors, if the reader must not see the store's own.
    names: Option<CursorNames>,
    /// Lines were skipped, and that is not reported yet.
    has_gap: bool,
    /// Polls without a line.
    quiet: u32,
    /// There is more to read now.
    has_more: bool,
    is_unavailable: bool,
    is_over: bool,
    _slot: TailSlot,
}

impl Tail {
    fn events(self) -> impl Stream<Item = Result<Bytes, actix_web::Error>> {
        stream::unfold(self, |mut tail| async move { tail.next().await.map(|event| (Ok(event), tail)) })
    }

    /// The next event; none at shutdown, and after `end`.
    async fn next(&mut self) -> Option<Bytes> {
        let mut shutdown = self.shutdown.clone();
        tokio::select! {
            _ = shutdown.wait_for(|is_over| *is_over) => None,
            event = self.poll() => event,
        }
    }

    /// The next event; none after `end`. There is no delay while lines are available, so that a tail that fell behind catches
    /// up as fast as its client reads.
    async fn poll(&mut self) -> Option<Bytes> {
        if self.is_over {
            return None;
        }
        self.held = None;
        loop {
            if !std::mem::take(&mut self.has_more) {
                actix_rt::time::sleep(POLL_INTERVAL).await;
            }
            let limits = PageLimits { lines: self.step, bytes: EVENT_BYTES_MAX };
            let event = match self.reader.view(&self.store).tail(&self.filter, self.place.as_ref(), limits).await {
                Ok(page) => self.page_event(page).await,
                Err(ReadError::Ended(ended)) => {
                    self.is_over = true;
                    Some(event("end", None, &format!("Live tail ended: {ended}.")).into())
                }
                Err(ReadError::Store(error)) => {
                    self.unavailable(&format!("Log storage is not responding, retrying. {error}"))
                }
            };
            if event.is_some() {
                return event;
            }
        }
    }

    /// Reports once that the tail can't continue at present.
    fn unavailable(&mut self, message: &str) -> Option<Bytes> {
        let is_reported = std::mem::replace(&mut self.is_unavailable, true);
        (!is_reported).then(|| event("unavailable", None, message).into())
    }

    /// The event of what arrived since the last poll; none if there is nothing to report.
    async fn page_event(&mut self, page: TailPage) -> Option<Bytes> {
        let bytes = page.lines.iter().map(|line| line.get().len()).sum::<usize>();
        // Each line is in memory as stored, parsed, and serialized in the event.
        let beyond = (4 * bytes).saturating_sub(RESERVED_BY_STREAM).min(ANSWER_BYTES_PER_TOKEN / 2);
        if beyond > 0 {
            match self.answers.take(self.reader.token(), beyond).await {
                Ok(held) => self.held = Some(held),
                Err(problem) => {
                    // The page is read again.
                    self.step = 1;
                    return self.unavailable(&format!("{problem}; retrying."));
                }
            }
        }
        // Waiting for memory took a while; the next read reports why the tail ends.
        if self.reader.check().is_err() {
            return None;
        }
        if !page.lines.is_empty() {
            let line_bytes = bytes.div_ceil(page.lines.len()).max(1);
            self.step = (EVENT_BYTES_MAX / line_bytes).clamp(1, EVENT_LINES.min(4 * self.step));
        }
        let recovered = std::mem::take(&mut self.is_unavailable);
        self.quiet += 1;
        self.has_more = page.more;
        let has_gap = std::mem::take(&mut self.has_gap) || page.gap;
        self.place = Some(page.cursor);
        if page.lines.is_empty() {
            if self.quiet < QUIET_POLLS && !recovered && !has_gap {
                return None;
            }
            self.quiet = 0;
            return Some(event(if has_gap { "gap" } else { "cursor" }, self.cursor().as_deref(), "").into());
        }
        self.quiet = 0;
        let lines: Vec<_> = page.lines.iter().map(|line| Line::parse(line.get())).collect();
        let shown: Vec<_> = lines.iter().map(shown).collect();
        let text = serde_json::to_string(&shown).unwrap_or_else(|_| "[]".to_owned());
        let before = if has_gap { event("gap", None, "") } else { String::new() };
        Some((before + &event("lines", self.cursor().as_deref(), &text)).into())
    }

    /// The cursor as the client gets it.
    fn cursor(&mut self) -> Option<String> {
        let place = self.place.as_ref()?;
        Some(self.names.as_mut().map_or_else(|| place.to_string(), |names| names.name(place)))
    }
}

fn shown(line: &Line) -> ShownLine<'_> {
    ShownLine {
        clock: line.clock(),
        level: line.level_name(),
        service: &line.service,
        message: &line.message,
        request: line.request_id.as_deref().map(request_page),
        offset: line.origin.as_ref().map(|origin| origin.offset),
        json: &line.json,
    }
}

/// Formats an event. Its data is a single line: JSON contains no line break, and those of a message become spaces.
fn event(name: &str, cursor: Option<&str>, data: &str) -> String {
    let id = cursor.map(|cursor| format!("id: {cursor}\n")).unwrap_or_default();
    let data = data.replace(['\n', '\r'], " ");
    format!("event: {name}\n{id}data: {data}\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_stays_one_event_whatever_its_data() {
        assert_eq!(event("lines", Some("r7"), "a\nid: 9\r\n\r\nb"), "event: lines\nid: r7\ndata: a id: 9    b\n\n");
    }
}
