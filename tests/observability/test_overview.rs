//! What the overview and a search's counts say is so: each link is followed, and there are as many lines behind it as it says.

use std::collections::BTreeMap;

use observability_tests::http::Answer;
use serde_json::Value;
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

use crate::site::{Plan, Site, line, text};
use crate::test_store::TestStore;

/// Minutes before the hour that the page looks at by default begins, and within it.
const BEFORE: i64 = -70;
const REQUESTS: i64 = 120;

/// A line of this age, in seconds.
fn at(mut line: Value, ago_s: i64) -> Value {
    let time = OffsetDateTime::now_utc() - Duration::seconds(ago_s);
    line["timestamp"] = time.format(&Rfc3339).unwrap().into();
    line
}

fn entry(level: &str, message: &str, ago_s: i64) -> Value {
    at(serde_json::from_str(&line("shop", level, message, None, 0)).unwrap(), ago_s)
}

/// Lines of several endpoints, projects, levels, statuses and messages, some of them from before the hour. No pattern's words
/// are another's.
fn lines() -> Vec<String> {
    let mut lines = Vec::new();
    for n in 0..REQUESTS {
        // One a minute and more, the last a minute ago; those over an hour ago are not looked at.
        let ago = 60 + n * 35;
        let mut access = entry(["info", "warn"][(n % 2) as usize], "request ended", ago);
        access["request_id"] = format!("r-{n}").into();
        access["project_id"] = ["shop", "billing", "b:c/d=e+f"][(n % 3) as usize].into();
        let status = [Value::from(200), 404.into(), 503.into(), Value::Null][(n % 4) as usize].clone();
        let endpoint = format!("/e{}/{{id}}", n % 11);
        for (name, value) in [
            ("target", "access".into()),
            ("method", "GET".into()),
            ("endpoint", endpoint.clone().into()),
            ("status", status),
            ("duration_ms", n.into()),
            ("outcome", "answered".into()),
        ] {
            access[name] = value;
        }
        lines.push(access);
        // Has an endpoint, and is no request's end.
        let mut within = entry("debug", &format!("step {n} of \"them\" was co.uk:fine"), ago);
        within["endpoint"] = endpoint.into();
        lines.push(within);
    }
    lines.extend((0..8).map(|n| entry("error", &format!("card {n} refused"), 600 + n)));
    lines.extend((0..3).map(|n| {
        let mut alert = entry("warn", "alert firing: HighErrorRate", 700 + n);
        alert["target"] = "alert".into();
        alert
    }));
    lines.extend((0..5).map(|n| entry("info", &format!("{n} + {n}"), 800 + n)));
    lines.push(entry("info", "quite old", -BEFORE * 60));
    lines.iter().map(text).collect()
}

/// The links of a page below `/search`, each with what it says: its text, or an area's title.
fn links(page: &str) -> Vec<(String, String)> {
    let mut links = Vec::new();
    for part in page.split("<a href=\"/search").skip(1) {
        let (href, rest) = part.split_once('"').unwrap();
        let says = match rest.strip_prefix(" aria-label=\"") {
            Some(rest) => rest.split_once('"').unwrap().0,
            None => rest.split_once('>').unwrap().1.split("</a>").next().unwrap(),
        };
        links.push((format!("/search{}", unescaped(href)), unescaped(says)));
    }
    links
}

fn unescaped(text: &str) -> String {
    [("&#38;", "&"), ("&amp;", "&"), ("&#34;", "\""), ("&quot;", "\""), ("&#60;", "<"), ("&lt;", "<")]
        .iter()
        .fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

/// The number that a text begins with.
fn number(text: &str) -> Option<u64> {
    let digits: String = text.chars().take_while(|sign| sign.is_ascii_digit() || *sign == ',').collect();
    digits.replace(',', "").parse().ok()
}

/// How many lines a search says it found.
#[track_caller]
fn found(answer: &Answer, of: &str) -> u64 {
    assert_eq!(answer.status, 200, "{of}: {}", answer.text());
    let summary = answer.text().split_once("<p id=\"summary\"><strong>").unwrap_or_else(|| panic!("{of}")).1;
    number(summary).unwrap_or_else(|| panic!("{of}: {summary}"))
}

/// What the number of a table's row or of a pattern is: the first after its link.
fn of_row(page: &str, href: &str) -> Option<u64> {
    let rest = page.split_once(&format!("<a href=\"{href}\""))?.1.split_once("class=\"number\">")?.1;
    number(rest)
}

#[track_caller]
fn each_link_leads_to_as_many_lines_as_it_says(site: &Site, path: &str) -> usize {
    let page = site.get(path);
    let text = page.text();
    assert_eq!(page.status, 200, "{text}");
    let mut counted = 0;
    for (href, says) in links(text) {
        let lines = found(&site.get(&href), &href);
        assert!(lines > 0, "{says}: nothing at {href}");
        // A picture's part, a tile, or a row whose number stands after its name.
        let escaped = href.replace('&', "&#38;");
        let expected = if says.contains(" from ") || says.chars().all(|sign| sign.is_ascii_digit() || sign == ',') {
            number(&says)
        } else if says.ends_with('%') || says == "View all" || href.contains("cursor=") {
            None
        } else {
            of_row(text, &escaped).or_else(|| of_row(text, &href))
        };
        if let Some(expected) = expected {
            assert_eq!(lines, expected, "{says}: {href}");
            counted += 1;
        }
    }
    counted
}

#[test]
fn each_point_of_the_overview_leads_to_its_own_lines() {
    let lines = lines();
    let site = Plan::shop(TestStore::embedded()).with_lines(lines).start();
    // Pictures of a minute's steps, of which there are about sixty, four times; tables; tiles; patterns.
    let counted = each_link_leads_to_as_many_lines_as_it_says(&site, "/");
    assert!(counted > 200, "{counted}");
    let page = site.get("/").text().to_owned();
    for text in ["in other groups</p>", "New since", "Not seen between", "failures of"] {
        assert!(page.contains(text) || page.contains(&text.replace("failures of", "failure of")), "{text}: {page}");
    }
    // Failures lead to those that failed, by project and endpoint, and errors to their request or their surroundings.
    let failures: Vec<_> = links(&page).into_iter().filter(|(_, says)| says.ends_with('%')).collect();
    assert!(failures.len() > 4, "{failures:?}");
    for (href, _) in failures {
        let found = site.get(&href).text().to_owned();
        assert!(found.contains("request ended") && !found.contains("<dd>404</dd>"), "{href}");
        assert!(found.contains("Show request"), "{href}");
    }
    let latest = page.split_once("id=\"latest-errors\">").unwrap().1.split_once("</ul>").unwrap().0;
    for href in latest.split("<a href=\"").skip(1).map(|rest| rest.split('"').next().unwrap()) {
        assert_eq!(site.get(href).status, 200, "{href}");
    }
}

#[test]
fn each_count_beside_a_search_leads_to_as_many_lines() {
    let site = Plan::shop(TestStore::embedded()).with_lines(lines()).start();
    for path in [
        "/search",
        "/search?last=all",
        "/search?last=1h",
        "/search?query=request&level=warn",
        "/search?last=1h&project=billing",
    ] {
        let page = site.get(path).text().to_owned();
        let mut counted = 0;
        for (href, says) in links(&page).into_iter().filter(|(_, says)| says.contains(" from ")) {
            assert_eq!(Some(found(&site.get(&href), &href)), number(&says), "{path}: {says}: {href}");
            counted += 1;
        }
        assert!(counted > 0, "{path}");
    }
}

#[test]
fn patterns_are_new_only_if_they_were_not_seen_before() {
    // Each pattern with the ages of its lines.
    let mut written_ago: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
    for (pattern, ago) in [
        ("the old one", &[3_000, 1_500, 100][..]),
        ("the new one", &[900, 100]),
        ("the very new one", &[100]),
        ("the rare old one", &[2_000]),
        ("the one from before", &[5_000, 100]),
    ] {
        written_ago.insert(pattern, ago.to_vec());
    }
    let lines = written_ago.iter().flat_map(|(pattern, ago)| ago.iter().map(|ago| text(&entry("info", pattern, *ago))));
    let site = Plan::shop(TestStore::embedded()).with_lines(lines.collect()).start();
    let since = |ago: i64| {
        let time = OffsetDateTime::now_utc() - Duration::seconds(ago);
        time.replace_nanosecond(0).unwrap().format(&Rfc3339).unwrap()
    };
    for ago in [60, 600, 1_200, 1_800, 2_500, 3_300] {
        let page = site.get(&format!("/?since={}", since(ago))).text().to_owned();
        let (before, rest) = page.split_once("Message patterns").unwrap();
        let (new, old) = rest.split_once("Seen before").unwrap_or((rest, ""));
        for (pattern, ages) in &written_ago {
            // What the page looks at is an hour.
            let first = ages.iter().copied().filter(|age| *age < 3_600).max().unwrap();
            let is_new = first <= ago;
            let named = format!(">{pattern}<");
            assert_eq!(
                (new.contains(&named), old.contains(&named)),
                (is_new, !is_new),
                "{pattern} since {ago}: {rest}"
            );
        }
        assert!(!before.contains("New patterns are unknown"));
    }
    // Nothing is known of what was before the hour: no pattern is marked as new, and the page says so.
    let page = site.get(&format!("/?since={}", since(4_000))).text().to_owned();
    assert!(page.contains("New patterns are unknown") && !page.contains("class=\"new\""), "{page}");
    assert_eq!(site.get("/?since=yesterday").status, 400);
}
