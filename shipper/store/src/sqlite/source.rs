//! Lines in the order of their source, and lines in the order in which they came.

use rusqlite::params;

use crate::id::GenerationId;
use crate::query::{Facts, Field, Filter};
use crate::scope::Scope;
use crate::search::{MAX_LIMIT, SourceLine};
use crate::sqlite::search::raw;
use crate::sqlite::snapshot::Snapshot;
use crate::tail::{Place, TailPage, TailPlace};

/// One look at what came in looks at no more lines than this, and goes on from there the next time.
const TAIL_ROWS: i64 = 20_000;

/// The lines of a source on both sides of a place.
pub(crate) fn around(
    snapshot: &Snapshot<'_>,
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
        let mut statement = snapshot.connection().prepare_cached(&sql)?;
        let mut rows = statement.query(params![generation.as_str(), offset.cast_signed()])?;
        let mut lines = Vec::new();
        while lines.len() < limit
            && let Some(row) = rows.next()?
        {
            let document: String = row.get(1)?;
            if *scope == Scope::All || scope.sees(Facts::of(&document).value(Field::ProjectId)) {
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

/// What came in since a place. Row ids grow from 0; a place tells of the one before the next.
pub(crate) fn tail(
    snapshot: &Snapshot<'_>,
    scope: &Scope,
    filter: &Filter,
    place: Option<&TailPlace>,
    limit: usize,
) -> rusqlite::Result<TailPage> {
    // A place has no row before the first, so that rows are counted from 1 in it.
    let newest = "SELECT coalesce(max(id) + 1, 0) FROM logs";
    let newest = snapshot.connection().query_row(newest, [], |row| row.get(0))?;
    let after = match place {
        // One beyond the newest row is of another file.
        Some(TailPlace(Place::Row(row))) if *row <= newest => *row,
        _ => return Ok(TailPage { lines: Vec::new(), place: TailPlace(Place::Row(newest)) }),
    };
    let select = "SELECT id, document FROM logs WHERE id >= ?1 ORDER BY id LIMIT ?2";
    let mut statement = snapshot.connection().prepare_cached(select)?;
    let mut rows = statement.query(params![after, TAIL_ROWS])?;
    let (mut lines, mut next) = (Vec::new(), after);
    while lines.len() < limit.clamp(1, MAX_LIMIT)
        && let Some(row) = rows.next()?
    {
        next = row.get::<_, i64>(0)? + 1;
        let document: String = row.get(1)?;
        if snapshot.named()?.is_found(next - 1, scope, filter, &document) {
            lines.push(raw(document)?);
        }
    }
    Ok(TailPage { lines, place: TailPlace(Place::Row(next)) })
}
