//! Finds a page of lines. Chunks are scanned in the search's order, until no remaining chunk can contain a line of the
//! page.

use std::cmp::Ordering;
use std::collections::{BTreeSet, HashMap};

use serde_json::value::RawValue;

use crate::id::GenerationId;
use crate::scope::Scope;
use crate::search::{Cursor, MAX_PAGE_BYTES, Order, Search, SearchPage};
use crate::sqlite::snapshot::{Chunk, Snapshot};

/// Sort key of a line. Newest-first order reverses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    time: i64,
    generation: Option<GenerationId>,
    offset: i64,
    id: i64,
}

/// The first matching lines, one more than a page holds.
struct TopKeys<'s> {
    search: &'s Search,
    max: usize,
    keys: BTreeSet<Ordered>,
}

/// A key in the order of its search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ordered(Key, Order);

impl Ord for Ordered {
    fn cmp(&self, other: &Self) -> Ordering {
        match self.1 {
            Order::OldestFirst => self.0.cmp(&other.0),
            Order::NewestFirst => other.0.cmp(&self.0),
        }
    }
}

impl PartialOrd for Ordered {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<'s> TopKeys<'s> {
    fn new(search: &'s Search) -> Self {
        Self { search, max: search.bounded_limit() + 1, keys: BTreeSet::new() }
    }

    /// Whether no line of this time, or one later in the order, can still be among the first.
    fn is_past(&self, time: i64) -> bool {
        let Some(last) = self.keys.last().filter(|_| self.keys.len() >= self.max) else { return false };
        match self.search.order {
            Order::OldestFirst => time > last.0.time,
            Order::NewestFirst => time < last.0.time,
        }
    }

    fn add(&mut self, key: Key) {
        self.keys.insert(Ordered(key, self.search.order));
        if self.keys.len() > self.max {
            self.keys.pop_last();
        }
    }

    /// Whether a line comes after the search's cursor.
    fn is_after_cursor(&self, key: &Key) -> bool {
        let Some(cursor) = self.search.cursor else { return true };
        let order = match cursor.origin {
            None => key.time.cmp(&cursor.micros),
            Some((generation, offset)) => {
                (key.time, key.generation, key.offset).cmp(&(cursor.micros, Some(generation), offset.cast_signed()))
            }
        };
        match (cursor.origin, self.search.order) {
            (None, Order::OldestFirst) => order.is_ge(),
            (None, Order::NewestFirst) => order.is_le(),
            (Some(_), Order::OldestFirst) => order.is_gt(),
            (Some(_), Order::NewestFirst) => order.is_lt(),
        }
    }

    /// Returns the time bounds of the search and its cursor, as `[from, to)`.
    fn bounds(&self) -> (Option<i64>, Option<i64>) {
        let mut from = self.search.from.map(|time| time.unix_micros());
        let mut to = self.search.to.map(|time| time.unix_micros());
        if let Some(cursor) = self.search.cursor {
            match self.search.order {
                Order::OldestFirst => from = Some(from.map_or(cursor.micros, |from| from.max(cursor.micros))),
                Order::NewestFirst => {
                    let after = cursor.micros.saturating_add(1);
                    to = Some(to.map_or(after, |to| to.min(after)));
                }
            }
        }
        (from, to)
    }
}

/// Finds a page.
pub(crate) fn page(snapshot: &Snapshot<'_>, scope: &Scope, search: &Search) -> rusqlite::Result<SearchPage> {
    let mut top = TopKeys::new(search);
    let (from, to) = top.bounds();
    let mut chunks = snapshot.chunks(scope, &search.filter, from, to)?;
    chunks.sort_by_key(|chunk| match search.order {
        Order::OldestFirst => chunk.info().earliest,
        Order::NewestFirst => chunk.info().latest.saturating_neg(),
    });
    let mut generations = HashMap::new();
    for chunk in &chunks {
        let first_time = match search.order {
            Order::OldestFirst => chunk.info().earliest,
            Order::NewestFirst => chunk.info().latest,
        };
        if top.is_past(first_time) {
            break;
        }
        scan(snapshot, scope, chunk, (from, to), &mut top, &mut generations)?;
    }
    build_page(snapshot, &top)
}

/// Scans the matching lines of a chunk in the search's order.
fn scan(
    snapshot: &Snapshot<'_>,
    scope: &Scope,
    chunk: &Chunk,
    (from, to): (Option<i64>, Option<i64>),
    top: &mut TopKeys<'_>,
    generations: &mut HashMap<i64, Option<GenerationId>>,
) -> rusqlite::Result<()> {
    let search = top.search;
    let found = snapshot.matches(chunk, scope, &search.filter)?;
    if found.possible.is_empty() {
        return Ok(());
    }
    let within = |time: i64| from.is_none_or(|from| time >= from) && to.is_none_or(|to| time < to);
    let mut lines = snapshot.times_of(chunk, &found.possible)?;
    lines.retain(|(time, _)| within(*time));
    match search.order {
        Order::OldestFirst => lines.sort_by_key(|(time, _)| *time),
        Order::NewestFirst => lines.sort_by_key(|(time, _)| std::cmp::Reverse(*time)),
    }
    for (examined, (time, index)) in lines.into_iter().enumerate() {
        if top.is_past(time) {
            break;
        }
        if examined % 256 == 255 {
            snapshot.check_deadline()?;
        }
        let id = chunk.info().first + i64::try_from(index).unwrap_or(i64::MAX);
        let Some(row) = snapshot.row(id)? else { continue };
        if !found.certain.has(index) && !snapshot.indexed_fields()?.is_match(id, scope, &search.filter, &row.document) {
            continue;
        }
        let generation = match generations.get(&row.source) {
            Some(generation) => *generation,
            None => {
                let generation = snapshot.generation(row.source)?;
                generations.insert(row.source, generation);
                generation
            }
        };
        let key = Key { time, generation, offset: row.offset, id };
        if top.is_after_cursor(&key) {
            top.add(key);
        }
    }
    Ok(())
}

/// Reads the documents of the first lines, up to the page's limits.
fn build_page(snapshot: &Snapshot<'_>, top: &TopKeys<'_>) -> rusqlite::Result<SearchPage> {
    let (limit, bytes_max) = (top.search.bounded_limit(), top.search.bytes.min(MAX_PAGE_BYTES));
    let mut page = SearchPage::default();
    let (mut last, mut bytes) = (None, 0);
    for Ordered(key, _) in &top.keys {
        let Some(row) = snapshot.row(key.id)? else { continue };
        bytes += row.document.len();
        if page.lines.len() == limit || (bytes > bytes_max && !page.lines.is_empty()) {
            page.next = last;
            break;
        }
        let origin = key.generation.map(|generation| (generation, key.offset.cast_unsigned()));
        last = Some(Cursor { micros: key.time, nanos: 0, origin });
        page.first = page.first.or(last);
        page.lines.push(raw_value(row.document)?);
    }
    Ok(page)
}

/// Converts a document to the form that pages return.
pub(crate) fn raw_value(document: String) -> rusqlite::Result<Box<RawValue>> {
    RawValue::from_string(document)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::new(error)))
}
