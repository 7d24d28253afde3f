//! How many requests ask the store at once: of each token, and of all. A request has its place until its answer is put
//! together and each read of the store that it began has ended, also where its client went away meanwhile.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage as _, ResponseError as _, web};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::access::Reader;
use crate::access::tokens::TokenHash;
use crate::limits::{Limit, Limits};
use crate::problem::Problem;

/// Requests that ask the store at once.
pub const SEARCHES_MAX: usize = 16;

/// Requests of one token that do. Without tokens only [`SEARCHES_MAX`] counts.
pub const SEARCHES_PER_TOKEN: usize = 8;

/// A request waits this long for its place before it is refused: as long as a read of the store may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Seconds after which one that was refused may try again.
const TRY_AGAIN_S: u64 = 2;

/// The requests that ask the store. A copy is cheap and the same.
#[derive(Clone, Debug)]
pub struct Searches {
    all: Arc<Semaphore>,
    by_token: Arc<Mutex<HashMap<TokenHash, Arc<Semaphore>>>>,
    patience: Duration,
    limits: Limits,
}

/// One request's place, given back when it is dropped.
type Place = (Option<OwnedSemaphorePermit>, OwnedSemaphorePermit);

impl Searches {
    /// Counts in these limits what is refused.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { all: Arc::new(Semaphore::new(SEARCHES_MAX)), by_token: Arc::default(), patience: PATIENCE, limits }
    }

    fn of_token(&self, token: TokenHash) -> Arc<Semaphore> {
        let mut by_token = self.by_token.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that nobody has a place of are as new.
        by_token.retain(|_, semaphore| Arc::strong_count(semaphore) > 1);
        by_token.entry(token).or_insert_with(|| Arc::new(Semaphore::new(SEARCHES_PER_TOKEN))).clone()
    }

    /// Takes a place, among those of the token first.
    async fn take(&self, token: Option<TokenHash>) -> Result<Place, Problem> {
        let wait = async |semaphore: Arc<Semaphore>, limit: Limit| {
            let permit = tokio::time::timeout(self.patience, semaphore.acquire_owned()).await;
            permit.ok().and_then(Result::ok).ok_or_else(|| {
                self.limits.count(limit);
                let detail = "too many concurrent searches; try again, or narrow the query";
                Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).retry_after(TRY_AGAIN_S)
            })
        };
        let of_token = match token {
            Some(token) => Some(wait(self.of_token(token), Limit::SearchesPerToken).await?),
            None => None,
        };
        Ok((of_token, wait(self.all.clone(), Limit::Searches).await?))
    }
}

/// Middleware: lets a reader's request ask the store when it has a place. It belongs within [`crate::access::guard`].
///
/// # Errors
/// Those of what it wraps; 503 where no place became free in time.
pub async fn bound(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let token = request.extensions().get::<Reader>().map(Reader::token);
    let searches = request.app_data::<web::Data<Searches>>().cloned();
    let (Some(token), Some(searches)) = (token, searches) else {
        return next.call(request).await.map(ServiceResponse::map_into_boxed_body);
    };
    let place = match searches.take(token).await {
        Ok(place) => Arc::new(place),
        Err(problem) => return Ok(request.into_response(problem.error_response())),
    };
    let response = store::with_read_guard(place, next.call(request)).await?;
    Ok(response.map_into_boxed_body())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn impatient() -> (Searches, Limits) {
        let limits = Limits::default();
        (Searches { patience: Duration::from_millis(1), ..Searches::new(limits.clone()) }, limits)
    }

    #[actix_rt::test]
    async fn a_token_takes_only_its_own_places_and_gives_them_back() {
        let (searches, limits) = impatient();
        let (one, other) = (Some(TokenHash::of(b"one")), Some(TokenHash::of(b"other")));
        let mut places = Vec::new();
        for _ in 0..SEARCHES_PER_TOKEN {
            places.push(searches.take(one).await.unwrap());
        }
        assert!(searches.take(one).await.unwrap_err().is(StatusCode::SERVICE_UNAVAILABLE));
        assert_eq!((limits.reached(Limit::SearchesPerToken), limits.reached(Limit::Searches)), (1, 0));
        drop(searches.take(other).await.unwrap());
        places.pop();
        drop(searches.take(one).await.unwrap());
        drop(places);
        drop(searches.take(None).await.unwrap());
        assert_eq!(searches.all.available_permits(), SEARCHES_MAX);
        drop(searches.take(other).await.unwrap());
        assert!(searches.by_token.lock().unwrap().len() <= 1, "tokens without a place are forgotten");
    }

    #[actix_rt::test]
    async fn beyond_all_places_the_next_is_refused_whoever_asks() {
        let (searches, limits) = impatient();
        let mut places = Vec::new();
        for _ in 0..SEARCHES_MAX {
            places.push(searches.take(None).await.unwrap());
        }
        assert!(searches.take(Some(TokenHash::of(b"one"))).await.is_err());
        assert_eq!(limits.reached(Limit::Searches), 1);
        places.pop();
        assert!(searches.take(Some(TokenHash::of(b"one"))).await.is_ok());
    }
}
