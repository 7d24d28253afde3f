//! Translates filters to the engines' query language, as JSON values; text is never pasted into queries.

use std::ops::Bound;

use serde_json::{Map, Value, json};

use crate::query::{Bounds, FieldTest, FieldType, Filter, NamedField};
use crate::scope::Scope;
use crate::timestamp::Timestamp;

/// Matches lines that `scope` may see, that `filter` matches, and that are between two times.
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
        Filter::Named(field, test) => match field.only_in() {
            // An engine rejects a query that does not fit a field's type, unless the index is excluded first.
            Some(indices) => json!({ "bool": { "filter": [{ "terms": { "_index": indices } }, named(field, test)] } }),
            None => named(field, test),
        },
    }
}

fn named(field: &NamedField, test: &FieldTest) -> Value {
    let name = field.name();
    match test {
        // Booleans are stored as keywords, which may contain any text.
        FieldTest::Any if field.kind() == FieldType::Boolean => json!({ "terms": { name: ["true", "false"] } }),
        FieldTest::Is(truth) => json!({ "terms": { name: [truth.to_string()] } }),
        FieldTest::Any => json!({ "exists": { "field": name } }),
        FieldTest::OneOf(values) => json!({ "terms": { name: values } }),
        FieldTest::Words(text) => {
            json!({ "match": { name: { "query": text, "operator": "and", "zero_terms_query": "none" } } })
        }
        FieldTest::Phrase(text) => json!({ "match_phrase": { name: { "query": text, "zero_terms_query": "none" } } }),
        FieldTest::Number(Bounds::ANY) | FieldTest::Between(i64::MIN, i64::MAX) => {
            json!({ "exists": { "field": name } })
        }
        FieldTest::Number(bounds) => json!({ "range": { name: numbers(bounds) } }),
        FieldTest::Between(from, to) => {
            let is_date = field.kind() == FieldType::Date;
            let bound = |value: i64| if is_date { date(value) } else { value.into() };
            let mut range = Map::new();
            if *from > i64::MIN {
                range.insert("gte".to_owned(), bound(*from));
            }
            if *to < i64::MAX {
                range.insert("lte".to_owned(), bound(*to));
            }
            if is_date {
                range.insert("format".to_owned(), "strict_date_time".into());
            }
            json!({ "range": { name: range } })
        }
    }
}

/// Formats a time as text. For times before 1970, engines round numbers of milliseconds differently.
fn date(ms: i64) -> Value {
    // The years that text can represent are 0001 to 9999.
    let time = Timestamp::from_unix_ms(ms.clamp(-62_135_596_800_000, 253_402_300_799_999)).to_string();
    format!("{}Z", time.get(..23).unwrap_or(&time)).into()
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

/// Builds a time range. Engines store nanoseconds since 1970 in 63 bits and reject bounds beyond that, so bounds that
/// exclude nothing are dropped.
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
