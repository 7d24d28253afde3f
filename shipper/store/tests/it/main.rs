//! The store over SQLite, through its public face. Engines have their own tests, in `tests/engine`.
#![allow(clippy::unwrap_used)]

mod answers;
mod around;
mod coverage;
mod documented;
mod files;
mod hostile;
mod kills;
#[path = "../lines/mod.rs"]
mod lines;
mod model;
mod naming;
mod one_file;
mod readiness;
mod redirects;
mod replaced;
mod retaining;
mod runs;
mod shapes;
mod tls;
mod writing;

use store::{EngineSettings, Scope, Search, Store, Target};

/// A new store in a folder that goes with it.
async fn new_store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = writer(&folder).await;
    (folder, store)
}

fn target(folder: &tempfile::TempDir) -> Target {
    Target::Sqlite(folder.path().join("logs.db"))
}

async fn writer(folder: &tempfile::TempDir) -> Store {
    Store::open_writer(&target(folder), &EngineSettings::default()).await.unwrap()
}

async fn reader(folder: &tempfile::TempDir) -> Store {
    Store::open_reader(&target(folder), &EngineSettings::default()).await.unwrap()
}

async fn count(store: &Store) -> usize {
    store.search(&Scope::All, &Search { limit: store::MAX_LIMIT, ..Search::default() }).await.unwrap().lines.len()
}
