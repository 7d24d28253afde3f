//! The embedded store, a real engine and a simple model return the same results for the same random queries over the
//! same random lines. `EQUIVALENCE_CASES` sets the number of sets of lines, each with [`QUERIES`] queries.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use serde_json::{Value, json};
use store::counts::{Facet, GroupKey, Requests};
use store::{
    Accuracy, BatchBuilder, BootstrapMode, Breakdown, EngineSettings, Field, Filter, LineId, PageLimits, Scope, Search,
    Store, TailCursor, Target,
};

use crate::lines::{DAY, TestStore, documents, generation, has_merged_runs, push, shorten_runs};
use crate::model::{Figures, Model};
use crate::queries::{Queries, fields, line, queries};
use crate::rig::Rig;

/// Default number of sets of lines.
const CASES: u32 = 3;

/// Number of queries over the same few lines.
const QUERIES: usize = 25;

/// Number of queries over the same many lines.
const QUERIES_OF_MANY: usize = 12;

/// Many lines: more than the 1,024 of a run, and more than a group of large runs if runs are short.
const MANY: std::ops::Range<usize> = 1_040..1_200;

/// Ratio of many to few lines.
const WIDER: u64 = 14;

/// The stores and their content.
struct Stores {
    rig: Rig,
    engine: TestStore,
    embedded: TestStore,
    model: Model,
    /// Initial cursor of the tail in each store.
    places: [TailCursor; 2],
    _folder: tempfile::TempDir,
}

impl Stores {
    /// With short runs, some of the lines are in merged runs.
    async fn with(mut rig: Rig, lines: Vec<(u8, Value)>, has_short_runs: bool) -> Self {
        let mut builder = BatchBuilder::new(&rig.settings.index_prefix);
        let mut model = Vec::new();
        for (place, (source, mut line)) in lines.into_iter().enumerate() {
            let id = LineId { generation: generation(source), offset: place as u64 * 1_000 };
            line["origin"] = json!({
                "host": "h", "shipper": "s", "stream": "stdout", "generation": id.generation.as_str(), "offset": id.offset,
                "length": 1_000, "received": DAY,
            });
            push(&mut builder, id, &line.to_string());
            model.push(line);
        }
        let batch = builder.finish(0);
        let folder = tempfile::tempdir().unwrap();
        let target = Target::Sqlite(folder.path().join("logs.db"));
        let settings = EngineSettings { fields: Some(fields()), ..EngineSettings::default() };
        let embedded = TestStore::open(&target, &settings).await.unwrap();
        if has_short_runs {
            shorten_runs(folder.path());
        }
        embedded.bootstrap(BootstrapMode::Apply).await.unwrap();
        let engine = rig.naming(&fields()).ready_store().await;
        let begin = async |store: &Store| {
            store.tail(&Scope::All, &Filter::EVERY, None, PageLimits::new(1)).await.unwrap().cursor
        };
        let places = [begin(&embedded).await, begin(&engine).await];
        for store in [&engine, &embedded] {
            let written = store.write(&batch).await.unwrap();
            assert!(written.iter().all(|disposition| *disposition == store::Disposition::Stored), "{written:?}");
        }
        rig.refresh().await;
        if has_short_runs && model.len() >= MANY.start {
            assert!(has_merged_runs(folder.path()));
        }
        Self { rig, engine, embedded, model: Model(model), places, _folder: folder }
    }

    async fn compare(&self, queries: &Queries) -> Result<(), TestCaseError> {
        let stores = [("embedded", &self.embedded), ("engine", &self.engine)];
        for ((name, store), place) in stores.into_iter().zip(&self.places) {
            let outcome = match self.compare_one(store, queries).await {
                Ok(()) => self.compare_tail(store, queries, place).await,
                failed => failed,
            };
            outcome.map_err(|error| {
                TestCaseError::fail(format!("{name}: {} {queries:?}: {error}", queries.search.filter))
            })?;
        }
        self.compare_patterns(queries).await
    }

    async fn compare_one(&self, store: &Store, queries: &Queries) -> Result<(), TestCaseError> {
        let Queries { scope, search, by, step, top, .. } = queries;
        let selection = queries.selection();
        let found = pages(store, queries).await?;
        let expected: Vec<_> = self.model.search(scope, search).into_iter().cloned().collect();
        prop_assert_eq!(found, expected, "search");

        let facets_wanted =
            [Field::Service, Field::Level, Field::Endpoint, Field::RequestId, Field::Method].map(Facet::Field);
        let named = fields();
        let named = ["tag", "flag"].map(|name| named.get(name).and_then(Facet::from_named).unwrap());
        let facets_wanted = [&facets_wanted[..], &[Facet::Status], &named].concat();
        let facets = store.facets(scope, &selection, &facets_wanted, *top).await.unwrap();
        prop_assert_eq!(facets.accuracy, Accuracy::Exact);
        prop_assert_eq!(facets.lines, self.model.search(scope, search).len() as u64, "lines");
        for counts in facets.facets {
            let mut values = self.model.facet(scope, &selection, &counts.facet);
            let others = values.split_off(values.len().min(*top));
            prop_assert_eq!(counts.values, values, "facet {}", counts.facet.name());
            prop_assert_eq!(counts.others, others.iter().map(|(_, lines)| lines).sum::<u64>());
        }

        let histogram = store.histogram(scope, &selection, *step).await.unwrap();
        let gaps = histogram.buckets.windows(2).filter(|pair| {
            pair[1].start.unix_micros() - pair[0].start.unix_micros()
                != i64::try_from(histogram.step.as_micros()).unwrap()
        });
        prop_assert_eq!(gaps.count(), 0, "no gaps");
        let expected = self.model.histogram(scope, &selection, histogram.step);
        let found: Vec<_> = histogram.buckets.into_iter().filter(|bucket| bucket.lines > 0).collect();
        prop_assert_eq!(found, expected, "histogram");

        self.compare_requests(store, queries, *by).await?;

        let (source, offset) = queries.place;
        let (before, after) = queries.sides;
        let found = store
            .around(scope, generation(source), offset, (PageLimits::new(before), PageLimits::new(after)))
            .await
            .unwrap();
        let found =
            found.lines.iter().map(|line| (line.offset, without_engines_own(line.line.get()))).collect::<Vec<_>>();
        let expected = self.model.around(scope, generation(source), offset, before, after);
        let expected: Vec<_> = expected.into_iter().map(|(offset, line)| (offset, line.clone())).collect();
        prop_assert_eq!(found, expected, "around");
        Ok(())
    }

    /// Compares the tail: all lines in order of arrival.
    async fn compare_tail(&self, store: &Store, queries: &Queries, place: &TailCursor) -> Result<(), TestCaseError> {
        let (limit, mut place, mut found) = (queries.search.limit, place.clone(), Vec::new());
        loop {
            let page =
                store.tail(&queries.scope, &queries.search.filter, Some(&place), PageLimits::new(limit)).await.unwrap();
            found.extend(page.lines.iter().map(|line| without_engines_own(line.get())));
            // Round trip through its text, as in a client.
            place = page.cursor.to_string().parse().unwrap();
            prop_assert!(page.lines.len() <= limit && !page.gap);
            if !page.more {
                break;
            }
        }
        let expected: Vec<_> = self.model.tail(&queries.scope, &queries.search.filter).into_iter().cloned().collect();
        prop_assert_eq!(found, expected, "tail");
        Ok(())
    }

    async fn compare_requests(&self, store: &Store, queries: &Queries, by: Breakdown) -> Result<(), TestCaseError> {
        let selection = queries.selection();
        let stats = store.requests(&queries.scope, &selection, by, 100).await.unwrap();
        prop_assert_eq!(stats.accuracy, Accuracy::Exact);
        let total = self.model.requests(&queries.scope, &selection, Breakdown::Total).pop();
        compare_figures(&stats.total, &total.map(|(_, figures)| figures).unwrap_or_default())?;
        let by = match (by, stats.step) {
            (Breakdown::Time(_), Some(step)) => Breakdown::Time(step),
            (Breakdown::Total, _) => {
                prop_assert!(stats.groups.is_empty());
                return Ok(());
            }
            (by, _) => by,
        };
        let mut groups: Vec<_> = stats.groups.into_iter().filter(|(_, figures)| figures.requests > 0).collect();
        groups.sort_by_key(|(key, _)| match key {
            GroupKey::Value(value) => (0, value.clone()),
            GroupKey::Time(time) => (time.unix_micros(), String::new()),
        });
        let expected = self.model.requests(&queries.scope, &selection, by);
        prop_assert_eq!(groups.len(), expected.len(), "groups");
        for ((key, found), (expected_key, expected)) in groups.iter().zip(&expected) {
            prop_assert_eq!(Some(key), expected_key.as_ref());
            compare_figures(found, expected)?;
        }
        Ok(())
    }

    /// Compares the patterns of both stores; unit tests define what a pattern is.
    async fn compare_patterns(&self, queries: &Queries) -> Result<(), TestCaseError> {
        let selection = queries.selection();
        let embedded = self.embedded.patterns(&queries.scope, &selection, queries.top).await.unwrap();
        let engine = self.engine.patterns(&queries.scope, &selection, queries.top).await.unwrap();
        prop_assert_eq!(embedded, engine, "patterns of {}", selection.filter);
        Ok(())
    }
}

/// Reads all pages of a search.
async fn pages(store: &Store, queries: &Queries) -> Result<Vec<Value>, TestCaseError> {
    let mut search: Search = queries.search.clone();
    let mut found = Vec::new();
    loop {
        let page = store.search(&queries.scope, &search).await;
        let page = page.map_err(|error| TestCaseError::fail(error.to_string()))?;
        found.extend(documents(&page));
        let Some(next) = page.next else { return Ok(found) };
        prop_assert_eq!(page.lines.len(), search.limit);
        search.cursor = Some(next.to_string().parse().unwrap());
    }
}

fn without_engines_own(line: &str) -> Value {
    let mut line: Value = serde_json::from_str(line).unwrap();
    let fields = line.as_object_mut().unwrap();
    fields.remove("@timestamp");
    fields.remove("event");
    line
}

fn compare_figures(found: &Requests, expected: &Figures) -> Result<(), TestCaseError> {
    prop_assert_eq!(
        (found.requests, found.server_errors, found.unanswered),
        (expected.requests, expected.server_errors, expected.unanswered)
    );
    // Engines estimate percentiles and interpolate between few values: within two ranks for few values here, and within
    // 2 % for many.
    let near = 2 + expected.durations.len() / 50;
    for (percent, value) in [(50, found.p50_ms), (90, found.p90_ms), (99, found.p99_ms)] {
        let durations = &expected.durations;
        prop_assert_eq!(value.is_some(), !durations.is_empty());
        let Some(value) = value else { continue };
        let rank = (durations.len() * percent).div_ceil(100).max(1) - 1;
        let (low, high) = (durations[rank.saturating_sub(near)], durations[(rank + near).min(durations.len() - 1)]);
        prop_assert!((low..=high).contains(&value), "p{percent} {value} of {durations:?}");
    }
    Ok(())
}

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

#[test]
fn engine_embedded_store_and_model_agree() {
    let cases = std::env::var("EQUIVALENCE_CASES").map_or(CASES, |cases| cases.parse().unwrap());
    // Failures are not minimised: that would write to an engine thousands of times.
    let config = Config { cases, max_shrink_iters: 0, failure_persistence: None, ..Config::default() };
    let seed = seed();
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_be_bytes());
    let number = std::cell::Cell::new(0);
    let outcome = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes)).run(
        &(vec(line(), 0..80), vec(line(), MANY), vec(queries(), QUERIES)),
        |case| {
            number.set(number.get() + 1);
            let (few, many, mut all_queries) = case;
            // Few lines in short runs, many lines in short runs, many lines in runs of the default length.
            let lines = if number.get() % 3 == 1 { few } else { many };
            if lines.len() >= MANY.start {
                all_queries.truncate(QUERIES_OF_MANY);
                all_queries.iter_mut().for_each(|queries| queries.widen(WIDER));
            }
            run(async {
                let rig = Rig::full(&format!("same-{}", number.get()));
                let stores = Stores::with(rig, lines, number.get() % 3 != 0).await;
                for queries in &all_queries {
                    stores.compare(queries).await?;
                }
                stores.rig.clean().await;
                Ok(())
            })
        },
    );
    match outcome {
        Ok(()) => {}
        // Leave out the lines and queries of the case; the reason contains the query.
        Err(TestError::Fail(reason, _)) => panic!("with SEED={seed:x}: {reason}"),
        Err(error) => panic!("with SEED={seed:x}: {error}"),
    }
}

/// Returns the seed in `SEED`, in hexadecimal. The default is fixed, or random if a number of cases is set, to find new
/// failures.
fn seed() -> u64 {
    let given = std::env::var("SEED").ok().map(|seed| u64::from_str_radix(&seed, 16).unwrap());
    let new = || std::env::var_os("EQUIVALENCE_CASES").map(|_| uuid::Uuid::new_v4().as_u64_pair().0);
    given.or_else(new).unwrap_or(1)
}
