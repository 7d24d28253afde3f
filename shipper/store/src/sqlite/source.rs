//! Lines in the order of their source, and in the order of arrival.

use std::ops::Range;

use rusqlite::{OptionalExtension as _, params};

use crate::id::{GenerationId, MAX_OFFSET};
use crate::query::{DocumentFields, Field, Filter};
use crate::scope::Scope;
use crate::search::{AROUND_MAX_BYTES, Around, MAX_LIMIT, MAX_PAGE_BYTES, PageLimits, SourceLine};
use crate::sqlite::search::raw_value;
use crate::sqlite::snapshot::Snapshot;
use crate::tail::{TailCursor, TailPage, TailPosition};

/// Maximum number of rows that one page of a tail examines.
const TAIL_ROWS: i64 = 20_000;

/// Returns the lines of a source around an offset.
pub(crate) fn around(
    snapshot: &Snapshot<'_>,
    scope: &Scope,
    generation: GenerationId,
    offset: u64,
    (before, after): (PageLimits, PageLimits),
) -> rusqlite::Result<Around> {
    let offset = offset.min(MAX_OFFSET + 1);
    let sees_all = *scope == Scope::All;
    let reach = if sees_all { MAX_OFFSET + 1 } else { AROUND_MAX_BYTES };
    let (start, end) = (offset.saturating_sub(reach), offset.saturating_add(reach).min(MAX_OFFSET + 1));
    let before = PageLimits { lines: before.lines.min(MAX_LIMIT), ..before };
    let after = PageLimits { lines: after.lines.min(MAX_LIMIT) + 1, ..after };
    let find = "SELECT id FROM sources WHERE generation = ?1";
    let source = snapshot.connection().query_row(find, [generation.as_str()], |row| row.get(0)).optional()?;
    let side = |range: Range<u64>, order: &str, limits: PageLimits| match source {
        Some(source) => side(snapshot, scope, source, &range, order, limits),
        None => Ok(Side::default()),
    };
    let preceding = side(start..offset, "DESC", before)?;
    let following = side(offset..end, "ASC", after)?;
    let cut = |side: &Side| side.is_cut.then(|| side.lines.last().map(|line| line.offset)).flatten();
    let (cut_before, cut_after) = (cut(&preceding), cut(&following).map(|offset| offset + 1));
    // Whether there are more lines is not looked up: it would reveal that the source, or hidden lines, exist.
    let earlier = (!sees_all && preceding.lines.len() < before.lines && start > 0).then_some(start);
    let later = (!sees_all && following.lines.len() < after.lines && end <= MAX_OFFSET).then_some(end);
    let lines = preceding.lines.into_iter().rev().chain(following.lines).collect();
    Ok(Around { lines, earlier: cut_before.or(earlier), later: cut_after.or(later) })
}

/// Lines before or after the offset.
#[derive(Default)]
struct Side {
    lines: Vec<SourceLine>,
    /// Whether the next line did not fit.
    is_cut: bool,
}

/// Returns the visible lines in a range of a source, starting from one of its ends.
fn side(
    snapshot: &Snapshot<'_>,
    scope: &Scope,
    source: i64,
    range: &Range<u64>,
    order: &str,
    limits: PageLimits,
) -> rusqlite::Result<Side> {
    let sql = format!(
        r#"SELECT "offset", document FROM logs WHERE source = ?1 AND "offset" >= ?2 AND "offset" < ?3 ORDER BY "offset" {order}"#
    );
    let mut statement = snapshot.connection().prepare_cached(&sql)?;
    let mut rows = statement.query([source, range.start.cast_signed(), range.end.cast_signed()])?;
    let (mut side, mut left) = (Side::default(), limits.bytes.min(MAX_PAGE_BYTES));
    while side.lines.len() < limits.lines
        && let Some(row) = rows.next()?
    {
        let document: String = row.get(1)?;
        if *scope == Scope::All || scope.sees(DocumentFields::parse(&document).value(Field::ProjectId)) {
            side.is_cut = document.len() > left && !side.lines.is_empty();
            if side.is_cut {
                break;
            }
            left = left.saturating_sub(document.len());
            side.lines.push(SourceLine { offset: row.get::<_, i64>(0)?.cast_unsigned(), line: raw_value(document)? });
        }
    }
    Ok(side)
}

/// Returns the lines after a cursor. A cursor contains the id of the next row; ids start at 0.
pub(crate) fn tail(
    snapshot: &Snapshot<'_>,
    scope: &Scope,
    filter: &Filter,
    cursor: Option<&TailCursor>,
    limits: PageLimits,
) -> rusqlite::Result<TailPage> {
    // A cursor before the first row is 0.
    let ends = |end: &str| snapshot.connection().query_row(end, [], |row| row.get::<_, i64>(0));
    let newest = ends("SELECT coalesce(max(id) + 1, 0) FROM logs")?;
    let after = match cursor {
        // A cursor beyond the newest row is from another file.
        Some(TailCursor(TailPosition::Row(row))) if *row <= newest => *row,
        _ => {
            let newest_cursor = TailCursor(TailPosition::Row(newest));
            return Ok(TailPage { lines: Vec::new(), cursor: newest_cursor, more: false, gap: cursor.is_some() });
        }
    };
    // With a restricted scope, removed lines are not reported: they may all have been hidden ones.
    let gap = *scope == Scope::All && after < ends("SELECT coalesce(min(id), 0) FROM logs")?;
    let select = "SELECT id, document FROM logs WHERE id >= ?1 ORDER BY id LIMIT ?2";
    let mut statement = snapshot.connection().prepare_cached(select)?;
    let mut rows = statement.query(params![after, TAIL_ROWS])?;
    let (mut lines, mut next, mut left) = (Vec::new(), after, limits.bytes.min(MAX_PAGE_BYTES));
    while lines.len() < limits.lines.clamp(1, MAX_LIMIT)
        && let Some(row) = rows.next()?
    {
        let (id, document): (i64, String) = (row.get(0)?, row.get(1)?);
        if snapshot.indexed_fields()?.is_match(id, scope, filter, &document) {
            if document.len() > left && !lines.is_empty() {
                break;
            }
            left = left.saturating_sub(document.len());
            lines.push(raw_value(document)?);
        }
        next = id + 1;
    }
    Ok(TailPage { lines, cursor: TailCursor(TailPosition::Row(next)), more: next < newest, gap })
}
