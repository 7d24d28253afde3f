//! *Is this all?* on the page: missing lines are distinguished from dead letters, and a container's file is judged like any other.

use observability_tests::wait;
use serde_json::{Value, json};

use crate::site::{Plan, Site, line, request, text};
use crate::test_access::{TOKEN_OF_ALL, TokensFile};
use crate::test_store::TestStore;

/// A request's lines, of which the second is one that OpenSearch takes for no document.
fn with_one_too_deep(id: &str) -> Vec<String> {
    let steps = [("info", "order received", 0), ("info", "the deep one", 4), ("info", "payment answered", 40)];
    let mut lines = request(id, 230_000, &steps, 200, 47);
    let deep = format!(",\"deep\":{}1{}}}\n", "[".repeat(90), "]".repeat(90));
    lines[1] = lines[1].trim_end().strip_suffix('}').unwrap().to_owned() + &deep;
    lines
}

fn badge(site: &Site, id: &str, verdict: &str) -> (String, String) {
    let page = site.page();
    wait::until_ok(&format!("the badge of {id} is {verdict}"), || {
        page.open(&format!("/requests/{id}"));
        match page.attribute("#completeness", "data-verdict") {
            Some(found) if found == verdict => Ok(()),
            found => Err(format!("it is {found:?}: {:?}", page.texts("#completeness"))),
        }
    });
    page.click("#completeness summary");
    page.assert_fits();
    page.picture(&format!("story-{verdict}"));
    page.assert_quiet(&[]);
    (page.text("#completeness summary"), page.text("#completeness"))
}

#[test]
fn a_dead_letter_is_told_from_a_line_that_is_missing() {
    let plan = Plan::shop(TestStore::engine()).with_lines(Vec::new());
    let site = plan.start();
    site.append(&with_one_too_deep("deep-1"));
    site.wait_for("shop", 3);
    let (summary, all) = badge(&site, "deep-1", "dead-letter");
    assert!(summary.starts_with("1 dead letter"), "{summary}");
    assert!(all.contains("depth of the nested array"), "the engine's own reason: {all}");

    site.remove("deep-1", "payment answered");
    let (summary, all) = badge(&site, "deep-1", "gap");
    assert!(summary.contains("missing, and 1 dead letter"), "{summary}");
    assert!(all.contains("depth of the nested array") && all.contains("No dead letter of the local shipper"), "{all}");
}

#[test]
fn without_the_shippers_state_a_gap_is_not_said_to_be_either() {
    let site = Plan::shop(TestStore::engine()).with_lines(with_one_too_deep("deep-2")).without_dead_letters();
    let site = site.start_with(3);
    let (summary, all) = badge(&site, "deep-2", "gap");
    assert!(summary.contains("missing or dead letters"), "{summary}");
    assert!(all.contains("SHIPPER_STATE_DIR"), "{all}");
}

#[test]
fn the_reason_of_a_dead_letter_is_for_those_who_may_see_its_line() {
    let tokens = TokensFile::new();
    // The line between is another project's.
    let mut lines =
        with_one_too_deep("deep-3").into_iter().map(|line| line.replace("\"shop\"", "\"a\"")).collect::<Vec<_>>();
    lines[1] = lines[1].replace("\"project_id\":\"a\"", "\"project_id\":\"b\"");
    let site = Plan::shop(TestStore::engine()).with_lines(lines).with_tokens(&tokens).start_with(0);
    let story = |token: &str| {
        let answer = site.get_with_token("/requests/deep-3", token);
        (answer.status, answer.text().to_owned())
    };
    let of_all = wait::until("the dead letter is reported", || {
        Some(story(TOKEN_OF_ALL)).filter(|(_, text)| text.contains("data-verdict=\"dead-letter\""))
    });
    assert!(of_all.1.contains("depth of the nested array"), "{}", of_all.1);
    let of_a = story(crate::test_access::TOKEN_OF_A);
    assert_eq!(of_a.0, 200);
    assert!(of_a.1.contains("a dead letter at offset") && !of_a.1.contains("nested array"), "{}", of_a.1);
}

/// Lines as entries of Docker's json-file, each with another of standard error before it, and one of several pieces.
fn in_a_container(lines: &[String]) -> Vec<String> {
    let entry =
        |log: &str, stream: &str| text(&json!({ "log": log, "stream": stream, "time": "2026-11-23T18:51:20.1Z" }));
    let both = lines.iter().enumerate().flat_map(|(index, line)| {
        let (first, rest) = line.split_at(if index == 1 { 40 } else { 0 });
        let mut entries = vec![entry("a warning\n", "stderr")];
        entries.extend((!first.is_empty()).then(|| entry(first, "stdout")));
        entries.extend([entry("another\n", "stderr"), entry(rest, "stdout")]);
        entries
    });
    both.collect()
}

fn the_badge_of_a_containers_lines_is_right(store: TestStore) {
    let steps = [("info", "order received", 0), ("info", "payment requested", 4), ("info", "payment answered", 40)];
    let mut lines = vec![line("shop", "info", "starting", None, 0)];
    lines.extend(request("of-docker", 230_000, &steps, 200, 47));
    let site = Plan::shop(store).with_docker_lines(in_a_container(&lines)).start_with(5);
    let origin: Value = site.get("/api/requests/of-docker").json()["lines"][0]["origin"].clone();
    assert!(origin["container"].is_string() || origin["file"].is_string(), "{origin}");
    let (summary, _) = badge(&site, "of-docker", "complete");
    assert!(summary.contains("All lines present (4 lines from 1 source)"), "{summary}");
    site.remove("of-docker", "payment requested");
    let (summary, _) = badge(&site, "of-docker", "gap");
    assert!(summary.starts_with("1 gap"), "{summary}");
}

#[test]
fn the_badge_of_a_containers_lines_is_right_in_the_embedded_store() {
    the_badge_of_a_containers_lines_is_right(TestStore::embedded());
}

#[test]
fn the_badge_of_a_containers_lines_is_right_in_an_engine_without_processors() {
    the_badge_of_a_containers_lines_is_right(TestStore::bare_engine());
}
