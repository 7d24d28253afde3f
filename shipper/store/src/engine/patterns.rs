//! Message patterns of an engine's newest lines, which are fetched for this.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::json;

use crate::counts::{Counted, Selection};
use crate::engine::Engine;
use crate::engine::search::{cursor, query};
use crate::error::SearchError;
use crate::level::Level;
use crate::patterns::{Patterns, Tally};
use crate::scope::Scope;
use crate::search::Search;
use crate::timestamp::Timestamp;

/// Maximum number of lines examined, the newest ones.
pub(crate) const LOOKED_AT: u64 = 50_000;

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
        let mut search = Search { from: selection.from, to: selection.to, ..Search::of(selection.filter.clone()) };
        let (mut tally, mut looked_at) = (Tally::default(), 0);
        loop {
            let mut page = query(scope, &search, AT_ONCE);
            page["_source"] = json!(["timestamp", "level", "message"]);
            let hits = self.hits(&page).await?;
            for hit in &hits {
                let Ok(line) = serde_json::from_str::<Line<'_>>(hit.source.get()) else { continue };
                if let (Some(time), Ok(level)) =
                    (Timestamp::parse(line.timestamp.as_bytes()), line.level.parse::<Level>())
                {
                    tally.count(&line.message, level, time);
                }
            }
            looked_at += hits.len() as u64;
            let next = hits.last().and_then(|hit| cursor(&hit.sort));
            if hits.len() < AT_ONCE || next.is_none() {
                return Ok(tally.top(top, Counted::Exact));
            }
            if looked_at >= LOOKED_AT {
                return Ok(tally.top(top, Counted::AtLeast { looked_at }));
            }
            search.cursor = next;
        }
    }
}
