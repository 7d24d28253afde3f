//! All reads of one answer use the same file.

use std::fs;
use std::path::Path;

use store::counts::Selection;
use store::{CauseKind, EngineSettings, Filter, Scope, Search, SearchError, Store, StoreAudit, Target};

use crate::lines::{TestStore, batch, generation, record};

fn target(folder: &Path, name: &str) -> Target {
    Target::Sqlite(folder.join(name))
}

/// Creates a store with `count` lines and closes it.
pub(crate) async fn create(target: &Target, count: u32, message: impl Fn(u32) -> String) {
    let store = TestStore::open(target, &EngineSettings::default()).await.unwrap();
    let lines: Vec<_> = (0..count).map(|number| record(number % 60, &message(number), None)).collect();
    store.write(&batch("x", generation(1), &lines)).await.unwrap();
}

async fn make(folder: &Path, name: &str, count: u32) {
    create(&target(folder, name), count, |_| name.to_owned()).await;
}

type Step = fn(&Path);

async fn lines(store: &Store) -> Result<usize, SearchError> {
    Ok(store.search(&Scope::All, &Search::default()).await?.lines.len())
}

fn is_replaced<T: std::fmt::Debug>(found: &Result<T, SearchError>) -> bool {
    matches!(found, Err(SearchError::Unavailable(cause)) if cause.kind == CauseKind::FileReplaced)
}

#[tokio::test]
async fn pinned_reads_use_one_file_or_fail() {
    let steps: [(&str, Step); 4] = [
        ("another store takes its place", |folder| {
            fs::rename(folder.join("other.db"), folder.join("logs.db")).unwrap();
        }),
        ("it is deleted, and another is copied there", |folder| {
            fs::remove_file(folder.join("logs.db")).unwrap();
            fs::copy(folder.join("other.db"), folder.join("logs.db")).unwrap();
        }),
        ("an empty file takes its place", |folder| {
            fs::write(folder.join("empty"), "").unwrap();
            fs::rename(folder.join("empty"), folder.join("logs.db")).unwrap();
        }),
        ("it is deleted", |folder| fs::remove_file(folder.join("logs.db")).unwrap()),
    ];
    for (what, step) in steps {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        make(folder, "logs.db", 20).await;
        make(folder, "other.db", 30).await;
        let store = StoreAudit::open(&target(folder, "logs.db"), &EngineSettings::default()).await.unwrap();
        let answer = store.pinned();
        assert_eq!((lines(answer.reader()).await, lines(answer.clone().reader()).await), (Ok(20), Ok(20)));
        step(folder);
        let selection = Selection { filter: Filter::EVERY, from: None, to: None };
        let (again, export) = (lines(answer.reader()).await, answer.export(&selection, Default::default()).await);
        assert!(is_replaced(&again) && is_replaced(&export), "{what}: {again:?}");
        // The next answer uses the current file.
        assert!(lines(store.pinned().reader()).await != Ok(20), "{what}");
    }
}

#[tokio::test]
async fn a_file_that_appears_meanwhile_is_not_part_of_an_answer() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let store = Store::open(&target(folder, "logs.db"), &EngineSettings::default()).await.unwrap();
    let answer = store.pinned();
    assert_eq!(lines(&answer).await, Ok(0));
    make(folder, "logs.db", 20).await;
    assert!(is_replaced(&lines(&answer).await));
    assert_eq!(lines(&store).await, Ok(20));
}

#[tokio::test]
async fn opening_and_closing_a_writer_changes_no_answer() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    make(folder, "logs.db", 20).await;
    let store = Store::open(&target(folder, "logs.db"), &EngineSettings::default()).await.unwrap();
    let answer = store.pinned();
    assert_eq!(lines(&answer).await, Ok(20));
    // Its WAL and shared memory appear and disappear with it.
    let writer = TestStore::open(&target(folder, "logs.db"), &EngineSettings::default()).await.unwrap();
    writer.write(&batch("x", generation(2), &[record(1, "more", None)])).await.unwrap();
    assert_eq!(lines(&answer).await, Ok(21));
    drop(writer);
    assert_eq!(lines(&answer).await, Ok(21));
}
