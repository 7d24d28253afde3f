//! Sessions of the pages. A session is a random number in a cookie; its token is kept in memory, so sessions end with
//! the process. Pure except for the random number; time is passed in.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::access::tokens::TokenHash;
use crate::limits::Limit;

/// Lifetime of a session.
pub const LIFE: Duration = Duration::from_secs(12 * 3_600);

/// Maximum sessions of one token. A further login ends that token's oldest.
pub const SESSIONS_PER_TOKEN: usize = 100;

/// Maximum number of sessions. A further login ends the oldest one of the token with the most.
pub const SESSIONS_MAX: usize = 10_000;

/// Bytes of a session's number.
const NUMBER_BYTES: usize = 32;

/// All sessions by the hash of their number, so that a memory dump opens none.
#[derive(Debug, Default)]
pub struct Sessions {
    open: HashMap<TokenHash, Session>,
}

#[derive(Clone, Copy, Debug)]
struct Session {
    /// The token it was opened with. Each request checks whether that is still valid, and what it may see.
    token: TokenHash,
    ends: Instant,
}

/// The system's random number generator failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the system's random number generator failed")]
pub struct NoRandomness;

/// A new session.
#[derive(Debug)]
pub struct Opened {
    /// Its number, for the cookie.
    pub number: String,
    /// The limit that was reached, if another session was closed for it.
    pub ended_one: Option<Limit>,
}

impl Sessions {
    /// Opens a session for a token.
    ///
    /// # Errors
    /// The system's random number generator failed.
    pub fn open(&mut self, token: TokenHash, now: Instant) -> Result<Opened, NoRandomness> {
        let mut number = [0; NUMBER_BYTES];
        getrandom::fill(&mut number).map_err(|_| NoRandomness)?;
        let number: String = number.iter().map(|byte| format!("{byte:02x}")).collect();
        let ended_one = self.make_room(&token, now);
        self.open.insert(TokenHash::new(number.as_bytes()), Session { token, ends: now + LIFE });
        Ok(Opened { number, ended_one })
    }

    /// Makes room for one more session of a token.
    fn make_room(&mut self, token: &TokenHash, now: Instant) -> Option<Limit> {
        let of_token = |sessions: &Self| sessions.open.values().filter(|session| session.token == *token).count();
        if of_token(self) < SESSIONS_PER_TOKEN && self.open.len() < SESSIONS_MAX {
            return None;
        }
        self.open.retain(|_, session| session.ends > now);
        if of_token(self) >= SESSIONS_PER_TOKEN {
            self.end_oldest_of(*token);
            return Some(Limit::SessionsPerToken);
        }
        if self.open.len() < SESSIONS_MAX {
            return None;
        }
        let mut counts = HashMap::<_, usize>::new();
        self.open.values().for_each(|session| *counts.entry(session.token).or_default() += 1);
        let (most, _) = counts.into_iter().max_by_key(|(_, count)| *count)?;
        self.end_oldest_of(most);
        Some(Limit::Sessions)
    }

    fn end_oldest_of(&mut self, token: TokenHash) {
        let of_token = self.open.iter().filter(|(_, session)| session.token == token);
        if let Some(number) = of_token.min_by_key(|(_, session)| session.ends).map(|(number, _)| *number) {
            self.open.remove(&number);
        }
    }

    /// The token of a session that has not expired, by the hash of the session's number.
    #[must_use]
    pub fn token(&self, session: &TokenHash, now: Instant) -> Option<TokenHash> {
        let session = self.open.get(session)?;
        (session.ends > now).then_some(session.token)
    }

    /// Closes all sessions of some tokens.
    pub fn close_of(&mut self, tokens: &[TokenHash]) {
        self.open.retain(|_, session| !tokens.contains(&session.token));
    }

    /// Number of sessions.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.open.len()
    }

    /// Closes a session.
    pub fn close(&mut self, number: &str) {
        self.open.remove(&TokenHash::new(number.as_bytes()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(sessions: &mut Sessions, token: &[u8], now: Instant) -> TokenHash {
        TokenHash::new(sessions.open(TokenHash::new(token), now).unwrap().number.as_bytes())
    }

    #[test]
    fn a_session_is_valid_until_it_expires_or_is_closed() {
        let (mut sessions, now) = (Sessions::default(), Instant::now());
        let token = TokenHash::new(b"a token");
        let one = sessions.open(token, now).unwrap().number;
        let two = sessions.open(token, now).unwrap().number;
        assert!(one != two && one.len() == 64);
        let of = |number: &str| TokenHash::new(number.as_bytes());
        assert_eq!(sessions.token(&of(&one), now), Some(token));
        assert_eq!(sessions.token(&of(&one), now + LIFE - Duration::from_nanos(1)), Some(token));
        assert_eq!(sessions.token(&of(&one), now + LIFE), None);
        sessions.close(&one);
        assert_eq!((sessions.token(&of(&one), now), sessions.token(&of(&two), now)), (None, Some(token)));
        assert_eq!(sessions.token(&of(""), now), None);
    }

    #[test]
    fn a_token_with_many_sessions_closes_its_own_oldest() {
        let (mut sessions, now) = (Sessions::default(), Instant::now());
        let of_other = open(&mut sessions, b"another token", now);
        let at = |second: usize| now + Duration::from_secs(second as u64);
        let own: Vec<_> = (0..SESSIONS_PER_TOKEN).map(|n| open(&mut sessions, b"a token", at(n))).collect();
        assert!(own.iter().all(|session| sessions.token(session, at(0)).is_some()));
        for n in 0..10 * SESSIONS_PER_TOKEN {
            let opened = sessions.open(TokenHash::new(b"a token"), at(SESSIONS_PER_TOKEN + n)).unwrap();
            assert_eq!(opened.ended_one, Some(Limit::SessionsPerToken));
            let left = own.iter().filter(|session| sessions.token(session, at(0)).is_some()).count();
            assert_eq!(left, SESSIONS_PER_TOKEN.saturating_sub(n + 1), "the oldest first");
        }
        assert!(sessions.token(&of_other, at(0)).is_some());
        assert_eq!(sessions.open.len(), SESSIONS_PER_TOKEN + 1);
        // Expired sessions are removed first.
        let later = now + LIFE * 2;
        assert_eq!(sessions.open(TokenHash::new(b"a token"), later).unwrap().ended_one, None);
        assert_eq!(sessions.open.len(), 1);
    }

    #[test]
    fn the_number_of_sessions_is_bounded_at_the_expense_of_the_token_with_most() {
        let (mut sessions, now) = (Sessions::default(), Instant::now());
        let rare = open(&mut sessions, b"rare", now);
        for token in 0..SESSIONS_MAX / SESSIONS_PER_TOKEN {
            for _ in 0..SESSIONS_PER_TOKEN {
                open(&mut sessions, &token.to_be_bytes(), now);
            }
        }
        assert_eq!(sessions.open.len(), SESSIONS_MAX);
        assert_eq!(sessions.open(TokenHash::new(b"new"), now).unwrap().ended_one, Some(Limit::Sessions));
        assert_eq!(sessions.open.len(), SESSIONS_MAX);
        assert!(sessions.token(&rare, now).is_some(), "although it is the oldest");
    }
}
