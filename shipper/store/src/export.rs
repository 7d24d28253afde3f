//! An embedded store's lines, all or some, to be written elsewhere.

/// Where a page of an export begins. The default is the first line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExportPlace(pub(crate) i64);

/// Some lines in the order in which they came.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ExportPage {
    /// Documents as the store holds them, a few megabytes of them or one.
    pub lines: Vec<String>,
    /// Where to go on; `None` when this is all.
    pub next: Option<ExportPlace>,
    /// How much of the store was looked at, as a part of 1.
    pub done: f64,
}
