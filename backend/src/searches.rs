//! Limits concurrent searches, per token and in total. A request holds its permit until its response is built and all
//! of its reads of the store have ended, also if its client has disconnected.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage as _, ResponseError as _, web};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::access::Reader;
use crate::access::tokens::TokenHash;
use crate::limits::{Limit, Limits};
use crate::problem::Problem;

/// Maximum number of concurrent searches.
pub const SEARCHES_MAX: usize = 16;

/// Maximum concurrent searches of one token. Without tokens only [`SEARCHES_MAX`] applies.
pub const SEARCHES_PER_TOKEN: usize = 8;

/// How long a request waits for a permit before it is refused: as long as a read of the store may take.
const MAX_WAIT: Duration = Duration::from_secs(10);

/// Seconds after which a refused client may retry.
const RETRY_AFTER_S: u64 = 2;

/// The permits of searches. A clone is cheap and shares them.
#[derive(Clone, Debug)]
pub struct Searches {
    all: Arc<Semaphore>,
    by_token: Arc<Mutex<HashMap<TokenHash, Arc<Semaphore>>>>,
    max_wait: Duration,
    limits: Limits,
}

/// The permits of one request, released when they are dropped.
type Permits = (Option<OwnedSemaphorePermit>, OwnedSemaphorePermit);

impl Searches {
    /// Permits that count refusals in these limits.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { all: Arc::new(Semaphore::new(SEARCHES_MAX)), by_token: Arc::default(), max_wait: MAX_WAIT, limits }
    }

    fn of_token(&self, token: TokenHash) -> Arc<Semaphore> {
        let mut by_token = self.by_token.lock();
        // Semaphores without a permit in use equal new ones.
        by_token.retain(|_, semaphore| Arc::strong_count(semaphore) > 1);
        by_token.entry(token).or_insert_with(|| Arc::new(Semaphore::new(SEARCHES_PER_TOKEN))).clone()
    }

    /// Acquires a permit, first of the token and then in total.
    async fn take(&self, token: Option<TokenHash>) -> Result<Permits, Problem> {
        let wait = async |semaphore: Arc<Semaphore>, limit: Limit| {
            let permit = tokio::time::timeout(self.max_wait, semaphore.acquire_owned()).await;
            permit.ok().and_then(Result::ok).ok_or_else(|| {
                self.limits.count(limit);
                let detail = "too many concurrent searches; try again, or narrow the query";
                Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).retry_after(RETRY_AFTER_S)
            })
        };
        let of_token = match token {
            Some(token) => Some(wait(self.of_token(token), Limit::SearchesPerToken).await?),
            None => None,
        };
        Ok((of_token, wait(self.all.clone(), Limit::Searches).await?))
    }
}

/// Middleware: lets a reader's request read the store once it has a permit. It belongs inside of
/// [`crate::access::guard`].
///
/// # Errors
/// Those of the wrapped service; 503 if no permit became free in time.
pub async fn bound(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let token = request.extensions().get::<Reader>().map(Reader::token);
    let searches = request.app_data::<web::Data<Searches>>().cloned();
    let (Some(token), Some(searches)) = (token, searches) else {
        return next.call(request).await.map(ServiceResponse::map_into_boxed_body);
    };
    let permit = match searches.take(token).await {
        Ok(permit) => Arc::new(permit),
        Err(problem) => return Ok(request.into_response(problem.error_response())),
    };
    let response = store::with_read_guard(permit, next.call(request)).await?;
    Ok(response.map_into_boxed_body())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_short_wait() -> (Searches, Limits) {
        let limits = Limits::default();
        (Searches { max_wait: Duration::from_millis(1), ..Searches::new(limits.clone()) }, limits)
    }

    #[actix_rt::test]
    async fn a_token_takes_its_own_permits_only_and_releases_them() {
        let (searches, limits) = with_short_wait();
        let (one, other) = (Some(TokenHash::new(b"one")), Some(TokenHash::new(b"other")));
        let mut permits = Vec::new();
        for _ in 0..SEARCHES_PER_TOKEN {
            permits.push(searches.take(one).await.unwrap());
        }
        assert!(searches.take(one).await.unwrap_err().is(StatusCode::SERVICE_UNAVAILABLE));
        assert_eq!((limits.reached(Limit::SearchesPerToken), limits.reached(Limit::Searches)), (1, 0));
        drop(searches.take(other).await.unwrap());
        permits.pop();
        drop(searches.take(one).await.unwrap());
        drop(permits);
        drop(searches.take(None).await.unwrap());
        assert_eq!(searches.all.available_permits(), SEARCHES_MAX);
        drop(searches.take(other).await.unwrap());
        assert!(searches.by_token.lock().len() <= 1, "tokens without a permit are forgotten");
    }

    #[actix_rt::test]
    async fn beyond_the_total_every_token_is_refused() {
        let (searches, limits) = with_short_wait();
        let mut permits = Vec::new();
        for _ in 0..SEARCHES_MAX {
            permits.push(searches.take(None).await.unwrap());
        }
        assert!(searches.take(Some(TokenHash::new(b"one"))).await.is_err());
        assert_eq!(limits.reached(Limit::Searches), 1);
        permits.pop();
        assert!(searches.take(Some(TokenHash::new(b"one"))).await.is_ok());
    }
}
