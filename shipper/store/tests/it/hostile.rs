//! Searches with hostile input.

use store::{Field, Filter, Scope, Search, Store};

use crate::lines::{batch, generation, record};
use crate::{count, new_store};

const TEXTS: [&str; 26] = [
    "'",
    "\"",
    "';DROP TABLE logs;--",
    "x' OR '1'='1",
    "\") OR 1=1 --",
    "?1",
    "a\0b",
    "\0",
    "*",
    "^fox",
    "fox*",
    "message:fox",
    "fox AND",
    "NOT fox",
    "NEAR(fox dog, 2)",
    "{message} : fox",
    "fox + dog",
    "- fox",
    "(((((",
    "\"\"\"\"",
    "fox\"\"",
    "\u{202e}\u{feff}",
    "%",
    "_",
    "𝔘𝔫𝔦",
    "\\",
];

async fn found(store: &Store, search: Search) -> usize {
    store.search(&Scope::All, &search).await.unwrap_or_else(|error| panic!("{search:?}: {error}")).lines.len()
}

#[tokio::test]
async fn values_are_not_parsed_as_queries() {
    let (_folder, store) = new_store().await;
    let lines: Vec<_> = (0..10).map(|second| record(second, "the quick fox", Some("r-1"))).collect();
    store.write(&batch("x", generation(1), &lines)).await.unwrap();
    for text in TEXTS {
        for field in Field::ALL {
            assert_eq!(found(&store, Search::new(Filter::is(field, text))).await, 0, "{field}: {text}");
        }
        // Only the words count: values that contain no word but "fox" match.
        let words: Vec<_> = store::query::words::words(text).collect();
        let expected = if !words.is_empty() && words.iter().all(|word| word == "fox") { 10 } else { 0 };
        assert_eq!(found(&store, Search::new(Filter::Words(text.to_owned()))).await, expected, "{text}");
        // As a query, it parses or is rejected, and matches something or nothing.
        if let Ok(filter) = text.parse() {
            found(&store, Search::new(filter)).await;
        }
    }
    assert_eq!(count(&store).await, 10);
}

#[tokio::test]
async fn messages_of_any_characters_are_stored_and_returned() {
    let (_folder, store) = new_store().await;
    let lines: Vec<_> = TEXTS.iter().map(|text| record(1, text, Some(text))).collect();
    store.write(&batch("x", generation(1), &lines)).await.unwrap();
    for text in TEXTS {
        let search = Search::new(Filter::request(text));
        let page = store.search(&Scope::All, &search).await.unwrap();
        assert_eq!(page.lines.len(), 1, "{text}");
        let document: serde_json::Value = serde_json::from_str(page.lines[0].get()).unwrap();
        assert_eq!(document["message"], text);
    }
}

#[tokio::test]
async fn a_very_long_text_is_answered() {
    let (_folder, store) = new_store().await;
    store.write(&batch("x", generation(1), &[record(1, "fox", None)])).await.unwrap();
    for text in ["fox ".repeat(5_000), "\"".repeat(50_000), "(".repeat(50_000), "x".repeat(200_000)] {
        // An error is acceptable; a crash or a false match is not.
        let page = store.search(&Scope::All, &Search::new(Filter::Words(text.clone()))).await;
        assert!(page.is_ok_and(|page| page.lines.is_empty() || text.starts_with("fox")), "{}", &text[..4]);
    }
}
