//! Who may see what. Each request but those of [`OPEN`] passes [`guard`], which finds out who asks and leaves a
//! [`Reader`]; a handler that reads takes it as an argument, since the store asks for its scope. A handler that the guard
//! did not let through gets no reader, and no scope is made anywhere else. So it is with the [`AlertSender`] of the handler
//! that takes alerts: whatever the guard took a path for, a handler runs only with what the guard left for it.
//!
//! In flow order: the file of [`tokens`], [`sessions`] of the page and their [`login`], the [`throttle`] of wrong tokens, and
//! the [`name`] that a request was sent to. What may not be seen is answered exactly as what is not there: the scope is
//! part of the question that the store is asked, so that neither answer nor time tells of what lies outside of it.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use actix_web::body::MessageBody;
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::{AUTHORIZATION, HeaderMap};
use actix_web::middleware::Next;
use actix_web::{Error, FromRequest, HttpMessage as _, HttpRequest, ResponseError as _, web};
use observability::{ProjectClaim, RequestContext};
use store::Scope;

use crate::problem::Problem;

pub mod login;
pub mod name;
pub mod sessions;
pub mod throttle;
pub mod tokens;

use sessions::Sessions;
use throttle::Throttle;
use tokens::{TOKEN_MAX_BYTES, TokenHash, Tokens, TokensError};

/// Paths that ask for no token; below `/assets/` there is nothing but the page's own files.
pub const OPEN: [&str; 4] = ["/healthz", "/readyz", observability::METRICS_PATH, login::PATH];

/// Where alerts come in, with a token of their own.
pub const ALERTS: &str = "/api/alerts";

/// The file of tokens is looked at again when the last look is older than this.
pub const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What is known of tokens and sessions. A copy is cheap and the same.
#[derive(Clone, Debug)]
pub struct Access(Arc<Kind>);

#[derive(Debug)]
enum Kind {
    /// There is no file of tokens: who reaches the service may see everything.
    Open,
    Tokens(Box<State>),
}

#[derive(Debug)]
struct State {
    path: PathBuf,
    file: Mutex<Loaded>,
    sessions: Mutex<Sessions>,
    throttle: Mutex<Throttle>,
}

#[derive(Debug)]
struct Loaded {
    tokens: Arc<Tokens>,
    stamp: Option<Stamp>,
    looked: Instant,
}

/// What changes when a file does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    bytes: u64,
    changed: (i64, i64),
    inode: u64,
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        use std::os::unix::fs::MetadataExt as _;
        let of = std::fs::metadata(path).ok()?;
        let changed = (of.ctime(), of.ctime_nsec());
        Some(Self { modified: of.modified().ok(), bytes: of.len(), changed, inode: of.ino() })
    }
}

/// Who asks. Only [`guard`] makes one.
#[derive(Clone, Debug)]
pub struct Reader {
    scope: Scope,
    name: Option<String>,
    token: Option<TokenHash>,
    /// The session that the token was taken from.
    session: Option<TokenHash>,
}

impl Reader {
    /// What they may see.
    #[must_use]
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// The name of their token; none where everyone may see everything.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }
}

impl FromRequest for Reader {
    type Error = Problem;
    type Future = std::future::Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        std::future::ready(request.extensions().get::<Self>().cloned().ok_or_else(no_token))
    }
}

/// Who may send alerts, and reads nothing by that. Only [`guard`] makes one.
#[derive(Clone, Copy, Debug)]
pub struct AlertSender(());

impl FromRequest for AlertSender {
    type Error = Problem;
    type Future = std::future::Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        std::future::ready(request.extensions().get::<Self>().copied().ok_or_else(no_token))
    }
}

/// What became of a token that was presented.
enum Presented<T> {
    Good(T),
    Wrong,
    /// There were too many wrong ones; the next is looked at after so long.
    TooMany(Duration),
}

impl<T> From<Presented<T>> for Result<T, Problem> {
    fn from(presented: Presented<T>) -> Self {
        match presented {
            Presented::Good(who) => Ok(who),
            Presented::Wrong => Err(no_token()),
            Presented::TooMany(wait) => Err(too_many(wait)),
        }
    }
}

impl Access {
    /// Everyone who reaches the service may see everything.
    #[must_use]
    pub fn open() -> Self {
        Self(Arc::new(Kind::Open))
    }

    /// The tokens of a file, which is read again when it changes. While it can't be used, what it said before holds.
    ///
    /// # Errors
    /// It can't be used now.
    pub fn from_file(path: &Path) -> Result<Self, TokensError> {
        let stamp = Stamp::of(path);
        let tokens = Arc::new(Tokens::read(path)?);
        let file = Mutex::new(Loaded { tokens, stamp, looked: Instant::now() });
        let state = State { path: path.to_owned(), file, sessions: Mutex::default(), throttle: Mutex::default() };
        Ok(Self(Arc::new(Kind::Tokens(Box::new(state)))))
    }

    /// Whether tokens are asked for.
    #[must_use]
    pub fn asks_for_tokens(&self) -> bool {
        matches!(*self.0, Kind::Tokens(_))
    }

    /// What a reader may see now, for what goes on after its request was let in; none when its token is good no more, or
    /// its session has ended.
    #[must_use]
    pub fn renewed(&self, reader: &Reader) -> Option<Reader> {
        match (&*self.0, &reader.session, &reader.token) {
            (Kind::Open, ..) => Some(reader.clone()),
            (Kind::Tokens(state), Some(session), _) => state.reader_of(session),
            (Kind::Tokens(state), None, Some(token)) => state.reader(token),
            (Kind::Tokens(_), None, None) => None,
        }
    }
}

impl State {
    /// The tokens as the file has them.
    fn tokens(&self) -> Arc<Tokens> {
        let mut file = lock(&self.file);
        if file.looked.elapsed() >= LOOK_EVERY {
            file.looked = Instant::now();
            let stamp = Stamp::of(&self.path);
            if stamp != file.stamp {
                file.stamp = stamp;
                match Tokens::read(&self.path) {
                    Ok(tokens) => {
                        tracing::info!(tokens = tokens.len(), "the file of tokens was read again");
                        file.tokens = Arc::new(tokens);
                    }
                    Err(error) => {
                        tracing::error!(%error, "the file of tokens can't be used; what it said before holds");
                    }
                }
            }
        }
        file.tokens.clone()
    }

    fn reader(&self, token: &TokenHash) -> Option<Reader> {
        let tokens = self.tokens();
        let holder = tokens.holder(token)?;
        let (scope, name) = (holder.scope.clone(), Some(holder.name.clone()));
        Some(Reader { scope, name, token: Some(*token), session: None })
    }

    /// The reader of a session, by the hash of its number.
    fn reader_of(&self, session: &TokenHash) -> Option<Reader> {
        let token = lock(&self.sessions).token(session, Instant::now())?;
        Some(Reader { session: Some(*session), ..self.reader(&token)? })
    }

    /// Judges a token that a client presented.
    fn present<T>(&self, token: &[u8], client: IpAddr, good: impl Fn(&TokenHash) -> Option<T>) -> Presented<T> {
        let now = Instant::now();
        if let Some(wait) = lock(&self.throttle).wait(client, now) {
            return Presented::TooMany(wait);
        }
        let hash = TokenHash::of(&token[..token.len().min(TOKEN_MAX_BYTES + 1)]);
        match good(&hash) {
            Some(who) => Presented::Good(who),
            None => {
                lock(&self.throttle).fail(client, now);
                tracing::warn!(%client, "a wrong token was presented");
                Presented::Wrong
            }
        }
    }

    /// Who sent a request, by its `Authorization` or its session.
    fn who(&self, request: &ServiceRequest) -> Result<Reader, Problem> {
        if let Some(token) = bearer(request.headers()) {
            return self.present(token, client(request.peer_addr()), |hash| self.reader(hash)).into();
        }
        let session = request.cookie(login::COOKIE).map(|number| TokenHash::of(number.value().as_bytes()));
        session.and_then(|session| self.reader_of(&session)).ok_or_else(no_token)
    }

    /// Whether a request has the token that alerts come with.
    fn alert_sender(&self, request: &ServiceRequest) -> Result<AlertSender, Problem> {
        let token = bearer(request.headers()).ok_or_else(no_token)?;
        let good = |hash: &TokenHash| self.tokens().is_of_alerts(hash).then_some(AlertSender(()));
        self.present(token, client(request.peer_addr()), good).into()
    }
}

/// Middleware: lets through whom the path asks for, and leaves a [`Reader`] or an [`AlertSender`] for the handler. It
/// belongs within what gives requests their ids.
///
/// # Errors
/// 401 without a good token, 429 after too many wrong ones; a page leads to the login instead. 403 where everyone may
/// see everything and the request was sent under a name that anyone could have made up.
pub async fn guard(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let path = path(&request);
    if OPEN.contains(&path) || path.starts_with("/assets/") {
        return next.call(request).await.map(ServiceResponse::map_into_left_body);
    }
    let is_of_page = !path.starts_with("/api/");
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
/// service's own lines and metrics. A project is known to exist only where a token names it.
fn leave(request: &ServiceRequest, reader: Reader) {
    let context = request.extensions().get::<RequestContext>().cloned();
    if let Some(context) = context {
        let scope = reader.scope.clone();
        context.set_project_check(move |project| match &scope {
            Scope::All => ProjectClaim::Unverified,
            scope if scope.sees(Some(project)) => ProjectClaim::Verified,
            Scope::Projects(_) => ProjectClaim::Refused,
        });
    }
    request.extensions_mut().insert(reader);
}

/// Leaves on a request who sent it, or tells why it goes no further.
fn admit(request: &ServiceRequest) -> Result<(), Problem> {
    let access = request.app_data::<web::Data<Access>>().ok_or_else(no_token)?;
    match &*access.0 {
        Kind::Tokens(state) if path(request) == ALERTS => {
            let sender = state.alert_sender(request)?;
            request.extensions_mut().insert(sender);
        }
        Kind::Tokens(state) => {
            let reader = state.who(request)?;
            leave(request, reader);
        }
        Kind::Open if name::is_own(request.headers()) => {
            leave(request, Reader { scope: Scope::All, name: None, token: None, session: None });
            request.extensions_mut().insert(AlertSender(()));
        }
        Kind::Open => {
            let detail = "without tokens this service answers under an address, localhost or a name without a dot only; \
                          set TOKENS_FILE to serve it under other names";
            return Err(Problem::new(StatusCode::FORBIDDEN, detail));
        }
    }
    Ok(())
}

/// The token of an `Authorization: Bearer` header.
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii())
}

/// Where a connection comes from. What a proxy says of it is not believed: anyone could say it.
fn client(peer: Option<std::net::SocketAddr>) -> IpAddr {
    peer.map_or(IpAddr::from([0, 0, 0, 0]), |peer| peer.ip())
}

fn no_token() -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, "send a token of the service's TOKENS_FILE: Authorization: Bearer TOKEN")
}

fn too_many(wait: Duration) -> Problem {
    let seconds = wait.as_secs() + 1;
    let detail = format!("too many wrong tokens came from your address; try again in {seconds} s");
    Problem::new(StatusCode::TOO_MANY_REQUESTS, detail).retry_after(seconds)
}

/// A panic elsewhere leaves whole entries.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    #[test]
    fn a_bearer_is_read_whatever_its_case() {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, HeaderValue::from_static("bearer  abc "));
        assert_eq!(bearer(&headers), Some(b"abc".as_slice()));
        headers.insert(AUTHORIZATION, HeaderValue::from_static("Basic abc"));
        assert_eq!(bearer(&headers), None);
    }
}
