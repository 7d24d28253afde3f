//! A writer killed at any time leaves a file that opens and contains whole batches, with every line searchable: while
//! it writes, while it runs retention, and while it upgrades a file of an earlier version.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rusqlite::Connection;
use store::{
    BatchBuilder, EngineSettings, LineId, RetentionPolicy, Scope, Search, Selection, Store, Target, Timestamp,
};

use crate::lines::{TestStore, generation, push, record};

/// Environment variable with the file that the child writes to.
const FILE: &str = "STORE_TEST_KILLED_FILE";

const BATCH_LINES: u64 = 250;

const KILLS: usize = 12;

/// Retention limits of the child: a few runs.
const KEEP: RetentionPolicy = RetentionPolicy { age: None, bytes: Some(1_000_000) };

/// Number of lines in a file of version 1; they are moved in several steps.
const OLD_LINES: u64 = 60_000;

/// The child process: writes batches until it is killed.
#[tokio::test]
#[ignore = "a program"]
async fn writes_until_it_is_killed() {
    write(RetentionPolicy::default()).await;
}

/// The same, with retention after each batch.
#[tokio::test]
#[ignore = "a program"]
async fn writes_with_retention_until_it_is_killed() {
    write(KEEP).await;
}

/// Opens a file of an earlier version.
#[tokio::test]
#[ignore = "a program"]
async fn upgrades_until_it_is_killed() {
    let file = std::env::var(FILE).unwrap();
    TestStore::open(&Target::Sqlite(file.into()), &EngineSettings::default()).await.unwrap();
}

async fn write(keep: RetentionPolicy) {
    let file = std::env::var(FILE).unwrap();
    let store = TestStore::open(&Target::Sqlite(file.into()), &EngineSettings::default()).await.unwrap();
    take_out(&store, &keep).await;
    let begin = lines(&store).await + store.removed(generation(1)).await.unwrap().lines;
    for batch in begin / BATCH_LINES..100_000 {
        let mut builder = BatchBuilder::new("x");
        for number in batch * BATCH_LINES..(batch + 1) * BATCH_LINES {
            let line = record(u32::try_from(number % 60).unwrap(), &format!("line {number} of all"), Some("r-1"));
            push(&mut builder, LineId { generation: generation(1), offset: number }, &line.to_string());
        }
        store.write(&builder.finish(0)).await.unwrap();
        take_out(&store, &keep).await;
    }
}

/// Runs retention until nothing is left to do.
async fn take_out(store: &TestStore, keep: &RetentionPolicy) {
    while store.writer.retain(keep, Timestamp::now()).await.unwrap().next_after.is_some() {}
}

async fn lines(store: &Store) -> u64 {
    store.facets(&Scope::All, &Selection::default(), &[], 1).await.unwrap().lines
}

fn start(what: &str, file: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", what, "--test-threads=1"])
        .env(FILE, file)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Kills the child at a random time.
fn start_and_kill(what: &str, file: &Path) {
    let random = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().subsec_nanos();
    let mut child = start(what, file);
    std::thread::sleep(Duration::from_millis(u64::from(40 + random / 1_000 % 160)));
    child.kill().unwrap();
    child.wait().unwrap();
}

fn number(connection: &Connection, of: &str) -> u64 {
    connection.query_row(of, [], |row| row.get::<_, i64>(0)).unwrap().cast_unsigned()
}

fn assert_whole(connection: &Connection, kill: usize) {
    let verdict: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(verdict, "ok", "kill {kill}");
}

#[tokio::test]
async fn a_file_opens_whenever_its_writer_was_killed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("logs.db");
    let mut before = 0;
    for kill in 0..KILLS {
        start_and_kill("kills::writes_until_it_is_killed", &file);
        if !file.exists() {
            continue;
        }
        let target = Target::Sqlite(file.clone());
        let store = TestStore::open(&target, &EngineSettings::default()).await.unwrap();
        let now = lines(&store).await;
        assert!(now >= before && now.is_multiple_of(BATCH_LINES), "kill {kill}: {now} lines after {before}");
        before = now;
        let connection = Connection::open(&file).unwrap();
        assert_whole(&connection, kill);
        assert_eq!(number(&connection, "SELECT count(*) FROM logs"), now, "kill {kill}");
        for number in [0, now / 2, now.saturating_sub(1)].into_iter().filter(|number| *number < now) {
            let search = Search::new(format!("line {number}").parse().unwrap());
            let found = store.search(&Scope::All, &search).await.unwrap().lines.len();
            assert_eq!(found, 1, "kill {kill}: line {number} of {now}");
        }
    }
    assert!(before > 0);
}

#[tokio::test]
async fn a_file_opens_whenever_retention_was_killed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("logs.db");
    let (mut before, mut taken_out) = (0, 0);
    for kill in 0..100 {
        start_and_kill("kills::writes_with_retention_until_it_is_killed", &file);
        if !file.exists() {
            continue;
        }
        let store = TestStore::open(&Target::Sqlite(file.clone()), &EngineSettings::default()).await.unwrap();
        // Stored and deleted lines together are all that were written, in whole batches. Lines that are being deleted
        // are not found.
        let connection = Connection::open(&file).unwrap();
        let rows = || number(&connection, "SELECT count(*) FROM logs");
        assert_whole(&connection, kill);
        let (rest, removed) = (rows(), store.removed(generation(1)).await.unwrap().lines);
        let now = rest + removed;
        assert!(now >= before && now.is_multiple_of(BATCH_LINES), "kill {kill}: {rest} and {removed} after {before}");
        assert!(lines(&store).await <= rest, "kill {kill}");
        before = now;
        // Retention continues.
        take_out(&store, &KEEP).await;
        let removed = store.removed(generation(1)).await.unwrap().lines;
        assert_eq!((rows(), lines(&store).await), (now - removed, now - removed), "kill {kill}");
        assert_whole(&connection, kill);
        for number in [removed.checked_sub(1), Some(removed), now.checked_sub(1)].into_iter().flatten() {
            let search = Search::new(format!("line {number}").parse().unwrap());
            let found = store.search(&Scope::All, &search).await.unwrap().lines.len();
            let expected = usize::from((removed..now).contains(&number));
            assert_eq!(found, expected, "kill {kill}: line {number} of {removed}..{now}");
        }
        taken_out += usize::from(removed > 0);
        if taken_out >= KILLS {
            return;
        }
    }
    panic!("only {taken_out} times were lines taken out");
}

/// Creates a file as version 1 wrote it.
fn old_file(file: &Path) {
    let mut connection = Connection::open(file).unwrap();
    connection.pragma_update(None, "journal_mode", "wal").unwrap();
    connection.execute_batch(include_str!("../lines/version_1.sql")).unwrap();
    let transaction = connection.transaction().unwrap();
    transaction.execute("INSERT INTO sources (id, generation) VALUES (7, ?1)", [generation(1).as_str()]).unwrap();
    for number in 0..OLD_LINES.cast_signed() {
        let insert = r#"INSERT INTO logs (time, source, "offset", service, level, document)
                        VALUES (?1, 7, ?1, 's', 'info', ?2)"#;
        let mut document = record(u32::try_from(number % 60).unwrap(), &format!("line {number} of all"), Some("r-1"));
        document["origin"] = serde_json::json!({ "length": 1_000 });
        transaction.execute(insert, rusqlite::params![number, document.to_string()]).unwrap();
    }
    transaction.commit().unwrap();
}

#[tokio::test]
async fn a_file_opens_whenever_its_upgrade_was_killed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("logs.db");
    old_file(&file);
    let mut cut_short = 0;
    for kill in 0..KILLS {
        let mut child = start("kills::upgrades_until_it_is_killed", &file);
        let begun = std::time::Instant::now();
        let connection = Connection::open(&file).unwrap();
        connection.busy_timeout(Duration::from_secs(10)).unwrap();
        let moved = || {
            let is_new = "SELECT count(*) FROM sqlite_schema WHERE name = 'logs_v1'";
            if number(&connection, is_new) == 0 { 0 } else { number(&connection, "SELECT count(*) FROM logs") }
        };
        // During the move of lines, a little later each time.
        let enough = u64::try_from(kill / 2).unwrap() * 10_000;
        while child.try_wait().unwrap().is_none() && moved() < enough && begun.elapsed() < Duration::from_secs(60) {}
        let _ended = child.kill();
        child.wait().unwrap();

        assert_whole(&connection, kill);
        let waits = "SELECT count(*) FROM sqlite_schema WHERE name = 'logs_v1'";
        let is_cut_short = number(&connection, waits) == 1;
        cut_short += usize::from(is_cut_short);
        let rows = number(&connection, "SELECT count(*) FROM logs");
        let waiting = if is_cut_short { number(&connection, "SELECT count(*) FROM logs_v1") } else { 0 };
        assert_eq!(rows + waiting, OLD_LINES, "kill {kill}");
        // Readers get the lines moved so far, or an error that asks them to wait.
        let reader = Store::open(&Target::Sqlite(file.clone()), &EngineSettings::default()).await.unwrap();
        match reader.facets(&Scope::All, &Selection::default(), &[], 1).await {
            Ok(found) => assert_eq!(found.lines, rows, "kill {kill}"),
            Err(error) => assert!(error.to_string().contains("older schema version"), "kill {kill}: {error}"),
        }
    }
    assert!(cut_short > 2, "{cut_short}");
    let store = TestStore::open(&Target::Sqlite(file.clone()), &EngineSettings::default()).await.unwrap();
    assert_eq!(lines(&store).await, OLD_LINES);
    for number in [0, 9_999, 10_000, OLD_LINES / 2, OLD_LINES - 1] {
        let search = Search::new(format!("line {number}").parse().unwrap());
        assert_eq!(store.search(&Scope::All, &search).await.unwrap().lines.len(), 1, "line {number}");
    }
    let connection = Connection::open(&file).unwrap();
    assert_whole(&connection, KILLS);
    assert_eq!(number(&connection, "SELECT count(*) FROM sqlite_schema WHERE name = 'logs_v1'"), 0);
}
