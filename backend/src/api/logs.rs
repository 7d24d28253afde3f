//! `GET /api/logs`: lines, as a page or, of a large result, as a stream.

use std::convert::Infallible;

use actix_web::http::header::ACCEPT;
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use futures_util::stream;
use serde::Serialize;
use serde_json::value::RawValue;
use store::{Search, SearchPage, Store};
use utoipa::ToSchema;

use crate::access::{ReadError, Reader};
use crate::answers::{self, A_PAGE, FIRST_STEP, TAKEN_BY_STREAM};
use crate::api::parameters;
use crate::ask::{DEFAULT_LIMIT, parse_cursor, parse_order, within};
use crate::problem::{Details, Problem};

/// Media type of a stream: one line's JSON object a line.
pub const NDJSON: &str = "application/x-ndjson";

/// A stream ends after so many lines, and says so in its last one.
pub const STREAM_MAX_LINES: usize = 1_000_000;

/// Lines that a stream asks the store for at once, and has in memory.
const STREAM_PAGE_LINES: usize = 500;

parameters! {
    /// Which lines, and how many at once.
    LogsQuery {
        /// Lines of a page, 1 to 1000 (default 100); of a stream, 1 to 1000000 (default all; beyond a million, its last line says that there are more).
        #[param(value_type = Option<u64>, minimum = 1, maximum = 1000000)]
        limit: Option<String>,
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

/// The last line of a stream that ends before its lines do, alone under the key `stream`, which no record has alone: the
/// store failed on the way, the token or its session was good no more or its projects were changed, or there are more lines
/// than a stream has.
#[derive(Debug, Serialize, ToSchema)]
pub struct StreamEnd {
    /// Always false: a stream that has all lines ends without this.
    complete: bool,
    /// Lines before this one.
    lines: usize,
    /// The `cursor` to go on with.
    next: Option<String>,
    /// Why it ends here.
    detail: String,
}

/// That line.
#[derive(Debug, Serialize, ToSchema)]
pub struct StreamEndLine {
    stream: StreamEnd,
}

/// Finds lines. With `Accept: application/x-ndjson` they are streamed, one JSON object a line. A stream that ends before its
/// lines do has `{"stream": {"complete": false, …}}` as its last line.
///
/// # Errors
/// 400 for what can't be read, 503 or 504 where the store does not answer.
#[utoipa::path(
    get, path = "/api/logs", tag = "search", params(LogsQuery),
    responses(
        (status = 200, content((Lines = "application/json"), (StreamEndLine = "application/x-ndjson")), description = "Lines that were found; of a stream, each line is a log record, and the last may be what is described here"),
        (status = "default", body = Details, content_type = "application/problem+json", description = "What is wrong"),
    )
)]
pub async fn logs(
    request: HttpRequest,
    store: web::Data<Store>,
    reader: Reader,
    query: web::Query<LogsQuery>,
) -> Result<HttpResponse, Problem> {
    let store = store.pinned();
    let as_stream =
        request.headers().get_all(ACCEPT).any(|value| value.to_str().is_ok_and(|value| value.contains(NDJSON)));
    let (default, most) =
        if as_stream { (STREAM_MAX_LINES, STREAM_MAX_LINES) } else { (DEFAULT_LIMIT, store::MAX_LIMIT) };
    let limit = within("limit", query.limit.as_deref(), default, 1..=most)?;
    let selection = query.asked().selection(&store).await?;
    let search = Search {
        filter: selection.filter,
        from: selection.from,
        to: selection.to,
        order: parse_order(query.order.as_deref())?,
        limit: limit.min(if as_stream { STREAM_PAGE_LINES } else { most }),
        cursor: parse_cursor(query.cursor.as_deref())?,
        ..Search::default()
    };
    // The first page is waited for, so that a question without an answer gets a problem.
    let step = if as_stream { (TAKEN_BY_STREAM, FIRST_STEP) } else { A_PAGE };
    let page = answers::search(reader.view(&store), &search, step).await?;
    tracing::info!(found = page.lines.len(), as_stream, "searched");
    if !as_stream {
        let next = page.next.map(|cursor| cursor.to_string());
        return Ok(HttpResponse::Ok().json(Lines { lines: &page.lines, next }));
    }
    let is_bounded = query.limit.is_none();
    let stream =
        Stream { store, reader, search, left: limit, given: 0, step: FIRST_STEP, is_bounded, page: Some(page) };
    Ok(HttpResponse::Ok().content_type(NDJSON).streaming(stream.parts()))
}

/// A stream of lines: one page of them is in memory.
struct Stream {
    store: Store,
    reader: Reader,
    search: Search,
    /// Lines that may still be given.
    left: usize,
    /// Lines that were.
    given: usize,
    /// Lines that have room in memory, by those of the last page.
    step: usize,
    /// The bound is the service's own: nobody asked for so few lines.
    is_bounded: bool,
    /// A page that is there already.
    page: Option<SearchPage>,
}

impl Stream {
    fn parts(self) -> impl futures_util::Stream<Item = Result<Bytes, Infallible>> {
        stream::unfold(self, async |mut stream| stream.next().await.map(|part| (Ok(part), stream)))
    }

    /// The next page's lines; none at the end. No part is empty, which would end the body.
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
                match answers::search(view, &self.search, (TAKEN_BY_STREAM, self.step)).await {
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
        self.step = (TAKEN_BY_STREAM / (body.len() / page.lines.len().max(1)).max(1)).max(1);
        if body.is_empty() { None } else { Some(body.into()) }
    }

    /// The line that ends the stream here.
    fn end(&mut self, detail: String) -> Bytes {
        let next = self.search.cursor.take().map(|cursor| cursor.to_string());
        let line = StreamEndLine { stream: StreamEnd { complete: false, lines: self.given, next, detail } };
        // Plain fields can always be written as JSON.
        (serde_json::to_string(&line).unwrap_or_default() + "\n").into()
    }
}

#[cfg(test)]
mod tests {
    use actix_web::body::MessageBody as _;
    use futures_util::StreamExt as _;
    use store::{BatchBuilder, EngineSettings, GenerationId, LineId, Scope, Target, Timestamp};

    use super::*;

    /// A store of so many lines.
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
    async fn a_stream_that_has_not_all_lines_says_so_in_its_last_one() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path(), 1_200).await;
        let is_end = |line: &serde_json::Value| line["stream"].is_object();
        for (limit, is_bounded, given, is_told) in
            [(1_200, true, 1_200, false), (700, false, 700, false), (700, true, 700, true), (500, true, 500, true)]
        {
            let lines = all(stream(&store, limit, is_bounded).await.parts()).await;
            assert_eq!(lines.iter().filter(|line| !is_end(line)).count(), given, "{limit}");
            let end = lines.last().filter(|line| is_end(line)).map(|line| &line["stream"]);
            assert_eq!(end.is_some(), is_told, "{limit}");
            let Some(end) = end else { continue };
            assert_eq!((&end["complete"], &end["lines"]), (&false.into(), &given.into()));
            // And the rest is where it says.
            let cursor = Some(end["next"].as_str().unwrap().parse().unwrap());
            let rest = store.search(&Scope::All, &Search { cursor, limit: 1_000, ..Search::default() }).await.unwrap();
            assert_eq!(rest.lines.len(), 1_200 - given);
        }
    }

    #[actix_rt::test]
    async fn a_store_that_fails_on_the_way_is_told_in_the_stream() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("logs.db");
        drop(store(folder.path(), 1_200).await);
        let target = Target::Sqlite(file.clone());
        let store = Store::open(&target, &EngineSettings::default()).await.unwrap();
        let stream = stream(&store, STREAM_MAX_LINES, true).await;
        let mut parts = Box::pin(stream.parts());
        let first = parts.next().await.unwrap().unwrap();
        assert_eq!(first.iter().filter(|byte| **byte == b'\n').count(), STREAM_PAGE_LINES);
        // Another file is in its place, which is none of a store. The old one keeps its inode, so that this gets another.
        std::fs::rename(&file, folder.path().join("old.db")).unwrap();
        for beside in ["logs.db-wal", "logs.db-shm"] {
            let _ = std::fs::remove_file(folder.path().join(beside));
        }
        std::fs::write(&file, "no store ".repeat(1_000)).unwrap();
        let rest = all(parts).await;
        let [end] = &rest[..] else { panic!("{} lines", rest.len()) };
        assert_eq!((&end["stream"]["complete"], &end["stream"]["lines"]), (&false.into(), &STREAM_PAGE_LINES.into()));
        assert!(end["stream"]["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{end}");
        assert!(end["stream"]["next"].is_string(), "{end}");
    }

    #[actix_rt::test]
    async fn a_stream_whose_file_is_replaced_by_another_store_says_that_it_is_not_whole() {
        let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let file = folder.path().join("logs.db");
        drop((store(folder.path(), 3_000).await, store(other.path(), 1_200).await));
        let store = Store::open(&Target::Sqlite(file.clone()), &EngineSettings::default()).await.unwrap();
        let access = crate::access::Access::new(crate::access::door::Door::default(), None);
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
        for beside in ["logs.db-wal", "logs.db-shm"] {
            let _ = std::fs::remove_file(folder.path().join(beside));
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
