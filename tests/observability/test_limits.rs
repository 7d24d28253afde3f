//! Limits on callers: connections with half a request, and memory for large responses that are not read. A long
//! response ends with its token, session or projects.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use observability_tests::program::{Program, Start, executable};
use observability_tests::scrape::Scrape;
use observability_tests::{http, port, wait};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::Value;

use crate::rig::Backend;
use crate::test_access::{TOKEN_OF_A, TOKEN_OF_ALL, TokensFile, log_in};

/// Incomplete requests, each cut at another point.
const HALVES: [&str; 5] = [
    "",
    "GET /healthz HTTP/1.1\r\nHo",
    "POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 100\r\n\r\ntoken=",
    "POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\nTransfer-Encoding: chunked\r\n\r\n6\r\ntoken=\r\n",
    "GET /healthz HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n",
];

/// Number and bytes of the store's lines.
const LINES: usize = 20_000;
const LINE_BYTES: usize = 4_000;

/// Maximum growth of memory by 80 clients that don't read, in KiB.
const GROWTH_MAX_KIB: u64 = 160 * 1024;

#[track_caller]
fn half(address: SocketAddr, number: usize) -> TcpStream {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(20)).unwrap();
    // The connection may be closed already.
    let _ = stream.write_all(HALVES[number % HALVES.len()].as_bytes());
    stream
}

fn raise_own_limit() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
}

/// The service with at most this many descriptors.
#[track_caller]
fn with_descriptors(descriptors: u32, address: SocketAddr, folder: &Path) -> Program {
    let command = format!("ulimit -n {descriptors}; exec \"$0\"");
    let start = Start::at(Path::new("/bin/sh")).args(["-c", &command]).arg(executable("backend"));
    let start = start.env("LISTEN", address.to_string()).env("BACKEND_REQUEST_TIMEOUT_S", "60");
    start.env("STORE", format!("sqlite:{}", folder.join("logs.db").display())).start_healthy(address)
}

/// Health and metrics respond in time.
#[track_caller]
fn is_alive(address: SocketAddr, readiness: u16) {
    for (path, status) in [("/healthz", 200), ("/readyz", readiness), ("/metrics", 200)] {
        let begun = Instant::now();
        assert_eq!(http::get(address, path).status, status, "{path}");
        assert!(begun.elapsed() < Duration::from_secs(5), "{path}: {:?}", begun.elapsed());
    }
}

#[test]
fn whoever_sends_half_a_request_keeps_nobody_from_health_and_metrics() {
    raise_own_limit();
    let folder = tempfile::tempdir().unwrap();
    for (descriptors, clients) in [(128, 400), (20_000, 2_000)] {
        let address = port::free_address();
        let _program = with_descriptors(descriptors, address, folder.path());
        let readiness = http::get(address, "/readyz").status;
        let mut halves = Vec::new();
        for number in 0..clients {
            halves.push(half(address, number));
            if number % 100 == 99 {
                is_alive(address, readiness);
            }
        }
        is_alive(address, readiness);
        assert_eq!(http::get(address, "/api/logs").status, http::get(address, "/api/logs").status);
        let scrape = Scrape::of(address);
        assert!(scrape.metric("process_open_fds", &[]) < f64::from(descriptors), "{descriptors}");
        assert!(scrape.metric("limits_reached_total", &[("limit", "connection_evicted")]) > 0.0);
    }
}

/// Sends a byte every 50 ms until there is a response or the connection is closed, and returns the response.
fn trickle(stream: &mut TcpStream, byte: &[u8]) -> String {
    stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let (begun, mut answer, mut part) = (Instant::now(), Vec::new(), [0; 4_096]);
    while begun.elapsed() < Duration::from_secs(20) {
        match stream.read(&mut part) {
            Ok(0) => return String::from_utf8(answer).unwrap(),
            Ok(length) => answer.extend_from_slice(&part[..length]),
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {
                // The next read reports a closed connection.
                let _ = stream.write_all(byte);
            }
            Err(_) => return String::from_utf8(answer).unwrap(),
        }
    }
    panic!("it goes on: {}", String::from_utf8_lossy(&answer));
}

#[test]
fn a_request_that_is_not_whole_in_time_is_answered_with_408_and_counted() {
    let tokens = TokensFile::new();
    let backend =
        Backend::start(&[("BACKEND_REQUEST_TIMEOUT_S", "2"), ("TOKENS_FILE", tokens.path().to_str().unwrap())]);
    let address = backend.address;
    let alert = "POST /api/alerts HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer a-token-that-alerts-come-with\r\n\
                 Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{";
    for (request, byte) in [(HALVES[2], "a"), (HALVES[3], "1\r\na\r\n"), (alert, " ")] {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let answer = trickle(&mut stream, byte.as_bytes());
        assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("did not arrive in time"), "{request}: {answer}");
        assert!(answer.to_ascii_lowercase().contains("x-request-id: "), "{answer}");
    }
    let reached = |limit: &str| backend.scrape().metric("limits_reached_total", &[("limit", limit)]);
    assert_eq!(reached("request_body_timeout"), 3.0);

    // The head of the first request, and of the next one on the same connection.
    let mut first = TcpStream::connect(address).unwrap();
    first.write_all(HALVES[1].as_bytes()).unwrap();
    assert!(trickle(&mut first, b"x").starts_with("HTTP/1.1 408"));
    let mut second = TcpStream::connect(address).unwrap();
    second.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET /healthz HTTP/1.1\r\nHo").unwrap();
    let answer = trickle(&mut second, b"x");
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("HTTP/1.1 408"), "{answer}");
    assert_eq!(reached("request_head_timeout"), 2.0);

    // Neither an unread body nor an idle client keeps a connection open.
    for more in [&b"1\r\na\r\n"[..], b""] {
        let mut unread = TcpStream::connect(address).unwrap();
        unread.write_all(HALVES[4].as_bytes()).unwrap();
        assert!(trickle(&mut unread, more).starts_with("HTTP/1.1 200"));
    }
    assert_eq!((reached("request_body_timeout"), reached("request_head_timeout")), (5.0, 2.0));
    let mut idle = TcpStream::connect(address).unwrap();
    assert_eq!(trickle(&mut idle, b""), "");
    assert_eq!(backend.get("/healthz").status, 200);
}

/// A store of long lines of project `a`.
fn store() -> (tempfile::TempDir, String) {
    let (mut text, filling) = (String::new(), "all of it was paid in time ".repeat(LINE_BYTES / 27));
    for line in 0..LINES {
        let (minute, second) = (line / 60 % 60, line % 60);
        writeln!(
            text,
            r#"{{"timestamp":"2026-11-23T12:{minute:02}:{second:02}.000Z","service":"shop","level":"info","message":"order {line}: {filling}","request_id":null,"project_id":"a"}}"#
        )
        .unwrap();
    }
    ship(text)
}

/// A store with these lines, in a directory with their file.
fn ship(text: String) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("lines"), text).unwrap();
    let store = ship_into(folder.path(), "lines", "state");
    (folder, store)
}

/// Ships a file into the store of a directory.
fn ship_into(folder: &Path, file: &str, state: &str) -> String {
    let store = format!("sqlite:{}", folder.join("logs.db").display());
    let shipped = Command::new(executable("shipper"))
        .args(["run", "--until-idle", "--to", &store, "--state-dir", state, "--file", file])
        .current_dir(folder)
        .stdout(Stdio::null())
        .status();
    assert!(shipped.unwrap().success());
    store
}

/// A stream of all lines, of which the first was read.
fn begun(address: SocketAddr, header: (&str, &str)) -> BufReader<TcpStream> {
    let headers: [(&str, &[u8]); 2] = [("Accept", b"application/x-ndjson"), (header.0, header.1.as_bytes())];
    let mut stream = BufReader::new(http::open(address, "GET", "/api/logs", &headers, b"").unwrap());
    let mut line = String::new();
    while !line.starts_with('{') {
        line.clear();
        assert_ne!(stream.read_line(&mut line).unwrap(), 0);
    }
    stream
}

/// The number of lines after the first, and the reason in the last one.
fn rest(stream: BufReader<TcpStream>) -> (usize, Value) {
    let lines: Vec<_> = stream.lines().map(Result::unwrap).filter(|line| line.starts_with('{')).collect();
    let end: Value = serde_json::from_str(lines.last().unwrap()).unwrap();
    (lines.len() - 1, end["stream"].clone())
}

#[test]
fn a_stream_ends_with_its_session_its_projects_and_its_token_and_says_so() {
    let ((_folder, store), tokens) = (store(), TokensFile::new());
    let backend = Backend::start(&[("STORE", &store), ("TOKENS_FILE", tokens.path().to_str().unwrap())]);
    let (of_a, of_all) = (format!("Bearer {TOKEN_OF_A}"), format!("Bearer {TOKEN_OF_ALL}"));
    let answer = log_in(backend.address, TOKEN_OF_A, &[]);
    let session = answer.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    let by_session = begun(backend.address, ("Cookie", &session));
    assert_eq!(http::send(backend.address, "POST", "/logout", &[("Cookie", session.as_bytes())], b"").status, 303);
    let by_token = begun(backend.address, ("Authorization", &of_a));
    let narrowed = begun(backend.address, ("Authorization", &of_all));
    tokens.write(&format!("[[token]]\nname = \"all\"\ntoken = \"{TOKEN_OF_ALL}\"\nprojects = [\"b\"]\n"));
    wait::until("the file is read again", || {
        (backend.get_with("/api/requests/x", &[("Authorization", &of_a)]).status == 401).then_some(())
    });
    for (stream, why) in [(by_session, "session"), (by_token, "revoked"), (narrowed, "projects have changed")] {
        let (lines, end) = rest(stream);
        assert!(lines < LINES / 2, "{why}: {lines} lines came after that");
        assert_eq!(end["complete"], false, "{why}: {end}");
        assert!(end["detail"].as_str().unwrap().contains(why), "{why}: {end}");
        assert_eq!(end["lines"], lines + 1, "{why}: {end}");
    }
}

/// A memory figure of the service, in KiB.
fn memory(backend: &Backend, figure: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", backend.program.pid().as_raw_nonzero())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(figure)).unwrap();
    line.trim_start_matches(':').trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn clients_that_take_nothing_of_large_answers_cost_bounded_memory_and_starve_no_other_token() {
    let ((_folder, store), tokens) = (store(), TokensFile::new());
    let backend = Backend::start(&[("STORE", &store), ("TOKENS_FILE", tokens.path().to_str().unwrap())]);
    let (of_a, of_all) = (format!("Bearer {TOKEN_OF_A}"), format!("Bearer {TOKEN_OF_ALL}"));
    let get = |path: &str, token: &str| backend.get_with(path, &[("Authorization", token)]);
    let page = get("/api/logs?limit=1000", &of_all).json();
    assert_eq!(page["lines"].as_array().unwrap().len(), 1_000, "a page of 4 MB is whole");
    let before = memory(&backend, "VmRSS");
    let paths = ["/api/logs?limit=1000", "/api/projects/a/logs?limit=1000"];
    let clients: Vec<_> = (0..80)
        .map(|number| {
            let headers: [(&str, &[u8]); 1] = [("Authorization", of_a.as_bytes())];
            http::open(backend.address, "GET", paths[number % 2], &headers, b"").unwrap()
        })
        .collect();
    let refused = [("limit", "answer_bytes_per_token")];
    wait::until("those beyond are refused", || {
        (backend.scrape().metric("limits_reached_total", &refused) >= 40.0).then_some(())
    });
    // Another token is served; this one gets `Retry-After`.
    let begun = Instant::now();
    assert_eq!(get("/api/logs?limit=1000", &of_all).status, 200);
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    let answer = get("/api/logs?limit=1000", &of_a);
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("2")), "{}", answer.text());
    let growth = memory(&backend, "VmHWM").saturating_sub(before);
    eprintln!("80 clients that read nothing: {before} KiB before, {growth} KiB more at most");
    assert!(growth < GROWTH_MAX_KIB, "from {before} KiB by {growth} KiB");
    drop(clients);
    wait::until("there is room again", || (get("/api/logs?limit=1000", &of_a).status == 200).then_some(()));
    wait::until("nothing is held", || (backend.scrape().metric("answer_bytes_held", &[]) == 0.0).then_some(()));
}

/// A store of one request of project `a` with 60 lines of 128 KiB.
fn store_of_long_lines() -> (tempfile::TempDir, String) {
    let filling = "<all of it was paid> ".repeat(128 * 1024 / 21);
    let line = |number: usize| {
        format!(
            r#"{{"timestamp":"2026-11-23T12:00:{number:02}.000Z","service":"shop","level":"info","message":"order {number}: {filling}","request_id":"long","project_id":"a"}}"#
        )
    };
    ship((0..60).map(line).collect::<Vec<_>>().join("\n") + "\n")
}

/// Paths of pages with lines: a request, a search, a source; and of the API.
fn pages_of(backend: &Backend, token: &str) -> [String; 4] {
    let page = backend.get_with("/api/logs?limit=1&order=oldest", &[("Authorization", token)]).json();
    let origin = &page["lines"][0]["origin"];
    let place = format!("{}/{}", origin["generation"].as_str().unwrap(), origin["offset"]);
    let around = format!("/api/sources/{place}/around?after=1000");
    ["/requests/long".into(), "/search?last=all".into(), format!("/sources/{place}?after=500"), around]
}

#[test]
fn pages_of_long_lines_are_cut_lead_on_and_cost_bounded_memory_per_token() {
    let ((_folder, store), tokens) = (store_of_long_lines(), TokensFile::new());
    let backend = Backend::start(&[("STORE", &store), ("TOKENS_FILE", tokens.path().to_str().unwrap())]);
    let (of_a, of_all) = (format!("Bearer {TOKEN_OF_A}"), format!("Bearer {TOKEN_OF_ALL}"));
    let get = |path: &str, token: &str| backend.get_with(path, &[("Authorization", token)]);
    let paths = pages_of(&backend, &of_all);
    for path in &paths {
        let answer = get(path, &of_all);
        assert_eq!(answer.status, 200, "{path}");
        assert!(answer.body.len() < 12 * 1024 * 1024, "{path} has {} bytes", answer.body.len());
        if path.starts_with("/api/") {
            assert!(answer.json()["later"].is_u64() && answer.json()["lines"][1].is_object(), "{path}");
        } else {
            assert!(["cursor=", "id=\"later\""].iter().any(|way| answer.text().contains(way)), "{path}");
        }
    }
    // All pages together show each line of the request.
    let (mut path, mut seen) = ("/requests/long".to_owned(), BTreeSet::new());
    loop {
        let answer = get(&path, &of_all);
        let offsets = answer.text().split("data-offset=\"").skip(1).filter_map(|rest| rest.split('"').next());
        seen.extend(offsets.map(|offset| offset.parse::<u64>().unwrap()));
        let Some((before, _)) = answer.text().split_once("\" rel=\"next\"") else { break };
        path = before.rsplit("href=\"").next().unwrap().replace("&#38;", "&").replace("&amp;", "&");
        assert!(path.contains("cursor="), "{path}");
    }
    assert_eq!(seen.len(), 60);

    let before = memory(&backend, "VmRSS");
    let clients: Vec<_> = (0..60)
        .map(|number| {
            let headers: [(&str, &[u8]); 1] = [("Authorization", of_a.as_bytes())];
            http::open(backend.address, "GET", &paths[number % 3], &headers, b"").unwrap()
        })
        .collect();
    let refused = [("limit", "answer_bytes_per_token")];
    wait::until("those beyond are refused", || {
        (backend.scrape().metric("limits_reached_total", &refused) >= 10.0).then_some(())
    });
    for path in &paths {
        assert_eq!(get(path, &of_all).status, 200, "another token is answered meanwhile: {path}");
    }
    let growth = memory(&backend, "VmHWM").saturating_sub(before);
    eprintln!("60 clients that read nothing of pages: {before} KiB before, {growth} KiB more at most");
    assert!(growth < GROWTH_MAX_KIB, "from {before} KiB by {growth} KiB");
    drop(clients);
    wait::until("nothing is held", || (backend.scrape().metric("answer_bytes_held", &[]) == 0.0).then_some(()));
}

#[test]
fn events_of_tails_that_nobody_takes_cost_bounded_memory_and_leave_room_for_other_tokens() {
    let ((folder, store), tokens) = (store_of_long_lines(), TokensFile::new());
    let backend = Backend::start(&[("STORE", &store), ("TOKENS_FILE", tokens.path().to_str().unwrap())]);
    let (of_a, of_all) = (format!("Bearer {TOKEN_OF_A}"), format!("Bearer {TOKEN_OF_ALL}"));
    let open = |token: &str| {
        let headers: [(&str, &[u8]); 1] = [("Authorization", token.as_bytes())];
        let mut stream = BufReader::new(http::open(backend.address, "GET", "/api/tail", &headers, b"").unwrap());
        let mut line = String::new();
        while !line.starts_with("event: cursor") {
            line.clear();
            assert_ne!(stream.read_line(&mut line).unwrap(), 0);
        }
        stream
    };
    let stalled: Vec<_> = (0..16).map(|_| open(&of_a)).collect();
    let mut of_other = open(&of_all);
    let before = memory(&backend, "VmRSS");
    // The same lines again, under other IDs.
    let again = std::fs::read(folder.path().join("lines")).unwrap();
    std::fs::write(folder.path().join("lines.again"), again).unwrap();
    ship_into(folder.path(), "lines.again", "state.again");
    let (mut lines, mut line) = (0, String::new());
    while lines < 60 {
        line.clear();
        assert_ne!(of_other.read_line(&mut line).unwrap(), 0);
        lines += line.matches("\"clock\":").count();
    }
    let growth = memory(&backend, "VmHWM").saturating_sub(before);
    let held = backend.scrape().metric("answer_bytes_held", &[]);
    eprintln!("16 tails that nobody takes: {before} KiB before, {growth} KiB more at most, {held} bytes held");
    assert!(growth < GROWTH_MAX_KIB, "from {before} KiB by {growth} KiB");
    assert!(held < 33.0 * 1024.0 * 1024.0, "{held} bytes");
    drop((stalled, of_other));
    wait::until("nothing is held", || (backend.scrape().metric("answer_bytes_held", &[]) == 0.0).then_some(()));
}

#[test]
fn an_admin_address_has_metrics_and_health_and_the_services_own_has_no_metrics() {
    let (admin, tokens) = (port::free_address(), TokensFile::new());
    let admin_listen = admin.to_string();
    let backend = Backend::start(&[("ADMIN_LISTEN", &admin_listen), ("TOKENS_FILE", tokens.path().to_str().unwrap())]);
    assert!(!backend.program.stdout().contains("set METRICS_TOKEN or ADMIN_LISTEN"));
    assert_eq!(backend.get("/metrics").status, 404);
    let status = |path: &str, host: &str| http::get_with(admin, path, &[("Host", host.as_bytes())]).status;
    for path in ["/metrics", "/healthz", "/readyz"] {
        assert_eq!(status(path, "127.0.0.1"), 200, "{path}");
    }
    assert_eq!([status("/metrics", "evil.example"), status("/api/logs", "127.0.0.1")], [403, 401]);
    assert!(Scrape::of(admin).metric("connections_open", &[]) >= 0.0);
    assert_eq!(backend.get("/healthz").status, 200);
}

#[test]
fn an_admin_address_that_others_reach_warns_of_metrics_without_a_token() {
    let (tokens, everywhere) = (TokensFile::new(), format!("0.0.0.0:{}", port::free_address().port()));
    let of_tokens = ("TOKENS_FILE", tokens.path().to_str().unwrap().to_owned());
    let token = ("METRICS_TOKEN", "a-token-that-scrapes-come-with".to_owned());
    for (variables, warns) in [(vec![of_tokens.clone()], true), (vec![of_tokens, token], false)] {
        let mut variables: Vec<_> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
        variables.push(("ADMIN_LISTEN", &everywhere));
        let backend = Backend::start(&variables);
        assert_eq!(backend.program.stdout().contains("/metrics at ADMIN_LISTEN"), warns);
    }
}

#[test]
fn nobody_has_a_project_on_the_admin_address() {
    let (admin, tokens) = (port::free_address(), TokensFile::new());
    for tokens in [&[("TOKENS_FILE", tokens.path().to_str().unwrap())][..], &[]] {
        let admin_listen = admin.to_string();
        let variables: Vec<_> = tokens.iter().copied().chain([("ADMIN_LISTEN", admin_listen.as_str())]).collect();
        let _backend = Backend::start(&variables);
        for path in ["/metrics", "/healthz", "/readyz"] {
            http::get_with(admin, path, &[("X-Project-Id", b"of-my-own-making"), ("X-Request-Id", b"mine")]);
        }
        let scrape = wait::until("the requests are counted", || {
            let scrape = Scrape::of(admin);
            (scrape.metric("request_count", &[("endpoint", "/readyz")]) == 1.0).then_some(scrape)
        });
        assert_eq!(scrape.metric("request_count", &[("project_id", "of-my-own-making")]), 0.0);
    }
}
