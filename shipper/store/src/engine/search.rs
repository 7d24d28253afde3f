//! Finds lines in an engine. Nothing of a search is pasted into text: the query is built as JSON.

use elasticsearch::http::Method;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::engine::client::{Answer, NoAnswer};
use crate::engine::{Engine, filter};
use crate::error::{ReadyError, SearchError};
use crate::scope::Scope;
use crate::search::{Cursor, Order, Page, Search};

/// What is read of an answer.
const FILTER: &str = "timed_out,hits.hits._source,hits.hits.sort";

impl Engine {
    pub(crate) async fn search(&self, scope: &Scope, search: &Search) -> Result<Page, SearchError> {
        let limit = search.bounded_limit();
        let answer = self.search_indices(&query(scope, search, limit + 1)).await?;
        if answer.status == 404 {
            return Ok(Page::default());
        }
        let found: Found = serde_json::from_slice(&answer.body).map_err(|error| {
            SearchError::Unavailable(crate::Cause::new(answer.status, format!("the answer can't be read: {error}")))
        })?;
        if found.timed_out {
            return Err(SearchError::TimedOut { seconds: self.settings.request_timeout.as_secs() });
        }
        let mut hits = found.hits.hits;
        let more = hits.len() > limit;
        hits.truncate(limit);
        let next = if more { hits.last().and_then(|hit| cursor(&hit.sort)) } else { None };
        Ok(Page { lines: hits.into_iter().map(|hit| hit.source).collect(), next })
    }

    pub(crate) async fn ready(&self) -> Result<(), ReadyError> {
        let nothing = json!({ "size": 0, "track_total_hits": false, "terminate_after": 1 });
        self.search_indices(&nothing).await.map(drop).map_err(ReadyError::from)
    }

    /// Asks this store's indices; an answer is one of success, or 404 for no index.
    async fn search_indices(&self, query: &Value) -> Result<Answer, SearchError> {
        let path = format!("{}/_search", self.indices());
        let parameters = [
            ("ignore_unavailable", "true"),
            ("allow_no_indices", "true"),
            // A part of the lines must not look like all of them.
            ("allow_partial_search_results", "false"),
            ("filter_path", FILTER),
        ];
        let body = Some(query.to_string().into());
        match self.client.send(Method::Post, &path, "application/json", &parameters, body).await {
            Ok(answer) if answer.status == 200 || answer.status == 404 => Ok(answer),
            Ok(answer) if answer.is_passing() => Err(SearchError::Unavailable(answer.cause())),
            Ok(answer) => Err(SearchError::Refused(answer.cause())),
            Err(NoAnswer::TimedOut) => Err(SearchError::TimedOut { seconds: self.settings.request_timeout.as_secs() }),
            Err(NoAnswer::Failed(cause)) => Err(SearchError::Unavailable(cause)),
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Found {
    timed_out: bool,
    hits: Hits,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Hits {
    hits: Vec<Hit>,
}

#[derive(Deserialize)]
struct Hit {
    #[serde(rename = "_source")]
    source: Box<RawValue>,
    sort: Vec<Value>,
}

fn query(scope: &Scope, search: &Search, size: usize) -> Value {
    let order = match search.order {
        Order::OldestFirst => "asc",
        Order::NewestFirst => "desc",
    };
    // A time that engines can't order is missing, and stands last. OpenSearch passes over it on a later page unless that
    // is said, and can't show the value that it gives it in descending order, before 1970.
    let missing = if search.order == Order::OldestFirst { json!("_last") } else { json!(0) };
    let time =
        json!({ "order": order, "numeric_type": "date_nanos", "unmapped_type": "date_nanos", "missing": missing });
    let mut query = json!({
        "size": size,
        "track_total_hits": false,
        "query": filter::query(scope, &search.filter, search.from, search.to),
        "sort": [
            { "timestamp": time },
            { "origin.generation": { "order": order, "unmapped_type": "keyword" } },
            { "origin.offset": { "order": order, "unmapped_type": "long" } },
        ],
    });
    if let Some(cursor) = search.cursor {
        query["search_after"] = search_after(cursor, search.order);
    }
    query
}

fn search_after(cursor: Cursor, order: Order) -> Value {
    let nanos = cursor.micros.saturating_mul(1_000).saturating_add(i64::from(cursor.nanos));
    match cursor.origin {
        Some((generation, offset)) => json!([nanos, generation.as_str(), offset]),
        // What an engine gives as the sort value of a document without the field.
        None => json!([nanos, null, if order == Order::OldestFirst { i64::MAX } else { i64::MIN }]),
    }
}

/// The place of a hit, by its sort values.
fn cursor(sort: &[Value]) -> Option<Cursor> {
    let nanos = sort.first()?.as_i64()?;
    let nanos_beyond = u16::try_from(nanos.rem_euclid(1_000)).ok()?;
    let generation = sort.get(1)?.as_str().and_then(|text| text.parse().ok());
    let offset = sort.get(2)?.as_u64();
    Some(Cursor { micros: nanos.div_euclid(1_000), nanos: nanos_beyond, origin: generation.zip(offset) })
}
