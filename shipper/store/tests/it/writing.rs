//! Dispositions of written lines.

use rusqlite::Connection;
use store::{BatchBuilder, Disposition, Filter, LineId, Scope, Search, WriteError};

use crate::lines::{all_stored, batch, generation, push, record};
use crate::{count, new_store, writer};

#[tokio::test]
async fn a_line_written_twice_is_stored_once() {
    let (folder, store) = new_store().await;
    let lines: Vec<_> = (0..20).map(|second| record(second, "hello", Some("r-1"))).collect();
    let batch = batch("x", generation(1), &lines);
    assert_eq!(store.write(&batch.slice(5..10)).await.unwrap(), all_stored(5));
    drop(store);

    let store = writer(&folder).await;
    let dispositions = store.write(&batch).await.unwrap();
    let already: Vec<_> = dispositions.iter().map(|disposition| *disposition == Disposition::AlreadyStored).collect();
    assert_eq!(already, (0..20).map(|place| (5..10).contains(&place)).collect::<Vec<_>>());
    assert_eq!(count(&store).await, 20);
}

#[tokio::test]
async fn the_same_batch_written_at_once_is_stored_once() {
    let (_folder, store) = new_store().await;
    let lines: Vec<_> = (0..50).map(|second| record(second, "hello", None)).collect();
    let batch = batch("x", generation(1), &lines);
    let writes: Vec<_> = (0..4)
        .map(|_| {
            let (store, batch) = (store.clone(), batch.clone());
            tokio::spawn(async move { store.write(&batch).await.unwrap() })
        })
        .collect();
    let mut stored = 0;
    for write in writes {
        stored += write.await.unwrap().iter().filter(|disposition| **disposition == Disposition::Stored).count();
    }
    assert_eq!((stored, count(&store).await), (50, 50));
}

#[tokio::test]
async fn a_line_that_is_not_an_object_is_dead_lettered_alone() {
    let (_folder, store) = new_store().await;
    let mut builder = BatchBuilder::new("x");
    let good = record(1, "good", None).to_string();
    let texts = [good.as_str(), "[]", "{\"a\":", "", "7", &good];
    for (place, text) in texts.iter().enumerate() {
        push(&mut builder, LineId { generation: generation(1), offset: place as u64 }, text);
    }
    let dispositions = store.write(&builder.finish(0)).await.unwrap();
    for (text, disposition) in texts.iter().zip(&dispositions) {
        match disposition {
            Disposition::Stored => assert_eq!(*text, good),
            Disposition::DeadLetter(cause) => assert!(cause.reason.contains("not a JSON object"), "{text}: {cause}"),
            other => panic!("{text}: {other:?}"),
        }
    }
    assert_eq!(count(&store).await, 2);
}

#[tokio::test]
async fn a_failed_batch_leaves_nothing() {
    let (folder, store) = new_store().await;
    let connection = Connection::open(folder.path().join("logs.db")).unwrap();
    let trigger = "CREATE TRIGGER fails BEFORE INSERT ON logs WHEN NEW.document ->> '$.request_id' = 'poison'
                   BEGIN SELECT RAISE(ABORT, 'the test says no'); END";
    connection.execute_batch(trigger).unwrap();
    let lines = [record(1, "a", None), record(2, "b", Some("poison")), record(3, "c", None)];
    let batch = batch("x", generation(1), &lines);
    let error = store.write(&batch).await.unwrap_err();
    assert!(matches!(&error, WriteError::Refused(cause) if cause.reason.contains("the test says no")), "{error:?}");
    assert_eq!(count(&store).await, 0);

    connection.execute_batch("DROP TRIGGER fails").unwrap();
    assert_eq!(store.write(&batch).await.unwrap(), all_stored(3));
    let search = Search::new(Filter::Words("b".into()));
    assert_eq!(store.search(&Scope::All, &search).await.unwrap().lines.len(), 1);
}

#[tokio::test]
async fn a_reader_does_not_let_the_wal_grow() {
    let (folder, store) = new_store().await;
    let reader = crate::reader(&folder).await;
    let message = "words and more words ".repeat(20);
    for number in 0..100_u8 {
        let lines: Vec<_> = (0..60).map(|second| record(second, &message, Some("r-1"))).collect();
        store.write(&batch("x", generation(number), &lines)).await.unwrap();
        reader.search(&Scope::All, &Search { limit: 1, ..Search::default() }).await.unwrap();
    }
    let wal = std::fs::metadata(folder.path().join("logs.db-wal")).unwrap().len();
    assert!(wal < 20 * 1024 * 1024, "{wal} bytes");
}
