//! Limits the memory of responses, per token and in total. Bytes are reserved before a response is built and released
//! as its client reads it; a large response is sent in chunks, so that it is in memory once.
//!
//! Pages of lines are read in steps ([`search`]). A page of long lines ends early, with a cursor for the rest.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage as _, ResponseError as _, web};
use bytes::Bytes;
use parking_lot::Mutex;
use store::{Search, SearchPage};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::access::tokens::TokenHash;
use crate::access::{ReadError, Reader, View};
use crate::limits::{Limit, Limits};
use crate::problem::Problem;

/// Maximum bytes of all responses in memory.
pub const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Maximum bytes of one token's responses in memory. Without tokens only [`ANSWER_BYTES_MAX`] applies.
pub const ANSWER_BYTES_PER_TOKEN: usize = 32 * 1024 * 1024;

/// Bytes reserved for a response with lines until its size is known.
const RESERVED_FOR_LINES: usize = PAGE_BYTES_MAX;

/// Bytes reserved for any other response until then.
const RESERVED_FOR_COUNTS: usize = 1024 * 1024;

/// Path prefixes of responses with lines.
const LINE_PATHS: [&str; 7] =
    ["/api/logs", "/api/projects/", "/api/requests/", "/api/sources/", "/requests/", "/search", "/sources/"];

/// Bytes reserved for a stream or a live tail, which has one page in memory at a time.
pub const RESERVED_BY_STREAM: usize = 256 * 1024;

/// Maximum bytes of the lines of an API page.
pub const PAGE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Maximum bytes of the lines on an HTML page. The page itself is several times as large.
pub const HTML_PAGE_BYTES_MAX: usize = 1024 * 1024;

/// Maximum bytes of the lines that each further query of a page reads.
pub const SIDE_QUERY_BYTES_MAX: usize = 512 * 1024;

/// Maximum bytes of a response that is not counted as held: a connection writes it at once.
const SMALL: usize = 64 * 1024;

/// Bounds of an API page, for [`search`].
pub const API_PAGE: (usize, usize) = (PAGE_BYTES_MAX, FIRST_STEP);

/// Bounds of the lines on an HTML page.
pub const HTML_PAGE: (usize, usize) = (HTML_PAGE_BYTES_MAX, FIRST_STEP);

/// Bounds of each further query of a page.
pub const SIDE_QUERY: (usize, usize) = (SIDE_QUERY_BYTES_MAX, FIRST_STEP);

/// Bytes of a chunk.
const CHUNK_BYTES: usize = 32 * 1024;

/// Lines of the first step of a page, while the length of its lines is unknown.
pub const FIRST_STEP: usize = 16;

/// How long a request waits for memory before it is refused.
const MAX_WAIT: Duration = Duration::from_secs(2);

/// Seconds after which a refused client may retry.
const RETRY_AFTER_S: u64 = 2;

/// Granularity of reservations.
const UNIT_BYTES: usize = 4 * 1024;

/// The responses in memory. A clone is cheap and shares them.
#[derive(Clone, Debug)]
pub struct Answers {
    all: Arc<Semaphore>,
    by_token: Arc<Mutex<HashMap<Option<TokenHash>, Arc<Semaphore>>>>,
    limits: Limits,
}

/// Bytes reserved for a response, or a part of it, released when it is dropped.
#[derive(Debug)]
pub struct Held {
    of_token: OwnedSemaphorePermit,
    of_all: OwnedSemaphorePermit,
    bytes: usize,
    limits: Limits,
}

impl Held {
    /// Merges another reservation into this one.
    fn add(&mut self, mut other: Self) {
        let nothing = |permit: &mut OwnedSemaphorePermit| permit.split(permit.num_permits());
        for (own, others) in [(&mut self.of_token, &mut other.of_token), (&mut self.of_all, &mut other.of_all)] {
            nothing(others).into_iter().for_each(|permit| own.merge(permit));
        }
        let bytes = self.bytes + other.bytes;
        other.count(0);
        self.count(bytes);
    }

    /// Releases all but this many bytes.
    fn keep(&mut self, bytes: usize) {
        let more_than = |permits: usize| permits.saturating_sub(bytes.div_ceil(UNIT_BYTES));
        let (of_token, of_all) = (more_than(self.of_token.num_permits()), more_than(self.of_all.num_permits()));
        drop((self.of_token.split(of_token), self.of_all.split(of_all)));
        self.count(bytes.min(self.bytes));
    }

    fn count(&mut self, bytes: usize) {
        self.limits.answer_bytes().add(bytes as i64 - self.bytes as i64);
        self.bytes = bytes;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.count(0);
    }
}

impl Answers {
    /// Reservations that count refusals in these limits.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { all: Arc::new(Semaphore::new(ANSWER_BYTES_MAX / UNIT_BYTES)), by_token: Arc::default(), limits }
    }

    fn of_token(&self, token: Option<TokenHash>) -> Arc<Semaphore> {
        let mut by_token = self.by_token.lock();
        // Semaphores without a reservation equal new ones.
        by_token.retain(|_, semaphore| Arc::strong_count(semaphore) > 1);
        let bytes = max_bytes(token);
        by_token.entry(token).or_insert_with(|| Arc::new(Semaphore::new(bytes / UNIT_BYTES))).clone()
    }

    /// Reserves bytes for a response, first of the token and then in total. More than the token's maximum reserves that
    /// maximum.
    ///
    /// # Errors
    /// 503 if others don't release them in time.
    pub async fn take(&self, token: Option<TokenHash>, bytes: usize) -> Result<Held, Problem> {
        let bytes = bytes.min(max_bytes(token));
        let units = u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX);
        let wait = async |semaphore: Arc<Semaphore>, limit: Limit| {
            let permit = tokio::time::timeout(MAX_WAIT, semaphore.acquire_many_owned(units)).await;
            permit.ok().and_then(Result::ok).ok_or_else(|| {
                self.limits.count(limit);
                let detail = "too many responses are waiting to be read; read them first, or request fewer lines";
                Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).retry_after(RETRY_AFTER_S)
            })
        };
        let of_token = wait(self.of_token(token), Limit::AnswerBytesPerToken).await?;
        let of_all = wait(self.all.clone(), Limit::AnswerBytes).await?;
        self.limits.answer_bytes().add(bytes as i64);
        Ok(Held { of_token, of_all, bytes, limits: self.limits.clone() })
    }
}

/// Maximum bytes of a token.
fn max_bytes(token: Option<TokenHash>) -> usize {
    if token.is_some() { ANSWER_BYTES_PER_TOKEN } else { ANSWER_BYTES_MAX }
}

/// Middleware: reserves memory for a reader's request, and releases it as the response is read. It belongs inside of
/// [`crate::access::guard`].
///
/// # Errors
/// Those of the wrapped service; 503 if too much memory is in use.
pub async fn hold(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let token = request.extensions().get::<Reader>().map(Reader::token);
    let answers = request.app_data::<web::Data<Answers>>().cloned();
    let (Some(token), Some(answers)) = (token, answers) else {
        return next.call(request).await.map(ServiceResponse::map_into_boxed_body);
    };
    let path = request.match_info().as_str();
    let taken =
        if LINE_PATHS.iter().any(|prefix| path.starts_with(prefix)) { RESERVED_FOR_LINES } else { RESERVED_FOR_COUNTS };
    let mut held = match answers.take(token, taken).await {
        Ok(held) => held,
        Err(problem) => return Ok(request.into_response(problem.error_response())),
    };
    let response = next.call(request).await?;
    let size = match response.response().body().size() {
        BodySize::None => 0,
        BodySize::Sized(bytes) => usize::try_from(bytes).unwrap_or(usize::MAX),
        BodySize::Stream => {
            held.keep(RESERVED_BY_STREAM);
            return Ok(response.map_body(|_, body| BoxBody::new(Streamed { body: Box::pin(body), _held: held })));
        }
    };
    if size <= SMALL {
        return Ok(response.map_into_boxed_body());
    }
    // A response larger than the token's maximum reserves that maximum.
    let size = size.min(max_bytes(token));
    if size <= taken {
        held.keep(size);
    } else {
        match answers.take(token, size - taken).await {
            Ok(more) => held.add(more),
            Err(problem) => return Ok(response.into_response(problem.error_response())),
        }
    }
    Ok(response.map_body(|_, body| match body.try_into_bytes() {
        Ok(bytes) => BoxBody::new(Chunks { left: bytes, _held: held }),
        Err(body) => BoxBody::new(body),
    }))
}

/// A response in memory, sent in chunks.
struct Chunks {
    left: Bytes,
    _held: Held,
}

impl MessageBody for Chunks {
    type Error = std::convert::Infallible;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.left.len() as u64)
    }

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        if self.left.is_empty() {
            return Poll::Ready(None);
        }
        let length = self.left.len().min(CHUNK_BYTES);
        Poll::Ready(Some(Ok(self.left.split_to(length))))
    }
}

/// A stream, which keeps its reservation until it ends.
struct Streamed<B> {
    body: Pin<Box<B>>,
    _held: Held,
}

impl<B: MessageBody> MessageBody for Streamed<B> {
    type Error = B::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, B::Error>>> {
        self.body.as_mut().poll_next(context)
    }
}

/// Searches a page of lines in steps. The first step has `step` lines; the next ones adapt to the length of lines. The
/// page ends early, with a cursor for the rest, if the next line would exceed `bytes_max`.
///
/// # Errors
/// The reader's rights ended, or the store does not respond.
pub async fn search(
    view: View<'_>,
    search: &Search,
    (bytes_max, mut step): (usize, usize),
) -> Result<SearchPage, ReadError> {
    let mut page = SearchPage { lines: Vec::new(), next: search.cursor, first: None };
    let mut bytes = 0;
    loop {
        let limit = step.min(search.limit - page.lines.len());
        let room = Search { limit, bytes: bytes_max - bytes, cursor: page.next, ..search.clone() };
        let found = view.search(&room).await?;
        bytes += found.lines.iter().map(|line| line.get().len()).sum::<usize>();
        let found_lines = found.lines.len();
        page.first = page.first.or(found.first);
        page.lines.extend(found.lines);
        page.next = found.next;
        let of_line = bytes.div_ceil(page.lines.len().max(1)).max(1);
        let has_no_room = found_lines < limit || bytes + of_line > bytes_max;
        if page.next.is_none() || page.lines.len() >= search.limit || has_no_room {
            return Ok(page);
        }
        step = ((bytes_max - bytes) / of_line).clamp(1, step * 16);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix_rt::test]
    async fn a_token_reserves_from_its_own_share_and_releases_it() {
        let limits = Limits::default();
        let answers = Answers::new(limits.clone());
        let (one, other) = (Some(TokenHash::new(b"one")), Some(TokenHash::new(b"other")));
        let mut of_one = answers.take(one, ANSWER_BYTES_PER_TOKEN).await.unwrap();
        let refused = answers.take(one, 1).await.unwrap_err();
        assert!(refused.is(StatusCode::SERVICE_UNAVAILABLE));
        assert_eq!((limits.reached(Limit::AnswerBytesPerToken), limits.reached(Limit::AnswerBytes)), (1, 0));
        let of_other = answers.take(other, RESERVED_FOR_LINES).await.unwrap();
        assert_eq!(limits.answer_bytes().get() as usize, ANSWER_BYTES_PER_TOKEN + RESERVED_FOR_LINES);
        of_one.keep(100);
        let more = answers.take(one, RESERVED_FOR_LINES).await.unwrap();
        of_one.add(more);
        assert_eq!(limits.answer_bytes().get() as usize, 100 + 2 * RESERVED_FOR_LINES);
        drop((of_one, of_other));
        assert_eq!(limits.answer_bytes().get(), 0);
        assert_eq!(answers.all.available_permits(), ANSWER_BYTES_MAX / UNIT_BYTES);
        drop(answers.take(None, ANSWER_BYTES_MAX).await.unwrap());
        assert!(answers.by_token.lock().len() <= 1, "tokens without a reservation are forgotten");
    }

    #[actix_rt::test]
    async fn beyond_the_total_every_token_is_refused() {
        let limits = Limits::default();
        let answers = Answers::new(limits.clone());
        let names: [&[u8]; 2] = [b"one", b"two"];
        let mut held = Vec::new();
        for name in names {
            held.push(answers.take(Some(TokenHash::new(name)), ANSWER_BYTES_PER_TOKEN).await.unwrap());
        }
        assert!(answers.take(Some(TokenHash::new(b"three")), 1).await.is_err());
        assert_eq!(limits.reached(Limit::AnswerBytes), 1);
        held.pop();
        assert!(answers.take(Some(TokenHash::new(b"three")), 1).await.is_ok());
    }

    /// A store of 100 lines of at least 1,000 bytes.
    async fn store(folder: &std::path::Path) -> store::Store {
        let target = store::Target::Sqlite(folder.join("logs.db"));
        let store = store::StoreWriter::open(&target, &store::EngineSettings::default()).await.unwrap();
        let mut batch = store::BatchBuilder::new("x");
        let day = store::Timestamp::parse(b"2026-11-23T12:00:00Z").unwrap().day();
        for offset in 0..100 {
            let id = store::LineId { generation: store::GenerationId::new(1, &[7; 10]), offset };
            let line = format!(
                r#"{{"timestamp":"2026-11-23T12:00:00.000Z","service":"s","level":"info","message":"{}","request_id":null,"project_id":null}}"#,
                "a".repeat(1_000)
            );
            batch.push(id, 100, day, |body| body.extend_from_slice(line.as_bytes()));
        }
        store.write(&batch.finish(0)).await.unwrap();
        store.reader()
    }

    #[actix_rt::test]
    async fn a_page_ends_before_the_line_that_does_not_fit_and_continues_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let (store, reader) = (store(folder.path()).await, Reader::of_everyone());
        let view = reader.view(&store);
        let of_line = view.search(&Search { limit: 1, ..Search::default() }).await.unwrap().lines[0].get().len();
        for step in [1, 3, 16, 1_000] {
            for (limit, bytes, lines) in [
                (100, usize::MAX / 2, 100),
                (7, usize::MAX / 2, 7),
                (100, 10 * of_line, 10),
                (100, 10 * of_line + 1, 10),
                (100, 10 * of_line - 1, 9),
                (100, 50 * of_line, 50),
                (100, 1, 1),
            ] {
                let search = Search { limit, ..Search::default() };
                let page = super::search(view, &search, (bytes, step)).await.unwrap();
                assert_eq!(page.lines.len(), lines, "{step} {bytes}");
                assert_eq!(page.next.is_some(), page.lines.len() < 100, "{step} {bytes}");
                let rest = Search { cursor: page.next, limit: 1_000, ..Search::default() };
                let rest = if page.next.is_some() { view.search(&rest).await.unwrap().lines.len() } else { 0 };
                assert_eq!(page.lines.len() + rest, 100, "{step} {bytes}");
            }
        }
    }

    #[test]
    fn a_large_answer_is_handed_over_in_pieces() {
        let answers = Answers::new(Limits::default());
        let semaphore = |units: usize| {
            let semaphore = Arc::new(Semaphore::new(units));
            semaphore.try_acquire_many_owned(units as u32).unwrap()
        };
        let held = Held { of_token: semaphore(1), of_all: semaphore(1), bytes: 0, limits: answers.limits };
        let bytes = Bytes::from(vec![7; 3 * CHUNK_BYTES + 5]);
        let mut pieces = Chunks { left: bytes.clone(), _held: held };
        let mut context = Context::from_waker(std::task::Waker::noop());
        assert_eq!(pieces.size(), BodySize::Sized(bytes.len() as u64));
        let mut got = Vec::new();
        while let Poll::Ready(Some(Ok(piece))) = Pin::new(&mut pieces).poll_next(&mut context) {
            assert!(piece.len() <= CHUNK_BYTES);
            got.extend_from_slice(&piece);
        }
        assert_eq!(got, bytes);
    }
}
