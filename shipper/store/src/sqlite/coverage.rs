//! Coverage queries, answered from the unique index of `source` and `offset`.

use std::ops::Range;

use rusqlite::{Connection, OptionalExtension as _, params};

use crate::coverage::{Coverage, DocumentCount, MAX_IDS, MAX_SPANS, MAX_STEPS, Removed, Span};
use crate::id::{GenerationId, LineId};

/// Builds the query of a generation's lines in a range, optionally by steps.
fn select_sums(steps: bool) -> String {
    let (step, by) = if steps { (r#"("offset" - ?2) / ?4"#, "GROUP BY 1 ORDER BY 1") } else { ("0", "") };
    format!(
        r#"SELECT {step}, count(*), coalesce(sum(length), 0), min("offset"), max("offset" + length)
           FROM logs WHERE source = ?1 AND "offset" >= ?2 AND "offset" < ?3 {by}"#
    )
}

pub(super) fn coverage(
    connection: &Connection,
    generation: GenerationId,
    offsets: &Range<u64>,
) -> rusqlite::Result<Coverage> {
    let Some(source) = source(connection, generation)? else { return Ok(Coverage::default()) };
    let mut statement = connection.prepare_cached(&select_sums(false))?;
    statement.query_row(params![source, start(offsets), end(offsets)], read_coverage)
}

pub(super) fn coverage_in_steps(
    connection: &Connection,
    generation: GenerationId,
    offsets: &Range<u64>,
    step: u64,
) -> rusqlite::Result<Vec<Coverage>> {
    let Some(source) = source(connection, generation)? else { return Ok(Vec::new()) };
    let step = step.max(offsets.end.saturating_sub(offsets.start).div_ceil(MAX_STEPS)).max(1);
    let mut statement = connection.prepare_cached(&select_sums(true))?;
    let found =
        statement.query_map(params![source, start(offsets), end(offsets), step.cast_signed()], read_coverage)?;
    found.map(|step| Ok(Coverage { last_end: None, ..step? })).collect()
}

pub(super) fn spans(
    connection: &Connection,
    generation: GenerationId,
    offsets: &Range<u64>,
    limit: usize,
) -> rusqlite::Result<Vec<Span>> {
    let Some(source) = source(connection, generation)? else { return Ok(Vec::new()) };
    let mut statement = connection.prepare_cached(
        r#"SELECT "offset", length FROM logs
           WHERE source = ?1 AND "offset" >= ?2 AND "offset" < ?3 ORDER BY "offset" LIMIT ?4"#,
    )?;
    let limit = i64::try_from(limit.clamp(1, MAX_SPANS)).unwrap_or(i64::MAX);
    let found = statement.query_map(params![source, start(offsets), end(offsets), limit], |row| {
        Ok(Span { offset: number(row, 0)?, length: number(row, 1)?, index: None })
    })?;
    found.collect()
}

pub(super) fn span_before(
    connection: &Connection,
    generation: GenerationId,
    offset: u64,
) -> rusqlite::Result<Option<Span>> {
    let Some(source) = source(connection, generation)? else { return Ok(None) };
    let mut statement = connection.prepare_cached(
        r#"SELECT "offset", length FROM logs WHERE source = ?1 AND "offset" < ?2 ORDER BY "offset" DESC LIMIT 1"#,
    )?;
    let offset = i64::try_from(offset).unwrap_or(i64::MAX);
    let found = statement.query_row(params![source, offset], |row| {
        Ok(Span { offset: number(row, 0)?, length: number(row, 1)?, index: None })
    });
    found.optional()
}

pub(super) fn document_counts(connection: &Connection, ids: &[LineId]) -> rusqlite::Result<Vec<DocumentCount>> {
    let mut find = connection.prepare_cached(r#"SELECT count(*) FROM logs WHERE source = ?1 AND "offset" = ?2"#)?;
    let mut last: Option<(GenerationId, Option<i64>)> = None;
    let mut document_counts = Vec::with_capacity(ids.len().min(MAX_IDS));
    for id in ids.iter().take(MAX_IDS) {
        let row = match last.filter(|(generation, _)| *generation == id.generation) {
            Some((_, row)) => row,
            None => source(connection, id.generation)?,
        };
        last = Some((id.generation, row));
        let documents = match row {
            Some(row) => find.query_row(params![row, id.offset.cast_signed()], |row| number(row, 0))?,
            None => 0,
        };
        document_counts.push(DocumentCount { id: *id, documents });
    }
    Ok(document_counts)
}

/// Returns what retention has removed from a generation.
pub(super) fn removed(connection: &Connection, generation: GenerationId) -> rusqlite::Result<Removed> {
    let Some(source) = source(connection, generation)? else { return Ok(Removed::default()) };
    let mut statement = connection.prepare_cached("SELECT lines, bytes FROM retired WHERE source = ?1")?;
    let removed = statement.query_row([source], |row| Ok(Removed { lines: number(row, 0)?, bytes: number(row, 1)? }));
    Ok(removed.optional()?.unwrap_or_default())
}

fn source(connection: &Connection, generation: GenerationId) -> rusqlite::Result<Option<i64>> {
    let mut find = connection.prepare_cached("SELECT id FROM sources WHERE generation = ?1")?;
    find.query_row([generation.as_str()], |row| row.get(0)).optional()
}

fn read_coverage(row: &rusqlite::Row<'_>) -> rusqlite::Result<Coverage> {
    let lines = number(row, 1)?;
    let offset = |column: usize| row.get::<_, Option<i64>>(column).map(|offset| offset.map(i64::cast_unsigned));
    // The unique index rules out duplicate offsets.
    Ok(Coverage { lines, bytes: number(row, 2)?, distinct: lines, first: offset(3)?, last_end: offset(4)? })
}

fn number(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(column).map(i64::cast_unsigned)
}

fn start(offsets: &Range<u64>) -> i64 {
    i64::try_from(offsets.start).unwrap_or(i64::MAX)
}

fn end(offsets: &Range<u64>) -> i64 {
    i64::try_from(offsets.end).unwrap_or(i64::MAX)
}
