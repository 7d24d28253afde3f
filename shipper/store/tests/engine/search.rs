//! Searches in an engine return the same as in the embedded store.

use store::{EngineSettings, Filter, Order, Scope, Search, Target, Timestamp};

use crate::lines::{TestStore, all_stored, batch, documents, generation, record};
use crate::rig::Rig;

#[tokio::test]
async fn both_stores_return_the_same() {
    let rig = Rig::full("search");
    let mut lines: Vec<_> = (0..30).map(|second| record(second % 7, "the quick fox", Some("r-1"))).collect();
    lines[3]["message"] = "a lazy dog".into();
    lines[4]["level"] = "error".into();
    lines[5]["request_id"] = "r-2".into();
    lines[6]["project_id"] = "p-2".into();
    let batch = batch(&rig.settings.index_prefix, generation(1), &lines);
    let engine = rig.ready_store().await;
    assert_eq!(engine.write(&batch).await.unwrap(), all_stored(30));
    let dir = tempfile::tempdir().unwrap();
    let embedded = TestStore::open(&Target::Sqlite(dir.path().join("logs.db")), &EngineSettings::default()).await;
    let embedded = embedded.unwrap();
    embedded.write(&batch).await.unwrap();
    rig.refresh().await;

    let at = |second: u32| Timestamp::parse(format!("2026-11-23T12:00:{second:02}Z").as_bytes());
    let base = Search { limit: 100, ..Search::default() };
    let of = |query: &str| Search::new(query.parse().unwrap());
    for (search, expected) in [
        (base.clone(), 30),
        (of("request_id:r-2"), 1),
        (of("project_id:p-1"), 29),
        (of("level:>=warn"), 1),
        (of("LAZY dog"), 1),
        (of("fox\\\" \\OR \\*"), 0),
        (of("service:nobody"), 0),
        (Search { from: at(2), to: at(4), order: Order::OldestFirst, ..base.clone() }, 8),
        (Search { filter: Filter::request("\"}}]}; drop"), ..base.clone() }, 0),
    ] {
        let found = documents(&engine.search(&Scope::All, &search).await.unwrap());
        assert_eq!(found, documents(&embedded.search(&Scope::All, &search).await.unwrap()), "{search:?}");
        assert_eq!(found.len(), expected, "{search:?}");
    }
    // Beyond the range of an engine's times.
    let day = |day: &str| Timestamp::parse(format!("{day}T00:00:00Z").as_bytes());
    let (ancient, far, last) = (day("0001-01-01"), day("9999-12-31"), day("2263-01-01"));
    for (from, to, expected) in
        [(ancient, far, 30), (ancient, None, 30), (None, last, 30), (far, None, 0), (None, ancient, 0)]
    {
        let search = Search { from, to, ..base.clone() };
        assert_eq!(engine.search(&Scope::All, &search).await.unwrap().lines.len(), expected, "{search:?}");
        assert_eq!(embedded.search(&Scope::All, &search).await.unwrap().lines.len(), expected, "{search:?}");
    }
    for order in [Order::OldestFirst, Order::NewestFirst] {
        let whole = documents(&engine.search(&Scope::All, &Search { order, ..base.clone() }).await.unwrap());
        for store in [&engine, &embedded] {
            let mut paged = Vec::new();
            let mut search = Search { order, limit: 4, ..Search::default() };
            loop {
                let page = store.search(&Scope::All, &search).await.unwrap();
                paged.extend(documents(&page));
                let Some(next) = page.next else { break };
                // Round trip through its text, as in a client.
                search.cursor = Some(next.to_string().parse().unwrap());
            }
            assert_eq!(paged, whole);
        }
    }
    rig.clean().await;
}

/// Engines store nanoseconds since 1970. Times outside their range can't be sorted, but the lines exist.
async fn extreme_times_are_paged(rig: Rig) {
    let times = ["9999-12-31T23:59:59.999Z", "1969-07-20T20:17:40.000Z", "0001-01-01T00:00:00.000Z"];
    let lines: Vec<_> = (0..12)
        .map(|number| {
            let mut line = record(number, "a line", Some("r-1"));
            if let Some(time) = times.get(number as usize % 5) {
                line["timestamp"] = (*time).into();
            }
            line
        })
        .collect();
    let store = rig.ready_store().await;
    let written = store.write(&batch(&rig.settings.index_prefix, generation(1), &lines)).await.unwrap();
    assert_eq!(written, all_stored(12));
    rig.refresh().await;
    for order in [Order::OldestFirst, Order::NewestFirst] {
        let mut search = Search { order, limit: 1, ..Search::new(Filter::request("r-1")) };
        let mut offsets = Vec::new();
        loop {
            let page = store.search(&Scope::All, &search).await.unwrap();
            offsets.extend(documents(&page).iter().map(|document| document["origin"]["offset"].as_u64().unwrap()));
            let Some(next) = page.next else { break };
            search.cursor = Some(next.to_string().parse().unwrap());
        }
        offsets.sort_unstable();
        assert_eq!(offsets, (0..12).map(|place| place * 1_000).collect::<Vec<_>>());
    }
    rig.clean().await;
}

#[tokio::test]
async fn lines_with_extreme_times_are_found() {
    extreme_times_are_paged(Rig::full("absurd")).await;
}

#[tokio::test]
async fn lines_with_extreme_times_are_found_without_processors() {
    extreme_times_are_paged(Rig::bare("absurd")).await;
}

#[tokio::test]
async fn hostile_text_is_treated_as_text() {
    for rig in [Rig::full("hostile"), Rig::bare("hostile")] {
        let store = rig.ready_store().await;
        let lines = batch(&rig.settings.index_prefix, generation(1), &[record(0, "the quick fox", None)]);
        store.write(&lines).await.unwrap();
        rig.refresh().await;
        for (text, expected) in [
            ("fox", 1),
            ("  ", 0),
            ("***", 0),
            ("message:fox", 0),
            ("fox*", 1),
            ("fo*", 0),
            ("\"fox\"", 1),
            ("fox AND", 0),
            ("\0", 0),
            ("{\"match_all\":{}}", 0),
            ("NOT fox", 0),
        ] {
            let search = Search::new(Filter::Words(text.into()));
            let page = store.search(&Scope::All, &search).await.unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(page.lines.len(), expected, "{text}");
        }
        rig.clean().await;
    }
}

#[tokio::test]
async fn without_an_index_nothing_is_found() {
    for rig in [Rig::full("noindex"), Rig::bare("noindex")] {
        let store = rig.store().await;
        assert!(store.search(&Scope::All, &Search::default()).await.unwrap().lines.is_empty());
        assert_eq!(store.ready().await, Ok(()));
    }
}
