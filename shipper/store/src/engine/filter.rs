//! A filter in an engine's terms: JSON that is built, with nothing of a query pasted into it.

use std::ops::Bound;

use serde_json::{Map, Value, json};

use crate::query::{Bounds, Filter};
use crate::scope::Scope;
use crate::timestamp::Timestamp;

/// Lines that `scope` sees, that `filter` finds, and that lie between two times.
pub(super) fn query(scope: &Scope, filter: &Filter, from: Option<Timestamp>, to: Option<Timestamp>) -> Value {
    let mut parts = Vec::new();
    if let Scope::Projects(projects) = scope {
        parts.push(json!({ "terms": { "project_id": projects } }));
    }
    if let Some(range) = times(from, to) {
        parts.push(json!({ "range": { "timestamp": range } }));
    }
    match filter {
        Filter::All(all) => parts.extend(all.iter().map(clause)),
        other => parts.push(clause(other)),
    }
    json!({ "bool": { "filter": parts } })
}

fn clause(filter: &Filter) -> Value {
    match filter {
        Filter::All(parts) if parts.is_empty() => json!({ "match_all": {} }),
        Filter::All(parts) => json!({ "bool": { "filter": clauses(parts) } }),
        Filter::Any(parts) if parts.is_empty() => json!({ "match_none": {} }),
        Filter::Any(parts) => json!({ "bool": { "should": clauses(parts), "minimum_should_match": 1 } }),
        Filter::Not(part) => json!({ "bool": { "must_not": [clause(part)] } }),
        Filter::Is(field, values) => json!({ "terms": { field.path(): values } }),
        Filter::Has(field) => json!({ "exists": { "field": field.path() } }),
        Filter::Words(text) => {
            json!({ "match": { "message": { "query": text, "operator": "and", "zero_terms_query": "none" } } })
        }
        Filter::Phrase(text) => {
            json!({ "match_phrase": { "message": { "query": text, "zero_terms_query": "none" } } })
        }
        Filter::Number(field, bounds) if *bounds == Bounds::ANY => json!({ "exists": { "field": field.name() } }),
        Filter::Number(field, bounds) => json!({ "range": { field.name(): numbers(bounds) } }),
    }
}

fn clauses(filters: &[Filter]) -> Vec<Value> {
    filters.iter().map(clause).collect()
}

fn numbers(bounds: &Bounds) -> Value {
    let mut range = Map::new();
    match bounds.from {
        Bound::Included(from) => drop(range.insert("gte".to_owned(), from.get().into())),
        Bound::Excluded(from) => drop(range.insert("gt".to_owned(), from.get().into())),
        Bound::Unbounded => {}
    }
    match bounds.to {
        Bound::Included(to) => drop(range.insert("lte".to_owned(), to.get().into())),
        Bound::Excluded(to) => drop(range.insert("lt".to_owned(), to.get().into())),
        Bound::Unbounded => {}
    }
    Value::Object(range)
}

/// A range as engines take it. They keep nanoseconds since 1970 in 63 bits and refuse to be asked beyond; a bound that
/// leaves out nothing they can hold is none.
fn times(from: Option<Timestamp>, to: Option<Timestamp>) -> Option<Value> {
    let last = Timestamp::from_unix_micros(i64::MAX / 1_000);
    let mut range = Map::new();
    if let Some(from) = from.filter(|from| from.unix_micros() > 0) {
        range.insert("gte".to_owned(), from.min(last).to_string().into());
    }
    if let Some(to) = to.filter(|to| *to <= last) {
        let first = Timestamp::from_unix_micros(0);
        range.insert("lt".to_owned(), to.max(first).to_string().into());
    }
    (!range.is_empty()).then_some(Value::Object(range))
}
