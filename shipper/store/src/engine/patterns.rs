//! Message patterns of an engine's newest lines, which are fetched for this.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::json;

use crate::counts::{Accuracy, Selection};
use crate::engine::Engine;
use crate::engine::search::{cursor, query};
use crate::error::SearchError;
use crate::level::Level;
use crate::patterns::{PatternCounter, Patterns};
use crate::scope::Scope;
use crate::search::Search;
use crate::timestamp::Timestamp;

/// Maximum number of lines examined, the newest ones.
pub(crate) const MAX_EXAMINED: u64 = 50_000;

/// Number of lines per request.
const AT_ONCE: usize = 5_000;

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    timestamp: Cow<'a, str>,
    #[serde(borrow)]
    level: Cow<'a, str>,
    #[serde(borrow)]
    message: Cow<'a, str>,
}

impl Engine {
    pub(crate) async fn patterns(
        &self,
        scope: &Scope,
        selection: &Selection,
        top: usize,
    ) -> Result<Patterns, SearchError> {
        let mut search = Search { from: selection.from, to: selection.to, ..Search::new(selection.filter.clone()) };
        let (mut counter, mut examined) = (PatternCounter::default(), 0);
        loop {
            let mut page = query(scope, &search, AT_ONCE);
            page["_source"] = json!(["timestamp", "level", "message"]);
            let hits = self.hits(&page).await?;
            for hit in &hits {
                let Ok(line) = serde_json::from_str::<Line<'_>>(hit.source.get()) else { continue };
                if let (Some(time), Ok(level)) =
                    (Timestamp::parse(line.timestamp.as_bytes()), line.level.parse::<Level>())
                {
                    counter.count(&line.message, level, time);
                }
            }
            examined += hits.len() as u64;
            let next = hits.last().and_then(|hit| cursor(&hit.sort));
            if hits.len() < AT_ONCE || next.is_none() {
                return Ok(counter.top(top, Accuracy::Exact));
            }
            if examined >= MAX_EXAMINED {
                return Ok(counter.top(top, Accuracy::AtLeast { examined }));
            }
            search.cursor = next;
        }
    }
}
