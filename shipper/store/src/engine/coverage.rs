//! Coverage queries of an engine. Sums and counts are computed there; for single lines, only positions are returned.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;

use elasticsearch::http::Method;
use serde_json::{Value, json};

use crate::coverage::{Coverage, DocumentCount, MAX_IDS, MAX_SPANS, MAX_STEPS, Span};
use crate::disposition::Cause;
use crate::engine::Engine;
use crate::engine::client::RequestError;
use crate::error::SearchError;
use crate::id::{GenerationId, LineId};

/// Number of distinct values up to which an engine counts them exactly, apart from hash collisions.
const DISTINCT_PRECISION: u64 = 3_000;

/// Maximum number of indices that are listed; there is one a day.
const INDICES_MAX: usize = 10_000;

impl Engine {
    /// Makes earlier writes searchable. Returns whether the credentials allow it.
    pub(crate) async fn refresh(&self) -> Result<bool, SearchError> {
        let path = format!("{}/_refresh", self.indices());
        let parameters = [("ignore_unavailable", "true"), ("allow_no_indices", "true"), ("filter_path", "_shards")];
        match self.client.send(Method::Post, &path, "application/json", &parameters, None).await {
            Ok(response) if response.status == 200 => {
                if response.json()["_shards"]["failed"].as_u64().unwrap_or(0) > 0 {
                    return Err(SearchError::Unavailable(Cause::new(200, "not all shards were refreshed")));
                }
                Ok(true)
            }
            Ok(response) if response.status == 401 || response.status == 403 => Ok(false),
            Ok(response) if response.status == 404 => Ok(true),
            Ok(response) if response.is_transient() => Err(SearchError::Unavailable(response.cause())),
            Ok(response) => Err(SearchError::Refused(response.cause())),
            Err(error) => Err(self.search_error(error)),
        }
    }

    pub(crate) async fn coverage(
        &self,
        generation: GenerationId,
        offsets: Range<u64>,
    ) -> Result<Coverage, SearchError> {
        let mut query = range_query(generation, &offsets, 1);
        query["sort"] = json!([{ "origin.offset": { "order": "desc", "unmapped_type": "long" } }]);
        query["aggs"] = sums();
        let response = self.search_lines(&query).await?;
        let last = response["hits"]["hits"][0]["fields"].clone();
        let last_end =
            field_value(&last, "origin.offset").map(|offset| offset + field_value(&last, "origin.length").unwrap_or(0));
        Ok(Coverage { last_end, ..coverage(&response["aggregations"]) })
    }

    pub(crate) async fn coverage_in_steps(
        &self,
        generation: GenerationId,
        offsets: Range<u64>,
        step: u64,
    ) -> Result<Vec<Coverage>, SearchError> {
        let step = step.max(offsets.end.saturating_sub(offsets.start).div_ceil(MAX_STEPS)).max(1);
        let mut query = range_query(generation, &offsets, 0);
        let steps = json!({
            "field": "origin.offset", "interval": step, "offset": offsets.start % step, "min_doc_count": 1,
        });
        query["aggs"] = json!({ "steps": { "histogram": steps, "aggs": sums() } });
        let response = self.search_lines(&query).await?;
        let steps = response["aggregations"]["steps"]["buckets"].as_array().cloned().unwrap_or_default();
        Ok(steps.iter().map(coverage).collect())
    }

    pub(crate) async fn spans(
        &self,
        generation: GenerationId,
        offsets: Range<u64>,
        limit: usize,
    ) -> Result<Vec<Span>, SearchError> {
        let mut query = range_query(generation, &offsets, limit.clamp(1, MAX_SPANS));
        query["sort"] = json!([{ "origin.offset": { "order": "asc", "unmapped_type": "long" } }]);
        Ok(spans_of(&self.search_lines(&query).await?))
    }

    pub(crate) async fn span_before(&self, generation: GenerationId, offset: u64) -> Result<Option<Span>, SearchError> {
        let mut query = range_query(generation, &(0..offset), 1);
        query["sort"] = json!([{ "origin.offset": { "order": "desc", "unmapped_type": "long" } }]);
        Ok(spans_of(&self.search_lines(&query).await?).pop())
    }

    /// Returns the non-empty indices. Fails if there are more than [`INDICES_MAX`].
    pub(crate) async fn index_names(&self) -> Result<BTreeSet<String>, SearchError> {
        let query = json!({
            "size": 0, "track_total_hits": false,
            "aggs": { "indices": { "terms": { "field": "_index", "size": INDICES_MAX } } },
        });
        let response = self.search_lines(&query).await?;
        let indices = &response["aggregations"]["indices"];
        if indices["sum_other_doc_count"].as_u64().unwrap_or(0) > 0 {
            return Err(SearchError::Refused(Cause::new(200, format!("there are more than {INDICES_MAX} indices"))));
        }
        let buckets = indices["buckets"].as_array().cloned().unwrap_or_default();
        Ok(buckets.iter().filter_map(|bucket| bucket["key"].as_str().map(str::to_owned)).collect())
    }

    pub(crate) async fn document_counts(&self, ids: &[LineId]) -> Result<Vec<DocumentCount>, SearchError> {
        let ids = &ids[..ids.len().min(MAX_IDS)];
        let texts: Vec<_> = ids.iter().map(ToString::to_string).collect();
        // A few ids may have more than one document; allow for another page of them.
        let query = json!({
            "size": MAX_SPANS, "_source": false, "track_total_hits": false, "query": { "ids": { "values": texts } },
        });
        let response = self.search_lines(&query).await?;
        let mut counts: HashMap<&str, u64> = HashMap::new();
        for hit in response["hits"]["hits"].as_array().into_iter().flatten() {
            if let Some(id) = hit["_id"].as_str() {
                *counts.entry(id).or_default() += 1;
            }
        }
        let document_counts = ids.iter().zip(&texts);
        Ok(document_counts
            .map(|(id, text)| DocumentCount { id: *id, documents: counts.get(text.as_str()).copied().unwrap_or(0) })
            .collect())
    }

    /// Searches this store's indices. The response is empty if there are none.
    async fn search_lines(&self, query: &Value) -> Result<Value, SearchError> {
        let path = format!("{}/_search", self.indices());
        let parameters = [
            ("ignore_unavailable", "true"),
            ("allow_no_indices", "true"),
            // Partial results must not look complete.
            ("allow_partial_search_results", "false"),
            ("filter_path", "timed_out,hits.hits._id,hits.hits._index,hits.hits.fields,aggregations"),
        ];
        let body = Some(query.to_string().into());
        let response = match self.client.send(Method::Post, &path, "application/json", &parameters, body).await {
            Ok(response) if response.status == 200 => response.json(),
            Ok(response) if response.status == 404 => Value::Null,
            Ok(response) if response.is_transient() => return Err(SearchError::Unavailable(response.cause())),
            Ok(response) => return Err(SearchError::Refused(response.cause())),
            Err(error) => return Err(self.search_error(error)),
        };
        if response["timed_out"] == true {
            return Err(self.search_error(RequestError::TimedOut));
        }
        Ok(response)
    }

    fn search_error(&self, error: RequestError) -> SearchError {
        match error {
            RequestError::TimedOut => SearchError::TimedOut { seconds: self.settings.request_timeout.as_secs() },
            RequestError::Failed(cause) | RequestError::TooLong(cause) => SearchError::Unavailable(cause),
        }
    }
}

/// Builds a search for the lines that begin in a range of a generation.
fn range_query(generation: GenerationId, offsets: &Range<u64>, size: usize) -> Value {
    json!({
        "size": size,
        "_source": false,
        "track_total_hits": false,
        "docvalue_fields": ["origin.offset", "origin.length"],
        "query": { "bool": { "filter": [
            { "term": { "origin.generation": generation.as_str() } },
            { "range": { "origin.offset": { "gte": offsets.start, "lt": offsets.end } } },
        ] } },
    })
}

/// Reads the positions of the lines in a response.
fn spans_of(response: &Value) -> Vec<Span> {
    let span = |hit: &Value| {
        Some(Span {
            offset: field_value(&hit["fields"], "origin.offset")?,
            length: field_value(&hit["fields"], "origin.length").unwrap_or(0),
            index: hit["_index"].as_str().map(str::to_owned),
        })
    };
    response["hits"]["hits"].as_array().into_iter().flatten().filter_map(span).collect()
}

fn sums() -> Value {
    let offset = json!({ "field": "origin.offset" });
    json!({
        "lines": { "value_count": offset },
        "bytes": { "sum": { "field": "origin.length" } },
        "first": { "min": offset },
        "distinct": { "cardinality": { "field": "origin.offset", "precision_threshold": DISTINCT_PRECISION } },
    })
}

fn coverage(sums: &Value) -> Coverage {
    let lines = number(&sums["lines"]["value"]).unwrap_or(0);
    Coverage {
        lines,
        bytes: number(&sums["bytes"]["value"]).unwrap_or(0),
        distinct: number(&sums["distinct"]["value"]).unwrap_or(0),
        first: number(&sums["first"]["value"]).filter(|_| lines > 0),
        last_end: None,
    }
}

fn field_value(fields: &Value, name: &str) -> Option<u64> {
    number(&fields[name][0])
}

/// Reads an integer, which engines return as a float in aggregations.
fn number(value: &Value) -> Option<u64> {
    let inexact = || value.as_f64().filter(|number| *number >= 0.0).map(|number| number.round() as u64);
    value.as_u64().or_else(inexact)
}
