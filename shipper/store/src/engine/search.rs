//! Searches in an engine. Queries are built as JSON; text is never pasted into them.

use elasticsearch::http::Method;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::engine::client::{RequestError, Response};
use crate::engine::{Engine, filter};
use crate::error::{ReadyError, SearchError};
use crate::id::GenerationId;
use crate::query::{Field, Filter};
use crate::scope::Scope;
use crate::search::{Around, Cursor, MAX_LIMIT, Order, PageLimits, Search, SearchPage, SourceLine, fit_count};

/// Parts of a response that are requested.
const FILTER: &str = "timed_out,hits.hits._source,hits.hits.sort,hits.total,aggregations";

impl Engine {
    pub(crate) async fn search(&self, scope: &Scope, search: &Search) -> Result<SearchPage, SearchError> {
        let limit = search.bounded_limit();
        let mut hits = self.hits(&query(scope, search, limit + 1)).await?;
        let fitting = fit_count(hits.iter().map(|hit| &*hit.source), search.bytes).min(limit);
        let more = hits.len() > fitting;
        hits.truncate(fitting);
        let next = if more { hits.last().and_then(|hit| cursor(&hit.sort)) } else { None };
        let first = hits.first().and_then(|hit| cursor(&hit.sort));
        Ok(SearchPage { lines: hits.into_iter().map(|hit| hit.source).collect(), next, first })
    }

    /// Returns the lines of a source around an offset.
    pub(crate) async fn around(
        &self,
        scope: &Scope,
        generation: GenerationId,
        offset: u64,
        (before, after): (PageLimits, PageLimits),
    ) -> Result<Around, SearchError> {
        let side = |offsets: Value, order: &str, size: usize| {
            let mut query = filter::query(scope, &Filter::is(Field::Generation, generation.as_str()), None, None);
            if let Some(parts) = query["bool"]["filter"].as_array_mut() {
                parts.push(json!({ "range": { "origin.offset": offsets } }));
            }
            let sort = json!([{ "origin.offset": { "order": order, "unmapped_type": "long" } }]);
            json!({ "size": size, "track_total_hits": false, "query": query, "sort": sort })
        };
        let line = |hit: Hit| Some(SourceLine { offset: hit.sort.first()?.as_u64()?, line: hit.source });
        // Cuts the lines to the size limit, and returns the offset of the last one if others did not fit.
        let within_limit = |hits: Vec<Hit>, bytes: usize| {
            let mut lines: Vec<_> = hits.into_iter().filter_map(line).collect();
            let fitting = fit_count(lines.iter().map(|line| &*line.line), bytes);
            let is_cut = fitting < lines.len();
            lines.truncate(fitting);
            let cut = lines.last().filter(|_| is_cut).map(|line| line.offset);
            (lines, cut)
        };
        let (mut lines, mut earlier) = (Vec::new(), None);
        if before.lines > 0 {
            let hits = self.hits(&side(json!({ "lt": offset }), "desc", before.lines.min(MAX_LIMIT))).await?;
            (lines, earlier) = within_limit(hits, before.bytes);
            lines.reverse();
        }
        let hits = self.hits(&side(json!({ "gte": offset }), "asc", after.lines.min(MAX_LIMIT) + 1)).await?;
        let (following, later) = within_limit(hits, after.bytes);
        lines.extend(following);
        Ok(Around { lines, earlier, later: later.map(|offset| offset + 1) })
    }

    /// Returns the hits of a search; none if there is no index.
    pub(super) async fn hits(&self, query: &Value) -> Result<Vec<Hit>, SearchError> {
        let response = self.search_indices(query).await?;
        if response.status == 404 {
            return Ok(Vec::new());
        }
        let found: SearchResponse = serde_json::from_slice(&response.body).map_err(|error| {
            SearchError::Unavailable(crate::Cause::new(response.status, format!("invalid response: {error}")))
        })?;
        if found.timed_out {
            return Err(SearchError::TimedOut { seconds: self.settings.request_timeout.as_secs() });
        }
        Ok(found.hits.hits)
    }

    /// Returns the aggregations of a search, and the number of matching lines as `total`. Null if there is no index.
    pub(super) async fn aggregations(&self, mut query: Value) -> Result<Value, SearchError> {
        query["size"] = 0.into();
        query["track_total_hits"] = true.into();
        let mut response = self.search_indices(&query).await?.json();
        if response["timed_out"] == true {
            return Err(SearchError::TimedOut { seconds: self.settings.request_timeout.as_secs() });
        }
        let mut found = response["aggregations"].take();
        if !response["hits"]["total"].is_null() {
            found["total"] = response["hits"]["total"]["value"].take();
        }
        Ok(found)
    }

    pub(crate) async fn ready(&self) -> Result<(), ReadyError> {
        let nothing = json!({ "size": 0, "track_total_hits": false, "terminate_after": 1 });
        self.search_indices(&nothing).await.map(drop).map_err(ReadyError::from)
    }

    /// Searches this store's indices. The response is a success, or 404 if there is no index.
    async fn search_indices(&self, query: &Value) -> Result<Response, SearchError> {
        let path = format!("{}/_search", self.indices());
        let parameters = [
            ("ignore_unavailable", "true"),
            ("allow_no_indices", "true"),
            // Partial results must not look complete.
            ("allow_partial_search_results", "false"),
            ("filter_path", FILTER),
        ];
        let body = Some(query.to_string().into());
        match self.client.send(Method::Post, &path, "application/json", &parameters, body).await {
            Ok(response) if response.status == 200 || response.status == 404 => Ok(response),
            Ok(response) if response.is_transient() => Err(SearchError::Unavailable(response.cause())),
            Ok(response) => Err(SearchError::Refused(response.cause())),
            Err(RequestError::TimedOut) => {
                Err(SearchError::TimedOut { seconds: self.settings.request_timeout.as_secs() })
            }
            Err(RequestError::Failed(cause) | RequestError::TooLong(cause)) => Err(SearchError::Unavailable(cause)),
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct SearchResponse {
    timed_out: bool,
    hits: Hits,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Hits {
    hits: Vec<Hit>,
}

/// A document that was found.
#[derive(Deserialize)]
pub(super) struct Hit {
    #[serde(rename = "_source")]
    pub(super) source: Box<RawValue>,
    /// Its sort values.
    pub(super) sort: Vec<Value>,
}

/// Builds a search for at most `size` lines.
pub(super) fn query(scope: &Scope, search: &Search, size: usize) -> Value {
    let order = match search.order {
        Order::OldestFirst => "asc",
        Order::NewestFirst => "desc",
    };
    // A time that engines can't sort counts as missing, and is sorted last. Unless this is explicit, OpenSearch skips
    // such documents on later pages. In descending order, it can't represent its own default, which is before 1970.
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
        // The sort value that engines return for a document without the field.
        None => json!([nanos, null, if order == Order::OldestFirst { i64::MAX } else { i64::MIN }]),
    }
}

/// Creates the cursor of a hit from its sort values.
pub(super) fn cursor(sort: &[Value]) -> Option<Cursor> {
    let nanos = sort.first()?.as_i64()?;
    let nanos_beyond = u16::try_from(nanos.rem_euclid(1_000)).ok()?;
    let generation = sort.get(1)?.as_str().and_then(|text| text.parse().ok());
    let offset = sort.get(2)?.as_u64();
    Some(Cursor { micros: nanos.div_euclid(1_000), nanos: nanos_beyond, origin: generation.zip(offset) })
}
