//! Coverage queries return the same in both kinds of store.

use store::{Coverage, LineId, Span, StoreAudit};

use super::{TestStore, batch, generation, record};

/// Writes five lines of 1,000 bytes from offset 0, and three from 6,000: the line at 5,000 is missing.
pub(crate) async fn write_with_a_gap(store: &TestStore, prefix: &str) {
    let lines: Vec<_> = (0..9).map(|second| record(second, "a line", None)).collect();
    let whole = batch(prefix, generation(1), &lines);
    store.write(&whole.select([0, 1, 2, 3, 4, 6, 7, 8])).await.unwrap();
    store.write(&batch(prefix, generation(2), &lines[..1])).await.unwrap();
    assert!(store.refresh().await.unwrap());
}

/// Checks a store against what [`write_with_a_gap`] wrote.
pub(crate) async fn assert_coverage(store: &StoreAudit) {
    let of = |offsets| store.coverage(generation(1), offsets);
    let whole = of(0..5_000).await.unwrap();
    assert_eq!(whole, Coverage { lines: 5, bytes: 5_000, distinct: 5, first: Some(0), last_end: Some(5_000) });
    assert!(whole.is_complete(&(0..5_000)) && !whole.is_complete(&(0..6_000)));
    let short = of(0..9_000).await.unwrap();
    assert_eq!((short.lines, short.bytes, short.last_end), (8, 8_000, Some(9_000)));
    assert!(!short.is_complete(&(0..9_000)));
    let none = of(5_000..6_000).await.unwrap();
    assert_eq!(none, Coverage::default());
    assert!(!none.is_complete(&(5_000..6_000)) && none.is_complete(&(0..0)));
    assert_eq!(store.coverage(generation(3), 0..u64::MAX >> 16).await.unwrap(), Coverage::default());

    let steps = store.reader().coverage_in_steps(generation(1), 1_000..9_000, 2_000).await.unwrap();
    let steps: Vec<_> = steps.iter().map(|step| (step.first.unwrap(), step.lines, step.bytes, step.distinct)).collect();
    assert_eq!(steps, [(1_000, 2, 2_000, 2), (3_000, 2, 2_000, 2), (6_000, 1, 1_000, 1), (7_000, 2, 2_000, 2)]);

    let spans = store.reader().spans(generation(1), 4_000..9_000, 3).await.unwrap();
    let places: Vec<_> = spans.iter().map(|Span { offset, length, .. }| (*offset, *length)).collect();
    assert_eq!(places, [(4_000, 1_000), (6_000, 1_000), (7_000, 1_000)]);

    let before = async |number, offset| {
        let span = store.reader().span_before(generation(number), offset).await.unwrap();
        span.map(|Span { offset, length, .. }| (offset, length))
    };
    assert_eq!(before(1, 6_000).await, Some((4_000, 1_000)));
    assert_eq!(before(1, u64::MAX >> 16).await, Some((8_000, 1_000)));
    assert_eq!((before(1, 0).await, before(3, 6_000).await), (None, None));

    let id = |number, offset| LineId { generation: generation(number), offset };
    let document_counts = store.document_counts(&[id(2, 0), id(1, 5_000), id(1, 8_000), id(3, 0)]).await.unwrap();
    assert_eq!(document_counts.iter().map(|line| line.documents).collect::<Vec<_>>(), [1, 0, 1, 0]);
    assert_eq!(document_counts[2].id, id(1, 8_000));
}
