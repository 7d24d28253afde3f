//! The store's file is deleted, moved or replaced while it is open: no line counts as stored unless the file at the
//! path contains it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use rusqlite::Connection;
use store::{
    CauseKind, Disposition, EngineSettings, FieldType, MissingKind, NamedFields, ReadyError, Scope, Search,
    SearchError, Selection, Store, Target, WriteError,
};

use crate::lines::{TestStore, batch, generation, record};

/// Maximum number of attempts until a write succeeds.
const ATTEMPTS: usize = 50;

type Step = fn(&Path);

/// A directory within a directory, so that either can be moved.
fn folder(base: &Path) -> std::path::PathBuf {
    base.join("outer/inner")
}

fn file(base: &Path) -> std::path::PathBuf {
    folder(base).join("logs.db")
}

fn sidecar(base: &Path, suffix: &str) -> std::path::PathBuf {
    folder(base).join(format!("logs.db{suffix}"))
}

async fn open(base: &Path) -> TestStore {
    TestStore::open(&Target::Sqlite(file(base)), &EngineSettings::default()).await.unwrap()
}

/// Builds a batch of `count` lines of one generation.
fn lines(number: u8, count: u32) -> store::Batch {
    let records: Vec<_> = (0..count).map(|second| record(second % 60, &format!("{number}"), None)).collect();
    batch("x", generation(number), &records)
}

/// Creates another store with one line at this path and closes it.
fn other_store(path: &Path) {
    let target = Target::Sqlite(path.to_owned());
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let store = TestStore::open(&target, &EngineSettings::default()).await.unwrap();
            store.write(&lines(9, 1)).await.unwrap();
        });
    })
    .join()
    .unwrap();
}

/// Returns the number of a generation's lines in the file at the path, as a process finds it that starts after this one
/// was killed.
fn found(base: &Path, number: u8) -> i64 {
    let copy = tempfile::tempdir().unwrap();
    for suffix in ["", "-wal"] {
        if let Ok(bytes) = fs::read(sidecar(base, suffix)) {
            fs::write(copy.path().join(format!("logs.db{suffix}")), bytes).unwrap();
        }
    }
    let connection = Connection::open(copy.path().join("logs.db")).unwrap();
    let verdict: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(verdict, "ok");
    let count = "SELECT count(*) FROM logs JOIN sources ON sources.id = source WHERE generation = ?1";
    connection.query_row(count, [generation(number).as_str()], |row| row.get(0)).unwrap_or(0)
}

async fn write_until_stored(store: &TestStore, number: u8) -> Result<usize, WriteError> {
    let mut last = None;
    for attempt in 0..ATTEMPTS {
        match store.write(&lines(number, 100)).await {
            Ok(dispositions) => {
                let is_there = |one: &Disposition| matches!(one, Disposition::Stored | Disposition::AlreadyStored);
                assert!(dispositions.iter().all(is_there), "{dispositions:?}");
                return Ok(attempt);
            }
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap())
}

fn remove(base: &Path, suffixes: &[&str]) {
    suffixes.iter().for_each(|suffix| fs::remove_file(sidecar(base, suffix)).unwrap());
}

/// Changes of the open file after which writing continues without help.
const HAPPENINGS: &[(&str, Step)] = &[
    ("the file is deleted", |base| remove(base, &[""])),
    ("it and its WAL are deleted", |base| remove(base, &["", "-wal", "-shm"])),
    ("the WAL is deleted", |base| remove(base, &["-wal"])),
    ("the shared memory is deleted", |base| remove(base, &["-shm"])),
    ("WAL and shared memory are deleted", |base| remove(base, &["-wal", "-shm"])),
    ("the file and its WAL are deleted", |base| remove(base, &["", "-wal"])),
    ("the file is moved", |base| fs::rename(file(base), base.join("moved.db")).unwrap()),
    ("all are moved", |base| {
        for suffix in ["", "-wal", "-shm"] {
            fs::rename(sidecar(base, suffix), base.join(format!("moved.db{suffix}"))).unwrap();
        }
    }),
    ("its folder is moved, and another made", |base| {
        fs::rename(folder(base), base.join("outer/old")).unwrap();
        fs::create_dir(folder(base)).unwrap();
    }),
    ("the parent directory is moved and recreated", |base| {
        fs::rename(base.join("outer"), base.join("old")).unwrap();
        fs::create_dir_all(folder(base)).unwrap();
    }),
    ("its folder is removed, and another made", |base| {
        fs::remove_dir_all(folder(base)).unwrap();
        fs::create_dir(folder(base)).unwrap();
    }),
    ("another store takes its place", |base| {
        other_store(&base.join("other.db"));
        fs::rename(base.join("other.db"), file(base)).unwrap();
    }),
    ("another store takes the place of all", |base| {
        other_store(&base.join("other.db"));
        remove(base, &["-wal", "-shm"]);
        fs::rename(base.join("other.db"), file(base)).unwrap();
    }),
    ("a link to another store takes its place", |base| {
        other_store(&base.join("other.db"));
        remove(base, &[""]);
        symlink(base.join("other.db"), file(base)).unwrap();
    }),
    ("an empty file takes its place", |base| {
        fs::write(base.join("empty"), "").unwrap();
        fs::rename(base.join("empty"), file(base)).unwrap();
    }),
    ("it is emptied", |base| fs::write(file(base), "").unwrap()),
];

#[tokio::test]
async fn a_line_counts_as_stored_only_if_the_file_at_the_path_has_it() {
    let mut wrong = Vec::new();
    for (what, step) in HAPPENINGS {
        let base = tempfile::tempdir().unwrap();
        let base = base.path();
        let store = open(base).await;
        store.write(&lines(1, 100)).await.unwrap();
        step(base);
        if let Err(error) = write_until_stored(&store, 2).await {
            wrong.push(format!("{what}: {error}"));
            continue;
        }
        // A link's own directory has no WAL.
        let linked = fs::symlink_metadata(file(base)).is_ok_and(|metadata| metadata.is_symlink());
        let there = if linked { stored_behind_link(base) } else { found(base, 2) };
        if there != 100 {
            wrong.push(format!("{what}: {there} lines of 100"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn stored_behind_link(base: &Path) -> i64 {
    let copy = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder(copy.path())).unwrap();
    for suffix in ["", "-wal"] {
        if let Ok(bytes) = fs::read(base.join(format!("other.db{suffix}"))) {
            fs::write(sidecar(copy.path(), suffix), bytes).unwrap();
        }
    }
    assert_eq!(found(copy.path(), 9), 1);
    found(copy.path(), 2)
}

#[tokio::test]
async fn stored_lines_stay_in_a_moved_file_and_in_one_whose_wal_is_removed() {
    let base = tempfile::tempdir().unwrap();
    let base = base.path();
    let store = open(base).await;
    store.write(&lines(1, 100)).await.unwrap();
    remove(base, &["-wal", "-shm"]);
    write_until_stored(&store, 2).await.unwrap();
    assert_eq!((found(base, 1), found(base, 2)), (100, 100));

    fs::rename(file(base), base.join("outer/moved")).unwrap();
    write_until_stored(&store, 3).await.unwrap();
    assert_eq!((found(base, 1), found(base, 3)), (0, 100));
    let moved = Connection::open(base.join("outer/moved")).unwrap();
    let count: i64 = moved.query_row("SELECT count(*) FROM logs", [], |row| row.get(0)).unwrap();
    assert!(count >= 200, "{count}");
    drop(moved);
    // Move it back over the file created meanwhile, whose WAL does not belong to it.
    fs::rename(base.join("outer/moved"), file(base)).unwrap();
    write_until_stored(&store, 4).await.unwrap();
    assert_eq!((found(base, 1), found(base, 4)), (100, 100));
    assert_eq!(store.writer.file_changes().count, 3);
}

#[tokio::test]
async fn a_removed_directory_is_waited_for_and_not_recreated() {
    let base = tempfile::tempdir().unwrap();
    let base = base.path();
    let store = open(base).await;
    store.write(&lines(1, 100)).await.unwrap();
    fs::rename(base.join("outer"), base.join("away")).unwrap();
    for _ in 0..3 {
        let _ = store.write(&lines(2, 100)).await;
        let refused = store.writer.check().await.unwrap_err();
        assert!(
            matches!(&refused, WriteError::Refused(cause) if cause.kind == CauseKind::FolderMissing),
            "{refused:?}"
        );
        assert!(refused.to_string().contains("outer/inner"), "{refused}");
        assert!(store.ready().await.is_err() && !base.join("outer").exists());
    }
    fs::rename(base.join("away"), base.join("outer")).unwrap();
    write_until_stored(&store, 2).await.unwrap();
    assert_eq!((found(base, 1), found(base, 2)), (100, 100));
    assert_eq!(store.ready().await, Ok(()));
}

#[tokio::test]
async fn a_file_that_is_not_a_store_is_rejected_and_unchanged_until_removed() {
    let text = "a letter, not a database\n".repeat(1_000);
    let steps: [Step; 2] = [
        |base| {
            fs::write(base.join("letter"), "a letter, not a database\n".repeat(1_000)).unwrap();
            fs::rename(base.join("letter"), file(base)).unwrap();
        },
        |base| fs::write(file(base), "a letter, not a database\n".repeat(1_000)).unwrap(),
    ];
    for step in steps {
        let base = tempfile::tempdir().unwrap();
        let base = base.path();
        let store = open(base).await;
        store.write(&lines(1, 100)).await.unwrap();
        step(base);
        let refused = write_until_stored(&store, 2).await.unwrap_err();
        assert!(
            matches!(&refused, WriteError::Refused(cause) if cause.reason.contains("not a database")),
            "{refused:?}"
        );
        assert_eq!(fs::read_to_string(file(base)).unwrap(), text);
        fs::remove_file(file(base)).unwrap();
        write_until_stored(&store, 2).await.unwrap();
        assert_eq!(found(base, 2), 100);
    }
}

#[tokio::test]
async fn a_recreated_store_has_the_user_named_fields() {
    let base = tempfile::tempdir().unwrap();
    let fields = NamedFields::new([("customer".to_owned(), FieldType::Keyword)]).unwrap();
    let settings = EngineSettings { fields: Some(fields.clone()), ..EngineSettings::default() };
    let store = TestStore::open(&Target::Sqlite(file(base.path())), &settings).await.unwrap();
    store.bootstrap(store::BootstrapMode::Apply).await.unwrap();
    remove(base.path(), &[""]);
    store.writer.check().await.unwrap();
    assert_eq!(store.writer.file_changes().count, 1);
    assert_eq!(store.fields().await.unwrap(), fields);
}

#[tokio::test]
async fn a_reader_distinguishes_a_store_not_created_yet_from_a_deleted_one() {
    let base = tempfile::tempdir().unwrap();
    let base = base.path();
    let target = Target::Sqlite(file(base));
    let reader = Store::open(&target, &EngineSettings::default()).await.unwrap();
    let kind = async || reader.missing().await.unwrap().map(|missing| missing.kind);
    let search = async || reader.search(&Scope::All, &Search { limit: 1_000, ..Search::default() }).await;
    assert_eq!(kind().await, Some(MissingKind::NoFolder));
    fs::create_dir_all(folder(base)).unwrap();
    assert_eq!(kind().await, Some(MissingKind::NotCreated));
    assert_eq!(search().await.unwrap().lines.len(), 0);

    let store = open(base).await;
    store.write(&lines(1, 100)).await.unwrap();
    assert_eq!((search().await.unwrap().lines.len(), kind().await), (100, None));
    remove(base, &[""]);
    assert_eq!(kind().await, Some(MissingKind::Deleted));
    assert!(matches!(search().await, Err(SearchError::Unavailable(_))));
    assert!(matches!(reader.ready().await, Err(ReadyError::Unavailable(_))));

    write_until_stored(&store, 2).await.unwrap();
    assert_eq!((search().await.unwrap().lines.len(), kind().await), (100, None));
    assert_eq!(reader.ready().await, Ok(()));
}

#[tokio::test]
async fn a_link_to_the_moved_file_is_followed() {
    let folder = tempfile::tempdir().unwrap();
    let base = folder.path();
    fs::create_dir_all(self::folder(base)).unwrap();
    let target = Target::Sqlite(file(base));
    let store = TestStore::open(&target, &EngineSettings::default()).await.unwrap();
    write_until_stored(&store, 1).await.unwrap();
    fs::rename(file(base), base.join("real.db")).unwrap();
    symlink(base.join("real.db"), file(base)).unwrap();
    write_until_stored(&store, 2).await.unwrap();
    for number in [1, 2] {
        let coverage = store.coverage(generation(number), 0..u64::MAX >> 1).await.unwrap();
        assert_eq!(coverage.lines, 100, "of {number}");
    }
    let reader = Store::open(&target, &EngineSettings::default()).await.unwrap();
    let lines = reader.facets(&Scope::All, &Selection::default(), &[], 1).await.unwrap().lines;
    assert_eq!(lines, 200);
    assert_eq!(store.writer.file_changes().count, 1);
}
