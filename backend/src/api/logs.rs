//! `GET /api/logs`: lines, as a page or as a stream.

use std::convert::Infallible;

use actix_web::http::header::ACCEPT;
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use futures_util::stream;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use store::{Search, SearchPage, Store};
use utoipa::{IntoParams, ToSchema};

use crate::access::{ReadError, Reader};
use crate::answers::{self, API_PAGE, FIRST_STEP, RESERVED_BY_STREAM};
use crate::line_query::url::{DEFAULT_LIMIT, UrlParams, parse_cursor, parse_number, parse_order};
use crate::line_query::{LineParams, LineQuery};
use crate::problem::{Details, Problem};

/// Media type of a stream: one JSON object per line.
pub const NDJSON: &str = "application/x-ndjson";

/// Maximum lines of a stream; its last line says if there are more.
pub const STREAM_MAX_LINES: usize = 1_000_000;

/// Lines that a stream reads at once and holds in memory.
const STREAM_PAGE_LINES: usize = 500;

/// The route's own parameters.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct LogsParams {
    /// Maximum lines of a page, 1 to 1000 (default 100), or of a stream, 1 to 1000000 (default 1000000).
    #[param(value_type = Option<u64>, minimum = 1, maximum = 1000000)]
    limit: Option<String>,
    /// The `next` of the previous page, with all other parameters unchanged.
    cursor: Option<String>,
    /// Sort order: newest (default) or oldest first.
    order: Option<String>,
}

/// A page of lines.
#[derive(Debug, Serialize, ToSchema)]
pub struct Lines<'a> {
    /// Log records, each with its `origin`.
    #[schema(value_type = Vec<Object>)]
    lines: &'a [Box<RawValue>],
    /// The cursor of the next page; null on the last page.
    next: Option<String>,
}

/// The last line of a stream that ends early. It has the single key `stream`, which no record has. A stream ends early
/// if the store fails, the reader's rights end, or more lines match than [`STREAM_MAX_LINES`].
#[derive(Debug, Serialize, ToSchema)]
pub struct StreamEnd {
    /// Always false: a complete stream ends without this line.
    complete: bool,
    /// Number of lines before this one.
    lines: usize,
    /// The `cursor` to continue with.
    next: Option<String>,
    /// The reason.
    detail: String,
}

/// The line with a [`StreamEnd`].
#[derive(Debug, Serialize, ToSchema)]
pub struct StreamEndLine {
    stream: StreamEnd,
}

/// Returns lines. With `Accept: application/x-ndjson` they are streamed, one JSON object per line. A stream that ends
/// early has `{"stream": {"complete": false, …}}` as its last line.
///
/// # Errors
/// 400 for an invalid parameter; 503 or 504 if the store does not respond.
#[utoipa::path(
    get, path = "/api/logs", tag = "search", params(LineParams, LogsParams),
    responses(
        (status = 200, content((Lines = "application/json"), (StreamEndLine = "application/x-ndjson")), description = "Lines that were found; of a stream, each line is a log record, and the last may be what is described here"),
        (status = "default", body = Details, content_type = "application/problem+json", description = "What is wrong"),
    )
)]
pub async fn logs(
    request: HttpRequest,
    store: web::Data<Store>,
    reader: Reader,
    UrlParams(params, own): UrlParams<LineParams, LogsParams>,
) -> Result<HttpResponse, Problem> {
    let store = store.pinned();
    let as_stream =
        request.headers().get_all(ACCEPT).any(|value| value.to_str().is_ok_and(|value| value.contains(NDJSON)));
    let (default, most) =
        if as_stream { (STREAM_MAX_LINES, STREAM_MAX_LINES) } else { (DEFAULT_LIMIT, store::MAX_LIMIT) };
    let limit = parse_number("limit", own.limit.as_deref(), default, 1..=most)?;
    let (order, cursor) = (parse_order(own.order.as_deref())?, parse_cursor(own.cursor.as_deref())?);
    let page_limit = limit.min(if as_stream { STREAM_PAGE_LINES } else { most });
    let search = LineQuery::for_store(&params, &store).await?.search(order, page_limit, cursor);
    // The first page is read before the response starts, so that errors have a status.
    let step = if as_stream { (RESERVED_BY_STREAM, FIRST_STEP) } else { API_PAGE };
    let page = answers::search(reader.view(&store), &search, step).await?;
    tracing::info!(found = page.lines.len(), as_stream, "searched");
    if !as_stream {
        let next = page.next.map(|cursor| cursor.to_string());
        return Ok(HttpResponse::Ok().json(Lines { lines: &page.lines, next }));
    }
    let is_bounded = own.limit.is_none();
    let stream =
        Stream { store, reader, search, left: limit, given: 0, step: FIRST_STEP, is_bounded, page: Some(page) };
    Ok(HttpResponse::Ok().content_type(NDJSON).streaming(stream.parts()))
}

/// A stream of lines, with one page in memory.
struct Stream {
    store: Store,
    reader: Reader,
    search: Search,
    /// Lines that may still be sent.
    left: usize,
    /// Lines that were sent.
    given: usize,
    /// Number of lines to read next, estimated from the last page.
    step: usize,
    /// The limit is the service's own, not one of the request.
    is_bounded: bool,
    /// A page that was already read.
    page: Option<SearchPage>,
}

impl Stream {
    fn parts(self) -> impl futures_util::Stream<Item = Result<Bytes, Infallible>> {
        stream::unfold(self, async |mut stream| stream.next().await.map(|part| (Ok(part), stream)))
    }

    /// The lines of the next page; none at the end. No chunk is empty, since that would end the body.
    async fn next(&mut self) -> Option<Bytes> {
        let page = match self.page.take() {
            Some(page) => page,
            None if self.search.cursor.is_none() => return None,
            None if self.left == 0 => {
                let detail = format!("more lines match; a stream has at most {STREAM_MAX_LINES}");
                return if self.is_bounded { Some(self.end(detail)) } else { None };
            }
            None => {
                self.search.limit = self.left.min(STREAM_PAGE_LINES);
                let view = self.reader.view(&self.store);
                match answers::search(view, &self.search, (RESERVED_BY_STREAM, self.step)).await {
                    Ok(page) => page,
                    Err(ReadError::Ended(ended)) => {
                        tracing::info!(%ended, lines = self.given, "stream ended early");
                        return Some(self.end(ended.to_string()));
                    }
                    Err(ReadError::Store(error)) => {
                        tracing::warn!(%error, lines = self.given, "stream ended early");
                        return Some(self.end(error.to_string()));
                    }
                }
            }
        };
        let mut body = Vec::new();
        for line in &page.lines {
            body.extend_from_slice(line.get().as_bytes());
            body.push(b'\n');
        }
        self.left -= page.lines.len().min(self.left);
        self.given += page.lines.len();
        self.search.cursor = page.next;
        self.step = (RESERVED_BY_STREAM / (body.len() / page.lines.len().max(1)).max(1)).max(1);
        if body.is_empty() { None } else { Some(body.into()) }
    }

    /// The last line of a stream that ends early.
    fn end(&mut self, detail: String) -> Bytes {
        let next = self.search.cursor.take().map(|cursor| cursor.to_string());
        let line = StreamEndLine { stream: StreamEnd { complete: false, lines: self.given, next, detail } };
        // Plain fields always serialize.
        (serde_json::to_string(&line).unwrap_or_default() + "\n").into()
    }
}

#[cfg(test)]
mod tests {
    use actix_web::body::MessageBody as _;
    use futures_util::StreamExt as _;
    use store::{BatchBuilder, EngineSettings, GenerationId, LineId, Scope, Target, Timestamp};

    use super::*;

    /// A store with this many lines.
    async fn store(folder: &std::path::Path, lines: u64) -> Store {
        let target = Target::Sqlite(folder.join("logs.db"));
        let store = store::StoreWriter::open(&target, &EngineSettings::default()).await.unwrap();
        let mut batch = BatchBuilder::new("x");
        for offset in 0..lines {
            let line = format!(
                r#"{{"timestamp":"2026-11-23T12:00:00.000Z","service":"s","level":"info","message":"line {offset}","request_id":null,"project_id":null}}"#
            );
            let id = LineId { generation: GenerationId::new(1, &[7; 10]), offset };
            let day = Timestamp::parse(b"2026-11-23T12:00:00Z").unwrap().day();
            batch.push(id, 100, day, |body| body.extend_from_slice(line.as_bytes()));
        }
        store.write(&batch.finish(0)).await.unwrap();
        store.reader()
    }

    async fn stream(store: &Store, limit: usize, is_bounded: bool) -> Stream {
        let search = Search { limit: limit.min(STREAM_PAGE_LINES), ..Search::default() };
        let page = store.search(&Scope::All, &search).await.unwrap();
        let reader = Reader::of_everyone();
        Stream {
            store: store.clone(),
            reader,
            search,
            left: limit,
            given: 0,
            step: FIRST_STEP,
            is_bounded,
            page: Some(page),
        }
    }

    async fn all(parts: impl futures_util::Stream<Item = Result<Bytes, Infallible>>) -> Vec<serde_json::Value> {
        let parts: Vec<_> = parts.map(|part| part.unwrap()).collect().await;
        let text = String::from_utf8(parts.concat()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[actix_rt::test]
    async fn a_stream_that_ends_early_says_so_in_its_last_line() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path(), 1_200).await;
        let is_end = |line: &serde_json::Value| line["stream"].is_object();
        for (limit, is_bounded, given, is_reported) in
            [(1_200, true, 1_200, false), (700, false, 700, false), (700, true, 700, true), (500, true, 500, true)]
        {
            let lines = all(stream(&store, limit, is_bounded).await.parts()).await;
            assert_eq!(lines.iter().filter(|line| !is_end(line)).count(), given, "{limit}");
            let end = lines.last().filter(|line| is_end(line)).map(|line| &line["stream"]);
            assert_eq!(end.is_some(), is_reported, "{limit}");
            let Some(end) = end else { continue };
            assert_eq!((&end["complete"], &end["lines"]), (&false.into(), &given.into()));
            // The cursor leads to the rest.
            let cursor = Some(end["next"].as_str().unwrap().parse().unwrap());
            let rest = store.search(&Scope::All, &Search { cursor, limit: 1_000, ..Search::default() }).await.unwrap();
            assert_eq!(rest.lines.len(), 1_200 - given);
        }
    }

    #[actix_rt::test]
    async fn a_stream_reports_a_store_that_fails() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("logs.db");
        drop(store(folder.path(), 1_200).await);
        let target = Target::Sqlite(file.clone());
        let store = Store::open(&target, &EngineSettings::default()).await.unwrap();
        let stream = stream(&store, STREAM_MAX_LINES, true).await;
        let mut parts = Box::pin(stream.parts());
        let first = parts.next().await.unwrap().unwrap();
        assert_eq!(first.iter().filter(|byte| **byte == b'\n').count(), STREAM_PAGE_LINES);
        // Replaces the file with one that is not a store. The old file keeps its inode, so the new one gets another.
        std::fs::rename(&file, folder.path().join("old.db")).unwrap();
        for file in ["logs.db-wal", "logs.db-shm"] {
            let _ = std::fs::remove_file(folder.path().join(file));
        }
        std::fs::write(&file, "no store ".repeat(1_000)).unwrap();
        let rest = all(parts).await;
        let [end] = &rest[..] else { panic!("{} lines", rest.len()) };
        assert_eq!((&end["stream"]["complete"], &end["stream"]["lines"]), (&false.into(), &STREAM_PAGE_LINES.into()));
        assert!(end["stream"]["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{end}");
        assert!(end["stream"]["next"].is_string(), "{end}");
    }

    #[actix_rt::test]
    async fn a_stream_whose_store_is_replaced_ends_early() {
        let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let file = folder.path().join("logs.db");
        drop((store(folder.path(), 3_000).await, store(other.path(), 1_200).await));
        let store = Store::open(&Target::Sqlite(file.clone()), &EngineSettings::default()).await.unwrap();
        let access = crate::access::Access::new(crate::access::admission::Admission::default(), None);
        let app = actix_web::App::new().app_data(web::Data::new(store)).app_data(web::Data::new(access));
        let app =
            app.route("/api/logs", web::get().to(logs)).wrap(actix_web::middleware::from_fn(crate::access::guard));
        let app = actix_web::test::init_service(app).await;
        let request = actix_web::test::TestRequest::with_uri("/api/logs").insert_header((ACCEPT, NDJSON));
        let request = request.insert_header(("host", "localhost")).to_request();
        let response = actix_web::test::call_service(&app, request).await;
        let mut body = Box::pin(response.into_body());
        let mut next = async || std::future::poll_fn(|context| body.as_mut().poll_next(context)).await;
        let mut text = next().await.unwrap().ok().unwrap().to_vec();
        for file in ["logs.db-wal", "logs.db-shm"] {
            let _ = std::fs::remove_file(folder.path().join(file));
        }
        std::fs::rename(other.path().join("logs.db"), &file).unwrap();
        while let Some(part) = next().await {
            text.extend_from_slice(&part.ok().unwrap());
        }
        let last = text.trim_ascii_end().rsplit(|byte| *byte == b'\n').next().unwrap();
        let end: serde_json::Value = serde_json::from_slice(last).unwrap();
        assert_eq!(end["stream"]["complete"], false, "{end}");
        assert!(end["stream"]["detail"].as_str().unwrap().contains("replaced"), "{end}");
    }
}
