//! Exporting the lines of an embedded store.

/// The position at which a page of an export begins. The default is the first line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExportCursor(pub(crate) i64);

/// A page of lines in the order in which the store received them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ExportPage {
    /// The stored documents: a few megabytes, or a single longer one.
    pub lines: Vec<String>,
    /// Cursor of the next page; `None` on the last page.
    pub next: Option<ExportCursor>,
    /// Progress, from 0 to 1.
    pub done: f64,
}
