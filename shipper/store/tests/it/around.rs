//! What stands around a line where it was read, for whoever does not see all of it.

use serde_json::json;
use store::search::AROUND_MAX_BYTES;
use store::{BatchBuilder, LineId, Scope};

use crate::lines::{generation, push, record};
use crate::new_store;

const MIB: u64 = 1024 * 1024;

#[tokio::test]
async fn a_walk_over_lines_of_others_ends_at_its_bound_and_goes_on_from_there() {
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
        let found = store.around(&scope, generation(1), offset, before, after).await.unwrap();
        let offsets: Vec<_> = found.lines.iter().map(|line| line.offset / MIB).collect();
        (offsets, found.earlier.map(|place| place / MIB), found.later.map(|place| place / MIB))
    };
    let a = || Scope::project("a");
    assert_eq!(AROUND_MAX_BYTES, 8 * MIB);
    assert_eq!(around(a(), 20 * MIB, 5, 5).await, (vec![20], Some(12), Some(28)));
    assert_eq!(around(a(), 12 * MIB, 5, 0).await, (vec![], Some(4), Some(20)));
    assert_eq!(around(a(), 4 * MIB, 5, 0).await, (vec![0], None, Some(12)));
    assert_eq!(around(a(), 0, 0, 5).await, (vec![0], None, Some(8)));
    // Enough was found within, or nothing is hidden.
    assert_eq!(around(Scope::project("b"), 12 * MIB, 2, 1).await, (vec![10, 11, 12, 13], None, None));
    assert_eq!(around(Scope::All, 0, 5, 30).await, ((0..=20).collect(), None, None));
    assert_eq!(around(Scope::All, u64::MAX, 1, 5).await, (vec![20], None, None));
    // A source of others is not told from one that is not there.
    let hidden = store.around(&Scope::project("c"), generation(1), MIB, 5, 5).await.unwrap();
    let nowhere = store.around(&Scope::project("c"), generation(2), MIB, 5, 5).await.unwrap();
    assert_eq!((hidden.lines.len(), hidden.earlier, hidden.later), (0, None, Some(9 * MIB)));
    assert_eq!((nowhere.lines.len(), nowhere.earlier, nowhere.later), (0, None, Some(9 * MIB)));
}
