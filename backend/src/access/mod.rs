//! Who may see what. Each request but those of [`OPEN`] passes [`guard`], which finds out who asks and leaves a
//! [`Reader`]; a handler that reads takes it as an argument, and reads through its [`View`] of the store. A handler that the
//! guard did not let through gets no reader, and no scope is made or kept anywhere else. So it is with the [`AlertSender`] of
//! the handler that takes alerts: whatever the guard took a path for, a handler runs only with what the guard left for it.
//!
//! In flow order: the [`door`], which asks the [`name`] that a request was sent to, where it comes from by [`proxies`], and
//! the [`throttle`] of wrong tokens; the file of [`tokens`], and [`sessions`] of the page with their [`login`]. What may not be seen is answered exactly as what is not there: the scope is
//! part of the question that the store is asked, so that neither answer nor time tells of what lies outside of it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use actix_web::body::MessageBody;
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::HeaderMap;
use actix_web::middleware::Next;
use actix_web::{Error, FromRequest, HttpMessage as _, HttpRequest, ResponseError as _, web};
use observability::RequestContext;
use store::Scope;

use crate::problem::Problem;

mod confirmed;
pub mod door;
pub mod login;
pub mod name;
pub mod proxies;
pub mod reader;
pub mod sessions;
pub mod throttle;
pub mod tokens;
pub mod tokens_file;

pub use confirmed::CONFIRMED_MAX;
use confirmed::Confirmed;
use door::{Door, bearer, no_token};
pub use reader::{Ended, ReadError, Reader, View};
use sessions::{NoRandomness, Opened, Sessions};
use throttle::Purpose;
use tokens::TokenHash;
pub use tokens_file::TokensFile;

/// Paths that ask for no token; below `/assets/` there is nothing but the page's own files.
pub const OPEN: [&str; 3] = ["/healthz", "/readyz", login::PATH];

/// Where alerts come in, with a token of their own.
pub const ALERTS: &str = "/api/alerts";

/// What is known of tokens and sessions. A copy is cheap and the same.
#[derive(Clone, Debug)]
pub struct Access(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    door: Door,
    kind: Kind,
    confirmed: Confirmed,
}

#[derive(Debug)]
enum Kind {
    /// There is no file of tokens: who reaches the service may see everything.
    Open,
    Tokens(Box<State>),
}

#[derive(Debug)]
struct State {
    file: TokensFile,
    sessions: Arc<Mutex<Sessions>>,
}

/// Who may send alerts, and reads nothing by that. Only [`guard`] makes one.
#[derive(Clone, Debug)]
pub struct AlertSender {
    access: Access,
    /// None where everyone may.
    token: Option<TokenHash>,
}

impl AlertSender {
    /// Whether they still may, now that their request's body has come in.
    ///
    /// # Errors
    /// Their token was revoked meanwhile.
    pub fn check(&self) -> Result<(), Ended> {
        let is_good = match (&self.access.0.kind, &self.token) {
            (Kind::Open, _) => true,
            (Kind::Tokens(_), None) => false,
            (Kind::Tokens(state), Some(token)) => state.file.tokens().is_of_alerts(token),
        };
        if is_good { Ok(()) } else { Err(Ended::Revoked) }
    }
}

impl FromRequest for AlertSender {
    type Error = Problem;
    type Future = std::future::Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        std::future::ready(request.extensions().get::<Self>().cloned().ok_or_else(no_token))
    }
}

impl Access {
    /// Behind this door, with the tokens of a file. Without one, everyone who reaches the service may see everything.
    #[must_use]
    pub fn new(door: Door, tokens: Option<TokensFile>) -> Self {
        let kind = match tokens {
            Some(file) => Kind::Tokens(Box::new(State { sessions: file.sessions(), file })),
            None => Kind::Open,
        };
        Self(Arc::new(Inner { door, kind, confirmed: Confirmed::default() }))
    }

    /// Whether lines need a token and `/metrics`, which names projects, does not.
    #[must_use]
    pub fn shows_metrics_to_everyone(&self) -> bool {
        self.asks_for_tokens() && !self.0.door.asks_for_metrics_token()
    }

    /// Whether tokens are asked for.
    #[must_use]
    pub fn asks_for_tokens(&self) -> bool {
        matches!(self.0.kind, Kind::Tokens(_))
    }

    /// What a token's holder may see at this moment, and their name.
    fn granted(&self, token: &TokenHash) -> Option<(Arc<Scope>, Arc<str>)> {
        let Kind::Tokens(state) = &self.0.kind else { return None };
        let tokens = state.file.tokens();
        let holder = tokens.holder(token)?;
        Some((Arc::clone(&holder.scope), Arc::clone(&holder.name)))
    }

    /// The reader of a token.
    fn reader(&self, token: &TokenHash) -> Option<Reader> {
        Reader::of_token(self, *token, None)
    }

    /// The reader of a session, by the hash of its number.
    fn reader_of(&self, session: &TokenHash) -> Option<Reader> {
        let Kind::Tokens(state) = &self.0.kind else { return None };
        Reader::of_token(self, state.token_of(session)?, Some(*session))
    }

    /// Who sent a request, by its `Authorization` or its session.
    fn who(&self, request: &ServiceRequest) -> Result<Reader, Problem> {
        if let Some(token) = bearer(request.headers()) {
            return self.0.door.present(Purpose::Read, token, origin(request), |hash| self.reader(hash)).into();
        }
        let session = request.cookie(login::COOKIE).map(|number| TokenHash::of(number.value().as_bytes()));
        session.and_then(|session| self.reader_of(&session)).ok_or_else(no_token)
    }
}

impl State {
    /// Opens a session for a reader, if their token is good until then: where it ends meanwhile, its sessions were closed
    /// before this one was there.
    fn open(&self, reader: &Reader, token: TokenHash) -> Result<Option<Opened>, NoRandomness> {
        let opened = lock(&self.sessions).open(token, Instant::now())?;
        if reader.check().is_ok() {
            return Ok(Some(opened));
        }
        lock(&self.sessions).close(&opened.number);
        Ok(None)
    }

    /// The token that a session was opened with, by the hash of its number, while it lasts.
    fn token_of(&self, session: &TokenHash) -> Option<TokenHash> {
        lock(&self.sessions).token(session, Instant::now())
    }

    /// The token of a request, if it is the one that alerts come with.
    fn alert_token(&self, request: &ServiceRequest, door: &Door) -> Result<TokenHash, Problem> {
        let token = bearer(request.headers()).ok_or_else(no_token)?;
        let good = |hash: &TokenHash| self.file.tokens().is_of_alerts(hash).then_some(*hash);
        door.present(Purpose::Alerts, token, origin(request), good).into()
    }
}

/// What tells where a request comes from.
fn origin(request: &ServiceRequest) -> (Option<SocketAddr>, &HeaderMap) {
    (request.peer_addr(), request.headers())
}

/// Middleware: lets through whom the path asks for, and leaves a [`Reader`] or an [`AlertSender`] for the handler. It
/// belongs within what gives requests their ids.
///
/// # Errors
/// 401 without a good token, 429 after too many wrong ones; a page leads to the login instead. 403 where everyone may
/// see everything and the request was sent under a name that is not this service's.
pub async fn guard(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let path = path(&request);
    if OPEN.contains(&path) || path.starts_with("/assets/") {
        return next.call(request).await.map(ServiceResponse::map_into_left_body);
    }
    let is_of_page = !path.starts_with("/api/") && path != observability::METRICS_PATH;
    match admit(&request) {
        Ok(()) => next.call(request).await.map(ServiceResponse::map_into_left_body),
        Err(problem) => {
            let is_of_page = is_of_page && problem.is(StatusCode::UNAUTHORIZED);
            let answer = if is_of_page { login::lead_to(&request) } else { problem.error_response() };
            Ok(request.into_response(answer).map_into_right_body())
        }
    }
}

/// The path as routes are matched with it: `%61` in an address is an `a` there.
fn path(request: &ServiceRequest) -> &str {
    request.match_info().as_str()
}

/// Leaves a reader on its request, and lets it speak for the projects that it may see: no one else does, in this
/// service's own lines and metrics.
fn leave(request: &ServiceRequest, reader: Reader) {
    let context = request.extensions().get::<RequestContext>().cloned();
    if let Some(context) = context {
        let reader = reader.clone();
        context.set_project_check(move |project| reader.claim(project));
    }
    request.extensions_mut().insert(reader);
}

/// Leaves on a request who sent it, or tells why it goes no further.
fn admit(request: &ServiceRequest) -> Result<(), Problem> {
    let access = request.app_data::<web::Data<Access>>().ok_or_else(no_token)?;
    let Inner { door, kind, .. } = &*access.0;
    if path(request) == observability::METRICS_PATH {
        return door.admit_scrape(request.peer_addr(), request.headers());
    }
    match kind {
        Kind::Tokens(state) if path(request) == ALERTS => {
            let token = Some(state.alert_token(request, door)?);
            request.extensions_mut().insert(AlertSender { access: Access::clone(access), token });
        }
        Kind::Tokens(_) => leave(request, access.who(request)?),
        Kind::Open => {
            door.check_name(request.headers())?;
            leave(request, Reader::everyone(access));
            request.extensions_mut().insert(AlertSender { access: Access::clone(access), token: None });
        }
    }
    Ok(())
}

/// A panic elsewhere leaves whole entries.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
