//! A token for one project gets nothing of another by any route. Stated so that nothing can be forgotten: two stores
//! that differ only in the other project's lines give the same answers, byte for byte, to whatever such a token asks.

use std::cell::Cell;
use std::io::Read as _;
use std::net::SocketAddr;

use observability_tests::http::{self, Answer};
use observability_tests::program::{Program, Start};
use observability_tests::{port, wait};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

use crate::side::Side;
use crate::test_access::{TOKEN_OF_A, TOKEN_OF_ALL, TokensFile};
use crate::test_store::TestStore;

/// Number of requests sent to both embedded stores.
const CASES: u32 = 200;

/// The same in an engine, which takes longer to answer.
const ENGINE_CASES: u32 = 60;

/// Lines of the token's own project, and of others.
const LINES: usize = 60;

/// Where lines are found and counted, and which parameters it takes. All but the last two take what chooses lines.
const PLACES: [(&str, &[&str]); 9] = [
    ("/search", &["cursor", "direction"]),
    ("/tail", &[]),
    ("/api/logs", &["limit", "cursor", "order"]),
    ("/api/facets", &["fields", "top"]),
    ("/api/histogram", &["step_s"]),
    ("/api/stats", &["by", "step_s", "top"]),
    ("/api/patterns", &["top"]),
    ("/", &[]),
    ("/api/openapi.json", &[]),
];

/// Ends a question that is answered with a stream of lines; it is no part of the address.
const STREAM: &str = "#stream";

/// The live tail, requested before any line was there.
const TAIL: &str = "/api/tail";

const PROJECTS: [&str; 3] = ["a", "b", "ab"];
const SERVICES: [&str; 3] = ["shop", "billing", "b-only"];
const WORDS: [&str; 6] = ["paid", "refused", "card 42", "timeout after 30 ms", "b's secret", "Ünïcode"];
const LEVELS: [&str; 5] = ["trace", "debug", "info", "warn", "error"];

/// A request id that a project's lines have, that both have, or that none has.
fn request_id() -> impl Strategy<Value = String> {
    prop_oneof![
        (0..8).prop_map(|n| format!("a-{n}")),
        (0..8).prop_map(|n| format!("b-{n}")),
        (0..4).prop_map(|n| format!("both-{n}")),
        Just("nobody".to_owned()),
    ]
}

/// A line of a project; `null` is none.
fn line(project: Value) -> impl Strategy<Value = Value> {
    let own = project.as_str().unwrap_or("b").to_owned();
    let id = prop_oneof![(0..8).prop_map(move |n| format!("{own}-{n}")), (0..4).prop_map(|n| format!("both-{n}"))];
    let choice = |of: &'static [&'static str]| prop::sample::select(of);
    let access = prop::option::of((prop::sample::select(&[200_u16, 404, 500][..]), 0..2_000_u32));
    (id, choice(&SERVICES), choice(&LEVELS), choice(&WORDS), choice(&WORDS), 0..600_i64, access).prop_map(
        move |(id, service, level, first, second, age_s, access)| {
            let written = OffsetDateTime::now_utc() - Duration::seconds(age_s + 60);
            let mut line = json!({ "timestamp": written.format(&Rfc3339).unwrap(), "service": service, "level": level,
                "message": format!("{first} {second}"), "request_id": id, "project_id": project, "target": "app" });
            if let Some((status, duration_ms)) = access {
                let access = json!({ "target": "access", "method": "GET", "endpoint": format!("/of/{service}/{{id}}"),
                    "status": status, "duration_ms": duration_ms, "outcome": "answered" });
                line.as_object_mut().unwrap().append(&mut access.as_object().unwrap().clone());
            }
            line
        },
    )
}

/// A query of the search language, right or wrong.
fn query() -> impl Strategy<Value = String> {
    let term = prop_oneof![
        prop::sample::select(&WORDS[..]).prop_map(str::to_owned),
        prop::sample::select(&WORDS[..]).prop_map(|word| format!("\"{word}\"")),
        prop::sample::select(&PROJECTS[..]).prop_map(|project| format!("project_id:{project}")),
        prop::sample::select(&SERVICES[..]).prop_map(|service| format!("service:{service}")),
        prop::sample::select(&LEVELS[..]).prop_map(|level| format!("level:{level}")),
        request_id().prop_map(|id| format!("request_id:{id}")),
        (0..2_000_u32).prop_map(|ms| format!("duration_ms:>={ms}")),
        Just("endpoint:*".to_owned()),
        Just("status:500..599".to_owned()),
        Just("colour:red".to_owned()),
        "[ -~]{0,12}",
    ];
    (term.clone(), prop::sample::select(&["AND", "OR", "NOT", "AND NOT"][..]), prop::option::of(term)).prop_map(
        |(first, operator, second)| match second {
            Some(second) => format!("{first} {operator} {second}"),
            None => first,
        },
    )
}

/// What was seen with a token for everything, to ask for with another.
#[derive(Clone, Debug)]
struct Seen {
    /// Of searches that were not at their end.
    cursors: Vec<String>,
    /// Where lines stand: their source, and where in it.
    places: Vec<(String, u64)>,
}

/// A parameter that chooses lines.
fn choice() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => query().prop_map(|query| format!("query={}", encode(&query))),
        1 => prop::sample::select(&LEVELS[..]).prop_map(|level| format!("level={level}")),
        1 => prop::sample::select(&SERVICES[..]).prop_map(|service| format!("service={service}")),
        1 => prop::sample::select(&PROJECTS[..]).prop_map(|project| format!("project={project}")),
        1 => prop::sample::select(&SERVICES[..]).prop_map(|service| format!("endpoint={}", encode(&format!("/of/{service}/{{id}}")))),
        1 => Just("status=5xx".to_owned()),
    ]
}

/// A value of a place's own parameter.
fn own(name: &'static str, cursors: &[String]) -> BoxedStrategy<String> {
    let values = match name {
        "cursor" => prop::sample::select(cursors.to_vec()).prop_map(|cursor| encode(&cursor)).boxed(),
        "direction" => prop::sample::select(&["older", "newer"][..]).prop_map(str::to_owned).boxed(),
        "limit" | "top" => (1..30_u32).prop_map(|number| number.to_string()).boxed(),
        "step_s" => prop::sample::select(&["1", "60", "3600"][..]).prop_map(str::to_owned).boxed(),
        "order" => prop::sample::select(&["newest", "oldest"][..]).prop_map(str::to_owned).boxed(),
        "by" => prop::sample::select(&["total", "endpoint", "project", "time"][..]).prop_map(str::to_owned).boxed(),
        "fields" => prop::sample::select(&["service,project_id", "endpoint,level,status", "request_id,generation"][..])
            .prop_map(str::to_owned)
            .boxed(),
        other => panic!("{other} has no values"),
    };
    values.prop_map(move |value| format!("{name}={value}")).boxed()
}

/// A route that finds or counts lines, with some of its parameters.
fn search(cursors: Vec<String>) -> impl Strategy<Value = String> {
    prop::sample::select(&PLACES[..]).prop_flat_map(move |(place, own_names)| {
        let takes_choice = !matches!(place, "/" | "/api/openapi.json");
        let own: Vec<_> = own_names.iter().map(|name| prop::option::of(own(name, &cursors))).collect();
        (prop::collection::vec(choice(), 0..3), own).prop_map(move |(mut parts, own)| {
            if !takes_choice {
                parts.clear();
            }
            // A parameter that is there twice is refused.
            parts.sort();
            parts.dedup_by_key(|part| part.split('=').next().map(str::to_owned));
            parts.extend(own.into_iter().flatten());
            // Of lines there is a stream, too.
            let stream = if place == "/api/logs" && parts.len() % 2 == 1 { STREAM } else { "" };
            format!("{place}?{}{stream}", parts.join("&"))
        })
    })
}

/// A question as a path.
fn question(seen: Seen) -> impl Strategy<Value = String> {
    let place = prop::sample::select(seen.places);
    let around = (place, prop::sample::select(&["", "/around"][..]), 0..5_u32, 0..5_u32).prop_map(
        |((generation, offset), of, before, after)| {
            let api = if of.is_empty() { "" } else { "/api" };
            format!("{api}/sources/{generation}/{offset}{of}?before={before}&after={after}")
        },
    );
    let of_project = (
        prop::sample::select(&PROJECTS[..]),
        prop::option::of(own("limit", &[])),
        prop::option::of(own("cursor", &seen.cursors)),
    );
    let of_project = of_project.prop_map(|(project, limit, cursor)| {
        let parts: Vec<_> = limit.into_iter().chain(cursor).collect();
        format!("/api/projects/{project}/logs?{}", parts.join("&"))
    });
    let story = (request_id(), prop::sample::select(&["", "/file"][..]), prop::option::of(request_id()));
    let story = story.prop_map(|(id, of, with)| {
        let with = with.map(|with| format!("?compare={with}")).unwrap_or_default();
        format!("/requests/{id}{of}{with}")
    });
    let tail = prop::option::of(choice()).prop_map(|choice| format!("{TAIL}?{}", choice.unwrap_or_default()));
    prop_oneof![
        3 => tail,
        3 => story,
        2 => request_id().prop_map(|id| format!("/api/requests/{id}")),
        2 => of_project,
        3 => around,
        10 => search(seen.cursors),
    ]
}

/// A service over a store that has no line yet.
struct Reader {
    _program: Program,
    address: SocketAddr,
    /// The tail's place before all lines.
    place: String,
}

impl Reader {
    fn start(side: &Side, tokens: &TokensFile) -> Self {
        let address = port::free_address();
        let start = Start::program("backend")
            .env("LISTEN", address.to_string())
            .env("STORE", side.store.target())
            .env("STORE_INDEX_PREFIX", &side.index_prefix)
            .env("TOKENS_FILE", tokens.path());
        let mut reader = Self { _program: start.start_healthy(address), address, place: String::new() };
        let (_, _, first) = reader.first_event(TAIL);
        reader.place = first.lines().find_map(|line| line.strip_prefix("id: ")).unwrap().to_owned();
        reader
    }

    fn wait_for(&self, lines: usize) {
        wait::until_ok(&format!("{lines} lines"), || {
            match self.ask("/api/facets?fields=level", TOKEN_OF_ALL).json()["lines"].as_u64() {
                Some(found) if found == lines as u64 => Ok(()),
                found => Err(format!("there are {found:?}")),
            }
        });
    }

    fn ask(&self, path: &str, token: &str) -> Answer {
        let authorization = format!("Bearer {token}");
        let (path, accept) = match path.strip_suffix(STREAM) {
            Some(path) => (path, "application/x-ndjson"),
            None => (path, if path.starts_with("/api/") { "application/json" } else { "text/html" }),
        };
        let headers: [(&str, &[u8]); 3] = [
            ("Authorization", authorization.as_bytes()),
            ("X-Request-Id", b"the-question"),
            ("Accept", accept.as_bytes()),
        ];
        http::get_with(self.address, path, &headers)
    }

    /// The response without the service's own address and the order of headers.
    fn response(&self, path: &str) -> (u16, Vec<(String, String)>, String) {
        if path.starts_with(TAIL) {
            return self.response_of_a_tail(path);
        }
        let mut answer = self.ask(path, TOKEN_OF_A);
        answer.headers.retain(|(name, _)| name != "date");
        answer.headers.sort();
        let body = String::from_utf8_lossy(&answer.body).replace(&self.address.to_string(), "HERE");
        (answer.status, answer.headers, body)
    }

    /// The same of a tail's first event, which has all lines there are. Names of places are random, and as long as each other.
    fn response_of_a_tail(&self, path: &str) -> (u16, Vec<(String, String)>, String) {
        let (status, is_event, text) = self.first_event(path);
        let of_line = |line: &str| match line.strip_prefix("id: ") {
            Some(id) => format!("id of {}", id.len()),
            None => line.replace(&self.address.to_string(), "HERE"),
        };
        let mut lines: Vec<_> = text.lines().filter(|line| !line.starts_with("date: ")).map(of_line).collect();
        if !is_event {
            // A refusal's head has no order.
            lines.sort_unstable();
        }
        let text = lines.join("\n");
        (status, Vec::new(), format!("{is_event}: {text}"))
    }

    /// Status and, of a tail that was not refused, the first event.
    fn first_event(&self, path: &str) -> (u16, bool, String) {
        let authorization = format!("Bearer {TOKEN_OF_A}");
        let headers: [(&str, &[u8]); 3] = [
            ("Authorization", authorization.as_bytes()),
            ("X-Request-Id", b"the-question"),
            ("Last-Event-ID", self.place.as_bytes()),
        ];
        let mut stream = http::open(self.address, "GET", path, &headers, b"").unwrap();
        let (mut bytes, mut part) = (Vec::new(), [0; 16 * 1024]);
        loop {
            let text = String::from_utf8_lossy(&bytes);
            let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
            // An event is a chunk of its own.
            if let Some((_, event)) = text.split_once("\r\nevent: ").filter(|(_, event)| event.contains("\n\n\r\n")) {
                return (status, true, event.to_owned());
            }
            let length = stream.read(&mut part).unwrap();
            if length == 0 {
                return (status, false, text.into_owned());
            }
            bytes.extend_from_slice(&part[..length]);
        }
    }
}

fn encode(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// What a token for everything sees.
fn seen_by_all(reader: &Reader) -> Seen {
    let projects = PROJECTS
        .iter()
        .flat_map(|project| (1..4).map(move |limit| format!("/api/projects/{project}/logs?limit={}", limit * 3)));
    let searches = (1..4).map(|limit| format!("/api/logs?limit={}", limit * 20));
    let answers = projects.chain(searches).map(|path| reader.ask(&path, TOKEN_OF_ALL).json());
    let cursors: Vec<_> = answers.filter_map(|answer| answer["next"].as_str().map(str::to_owned)).collect();
    assert!(cursors.len() > 3, "{cursors:?}");
    let lines = reader.ask("/api/logs?limit=1000", TOKEN_OF_ALL).json();
    let place = |line: &Value| {
        let origin = &line["origin"];
        (origin["generation"].as_str().unwrap().to_owned(), origin["offset"].as_u64().unwrap())
    };
    let places: Vec<_> = lines["lines"].as_array().unwrap().iter().map(place).collect();
    assert_eq!(places.len(), 2 * LINES);
    Seen { cursors, places }
}

fn a_token_is_told_nothing_of_what_it_may_not_see(store: impl Fn() -> TestStore, cases: u32) {
    let (seed, mut bytes) = (seed(), [0; 32]);
    bytes[..8].copy_from_slice(&seed.to_be_bytes());
    let mut runner = TestRunner::new_with_rng(
        Config { cases, failure_persistence: None, max_shrink_iters: 200, ..Config::default() },
        TestRng::from_seed(RngAlgorithm::ChaCha, &bytes),
    );
    let others = prop_oneof![line(json!("b")), line(json!("ab")), line(Value::Null)];
    let own = prop::collection::vec(line(json!("a")), LINES).new_tree(&mut runner).unwrap().current();
    let others = prop::collection::vec(others, LINES).new_tree(&mut runner).unwrap().current();
    let ([source, alone, among], tokens) = ([(); 3].map(|()| Side::of(store())), TokensFile::new());
    // Readers begin, and tails with them, before there is a line.
    let sides = [&alone, &among];
    let [alone, among] = sides.map(|side| Reader::start(side, &tokens));
    source.ship(&own);
    for side in sides {
        side.copy_from(&source);
    }
    sides[1].ship(&others);
    alone.wait_for(LINES);
    among.wait_for(2 * LINES);

    let seen = seen_by_all(&among);
    let (answered, tails) = (Cell::new(0), Cell::new(0));
    let is_alike = |path: &str| {
        // Pages that depend on the time may differ by chance; what depends on a
        // store differs each time.
        for last in [false, false, true] {
            let (first, second) = std::thread::scope(|scope| {
                let first = scope.spawn(|| alone.response(path));
                let second = among.response(path);
                (first.join().unwrap(), second)
            });
            prop_assert!(first.0 < 500 && first.0 != 401, "{path}: {first:?}");
            if first == second {
                answered.set(answered.get() + u32::from(first.0 == 200));
                tails.set(tails.get() + u32::from(first.2.contains("true: lines")));
                break;
            }
            prop_assert!(!last, "{} reveals the other store:\n{:#?}\n{:#?}", path, first, second);
        }
        Ok(())
    };
    // The tail of all lines is always tried.
    is_alike(TAIL).unwrap_or_else(|error| panic!("with SEED={seed:x}: {error}"));
    let outcome = runner.run(&question(seen), |path| is_alike(&path));
    outcome.unwrap_or_else(|error| panic!("with SEED={seed:x}: {error}"));
    // Two refusals are alike too: most questions have to be ones that are answered.
    assert!(answered.get() > cases / 2, "with SEED={seed:x}: {} answers", answered.get());
    assert!(tails.get() > 0, "with SEED={seed:x}: no tail had a line");
}

#[test]
fn a_token_is_told_nothing_of_what_it_may_not_see_by_the_embedded_store() {
    a_token_is_told_nothing_of_what_it_may_not_see(TestStore::embedded, CASES);
}

#[test]
fn a_token_is_told_nothing_of_what_it_may_not_see_by_an_engine() {
    a_token_is_told_nothing_of_what_it_may_not_see(TestStore::engine, ENGINE_CASES);
}

#[test]
fn a_token_is_told_nothing_of_what_it_may_not_see_by_an_engine_without_processors() {
    a_token_is_told_nothing_of_what_it_may_not_see(TestStore::bare_engine, ENGINE_CASES);
}

/// The seed that `SEED` names in hexadecimal digits, so that a failure can be had again; else a new one.
fn seed() -> u64 {
    let given = std::env::var("SEED").ok().map(|seed| u64::from_str_radix(&seed, 16).unwrap());
    given.unwrap_or_else(|| uuid::Uuid::new_v4().as_u64_pair().0)
}
