//! A response that needs several store requests, while the caller's permission ends between two of them, for each such
//! position. The store is a fake engine that can run an event before it responds.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use observability_tests::http::{self, Answer};
use observability_tests::wait;
use serde_json::{Value, json};

use crate::rig::Backend;
use crate::test_access::{TOKEN_OF_A, TOKEN_OF_ALL, TokensFile, log_in};

const GENERATION: &str = "0193a1b2c3d4e5f60718293a4b5c6d7e";

/// Text that no response may contain if its caller lost permission before it was complete.
const SECRET: &str = "the secret of project a";

type Event = Box<dyn FnOnce() + Send>;

/// A fake engine that returns lines for every request.
#[derive(Clone)]
struct Engine(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// Number of requests since the last call of [`Engine::arm`].
    requests: usize,
    /// The event to run, and the number of the request before whose response it runs.
    event: Option<(usize, Event)>,
}

impl Engine {
    fn start() -> (Self, SocketAddr) {
        let engine = Self(Arc::default());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let of_thread = engine.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let engine = of_thread.clone();
                std::thread::spawn(move || engine.serve(stream));
            }
        });
        (engine, address)
    }

    /// Runs an event before the response to the request of this number, starting at 0.
    fn arm(&self, event: Option<(usize, Event)>) {
        *self.0.lock().unwrap() = State { requests: 0, event };
    }

    fn requests(&self) -> usize {
        self.0.lock().unwrap().requests
    }

    fn serve(&self, stream: TcpStream) {
        let mut reader = BufReader::new(stream);
        loop {
            let (mut head, mut length) = (String::new(), 0);
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line).unwrap_or(0) == 0 {
                    return;
                }
                let (name, value) = line.split_once(':').unwrap_or_default();
                if name.eq_ignore_ascii_case("content-length") {
                    length = value.trim().parse().unwrap();
                }
                if line == "\r\n" {
                    break;
                }
                head.push_str(&line);
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            let (status, answer) = match serde_json::from_slice::<Value>(&body) {
                Ok(query) if head.contains("/_search") => ("200 OK", self.answer(&query)),
                _ => ("404 Not Found", json!({})),
            };
            let answer = answer.to_string();
            let head =
                format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}", answer.len());
            if write!(reader.get_mut(), "{head}\r\n\r\n{answer}").is_err() {
                return;
            }
        }
    }

    fn answer(&self, query: &Value) -> Value {
        let event = {
            let mut state = self.0.lock().unwrap();
            state.requests += 1;
            let number = state.requests - 1;
            let is_due = state.event.as_ref().is_some_and(|(due, _)| *due == number);
            if is_due { state.event.take() } else { None }
        };
        if let Some((_, happen)) = event {
            happen();
        }
        // a request has few lines, so that its story is complete
        let text = query.to_string();
        let size = query["size"].as_u64().unwrap_or(0);
        let lines = if text.contains("\"request_id\"") || text.contains("access") { size.min(3) } else { size };
        let hit = |index: u64| {
            let offset = 500 + 200 * index;
            json!({
                "_source": {
                    "timestamp": "2026-11-23T12:00:00.000Z", "service": "shop", "level": "error", "message": SECRET,
                    "request_id": format!("r{index}"), "project_id": "a", "target": "access", "method": "GET",
                    "endpoint": "/pay", "status": 500, "duration_ms": 3.5, "outcome": "answered",
                    "origin": { "generation": GENERATION, "offset": offset, "length": 200, "file": "shop.log" },
                },
                "sort": if text.contains("date_nanos") {
                    json!([1_795_435_200_000_000_000_i64, GENERATION, offset])
                } else {
                    json!([offset])
                },
            })
        };
        json!({ "timed_out": false, "hits": { "total": { "value": 3 }, "hits": (0..lines).map(hit).collect::<Vec<_>>() } })
    }
}

/// The log explorer over a fake engine.
struct Explorer {
    engine: Engine,
    tokens: Arc<TokensFile>,
    backend: Arc<Backend>,
}

impl Explorer {
    fn start() -> Self {
        let ((engine, address), tokens) = (Engine::start(), Arc::new(TokensFile::new()));
        let store = format!("http://{address}");
        let backend = Backend::start(&[("STORE", &store), ("TOKENS_FILE", tokens.path().to_str().unwrap())]);
        Self { engine, tokens, backend: Arc::new(backend) }
    }

    /// Logs in for project `a` and returns the session cookie.
    fn session(&self) -> String {
        let answer = log_in(self.backend.address, TOKEN_OF_A, &[]);
        answer.header("set-cookie").unwrap().split(';').next().unwrap().to_owned()
    }

    fn get(&self, path: &str, header: (&str, &str)) -> Answer {
        let accept = if path == STREAM { "application/x-ndjson" } else { "*/*" };
        self.backend.get_with(path, &[header, ("Accept", accept)])
    }

    /// Ends a session before the response to the store request of this number.
    fn log_out_at(&self, question: usize, cookie: &str) {
        let (address, cookie) = (self.backend.address, cookie.to_owned());
        let log_out = move || {
            let answer = http::send(address, "POST", "/logout", &[("Cookie", cookie.as_bytes())], b"");
            assert_eq!(answer.status, 303, "{}", answer.text());
        };
        self.engine.arm(Some((question, Box::new(log_out))));
    }
}

const STREAM: &str = "/api/logs?limit=600&order=oldest";

fn paths() -> Vec<String> {
    let around = format!("{GENERATION}/500");
    let fixed = ["/requests/r1", "/search?query=order+paid", "/api/requests/r1", "/api/logs?limit=1000", STREAM];
    let of_source = [format!("/sources/{around}"), format!("/api/sources/{around}/around")];
    fixed.map(str::to_owned).into_iter().chain(of_source).collect()
}

#[test]
fn a_response_of_several_store_requests_ends_when_its_session_ends_between_them() {
    let explorer = Explorer::start();
    for path in paths() {
        let cookie = explorer.session();
        explorer.engine.arm(None);
        let whole = explorer.get(&path, ("Cookie", &cookie));
        assert_eq!(whole.status, 200, "{path}: {}", whole.text());
        let questions = explorer.engine.requests();
        assert!(questions > 0, "{path}");
        for question in 0..questions {
            let cookie = explorer.session();
            explorer.log_out_at(question, &cookie);
            let answer = explorer.get(&path, ("Cookie", &cookie));
            // one read of the store may send two requests
            let sent = explorer.engine.requests();
            assert!(sent <= question + 2, "{path}: {sent} requests, although the session ended at {question}");
            if path == STREAM && question > 0 && answer.status == 200 {
                let last = answer.text().lines().last().unwrap();
                let end = &serde_json::from_str::<Value>(last).unwrap()["stream"];
                assert_eq!(end["complete"], false, "{last}");
                assert!(end["detail"].as_str().unwrap().contains("session has ended"), "{last}");
                assert_eq!(end["lines"], answer.text().lines().count() - 1, "{last}");
                continue;
            }
            assert_eq!(answer.status, 401, "{path} at question {question} of {questions}");
            assert!(!answer.text().contains(SECRET), "{path} at question {question} of {questions}");
            assert!(answer.text().contains("session has ended"), "{path}: {}", answer.text());
        }
    }
}

/// Replaces the tokens file and waits until it is reloaded.
fn rewrite(backend: &Backend, tokens: &TokensFile, text: &str) {
    let reloads = || backend.program.stdout().matches("tokens file reloaded").count();
    let before = reloads();
    tokens.write(text);
    wait::until("the file is reloaded", || (reloads() > before).then_some(()));
}

/// A tokens file with these projects for the token of `a`, or without that token.
fn of_projects(projects: Option<&str>) -> String {
    let of_all = format!("[[token]]\nname = \"all\"\ntoken = \"{TOKEN_OF_ALL}\"\nprojects = [\"*\"]\n");
    let of_a = |projects| format!("[[token]]\nname = \"a\"\ntoken = \"{TOKEN_OF_A}\"\nprojects = {projects}\n");
    of_all + &projects.map(of_a).unwrap_or_default()
}

#[test]
fn a_response_whose_token_gets_other_projects_meanwhile_shows_neither() {
    let explorer = Explorer::start();
    let bearer = format!("Bearer {TOKEN_OF_A}");
    for (projects, status) in
        [(Some("[\"b\"]"), 409), (Some("[\"a\", \"b\"]"), 409), (Some("[\"*\"]"), 409), (None, 401)]
    {
        for path in ["/requests/r1", "/api/logs?limit=1000"] {
            rewrite(&explorer.backend, &explorer.tokens, &of_projects(Some("[\"a\"]")));
            let (backend, tokens) = (Arc::clone(&explorer.backend), Arc::clone(&explorer.tokens));
            let change = move || rewrite(&backend, &tokens, &of_projects(projects));
            explorer.engine.arm(Some((1, Box::new(change))));
            let answer = explorer.get(path, ("Authorization", &bearer));
            assert_eq!(answer.status, status, "{path} {projects:?}: {}", answer.text());
            assert!(!answer.text().contains(SECRET), "{path} {projects:?}");
        }
    }
}
