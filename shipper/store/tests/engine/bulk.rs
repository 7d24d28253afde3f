//! Dispositions of lines written to an engine.

use reqwest::Method;
use serde_json::json;
use store::{Disposition, Search, WriteError};

use crate::lines::{TestStore, all_stored, batch, generation, record};
use crate::rig::Rig;

async fn are_stored_once(rig: Rig) {
    let store = rig.ready_store().await;
    let lines: Vec<_> = (0..20).map(|second| record(second, "hello", Some("r-1"))).collect();
    let batch = batch(&rig.settings.index_prefix, generation(1), &lines);
    assert_eq!(store.write(&batch.slice(0..10)).await.unwrap(), all_stored(10));
    let mut expected = vec![Disposition::AlreadyStored; 10];
    expected.extend(all_stored(10));
    assert_eq!(store.write(&batch).await.unwrap(), expected);
    let page = rig.find(&store, &Search { limit: 1_000, ..Search::default() }).await;
    assert_eq!(page.lines.len(), 20);
    rig.clean().await;
}

#[tokio::test]
async fn lines_sent_twice_are_stored_once() {
    are_stored_once(Rig::full("twice")).await;
}

#[tokio::test]
async fn lines_sent_twice_are_stored_once_by_an_engine_without_processors() {
    are_stored_once(Rig::bare("twice")).await;
}

async fn a_conflict_is_a_dead_letter(rig: Rig) {
    let store = rig.ready_store().await;
    let spoilt = json!({ "timestamp": "2026-11-23T12:00:00.000Z", "trace_id": { "not": "a keyword" } });
    let lines = [record(0, "before", None), spoilt, record(1, "after", None)];
    let written = store.write(&batch(&rig.settings.index_prefix, generation(1), &lines)).await.unwrap();
    assert!(matches!(&written[1], Disposition::DeadLetter(cause) if cause.status == 400), "{written:?}");
    assert_eq!((&written[0], &written[2]), (&Disposition::Stored, &Disposition::Stored));
    rig.clean().await;
}

#[tokio::test]
async fn a_mapping_conflict_is_dead_lettered_alone() {
    a_conflict_is_a_dead_letter(Rig::full("conflict")).await;
}

#[tokio::test]
async fn a_mapping_conflict_is_dead_lettered_alone_without_processors() {
    a_conflict_is_a_dead_letter(Rig::bare("conflict")).await;
}

#[tokio::test]
async fn an_event_that_is_not_an_object_is_stored() {
    for rig in [Rig::full("event"), Rig::bare("event")] {
        let store = rig.ready_store().await;
        let mut line = record(0, "a structlog line", Some("r-1"));
        line["event"] = "user_logged_in".into();
        let written = store.write(&batch(&rig.settings.index_prefix, generation(1), &[line])).await.unwrap();
        assert_eq!(written, all_stored(1));
        let page = rig.find(&store, &Search::default()).await;
        assert!(page.lines[0].get().contains("user_logged_in"));
        rig.clean().await;
    }
}

#[tokio::test]
async fn a_blocked_index_retries_its_lines() {
    a_block_refuses(Rig::full("block")).await;
}

#[tokio::test]
async fn a_blocked_index_retries_its_lines_without_processors() {
    a_block_refuses(Rig::bare("block")).await;
}

/// Returns why the only line is to be retried: its index accepts none.
fn shut(written: &Result<Vec<Disposition>, WriteError>) -> Option<&store::Cause> {
    match written.as_deref() {
        Ok([Disposition::Retry(cause)]) => Some(cause),
        _ => None,
    }
}

async fn a_block_refuses(rig: Rig) {
    let store = rig.ready_store().await;
    let lines = batch(&rig.settings.index_prefix, generation(1), &[record(0, "a", None), record(1, "b", None)]);
    assert_eq!(store.write(&lines.slice(0..1)).await.unwrap(), all_stored(1));
    let block = json!({ "index.blocks.read_only_allow_delete": true });
    let index = lines.index_name(0).to_owned();
    rig.request(Method::PUT, &format!("{index}/_settings"), Some(block)).await;
    // The block of a full disk, reported with 429 although it does not resolve on its own.
    let written = store.write(&lines.slice(1..2)).await;
    assert!(shut(&written).is_some(), "{written:?}");
    // One at a time: while an index is blocked, only blocks can be changed.
    for block in [json!({ "index.blocks.read_only_allow_delete": null }), json!({ "index.blocks.write": true })] {
        rig.request(Method::PUT, &format!("{index}/_settings"), Some(block)).await;
    }
    let written = store.write(&lines.slice(1..2)).await;
    assert!(shut(&written).is_some_and(|cause| cause.status == 403), "{written:?}");
    // A closed index, which some engines report as a block and some as an error of its own.
    rig.request(Method::PUT, &format!("{index}/_settings"), Some(json!({ "index.blocks.write": null }))).await;
    rig.request(Method::POST, &format!("{index}/_close"), None).await;
    let written = store.write(&lines.slice(1..2)).await;
    assert!(shut(&written).is_some_and(|cause| cause.kind == store::CauseKind::Block), "{written:?}");
    rig.request(Method::POST, &format!("{index}/_open?wait_for_active_shards=1"), None).await;
    let open = json!({ "index.blocks.write": null });
    rig.request(Method::PUT, &format!("{index}/_settings"), Some(open)).await;
    assert_eq!(store.write(&lines).await.unwrap(), [Disposition::AlreadyStored, Disposition::Stored]);
    rig.clean().await;
}

#[tokio::test]
async fn a_missing_pipeline_refuses_writes() {
    let rig = Rig::full("nopipeline");
    let store = rig.ready_store().await;
    rig.request(Method::DELETE, &format!("_ingest/pipeline/{}", rig.settings.index_prefix), None).await;
    let lines = batch(&rig.settings.index_prefix, generation(1), &[record(0, "a", None)]);
    let written = store.write(&lines).await;
    assert!(matches!(written, Err(WriteError::Refused(_))), "{written:?}");
    rig.clean().await;
}

#[tokio::test]
async fn a_compressed_batch_is_the_same_batch() {
    for mut rig in [Rig::full("gzip"), Rig::bare("gzip")] {
        rig.settings.compression = store::Compression::Gzip;
        let store = rig.ready_store().await;
        let lines: Vec<_> = (0..50).map(|second| record(second, "hello", Some("r-1"))).collect();
        let batch = batch(&rig.settings.index_prefix, generation(1), &lines);
        assert_eq!(store.write_to(0, &batch).await.unwrap(), all_stored(50));
        assert_eq!(store.write(&batch).await.unwrap(), vec![Disposition::AlreadyStored; 50]);
        rig.clean().await;
    }
}

#[tokio::test]
async fn a_dead_host_is_skipped_unless_it_is_requested() {
    let rig = Rig::full("hosts");
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let target = format!("http://127.0.0.1:{port},{}", rig.url()).parse().unwrap();
    let store = TestStore::open(&target, &rig.settings).await.unwrap();
    for _ in 0..2 {
        store.bootstrap(store::BootstrapMode::Apply).await.unwrap();
    }
    let batch = batch(&rig.settings.index_prefix, generation(1), &[record(0, "a", None)]);
    let refused = store.write_to(0, &batch).await;
    assert!(
        matches!(&refused, Err(WriteError::Unavailable(cause)) if cause.kind == store::CauseKind::Unreachable),
        "{refused:?}"
    );
    assert_eq!(store.write_to(1, &batch).await.unwrap(), all_stored(1));
    assert_eq!(store.writer.hosts()[0], format!("127.0.0.1:{port}"));
    rig.clean().await;
}

#[tokio::test]
async fn a_missing_index_that_is_not_created_retries_its_lines() {
    for rig in [Rig::full("noauto"), Rig::bare("noauto")] {
        let store = rig.ready_store().await;
        let prefix = rig.settings.index_prefix.clone();
        // Only for this test's indices.
        let forbid = json!({ "persistent": { "action.auto_create_index": format!("-{prefix}-*,*") } });
        let settings = rig.cluster_settings().await;
        rig.request(Method::PUT, "_cluster/settings", Some(forbid)).await;
        let lines = batch(&prefix, generation(1), &[record(0, "a", None)]);
        let written = store.write(&lines).await;
        let allow = json!({ "persistent": { "action.auto_create_index": null } });
        rig.request(Method::PUT, "_cluster/settings", Some(allow)).await;
        drop(settings);
        assert!(shut(&written).is_some_and(|cause| cause.kind == store::CauseKind::MissingIndex), "{written:?}");
        assert_eq!(store.write(&lines).await.unwrap(), all_stored(1));
        rig.clean().await;
    }
}

#[tokio::test]
async fn an_unreachable_engine_is_unavailable() {
    let settings = store::EngineSettings::default();
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let target = format!("http://127.0.0.1:{port}").parse().unwrap();
    let store = TestStore::open(&target, &settings).await.unwrap();
    let written = store.write(&batch("x", generation(1), &[record(0, "a", None)])).await;
    assert!(matches!(written, Err(WriteError::Unavailable(_))), "{written:?}");
    assert!(store.ready().await.is_err());
}
