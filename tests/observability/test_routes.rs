//! Requirements for every route: common response headers, `HEAD` wherever there is `GET`, and `Allow` on each 405. The
//! routes are read from the source, so that new ones are included.

use std::collections::BTreeSet;

use observability_tests::http::{self, Answer};
use observability_tests::schema::repository;

use crate::rig::Backend;
use crate::test_access::{TOKEN_OF_ALL, TokensFile};

/// A route with its path parameters filled in, and its methods.
struct Route {
    path: String,
    methods: BTreeSet<String>,
}

/// Every route of `backend/src/app.rs`, and the library's.
fn routes() -> Vec<Route> {
    let app = std::fs::read_to_string(repository().join("backend/src/app.rs")).unwrap();
    let mut routes = vec![route("/metrics", "READS"), route("/login", "FORM")];
    for rest in app.split("(resource(\"").chain(app.split("\n            resource(\"")).skip(1) {
        let Some((path, rest)) = rest.split_once("\", ") else { continue };
        if path.starts_with('/') && !path.contains('\n') {
            routes.push(route(path, rest.split_once(')').unwrap().0));
        }
    }
    // fault injection routes that accept any method use `web::resource`
    let paths = |before: &str| -> BTreeSet<_> {
        app.split(before).skip(1).map(|rest| rest.split('"').next().unwrap().to_owned()).collect()
    };
    let found = paths("resource(\"").len() - paths("web::resource(\"").len();
    let listed: BTreeSet<_> = routes.iter().map(|route| route.path.as_str()).collect();
    assert_eq!(listed.len(), found + 2, "a route is missing: {listed:?}");
    routes
}

fn route(path: &str, methods: &str) -> Route {
    let methods: &[&str] = match methods {
        "READS" => &["GET", "HEAD"],
        "TAKES" => &["POST"],
        "FORM" => &["GET", "HEAD", "POST"],
        other => panic!("{path}: {other}"),
    };
    let path = path.replace("{generation}", "0193a1b2c3d4e5f60718293a4b5c6d7e").replace("{offset}", "0");
    let path = path.replace("{request_id}", "r-1").replace("{project_id}", "a").replace("{name}", "none.css");
    let path = path.replace("{delay_ms}", "1");
    Route { path, methods: methods.iter().map(|method| (*method).to_owned()).collect() }
}

#[track_caller]
fn check_headers(what: &str, answer: &Answer) {
    for (name, value) in [("cache-control", "no-store"), ("x-content-type-options", "nosniff")] {
        assert_eq!(answer.header(name), Some(value), "{what}: {} {:?}", answer.status, answer.headers);
    }
    let vary = answer.header("vary").unwrap_or_default();
    assert!(["Accept", "Authorization", "Cookie"].iter().all(|name| vary.contains(name)), "{what}: {vary}");
}

/// Sends `HEAD` and checks that the response has no body, whatever its `Content-Length`.
fn head(backend: &Backend, path: &str, headers: &[(&str, &[u8])]) -> Answer {
    use std::io::Read as _;
    let mut text = Vec::new();
    http::open(backend.address, "HEAD", path, headers, b"").unwrap().read_to_end(&mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    assert!(text.ends_with("\r\n\r\n"), "HEAD {path} has a body: {text}");
    let mut lines = text.trim_end().lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers = lines.filter_map(|line| line.split_once(':'));
    let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect();
    Answer { status, headers, body: Vec::new() }
}

#[test]
fn every_route_has_the_common_headers_accepts_head_for_get_and_lists_its_methods() {
    let tokens = TokensFile::new();
    let authorization = format!("Bearer {TOKEN_OF_ALL}");
    let with_tokens = Backend::start(&[("TOKENS_FILE", tokens.path().to_str().unwrap())]);
    let token: (&str, &[u8]) = ("Authorization", authorization.as_bytes());
    for (backend, headers) in [(&Backend::start(&[]), &[][..]), (&with_tokens, &[token][..])] {
        for Route { path, methods } in routes() {
            for method in ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW"] {
                // an endless response is checked by its head
                if (method, path.as_str()) == ("GET", "/api/tail") {
                    continue;
                }
                let alert: (&str, &[u8]) = ("Authorization", b"Bearer a-token-that-alerts-come-with");
                let headers = if path == "/api/alerts" && !headers.is_empty() { &[alert][..] } else { headers };
                let answer = http::send(backend.address, method, &path, headers, b"");
                let what = format!("{method} {path}");
                check_headers(&what, &answer);
                if methods.contains(method) {
                    assert_ne!(answer.status, 405, "{what}");
                    continue;
                }
                assert_eq!(answer.status, 405, "{what}");
                let allow: BTreeSet<_> =
                    answer.header("allow").unwrap().split(',').map(|method| method.trim().to_owned()).collect();
                assert_eq!(allow, methods, "{what}");
            }
            if methods.contains("GET") {
                let by_head = head(backend, &path, headers);
                check_headers(&format!("HEAD {path}"), &by_head);
                if path != "/api/tail" {
                    let by_get = http::get_with(backend.address, &path, headers);
                    assert_eq!(by_head.status, by_get.status, "HEAD {path}");
                    assert_eq!(by_head.header("content-type"), by_get.header("content-type"), "HEAD {path}");
                }
            }
        }
        // unknown routes and rejected requests
        check_headers("nothing", &backend.get("/api/nothing"));
        check_headers("nothing", &backend.get_with("/nothing", &[("Accept", "text/html")]));
        check_headers("a stream", &backend.get_with("/api/logs", &[("Accept", "application/x-ndjson")]));
    }
    check_headers("no token", &with_tokens.get("/api/logs"));
    check_headers("no session", &with_tokens.get("/search"));
    let style = with_tokens.get("/login").text().split("href=\"/assets/").nth(1).unwrap().to_owned();
    let style = with_tokens.get(&format!("/assets/{}", style.split('"').next().unwrap()));
    assert_eq!((style.status, style.header("x-content-type-options")), (200, Some("nosniff")));
    assert!(style.header("cache-control").unwrap().contains("immutable"));
}

#[test]
fn head_of_a_tail_uses_no_capacity_and_is_counted_as_head() {
    let backend = Backend::start(&[]);
    for _ in 0..100 {
        assert_eq!(head(&backend, "/api/tail", &[]).status, 200);
    }
    let labels = [("endpoint", "/api/tail"), ("method", "HEAD"), ("status", "200")];
    backend.scrape_until("request_count", &labels, 100.0);
    assert_eq!(backend.scrape().metric("limits_reached_total", &[("limit", "tails")]), 0.0);
}
