//! A writer that is killed at any moment leaves a file that opens, with whole batches in it, each line of which is found.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rusqlite::Connection;
use store::{BatchBuilder, EngineSettings, LineId, Scope, Search, Selection, Store, Target};

use crate::lines::{generation, push, record};

/// Names the file that the child writes.
const FILE: &str = "STORE_TEST_KILLED_FILE";

const BATCH_LINES: u64 = 250;

const KILLS: u32 = 12;

/// What the child does: writes batches until it is killed.
#[tokio::test]
#[ignore = "a program"]
async fn writes_until_it_is_killed() {
    let file = std::env::var(FILE).unwrap();
    let store = Store::open_writer(&Target::Sqlite(file.into()), &EngineSettings::default()).await.unwrap();
    let begin = lines(&store).await;
    for batch in begin / BATCH_LINES..100_000 {
        let mut builder = BatchBuilder::new("x");
        for number in batch * BATCH_LINES..(batch + 1) * BATCH_LINES {
            let line = record(u32::try_from(number % 60).unwrap(), &format!("line {number} of all"), Some("r-1"));
            push(&mut builder, LineId { generation: generation(1), offset: number }, &line.to_string());
        }
        store.write(&builder.finish(0)).await.unwrap();
    }
}

async fn lines(store: &Store) -> u64 {
    store.facets(&Scope::All, &Selection::default(), &[], 1).await.unwrap().lines
}

fn write_and_kill(file: &Path, after: Duration) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "kills::writes_until_it_is_killed", "--test-threads=1"])
        .env(FILE, file)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(after);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[tokio::test]
async fn a_file_opens_whenever_its_writer_was_killed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("logs.db");
    let mut before = 0;
    for kill in 0..KILLS {
        // At moments that have nothing to do with what is done then.
        let random = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().subsec_nanos();
        write_and_kill(&file, Duration::from_millis(u64::from(40 + random / 1_000 % 160)));
        if !file.exists() {
            continue;
        }
        let target = Target::Sqlite(file.clone());
        let store = Store::open_writer(&target, &EngineSettings::default()).await.unwrap();
        let now = lines(&store).await;
        assert!(now >= before && now.is_multiple_of(BATCH_LINES), "kill {kill}: {now} lines after {before}");
        before = now;
        let connection = Connection::open(&file).unwrap();
        let verdict: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(verdict, "ok", "kill {kill}");
        let rows: u64 =
            connection.query_row("SELECT count(*) FROM logs", [], |row| row.get::<_, i64>(0)).unwrap().cast_unsigned();
        assert_eq!(rows, now, "kill {kill}");
        for number in [0, now / 2, now.saturating_sub(1)].into_iter().filter(|number| *number < now) {
            let search = Search::of(format!("line {number}").parse().unwrap());
            let found = store.search(&Scope::All, &search).await.unwrap().lines.len();
            assert_eq!(found, 1, "kill {kill}: line {number} of {now}");
        }
    }
    assert!(before > 0);
}
