//! Limits the number of live tails, per token and in total.

use std::collections::HashMap;
use std::sync::Arc;

use actix_web::http::StatusCode;
use parking_lot::{Mutex, MutexGuard};

use crate::access::tokens::TokenHash;
use crate::limits::{Limit, Limits};
use crate::problem::Problem;

/// Maximum number of live tails; another is refused with 503.
pub const TAILS_MAX: usize = 64;

/// Maximum number of live tails of one token. Without tokens only [`TAILS_MAX`] applies.
pub const TAILS_PER_TOKEN: usize = 16;

/// Seconds after which a refused client may retry.
const RETRY_AFTER_S: u64 = 10;

/// The slots of live tails. A clone is cheap and shares them.
#[derive(Clone, Debug, Default)]
pub struct TailSlots(Arc<Mutex<Taken>>, Limits);

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by_token: HashMap<TokenHash, usize>,
}

/// The slot of one live tail, released when it is dropped.
#[derive(Debug)]
pub struct TailSlot {
    slots: TailSlots,
    token: Option<TokenHash>,
}

impl TailSlots {
    /// Slots that count refusals in these limits.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self(Arc::default(), limits)
    }

    /// Takes a slot for a token, or for no token if everyone reads everything.
    ///
    /// # Errors
    /// 503 if none is free.
    pub fn take(&self, token: Option<TokenHash>) -> Result<TailSlot, Problem> {
        let mut taken = self.lock();
        let token_tails = token.map_or(0, |token| taken.by_token.get(&token).copied().unwrap_or(0));
        let (limit, detail) = if token_tails >= TAILS_PER_TOKEN {
            (Limit::TailsPerToken, format!("this token already has {TAILS_PER_TOKEN} live tails open; close one"))
        } else if taken.all >= TAILS_MAX {
            (Limit::Tails, format!("{TAILS_MAX} live tails are already open; close one"))
        } else {
            taken.all += 1;
            token.into_iter().for_each(|token| *taken.by_token.entry(token).or_default() += 1);
            return Ok(TailSlot { slots: self.clone(), token });
        };
        self.1.count(limit);
        Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).retry_after(RETRY_AFTER_S))
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.0.lock()
    }
}

impl Drop for TailSlot {
    fn drop(&mut self) {
        let mut taken = self.slots.lock();
        taken.all -= 1;
        let Some(token) = self.token else { return };
        if let Some(token_tails) = taken.by_token.get_mut(&token) {
            *token_tails -= 1;
            if *token_tails == 0 {
                taken.by_token.remove(&token);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_tails_is_limited() {
        let limits = Limits::default();
        let slots = TailSlots::new(limits.clone());
        let mut all: Vec<_> = (0..TAILS_MAX).map(|_| slots.take(None).unwrap()).collect();
        assert!(slots.take(None).is_err() && slots.take(Some(TokenHash::new(b"one"))).is_err());
        assert_eq!(limits.reached(Limit::Tails), 2);
        all.pop();
        let last = slots.take(None).unwrap();
        drop((all, last));
        assert_eq!(slots.lock().all, 0);
    }

    #[test]
    fn a_token_takes_its_own_slots_only() {
        let limits = Limits::default();
        let slots = TailSlots::new(limits.clone());
        let (one, other) = (Some(TokenHash::new(b"one")), Some(TokenHash::new(b"other")));
        let mut ones: Vec<_> = (0..TAILS_PER_TOKEN).map(|_| slots.take(one).unwrap()).collect();
        assert!(slots.take(one).is_err());
        assert_eq!((limits.reached(Limit::TailsPerToken), limits.reached(Limit::Tails)), (1, 0));
        let others = slots.take(other).unwrap();
        ones.pop();
        ones.push(slots.take(one).unwrap());
        drop((ones, others));
        let taken = slots.lock();
        assert!(taken.by_token.is_empty() && taken.all == 0);
    }
}
