//! Coverage queries of an engine.

use reqwest::Method;
use serde_json::json;
use store::LineId;

use crate::lines::coverage::{assert_coverage, write_with_a_gap};
use crate::lines::generation;
use crate::rig::Rig;

#[tokio::test]
async fn coverage_of_a_source_is_reported() {
    for rig in [Rig::full("coverage"), Rig::bare("coverage")] {
        let store = rig.ready_store().await;
        assert_eq!(store.coverage(generation(1), 0..10).await.unwrap().lines, 0);
        write_with_a_gap(&store, &rig.settings.index_prefix).await;
        assert_coverage(&store.audit).await;

        // A line that is stored in another index as well.
        let id = LineId { generation: generation(1), offset: 2_000 };
        let origin = json!({ "generation": generation(1).as_str(), "offset": 2_000, "length": 1_000 });
        let path = format!("{}-2026.01.01/_doc/{id}?refresh=true", rig.settings.index_prefix);
        let (status, answer) = rig.request(Method::PUT, &path, Some(json!({ "message": "x", "origin": origin }))).await;
        assert_eq!(status, 201, "{answer}");
        let whole = store.coverage(generation(1), 0..5_000).await.unwrap();
        assert_eq!((whole.lines, whole.distinct, whole.bytes), (6, 5, 6_000));
        assert_eq!(store.audit.document_counts(&[id]).await.unwrap()[0].documents, 2);
        let spans = store.spans(generation(1), 2_000..3_000, 10).await.unwrap();
        let mut indices: Vec<_> = spans.into_iter().filter_map(|span| span.index).collect();
        indices.sort_unstable();
        let prefix = &rig.settings.index_prefix;
        assert_eq!(indices, [format!("{prefix}-2026.01.01"), format!("{prefix}-2026.11.23")]);
        rig.clean().await;
    }
}
