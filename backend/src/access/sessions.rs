//! Who is logged in to the page. A session is an opaque random number in a cookie; what it stands for is here, in memory,
//! and gone with the process. Pure but for drawing the number; time is handed in.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::access::tokens::TokenHash;

/// A session ends so long after its login.
pub const LIFE: Duration = Duration::from_secs(12 * 3_600);

/// Sessions at a time. A login beyond ends the one that would end next.
pub const SESSIONS_MAX: usize = 10_000;

/// Bytes of a session's number.
const NUMBER_BYTES: usize = 32;

/// All sessions, by the hash of their number: what is in memory opens nothing.
#[derive(Debug, Default)]
pub struct Sessions {
    open: HashMap<TokenHash, Session>,
}

#[derive(Clone, Copy, Debug)]
struct Session {
    /// Of the token that it was opened with: whether that is still good, and what it may see, is asked at each request.
    token: TokenHash,
    ends: Instant,
}

/// No random number could be drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the system has no random numbers")]
pub struct NoRandomness;

impl Sessions {
    /// Opens a session for a token; its number, for the cookie.
    ///
    /// # Errors
    /// The system gives no random number.
    pub fn open(&mut self, token: TokenHash, now: Instant) -> Result<String, NoRandomness> {
        let mut number = [0; NUMBER_BYTES];
        getrandom::fill(&mut number).map_err(|_| NoRandomness)?;
        let number: String = number.iter().map(|byte| format!("{byte:02x}")).collect();
        if self.open.len() >= SESSIONS_MAX {
            self.open.retain(|_, session| session.ends > now);
            let next = self.open.iter().min_by_key(|(_, session)| session.ends).map(|(number, _)| *number);
            if let Some(next) = next.filter(|_| self.open.len() >= SESSIONS_MAX) {
                self.open.remove(&next);
            }
        }
        self.open.insert(TokenHash::of(number.as_bytes()), Session { token, ends: now + LIFE });
        Ok(number)
    }

    /// The token that a session was opened with, while it lasts; asked for by the hash of its number.
    #[must_use]
    pub fn token(&self, session: &TokenHash, now: Instant) -> Option<TokenHash> {
        let session = self.open.get(session)?;
        (session.ends > now).then_some(session.token)
    }

    /// Ends a session.
    pub fn close(&mut self, number: &str) {
        self.open.remove(&TokenHash::of(number.as_bytes()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_lasts_until_it_ends() {
        let (mut sessions, now) = (Sessions::default(), Instant::now());
        let token = TokenHash::of(b"a token");
        let (one, two) = (sessions.open(token, now).unwrap(), sessions.open(token, now).unwrap());
        assert!(one != two && one.len() == 64);
        let of = |number: &str| TokenHash::of(number.as_bytes());
        assert_eq!(sessions.token(&of(&one), now), Some(token));
        assert_eq!(sessions.token(&of(&one), now + LIFE), None);
        sessions.close(&one);
        assert_eq!((sessions.token(&of(&one), now), sessions.token(&of(&two), now)), (None, Some(token)));
        assert_eq!(sessions.token(&of(""), now), None);
    }

    #[test]
    fn however_many_log_in_few_are_remembered() {
        let (mut sessions, now) = (Sessions::default(), Instant::now());
        let token = TokenHash::of(b"a token");
        let first = sessions.open(token, now).unwrap();
        for _ in 0..SESSIONS_MAX {
            sessions.open(token, now + Duration::from_secs(1)).unwrap();
        }
        assert_eq!(sessions.open.len(), SESSIONS_MAX);
        assert_eq!(sessions.token(&TokenHash::of(first.as_bytes()), now), None, "the oldest made room");
    }
}
