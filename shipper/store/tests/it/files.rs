//! The store's file: missing, created, replaced, or of another kind or version.

use rusqlite::Connection;
use store::{BootstrapMode, BootstrapOutcome, EngineSettings, OpenError, SearchError, Store, Target};

use crate::lines::{TestStore, all_stored, batch, generation, record};
use crate::{count, new_store, reader, target, writer};

#[tokio::test]
async fn a_store_that_does_not_exist_yet_reads_as_empty_until_it_appears() {
    let folder = tempfile::tempdir().unwrap();
    let reader = reader(&folder).await;
    assert_eq!(count(&reader).await, 0);
    assert_eq!(reader.ready().await, Ok(()));
    // As briefly during its creation.
    std::fs::write(folder.path().join("logs.db"), b"").unwrap();
    assert_eq!(count(&reader).await, 0);

    let writer = writer(&folder).await;
    assert_eq!(count(&reader).await, 0);
    let lines = batch("x", generation(1), &[record(1, "a", None)]);
    assert_eq!(writer.write(&lines).await.unwrap(), all_stored(1));
    assert_eq!(count(&reader).await, 1);
}

#[tokio::test]
async fn a_file_that_is_replaced_is_noticed() {
    let (folder, store) = new_store().await;
    store.write(&batch("x", generation(1), &[record(1, "a", None)])).await.unwrap();
    let reader = reader(&folder).await;
    assert_eq!(count(&reader).await, 1);
    drop(store);
    // RetentionPolicy the old file, so that its inode is not reused.
    std::fs::rename(folder.path().join("logs.db"), folder.path().join("old.db")).unwrap();
    for other in ["logs.db-wal", "logs.db-shm"] {
        let _ = std::fs::remove_file(folder.path().join(other));
    }
    let missing = reader.search(&store::Scope::All, &store::Search::default()).await;
    assert!(matches!(missing, Err(SearchError::Unavailable(_))), "{missing:?}");
    let store = writer(&folder).await;
    store.write(&batch("x", generation(2), &[record(1, "b", None), record(2, "c", None)])).await.unwrap();
    assert_eq!(count(&reader).await, 2);
}

#[tokio::test]
async fn directories_are_created_and_readers_write_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let target = Target::Sqlite(folder.path().join("a/b/logs.db"));
    let settings = EngineSettings::default();
    let reader = Store::open(&target, &settings).await.unwrap();
    assert_eq!(count(&reader).await, 0);
    assert!(!folder.path().join("a").exists());

    let writer = TestStore::open(&target, &settings).await.unwrap();
    let report = writer.bootstrap(BootstrapMode::Check).await.unwrap();
    assert_eq!((report.pipeline, report.template), (BootstrapOutcome::NotUsed, BootstrapOutcome::InPlace));

    std::fs::write(folder.path().join("file"), b"x").unwrap();
    let target = Target::Sqlite(folder.path().join("file/logs.db"));
    let refused = TestStore::open(&target, &settings).await;
    assert!(matches!(refused, Err(OpenError::Folder { .. })), "{refused:?}");
}

#[tokio::test]
async fn a_newer_file_is_rejected_with_its_name_and_version() {
    let (folder, store) = new_store().await;
    let early = reader(&folder).await;
    assert_eq!(count(&early).await, 0);
    drop(store);
    let connection = Connection::open(folder.path().join("logs.db")).unwrap();
    connection.pragma_update(None, "user_version", 1_000).unwrap();
    let settings = EngineSettings::default();
    let written = TestStore::open(&target(&folder), &settings).await.map(drop);
    for refused in [written, Store::open(&target(&folder), &settings).await.map(drop)] {
        let error = refused.unwrap_err();
        assert!(matches!(error, OpenError::NewerSchema { found: 1_000, .. }), "{error:?}");
        assert!(error.to_string().contains("logs.db") && error.to_string().contains("1000"), "{error}");
    }
    let refused = early.search(&store::Scope::All, &store::Search::default()).await;
    assert!(matches!(refused, Err(SearchError::Refused(_))), "{refused:?}");
}

#[tokio::test]
async fn a_file_of_another_kind_is_rejected_and_unchanged() {
    let folder = tempfile::tempdir().unwrap();
    let text = "a letter, not a database\n".repeat(100);
    std::fs::write(folder.path().join("logs.db"), &text).unwrap();
    let settings = EngineSettings::default();
    let written = TestStore::open(&target(&folder), &settings).await.map(drop);
    for refused in [written, Store::open(&target(&folder), &settings).await.map(drop)] {
        let error = refused.unwrap_err();
        assert!(error.to_string().contains("not a database"), "{error}");
    }
    assert_eq!(std::fs::read_to_string(folder.path().join("logs.db")).unwrap(), text);
}

#[tokio::test]
async fn a_foreign_database_is_rejected_and_unchanged() {
    let folder = tempfile::tempdir().unwrap();
    let connection = Connection::open(folder.path().join("logs.db")).unwrap();
    connection.execute_batch("CREATE TABLE accounts (name TEXT)").unwrap();
    let refused = TestStore::open(&target(&folder), &EngineSettings::default()).await;
    assert!(matches!(refused, Err(OpenError::File { .. })), "{refused:?}");
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).unwrap();
    assert_eq!(tables, 1);
}
