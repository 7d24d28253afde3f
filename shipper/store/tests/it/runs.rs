//! Searches over runs return the same as an examination of each line.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use store::counts::{Facet, GroupKey};
use store::query::DocumentFields;
use store::{
    Accuracy, BatchBuilder, Breakdown, ExportCursor, Field, Filter, LineId, NumberField, Order, Scope, Search,
    Selection, Timestamp,
};

use crate::lines::{TestStore, generation, has_merged_runs, push, shorten_runs};
use crate::{new_store, reader};

const BASE_MICROS: i64 = 1_795_000_000_000_000;

/// More lines than two large runs after merging, followed by small runs and lines in no run.
const LINES: u64 = 16 * 256 + 7 * 16 + 5;

/// Enough lines for one large run of the default length, small runs, and lines in no run.
const LINES_OF_USUAL_RUNS: u64 = 65_536 + 50 * 1_024 + 300;

/// A deterministic pseudo-random number.
fn mixed(number: u64) -> u64 {
    let mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed ^ mixed >> 29
}

fn one_of(texts: [&'static str; 3], random: u64) -> &'static str {
    texts[random as usize % 3]
}

fn id(number: u64) -> LineId {
    LineId { generation: generation(u8::try_from(number % 3).unwrap()), offset: number * 10 }
}

fn document(number: u64) -> Value {
    let random = mixed(number);
    // Most lines are in order, some are late, and a few share a time.
    let late = if random.is_multiple_of(10) { (random % 5_000_000).cast_signed() } else { 0 };
    let time = Timestamp::from_unix_micros(BASE_MICROS + (number / 2).cast_signed() * 1_000 - late);
    let mut document = json!({
        "timestamp": time.to_string(), "service": format!("s{}", random % 3), "level": one_of(["info", "warn", "error"], random >> 8),
        "message": format!("order {} of Ärger was {}", random % 9_000, one_of(["paid", "not paid", "paid not"], random >> 16)),
        "request_id": if random.is_multiple_of(7) { Value::Null } else { json!(format!("r-{}", number / 4)) },
        "project_id": one_of(["p", "q", "r"], random >> 24),
        "origin": { "generation": id(number).generation.as_str(), "offset": number * 10, "length": 10 },
    });
    if random.is_multiple_of(4) {
        document["target"] = json!("access");
        document["status"] = json!(200 + (random >> 32) % 400);
        document["duration_ms"] = json!(((random >> 40) % 1_000) as f64 / 8.0);
        document["endpoint"] = if random.is_multiple_of(8) { json!(["/a", "/b"]) } else { json!("/a") };
    }
    document
}

async fn filled() -> (tempfile::TempDir, TestStore, Vec<String>) {
    let (folder, store) = new_store().await;
    shorten_runs(folder.path());
    let documents = fill(&store, LINES, 300).await;
    assert!(has_merged_runs(folder.path()));
    (folder, store, documents)
}

async fn fill(store: &TestStore, lines: u64, batch_lines: usize) -> Vec<String> {
    let documents: Vec<_> = (0..lines).map(|number| document(number).to_string()).collect();
    for (place, lines) in documents.chunks(batch_lines).enumerate() {
        let mut builder = BatchBuilder::new("x");
        for (number, line) in ((place * batch_lines) as u64..).zip(lines) {
            push(&mut builder, id(number), line);
        }
        store.write(&builder.finish(0)).await.unwrap();
    }
    documents
}

/// A line as examined by the model.
struct Seen<'d> {
    key: (Timestamp, LineId),
    document: &'d str,
    facts: DocumentFields<'d>,
}

fn seen(documents: &[String]) -> Vec<Seen<'_>> {
    let see = |(number, document): (usize, &'_ String)| {
        let value: Value = serde_json::from_str(document).unwrap();
        let time = Timestamp::parse(value["timestamp"].as_str().unwrap().as_bytes()).unwrap();
        (time, id(number as u64))
    };
    let keys: Vec<_> = documents.iter().enumerate().map(see).collect();
    let lines = keys.into_iter().zip(documents);
    lines.map(|(key, document)| Seen { key, document, facts: DocumentFields::parse(document) }).collect()
}

/// Returns the expected result of a search: the documents in order.
fn expected<'d>(lines: &[Seen<'d>], scope: &Scope, search: &Search) -> Vec<&'d str> {
    let is_found = |line: &&Seen<'d>| {
        let time = line.key.0;
        let within = search.from.is_none_or(|from| time >= from) && search.to.is_none_or(|to| time < to);
        within && scope.sees(line.facts.value(Field::ProjectId)) && search.filter.matches(&line.facts)
    };
    let mut found: Vec<_> = lines.iter().filter(is_found).map(|line| (line.key, line.document)).collect();
    found.sort_unstable();
    if search.order == Order::NewestFirst {
        found.reverse();
    }
    found.into_iter().map(|(_, document)| document).collect()
}

#[tokio::test]
async fn lines_in_runs_are_found_by_any_filter_in_any_order() {
    let (_folder, store, documents) = filled().await;
    let lines = seen(&documents);
    let at = |millis: i64| Some(Timestamp::from_unix_micros(BASE_MICROS + millis * 1_000));
    for query in [
        "*",
        "request_id:r-100",
        "request_id:r-1040",
        "request_id:none",
        "level:error service:s1",
        "NOT level:info -service:(s0 OR s2)",
        "order ärger",
        "\"not paid\"",
        "-\"not paid\" paid",
        "\"not paid\" OR status:>=590",
        "status:404",
        "status:500..503 project_id:p",
        "duration_ms:>=124.5",
        "-duration_ms:*",
        "endpoint:/b",
        "request_id:* -target:*",
        "8999",
        "NOT *",
    ] {
        let filter: Filter = query.parse().unwrap();
        for (scope, from, to) in
            [(Scope::All, None, None), (Scope::project("q"), at(100), at(33_000)), (Scope::project("none"), None, None)]
        {
            for order in [Order::OldestFirst, Order::NewestFirst] {
                let mut search = Search { from, to, order, limit: 300, ..Search::new(filter.clone()) };
                let expected = expected(&lines, &scope, &search);
                let mut found = Vec::new();
                // Enough pages to cross the boundaries of runs.
                for _ in 0..3 {
                    let page = store.search(&scope, &search).await.unwrap();
                    found.extend(page.lines);
                    search.cursor = page.next;
                    if search.cursor.is_none() {
                        break;
                    }
                }
                let found: Vec<_> = found.iter().map(|line| line.get()).collect();
                let bound = if search.cursor.is_some() { 900 } else { expected.len() };
                assert_eq!(found, expected[..bound], "{query} {scope:?} {order:?}");
            }
        }
    }
}

#[tokio::test]
async fn lines_in_runs_of_the_default_length_are_found() {
    let (folder, store) = new_store().await;
    let documents = fill(&store, LINES_OF_USUAL_RUNS, 7_000).await;
    let lines = seen(&documents);
    let connection = rusqlite::Connection::open(folder.path().join("logs.db")).unwrap();
    let count = |of: &str| -> u64 {
        let count: i64 = connection.query_row(&format!("SELECT count(*) FROM {of}"), [], |row| row.get(0)).unwrap();
        count.cast_unsigned()
    };
    assert_eq!((count("runs WHERE lines = 65536"), count("runs WHERE lines = 1024")), (1, 50));
    assert_eq!(count("stale") + count("terms WHERE run BETWEEN 0 AND 65535"), 0, "nothing is left of small runs");
    for query in ["request_id:r-16380", "request_id:r-29000", "service:s1 \"not paid\"", "status:404", "8999"] {
        let search = Search { limit: 1_000, ..Search::new(query.parse().unwrap()) };
        let expected = expected(&lines, &Scope::All, &search);
        let found = store.search(&Scope::All, &search).await.unwrap();
        let found: Vec<_> = found.lines.iter().map(|line| line.get()).collect();
        assert_eq!(found, expected[..expected.len().min(1_000)], "{query}");
        let selection = Selection { filter: search.filter, ..Selection::default() };
        let accuracy = store.facets(&Scope::All, &selection, &[], 1).await.unwrap();
        assert_eq!(accuracy.lines, expected.len() as u64, "{query}");
    }
}

#[tokio::test]
async fn counts_over_runs_equal_counts_over_lines() {
    let (_folder, store, documents) = filled().await;
    let lines = seen(&documents);
    for (query, scope, from) in [
        ("*", Scope::All, None),
        ("level:error", Scope::project("q"), None),
        ("\"not paid\" service:s1", Scope::All, Some(Timestamp::from_unix_micros(BASE_MICROS + 20_000_000))),
        ("NOT *", Scope::All, None),
    ] {
        let selection = Selection { filter: query.parse().unwrap(), from, to: None };
        let search = Search { from, ..Search::new(selection.filter.clone()) };
        let wanted: HashSet<_> = expected(&lines, &scope, &search).into_iter().collect();
        let wanted: Vec<_> = lines.iter().filter(|line| wanted.contains(line.document)).collect();
        let count = |values: &dyn Fn(&Seen<'_>) -> Vec<String>| {
            let mut counts = BTreeMap::<String, u64>::new();
            wanted.iter().flat_map(|line| values(line)).for_each(|value| *counts.entry(value).or_default() += 1);
            counts
        };

        let facets_wanted = [Facet::Field(Field::Service), Facet::Field(Field::Endpoint), Facet::Status];
        let facets = store.facets(&scope, &selection, &facets_wanted, 1_000).await.unwrap();
        assert_eq!((facets.lines, facets.accuracy), (wanted.len() as u64, Accuracy::Exact), "{query}");
        for facet in facets.facets {
            let own = count(&|line| match facet.facet {
                Facet::Field(field) => line.facts.values(field).map(str::to_owned).collect(),
                Facet::Named(_) => unreachable!("no such facet is requested"),
                Facet::Status => line.facts.numbers(NumberField::Status).map(|status| status.to_string()).collect(),
            });
            assert_eq!(facet.values.into_iter().collect::<BTreeMap<_, _>>(), own, "{query}");
        }

        let histogram = store.histogram(&scope, &selection, Duration::from_secs(1)).await.unwrap();
        let second = |time: Timestamp| time.unix_micros().div_euclid(1_000_000).to_string();
        let buckets = histogram.buckets.iter().filter(|bucket| bucket.lines > 0);
        let buckets: BTreeMap<_, _> = buckets.map(|bucket| (second(bucket.start), bucket.lines)).collect();
        assert_eq!(buckets, count(&|line| vec![second(line.key.0)]), "{query}");
        assert!(histogram.buckets.iter().all(|bucket| bucket.levels.iter().sum::<u64>() == bucket.lines));

        let requests = store.requests(&scope, &selection, Breakdown::Endpoint, 10).await.unwrap();
        let access: Vec<_> = wanted.iter().filter(|line| line.facts.value(Field::Target) == Some("access")).collect();
        let mut durations: Vec<_> = access
            .iter()
            .flat_map(|line| line.facts.numbers(NumberField::DurationMs))
            .map(|number| number.get())
            .collect();
        durations.sort_by(f64::total_cmp);
        assert_eq!(requests.total.requests, access.len() as u64, "{query}");
        let half = durations.len().div_ceil(2).checked_sub(1).map(|rank| durations[rank]);
        assert_eq!(requests.total.p50_ms, half, "{query}");
        let of_a = access.iter().filter(|line| line.facts.values(Field::Endpoint).any(|value| value == "/a")).count();
        let group = requests.groups.iter().find(|(key, _)| *key == GroupKey::Value("/a".to_owned()));
        assert_eq!(group.map_or(0, |(_, figures)| figures.requests), of_a as u64, "{query}");

        let patterns = store.patterns(&scope, &selection, 1_000).await.unwrap();
        let own = count(&|line| vec![store::pattern::pattern(line.facts.message())]);
        let found = patterns.patterns.iter().map(|pattern| (pattern.pattern.clone(), pattern.lines));
        assert_eq!(found.collect::<BTreeMap<_, _>>(), own, "{query}");
    }
}

#[tokio::test]
async fn an_export_returns_all_lines_in_order_of_arrival() {
    let (_folder, store, documents) = filled().await;
    for query in ["*", "level:error", "\"not paid\""] {
        let selection = Selection { filter: query.parse().unwrap(), ..Selection::default() };
        let (mut place, mut exported) = (ExportCursor::default(), Vec::new());
        loop {
            let page = store.audit.export(&selection, place).await.unwrap();
            exported.extend(page.lines);
            match page.next {
                Some(next) => place = next,
                None => break,
            }
        }
        let expected: Vec<_> =
            documents.iter().filter(|line| selection.filter.matches(&DocumentFields::parse(line))).cloned().collect();
        assert!(exported == expected, "{query}: {} lines, not {}", exported.len(), expected.len());
    }
}

#[tokio::test]
async fn searches_while_lines_are_written_see_whole_batches() {
    let (folder, store) = new_store().await;
    let reader = reader(&folder).await;
    let done = Arc::new(AtomicBool::new(false));
    let writing = tokio::spawn({
        let done = Arc::clone(&done);
        async move {
            for batch in 0..70_u64 {
                let mut builder = BatchBuilder::new("x");
                for number in batch * 100..batch * 100 + 100 {
                    push(&mut builder, id(number), &document(number).to_string());
                }
                store.write(&builder.finish(0)).await.unwrap();
            }
            done.store(true, Ordering::Release);
        }
    });
    let search = Search { limit: 1_000, order: Order::OldestFirst, ..Search::new("order".parse().unwrap()) };
    while !done.load(Ordering::Acquire) {
        let page = reader.search(&Scope::All, &search).await.unwrap();
        assert!(page.lines.len() % 100 == 0, "{}", page.lines.len());
    }
    writing.await.unwrap();
}
