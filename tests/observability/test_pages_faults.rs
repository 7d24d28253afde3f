//! Pages when something breaks: the store is down, and the live tail's connection is cut.

use observability_tests::browser::Page;
use observability_tests::engine::Engine;
use observability_tests::relay::Relay;
use observability_tests::{lines, wait};

use crate::site::{Plan, Site, line};
use crate::test_store::TestStore;

#[test]
fn a_store_that_is_down_is_said_to_be_and_comes_back() {
    let relay = Relay::to(Engine::with_processors().address());
    let site = Plan::shop(TestStore::engine()).with_engine_at(relay.address).start();
    let page = site.page();
    relay.set_down(true);
    for path in ["/", "/search", "/requests/good-5"] {
        page.open(path);
        let text = page.text("main");
        assert!(text.contains("Log storage is not responding"), "{path}: {text}");
        for word in ["panick", "stack", "src/", ".rs"] {
            assert!(!text.contains(word), "{path}: {word}: {text}");
        }
        assert_eq!(site.get(path).status, 503, "{path}");
    }
    page.assert_fits();
    page.picture("store-down");
    let problem = site.get("/api/logs");
    assert_eq!((problem.status, problem.header("content-type")), (503, Some("application/problem+json")));
    page.assert_quiet(&["status of 503"]);

    relay.set_down(false);
    wait::until("the store is back", || (site.get("/requests/good-5").status == 200).then_some(()));
    page.reload();
    page.wait_for_count("#story > li.line", 4);
}

/// What the live tail shows, oldest first, once it has this many lines.
fn shown(page: &Page, count: usize) -> Vec<String> {
    page.wait_for_count("#tail > li.line", count);
    page.texts("#tail .message").into_iter().rev().collect()
}

fn live(numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers.map(|n| line("live", "info", &format!("number {n}"), None, 0)).collect()
}

#[test]
fn a_tail_whose_connection_is_cut_goes_on_without_losing_or_doubling_a_line() {
    let site = Site::start();
    let relay = Relay::to(site.address);
    let page = Page::on_desktop(format!("http://{}", relay.address));
    page.open("/tail?service=live");
    page.wait_for_text("#tail-state", "Waiting");
    let tails = || relay.received().matches("GET /api/tail").count();
    let expected = |count: usize| (0..count).map(|n| format!("number {n}")).collect::<Vec<_>>();
    site.append(&live(0..3));
    assert_eq!(shown(&page, 3), expected(3));

    // Cut in the middle of it; lines come in while nobody is connected.
    relay.set_down(true);
    page.wait_for_text("#tail-state", "Connection lost");
    site.append(&live(3..7));
    site.wait_for("live", 7);
    assert_eq!(page.count("#tail > li.line"), 3);
    relay.set_down(false);
    assert_eq!(shown(&page, 7), expected(7));

    // And cut at once after lines came in.
    site.append(&live(7..9));
    page.wait_for_count("#tail > li.line", 9);
    let before = tails();
    relay.cut();
    wait::until("it connects again", || (tails() > before).then_some(()));
    site.append(&live(9..10));
    assert_eq!(shown(&page, 10), expected(10));
    let requests = relay.received();
    let again: Vec<_> = requests.split("GET ").filter(|part| part.starts_with("/api/tail")).skip(1).collect();
    assert!(
        !again.is_empty() && again.iter().all(|part| part.to_ascii_lowercase().contains("last-event-id: ")),
        "{requests}"
    );
}

#[test]
fn a_tail_writes_one_access_line_when_it_ends() {
    let site = Site::start();
    let page = site.page();
    page.open("/tail?service=live");
    page.wait_for_text("#tail-state", "Waiting");
    // A life of several rounds, some with lines and some without.
    for n in 0..3 {
        site.append(&live(n..n + 1));
        page.wait_for_count("#tail > li.line", n + 1);
    }
    let of_tail = || site.backend.lines().into_iter().filter(|line| line.to_string().contains("/api/tail"));
    let early: Vec<_> = of_tail().collect();
    assert!(early.is_empty(), "{early:?}");
    page.open("/readyz");
    wait::until("its access line", || of_tail().any(|line| lines::is_access_line(&line)).then_some(()));
    // Whatever else it would write is written by now: a request that begins later has its line.
    let later = site.get("/readyz?later").request_id().to_owned();
    site.get("/api/logs?limit=1");
    wait::until("a later line", || {
        site.backend.lines().iter().any(|line| line["endpoint"] == "/api/logs").then_some(())
    });
    let all: Vec<_> = of_tail().collect();
    assert_eq!(all.len(), 1, "{later}: {all:?}");
}
