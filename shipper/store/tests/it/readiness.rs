//! Readiness of a reader whose store's file is empty, damaged or inaccessible.

use std::fs;
use std::os::unix::fs::{FileExt as _, symlink};
use std::path::Path;

use crate::lines::TestStore;
use store::{EngineSettings, Filter, MissingKind, ReadyError, Scope, Search, SearchError, Store, Target};

use crate::pinned::create;

fn target(folder: &Path) -> Target {
    Target::Sqlite(folder.join("logs.db"))
}

async fn reader(folder: &Path) -> Store {
    Store::open(&target(folder), &EngineSettings::default()).await.unwrap()
}

async fn make(folder: &Path, count: u32) {
    create(&target(folder), count, |number| format!("{number} {}", "x".repeat(1_000))).await;
}

async fn kind(store: &Store) -> Option<MissingKind> {
    store.missing().await.unwrap().map(|missing| missing.kind)
}

#[tokio::test]
async fn an_emptied_store_is_not_ready_and_fails_reads() {
    let steps: [fn(&Path); 2] = [
        |file| fs::write(file, "").unwrap(),
        |file| {
            fs::write(file.with_extension("empty"), "").unwrap();
            fs::rename(file.with_extension("empty"), file).unwrap();
        },
    ];
    for step in steps {
        let folder = tempfile::tempdir().unwrap();
        make(folder.path(), 10).await;
        let store = reader(folder.path()).await;
        assert_eq!((store.ready().await, kind(&store).await), (Ok(()), None));
        step(&folder.path().join("logs.db"));
        assert_eq!(kind(&store).await, Some(MissingKind::Emptied));
        assert!(matches!(store.ready().await, Err(ReadyError::Unavailable(_))));
        assert!(matches!(store.search(&Scope::All, &Search::default()).await, Err(SearchError::Unavailable(_))));
        for sidecar in ["logs.db-wal", "logs.db-shm"] {
            let _ = fs::remove_file(folder.path().join(sidecar));
        }
        make(folder.path(), 10).await;
        assert_eq!((store.ready().await, kind(&store).await), (Ok(()), None));
    }
}

#[tokio::test]
async fn a_file_that_was_always_empty_is_not_a_store_yet() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("logs.db"), "").unwrap();
    let store = reader(folder.path()).await;
    assert_eq!(kind(&store).await, Some(MissingKind::NotCreated));
    assert_eq!(store.search(&Scope::All, &Search::default()).await.unwrap().lines.len(), 0);
    make(folder.path(), 10).await;
    assert_eq!(kind(&store).await, None);
}

#[tokio::test]
async fn a_damaged_store_is_not_ready_until_a_read_succeeds() {
    let folder = tempfile::tempdir().unwrap();
    make(folder.path(), 3_000).await;
    let path = folder.path().join("logs.db");
    let good = fs::read(&path).unwrap();
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    let (length, page) = (good.len() as u64, 4_096);
    // All but the last page and the first pages, which identify it as a store.
    let (from, to) = (length / 4 / page * page, length * 3 / 4 / page * page);
    file.write_all_at(&vec![0xa5; usize::try_from(to - from).unwrap()], from).unwrap();
    let store = reader(folder.path()).await;
    let every = Search { limit: 1_000, ..Search::new(Filter::Words("x".to_owned())) };
    let mut damaged = Ok(());
    for order in [store::Order::OldestFirst, store::Order::NewestFirst] {
        damaged = damaged.and(store.search(&Scope::All, &Search { order, ..every.clone() }).await.map(drop));
    }
    assert!(matches!(damaged, Err(SearchError::Refused(_))), "{damaged:?}");
    let refused = store.ready().await;
    assert!(matches!(&refused, Err(ReadyError::Refused(_))), "{refused:?}");
    // Restore the content in place, so that the file's identity is unchanged.
    file.write_all_at(&good, 0).unwrap();
    let answered = reader(folder.path()).await.search(&Scope::All, &every).await;
    assert!(answered.is_ok());
    assert!(store.search(&Scope::All, &every).await.is_ok());
    assert_eq!(store.ready().await, Ok(()));
}

#[tokio::test]
async fn a_link_into_a_missing_directory_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let (there, path) = (folder.path().join("there"), folder.path().join("logs.db"));
    fs::create_dir(&there).unwrap();
    let store = reader(folder.path()).await;
    symlink(folder.path().join("missing/logs.db"), &path).unwrap();
    assert_eq!(kind(&store).await, Some(MissingKind::BrokenLink));
    assert!(
        TestStore::open(&target(folder.path()), &EngineSettings::default()).await.is_err(),
        "the shipper can't create it"
    );
    // A link into an existing directory is followed.
    fs::remove_file(&path).unwrap();
    symlink("there/logs.db", &path).unwrap();
    assert_eq!(kind(&store).await, Some(MissingKind::NotCreated));
    make(folder.path(), 1).await;
    assert_eq!(kind(&store).await, None);
    // The directory itself is a dangling link.
    symlink("missing", folder.path().join("folder")).unwrap();
    let behind = reader(&folder.path().join("folder")).await;
    assert_eq!(kind(&behind).await, Some(MissingKind::BrokenLink));
    let target = target(&folder.path().join("folder"));
    assert!(TestStore::open(&target, &EngineSettings::default()).await.is_err(), "the shipper can't create it");
}

#[tokio::test]
async fn errors_do_not_show_the_path() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("logs.db");
    let store = reader(folder.path()).await;
    let steps: [fn(&Path); 3] = [
        |path| {
            let database = rusqlite::Connection::open(path).unwrap();
            database.execute_batch("CREATE TABLE accounts (name TEXT)").unwrap();
        },
        |path| fs::write(path, "no store ".repeat(1_000)).unwrap(),
        |path| fs::create_dir(path).unwrap(),
    ];
    for step in steps {
        let _ = fs::remove_file(&path);
        step(&path);
        let (ready, found) = (store.ready().await, store.search(&Scope::All, &Search::default()).await);
        let texts = [ready.unwrap_err().to_string(), found.unwrap_err().to_string()];
        assert!(texts.iter().all(|text| !text.contains("logs.db") && !text.contains("tmp")), "{texts:?}");
    }
}
