//! The live tail as any client sees it: it delivers each line once, ends with the service, its token or session, and is
//! limited in number.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use observability_tests::{http, lines, wait};
use serde_json::Value;

use crate::site::{Plan, Site, line};
use crate::test_access::{TOKEN_OF_A, TOKEN_OF_ALL, TokensFile, log_in};
use crate::test_store::TestStore;

/// Lines that arrive while no client is connected: with a delay between events, they would take 15 s.
const MEANWHILE: usize = 6_000;

/// Lines of one event, and the poll interval.
const EVENT_LINES: usize = 200;
const ASK_EVERY: Duration = Duration::from_millis(500);

/// Maximum number of live tails, in total and per token.
const TAILS_MAX: usize = 64;
const TAILS_PER_TOKEN: usize = 16;

/// Maximum time until a tail has ended.
const ENDS_WITHIN: Duration = Duration::from_secs(10);

/// Maximum time without an event, with a margin.
const SILENT_FOR: Duration = Duration::from_secs(30);

/// A client of a tail.
pub(crate) struct Tail {
    pub(crate) status: u16,
    head: String,
    stream: BufReader<TcpStream>,
    text: String,
}

/// An event of a tail.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) name: String,
    id: Option<String>,
    pub(crate) data: String,
}

impl Event {
    fn messages(&self) -> Vec<String> {
        let lines: Vec<Value> = serde_json::from_str(&self.data).unwrap();
        lines.iter().map(|line| line["message"].as_str().unwrap().to_owned()).collect()
    }
}

impl Tail {
    pub(crate) fn open(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Self {
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
        let mut stream = BufReader::new(http::open(address, "GET", path, &headers, b"").unwrap());
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(stream.read_line(&mut head).unwrap(), 0, "{head}");
        }
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        stream.get_ref().set_read_timeout(Some(SILENT_FOR)).unwrap();
        Self { status, head: head.to_ascii_lowercase(), stream, text: String::new() }
    }

    /// The next event; none at a regular end. A cut connection panics.
    pub(crate) fn next(&mut self) -> Option<Event> {
        while !self.text.contains("\n\n") {
            let mut length = String::new();
            self.stream.read_line(&mut length).unwrap();
            let length = usize::from_str_radix(length.trim(), 16).unwrap_or_else(|_| panic!("it was cut: {length:?}"));
            let mut chunk = vec![0; length + 2];
            self.stream.read_exact(&mut chunk).unwrap();
            self.text.push_str(std::str::from_utf8(&chunk[..length]).unwrap());
            if length == 0 {
                assert_eq!(self.text, "");
                return None;
            }
        }
        let (event, rest) = self.text.split_once("\n\n").unwrap();
        let of = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
        let event = Event { name: of("event: ").unwrap(), id: of("id: "), data: of("data: ").unwrap_or_default() };
        self.text = rest.to_owned();
        Some(event)
    }

    /// Reads to the end, which has to come within [`ENDS_WITHIN`].
    fn until_it_ends(&mut self) {
        let begun = Instant::now();
        // An open tail is never silent for longer than its client waits.
        while let Some(event) = self.next() {
            assert!(begun.elapsed() < ENDS_WITHIN, "it goes on: {event:?}");
        }
    }
}

fn bearer(token: &str) -> (&'static str, String) {
    ("Authorization", format!("Bearer {token}"))
}

fn rewritten(tokens: &TokensFile) {
    tokens.write(&format!("[[token]]\nname = \"all\"\ntoken = \"{TOKEN_OF_ALL}\"\nprojects = [\"*\"]\n"));
}

/// Lines that arrived while no client was connected are delivered at once, in the order in which the store received
/// them, each once, wherever the connection is cut.
fn a_tail_catches_up(store: TestStore) {
    let tokens = TokensFile::new();
    let site = Plan::shop(store).with_tokens(&tokens).start();
    for (service, token) in [("a", TOKEN_OF_A), ("live", TOKEN_OF_ALL)] {
        let (name, value) = bearer(token);
        let path = format!("/api/tail?service={service}");
        let mut tail = Tail::open(site.address, &path, &[(name, &value)]);
        assert_eq!(tail.status, 200);
        let mut place = tail.next().unwrap().id.unwrap();
        drop(tail);
        site.append(
            &(0..MEANWHILE).map(|n| line(service, "info", &format!("number {n}"), None, 0)).collect::<Vec<_>>(),
        );
        site.wait_for(service, MEANWHILE);
        let begun = Instant::now();
        let mut seen = Vec::new();
        while seen.len() < MEANWHILE {
            let mut tail = Tail::open(site.address, &path, &[(name, &value), ("Last-Event-ID", &place)]);
            for _ in 0..9 {
                let event = tail.next().unwrap();
                assert_eq!(event.name, "lines", "{event:?}");
                let messages = event.messages();
                assert!(messages.len() <= EVENT_LINES);
                seen.extend(messages);
                place = event.id.unwrap();
                if seen.len() >= MEANWHILE {
                    break;
                }
            }
        }
        let took = begun.elapsed();
        if !site.is_embedded() {
            // An engine receives several batches at once, in any order.
            seen.sort_by_key(|message| message.replace("number ", "").parse::<usize>().unwrap());
        }
        assert_eq!(seen, (0..MEANWHILE).map(|n| format!("number {n}")).collect::<Vec<_>>());
        let waiting = ASK_EVERY * u32::try_from(MEANWHILE / EVENT_LINES).unwrap();
        assert!(took < waiting / 2, "{took:?}");
    }
}

#[test]
fn a_tail_catches_up_in_the_embedded_store() {
    a_tail_catches_up(TestStore::embedded());
}

#[test]
fn a_tail_catches_up_in_an_engine() {
    a_tail_catches_up(TestStore::engine());
}

#[test]
fn a_tail_that_can_not_go_on_from_its_place_says_so() {
    let site = Site::start();
    // A cursor beyond the newest line, from another file.
    let mut tail = Tail::open(site.address, "/api/tail?service=live&cursor=r1000000", &[]);
    let event = tail.next().unwrap();
    assert!(event.name == "gap" && event.id.is_some(), "{event:?}");
    site.append(&[line("live", "info", "the first", None, 0)]);
    assert_eq!(tail.next().unwrap().messages(), ["the first"]);
    assert_eq!(Tail::open(site.address, "/api/tail?cursor=nonsense", &[]).status, 400);
}

#[test]
fn a_tail_ends_with_its_token_and_with_its_session() {
    let tokens = TokensFile::new();
    let site = Plan::shop(TestStore::embedded()).with_tokens(&tokens).start();
    let session = || {
        let answer = log_in(site.address, TOKEN_OF_A, &[]);
        answer.header("set-cookie").unwrap().split(';').next().unwrap().to_owned()
    };
    let (one, other) = (session(), session());
    let (name, value) = bearer(TOKEN_OF_A);
    let open = |name: &str, value: &str| {
        let mut tail = Tail::open(site.address, "/api/tail", &[(name, value)]);
        assert_eq!((tail.status, tail.next().unwrap().name.as_str()), (200, "cursor"));
        tail
    };
    let mut of_session = open("Cookie", &one);
    let mut others = [open(name, &value), open("Cookie", &other)];
    let (name_of_all, value_of_all) = bearer(TOKEN_OF_ALL);
    let mut of_all = open(name_of_all, &value_of_all);

    assert_eq!(http::send(site.address, "POST", "/logout", &[("Cookie", one.as_bytes())], b"").status, 303);
    of_session.until_it_ends();
    rewritten(&tokens);
    others.iter_mut().for_each(Tail::until_it_ends);
    // The other tail continues.
    site.append(&[line("live", "info", "the first", None, 0)]);
    assert_eq!(of_all.next().unwrap().messages(), ["the first"]);
}

#[test]
fn a_tail_ends_when_the_service_does() {
    let mut site = Site::start();
    let mut tail = Tail::open(site.address, "/api/tail?service=live", &[("X-Request-Id", "the-tail")]);
    assert_eq!(tail.next().unwrap().name, "cursor");
    let begun = Instant::now();
    site.backend.signal(rustix::process::Signal::TERM);
    tail.until_it_ends();
    assert_eq!(site.backend.exit_code(), 0);
    assert!(begun.elapsed() < Duration::from_secs(5), "its end was waited for: {:?}", begun.elapsed());
    let of_tail: Vec<_> = site.backend.lines().into_iter().filter(|line| line["request_id"] == "the-tail").collect();
    assert!(
        matches!(&of_tail[..], [line] if lines::is_access_line(line) && line["outcome"] == "answered"),
        "{of_tail:?}"
    );
}

#[test]
fn there_are_only_so_many_tails_and_one_more_is_told_when_to_try_again() {
    let site = Site::start();
    let mut tails: Vec<_> = (0..TAILS_MAX).map(|_| Tail::open(site.address, "/api/tail", &[])).collect();
    assert!(tails.iter().all(|tail| tail.status == 200));
    let refused = site.get("/api/tail");
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("10")), "{}", refused.text());
    assert!(
        refused.json()["detail"].as_str().unwrap().contains("64 live tails are already open"),
        "{}",
        refused.text()
    );
    drop(tails.pop());
    wait::until("there is room again", || (Tail::open(site.address, "/api/tail", &[]).status == 200).then_some(()));
    assert!(tails.iter().all(|tail| tail.head.contains("no-store")));
}

#[test]
fn a_token_with_many_tails_leaves_room_for_others() {
    let tokens = TokensFile::new();
    let site = Plan::shop(TestStore::embedded()).with_tokens(&tokens).start();
    let (name, value) = bearer(TOKEN_OF_A);
    let open = || Tail::open(site.address, "/api/tail", &[(name, &value)]);
    let mut tails: Vec<_> = (0..TAILS_PER_TOKEN).map(|_| open()).collect();
    assert!(tails.iter().all(|tail| tail.status == 200));
    let refused = site.get_with_token("/api/tail", TOKEN_OF_A);
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("10")), "{}", refused.text());
    // A session counts for its token.
    let answer = log_in(site.address, TOKEN_OF_A, &[]);
    let session = answer.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    assert_eq!(Tail::open(site.address, "/api/tail", &[("Cookie", &session)]).status, 503);
    let (name, of_all) = bearer(TOKEN_OF_ALL);
    assert_eq!(Tail::open(site.address, "/api/tail", &[(name, &of_all)]).status, 200);
    let scrape = observability_tests::scrape::Scrape::of(site.address);
    assert_eq!(scrape.metric("limits_reached_total", &[("limit", "tails_per_token")]), 2.0);
    drop(tails.pop());
    wait::until("there is room again", || (open().status == 200).then_some(()));
}
