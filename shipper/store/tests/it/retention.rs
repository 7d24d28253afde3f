//! Retention deletes the oldest lines, and records what it deleted.

use std::time::Duration;

use store::{BatchBuilder, LineId, RetentionPolicy, RetentionStep, Scope, Search, Selection, Store, Timestamp};

use crate::lines::{TestStore, generation, push};
use crate::new_store;

const BASE_MS: i64 = 1_795_000_000_000;

/// Writes lines of 100 bytes, one second apart.
async fn write(store: &TestStore, lines: std::ops::Range<u64>) {
    let mut builder = BatchBuilder::new("x");
    for number in lines {
        let time = Timestamp::from_unix_ms(BASE_MS + number.cast_signed() * 1_000);
        let id = LineId { generation: generation(u8::try_from(number / 2_000).unwrap()), offset: number * 1_000 };
        let text = format!(
            r#"{{"timestamp":"{time}","service":"s","level":"info","message":"line {number}","request_id":null,"project_id":null}}"#
        );
        push(&mut builder, id, &text);
    }
    store.write(&builder.finish(0)).await.unwrap();
}

async fn retain(store: &TestStore, keep: RetentionPolicy, now: Timestamp) -> RetentionStep {
    let mut all = RetentionStep::default();
    for _ in 0..1_000 {
        let step = store.writer.retain(&keep, now).await.unwrap();
        all =
            RetentionStep { lines: all.lines + step.lines, bytes: all.bytes + step.bytes, next_after: step.next_after };
        if step.next_after.is_none() {
            return all;
        }
        assert!(step.lines <= 1_000);
    }
    panic!("it never ends");
}

async fn lines(store: &Store) -> u64 {
    store.facets(&Scope::All, &Selection::default(), &[], 1).await.unwrap().lines
}

#[tokio::test]
async fn old_lines_are_deleted_by_runs_and_recorded() {
    let (folder, store) = new_store().await;
    write(&store, 0..5_000).await;
    assert_eq!(retain(&store, RetentionPolicy::default(), Timestamp::now()).await, RetentionStep::default());
    // The first two runs are too old, and a part of the third.
    let now = Timestamp::from_unix_ms(BASE_MS + 5_000_000);
    let keep = RetentionPolicy { age: Some(Duration::from_secs(2_500)), bytes: None };
    let retained = retain(&store, keep, now).await;
    assert_eq!((retained.lines, retained.bytes), (2_048, 2_048_000));
    assert_eq!(lines(&store).await, 5_000 - 2_048);
    for (number, found) in [(2_047, 0), (2_048, 1), (4_999, 1)] {
        let search = Search::new(format!("line {number}").parse().unwrap());
        assert_eq!(store.search(&Scope::All, &search).await.unwrap().lines.len(), found, "{number}");
    }
    // For each source, deleted and stored lines add up to all lines.
    for (number, begun) in [(0_u8, 0), (1, 2_000)] {
        let removed = store.removed(generation(number)).await.unwrap();
        let coverage = store.coverage(generation(number), begun * 1_000..(begun + 2_000) * 1_000).await.unwrap();
        assert_eq!((removed.lines + coverage.lines, removed.bytes + coverage.bytes), (2_000, 2_000_000));
    }
    assert_eq!(store.removed(generation(2)).await.unwrap().lines, 0);
    // Ids continue, even if only the newest lines are left.
    drop(store);
    let store = crate::writer(&folder).await;
    write(&store, 5_000..5_100).await;
    assert_eq!(lines(&store).await, 5_100 - 2_048);
}

#[tokio::test]
async fn a_run_is_invisible_from_the_first_step_and_recorded_completely() {
    let (folder, store) = new_store().await;
    write(&store, 0..1_100).await;
    let keep = RetentionPolicy { age: Some(Duration::ZERO), bytes: None };
    let now = Timestamp::from_unix_ms(BASE_MS + 1_100_000);
    let mut steps = 0;
    while store.writer.retain(&keep, now).await.unwrap().next_after.is_some() {
        steps += 1;
        let reader = crate::reader(&folder).await;
        assert_eq!((lines(&reader).await, crate::count(&reader).await), (76, 76), "after step {steps}");
    }
    assert!(steps > 3, "the rows of a run go in several steps: {steps}");
    let file = rusqlite::Connection::open(folder.path().join("logs.db")).unwrap();
    let retired = file.query_row("SELECT lines, first, last FROM retired", [], |row| {
        Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?))
    });
    assert_eq!(retired.unwrap(), (1_024, 0, 1_023_000));
}

#[tokio::test]
async fn lines_from_the_future_do_not_block_retention() {
    let (_folder, store) = new_store().await;
    write(&store, 0..1_000).await;
    let mut builder = BatchBuilder::new("x");
    for number in 1_000..1_100_u64 {
        let text = r#"{"timestamp":"2099-01-01T00:00:00.000Z","service":"s","level":"info","message":"m","request_id":null,"project_id":null}"#;
        push(&mut builder, LineId { generation: generation(0), offset: number * 1_000 }, text);
    }
    store.write(&builder.finish(0)).await.unwrap();
    let keep = RetentionPolicy { age: Some(Duration::from_secs(60)), bytes: None };
    let retained = retain(&store, keep, Timestamp::from_unix_ms(BASE_MS + 10_000_000)).await;
    assert_eq!(retained.lines, 1_024);
}

#[tokio::test]
async fn the_latest_line_determines_the_age_of_a_run() {
    for newest in [0, 511, 1_023] {
        let (_folder, store) = new_store().await;
        let mut builder = BatchBuilder::new("x");
        for number in 0..1_100_u64 {
            let time = Timestamp::from_unix_ms(BASE_MS + if number == newest { 5_000_000 } else { 0 });
            let text = format!(
                r#"{{"timestamp":"{time}","service":"s","level":"info","message":"m","request_id":null,"project_id":null}}"#
            );
            push(&mut builder, LineId { generation: generation(0), offset: number * 1_000 }, &text);
        }
        store.write(&builder.finish(0)).await.unwrap();
        let keep = RetentionPolicy { age: Some(Duration::from_secs(60)), bytes: None };
        let early = Timestamp::from_unix_ms(BASE_MS + 5_000_000 + 60_000);
        assert_eq!(retain(&store, keep, early).await.lines, 0, "the line at {newest} is to be kept");
        let late = Timestamp::from_unix_ms(BASE_MS + 5_000_000 + 60_001);
        assert_eq!(retain(&store, keep, late).await.lines, 1_024, "the line at {newest} is too old");
    }
}

#[tokio::test]
async fn a_file_that_is_too_large_shrinks_and_stays_small() {
    let (folder, store) = new_store().await;
    let keep = RetentionPolicy { age: None, bytes: Some(1_000_000) };
    for part in 0..10 {
        write(&store, part * 2_000..(part + 1) * 2_000).await;
        retain(&store, keep, Timestamp::from_unix_ms(0)).await;
    }
    let left = lines(&store).await;
    assert!((1_024..10_000).contains(&left), "{left}");
    let newest = store.search(&Scope::All, &Search::new("19999".parse().unwrap())).await.unwrap();
    assert_eq!(newest.lines.len(), 1);
    drop(store);
    let bytes = std::fs::metadata(folder.path().join("logs.db")).unwrap().len();
    assert!(bytes < 2_500_000, "{bytes}");
}
