//! Who asks, and what they may see of a store.
//!
//! A [`Reader`] gives no scope away. Whoever reads takes a [`View`] of the store from it, which asks before each read what
//! the reader may see at that moment, and afterwards whether that still holds. An answer of several reads, a stream and a live
//! tail so end with the token or session that they began with, and when its projects are changed: no part of an answer is
//! of a scope that its other parts are not of.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::{FromRequest, HttpMessage as _, HttpRequest};
use observability::ProjectClaim;
use store::counts::Selection;
use store::{
    Around, Breakdown, Facet, Facets, Filter, GenerationId, Histogram, PageLimits, Patterns, RequestStats, Scope,
    Search, SearchError, SearchPage, Store, TailCursor, TailPage,
};

use crate::access::door::no_token;
use crate::access::tokens::TokenHash;
use crate::access::{Access, Kind};
use crate::dead_letters::{DeadLetters, Letter, Looked};
use crate::problem::Problem;

/// Who asks, as long as their answer goes on. Only [`guard`](crate::access::guard) makes one. A copy is cheap and the same.
#[derive(Clone, Debug)]
pub struct Reader {
    access: Access,
    /// What they could see when they were let in: with anything else their answer ends.
    granted: Arc<Scope>,
    name: Option<Arc<str>>,
    token: Option<TokenHash>,
    /// The session that the token was taken from.
    session: Option<TokenHash>,
}

/// Why an answer may not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Ended {
    /// The token is no longer in the file, or the session has ended.
    #[error("the token was revoked or the session has ended")]
    Revoked,
    /// The token may read other projects than before.
    #[error("the token's projects have changed; send the request again")]
    Changed,
}

impl From<Ended> for Problem {
    fn from(ended: Ended) -> Self {
        let status = match ended {
            Ended::Revoked => StatusCode::UNAUTHORIZED,
            Ended::Changed => StatusCode::CONFLICT,
        };
        Self::new(status, ended.to_string())
    }
}

/// Why a read gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The reader may not go on.
    #[error(transparent)]
    Ended(#[from] Ended),
    /// The store does not answer.
    #[error(transparent)]
    Store(#[from] SearchError),
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Ended(ended) => ended.into(),
            ReadError::Store(error) => error.into(),
        }
    }
}

impl Reader {
    /// Whoever reaches a service without tokens.
    pub(super) fn everyone(access: &Access) -> Self {
        Self { access: access.clone(), granted: Arc::new(Scope::All), name: None, token: None, session: None }
    }

    /// The reader of a service without tokens.
    #[cfg(test)]
    pub(crate) fn of_everyone() -> Self {
        Self::everyone(&Access::new(super::door::Door::default(), None))
    }

    /// Who has a token, and with it a session where it was taken from one; none without a holder of it.
    pub(super) fn of_token(access: &Access, token: TokenHash, session: Option<TokenHash>) -> Option<Self> {
        let (granted, name) = access.granted(&token)?;
        Some(Self { access: access.clone(), granted, name: Some(name), token: Some(token), session })
    }

    /// Their token; none where everyone may see everything.
    pub(crate) fn token(&self) -> Option<TokenHash> {
        self.token
    }

    /// The name of their token; none where everyone may see everything.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Whether they see all lines, as long as their answer goes on.
    #[must_use]
    pub fn sees_all(&self) -> bool {
        *self.granted == Scope::All
    }

    /// What they see of a store.
    #[must_use]
    pub fn view<'a>(&'a self, store: &'a Store) -> View<'a> {
        View { reader: self, store }
    }

    /// Whether their answer may go on.
    ///
    /// # Errors
    /// They may not see any more what they could see, or see something else.
    pub fn check(&self) -> Result<(), Ended> {
        self.scope().map(drop)
    }

    /// Whether lines of this project, or of none, may be seen now.
    pub(crate) fn sees(&self, project: Option<&str>) -> bool {
        self.scope().is_ok_and(|scope| scope.sees(project))
    }

    /// Says that there is a project, as lines of another service tell.
    pub(crate) fn confirm(&self, project: &str) {
        self.access.0.confirmed.add(project);
    }

    /// How far they may speak for a project, in this service's own lines and metrics. A project is known to exist where a
    /// token names it, or lines of another service do.
    pub(super) fn claim(&self, project: &str) -> ProjectClaim {
        match self.scope().as_deref() {
            Ok(Scope::All) if self.access.0.confirmed.has(project) => ProjectClaim::Verified,
            Ok(Scope::All) => ProjectClaim::Unverified,
            Ok(scope) if scope.sees(Some(project)) => ProjectClaim::Verified,
            Ok(Scope::Projects(_)) | Err(_) => ProjectClaim::Refused,
        }
    }

    /// What they may see at this moment.
    fn scope(&self) -> Result<Arc<Scope>, Ended> {
        let now = match (&self.access.0.kind, self.token) {
            (Kind::Open, _) => Arc::clone(&self.granted),
            (Kind::Tokens(_), None) => return Err(Ended::Revoked),
            (Kind::Tokens(state), Some(token)) => {
                let is_open = |session| state.token_of(&session) == Some(token);
                if !self.session.is_none_or(is_open) {
                    return Err(Ended::Revoked);
                }
                self.access.granted(&token).ok_or(Ended::Revoked)?.0
            }
        };
        if Arc::ptr_eq(&now, &self.granted) || now == self.granted { Ok(now) } else { Err(Ended::Changed) }
    }
}

impl FromRequest for Reader {
    type Error = Problem;
    type Future = std::future::Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        std::future::ready(request.extensions().get::<Self>().cloned().ok_or_else(no_token))
    }
}

/// What a reader sees of a store. All that is read of lines is read through it.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    reader: &'a Reader,
    store: &'a Store,
}

impl View<'_> {
    /// One read. What the reader may not see any more when it is done is not given to them.
    pub(super) async fn read<T>(
        &self,
        ask: impl AsyncFnOnce(&Scope) -> Result<T, SearchError>,
    ) -> Result<T, ReadError> {
        let scope = self.reader.scope()?;
        let found = ask(&scope).await;
        self.reader.check()?;
        Ok(found?)
    }

    /// A read of what tells of no line: where lines of a source stand, and how long they are, whoever's they are.
    ///
    /// # Errors
    /// As [`View::search`].
    pub async fn places<T>(&self, ask: impl AsyncFnOnce(&Store) -> Result<T, SearchError>) -> Result<T, ReadError> {
        self.read(async |_| ask(self.store).await).await
    }

    /// [`Store::search`]
    ///
    /// # Errors
    /// The reader may not go on, or the store does not answer.
    pub async fn search(&self, search: &Search) -> Result<SearchPage, ReadError> {
        self.read(async |scope| self.store.search(scope, search).await).await
    }

    /// [`Store::facets`]
    ///
    /// # Errors
    /// As [`View::search`].
    pub async fn facets(&self, selection: &Selection, facets: &[Facet], top: usize) -> Result<Facets, ReadError> {
        self.read(async |scope| self.store.facets(scope, selection, facets, top).await).await
    }

    /// [`Store::histogram`]
    ///
    /// # Errors
    /// As [`View::search`].
    pub async fn histogram(&self, selection: &Selection, step: Duration) -> Result<Histogram, ReadError> {
        self.read(async |scope| self.store.histogram(scope, selection, step).await).await
    }

    /// [`Store::requests`]
    ///
    /// # Errors
    /// As [`View::search`].
    pub async fn requests(&self, selection: &Selection, by: Breakdown, top: usize) -> Result<RequestStats, ReadError> {
        self.read(async |scope| self.store.requests(scope, selection, by, top).await).await
    }

    /// [`Store::patterns`]
    ///
    /// # Errors
    /// As [`View::search`].
    pub async fn patterns(&self, selection: &Selection, top: usize) -> Result<Patterns, ReadError> {
        self.read(async |scope| self.store.patterns(scope, selection, top).await).await
    }

    /// [`Store::around`]
    ///
    /// # Errors
    /// As [`View::search`].
    pub async fn around(
        &self,
        generation: GenerationId,
        offset: u64,
        sides: (PageLimits, PageLimits),
    ) -> Result<Around, ReadError> {
        self.read(async |scope| self.store.around(scope, generation, offset, sides).await).await
    }

    /// [`Store::tail`]
    ///
    /// # Errors
    /// As [`View::search`].
    pub async fn tail(
        &self,
        filter: &Filter,
        cursor: Option<&TailCursor>,
        limits: PageLimits,
    ) -> Result<TailPage, ReadError> {
        self.read(async |scope| self.store.tail(scope, filter, cursor, limits).await).await
    }

    /// [`DeadLetters::of`]
    ///
    /// # Errors
    /// The reader may not go on.
    pub async fn letters(
        &self,
        dead_letters: &DeadLetters,
        generation: GenerationId,
        offsets: Range<u64>,
    ) -> Result<(Vec<Letter>, Looked), Ended> {
        self.reader.check()?;
        let found = dead_letters.of(generation, offsets, self.reader).await;
        self.reader.check()?;
        Ok(found)
    }
}
