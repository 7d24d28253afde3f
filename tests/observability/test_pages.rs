//! What a person does with the pages: the story of a request, search, live tail, overview, login; with and without
//! JavaScript, on a desk and on a phone; over the embedded store, and over the engines with one site each.

use observability_tests::browser::{Look, Page, axe, keys};
use observability_tests::wait;

use crate::site::{Plan, Site, line};
use crate::test_access::{TOKEN_OF_A, TokensFile};
use crate::test_store::TestStore;

/// Pictures in both looks, nothing that keeps people from using the page, nothing to scroll sideways on a phone.
#[track_caller]
fn assert_good_page(site: &Site, page: &Page, name: &str) {
    // It looks the same whatever the store is.
    if !site.is_embedded() {
        return page.assert_fits();
    }
    for look in Look::ALL {
        page.look(look);
        page.picture(&format!("{name}-{}", look.name()));
    }
    page.assert_fits();
    axe::assert_accessible(page);
    page.emulate_phone(true);
    page.picture(&format!("{name}-phone"));
    page.assert_fits();
    page.emulate_phone(false);
}

#[test]
fn an_id_opens_its_story_and_the_badge_tells_a_line_that_is_gone() {
    let site = Site::start();
    a_story_is_opened_and_loses_a_line(&site, &site.page());
}

fn a_story_is_opened_and_loses_a_line(site: &Site, page: &Page) {
    page.open("/");
    page.fill("#find", "good-5\n");
    page.wait_for_path("the story's", |path| path == "/requests/good-5");
    page.wait_for_count("#story > li.line", 4);
    assert_eq!(page.texts("#story .message")[..2], ["order received", "payment requested"]);
    assert_eq!(page.text("#request-id"), "good-5");
    assert_eq!(page.attribute("#completeness", "data-verdict").as_deref(), Some("complete"));
    assert!(page.text("#completeness summary").contains("4 lines"), "{}", page.text("#completeness summary"));
    // Nothing about it was out of the usual.
    assert_eq!((page.count(".slow"), page.count("#compare")), (0, 0));
    page.click("#story li.line summary");
    assert!(page.text("#story li.line dl.fields").contains("shop"));
    assert_good_page(site, page, "story");
    page.assert_quiet(&[]);

    site.remove("good-5", "payment requested");
    page.reload();
    page.wait_for_count("#story > li.line", 3);
    assert_eq!(page.attribute("#completeness", "data-verdict").as_deref(), Some("gap"));
    page.click("#completeness summary");
    page.assert_fits();
    page.picture("story-gap");
    page.assert_quiet(&[]);
}

#[test]
fn a_slow_step_is_marked_and_a_failure_stands_beside_a_good_request() {
    let site = Site::start();
    slow_and_failed_requests_are_explained(&site, &site.page());
}

fn slow_and_failed_requests_are_explained(site: &Site, page: &Page) {
    page.open("/requests/slow-1");
    page.wait_for_count("#story .gap.slow", 1);
    assert!(page.text("#story li.line:has(.slow) .message").contains("payment answered"));
    page.wait_for_count("#compare", 1);
    assert_good_page(site, page, "story-slow");

    page.open("/requests/bad-1");
    let compared = page.text("#compare");
    for text in ["payment answered", "(missing)", "card refused"] {
        assert!(compared.contains(text), "{text}: {compared}");
    }
    page.wait_for_count("#compare tr.parts", 1);
    assert!(page.text("#same-error").contains("bad-2"), "{}", page.text("#same-error"));
    assert_good_page(site, page, "story-failed");
    page.assert_quiet(&[]);
}

#[test]
fn search_narrows_pages_without_jumps_and_says_what_is_wrong() {
    let site = Site::start();
    search_narrows_and_pages(&site, &site.page());
}

fn search_narrows_and_pages(site: &Site, page: &Page) {
    let many: Vec<_> = (0..250).map(|n| line("batch", "info", &format!("number {n}"), None, 0)).collect();
    site.append(&many);
    site.wait_for("batch", 250);
    page.open("/search?service=batch");
    page.wait_for_count("#results > li.line", 100);
    assert!(page.text(".facets").contains("batch"));
    assert_good_page(site, page, "search");

    // New lines come in between two pages; none is shown twice and none is left out.
    let mut seen = page.texts("#results .message");
    site.append(&(250..300).map(|n| line("batch", "info", &format!("number {n}"), None, 0)).collect::<Vec<_>>());
    site.wait_for("batch", 300);
    while page.count("#next") == 1 {
        let before = page.path();
        page.click("#next");
        page.wait_for_path("the next page's", |path| path != before);
        seen.extend(page.texts("#results .message"));
        assert!(seen.len() <= 400, "pages do not end");
    }
    let mut numbers: Vec<_> = seen.iter().map(|text| text.replace("number ", "").parse::<u32>().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..250).collect::<Vec<_>>());

    page.open("/search?level=error&service=shop");
    page.wait_for_count("#results > li.line.error", 2);
    page.wait_for_count("#results > li.line", 2);
    page.open("/search?query=level%3Anonsense");
    assert!(page.text("#wrong").contains("level"), "{}", page.text("#wrong"));
    assert_eq!(page.text("#wrong pre"), "level:nonsense\n      ^", "where it is wrong");
    page.picture("search-wrong");
    page.open("/search?query=zebra");
    page.wait_for_count("#empty", 1);
    page.assert_quiet(&["status of 400"]);
}

#[test]
fn the_tail_shows_new_lines_and_pausing_loses_none() {
    let site = Site::start();
    the_tail_is_followed(&site, &site.page());
}

fn the_tail_is_followed(site: &Site, page: &Page) {
    page.open("/tail?service=live");
    page.wait_for_text("#tail-state", "Waiting");
    site.append(&[line("live", "info", "the first", None, 0), line("other", "info", "not selected", None, 0)]);
    page.wait_for_count("#tail > li.line", 1);
    assert_eq!(page.texts("#tail .message"), ["the first"]);
    page.click("#tail-pause");
    page.wait_for_text("#tail-state", "Paused");
    site.append(&[line("live", "warn", "while it paused", None, 0)]);
    site.wait_for("live", 2);
    assert_eq!(page.count("#tail > li.line"), 1);
    page.click("#tail-pause");
    page.wait_for_count("#tail > li.line", 2);
    assert_eq!(page.texts("#tail .message"), ["while it paused", "the first"]);
    assert_good_page(site, page, "tail");
    page.assert_quiet(&[]);
}

#[test]
fn the_overview_shows_what_is_going_on_and_each_point_leads_on() {
    let site = Site::start();
    the_overview_leads_on(&site, &site.page());
}

fn the_overview_leads_on(site: &Site, page: &Page) {
    page.open("/");
    page.wait_for_text(".cards", "/orders/{id}");
    assert!(page.count("figure.chart svg") >= 4);
    assert_eq!(page.count("#latest-errors > li"), 2);
    assert_good_page(site, page, "overview");
    page.click("#latest-errors a");
    page.wait_for_path("a story's", |path| path.starts_with("/requests/bad-"));
    page.assert_quiet(&[]);
}

#[test]
fn an_empty_store_is_said_to_be_empty() {
    nothing_is_there_yet(&Plan::shop(TestStore::embedded()).without_lines().start());
}

fn nothing_is_there_yet(site: &Site) {
    let page = site.page();
    for path in ["/", "/search", "/search?last=all", "/search?level=error"] {
        page.open(path);
        page.wait_for_count("#empty", 1);
    }
    page.open("/requests/nobody");
    assert!(page.text("main").contains("Request not found"));
    page.picture("no-story");
    page.assert_quiet(&["status of 404"]);
}

#[test]
fn all_but_the_tail_works_without_javascript() {
    let site = Site::start();
    let page = site.page_without_javascript();
    page.open("/");
    page.wait_for_text(".cards", "/orders/{id}");
    page.fill("#find", "bad-1\n");
    page.wait_for_path("the story's", |path| path == "/requests/bad-1");
    page.click("#story li.line summary");
    wait::until("a line's fields", || page.texts("#story dl.fields").first().filter(|text| !text.is_empty()).cloned());
    page.fill("#find", "card\n");
    page.wait_for_path("a search's", |path| path.starts_with("/search?"));
    page.wait_for_count("#results > li.line", 2);
    page.picture("search-without-javascript");
    page.open("/tail");
    assert!(page.text("main").contains("needs JavaScript"));
    page.assert_quiet(&[]);
}

#[test]
fn keys_do_what_a_mouse_does() {
    let site = Site::start();
    let page = site.page();
    page.open("/requests/bad-1");
    page.wait_for_count("#story", 1);
    page.press(keys::TAB);
    assert!(page.focus().contains("Skip"), "{}", page.focus());
    page.press("j");
    page.press(keys::ENTER);
    page.wait_for_count("#story li.line > details[open]", 1);
    page.press("/");
    assert!(page.focus().starts_with("input"), "{}", page.focus());
    page.press("good-7");
    page.press(keys::ENTER);
    page.wait_for_path("the story's", |path| path == "/requests/good-7");
    page.assert_quiet(&[]);
}

#[test]
fn a_person_logs_in_and_out() {
    let tokens = TokensFile::new();
    let site = Plan::shop(TestStore::embedded()).with_tokens(&tokens).start();
    let page = site.page();
    page.open("/requests/good-5");
    page.wait_for_path("the login's", |path| path.starts_with("/login"));
    assert_good_page(&site, &page, "login");
    page.fill("#token", "a-token-that-nobody-has\n");
    page.wait_for_count("[role=alert]", 1);
    page.fill("#token", &format!("{TOKEN_OF_A}\n"));
    // That token sees project a, and the request is of another.
    page.wait_for_text("main", "Request not found");
    page.click("form.who button");
    page.wait_for_path("the login's", |path| path.starts_with("/login"));
    page.assert_quiet(&["status of 40"]);
}

/// All that the tests above do over the embedded store, one after the other.
fn a_person_finds_it_all_in(store: impl Fn() -> TestStore) {
    nothing_is_there_yet(&Plan::shop(store()).without_lines().start());
    let site = Plan::shop(store()).start();
    let page = site.page();
    the_overview_leads_on(&site, &page);
    slow_and_failed_requests_are_explained(&site, &page);
    search_narrows_and_pages(&site, &page);
    the_tail_is_followed(&site, &page);
    a_story_is_opened_and_loses_a_line(&site, &page);
}

#[test]
fn a_person_finds_it_all_in_an_engine() {
    a_person_finds_it_all_in(TestStore::engine);
}

#[test]
fn a_person_finds_it_all_in_an_engine_without_processors() {
    a_person_finds_it_all_in(TestStore::bare_engine);
}
