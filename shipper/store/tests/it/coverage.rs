//! Coverage queries of the embedded store.

use store::{EngineSettings, LineId, StoreAudit};

use crate::lines::coverage::{assert_coverage, write_with_a_gap};
use crate::lines::generation;
use crate::{new_store, target};

async fn audit(folder: &tempfile::TempDir) -> StoreAudit {
    StoreAudit::open(&target(folder), &EngineSettings::default()).await.unwrap()
}

#[tokio::test]
async fn coverage_of_a_source_is_reported() {
    let (folder, store) = new_store().await;
    write_with_a_gap(&store, "x").await;
    assert_coverage(&store.audit).await;
    assert_coverage(&audit(&folder).await).await;
}

#[tokio::test]
async fn a_missing_store_covers_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = audit(&folder).await;
    assert_eq!(store.coverage(generation(1), 0..10).await.unwrap().lines, 0);
    let document_counts = store.document_counts(&[LineId { generation: generation(1), offset: 0 }]).await.unwrap();
    assert_eq!(document_counts[0].documents, 0);
}
