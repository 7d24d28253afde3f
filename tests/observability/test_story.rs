//! The story of a request where it is not a plain one: lines at its edges are missing, its endpoint is down, its source is a busy
//! one, its lines say absurd things, or most of what is around it is not for the reader.

use observability_tests::http::Answer;
use observability_tests::wait;
use serde_json::{Value, json};

use crate::site::{Plan, Site, line, request, text};
use crate::test_access::{TOKEN_OF_A, TokensFile};
use crate::test_store::TestStore;

/// The words of the badge.
fn badge(site: &Site, id: &str) -> String {
    let page = site.get(&format!("/requests/{id}"));
    let badge = page.text().split("id=\"completeness\"").nth(1).unwrap_or_else(|| panic!("{}", page.text()));
    badge.split("</details>").next().unwrap().to_owned()
}

/// An address as written in a page.
fn unescaped(href: &str) -> String {
    href.replace("&#38;", "&").replace("&amp;", "&")
}

/// A part of a page by its id, without tags.
fn section(page: &Answer, id: &str) -> String {
    let part = page.text().split(&format!("id=\"{id}\"")).nth(1).unwrap_or_else(|| panic!("{}", page.text()));
    let part = part.split("</section>").next().unwrap();
    let words = part.split('<').map(|piece| piece.split_once('>').map_or(piece, |(_, text)| text));
    words.collect::<Vec<_>>().join(" ").split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn a_first_or_last_line_that_is_missing_is_noticed() {
    let site = Site::start();
    let complete = badge(&site, "good-5");
    assert!(complete.contains("All lines present (4 lines from 1 source)"), "{complete}");
    assert!(complete.contains("contiguous, nothing missing"), "{complete}");
    site.remove("good-5", "request");
    let after = badge(&site, "good-5");
    assert!(
        after.contains("1 gap directly after its last line") && after.contains("this or another request"),
        "{after}"
    );
    site.remove("good-5", "order received");
    let both = badge(&site, "good-5");
    assert!(both.contains("2 gaps directly before and after its lines"), "{both}");
    // Nor are the other requests reported as complete.
    assert!(badge(&site, "good-4").contains("1 gap directly after its last line"));
    assert!(badge(&site, "good-6").contains("1 gap directly before its first line"));
    assert!(badge(&site, "good-7").contains("All lines present (4 lines"));
    let last = badge(&site, "bad-2");
    assert!(
        last.contains("All lines present (4 lines") && last.contains("no later line of this source is stored"),
        "{last}"
    );
}

#[test]
fn an_access_line_that_is_the_sources_last_and_a_dead_letter_is_noticed() {
    let mut lines = request("ends-deep", 230_000, &[("info", "order received", 0)], 200, 47);
    let deep = format!(",\"deep\":{}1{}}}\n", "[".repeat(90), "]".repeat(90));
    lines[1] = lines[1].trim_end().strip_suffix('}').unwrap().to_owned() + &deep;
    let site = Plan::shop(TestStore::engine()).with_lines(lines).start_with(1);
    let page = wait::until("the dead letter is reported", || {
        Some(badge(&site, "ends-deep")).filter(|badge| badge.contains("data-verdict=\"dead-letter\""))
    });
    assert!(page.contains("1 dead letter directly after its last line"), "{page}");
}

#[test]
fn a_busy_source_is_judged_whole() {
    const OTHERS: usize = 25_000;
    let mut lines = vec![line("shop", "info", "begun", Some("hour"), 0)];
    lines.extend((0..OTHERS).map(|n| line("crowd", "info", "another", Some(&format!("other-{n}")), n as i64)));
    lines.extend(request("hour", 0, &[], 200, 3_600_000));
    let site = Plan::shop(TestStore::embedded()).with_lines(lines).start();
    site.wait_for("crowd", OTHERS);
    assert!(badge(&site, "hour").contains("All lines present (2 lines from 1 source)"), "{}", badge(&site, "hour"));
    let other = site.get("/api/requests/other-17000").json()["lines"][0]["origin"].clone();
    site.remove("other-17000", "another");
    let gap = badge(&site, "hour");
    assert!(gap.contains(&format!("1 gap: {} bytes of the source", other["length"])), "{gap}");
    let offset = other["offset"].to_string();
    let (thousands, rest) = offset.split_at(offset.len() - 3);
    let offset = format!("{},{},{rest}", &thousands[..thousands.len() - 3], &thousands[thousands.len() - 3..]);
    assert!(gap.contains(&format!("at offsets {offset} to")), "{offset}: {gap}");
}

#[test]
fn in_an_outage_the_nearest_good_request_is_still_found() {
    let failing = [("info", "order received", 0), ("error", "card refused", 31)];
    let good = [("info", "order received", 0), ("info", "payment answered", 40)];
    let mut lines = request("long-ago", 0, &good, 200, 47);
    lines.extend((0..120).flat_map(|n| request(&format!("down-{n}"), 1_000 + n * 100, &failing, 503, 35)));
    let of_other = request("elsewhere", 50_000, &failing, 503, 35);
    lines.extend(of_other.into_iter().map(|line| line.replace("/orders/", "/never-good/")));
    let site = Plan::shop(TestStore::embedded()).with_lines(lines).start();
    let compared = section(&site.get("/requests/down-100"), "compare");
    assert!(compared.contains("long-ago") && compared.contains("payment answered"), "{compared}");
    // If there is none, the answer says so.
    let none = section(&site.get("/requests/elsewhere"), "compare");
    assert!(none.contains("no successful request to this endpoint is stored"), "{none}");
    let none = section(&site.get("/requests/elsewhere?compare=nobody"), "compare");
    assert!(none.contains("request nobody was not found"), "{none}");
}

#[test]
fn an_error_is_found_elsewhere_by_the_stores_own_words() {
    let mut lines = Vec::new();
    for n in 0..15 {
        let error = format!("can't reach db_primary.internal, attempt {n} of \"{n}\"");
        lines.extend(request(&format!("cut-off-{n}"), n * 1_000, &[("error", &error, 5)], 500, 9));
    }
    lines.extend(request("alone", 50_000, &[("error", "disk is full", 5)], 500, 9));
    let site = Plan::shop(TestStore::embedded()).with_lines(lines).start();
    let page = site.get("/requests/cut-off-3");
    let same = section(&page, "same-error");
    assert!(same.contains("Newest 10 of 14 other requests with this error, among all lines"), "{same}");
    assert!(!same.contains("cut-off-3"), "{same}");
    // The rest are where it leads.
    let search = page.text().split("id=\"same-error\"").nth(1).unwrap().split("href=\"").find_map(|rest| {
        rest.starts_with("/search?")
            .then(|| rest.split('"').next().unwrap().replace("&#38;", "&").replace("&amp;", "&"))
    });
    let found = site.get(&search.unwrap());
    assert!(found.status == 200 && found.text().contains("15 lines"), "{}", found.text());
    let alone = section(&site.get("/requests/alone"), "same-error");
    assert!(alone.contains("No other request with this error, among all lines of this service"), "{alone}");
}

/// A line with another time, and with another duration where it is an access line.
fn absurd(line: &str, timestamp: Option<&str>, duration_ms: Value) -> String {
    let mut line: Value = serde_json::from_str(line).unwrap();
    if let Some(timestamp) = timestamp {
        line["timestamp"] = timestamp.into();
    }
    if line["duration_ms"].is_number() {
        line["duration_ms"] = duration_ms;
    }
    text(&line)
}

#[test]
fn absurd_times_and_durations_are_shown_as_such_and_break_nothing() {
    let steps = [("info", "order received", 0), ("error", "card refused", 4)];
    let mut lines = Vec::new();
    let durations = [json!(1e308), json!(-1e308), json!(-5), json!(9e15), json!(1e-300)];
    for (place, duration) in durations.iter().enumerate() {
        let of = request(&format!("odd-{place}"), 0, &steps, 500, 35);
        lines.extend(of.iter().map(|line| absurd(line, None, duration.clone())));
    }
    let times = ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z", "1969-12-31T23:59:59Z"];
    for (place, time) in times.iter().enumerate() {
        let of = request(&format!("when-{place}"), 0, &steps, 500, 35);
        lines.push(absurd(&of[0], Some(time), json!(1)));
        lines.extend(of[1..].iter().cloned());
        lines.push(absurd(&of[2], Some(time), json!(1e308)));
    }
    let site = Plan::shop(TestStore::embedded()).with_lines(lines).start();
    let ids = (0..durations.len()).map(|n| format!("odd-{n}")).chain((0..times.len()).map(|n| format!("when-{n}")));
    for id in ids {
        for path in [format!("/requests/{id}"), format!("/requests/{id}/file"), format!("/api/requests/{id}")] {
            assert_eq!(site.get(&path).status, 200, "{path}");
        }
        let story = site.get(&format!("/requests/{id}"));
        for nonsense in ["NaN", "9223372036854", "2562047", "292277"] {
            assert!(!section(&story, "main").contains(nonsense), "{id}: {nonsense}: {}", story.text());
        }
    }
    let took = |id: &str| section(&site.get(&format!("/requests/{id}")), "main");
    assert!(
        took("odd-0").contains("Duration 1e308 ms according to its access line (implausible)"),
        "{}",
        took("odd-0")
    );
    assert!(took("odd-4").contains("Duration 0 µs"), "{}", took("odd-4"));
    let when = site.get("/requests/when-1");
    assert!(when.text().contains("+1,000 d or more"), "{}", when.text());
    for path in ["/", "/?last=30d", "/search?last=all", "/api/stats", "/api/histogram?step_s=3600", "/api/facets"] {
        assert_eq!(site.get(path).status, 200, "{path}");
    }
    assert!(!site.backend.stdout().contains("panicked"), "{}", site.backend.stdout());
}

#[test]
fn around_a_line_others_lines_are_passed_over_up_to_a_bound_that_is_told() {
    let tokens = TokensFile::new();
    let of = |project: &str, message: &str, at: i64| line(project, "info", message, Some("of-a"), at);
    let mut lines = vec![of("a", "the first of a", 0)];
    // Ten MiB.
    lines.extend((0..160).map(|n| of("b", &"b".repeat(64 * 1024), n)));
    lines.push(of("a", "the last of a", 1_000));
    let site = Plan::shop(TestStore::embedded()).with_lines(lines).with_tokens(&tokens).start_with(0);
    site.wait_for("a", 2);
    let origin = site.get_with_token("/api/requests/of-a", TOKEN_OF_A).json()["lines"][1]["origin"].clone();
    let place = format!("{}/{}", origin["generation"].as_str().unwrap(), origin["offset"]);
    let page = site.get_with_token(&format!("/sources/{place}"), TOKEN_OF_A);
    assert!(page.text().contains("the last of a") && !page.text().contains("the first of a"), "{}", page.text());
    assert!(page.text().contains("The 8 MiB before this offset hold no line that you can see"), "{}", page.text());
    let on = page.text().split("id=\"earlier\"").next().unwrap().rsplit("href=\"").next().unwrap();
    let on = unescaped(on.split('"').next().unwrap()).split('#').next().unwrap().to_owned();
    let rest = site.get_with_token(&on, TOKEN_OF_A);
    assert!(rest.status == 200 && rest.text().contains("the first of a"), "{on}: {}", rest.text());
    assert!(!rest.text().contains("id=\"earlier\""), "{}", rest.text());

    let around = site.get_with_token(&format!("/api/sources/{place}/around"), TOKEN_OF_A).json();
    // Whether anything follows its own last line is unknown.
    let (offset, bound) = (origin["offset"].as_u64().unwrap(), 8 * 1024 * 1024);
    assert_eq!((&around["earlier"], &around["later"]), (&(offset - bound).into(), &(offset + bound).into()));
    let all = site.get_with_token(&format!("/sources/{place}"), crate::test_access::TOKEN_OF_ALL);
    assert!(
        !all.text().contains("MiB before this offset") && all.text().contains("id=\"earlier\""),
        "nothing is hidden"
    );
}
