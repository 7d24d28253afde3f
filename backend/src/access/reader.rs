//! Who sent a request, and what they may see of a store.
//!
//! A [`Reader`] does not expose its scope. All reads go through its [`View`] of the store, which determines the scope
//! before each read and checks it again afterwards. So a response of several reads, a stream or a live tail ends with
//! its token or session, and when the token's projects change: all parts of a response have the same scope.

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

use crate::access::tokens::TokenHash;
use crate::access::{Access, Denial, Kind};
use crate::dead_letters::{DeadLetters, Extent, Letter};
use crate::problem::Problem;

/// Who sent a request. Only [`guard`](crate::access::guard) makes one. A clone is cheap and equal.
#[derive(Clone, Debug)]
pub struct Reader {
    access: Access,
    /// The scope at the start of the request; it ends if the scope changes.
    granted: Arc<Scope>,
    name: Option<Arc<str>>,
    token: Option<TokenHash>,
    /// The session, if the request was admitted by one.
    session: Option<TokenHash>,
}

/// Why a reader's rights ended.
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

/// Why a read failed.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The reader's rights ended.
    #[error(transparent)]
    Ended(#[from] Ended),
    /// The store does not respond.
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
    /// The reader of a service without tokens.
    pub(super) fn everyone(access: &Access) -> Self {
        Self { access: access.clone(), granted: Arc::new(Scope::All), name: None, token: None, session: None }
    }

    /// The reader of a service without tokens.
    #[cfg(test)]
    pub(crate) fn of_everyone() -> Self {
        Self::everyone(&Access::new(super::admission::Admission::default(), None))
    }

    /// The reader of a token, and of its session if there is one; none if the token is unknown.
    pub(super) fn with_token(access: &Access, token: TokenHash, session: Option<TokenHash>) -> Option<Self> {
        let (granted, name) = access.granted(&token)?;
        Some(Self { access: access.clone(), granted, name: Some(name), token: Some(token), session })
    }

    /// Their token; none if no tokens are configured.
    pub(crate) fn token(&self) -> Option<TokenHash> {
        self.token
    }

    /// The name of their token; none if no tokens are configured.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Whether they see all lines.
    #[must_use]
    pub fn sees_all(&self) -> bool {
        *self.granted == Scope::All
    }

    /// Their view of a store.
    #[must_use]
    pub fn view<'a>(&'a self, store: &'a Store) -> View<'a> {
        View { reader: self, store }
    }

    /// Checks that the reader's rights are unchanged.
    ///
    /// # Errors
    /// They ended or changed.
    pub fn check(&self) -> Result<(), Ended> {
        self.scope().map(drop)
    }

    /// Whether they see lines of this project, or of none, now.
    pub(crate) fn sees(&self, project: Option<&str>) -> bool {
        self.scope().is_ok_and(|scope| scope.sees(project))
    }

    /// Records that a project exists, since another service wrote a line of it.
    pub(crate) fn confirm(&self, project: &str) {
        self.access.0.known_projects.add(project);
    }

    /// Whether they may claim a project in the lines and metrics of this service. A project is known to exist if a
    /// token names it, or another service wrote a line of it.
    pub(super) fn claim(&self, project: &str) -> ProjectClaim {
        match self.scope().as_deref() {
            Ok(Scope::All) if self.access.0.known_projects.contains(project) => ProjectClaim::Verified,
            Ok(Scope::All) => ProjectClaim::Unverified,
            Ok(scope) if scope.sees(Some(project)) => ProjectClaim::Verified,
            Ok(Scope::Projects(_)) | Err(_) => ProjectClaim::Refused,
        }
    }

    /// What they may see now.
    fn scope(&self) -> Result<Arc<Scope>, Ended> {
        let now = match (&self.access.0.kind, self.token) {
            (Kind::Open, _) => Arc::clone(&self.granted),
            (Kind::Tokens(_), None) => return Err(Ended::Revoked),
            (Kind::Tokens(state), Some(token)) => {
                let is_open = |session| state.session_token(&session) == Some(token);
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
    type Error = Denial;
    type Future = std::future::Ready<Result<Self, Denial>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        std::future::ready(request.extensions().get::<Self>().cloned().ok_or(Denial::NoToken))
    }
}

/// A reader's view of a store. All lines are read through it.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    reader: &'a Reader,
    store: &'a Store,
}

impl View<'_> {
    /// Reads once. The result is discarded if the reader's rights ended meanwhile.
    pub(super) async fn read<T>(
        &self,
        ask: impl AsyncFnOnce(&Scope) -> Result<T, SearchError>,
    ) -> Result<T, ReadError> {
        let scope = self.reader.scope()?;
        let found = ask(&scope).await;
        self.reader.check()?;
        Ok(found?)
    }

    /// Reads offsets and lengths of lines, whoever may see them, but nothing of their content.
    ///
    /// # Errors
    /// As [`View::search`].
    pub async fn places<T>(&self, ask: impl AsyncFnOnce(&Store) -> Result<T, SearchError>) -> Result<T, ReadError> {
        self.read(async |_| ask(self.store).await).await
    }

    /// [`Store::search`]
    ///
    /// # Errors
    /// The reader's rights ended, or the store does not respond.
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

    /// [`DeadLetters::lookup`]
    ///
    /// # Errors
    /// The reader's rights ended.
    pub async fn letters(
        &self,
        dead_letters: &DeadLetters,
        generation: GenerationId,
        offsets: Range<u64>,
    ) -> Result<(Vec<Letter>, Extent), Ended> {
        self.reader.check()?;
        let reader = self.reader.clone();
        let sees = move |project: Option<&str>| reader.sees(project);
        let found = dead_letters.lookup(generation, offsets, sees).await;
        self.reader.check()?;
        Ok(found)
    }
}
