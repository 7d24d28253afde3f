//! Reads that look at lines one by one.

use std::ops::ControlFlow;
use std::time::Duration;

use rusqlite::{Connection, params, params_from_iter};

use crate::counts::{Breakdown, Counted, Facet, Facets, Histogram, RequestStats, Selection, Steps, is_ordered};
use crate::id::GenerationId;
use crate::patterns::{Patterns, Tally};
use crate::query::{Facts, Field, Filter};
use crate::scope::Scope;
use crate::search::{MAX_LIMIT, Order, Search, SourceLine};
use crate::sqlite::query::Query;
use crate::sqlite::read::raw;
use crate::tail::{Place, TailPage, TailPlace};
use crate::tally::{FacetTally, HistogramTally, RequestTally};
use crate::timestamp::Timestamp;

/// No count looks at more lines than this, the newest.
const LOOKED_AT: u64 = 1_000_000;

/// One look at what came in looks at no more lines than this, and goes on from there the next time.
const TAIL_ROWS: i64 = 20_000;

/// Hands each selected line to `with`, the newest first.
fn scan(
    connection: &Connection,
    scope: &Scope,
    selection: &Selection,
    order: Order,
    mut with: impl FnMut(Timestamp, &Facts<'_>) -> ControlFlow<()>,
) -> rusqlite::Result<Counted> {
    let search = Search { from: selection.from, to: selection.to, order, ..Search::of(selection.filter.clone()) };
    let query = Query::new(scope, &search);
    let mut statement = connection.prepare_cached(&query.sql)?;
    let mut rows = statement.query(params_from_iter(&query.parameters))?;
    let mut looked_at = 0;
    while let Some(row) = rows.next()? {
        if looked_at == LOOKED_AT {
            return Ok(Counted::AtLeast { looked_at });
        }
        looked_at += 1;
        let facts = Facts::of(row.get_ref(0)?.as_str()?);
        if finds(scope, &selection.filter, &facts) && with(Timestamp::from_unix_micros(row.get(1)?), &facts).is_break()
        {
            break;
        }
    }
    Ok(Counted::Exact)
}

fn finds(scope: &Scope, filter: &Filter, line: &Facts<'_>) -> bool {
    scope.sees(line.value(Field::ProjectId)) && filter.matches(line)
}

pub(crate) fn facets(
    connection: &Connection,
    scope: &Scope,
    selection: &Selection,
    facets: &[Facet],
    top: usize,
) -> rusqlite::Result<Facets> {
    let mut tally = FacetTally::new(facets);
    let counted = scan(connection, scope, selection, Order::NewestFirst, |_, line| {
        tally.count(line);
        ControlFlow::Continue(())
    })?;
    Ok(tally.top(top, counted))
}

pub(crate) fn histogram(
    connection: &Connection,
    scope: &Scope,
    selection: &Selection,
    step: Duration,
) -> rusqlite::Result<Histogram> {
    let steps = match steps(connection, scope, selection, step)? {
        (Some(steps), _) => steps,
        (None, counted) => return Ok(Histogram { step, counted, ..Histogram::default() }),
    };
    let mut tally = HistogramTally::new(steps);
    let counted = scan(connection, scope, selection, Order::NewestFirst, |time, line| {
        tally.count(time, line.value(Field::Level).and_then(|level| level.parse().ok()));
        ControlFlow::Continue(())
    })?;
    Ok(tally.finish(counted))
}

pub(crate) fn requests(
    connection: &Connection,
    scope: &Scope,
    selection: &Selection,
    by: Breakdown,
    top: usize,
) -> rusqlite::Result<RequestStats> {
    let access = Selection { filter: selection.filter.clone().and(Filter::access_lines()), ..selection.clone() };
    let steps = match by {
        Breakdown::Time(step) => match steps(connection, scope, &access, step)? {
            (Some(steps), _) => Some(steps),
            (None, counted) => return Ok(RequestStats { step: Some(step), counted, ..RequestStats::default() }),
        },
        _ => None,
    };
    let mut tally = RequestTally::new(by, steps);
    let counted = scan(connection, scope, &access, Order::NewestFirst, |time, line| {
        tally.count(time, line);
        ControlFlow::Continue(())
    })?;
    Ok(tally.finish(top, counted))
}

pub(crate) fn patterns(
    connection: &Connection,
    scope: &Scope,
    selection: &Selection,
    top: usize,
) -> rusqlite::Result<Patterns> {
    let mut tally = Tally::default();
    let counted = scan(connection, scope, selection, Order::NewestFirst, |time, line| {
        if let Some(level) = line.value(Field::Level).and_then(|level| level.parse().ok()) {
            tally.count(line.message(), level, time);
        }
        ControlFlow::Continue(())
    })?;
    Ok(tally.top(top, counted))
}

/// The steps between the first and the last line of a selection; none where it has no line, or none was found.
fn steps(
    connection: &Connection,
    scope: &Scope,
    selection: &Selection,
    step: Duration,
) -> rusqlite::Result<(Option<Steps>, Counted)> {
    if let Some(steps) = Steps::of(selection, step) {
        return Ok((Some(steps), Counted::Exact));
    }
    let end = |order| -> rusqlite::Result<_> {
        let mut end = None;
        let counted = scan(connection, scope, selection, order, |time, _| {
            end = Some(time).filter(is_ordered);
            if end.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok((end, counted))
    };
    let ((first, counted), (last, _)) = (end(Order::OldestFirst)?, end(Order::NewestFirst)?);
    Ok((first.zip(last).map(|ends| Steps::around(selection, ends, step)), counted))
}

pub(crate) fn around(
    connection: &Connection,
    scope: &Scope,
    generation: GenerationId,
    offset: u64,
    before: usize,
    after: usize,
) -> rusqlite::Result<Vec<SourceLine>> {
    let side = |compare: &str, order: &str, limit: usize| -> rusqlite::Result<Vec<SourceLine>> {
        let sql = format!(
            r#"SELECT "offset", document FROM logs WHERE source = (SELECT id FROM sources WHERE generation = ?1)
               AND "offset" {compare} ?2 ORDER BY "offset" {order}"#
        );
        let mut statement = connection.prepare_cached(&sql)?;
        let mut rows = statement.query(params![generation.as_str(), offset.cast_signed()])?;
        let mut lines = Vec::new();
        while lines.len() < limit
            && let Some(row) = rows.next()?
        {
            let document: String = row.get(1)?;
            if scope.sees(Facts::of(&document).value(Field::ProjectId)) {
                lines.push(SourceLine { offset: row.get::<_, i64>(0)?.cast_unsigned(), line: raw(document)? });
            }
        }
        Ok(lines)
    };
    let mut lines = side("<", "DESC", before.min(MAX_LIMIT))?;
    lines.reverse();
    lines.extend(side(">=", "ASC", after.min(MAX_LIMIT) + 1)?);
    Ok(lines)
}

pub(crate) fn tail(
    connection: &Connection,
    scope: &Scope,
    filter: &Filter,
    place: Option<&TailPlace>,
    limit: usize,
) -> rusqlite::Result<TailPage> {
    let newest = connection.query_row("SELECT coalesce(max(id), 0) FROM logs", [], |row| row.get(0))?;
    let after = match place {
        // One beyond the newest row is of another file.
        Some(TailPlace(Place::Row(row))) if *row <= newest => *row,
        _ => return Ok(TailPage { lines: Vec::new(), place: TailPlace(Place::Row(newest)) }),
    };
    let mut statement =
        connection.prepare_cached("SELECT id, document FROM logs WHERE id > ?1 ORDER BY id LIMIT ?2")?;
    let mut rows = statement.query(params![after, TAIL_ROWS])?;
    let (mut lines, mut last) = (Vec::new(), after);
    while lines.len() < limit.clamp(1, MAX_LIMIT)
        && let Some(row) = rows.next()?
    {
        last = row.get(0)?;
        let document: String = row.get(1)?;
        if finds(scope, filter, &Facts::of(&document)) {
            lines.push(raw(document)?);
        }
    }
    Ok(TailPage { lines, place: TailPlace(Place::Row(last)) })
}
