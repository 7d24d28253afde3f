//! The request id: a valid one is kept, another one replaced, and it is in every response and log line of the request.

use std::collections::BTreeSet;

use observability_tests::{http, lines, wait};
use uuid::{Uuid, Version};

use crate::rig::{Backend, fault, start_relay};

const EVERY_CHARACTER: &str = "AZaz09._-:/+=";

#[track_caller]
fn assert_generated(id: &str) {
    let uuid = Uuid::try_parse(id).unwrap_or_else(|error| panic!("{id}: {error}"));
    assert_eq!(uuid.get_version(), Some(Version::Random), "{id}");
    assert_eq!(uuid.hyphenated().to_string(), id);
}

#[test]
fn a_valid_id_is_kept() {
    let backend = Backend::start(&[]);
    for id in ["x", EVERY_CHARACTER, &"0123456789abcdef".repeat(8)] {
        let answer = backend.get_with("/api/projects/p-1/logs", &[("X-Request-Id", id)]);
        assert_eq!((answer.status, answer.request_id()), (200, id));
    }
}

#[test]
fn a_request_without_an_id_gets_a_uuid_v4() {
    let backend = Backend::start(&[]);
    let ids: BTreeSet<_> = (0..20).map(|_| backend.get("/api/projects/p-1/logs").request_id().to_owned()).collect();
    assert_eq!(ids.len(), 20);
    ids.iter().for_each(|id| assert_generated(id));
}

#[test]
fn a_malformed_id_is_replaced_and_not_logged() {
    let backend = Backend::start(&[]);
    let mut ids = Vec::new();
    for malformed in [
        &b""[..],
        &b"a".repeat(129),
        &b"A".repeat(10_240),
        b"MARK with spaces",
        b"MARK\"quote",
        b"MARK\\backslash",
        b"MARK\ttab",
        b"MARK,comma",
        b"MARK{\"level\":\"error\"}",
        "MARK-\u{fc}".as_bytes(),
        b"MARK\xff\xfe",
        b"MARK%0a",
    ] {
        let answer = http::get_with(backend.address, "/api/projects/p-1/logs", &[("X-Request-Id", malformed)]);
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_generated(answer.request_id());
        ids.push(answer.request_id().to_owned());
    }
    ids.iter().for_each(|id| drop(backend.access_line(id)));
    let stdout = backend.program.stdout();
    assert!(!stdout.contains("MARK") && !stdout.contains("AAAAAAAA") && !stdout.contains("aaaaaaaa"));
}

#[test]
fn a_newline_in_the_id_breaks_neither_header_nor_line() {
    let backend = Backend::start(&[]);
    // a client can send it only as obsolete line folding or as a bare LF or CR; it is rejected or replaced
    for malformed in [&b"one\r\n two"[..], b"one\ntwo", b"one\rtwo"] {
        let answer =
            http::try_send(backend.address, "GET", "/api/projects/p-1/logs", &[("X-Request-Id", malformed)], b"");
        if let Ok(answer) = answer {
            assert!(answer.status == 400 || !answer.request_id().contains("one"), "{answer:?}");
        }
    }
    assert_eq!(backend.get("/healthz").status, 200);
    backend.program.lines(); // each is one JSON object
}

#[test]
fn a_repeated_header_is_ignored() {
    let backend = Backend::start(&[]);
    let answer = backend.get_with("/api/projects/p-1/logs", &[("X-Request-Id", "first"), ("X-Request-Id", "second")]);
    assert_generated(answer.request_id());
}

#[test]
fn the_id_is_in_every_response() {
    let backend = Backend::start(&[]);
    let id = [("X-Request-Id", "kept-1")];
    for (path, status) in [
        ("/healthz", 200),
        ("/metrics", 200),
        ("/nowhere", 404),
        ("/api/projects/p-1/logs?limit=nonsense", 400),
        (fault::PANIC, 500),
        (&fault::status(503), 503),
    ] {
        let answer = backend.get_with(path, &id);
        assert_eq!((answer.status, answer.request_id()), (status, "kept-1"), "{path}");
        assert_generated(backend.get(path).request_id());
    }
    let answer = http::send(backend.address, "DELETE", "/healthz", &[("X-Request-Id", b"kept-2")], b"");
    assert!(answer.status == 404 || answer.status == 405, "{answer:?}");
    assert_eq!(answer.request_id(), "kept-2");
}

#[test]
fn problem_details_include_the_id() {
    let backend = Backend::start(&[]);
    for path in ["/nowhere", "/api/projects/p-1/logs?limit=nonsense", fault::PANIC] {
        let answer = backend.get_with(path, &[("X-Request-Id", "kept-1")]);
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{path}");
        let problem = answer.json();
        assert_eq!(problem["request_id"], "kept-1", "{problem}");
        assert_eq!(problem["status"], answer.status, "{problem}");
        assert!(problem["title"].is_string() && !problem.to_string().contains("panicked"), "{problem}");
        assert!(path == fault::PANIC || problem["instance"] == "/api/requests/kept-1", "{problem}");
    }
}

#[test]
fn responses_link_to_the_story_and_to_kibana() {
    let backend = Backend::start(&[("KIBANA_URL", "http://127.0.0.1:5601")]);
    let id = [("X-Request-Id", "a/b+c:1")];
    for path in ["/api/projects/p-1/logs", "/api/projects/p-1/logs?limit=nonsense", fault::PANIC, "/api/nowhere"] {
        let answer = backend.get_with(path, &id);
        let link = answer.header("link").unwrap_or_else(|| panic!("{path}: no Link: {answer:?}")).to_owned();
        assert!(link.starts_with("</api/requests/a%2Fb%2Bc%3A1>; rel=\"related\""), "{path}: {link}");
        let to_kibana = "<http://127.0.0.1:5601/app/discover#/view/one-request?_g=(time:(from:'20";
        assert!(link.contains(to_kibana) && link.contains("request_id:%22a%2Fb%2Bc%3A1%22"), "{path}: {link}");
    }
    let story = backend.get("/api/requests/a%2Fb%2Bc%3A1").json();
    assert_eq!(story["request_id"], "a/b+c:1", "{story}");
    assert!(story["kibana"].as_str().is_some_and(|link| link.contains("%22a%2Fb%2Bc%3A1%22")), "{story}");

    let backend = Backend::start(&[]);
    let answer = backend.get("/api/requests/demo-1");
    assert!(answer.json()["kibana"].is_null() && !answer.header("link").unwrap().contains("Kibana"), "{answer:?}");
    assert_eq!(backend.get("/healthz").header("link"), None);
}

#[test]
fn every_error_links_to_its_own_story() {
    const PAGE: &str = "text/html,application/xhtml+xml";
    // the declared length is enough for a rejection
    const TOO_LONG: &str = "2000000";
    let (working, without_store) = (Backend::start(&[]), Backend::start(&[("STORE", "http://127.0.0.1:9")]));
    let of_503 = fault::status(503);
    for (backend, method, path, accept, length, status) in [
        (&working, "GET", "/nowhere", "*/*", "0", 404),
        (&working, "GET", "/nowhere", PAGE, "0", 404),
        (&working, "GET", "/requests/nobody", PAGE, "0", 404),
        (&working, "GET", "/requests/nobody/file", PAGE, "0", 404),
        (&working, "GET", "/api/logs?limit=nonsense", "*/*", "0", 400),
        (&working, "GET", "/requests/nobody?nonsense=1", PAGE, "0", 400),
        (&working, "GET", "/requests/a%20b", PAGE, "0", 400),
        (&working, "GET", "/sources/nowhere/x", PAGE, "0", 400),
        (&working, "GET", "/api/sources/nowhere/x/around", "*/*", "0", 400),
        (&working, "DELETE", "/requests/nobody", PAGE, "0", 405),
        (&working, "DELETE", "/api/logs", "*/*", "0", 405),
        (&working, "POST", "/healthz", "*/*", "0", 405),
        (&working, "POST", "/api/alerts", "*/*", TOO_LONG, 413),
        (&working, "POST", "/login", PAGE, TOO_LONG, 413),
        (&working, "GET", &of_503, "*/*", "0", 503),
        (&working, "GET", fault::PANIC, PAGE, "0", 500),
        (&without_store, "GET", "/requests/nobody", PAGE, "0", 503),
        (&without_store, "GET", "/", PAGE, "0", 503),
        (&without_store, "GET", "/api/requests/nobody", "*/*", "0", 503),
        (&without_store, "GET", "/readyz", "*/*", "0", 503),
    ] {
        let kind = if path == "/login" { "application/x-www-form-urlencoded" } else { "application/json" };
        let headers =
            [("X-Request-Id", "me/1"), ("Accept", accept), ("Content-Type", kind), ("Content-Length", length)];
        let headers = headers.map(|(name, value)| (name, value.as_bytes()));
        let answer = http::send(backend.address, method, path, &headers, b"");
        let what = format!("{method} {path} as {accept}: {answer:?}");
        assert_eq!((answer.status, answer.request_id()), (status, "me/1"), "{what}");
        let link = answer.header("link").unwrap_or_else(|| panic!("no Link: {what}"));
        assert!(link.contains("</api/requests/me%2F1>") && link.contains("</requests/me%2F1>"), "{what}");
        let is_page = accept == PAGE && path != fault::PANIC;
        let media = if is_page { "text/html; charset=utf-8" } else { "application/problem+json" };
        assert_eq!(answer.header("content-type"), Some(media), "{what}");
        // the response to a panic is the library's, and that for an unknown request describes the latter
        match path {
            fault::PANIC => assert_eq!(answer.json()["request_id"], "me/1", "{what}"),
            "/requests/nobody" if status == 404 => {}
            _ if is_page => assert!(answer.text().contains("href=\"/requests/me%2F1\""), "{what}"),
            _ => assert_eq!(answer.json()["instance"], "/api/requests/me%2F1", "{what}"),
        }
    }
    assert_eq!(working.get("/search").header("link"), None);
}

#[test]
fn the_id_is_in_every_line_of_its_request_at_every_level() {
    for level in ["error", "warn", "info", "debug", "trace"] {
        let backend = Backend::start(&[("RUST_LOG", level)]);
        backend.get_with(fault::PANIC, &[("X-Request-Id", "panicked-1"), ("X-Project-Id", "p-1")]);
        // once a second request on the same worker is answered, the lines of the first one were written
        let lines = wait::until("a line at level error", || {
            let lines = backend.program.lines();
            lines.iter().any(|line| line["level"] == "error").then_some(lines)
        });
        let errors: Vec<_> = lines.iter().filter(|line| line["level"] == "error").collect();
        for line in &errors {
            assert_eq!((&line["request_id"], &line["project_id"]), (&"panicked-1".into(), &"p-1".into()), "{line}");
        }
        if level == "error" {
            assert_eq!(lines.len(), errors.len(), "{lines:?}");
        }
    }
}

#[test]
fn lines_have_the_trace_and_span_of_traceparent() {
    let backend = Backend::start(&[]);
    let (trace, span) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
    let parent = format!("00-{trace}-{span}-01");
    backend.get_with("/api/requests/demo-1", &[("X-Request-Id", "traced"), ("traceparent", &parent)]);
    let line = backend.access_line("traced");
    assert_eq!(line["trace_id"], trace, "{line}");
    assert!(line["span_id"].as_str().is_some_and(|id| id.len() == 16), "{line}");

    for (index, malformed) in
        ["00-0-0-01", &format!("ff-{trace}-{span}-01"), &format!("00-{}-{span}-01", "0".repeat(32))].iter().enumerate()
    {
        let id = format!("untraced-{index}");
        backend.get_with("/api/requests/demo-1", &[("X-Request-Id", &id), ("traceparent", malformed)]);
        let line = backend.access_line(&id);
        assert!(line.get("trace_id").is_none_or(|found| found.is_null()), "{malformed}: {line}");
    }
}

#[test]
fn lines_of_concurrent_requests_have_only_their_own_id() {
    let backend = Backend::start(&[("RUST_LOG", "debug")]);
    std::thread::scope(|scope| {
        for client in 0..8 {
            let backend = &backend;
            scope.spawn(move || {
                for request in 0..25 {
                    let id = format!("c{client}-r{request}");
                    let path = format!("/api/projects/project-{id}/logs");
                    assert_eq!(backend.get_with(&path, &[("X-Request-Id", &id)]).request_id(), id);
                }
            });
        }
    });
    for client in 0..8 {
        for request in 0..25 {
            backend.access_line(&format!("c{client}-r{request}"));
        }
    }
    let all = backend.program.lines();
    for client in 0..8 {
        for request in 0..25 {
            let id = format!("c{client}-r{request}");
            let lines = lines::of_request(&all, &id);
            assert_eq!(lines.iter().filter(|line| lines::is_access_line(line)).count(), 1, "{lines:?}");
        }
    }
}

#[test]
fn the_client_wrapper_forwards_the_id() {
    let backend = Backend::start(&[]);
    let (relay, address) = start_relay(&format!("http://{}/api/requests/upstream", backend.address));
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let parent = format!("00-{trace}-00f067aa0ba902b7-01");
    let headers: [(&str, &[u8]); 2] = [("X-Request-Id", b"passed-on"), ("traceparent", parent.as_bytes())];
    assert_eq!(http::get_with(address, "/relay", &headers).status, 200, "{}", relay.stdout());
    let line = backend.access_line("passed-on");
    assert_eq!((&line["endpoint"], &line["trace_id"]), (&"/api/requests/{request_id}".into(), &trace.into()));

    // a generated id is forwarded, too
    let answer = http::get(address, "/relay");
    assert_generated(answer.request_id());
    backend.access_line(answer.request_id());
}

#[test]
fn tasks_of_a_request_keep_the_id() {
    let (relay, address) = start_relay("");
    let headers: [(&str, &[u8]); 2] = [("X-Request-Id", b"spawned-1"), ("X-Project-Id", b"p-1")];
    assert_eq!(http::get_with(address, "/spawned", &headers).status, 202);
    for message in ["from a task", "from a thread"] {
        let line = wait::until(message, || relay.lines().into_iter().find(|line| line["message"] == message));
        assert_eq!((&line["request_id"], &line["project_id"]), (&"spawned-1".into(), &"p-1".into()), "{line}");
    }
}
