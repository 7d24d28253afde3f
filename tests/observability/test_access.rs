//! Who may see what: tokens, the page's login, and what happens to those who have none.

use std::net::SocketAddr;
use std::path::PathBuf;

use observability_tests::http::{self, Answer};
use observability_tests::program::Start;
use observability_tests::{port, wait};
use tempfile::TempDir;

use crate::rig::Backend;

pub(crate) const TOKEN_OF_ALL: &str = "a-token-that-sees-everything";
pub(crate) const TOKEN_OF_A: &str = "a-token-of-project-a-alone";
const TOKEN_OF_ALERTS: &str = "a-token-that-alerts-come-with";

/// A file of tokens in a folder of its own.
pub(crate) struct TokensFile {
    folder: TempDir,
}

impl TokensFile {
    pub(crate) fn new() -> Self {
        let file = Self { folder: tempfile::tempdir().unwrap() };
        file.write(&format!(
            "[[token]]\nname = \"all\"\ntoken = \"{TOKEN_OF_ALL}\"\nprojects = [\"*\"]\n\
             [[token]]\nname = \"only a\"\ntoken = \"{TOKEN_OF_A}\"\nprojects = [\"a\"]\n\
             [alerts]\ntoken = \"{TOKEN_OF_ALERTS}\"\n"
        ));
        file
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("tokens.toml")
    }

    /// Puts another text in its place in one step.
    pub(crate) fn write(&self, text: &str) {
        let new = self.folder.path().join("new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, self.path()).unwrap();
    }
}

fn start(tokens: &TokensFile) -> Backend {
    Backend::start(&[("TOKENS_FILE", tokens.path().to_str().unwrap())])
}

fn with_token(backend: &Backend, path: &str, token: &str) -> Answer {
    backend.get_with(path, &[("Authorization", &format!("Bearer {token}"))])
}

pub(crate) fn log_in(address: SocketAddr, token: &str, headers: &[(&str, &[u8])]) -> Answer {
    let mut all: Vec<(&str, &[u8])> = vec![("Content-Type", b"application/x-www-form-urlencoded")];
    all.extend_from_slice(headers);
    http::send(address, "POST", "/login", &all, format!("token={token}&next=%2Fsearch").as_bytes())
}

#[test]
fn only_health_and_metrics_are_there_for_everyone() {
    let tokens = TokensFile::new();
    let backend = start(&tokens);
    for path in ["/healthz", "/readyz", "/metrics", "/login"] {
        assert_eq!(backend.get(path).status, 200, "{path}");
    }
    for path in ["/api/requests/x", "/api/projects/a/logs", "/api/faults/status/200", "/api/nothing/here"] {
        let answer = backend.get(path);
        assert_eq!((answer.status, answer.header("www-authenticate")), (401, Some("Bearer")), "{path}");
        assert_eq!(answer.json()["request_id"], answer.request_id());
    }
    // A page leads to the login, and from there to where it was to go; a link of another site is followed once more, with
    // the cookie that a browser kept back.
    let answer = backend.get("/requests/a%2Fb?x=1");
    assert_eq!((answer.status, answer.header("location")), (303, Some("/login?next=%2Frequests%2Fa%252Fb%3Fx%3D1")));
    let answer = backend.get_with("/search", &[("Sec-Fetch-Site", "cross-site")]);
    assert!(answer.status == 200 && answer.text().contains("content=\"0;url=/search\""), "{}", answer.text());

    for (path, token, status) in [
        ("/api/requests/x", TOKEN_OF_ALL, 200),
        ("/api/requests/x", TOKEN_OF_A, 200),
        ("/api/nothing/here", TOKEN_OF_A, 404),
        ("/api/requests/x", TOKEN_OF_ALERTS, 401),
        ("/api/requests/x", "", 401),
    ] {
        assert_eq!(with_token(&backend, path, token).status, status, "{path} {token}");
    }
}

#[test]
fn alerts_come_with_a_token_of_their_own() {
    let tokens = TokensFile::new();
    let backend = start(&tokens);
    let send_to = |path: &str, token: Option<&str>| {
        let authorization = format!("Bearer {}", token.unwrap_or_default());
        let mut headers: Vec<(&str, &[u8])> = vec![("Content-Type", b"application/json")];
        if token.is_some() {
            headers.push(("Authorization", authorization.as_bytes()));
        }
        http::send(backend.address, "POST", path, &headers, br#"{"alerts":[]}"#).status
    };
    let send = |token: Option<&str>| send_to("/api/alerts", token);
    assert_eq!([send(Some(TOKEN_OF_ALERTS)), send(Some(TOKEN_OF_ALL)), send(None)], [200, 401, 401]);
    // However the path is written.
    for path in ["/api/aler%74s", "/%61pi/alerts", "/api/%61%6C%65%72%74%73"] {
        let statuses = [TOKEN_OF_ALL, TOKEN_OF_A].map(|token| send_to(path, Some(token)));
        assert_eq!((statuses, send_to(path, None)), ([401, 401], 401), "{path}");
        assert_eq!(send_to(path, Some(TOKEN_OF_ALERTS)), 200, "{path}");
        let session = log_in(backend.address, TOKEN_OF_ALL, &[]);
        let session = session.header("set-cookie").unwrap().split(';').next().unwrap().as_bytes();
        let headers: [(&str, &[u8]); 2] = [("Content-Type", b"application/json"), ("Cookie", session)];
        assert_eq!(http::send(backend.address, "POST", path, &headers, br#"{"alerts":[]}"#).status, 401, "{path}");
    }
}

#[test]
fn a_login_opens_a_session_and_a_logout_ends_it() {
    let tokens = TokensFile::new();
    let backend = start(&tokens);
    let answer = log_in(backend.address, TOKEN_OF_A, &[]);
    assert_eq!((answer.status, answer.header("location")), (303, Some("/search")));
    let cookie = answer.header("set-cookie").unwrap();
    for part in ["HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=43200"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert!(!cookie.contains("Secure") && !cookie.contains(TOKEN_OF_A), "{cookie}");
    let by_tls = log_in(backend.address, TOKEN_OF_A, &[("X-Forwarded-Proto", b"https")]);
    assert!(by_tls.header("set-cookie").unwrap().contains("Secure"));

    let session = cookie.split(';').next().unwrap();
    let with_session = |path: &str| backend.get_with(path, &[("Cookie", session)]).status;
    assert_eq!(with_session("/api/requests/x"), 200);
    let answer = http::send(backend.address, "POST", "/logout", &[("Cookie", session.as_bytes())], b"");
    assert!(answer.status == 303 && answer.header("set-cookie").unwrap().contains("Max-Age=0"));
    assert_eq!(with_session("/api/requests/x"), 401);

    // Neither a form nor a logout of another site does anything.
    let foreign: [(&str, &[u8]); 1] = [("Origin", b"http://evil.example")];
    let answer = log_in(backend.address, TOKEN_OF_A, &foreign);
    assert!(answer.status == 403 && answer.header("set-cookie").is_none());
    let with_both =
        [foreign[0], ("Cookie", by_tls.header("set-cookie").unwrap().split(';').next().unwrap().as_bytes())];
    assert_eq!(http::send(backend.address, "POST", "/logout", &with_both, b"").status, 403);
    for secret in [TOKEN_OF_A, session.split('=').nth(1).unwrap()] {
        assert!(!backend.program.stdout().contains(secret), "a secret is in the log");
    }
}

#[test]
fn wrong_tokens_are_counted_and_then_not_looked_at() {
    let tokens = TokensFile::new();
    let backend = start(&tokens);
    let status = |token: &str| with_token(&backend, "/api/requests/x", token).status;
    let statuses: Vec<_> = (0..20).map(|number| status(&format!("a-wrong-token-of-mine-{number}"))).collect();
    assert!(statuses.starts_with(&[401; 10]), "{statuses:?}");
    assert!(statuses.contains(&429), "{statuses:?}");
    // Whether a token is good is not said any more, but who is logged in goes on working.
    let answer = with_token(&backend, "/api/requests/x", TOKEN_OF_ALL);
    assert!(answer.status == 429 && answer.header("retry-after").is_some());
    let answer = log_in(backend.address, TOKEN_OF_ALL, &[]);
    assert!(answer.status == 429 && answer.header("retry-after").is_some());
    assert_eq!(backend.get("/healthz").status, 200);
}

#[test]
fn a_changed_file_of_tokens_holds_at_once_and_a_broken_one_does_not() {
    let tokens = TokensFile::new();
    let backend = start(&tokens);
    let session =
        log_in(backend.address, TOKEN_OF_A, &[]).header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    let old = |path: &str| backend.get_with(path, &[("Cookie", &session)]).status;
    assert_eq!(old("/api/requests/x"), 200);
    tokens.write("[[token]]\nname = \"new\"\ntoken = \"another-token-of-the-file\"\nprojects = [\"a\"]\n");
    wait::until("the file is read again", || (old("/api/requests/x") == 401).then_some(()));
    tokens.write("[[token]]\nname = 3\n");
    wait::until("the broken file is spoken of", || {
        let lines = backend.program.lines();
        assert_eq!(with_token(&backend, "/api/requests/x", "another-token-of-the-file").status, 200);
        lines.into_iter().find(|line| line["message"].as_str().unwrap().starts_with("the file of tokens can't be used"))
    });
}

#[test]
fn who_would_let_everyone_read_has_to_mean_it() {
    let everywhere = format!("0.0.0.0:{}", port::free_address().port());
    let mut refused = Start::program("backend").env("LISTEN", &everywhere).start();
    assert_eq!(refused.exit_code(), 2);
    let words = refused.stderr();
    assert!(words.contains("TOKENS_FILE") && words.contains("OPEN_LISTEN=1"), "{words}");

    let folder = tempfile::tempdir().unwrap();
    let broken = folder.path().join("tokens.toml");
    std::fs::write(&broken, "[[token]]\nname = \"n\"\ntoken = \"secret\"\nprojects = [\"*\"]\n").unwrap();
    for path in [broken, folder.path().join("nothing-here")] {
        let mut refused = Start::program("backend").env("TOKENS_FILE", &path).start();
        assert_eq!(refused.exit_code(), 2);
        assert!(refused.stderr().contains("TOKENS_FILE") && !refused.stderr().contains("secret"));
    }

    // A page elsewhere that lets its own name lead here reads nothing.
    let backend = Backend::start(&[]);

    assert_eq!(backend.get("/api/requests/x").status, 200);
    assert_eq!(foreign_host(&backend), 403);
}

/// The status of a request sent under another name.
fn foreign_host(backend: &Backend) -> u16 {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(backend.address).unwrap();
    stream.write_all(b"GET /api/requests/x HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}
