//! Lines in the order of their source, and lines in the order in which they came.

use std::ops::Range;

use rusqlite::{OptionalExtension as _, params};

use crate::id::{GenerationId, MAX_OFFSET};
use crate::query::{Facts, Field, Filter};
use crate::scope::Scope;
use crate::search::{AROUND_MAX_BYTES, Around, MAX_LIMIT, SourceLine};
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
) -> rusqlite::Result<Around> {
    let offset = offset.min(MAX_OFFSET + 1);
    let sees_all = *scope == Scope::All;
    let most = if sees_all { MAX_OFFSET + 1 } else { AROUND_MAX_BYTES };
    let (start, end) = (offset.saturating_sub(most), offset.saturating_add(most).min(MAX_OFFSET + 1));
    let (before, after) = (before.min(MAX_LIMIT), after.min(MAX_LIMIT) + 1);
    let find = "SELECT id FROM sources WHERE generation = ?1";
    let source = snapshot.connection().query_row(find, [generation.as_str()], |row| row.get(0)).optional()?;
    let side = |range: Range<u64>, order: &str, limit: usize| match source {
        Some(source) => side(snapshot, scope, source, &range, order, limit),
        None => Ok(Vec::new()),
    };
    let mut lines = side(start..offset, "DESC", before)?;
    lines.reverse();
    let found_before = lines.len();
    lines.extend(side(offset..end, "ASC", after)?);
    // Whether there is more is not looked up, which would tell of lines that are not to be seen, or of a source.
    let earlier = (!sees_all && found_before < before && start > 0).then_some(start);
    let later = (!sees_all && lines.len() - found_before < after && end <= MAX_OFFSET).then_some(end);
    Ok(Around { lines, earlier, later })
}

/// The lines of a part of a source that may be seen, from one of its ends on.
fn side(
    snapshot: &Snapshot<'_>,
    scope: &Scope,
    source: i64,
    range: &Range<u64>,
    order: &str,
    limit: usize,
) -> rusqlite::Result<Vec<SourceLine>> {
    let sql = format!(
        r#"SELECT "offset", document FROM logs WHERE source = ?1 AND "offset" >= ?2 AND "offset" < ?3 ORDER BY "offset" {order}"#
    );
    let mut statement = snapshot.connection().prepare_cached(&sql)?;
    let mut rows = statement.query([source, range.start.cast_signed(), range.end.cast_signed()])?;
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
    let ends = |end: &str| snapshot.connection().query_row(end, [], |row| row.get::<_, i64>(0));
    let newest = ends("SELECT coalesce(max(id) + 1, 0) FROM logs")?;
    let after = match place {
        // One beyond the newest row is of another file.
        Some(TailPlace(Place::Row(row))) if *row <= newest => *row,
        _ => {
            let place_of_newest = TailPlace(Place::Row(newest));
            return Ok(TailPage { lines: Vec::new(), place: place_of_newest, more: false, gap: place.is_some() });
        }
    };
    // Whoever may not see all lines is not told that some are gone: they may all have been others'.
    let gap = *scope == Scope::All && after < ends("SELECT coalesce(min(id), 0) FROM logs")?;
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
    Ok(TailPage { lines, place: TailPlace(Place::Row(next)), more: next < newest, gap })
}
