//! Access control: tokens, the login, and requests without either.

use std::net::SocketAddr;
use std::path::PathBuf;

use observability_tests::http::{self, Answer};
use observability_tests::program::Start;
use observability_tests::{port, wait};
use tempfile::TempDir;

use crate::rig::Backend;
use crate::test_store::TestStore;

pub(crate) const TOKEN_OF_ALL: &str = "a-token-that-sees-everything";
pub(crate) const TOKEN_OF_A: &str = "a-token-of-project-a-alone";
const TOKEN_OF_ALERTS: &str = "a-token-that-alerts-come-with";

/// A tokens file in a directory of its own.
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

    /// Replaces the file atomically.
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
fn without_tokens_what_callers_invent_leaves_projects_with_lines_their_label_sets() {
    let store = TestStore::embedded();
    let state = tempfile::tempdir().unwrap();
    let lines = state.path().join("lines");
    let line = |service: &str, project: &str| {
        format!(
            r#"{{"timestamp":"2026-11-23T12:00:00.000Z","service":"{service}","level":"info","message":"m","request_id":null,"project_id":"{project}"}}"#
        )
    };
    let text =
        [line("shop", "real"), line("backend", "own"), line("backend", "both"), line("shop", "both")].join("\n") + "\n";
    std::fs::write(&lines, text).unwrap();
    let shipped = store.shipper("run", &state.path().join("state"));
    assert!(shipped.args(["--until-idle", "--file", lines.to_str().unwrap()]).start().wait().success());
    let backend = Backend::start(&[("STORE", &store.target()), ("METRICS_LABEL_SETS", "64"), ("RUST_LOG", "warn")]);
    for n in 0..200 {
        let invented = format!("invented-{n}");
        backend.get_with("/api/facets", &[("X-Project-Id", &invented)]);
        backend.get(&format!("/api/projects/{invented}/logs"));
        backend.get_with("/nowhere", &[("X-Project-Id", &invented)]);
    }
    for project in ["real", "both", "own"] {
        assert_eq!(backend.get(&format!("/api/projects/{project}/logs")).json()["lines"][0]["project_id"], project);
        backend.get_with("/api/stats", &[("X-Project-Id", project)]);
    }
    let scrape = backend.scrape();
    assert!(scrape.metric("label_sets_folded_total", &[]) > 100.0);
    // Lines of this service itself don't make a project known.
    for (project, requests) in [("real", 2.0), ("both", 2.0), ("own", 0.0)] {
        assert_eq!(scrape.metric("request_count", &[("project_id", project)]), requests, "{project}");
    }
    assert_eq!(scrape.metric("ids_ignored_total", &[("id", "project_id"), ("reason", "unmatched")]), 200.0);
}

#[test]
fn what_callers_invent_takes_no_label_set_and_gets_into_no_projects_lines() {
    let tokens = TokensFile::new();
    let path = tokens.path();
    let backend =
        Backend::start(&[("TOKENS_FILE", path.to_str().unwrap()), ("METRICS_LABEL_SETS", "64"), ("RUST_LOG", "info")]);
    let of_a = format!("Bearer {TOKEN_OF_A}");
    for n in 0..200 {
        let invented = format!("invented-{n}");
        // without a token, and with one that may not claim the project
        backend.get_with("/login", &[("X-Project-Id", &invented)]);
        backend.get_with(&format!("/api/projects/{invented}/logs"), &[("X-Project-Id", &invented)]);
        backend.get_with("/api/requests/x", &[("X-Project-Id", &invented), ("Authorization", &of_a)]);
        backend.get_with(&format!("/api/projects/{invented}/logs"), &[("Authorization", &of_a)]);
    }
    let scrape = backend.scrape_until("request_count", &[], 800.0);
    let projects: Vec<_> = scrape.label_values("request_count", "project_id").into_iter().collect();
    assert_eq!(projects, ["none"]);
    assert_eq!(scrape.metric("label_sets_folded_total", &[]), 0.0);
    // with a token that may claim any project
    for n in 0..200 {
        let headers = [("X-Project-Id", format!("any-{n}")), ("Authorization", format!("Bearer {TOKEN_OF_ALL}"))];
        backend.get_with("/api/requests/x", &headers.each_ref().map(|(name, value)| (*name, value.as_str())));
    }
    let scrape = backend.scrape_until("request_count", &[], 1_000.0);
    assert!(scrape.metric("label_sets_folded_total", &[]) > 100.0);
    backend.get_with("/api/requests/x", &[("X-Project-Id", "a"), ("Authorization", &of_a), ("X-Request-Id", "last")]);
    backend.scrape_until("request_count", &[("project_id", "a")], 1.0);
    assert_eq!(backend.access_line("last")["project_id"], "a");
    let lines = backend.program.lines();
    let invented = lines.iter().filter(|line| line["project_id"].as_str().is_some_and(|id| id.starts_with("invented")));
    assert_eq!(invented.count(), 0);
}

#[test]
fn at_the_edge_a_callers_request_id_is_not_kept() {
    let backend = Backend::start(&[("TRUST_REQUEST_ID", "0")]);
    let answer = backend.get_with("/api/requests/x", &[("X-Request-Id", "made-up")]);
    assert_ne!(answer.request_id(), "made-up");
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
    // A page redirects to the login, which returns to the page. A link on another site is repeated from this site
    // first, so that the browser sends the cookie.
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
    // However the path is encoded.
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

    // Forms and logouts of other sites are rejected.
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
    // Tokens are no longer checked, but sessions go on.
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
        lines.into_iter().find(|line| line["message"].as_str().unwrap().starts_with("tokens file can't be used"))
    });
}

#[test]
fn who_would_let_everyone_read_has_to_mean_it() {
    let everywhere = format!("0.0.0.0:{}", port::free_address().port());
    let mut refused = Start::program("backend").env("LISTEN", &everywhere).start();
    assert_eq!(refused.exit_code(), 2);
    let words = refused.stderr();
    assert!(words.contains("TOKENS_FILE") && words.contains("OPEN_LISTEN=1"), "{words}");
    let mut refused = Start::program("backend").env("ADMIN_LISTEN", &everywhere).start();
    assert_eq!(refused.exit_code(), 2);
    assert!(refused.stderr().contains("ADMIN_LISTEN"));

    let folder = tempfile::tempdir().unwrap();
    let broken = folder.path().join("tokens.toml");
    std::fs::write(&broken, "[[token]]\nname = \"n\"\ntoken = \"secret\"\nprojects = [\"*\"]\n").unwrap();
    for path in [broken, folder.path().join("nothing-here")] {
        let mut refused = Start::program("backend").env("TOKENS_FILE", &path).start();
        assert_eq!(refused.exit_code(), 2);
        assert!(refused.stderr().contains("TOKENS_FILE") && !refused.stderr().contains("secret"));
    }
}

#[test]
fn a_page_elsewhere_that_lets_its_own_name_lead_here_reads_nothing() {
    let open = Backend::start(&[]);
    let named = Backend::start(&[("ALLOWED_HOSTS", "backend, Logs.Example"), ("PUBLIC_URL", "https://public.example")]);
    let host = |backend: &Backend, path: &str, host: &str| backend.get_with(path, &[("Host", host)]).status;
    for path in ["/api/requests/x", "/metrics", "/search", "/%6Detrics", "/api/tail"] {
        for other in ["evil.example", "ai", "ai.", "backend:8000", "logs.example", "127.0.0.1.evil.example", ""] {
            assert_eq!(host(&open, path, other), 403, "{path} {other}");
        }
        assert_eq!(host(&named, path, "evil.example"), 403, "{path}");
    }
    for path in ["/api/requests/x", "/metrics", "/search"] {
        for own in ["localhost:8000", "LOCALHOST", "a.localhost", "127.0.0.1", "[::1]:8000", "10.1.2.3"] {
            assert_eq!(host(&open, path, own), 200, "{path} {own}");
        }
        for own in ["backend:8000", "logs.example.", "public.example:8443"] {
            assert_eq!(host(&named, path, own), 200, "{path} {own}");
        }
    }
    assert_eq!(host(&open, "/healthz", "evil.example"), 200);
}

#[test]
fn metrics_ask_for_a_token_where_there_is_one_and_a_start_without_warns() {
    let tokens = TokensFile::new();
    let path = tokens.path();
    let of_tokens = ("TOKENS_FILE", path.to_str().unwrap());
    let warns = |backend: &Backend| backend.program.stdout().contains("set METRICS_TOKEN or ADMIN_LISTEN");
    let backend = Backend::start(&[of_tokens]);
    assert!(backend.get("/metrics").status == 200 && warns(&backend));
    assert!(!warns(&Backend::start(&[])), "everyone may see everything anyway");

    let token = ("METRICS_TOKEN", "a-token-that-scrapes-come-with");
    for variables in [&[token][..], &[token, of_tokens]] {
        let backend = Backend::start(variables);
        assert!(!warns(&backend));
        let refused = backend.get("/metrics");
        assert_eq!((refused.status, refused.header("www-authenticate")), (401, Some("Bearer")));
        assert!(refused.json()["detail"].as_str().unwrap().contains("METRICS_TOKEN"), "{}", refused.text());
        for (presented, status) in [(token.1, 200), (TOKEN_OF_ALL, 401), (TOKEN_OF_ALERTS, 401), ("", 401)] {
            assert_eq!(with_token(&backend, "/metrics", presented).status, status, "{presented}");
        }
        // It permits nothing else.
        let status = with_token(&backend, "/api/requests/x", token.1).status;
        assert_eq!(status, if variables.len() == 1 { 200 } else { 401 });
        assert!(!backend.program.stdout().contains(token.1));
    }
}

#[test]
fn wrong_tokens_behind_a_proxy_lock_out_who_sent_them_and_nobody_else() {
    let tokens = TokensFile::new();
    let path = tokens.path();
    let variables = [("TOKENS_FILE", path.to_str().unwrap()), ("TRUSTED_PROXIES", "127.0.0.0/8, 10.0.0.0/8")];
    let backend = Backend::start(&variables);
    let status = |token: &str, forwarded: &[&str]| {
        let authorization = format!("Bearer {token}");
        let mut headers = vec![("Authorization", authorization.as_str())];
        headers.extend(forwarded.iter().map(|entry| ("X-Forwarded-For", *entry)));
        backend.get_with("/api/requests/x", &headers).status
    };
    // Claims of the client to the left of its address don't matter.
    for number in 0..20 {
        status("a-wrong-token-of-mine", &[&format!("198.51.100.{number}, 192.0.2.1"), "10.0.0.7"]);
    }
    assert_eq!(status(TOKEN_OF_ALL, &["192.0.2.1"]), 429);
    assert_eq!(status(TOKEN_OF_ALL, &["192.0.2.1:4711, 10.0.0.9"]), 429);
    assert_eq!(status(TOKEN_OF_ALL, &["::ffff:192.0.2.1"]), 429);
    assert_eq!(status(TOKEN_OF_ALL, &["192.0.2.2"]), 200);
    assert_eq!(status(TOKEN_OF_ALL, &["192.0.2.1, 192.0.2.2"]), 200);
    assert_eq!(status(TOKEN_OF_ALL, &["198.51.100.3"]), 200, "what a client claims locks out nobody");
    assert_eq!(status(TOKEN_OF_ALL, &[]), 200);
    assert!(backend.scrape().metric("limits_reached_total", &[("limit", "wrong_tokens")]) >= 3.0);
    let alerts = |forwarded: &[u8]| {
        let authorization = format!("Bearer {TOKEN_OF_ALERTS}");
        let headers: [(&str, &[u8]); 3] = [
            ("Content-Type", b"application/json"),
            ("Authorization", authorization.as_bytes()),
            ("X-Forwarded-For", forwarded),
        ];
        http::send(backend.address, "POST", "/api/alerts", &headers, br#"{"alerts":[]}"#).status
    };
    assert_eq!([alerts(b"192.0.2.9"), alerts(b"192.0.2.1")], [200, 200], "alerts are another matter");

    // No proxy is trusted by default: the proxy is one client.
    let backend = Backend::start(&variables[..1]);
    for number in 0..20 {
        let forwarded = format!("192.0.2.{number}");
        backend.get_with("/api/requests/x", &[("Authorization", "Bearer wrong"), ("X-Forwarded-For", &forwarded)]);
    }
    assert_eq!(with_token(&backend, "/api/requests/x", TOKEN_OF_ALL).status, 429);
}

#[test]
fn a_token_with_many_sessions_logs_out_only_its_own() {
    let tokens = TokensFile::new();
    let backend = start(&tokens);
    let log_in = |token: &str| {
        let answer = log_in(backend.address, token, &[]);
        answer.header("set-cookie").unwrap().split(';').next().unwrap().to_owned()
    };
    let is_in = |session: &str| backend.get_with("/api/requests/x", &[("Cookie", session)]).status == 200;
    let (of_all, first, second) = (log_in(TOKEN_OF_ALL), log_in(TOKEN_OF_A), log_in(TOKEN_OF_A));
    (0..99).for_each(|_| drop(log_in(TOKEN_OF_A)));
    assert_eq!((is_in(&of_all), is_in(&first), is_in(&second)), (true, false, true));
    backend.scrape_until("limits_reached_total", &[("limit", "sessions_per_token")], 1.0);
}
