//! Lines around another one in their source, with a restricted scope.

use serde_json::json;
use store::search::AROUND_MAX_BYTES;
use store::{BatchBuilder, Filter, LineId, PageLimits, Scope, Search};

use crate::lines::{generation, push, record};
use crate::new_store;

const MIB: u64 = 1024 * 1024;

#[tokio::test]
async fn a_search_around_hidden_lines_stops_at_its_limit_and_can_continue() {
    let (_folder, store) = new_store().await;
    let mut builder = BatchBuilder::new("x");
    for place in 0..=20 {
        let offset = place * MIB;
        let mut line = record(0, "a line", None);
        line["project_id"] = json!(if [0, 20].contains(&place) { "a" } else { "b" });
        line["origin"] = json!({ "generation": generation(1).as_str(), "offset": offset, "length": MIB });
        push(&mut builder, LineId { generation: generation(1), offset }, &line.to_string());
    }
    store.write(&builder.finish(0)).await.unwrap();
    let around = async |scope: Scope, offset: u64, before: usize, after: usize| {
        let found = store
            .around(&scope, generation(1), offset, (PageLimits::new(before), PageLimits::new(after)))
            .await
            .unwrap();
        let offsets: Vec<_> = found.lines.iter().map(|line| line.offset / MIB).collect();
        (offsets, found.earlier.map(|place| place / MIB), found.later.map(|place| place / MIB))
    };
    let a = || Scope::project("a");
    assert_eq!(AROUND_MAX_BYTES, 8 * MIB);
    assert_eq!(around(a(), 20 * MIB, 5, 5).await, (vec![20], Some(12), Some(28)));
    assert_eq!(around(a(), 12 * MIB, 5, 0).await, (vec![], Some(4), Some(20)));
    assert_eq!(around(a(), 4 * MIB, 5, 0).await, (vec![0], None, Some(12)));
    assert_eq!(around(a(), 0, 0, 5).await, (vec![0], None, Some(8)));
    // Enough lines are within the limit, or none is hidden.
    assert_eq!(around(Scope::project("b"), 12 * MIB, 2, 1).await, (vec![10, 11, 12, 13], None, None));
    assert_eq!(around(Scope::All, 0, 5, 30).await, ((0..=20).collect(), None, None));
    assert_eq!(around(Scope::All, u64::MAX, 1, 5).await, (vec![20], None, None));
    // A hidden source looks the same as one that does not exist.
    let hidden =
        store.around(&Scope::project("c"), generation(1), MIB, (PageLimits::new(5), PageLimits::new(5))).await.unwrap();
    let nowhere =
        store.around(&Scope::project("c"), generation(2), MIB, (PageLimits::new(5), PageLimits::new(5))).await.unwrap();
    assert_eq!((hidden.lines.len(), hidden.earlier, hidden.later), (0, None, Some(9 * MIB)));
    assert_eq!((nowhere.lines.len(), nowhere.earlier, nowhere.later), (0, None, Some(9 * MIB)));
}

#[tokio::test]
async fn lines_beyond_the_limit_are_left_out_and_reported() {
    let (_folder, store) = new_store().await;
    let cursor = store.tail(&Scope::All, &Filter::EVERY, None, PageLimits::new(1)).await.unwrap().cursor;
    let mut builder = BatchBuilder::new("x");
    for number in 0..10 {
        let mut line = record(number, &"a".repeat(1_000), None);
        line["origin"] = json!({ "generation": generation(1).as_str(), "offset": 1_000 + 100 * number, "length": 100 });
        push(
            &mut builder,
            LineId { generation: generation(1), offset: 1_000 + 100 * number as u64 },
            &line.to_string(),
        );
    }
    store.write(&builder.finish(0)).await.unwrap();
    let of_line =
        store.search(&Scope::All, &Search { limit: 1, ..Search::default() }).await.unwrap().lines[0].get().len();
    for (lines, bytes) in [(1, 0), (1, of_line), (1, 2 * of_line - 1), (2, 2 * of_line), (3, 3 * of_line + 10)] {
        let limits = PageLimits { lines: 100, bytes };
        let page = store.search(&Scope::All, &Search { bytes, ..Search::default() }).await.unwrap();
        assert_eq!((page.lines.len(), page.next.is_some()), (lines, true), "{bytes}");

        let found = store.around(&Scope::All, generation(1), 1_500, (limits, limits)).await.unwrap();
        let offsets: Vec<_> = found.lines.iter().map(|line| line.offset as usize).collect();
        let expected: Vec<_> = (5 - lines..5 + lines).map(|number| 1_000 + 100 * number).collect();
        let outermost = (Some(1_000 + 100 * (5 - lines) as u64), Some(1_000 + 100 * (5 + lines) as u64 - 99));
        assert_eq!((offsets, (found.earlier, found.later)), (expected, outermost), "{bytes}");

        let (mut cursor, mut given) = (cursor.clone(), 0);
        while let page = store.tail(&Scope::All, &Filter::EVERY, Some(&cursor), limits).await.unwrap()
            && !page.lines.is_empty()
        {
            assert!(page.lines.len() <= lines && page.more == (given + page.lines.len() < 10), "{bytes}");
            (cursor, given) = (page.cursor, given + page.lines.len());
        }
        assert_eq!(given, 10, "each comes once");
    }
    // All lines.
    let limits = PageLimits { lines: 100, bytes: 5 * of_line };
    let found = store.around(&Scope::All, generation(1), 1_500, (limits, limits)).await.unwrap();
    assert_eq!((found.lines.len(), found.earlier, found.later), (10, None, None));
}
