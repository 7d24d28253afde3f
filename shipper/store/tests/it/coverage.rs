//! Whether a source is complete can be asked of the store itself.

use store::LineId;

use crate::lines::coverage::{is_told, write_with_a_gap};
use crate::lines::generation;
use crate::{new_store, reader};

#[tokio::test]
async fn what_rests_of_a_source_is_told() {
    let (folder, store) = new_store().await;
    write_with_a_gap(&store, "x").await;
    is_told(&store).await;
    is_told(&reader(&folder).await).await;
}

#[tokio::test]
async fn of_a_store_that_is_not_there_nothing_rests() {
    let folder = tempfile::tempdir().unwrap();
    let store = reader(&folder).await;
    assert_eq!(store.coverage(generation(1), 0..10).await.unwrap().lines, 0);
    let resting = store.resting(&[LineId { generation: generation(1), offset: 0 }]).await.unwrap();
    assert_eq!(resting[0].documents, 0);
}
