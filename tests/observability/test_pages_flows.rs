//! What leads from one thing to the next on the pages: a pasted id, filters by hand and by counts, what a source says around a
//! line, a story of many lines, and the story as a file.

use std::collections::BTreeSet;

use observability_tests::browser::Page;
use observability_tests::http;
use serde_json::json;

use crate::site::{Plan, Site, line, request};
use crate::test_access::{TOKEN_OF_ALL, TokensFile};
use crate::test_store::{TestStore, unique_name};

#[test]
fn a_pasted_id_opens_its_story_without_another_key() {
    let site = Site::start();
    site.append(&request("order-0815", 0, &[], 200, 5));
    site.wait_for("shop", 93);
    let page = site.page();
    page.open("/search?service=nobody");
    page.fill("input[name=project]", "order-0815");
    page.click("input[name=project]");
    page.edit("selectAll");
    page.edit("cut");
    page.click("#find");
    page.edit("paste");
    page.wait_for_path("the story's", |path| path == "/requests/order-0815");
    page.wait_for_count("#story > li.line", 1);
    page.assert_quiet(&[]);
}

#[test]
fn filters_are_filled_by_hand_and_counts_lead_to_what_they_count() {
    let site = Site::start();
    let page = site.page();
    page.open("/search");
    page.fill("form.filters input[name=query]", "card OR payment");
    page.click("form.filters select[name=level] option[value=error]");
    page.fill("form.filters input[name=service]", "shop");
    page.click("form.filters select[name=last] option[value='1h']");
    page.click("form.filters button");
    page.wait_for_path("what was filled in", |path| path.contains("level=error") && path.contains("last=1h"));
    page.wait_for_count("#results > li.line", 2);
    assert_eq!(page.texts("#results .message"), ["card refused", "card refused"]);
    assert_eq!(
        page.attribute("form.filters input[name=query]", "value").as_deref(),
        Some("card OR payment"),
        "it is kept"
    );
    // Each filter can be taken away again.
    page.click(".chips a");
    page.wait_for_path("one filter less", |path| !path.contains("level=error"));

    // A count links to this many lines.
    page.open("/search?last=1h");
    let facets = page.texts(".facets li");
    let info = facets.iter().find(|text| text.starts_with("info")).unwrap_or_else(|| panic!("{facets:?}"));
    let count: usize = info.split_whitespace().last().unwrap().replace(',', "").parse().unwrap();
    page.click(".facets a[href*='level=info']");
    page.wait_for_path("lines of the level", |path| path.contains("level=info"));
    assert!(page.text("#summary").starts_with(&format!("{count} line")), "{}", page.text("#summary"));
    assert_eq!(page.count("#results > li.line"), count.min(100));
    page.click(".facets a[href*='status=500']");
    page.wait_for_count("#results > li.line", 2);
    page.assert_quiet(&[]);
}

#[test]
fn lines_around_one_are_loaded_on_with_it_marked() {
    let site = Site::start();
    let page = site.page();
    page.open("/requests/good-12");
    page.click("#story li.line:nth-child(2) summary");
    page.click("#story li.line:nth-child(2) details > p a");
    page.wait_for_count("#around > li.line", 41);
    assert_eq!(page.text("#anchor .message"), "payment requested");
    let offset = page.attribute("#anchor", "data-offset");
    for (id, count) in [("earlier", 41 + 29), ("later", 41 + 29 + 22)] {
        let before: BTreeSet<_> = offsets(&page).into_iter().collect();
        page.click(&format!("#{id}"));
        page.wait_for_count("#around > li.line", count);
        let after = offsets(&page);
        assert!(after.is_sorted() && before.iter().all(|offset| after.contains(offset)), "{after:?}");
        assert_eq!((page.count("#around .anchor"), page.attribute("#anchor", "data-offset")), (1, offset.clone()));
    }
    page.assert_fits();
    page.picture("around");
    page.assert_quiet(&[]);
}

fn offsets(page: &Page) -> Vec<u64> {
    let found =
        page.script("return [...document.querySelectorAll('#around > li.line')].map(e => e.dataset.offset)", &[]);
    found.as_array().unwrap().iter().map(|offset| offset.as_str().unwrap().parse().unwrap()).collect()
}

#[test]
fn a_story_as_a_file_needs_nothing_else() {
    let site = Site::start();
    let answer = site.get("/requests/bad-1/file");
    let name = answer.header("content-disposition").unwrap();
    assert_eq!(name, "attachment; filename=\"request-bad-1.html\"");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("request-bad-1.html");
    std::fs::write(&path, &answer.body).unwrap();
    let page = Page::on_desktop("file://");
    page.open(path.to_str().unwrap());
    page.wait_for_count("#story > li.line", 4);
    assert!(page.text("#compare").contains("payment answered") && page.count("#life svg") == 1);
    assert_eq!(page.attribute("#completeness", "data-verdict").as_deref(), Some("complete"));
    // Its style is there: a badge is no plain text.
    let ground = page.script("return getComputedStyle(document.getElementById('completeness')).backgroundColor", &[]);
    assert_ne!(ground, json!("rgba(0, 0, 0, 0)"));
    // Its links are followed from wherever the file is.
    let links = page.script("return [...document.querySelectorAll('a')].map(a => a.href)", &[]);
    let [here, itself] = [format!("http://{}/", site.address), format!("file://{}#line-", path.display())];
    let (to_here, within): (Vec<_>, Vec<_>) =
        links.as_array().unwrap().iter().filter_map(|link| link.as_str()).partition(|link| link.starts_with(&here));
    assert!(to_here.len() > 10 && within.iter().all(|link| link.starts_with(&itself)), "{to_here:?} {within:?}");
    let other = to_here.iter().find_map(|link| link.strip_suffix("/requests/bad-2")).unwrap();
    assert_eq!(format!("{other}/"), here, "the same error elsewhere");
    page.assert_fits();
    page.picture("story-file");
    page.assert_quiet(&[]);
}

#[test]
fn nothing_of_a_hostile_host_is_in_a_file() {
    let tokens = TokensFile::new();
    let site = Plan::shop(TestStore::embedded()).with_tokens(&tokens).start();
    let authorization = format!("Bearer {TOKEN_OF_ALL}");
    let file = |host: &str| {
        let headers: [(&str, &[u8]); 2] = [("Authorization", authorization.as_bytes()), ("Host", host.as_bytes())];
        let answer = http::get_with(site.address, "/requests/bad-1/file", &headers);
        (answer.status, answer.text().to_owned())
    };
    let (status, own) = file(&site.address.to_string());
    assert!(status == 200 && own.contains(&format!("href=\"http://{}/requests/bad-2\"", site.address)), "{own}");
    for host in ["evil.example", "evil%2eexample", "x@evil.example", "\"><script>alert(1)</script>", "evil'onclick=a//"]
    {
        let (status, text) = file(host);
        assert!(matches!(status, 200 | 400), "{host}: {status}");
        let leads_out = text.split("href=\"").skip(1).any(|rest| !rest.starts_with('#'));
        let is_told = ["evil", "alert(", "<script"].iter().any(|word| text.contains(word));
        assert!(!leads_out && !is_told && (status == 400 || text.contains("card refused")), "{host}: {text}");
    }
}

#[test]
fn a_file_leads_to_the_public_address() {
    let site = Plan::shop(TestStore::embedded()).at_public_url("https://logs.example/base").start();
    let text = site.get("/requests/bad-1/file").text().to_owned();
    assert!(text.contains("href=\"https://logs.example/base/requests/bad-2\""), "{text}");
    let leads_elsewhere = |rest: &str| !rest.starts_with('#') && !rest.starts_with("https://logs.example/base/");
    assert!(!text.split("href=\"").skip(1).any(leads_elsewhere), "{text}");
}

/// A story of more lines than a page has is shown in parts, all of its lines once, forwards and backwards, and what holds of
/// each shows all of it: how it ended, how a successful request differs, and which others had the same error.
fn a_long_story_is_told_in_parts(store: TestStore) {
    const LINES: usize = 2_350;
    let id = unique_name("long");
    let mut lines: Vec<_> =
        (0..LINES - 1).map(|n| line("long", "info", &format!("step {n}"), Some(&id), n as i64)).collect();
    let error = ("error", "stock does not answer", 50);
    lines[50] = line("long", error.0, error.1, Some(&id), error.2);
    lines.extend(request(&id, 0, &[], 503, LINES as i64));
    let [good, alike] = ["good", "alike"].map(unique_name);
    lines.extend(request(&good, 10_000, &[("info", "step 0", 0), ("info", "stock says 3", 4)], 200, 9));
    lines.extend(request(&alike, 20_000, &[error], 503, 60));
    let lines = lines.into_iter().map(|line| line.replace("\"shop\"", "\"long\"")).collect();
    let site = Plan::shop(store).with_lines(lines).start();
    site.wait_for("long", LINES + 5);
    let page = site.page();
    let here = format!("/requests/{id}");
    page.open(&here);
    let (mut parts, mut compared) = (Vec::new(), BTreeSet::new());
    loop {
        let offsets =
            page.script("return [...document.querySelectorAll('#story > li.line')].map(e => +e.dataset.offset)", &[]);
        parts.push((page.path(), offsets));
        assert!(page.text(".status").contains("503"), "how it ended");
        assert!(page.text("#part").contains("of 2,350 lines"), "{}", page.text("#part"));
        assert_eq!(page.attribute("#completeness", "data-verdict").as_deref(), Some("complete"));
        assert!(page.text("#same-error").contains(&alike), "{}", page.text("#same-error"));
        compared.insert(page.text("#compare"));
        if page.count("#next") == 0 {
            break;
        }
        let before = page.path();
        page.click("#next");
        page.wait_for_path("the next part's", |path| path != before);
    }
    let of = |offsets: &serde_json::Value| offsets.as_array().unwrap().clone();
    assert_eq!(parts.iter().map(|(_, offsets)| of(offsets).len()).collect::<Vec<_>>(), [1_000, 1_000, 350]);
    let all: BTreeSet<_> = parts.iter().flat_map(|(_, offsets)| of(offsets)).map(|offset| offset.as_u64()).collect();
    assert_eq!(all.len(), LINES);
    for (path, _) in parts.iter().rev().skip(1) {
        page.click("#previous");
        page.wait_for_path("the part before's", |found| found == path);
    }
    assert_eq!((page.path(), page.count("#previous")), (here.clone(), 0));
    assert!(compared.len() == 1 && compared.iter().all(|text| text.contains(&good)), "{compared:?}");

    // A chosen comparison is kept from part to part.
    page.open(&format!("{here}?compare={alike}"));
    page.click("#next");
    page.wait_for_path("the next part's", |path| path.contains("cursor="));
    assert!(page.text("#compare").contains(&alike), "{}", page.text("#compare"));
    page.assert_quiet(&[]);
}

#[test]
fn a_long_story_is_told_in_parts_from_the_embedded_store() {
    a_long_story_is_told_in_parts(TestStore::embedded());
}

#[test]
fn a_long_story_is_told_in_parts_from_an_engine() {
    a_long_story_is_told_in_parts(TestStore::engine());
}

#[test]
fn the_picture_over_all_of_time_is_of_the_time_that_there_is() {
    let site = Site::start();
    let page = site.page();
    // The shop's lines are of four minutes.
    page.open("/search?last=all&service=shop");
    let pieces = page.count("#histogram a");
    assert!((20..=60).contains(&pieces), "{pieces} pieces");
    page.open("/search?last=all&level=error");
    // Of two errors five seconds apart.
    let pieces = page.count("#histogram a");
    assert!((2..=60).contains(&pieces), "{pieces} pieces");
    page.assert_quiet(&[]);
}
