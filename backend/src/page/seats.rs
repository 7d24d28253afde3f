//! How many live tails there are: of each token, and of all.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use actix_web::http::StatusCode;

use crate::access::tokens::TokenHash;
use crate::limits::{Limit, Limits};
use crate::problem::Problem;

/// Tails at a time; one more is refused with 503, and may try again after ten seconds.
pub const TAILS_MAX: usize = 64;

/// Tails of one token at a time. Without tokens only [`TAILS_MAX`] counts.
pub const TAILS_PER_TOKEN: usize = 16;

/// Seconds after which one that was refused may find room.
const TRY_AGAIN_S: u64 = 10;

/// The room for tails. A copy is cheap and the same.
#[derive(Clone, Debug, Default)]
pub struct Seats(Arc<Mutex<Taken>>, Limits);

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by_token: HashMap<TokenHash, usize>,
}

/// A tail's room, given back when it is dropped.
#[derive(Debug)]
pub struct Seat {
    seats: Seats,
    token: Option<TokenHash>,
}

impl Seats {
    /// Room that counts in these limits what it refuses.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self(Arc::default(), limits)
    }

    /// Room for one more tail of a token; of none where everyone may see everything.
    ///
    /// # Errors
    /// 503 where there is none.
    pub fn take(&self, token: Option<TokenHash>) -> Result<Seat, Problem> {
        let mut taken = self.lock();
        let of_token = token.map_or(0, |token| taken.by_token.get(&token).copied().unwrap_or(0));
        let (limit, detail) = if of_token >= TAILS_PER_TOKEN {
            (Limit::TailsPerToken, format!("this token already has {TAILS_PER_TOKEN} live tails open; close one"))
        } else if taken.all >= TAILS_MAX {
            (Limit::Tails, format!("{TAILS_MAX} live tails are already open; close one"))
        } else {
            taken.all += 1;
            token.into_iter().for_each(|token| *taken.by_token.entry(token).or_default() += 1);
            return Ok(Seat { seats: self.clone(), token });
        };
        self.1.count(limit);
        Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).retry_after(TRY_AGAIN_S))
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.lock();
        taken.all -= 1;
        let Some(token) = self.token else { return };
        if let Some(of_token) = taken.by_token.get_mut(&token) {
            *of_token -= 1;
            if *of_token == 0 {
                taken.by_token.remove(&token);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_only_so_many_tails() {
        let (seats, limits) = (Seats::default(), Limits::default());
        let seats = Seats(seats.0, limits.clone());
        let mut all: Vec<_> = (0..TAILS_MAX).map(|_| seats.take(None).unwrap()).collect();
        assert!(seats.take(None).is_err() && seats.take(Some(TokenHash::of(b"one"))).is_err());
        assert_eq!(limits.reached(Limit::Tails), 2);
        all.pop();
        let last = seats.take(None).unwrap();
        drop((all, last));
        assert_eq!(seats.lock().all, 0);
    }

    #[test]
    fn a_token_takes_only_its_own_room() {
        let limits = Limits::default();
        let seats = Seats::new(limits.clone());
        let (one, other) = (Some(TokenHash::of(b"one")), Some(TokenHash::of(b"other")));
        let mut of_one: Vec<_> = (0..TAILS_PER_TOKEN).map(|_| seats.take(one).unwrap()).collect();
        assert!(seats.take(one).is_err());
        assert_eq!((limits.reached(Limit::TailsPerToken), limits.reached(Limit::Tails)), (1, 0));
        let of_other = seats.take(other).unwrap();
        of_one.pop();
        of_one.push(seats.take(one).unwrap());
        drop((of_one, of_other));
        let taken = seats.lock();
        assert!(taken.by_token.is_empty() && taken.all == 0);
    }
}
