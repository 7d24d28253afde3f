//! Follows new lines in an engine, by the sequence numbers of each index. An index has one shard, as set by the template.
//!
//! Sequence numbers increase by one, but a number may become visible before a smaller one whose write is still in
//! progress. If a number is missing, lines above it are held back for [`HOLD_MS`]; then it is considered unused.

use serde_json::{Value, json};

use crate::engine::{Engine, filter};
use crate::error::SearchError;
use crate::query::Filter;
use crate::scope::Scope;
use crate::search::{MAX_LIMIT, PageLimits, fit_count};
use crate::tail::{IndexPosition, MAX_INDICES, TailCursor, TailPage, TailPosition, is_valid_suffix};
use crate::timestamp::Timestamp;

/// How long to wait for a missing sequence number: twice the template's refresh interval.
const HOLD_MS: i64 = 2_000;

/// Documents of an index that were not returned yet.
struct NewDocuments {
    suffix: String,
    greatest: i64,
    count: i64,
}

impl Engine {
    pub(crate) async fn tail(
        &self,
        scope: &Scope,
        filter: &Filter,
        cursor: Option<&TailCursor>,
        limits: PageLimits,
    ) -> Result<TailPage, SearchError> {
        let now = Timestamp::now().unix_ms();
        // Without a cursor of this kind of store, start at the current position.
        let Some(TailCursor(TailPosition::Indices { seen_unix_ms, indices })) = cursor else {
            let new_documents = self.new_documents(&[]).await?;
            let indices = new_documents.into_iter().map(|NewDocuments { suffix, greatest, .. }| IndexPosition {
                suffix,
                returned: greatest,
                seen: greatest,
            });
            let newest = TailPosition::Indices { seen_unix_ms: now, indices: indices.collect() };
            return Ok(TailPage { lines: Vec::new(), cursor: TailCursor(newest), more: false, gap: cursor.is_some() });
        };
        let hold_expired = now - seen_unix_ms >= HOLD_MS;
        let new_documents = self.new_documents(indices).await?;
        let mut next = indices.clone();
        let mut ranges = Vec::new();
        for NewDocuments { suffix, greatest, count } in new_documents {
            let at = match next.binary_search_by(|index| index.suffix.cmp(&suffix)) {
                Ok(at) => at,
                // Older than all indices in the cursor: it was left out before.
                Err(0) if next.len() >= MAX_INDICES => continue,
                Err(at) => {
                    next.insert(at, IndexPosition { suffix, returned: -1, seen: -1 });
                    at
                }
            };
            let index = &mut next[at];
            let is_contiguous = greatest - index.returned == count;
            let end = if is_contiguous {
                greatest
            } else if hold_expired {
                index.seen.max(index.returned)
            } else {
                index.returned
            };
            if is_contiguous || hold_expired || index.seen < index.returned {
                index.seen = greatest;
            }
            if end > index.returned {
                ranges.push((index.suffix.clone(), index.returned, end));
            }
        }
        let (lines, more) = self.between(scope, filter, &mut ranges, limits).await?;
        for (suffix, _, end) in ranges {
            if let Ok(at) = next.binary_search_by(|index| index.suffix.cmp(&suffix)) {
                next[at].returned = end;
                next[at].seen = next[at].seen.max(end);
            }
        }
        let surplus = next.len().saturating_sub(MAX_INDICES);
        next.drain(..surplus);
        let seen_unix_ms = if hold_expired { now } else { *seen_unix_ms };
        let cursor = TailCursor(TailPosition::Indices { seen_unix_ms, indices: next });
        Ok(TailPage { lines, cursor, more, gap: false })
    }

    /// Returns what is beyond these positions, by index.
    async fn new_documents(&self, positions: &[IndexPosition]) -> Result<Vec<NewDocuments>, SearchError> {
        let known: Vec<_> = positions.iter().map(|index| self.index(&index.suffix)).collect();
        let mut newer: Vec<_> =
            positions.iter().map(|index| numbered(&self.index(&index.suffix), index.returned, i64::MAX)).collect();
        newer.push(json!({ "bool": { "must_not": [{ "terms": { "_index": known } }] } }));
        let indices = json!({
            "terms": { "field": "_index", "size": MAX_INDICES, "order": { "_key": "desc" } },
            "aggs": { "greatest": { "max": { "field": "_seq_no" } } },
        });
        let query = json!({ "bool": { "should": newer, "minimum_should_match": 1 } });
        let found = self.aggregations(json!({ "query": query, "aggs": { "indices": indices } })).await?;
        let new_documents = |bucket: &Value| {
            let suffix = bucket["key"].as_str()?.strip_prefix(&self.settings.index_prefix)?.strip_prefix('-')?;
            #[expect(clippy::cast_possible_truncation, reason = "engines return it as a double, so it is below 2^53")]
            let greatest = bucket["greatest"]["value"].as_f64()? as i64;
            let count = bucket["doc_count"].as_i64()?;
            is_valid_suffix(suffix).then(|| NewDocuments { suffix: suffix.to_owned(), greatest, count })
        };
        let mut new_documents: Vec<_> =
            found["indices"]["buckets"].as_array().into_iter().flatten().filter_map(new_documents).collect();
        new_documents.sort_by(|one, other| one.suffix.cmp(&other.suffix));
        Ok(new_documents)
    }

    /// Returns the matching lines of these ranges, and whether more exist than fit. The ranges are cut to what is
    /// returned.
    async fn between(
        &self,
        scope: &Scope,
        filter: &Filter,
        ranges: &mut Vec<(String, i64, i64)>,
        limits: PageLimits,
    ) -> Result<(Vec<Box<serde_json::value::RawValue>>, bool), SearchError> {
        if ranges.is_empty() {
            return Ok((Vec::new(), false));
        }
        let mut query = filter::query(scope, filter, None, None);
        let within: Vec<_> =
            ranges.iter().map(|(suffix, returned, end)| numbered(&self.index(suffix), *returned, *end)).collect();
        if let Some(parts) = query["bool"]["filter"].as_array_mut() {
            parts.push(json!({ "bool": { "should": within, "minimum_should_match": 1 } }));
        }
        let sort = json!([{ "_index": "asc" }, { "_seq_no": "asc" }]);
        let limit = limits.lines.clamp(1, MAX_LIMIT);
        let search = json!({ "size": limit + 1, "track_total_hits": false, "query": query, "sort": sort });
        let mut hits = self.hits(&search).await?;
        let fitting = fit_count(hits.iter().map(|hit| &*hit.source), limits.bytes).min(limit);
        let more = hits.len() > fitting;
        if more {
            hits.truncate(fitting);
            let last = hits.last().and_then(|hit| {
                let suffix =
                    hit.sort.first()?.as_str()?.strip_prefix(&self.settings.index_prefix)?.strip_prefix('-')?;
                Some((suffix.to_owned(), hit.sort.get(1)?.as_i64()?))
            });
            if let Some((suffix, number)) = last {
                ranges.retain(|range| range.0 <= suffix);
                if let Some(range) = ranges.iter_mut().find(|range| range.0 == suffix) {
                    range.2 = number;
                }
            }
        }
        Ok((hits.into_iter().map(|hit| hit.source).collect(), more))
    }

    fn index(&self, suffix: &str) -> String {
        format!("{}-{suffix}", self.settings.index_prefix)
    }
}

/// Matches documents of an index with sequence numbers above one value and up to another.
fn numbered(index: &str, above: i64, ranges: i64) -> Value {
    let range = json!({ "range": { "_seq_no": { "gt": above, "lte": ranges } } });
    json!({ "bool": { "filter": [{ "term": { "_index": index } }, range] } })
}
