//! `GET /api/logs`: lines, as a page or, of a large result, as a stream.

use actix_web::http::header::ACCEPT;
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use futures_util::stream;
use serde::Serialize;
use serde_json::value::RawValue;
use store::{Page, Scope, Search, Store};
use utoipa::ToSchema;

use crate::access::Reader;
use crate::api::parameters;
use crate::ask::{DEFAULT_LIMIT, parse_cursor, parse_order, within};
use crate::problem::{Details, Problem};

/// Media type of a stream: one line's JSON object a line.
pub const NDJSON: &str = "application/x-ndjson";

/// A stream ends after so many lines.
pub const STREAM_MAX_LINES: usize = 1_000_000;

/// Lines that a stream asks the store for at once, and has in memory.
const STREAM_PAGE_LINES: usize = 500;

parameters! {
    /// Which lines, and how many at once.
    LogsQuery {
        /// Lines of a page, 1 to 1000 (default 100); of a stream, 1 to 1000000 (default all of those).
        limit: Option<usize>,
        /// The `next` of the page before, with all other parameters as they were.
        cursor: Option<String>,
        /// Which come first: newest (default) or oldest.
        order: Option<String>,
    }
}

/// A page of lines.
#[derive(Debug, Serialize, ToSchema)]
pub struct Lines<'a> {
    /// The log records, with where each came from under `origin`.
    #[schema(value_type = Vec<Object>)]
    lines: &'a [Box<RawValue>],
    /// Where to go on, null when this is all.
    next: Option<String>,
}

/// Finds lines. With `Accept: application/x-ndjson` they are streamed, one JSON object a line; a stream that fails is cut.
///
/// # Errors
/// 400 for what can't be read, 503 or 504 where the store does not answer.
#[utoipa::path(
    get, path = "/api/logs", tag = "search", params(LogsQuery),
    responses(
        (status = 200, content((Lines = "application/json"), (String = "application/x-ndjson")), description = "Lines that were found"),
        (status = "default", body = Details, content_type = "application/problem+json", description = "What is wrong"),
    )
)]
pub async fn logs(
    request: HttpRequest,
    store: web::Data<Store>,
    reader: Reader,
    query: web::Query<LogsQuery>,
) -> Result<HttpResponse, Problem> {
    let as_stream =
        request.headers().get_all(ACCEPT).any(|value| value.to_str().is_ok_and(|value| value.contains(NDJSON)));
    let (default, most) =
        if as_stream { (STREAM_MAX_LINES, STREAM_MAX_LINES) } else { (DEFAULT_LIMIT, store::MAX_LIMIT) };
    let limit = within("limit", query.limit, default, most)?;
    let selection = query.asked().selection(&store).await?;
    let search = Search {
        filter: selection.filter,
        from: selection.from,
        to: selection.to,
        order: parse_order(query.order.as_deref())?,
        limit: limit.min(if as_stream { STREAM_PAGE_LINES } else { most }),
        cursor: parse_cursor(query.cursor.as_deref())?,
    };
    // The first page is waited for, so that a question without an answer gets a problem.
    let page = store.search(reader.scope(), &search).await?;
    tracing::info!(found = page.lines.len(), as_stream, "searched");
    if !as_stream {
        let next = page.next.map(|cursor| cursor.to_string());
        return Ok(HttpResponse::Ok().json(Lines { lines: &page.lines, next }));
    }
    let store = store.get_ref().clone();
    let stream = Stream { store, scope: reader.scope().clone(), search, left: limit, page: Some(page) };
    Ok(HttpResponse::Ok().content_type(NDJSON).streaming(stream::try_unfold(stream, Stream::next)))
}

/// A stream of lines: one page of them is in memory.
struct Stream {
    store: Store,
    scope: Scope,
    search: Search,
    /// Lines that may still be given.
    left: usize,
    /// A page that is there already.
    page: Option<Page>,
}

impl Stream {
    async fn next(mut self) -> Result<Option<(Bytes, Self)>, Problem> {
        let page = match self.page.take() {
            Some(page) => page,
            None if self.left == 0 || self.search.cursor.is_none() => return Ok(None),
            None => self.store.search(&self.scope, &self.search).await?,
        };
        let mut body = Vec::new();
        for line in page.lines.iter().take(self.left) {
            body.extend_from_slice(line.get().as_bytes());
            body.push(b'\n');
        }
        self.left -= page.lines.len().min(self.left);
        self.search.cursor = page.next;
        // An empty part would end the body.
        if body.is_empty() { Ok(None) } else { Ok(Some((body.into(), self))) }
    }
}
