//! A simple model of a store: a list of documents, and queries answered by examining all of them. It shares with the
//! stores only the types of queries and results, and the splitting of text into words.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;
use store::counts::{Bucket, Facet, GroupKey};
use store::query::Bounds;
use store::query::words::words;
use store::{Breakdown, Field, Filter, GenerationId, Level, NumberField, Order, Scope, Search, Selection, Timestamp};

mod named;

/// Contract records with their origin.
pub(crate) struct Model(pub(crate) Vec<Value>);

/// Request statistics, with all durations in order.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    pub(crate) requests: u64,
    pub(crate) server_errors: u64,
    pub(crate) unanswered: u64,
    pub(crate) durations: Vec<f64>,
}

impl Model {
    fn selected(&self, scope: &Scope, selection: &Selection) -> Vec<&Value> {
        let within = |line: &&Value| {
            let time = time(line);
            selection.from.is_none_or(|from| time >= from)
                && selection.to.is_none_or(|to| time < to)
                && sees(scope, line)
                && finds(&selection.filter, line)
        };
        self.0.iter().filter(within).collect()
    }

    pub(crate) fn search(&self, scope: &Scope, search: &Search) -> Vec<&Value> {
        let selection = Selection { filter: search.filter.clone(), from: search.from, to: search.to };
        let mut lines = self.selected(scope, &selection);
        lines.sort_by_key(|line| {
            let origin = &line["origin"];
            (time(line), origin["generation"].as_str().unwrap().to_owned(), origin["offset"].as_u64())
        });
        if search.order == Order::NewestFirst {
            lines.reverse();
        }
        lines
    }

    /// In order of arrival.
    pub(crate) fn tail(&self, scope: &Scope, filter: &Filter) -> Vec<&Value> {
        self.selected(scope, &Selection { filter: filter.clone(), from: None, to: None })
    }

    pub(crate) fn facet(&self, scope: &Scope, selection: &Selection, facet: &Facet) -> Vec<(String, u64)> {
        let mut counts = BTreeMap::<String, u64>::new();
        for line in self.selected(scope, selection) {
            let values: BTreeSet<_> = match facet {
                Facet::Field(field) => texts(line, *field).into_iter().collect(),
                Facet::Status => numbers(line, NumberField::Status).iter().map(ToString::to_string).collect(),
                Facet::Named(field) => named::texts(line, field),
            };
            for value in values {
                *counts.entry(value).or_default() += 1;
            }
        }
        // Statuses have three digits here, so their numeric order is that of their texts.
        let mut counts: Vec<_> = counts.into_iter().collect();
        counts.sort_by_key(|(_, lines)| std::cmp::Reverse(*lines));
        counts
    }

    /// Returns the non-empty buckets.
    pub(crate) fn histogram(&self, scope: &Scope, selection: &Selection, step: Duration) -> Vec<Bucket> {
        let mut buckets = BTreeMap::new();
        for line in self.selected(scope, selection) {
            let start = floor(time(line), step);
            let bucket = buckets.entry(start).or_insert(Bucket { start, lines: 0, levels: [0; 5] });
            bucket.lines += 1;
            bucket.levels[Level::ALL.iter().position(|level| line["level"] == level.as_str()).unwrap()] += 1;
        }
        buckets.into_values().collect()
    }

    /// Returns the groups with requests, sorted by key; the total has the key `None`.
    pub(crate) fn requests(
        &self,
        scope: &Scope,
        selection: &Selection,
        by: Breakdown,
    ) -> Vec<(Option<GroupKey>, Figures)> {
        let mut groups = BTreeMap::<(Timestamp, String), (Option<GroupKey>, Figures)>::new();
        let access = self.selected(scope, selection).into_iter();
        for line in access.filter(|line| texts(line, Field::Target).contains(&"access".to_owned())) {
            let keys: BTreeSet<_> = match by {
                Breakdown::Total => BTreeSet::from([String::new()]),
                Breakdown::Endpoint => texts(line, Field::Endpoint).into_iter().collect(),
                Breakdown::Project => texts(line, Field::ProjectId).into_iter().collect(),
                Breakdown::Time(_) => BTreeSet::from([String::new()]),
            };
            for key in keys {
                let (at, group) = match by {
                    Breakdown::Total => (Timestamp::from_unix_micros(0), None),
                    Breakdown::Time(step) => (floor(time(line), step), Some(GroupKey::Time(floor(time(line), step)))),
                    _ => (Timestamp::from_unix_micros(0), Some(GroupKey::Value(key.clone()))),
                };
                let (_, figures) = groups.entry((at, key)).or_insert((group, Figures::default()));
                let statuses = numbers(line, NumberField::Status);
                figures.requests += 1;
                figures.unanswered += u64::from(statuses.is_empty());
                figures.server_errors += u64::from(statuses.iter().any(|status| (500.0..600.0).contains(status)));
                figures.durations.extend(numbers(line, NumberField::DurationMs));
                figures.durations.sort_by(f64::total_cmp);
            }
        }
        groups.into_values().collect()
    }

    pub(crate) fn around(
        &self,
        scope: &Scope,
        generation: GenerationId,
        offset: u64,
        before: usize,
        after: usize,
    ) -> Vec<(u64, &Value)> {
        let of_source = |line: &&Value| line["origin"]["generation"] == generation.as_str() && sees(scope, line);
        let mut lines: Vec<_> =
            self.0.iter().filter(of_source).map(|line| (line["origin"]["offset"].as_u64().unwrap(), line)).collect();
        lines.sort_by_key(|(offset, _)| *offset);
        let (earlier, later): (Vec<_>, Vec<_>) = lines.into_iter().partition(|(own, _)| *own < offset);
        let earlier = earlier.into_iter().rev().take(before).collect::<Vec<_>>().into_iter().rev();
        earlier.chain(later.into_iter().take(after + 1)).collect()
    }
}

pub(crate) fn time(line: &Value) -> Timestamp {
    Timestamp::parse(line["timestamp"].as_str().unwrap().as_bytes()).unwrap()
}

fn floor(time: Timestamp, step: Duration) -> Timestamp {
    let step = i64::try_from(step.as_micros()).unwrap();
    Timestamp::from_unix_micros(time.unix_micros() / step * step)
}

fn sees(scope: &Scope, line: &Value) -> bool {
    match scope {
        Scope::All => true,
        Scope::Projects(projects) => texts(line, Field::ProjectId).iter().any(|id| projects.contains(id)),
    }
}

/// Returns the texts of a field, or of each element of a list.
fn texts(line: &Value, field: Field) -> Vec<String> {
    let place = field.path().split('.').try_fold(line, |value, key| value.get(key));
    let mut texts = Vec::new();
    let mut values: Vec<_> = place.into_iter().collect();
    while let Some(value) = values.pop() {
        match value {
            Value::Array(elements) => values.extend(elements),
            Value::String(text) => texts.push(text.clone()),
            Value::Number(number) => texts.push(number.to_string()),
            Value::Bool(truth) => texts.push(truth.to_string()),
            Value::Null | Value::Object(_) => {}
        }
    }
    texts.retain(|text| text.encode_utf16().count() <= if field == Field::File { 8_191 } else { 1_024 });
    texts
}

fn numbers(line: &Value, field: NumberField) -> Vec<f64> {
    let values = match &line[field.name()] {
        Value::Array(elements) => elements.clone(),
        other => vec![other.clone()],
    };
    let number = |value: &Value| {
        let number = value.as_f64().or_else(|| value.as_str()?.parse().ok())?;
        Some(if field == NumberField::Status { number.trunc() } else { number })
    };
    values.iter().filter_map(number).collect()
}

fn finds(filter: &Filter, line: &Value) -> bool {
    let message: Vec<_> = words(line["message"].as_str().unwrap()).collect();
    match filter {
        Filter::All(parts) => !parts.iter().any(|part| !finds(part, line)),
        Filter::Any(parts) => parts.iter().any(|part| finds(part, line)),
        Filter::Not(part) => !finds(part, line),
        Filter::Is(field, values) => texts(line, *field).iter().any(|text| values.contains(text)),
        Filter::Has(field) => !texts(line, *field).is_empty(),
        Filter::Words(text) => {
            let wanted: Vec<_> = words(text).collect();
            !wanted.is_empty() && wanted.iter().all(|word| message.contains(word))
        }
        Filter::Phrase(text) => {
            let wanted: Vec<_> = words(text).collect();
            let starts = 0..(message.len() + 1).saturating_sub(wanted.len());
            !wanted.is_empty() && starts.into_iter().any(|start| message[start..].starts_with(&wanted))
        }
        Filter::Number(field, bounds) => numbers(line, *field).into_iter().any(|number| is_within(bounds, number)),
        Filter::Named(field, test) => named::meets(line, field, test),
    }
}

pub(crate) fn is_within(bounds: &Bounds, number: f64) -> bool {
    let above = match bounds.from {
        std::ops::Bound::Included(from) => number >= from.get(),
        std::ops::Bound::Excluded(from) => number > from.get(),
        std::ops::Bound::Unbounded => true,
    };
    let below = match bounds.to {
        std::ops::Bound::Included(to) => number <= to.get(),
        std::ops::Bound::Excluded(to) => number < to.get(),
        std::ops::Bound::Unbounded => true,
    };
    above && below
}
