//! Searches over random lines return the same as a filter and a sort over a list of them, page by page.

use std::cmp::Reverse;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use serde_json::{Value, json};
use store::{BatchBuilder, Field, Filter, Level, LineId, Order, Scope, Search, Store, Timestamp};

use crate::lines::{TestStore, generation, push};
use crate::new_store;

const WORDS: [&str; 6] = ["fox", "Fox", "dog", "Ärger", "ärger", "x9"];
const IDS: [&str; 3] = ["a", "A", "b"];
const BASE_MICROS: i64 = 1_795_000_000_000_000;

/// A line with few possible values, so that lines share them.
#[derive(Clone, Debug)]
struct Line {
    id: LineId,
    time: Timestamp,
    request_id: Option<&'static str>,
    project_id: Option<&'static str>,
    service: &'static str,
    level: Level,
    words: Vec<&'static str>,
}

impl Line {
    fn document(&self) -> Value {
        json!({
            "timestamp": self.time.to_string(), "service": self.service, "level": self.level.as_str(),
            "message": self.words.join(" - "), "request_id": self.request_id, "project_id": self.project_id,
            "origin": { "generation": self.id.generation.as_str(), "offset": self.id.offset },
        })
    }

    fn matches(&self, search: &Search) -> bool {
        self.is_found_by(&search.filter)
            && search.from.is_none_or(|from| self.time >= from)
            && search.to.is_none_or(|to| self.time < to)
    }

    fn is_found_by(&self, filter: &Filter) -> bool {
        let own = |field: &Field| match field {
            Field::RequestId => self.request_id,
            Field::ProjectId => self.project_id,
            Field::Service => Some(self.service),
            _ => Some(self.level.as_str()),
        };
        match filter {
            Filter::All(parts) => parts.iter().all(|part| self.is_found_by(part)),
            Filter::Is(field, values) => own(field).is_some_and(|own| values.iter().any(|value| value == own)),
            Filter::Words(text) => {
                let words: Vec<_> = self.words.iter().map(|word| word.to_lowercase()).collect();
                text.split(' ').all(|word| words.contains(&word.to_lowercase()))
            }
            _ => unreachable!("no search here asks so"),
        }
    }
}

/// Few different times, so that lines share them.
fn time() -> impl Strategy<Value = Timestamp> {
    (0..6_i64).prop_map(|micros| Timestamp::from_unix_micros(BASE_MICROS + micros))
}

fn level() -> impl Strategy<Value = Level> {
    prop::sample::select(Level::ALL.to_vec())
}

fn id() -> impl Strategy<Value = Option<&'static str>> {
    option::of(prop::sample::select(IDS.to_vec()))
}

fn words(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<&'static str>> {
    vec(prop::sample::select(WORDS.to_vec()), count)
}

fn lines() -> impl Strategy<Value = Vec<Line>> {
    let line = (time(), id(), id(), prop::sample::select(IDS.to_vec()), level(), words(0..4));
    vec((0..3_u8, line), 0..60).prop_map(|lines| {
        let of = |(place, (number, line))| {
            let (time, request_id, project_id, service, level, words) = line;
            let id = LineId { generation: generation(number), offset: place as u64 };
            Line { id, time, request_id, project_id, service, level, words }
        };
        lines.into_iter().enumerate().map(of).collect()
    })
}

fn search() -> impl Strategy<Value = Search> {
    let filters = (id(), id(), option::weighted(0.2, prop::sample::select(IDS.to_vec())), vec(level(), 0..3));
    let text = option::weighted(0.3, words(1..3));
    (filters, text, option::of(time()), option::of(time()), any::<bool>(), 1..8_usize).prop_map(
        |((request_id, project_id, service, levels), text, from, to, oldest_first, limit)| {
            let ids = [(Field::RequestId, request_id), (Field::ProjectId, project_id), (Field::Service, service)];
            let is = ids.into_iter().filter_map(|(field, id)| Some(Filter::is(field, id?)));
            let levels = (!levels.is_empty()).then(|| Filter::levels(levels));
            let words = text.map(|words| Filter::Words(words.join(" ")));
            Search {
                filter: Filter::All(is.chain(levels).chain(words).collect()),
                from,
                to,
                order: if oldest_first { Order::OldestFirst } else { Order::NewestFirst },
                limit,
                ..Search::default()
            }
        },
    )
}

async fn write(store: &TestStore, lines: &[Line]) {
    let mut builder = BatchBuilder::new("x");
    for line in lines {
        push(&mut builder, line.id, &line.document().to_string());
    }
    store.write(&builder.finish(0)).await.unwrap();
}

/// Reads all pages, and runs `between` after the first one.
async fn pages(store: &Store, mut search: Search, between: impl AsyncFnOnce()) -> Vec<Value> {
    let mut between = Some(between);
    let mut found = Vec::new();
    loop {
        let page = store.search(&Scope::All, &search).await.unwrap();
        assert!(page.lines.len() <= search.limit);
        found.extend(page.lines.iter().map(|line| serde_json::from_str::<Value>(line.get()).unwrap()));
        let Some(next) = page.next else { return found };
        if let Some(between) = between.take() {
            between().await;
        }
        // Round trip through its text, as in a client.
        search.cursor = Some(next.to_string().parse().unwrap());
    }
}

fn expected(lines: &[Line], search: &Search) -> Vec<Value> {
    let mut matching: Vec<_> = lines.iter().filter(|line| line.matches(search)).collect();
    match search.order {
        Order::OldestFirst => matching.sort_by_key(|line| (line.time, line.id)),
        Order::NewestFirst => matching.sort_by_key(|line| Reverse((line.time, line.id))),
    }
    matching.into_iter().map(Line::document).collect()
}

fn run(work: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_search_finds_the_same_as_a_filter_over_a_list(lines in lines(), searches in vec(search(), 12)) {
        run(async {
            let (_folder, store) = new_store().await;
            write(&store, &lines).await;
            for search in searches {
                let expected = expected(&lines, &search);
                assert_eq!(pages(&store, search.clone(), async || ()).await, expected, "{search:?}");
            }
        });
    }

    #[test]
    fn lines_added_between_pages_do_not_move_others(lines in lines(), late in lines(), search in search()) {
        run(async {
            let (_folder, store) = new_store().await;
            write(&store, &lines).await;
            // Lines sorted before the first page, like new lines in a newest-first list.
            let ahead = |line: &Line| {
                let beyond = if search.order == Order::NewestFirst { 1_000 } else { -1_000 };
                let id = LineId { generation: generation(9), ..line.id };
                Line { id, time: Timestamp::from_unix_micros(line.time.unix_micros() + beyond), ..line.clone() }
            };
            let late: Vec<_> = late.iter().map(ahead).collect();
            let expected = expected(&lines, &search);
            let found = pages(&store, search.clone(), async || write(&store, &late).await).await;
            assert_eq!(found, expected, "{search:?}");
        });
    }
}
