//! Coverage queries of an engine. Sums and counts are computed there; for single lines, only positions are returned.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;

use elasticsearch::http::Method;
use serde_json::{Value, json};

use crate::coverage::{Coverage, MAX_IDS, MAX_SPANS, MAX_STEPS, Resting, Span};
use crate::disposition::Cause;
use crate::engine::Engine;
use crate::engine::client::NoAnswer;
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
            Ok(answer) if answer.status == 200 => {
                if answer.json()["_shards"]["failed"].as_u64().unwrap_or(0) > 0 {
                    return Err(SearchError::Unavailable(Cause::new(200, "not all shards were refreshed")));
                }
                Ok(true)
            }
            Ok(answer) if answer.status == 401 || answer.status == 403 => Ok(false),
            Ok(answer) if answer.status == 404 => Ok(true),
            Ok(answer) if answer.is_passing() => Err(SearchError::Unavailable(answer.cause())),
            Ok(answer) => Err(SearchError::Refused(answer.cause())),
            Err(no_answer) => Err(self.without_answer(no_answer)),
        }
    }

    pub(crate) async fn coverage(
        &self,
        generation: GenerationId,
        offsets: Range<u64>,
    ) -> Result<Coverage, SearchError> {
        let mut query = of(generation, &offsets, 1);
        query["sort"] = json!([{ "origin.offset": { "order": "desc", "unmapped_type": "long" } }]);
        query["aggs"] = figures();
        let answer = self.ask(&query).await?;
        let last = answer["hits"]["hits"][0]["fields"].clone();
        let last_end = place(&last, "origin.offset").map(|offset| offset + place(&last, "origin.length").unwrap_or(0));
        Ok(Coverage { last_end, ..coverage(&answer["aggregations"]) })
    }

    pub(crate) async fn coverage_in_steps(
        &self,
        generation: GenerationId,
        offsets: Range<u64>,
        step: u64,
    ) -> Result<Vec<Coverage>, SearchError> {
        let step = step.max(offsets.end.saturating_sub(offsets.start).div_ceil(MAX_STEPS)).max(1);
        let mut query = of(generation, &offsets, 0);
        let steps = json!({
            "field": "origin.offset", "interval": step, "offset": offsets.start % step, "min_doc_count": 1,
        });
        query["aggs"] = json!({ "steps": { "histogram": steps, "aggs": figures() } });
        let answer = self.ask(&query).await?;
        let steps = answer["aggregations"]["steps"]["buckets"].as_array().cloned().unwrap_or_default();
        Ok(steps.iter().map(coverage).collect())
    }

    pub(crate) async fn spans(
        &self,
        generation: GenerationId,
        offsets: Range<u64>,
        limit: usize,
    ) -> Result<Vec<Span>, SearchError> {
        let mut query = of(generation, &offsets, limit.clamp(1, MAX_SPANS));
        query["sort"] = json!([{ "origin.offset": { "order": "asc", "unmapped_type": "long" } }]);
        Ok(places(&self.ask(&query).await?))
    }

    pub(crate) async fn span_before(&self, generation: GenerationId, offset: u64) -> Result<Option<Span>, SearchError> {
        let mut query = of(generation, &(0..offset), 1);
        query["sort"] = json!([{ "origin.offset": { "order": "desc", "unmapped_type": "long" } }]);
        Ok(places(&self.ask(&query).await?).pop())
    }

    /// Returns the non-empty indices. Fails if there are more than [`INDICES_MAX`].
    pub(crate) async fn index_names(&self) -> Result<BTreeSet<String>, SearchError> {
        let query = json!({
            "size": 0, "track_total_hits": false,
            "aggs": { "indices": { "terms": { "field": "_index", "size": INDICES_MAX } } },
        });
        let answer = self.ask(&query).await?;
        let indices = &answer["aggregations"]["indices"];
        if indices["sum_other_doc_count"].as_u64().unwrap_or(0) > 0 {
            return Err(SearchError::Refused(Cause::new(200, format!("there are more than {INDICES_MAX} indices"))));
        }
        let buckets = indices["buckets"].as_array().cloned().unwrap_or_default();
        Ok(buckets.iter().filter_map(|bucket| bucket["key"].as_str().map(str::to_owned)).collect())
    }

    pub(crate) async fn resting(&self, ids: &[LineId]) -> Result<Vec<Resting>, SearchError> {
        let ids = &ids[..ids.len().min(MAX_IDS)];
        let texts: Vec<_> = ids.iter().map(ToString::to_string).collect();
        // A few ids may have more than one document; allow for another page of them.
        let query = json!({
            "size": MAX_SPANS, "_source": false, "track_total_hits": false, "query": { "ids": { "values": texts } },
        });
        let answer = self.ask(&query).await?;
        let mut counts: HashMap<&str, u64> = HashMap::new();
        for hit in answer["hits"]["hits"].as_array().into_iter().flatten() {
            if let Some(id) = hit["_id"].as_str() {
                *counts.entry(id).or_default() += 1;
            }
        }
        let resting = ids.iter().zip(&texts);
        Ok(resting
            .map(|(id, text)| Resting { id: *id, documents: counts.get(text.as_str()).copied().unwrap_or(0) })
            .collect())
    }

    /// Searches this store's indices. The response is empty if there are none.
    async fn ask(&self, query: &Value) -> Result<Value, SearchError> {
        let path = format!("{}/_search", self.indices());
        let parameters = [
            ("ignore_unavailable", "true"),
            ("allow_no_indices", "true"),
            // Partial results must not look complete.
            ("allow_partial_search_results", "false"),
            ("filter_path", "timed_out,hits.hits._id,hits.hits._index,hits.hits.fields,aggregations"),
        ];
        let body = Some(query.to_string().into());
        let answer = match self.client.send(Method::Post, &path, "application/json", &parameters, body).await {
            Ok(answer) if answer.status == 200 => answer.json(),
            Ok(answer) if answer.status == 404 => Value::Null,
            Ok(answer) if answer.is_passing() => return Err(SearchError::Unavailable(answer.cause())),
            Ok(answer) => return Err(SearchError::Refused(answer.cause())),
            Err(no_answer) => return Err(self.without_answer(no_answer)),
        };
        if answer["timed_out"] == true {
            return Err(self.without_answer(NoAnswer::TimedOut));
        }
        Ok(answer)
    }

    fn without_answer(&self, no_answer: NoAnswer) -> SearchError {
        match no_answer {
            NoAnswer::TimedOut => SearchError::TimedOut { seconds: self.settings.request_timeout.as_secs() },
            NoAnswer::Failed(cause) | NoAnswer::TooLong(cause) => SearchError::Unavailable(cause),
        }
    }
}

/// Builds a search for the lines that begin in a range of a generation.
fn of(generation: GenerationId, offsets: &Range<u64>, size: usize) -> Value {
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
fn places(answer: &Value) -> Vec<Span> {
    let span = |hit: &Value| {
        Some(Span {
            offset: place(&hit["fields"], "origin.offset")?,
            length: place(&hit["fields"], "origin.length").unwrap_or(0),
            index: hit["_index"].as_str().map(str::to_owned),
        })
    };
    answer["hits"]["hits"].as_array().into_iter().flatten().filter_map(span).collect()
}

fn figures() -> Value {
    let offset = json!({ "field": "origin.offset" });
    json!({
        "lines": { "value_count": offset },
        "bytes": { "sum": { "field": "origin.length" } },
        "first": { "min": offset },
        "distinct": { "cardinality": { "field": "origin.offset", "precision_threshold": DISTINCT_PRECISION } },
    })
}

fn coverage(figures: &Value) -> Coverage {
    let lines = number(&figures["lines"]["value"]).unwrap_or(0);
    Coverage {
        lines,
        bytes: number(&figures["bytes"]["value"]).unwrap_or(0),
        distinct: number(&figures["distinct"]["value"]).unwrap_or(0),
        first: number(&figures["first"]["value"]).filter(|_| lines > 0),
        last_end: None,
    }
}

fn place(fields: &Value, name: &str) -> Option<u64> {
    number(&fields[name][0])
}

/// Reads an integer, which engines return as a float in aggregations.
fn number(value: &Value) -> Option<u64> {
    let inexact = || value.as_f64().filter(|number| *number >= 0.0).map(|number| number.round() as u64);
    value.as_u64().or_else(inexact)
}
