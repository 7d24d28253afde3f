//! Returns lines in the order of arrival, one page at a time.

use crate::counts::Selection;
use crate::export::{ExportCursor, ExportPage};
use crate::scope::Scope;
use crate::sqlite::snapshot::Snapshot;
use crate::timestamp::Timestamp;

/// A page ends when its lines exceed this size in bytes; one line always fits.
const PAGE_BYTES: usize = 4 * 1024 * 1024;

/// Maximum number of chunks that a page examines.
const CHUNKS_MAX: usize = 64;

pub(crate) fn export(
    snapshot: &Snapshot<'_>,
    selection: &Selection,
    cursor: ExportCursor,
) -> rusqlite::Result<ExportPage> {
    let (from, to) = (selection.from.map(Timestamp::unix_micros), selection.to.map(Timestamp::unix_micros));
    let chunks = snapshot.chunks(&Scope::All, &selection.filter, from, to)?;
    let first = chunks.first().map_or(0, |chunk| chunk.info().first);
    let end = chunks.last().map_or(0, |chunk| chunk.info().end());
    let mut page = ExportPage { lines: Vec::new(), next: None, done: 1.0 };
    let mut bytes = 0;
    let rest = chunks.iter().filter(|chunk| chunk.info().end() > cursor.0);
    for (number, chunk) in rest.enumerate() {
        let info = chunk.info();
        if number == CHUNKS_MAX {
            return Ok(unfinished(page, info.first, first, end));
        }
        let mut found = snapshot.matches(chunk, &Scope::All, &selection.filter)?;
        if let Some(within) = snapshot.within(chunk, from, to)? {
            found.possible.and(&within);
        }
        for index in found.possible.iter() {
            let id = info.first + i64::try_from(index).unwrap_or(i64::MAX);
            if id < cursor.0 {
                continue;
            }
            let Some(row) = snapshot.row(id)? else { continue };
            if !found.certain.has(index)
                && !snapshot.indexed_fields()?.is_match(id, &Scope::All, &selection.filter, &row.document)
            {
                continue;
            }
            bytes += row.document.len();
            if bytes > PAGE_BYTES && !page.lines.is_empty() {
                return Ok(unfinished(page, id, first, end));
            }
            page.lines.push(row.document);
        }
    }
    Ok(page)
}

/// Returns a page that ends before the line with the id `next`. `first` and `end` delimit all lines to export.
#[expect(clippy::cast_precision_loss, reason = "a part for people")]
fn unfinished(page: ExportPage, next: i64, first: i64, end: i64) -> ExportPage {
    let done = (next - first) as f64 / (end - first).max(1) as f64;
    ExportPage { next: Some(ExportCursor(next)), done, ..page }
}
