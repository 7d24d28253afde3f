//! Coverage queries of the embedded store.

use store::LineId;

use crate::lines::coverage::{is_told, write_with_a_gap};
use crate::lines::generation;
use crate::{new_store, reader};

#[tokio::test]
async fn coverage_of_a_source_is_reported() {
    let (folder, store) = new_store().await;
    write_with_a_gap(&store, "x").await;
    is_told(&store).await;
    is_told(&reader(&folder).await).await;
}

#[tokio::test]
async fn a_missing_store_covers_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = reader(&folder).await;
    assert_eq!(store.coverage(generation(1), 0..10).await.unwrap().lines, 0);
    let document_counts = store.document_counts(&[LineId { generation: generation(1), offset: 0 }]).await.unwrap();
    assert_eq!(document_counts[0].documents, 0);
}
