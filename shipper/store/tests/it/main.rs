//! Tests of the embedded store through the public API. Tests with engines are in `tests/engine`.
#![allow(clippy::unwrap_used)]

mod around;
mod coverage;
mod documentation;
mod files;
mod formats;
mod hostile;
mod kills;
#[path = "../lines/mod.rs"]
mod lines;
mod model;
mod named_fields;
mod oversized_responses;
mod pinned;
mod readiness;
mod redirects;
mod replaced;
mod retention;
mod runs;
mod tls;
mod writing;

use crate::lines::TestStore;
use store::{EngineSettings, Scope, Search, Store, Target};

/// Creates a store in a temporary directory.
async fn new_store() -> (tempfile::TempDir, TestStore) {
    let folder = tempfile::tempdir().unwrap();
    let store = writer(&folder).await;
    (folder, store)
}

fn target(folder: &tempfile::TempDir) -> Target {
    Target::Sqlite(folder.path().join("logs.db"))
}

async fn writer(folder: &tempfile::TempDir) -> TestStore {
    TestStore::open(&target(folder), &EngineSettings::default()).await.unwrap()
}

async fn reader(folder: &tempfile::TempDir) -> Store {
    Store::open(&target(folder), &EngineSettings::default()).await.unwrap()
}

async fn count(store: &Store) -> usize {
    store.search(&Scope::All, &Search { limit: store::MAX_LIMIT, ..Search::default() }).await.unwrap().lines.len()
}
