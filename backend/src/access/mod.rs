//! Who may see what. [`guard`] checks every request but those of [`PUBLIC_PATHS`] and leaves a [`Reader`] for the handler,
//! which reads the store through its [`View`]. A handler without the guard gets no reader, and a [`Scope`] is made and kept
//! nowhere else. In the same way, the handler that receives alerts needs an [`AlertSender`].
//!
//! In flow order: [`admission`] checks the [`host_names`], the client's address behind [`proxies`] and the [`throttle`] of
//! failed tokens; [`tokens_file`] holds the [`tokens`], and [`sessions`] are opened by a login. Lines that a reader may not see
//! are treated exactly as lines that do not exist: the scope is part of each query, so that neither the answer nor its
//! duration depends on them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::body::MessageBody;
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::http::header::HeaderMap;
use actix_web::middleware::Next;
use actix_web::{Error, FromRequest, HttpMessage as _, HttpRequest, ResponseError as _, web};
use observability::RequestContext;
use parking_lot::Mutex;
use store::Scope;

pub mod admission;
pub mod denial;
pub mod host_names;
mod known_projects;
pub mod proxies;
pub mod reader;
pub mod sessions;
pub mod throttle;
pub mod tokens;
pub mod tokens_file;

use admission::{Admission, TokenCheck, bearer};
pub use denial::Denial;
pub use known_projects::KNOWN_PROJECTS_MAX;
use known_projects::KnownProjects;
pub use reader::{Ended, ReadError, Reader, View};
use sessions::{NoRandomness, Opened, Sessions};
use throttle::Purpose;
use tokens::TokenHash;
pub use tokens_file::TokensFile;

/// Path of the login.
pub const LOGIN_PATH: &str = "/login";

/// Paths that need no token. Below `/assets/`, which needs none either, are only the pages' own files.
pub const PUBLIC_PATHS: [&str; 3] = ["/healthz", "/readyz", LOGIN_PATH];

/// Path that receives alerts, with a token of its own.
pub const ALERTS_PATH: &str = "/api/alerts";

/// Name of the session cookie.
pub const SESSION_COOKIE: &str = "explorer-session";

/// Tokens and sessions. A clone is cheap and shares them.
#[derive(Clone, Debug)]
pub struct Access(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    admission: Admission,
    kind: Kind,
    known_projects: KnownProjects,
}

#[derive(Debug)]
enum Kind {
    /// No tokens are configured: anyone who can reach the service reads everything.
    Open,
    Tokens(Box<State>),
}

#[derive(Debug)]
struct State {
    file: TokensFile,
    sessions: Arc<Mutex<Sessions>>,
}

/// The result of a login.
#[derive(Debug)]
pub enum Login {
    /// No tokens are configured.
    NotNeeded,
    /// The token is unknown.
    UnknownToken,
    /// The client failed too often; the next attempt is possible after this time.
    TooManyAttempts(Duration),
    /// A session was opened; this is its number, for the cookie.
    Opened(String),
}

/// The right to send alerts, which includes no right to read. Only [`guard`] makes one.
#[derive(Clone, Debug)]
pub struct AlertSender {
    access: Access,
    /// None if everyone may send them.
    token: Option<TokenHash>,
}

impl AlertSender {
    /// Checks the token again, after the request's body has arrived.
    ///
    /// # Errors
    /// The token was revoked meanwhile.
    pub fn check(&self) -> Result<(), Ended> {
        let is_valid = match (&self.access.0.kind, &self.token) {
            (Kind::Open, _) => true,
            (Kind::Tokens(_), None) => false,
            (Kind::Tokens(state), Some(token)) => state.file.tokens().is_alert_token(token),
        };
        if is_valid { Ok(()) } else { Err(Ended::Revoked) }
    }
}

impl FromRequest for AlertSender {
    type Error = Denial;
    type Future = std::future::Ready<Result<Self, Denial>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        std::future::ready(request.extensions().get::<Self>().cloned().ok_or(Denial::NoToken))
    }
}

impl Access {
    /// Access control with the tokens of a file. Without one, anyone who can reach the service reads everything.
    #[must_use]
    pub fn new(admission: Admission, tokens: Option<TokensFile>) -> Self {
        let kind = match tokens {
            Some(file) => Kind::Tokens(Box::new(State { sessions: file.sessions(), file })),
            None => Kind::Open,
        };
        Self(Arc::new(Inner { admission, kind, known_projects: KnownProjects::default() }))
    }

    /// Whether lines need a token and `/metrics`, which names projects, does not.
    #[must_use]
    pub fn shows_metrics_to_everyone(&self) -> bool {
        self.needs_tokens() && !self.0.admission.needs_metrics_token()
    }

    /// Whether tokens are configured.
    #[must_use]
    pub fn needs_tokens(&self) -> bool {
        matches!(self.0.kind, Kind::Tokens(_))
    }

    /// Opens a session for a token that was sent with these headers over a connection from a peer.
    ///
    /// # Errors
    /// The system's random number generator failed.
    pub fn log_in(&self, token: &[u8], origin: (Option<SocketAddr>, &HeaderMap)) -> Result<Login, NoRandomness> {
        let Kind::Tokens(state) = &self.0.kind else { return Ok(Login::NotNeeded) };
        let admission = &self.0.admission;
        let reader = match admission.check_token(Purpose::Read, token, origin, |hash| self.reader(hash)) {
            TokenCheck::Valid(reader) => reader,
            TokenCheck::Unknown => return Ok(Login::UnknownToken),
            TokenCheck::TooManyAttempts(wait) => return Ok(Login::TooManyAttempts(wait)),
        };
        let Some(token) = reader.token() else { return Ok(Login::NotNeeded) };
        let Some(Opened { number, ended_one }) = state.open(&reader, token)? else { return Ok(Login::UnknownToken) };
        ended_one.into_iter().for_each(|limit| admission.limits().count(limit));
        tracing::info!(name = reader.name(), "logged in");
        Ok(Login::Opened(number))
    }

    /// Ends a session by its number.
    pub fn log_out(&self, number: &str) {
        if let Kind::Tokens(state) = &self.0.kind {
            state.sessions.lock().close(number);
        }
    }

    /// What a token's holder may see now, and their name.
    fn granted(&self, token: &TokenHash) -> Option<(Arc<Scope>, Arc<str>)> {
        let Kind::Tokens(state) = &self.0.kind else { return None };
        let tokens = state.file.tokens();
        let holder = tokens.holder(token)?;
        Some((Arc::clone(&holder.scope), Arc::clone(&holder.name)))
    }

    /// The reader of a token.
    fn reader(&self, token: &TokenHash) -> Option<Reader> {
        Reader::with_token(self, *token, None)
    }

    /// The reader of a session, by the hash of its number.
    fn session_reader(&self, session: &TokenHash) -> Option<Reader> {
        let Kind::Tokens(state) = &self.0.kind else { return None };
        Reader::with_token(self, state.session_token(session)?, Some(*session))
    }

    /// The reader of a request, by its `Authorization` or its session.
    fn request_reader(&self, request: &ServiceRequest) -> Result<Reader, Denial> {
        if let Some(token) = bearer(request.headers()) {
            let admission = &self.0.admission;
            return admission.check_token(Purpose::Read, token, origin(request), |hash| self.reader(hash)).into();
        }
        let session = request.cookie(SESSION_COOKIE).map(|number| TokenHash::new(number.value().as_bytes()));
        session.and_then(|session| self.session_reader(&session)).ok_or(Denial::NoToken)
    }
}

impl State {
    /// Opens a session for a reader whose token is still valid once it is open: the sessions of a token that was revoked
    /// meanwhile were closed before this one existed.
    fn open(&self, reader: &Reader, token: TokenHash) -> Result<Option<Opened>, NoRandomness> {
        let opened = self.sessions.lock().open(token, Instant::now())?;
        if reader.check().is_ok() {
            return Ok(Some(opened));
        }
        self.sessions.lock().close(&opened.number);
        Ok(None)
    }

    /// The token of an open session, by the hash of the session's number.
    fn session_token(&self, session: &TokenHash) -> Option<TokenHash> {
        self.sessions.lock().token(session, Instant::now())
    }

    /// The token of a request, if it is the one for alerts.
    fn alert_token(&self, request: &ServiceRequest, admission: &Admission) -> Result<TokenHash, Denial> {
        let token = bearer(request.headers()).ok_or(Denial::NoToken)?;
        let holder = |hash: &TokenHash| self.file.tokens().is_alert_token(hash).then_some(*hash);
        admission.check_token(Purpose::Alerts, token, origin(request), holder).into()
    }
}

/// The peer and the headers of a request, which tell its client's address.
fn origin(request: &ServiceRequest) -> (Option<SocketAddr>, &HeaderMap) {
    (request.peer_addr(), request.headers())
}

/// Middleware: admits requests and leaves a [`Reader`] or an [`AlertSender`] for the handler, or answers with a [`Denial`]. It
/// belongs inside of what gives requests their IDs.
///
/// # Errors
/// Those of the wrapped service.
pub async fn guard(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let path = path(&request);
    if PUBLIC_PATHS.contains(&path) || path.starts_with("/assets/") {
        return next.call(request).await.map(ServiceResponse::map_into_left_body);
    }
    match admit(&request) {
        Ok(()) => next.call(request).await.map(ServiceResponse::map_into_left_body),
        Err(denial) => Ok(request.into_response(denial.error_response()).map_into_right_body()),
    }
}

/// The path that routes are matched with, after percent-decoding.
fn path(request: &ServiceRequest) -> &str {
    request.match_info().as_str()
}

/// Leaves a reader on its request, and lets the request claim only projects that the reader may see.
fn leave(request: &ServiceRequest, reader: Reader) {
    let context = request.extensions().get::<RequestContext>().cloned();
    if let Some(context) = context {
        let reader = reader.clone();
        context.set_project_check(move |project| reader.claim(project));
    }
    request.extensions_mut().insert(reader);
}

/// Leaves on a request who sent it.
fn admit(request: &ServiceRequest) -> Result<(), Denial> {
    let access = request.app_data::<web::Data<Access>>().ok_or(Denial::NoToken)?;
    let Inner { admission, kind, .. } = &*access.0;
    if path(request) == observability::METRICS_PATH {
        return admission.check_scrape(request.peer_addr(), request.headers());
    }
    match kind {
        Kind::Tokens(state) if path(request) == ALERTS_PATH => {
            let token = Some(state.alert_token(request, admission)?);
            request.extensions_mut().insert(AlertSender { access: Access::clone(access), token });
        }
        Kind::Tokens(_) => leave(request, access.request_reader(request)?),
        Kind::Open => {
            admission.check_host(request.headers())?;
            leave(request, Reader::everyone(access));
            request.extensions_mut().insert(AlertSender { access: Access::clone(access), token: None });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
