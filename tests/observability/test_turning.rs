//! Paging through a search in both directions while lines arrive.

use crate::site::{Plan, Site, line};
use crate::test_store::TestStore;

/// Number of lines, all with the same time.
const LINES: usize = 250;

/// A search page: the numbers of its lines, and the links to the previous and next page.
struct Turned {
    numbers: Vec<usize>,
    previous: Option<String>,
    next: Option<String>,
}

fn turn(site: &Site, path: &str) -> Turned {
    let answer = site.get(path);
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    let text = answer.text();
    let messages = text.split("<span class=\"message\">number ").skip(1);
    let numbers = messages.map(|rest| rest.split('<').next().unwrap().parse().unwrap()).collect();
    let link = |id: &str| {
        let before = text.split_once(&format!("\" id=\"{id}\">"))?.0;
        Some(before.rsplit_once("href=\"")?.1.split('"').next()?.replace("&#38;", "&"))
    };
    Turned { numbers, previous: link("previous"), next: link("next") }
}

fn numbered(numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers.map(|n| line("batch", "info", &format!("number {n}"), None, 0)).collect()
}

fn pages_can_be_turned_in_both_directions(store: TestStore) {
    let site = Plan::shop(store).start();
    // all lines have the same time, so that their offsets decide the order
    site.append(&numbered(0..LINES));
    site.wait_for("batch", LINES);
    let first = turn(&site, "/search?service=batch");
    assert_eq!((first.numbers.len(), &first.previous), (100, &None));
    // new lines arrive between two pages
    let mut there = LINES;
    let mut more = || {
        site.append(&numbered(there..there + 10));
        there += 10;
        site.wait_for("batch", there);
    };
    let (mut forwards, mut at) = (vec![first.numbers.clone()], first);
    while let Some(next) = at.next.clone() {
        more();
        at = turn(&site, &next);
        forwards.push(at.numbers.clone());
    }
    assert_eq!(forwards.iter().map(Vec::len).collect::<Vec<_>>(), [100, 100, 50]);
    let all: Vec<_> = forwards.concat();
    assert_eq!(all, (0..LINES).rev().collect::<Vec<_>>(), "newest first, each once");
    // backwards: the same pages, then the new lines
    let mut backwards = vec![at.numbers.clone()];
    while let Some(previous) = at.previous.clone() {
        if backwards.len() < forwards.len() {
            more();
        }
        at = turn(&site, &previous);
        backwards.push(at.numbers.clone());
        assert!(backwards.len() < 10, "pages do not end");
    }
    backwards.reverse();
    let all: Vec<_> = backwards.concat();
    assert_eq!(all, (0..all.len()).rev().collect::<Vec<_>>(), "each once");
    assert_eq!(all.len(), LINES + 10 * 4);
    assert!(backwards.ends_with(&forwards), "{backwards:?}");
    // forwards again from there
    assert_eq!(turn(&site, &at.next.unwrap()).numbers, forwards[0]);
}

#[test]
fn pages_can_be_turned_in_both_directions_in_the_embedded_store() {
    pages_can_be_turned_in_both_directions(TestStore::embedded());
}

#[test]
fn pages_can_be_turned_in_both_directions_in_an_engine() {
    pages_can_be_turned_in_both_directions(TestStore::engine());
}
