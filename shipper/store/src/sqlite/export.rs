//! Returns lines in the order of arrival, one page at a time.

use crate::counts::Selection;
use crate::export::{ExportPage, ExportPlace};
use crate::scope::Scope;
use crate::sqlite::snapshot::Snapshot;
use crate::timestamp::Timestamp;

/// A page ends when its lines exceed this size in bytes; one line always fits.
const PAGE_BYTES: usize = 4 * 1024 * 1024;

/// Maximum number of chunks that a page examines.
const STRETCHES_MAX: usize = 64;

pub(crate) fn export(
    snapshot: &Snapshot<'_>,
    selection: &Selection,
    place: ExportPlace,
) -> rusqlite::Result<ExportPage> {
    let (from, to) = (selection.from.map(Timestamp::unix_micros), selection.to.map(Timestamp::unix_micros));
    let stretches = snapshot.stretches(&Scope::All, &selection.filter, from, to)?;
    let first = stretches.first().map_or(0, |stretch| stretch.info().first);
    let end = stretches.last().map_or(0, |stretch| stretch.info().end());
    let mut page = ExportPage { lines: Vec::new(), next: None, done: 1.0 };
    let mut bytes = 0;
    let rest = stretches.iter().filter(|stretch| stretch.info().end() > place.0);
    for (number, stretch) in rest.enumerate() {
        let info = stretch.info();
        if number == STRETCHES_MAX {
            return Ok(goes_on(page, info.first, first, end));
        }
        let mut found = snapshot.found(stretch, &Scope::All, &selection.filter)?;
        if let Some(within) = snapshot.within(stretch, from, to)? {
            found.maybe.and(&within);
        }
        for at in found.maybe.iter() {
            let id = info.first + i64::try_from(at).unwrap_or(i64::MAX);
            if id < place.0 {
                continue;
            }
            let Some(row) = snapshot.row(id)? else { continue };
            if !found.surely.has(at) && !snapshot.named()?.is_found(id, &Scope::All, &selection.filter, &row.document) {
                continue;
            }
            bytes += row.document.len();
            if bytes > PAGE_BYTES && !page.lines.is_empty() {
                return Ok(goes_on(page, id, first, end));
            }
            page.lines.push(row.document);
        }
    }
    Ok(page)
}

/// Returns a page that ends before the line with the id `next`. `first` and `end` delimit all lines to export.
#[expect(clippy::cast_precision_loss, reason = "a part for people")]
fn goes_on(page: ExportPage, next: i64, first: i64, end: i64) -> ExportPage {
    let done = (next - first) as f64 / (end - first).max(1) as f64;
    ExportPage { next: Some(ExportPlace(next)), done, ..page }
}
