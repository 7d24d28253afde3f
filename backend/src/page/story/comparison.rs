//! A request compared with another one, row by row, as text.

use store::Level;

use crate::line::Line;
use crate::page::story::queries::FirstLines;
use crate::page::story::related::Reference;
use crate::page::story::summary::duration;
use crate::page::text::{counted, gap};
use crate::paths::{encode, request_page};
use crate::story::compare::{self, LINES_MAX, Row};
use crate::story::steps::steps;

/// The result of a comparison.
#[derive(Debug)]
pub enum Comparison {
    /// The differences from another request.
    Rows(ComparedRequest),
    /// There is nothing to compare with, and why.
    Nothing(String),
}

impl Comparison {
    /// Compares the first lines of a request with a reference.
    #[must_use]
    pub fn new(here: &FirstLines, reference: &Reference) -> Self {
        const NONE: &str = "Nothing to compare with:";
        match reference {
            Reference::Found(id, first) if first.lines.is_empty() => {
                Self::Nothing(format!("{NONE} request {id} was not found."))
            }
            Reference::Found(id, first) => Self::Rows(ComparedRequest::new(id, here, first)),
            Reference::NotStored => Self::Nothing(format!("{NONE} no successful request to this endpoint is stored.")),
            Reference::AllSlow(checked) => Self::Nothing(format!(
                "{NONE} the {checked} nearest successful requests to this endpoint were slower than usual too."
            )),
        }
    }
}

/// The differences between this request and another.
#[derive(Debug)]
pub struct ComparedRequest {
    /// The other request's ID.
    pub id: String,
    /// The other request's page.
    pub href: String,
    /// The aligned lines of both.
    pub rows: Vec<ComparedRow>,
    /// The first difference, as text.
    pub summary: String,
}

/// A row of a comparison.
#[derive(Debug)]
pub struct ComparedRow {
    /// The line of this request, and the time since the line before it.
    pub here: Option<(String, String)>,
    /// The same of the other request.
    pub other: Option<(String, String)>,
    /// `same`, `missing` or `extra`.
    pub kind: &'static str,
    /// Whether this is the first difference.
    pub is_first_difference: bool,
}

impl ComparedRequest {
    /// Compares a request with another.
    #[must_use]
    pub fn new(id: &str, here: &FirstLines, other: &FirstLines) -> Self {
        let is_short = |first: &FirstLines| first.is_cut && first.lines.len() < LINES_MAX;
        let is_cut = here.lines.len().max(other.lines.len()) > LINES_MAX || is_short(here) || is_short(other);
        // Lines beyond the shorter cut have nothing to be compared with.
        let limit = [here, other].into_iter().filter(|first| is_short(first)).map(|first| first.lines.len()).min();
        let limit = limit.unwrap_or(LINES_MAX);
        let [here, other] = [here, other].map(|first| &first.lines[..first.lines.len().min(limit)]);
        let rows = compare::align(here, other);
        let missing = rows.iter().filter(|row| row.here.is_none()).count() as u64;
        let extra = rows.iter().filter(|row| row.other.is_none()).count() as u64;
        let mut summary = match rows.iter().find(|row| row.is_first_difference) {
            Some(row) => format!("First difference: {}.", difference(row, here, other)),
            None if is_cut => "Same steps as far as compared.".to_owned(),
            None => "Same steps, same result.".to_owned(),
        };
        if missing + extra > 0 {
            summary.push_str(&format!(
                " {} missing from this request, {} missing from the successful one.",
                counted(missing, "line", "lines"),
                counted(extra, "line", "lines"),
            ));
        }
        if is_cut {
            summary.push_str(&format!(" Only the first {limit} lines of each were compared."));
        }
        let text = |line: &Line| {
            let end = line
                .access
                .as_ref()
                .map(|access| format!(" → {} {} in {}", access.status_text(), access.outcome, duration(access)));
            let level =
                if line.level >= Some(Level::Warn) { format!("{}: ", line.level_name()) } else { String::new() };
            format!("{level}{}{}", line.message, end.unwrap_or_default())
        };
        let (here_steps, other_steps) = (steps(here), steps(other));
        let shown = rows.iter().map(|row| ComparedRow {
            here: row.here.map(|at| (text(&here[at]), gap(here_steps[at].gap_us))),
            other: row.other.map(|at| (text(&other[at]), gap(other_steps[at].gap_us))),
            kind: match (row.here, row.other) {
                (Some(_), Some(_)) => "same",
                (None, _) => "missing",
                (_, None) => "extra",
            },
            is_first_difference: row.is_first_difference,
        });
        Self { id: id.to_owned(), href: request_page(id), rows: shown.collect(), summary }
    }

    /// The URL of this comparison on the page of `id`.
    #[must_use]
    pub fn permalink(&self, id: &str) -> String {
        format!("{}?compare={}#compare", request_page(id), encode(&self.id))
    }
}

fn difference(row: &Row, here: &[Line], other: &[Line]) -> String {
    let cut = |line: &Line| line.message.chars().take(80).collect::<String>();
    match (row.here.map(|at| &here[at]), row.other.map(|at| &other[at])) {
        (Some(line), None) => format!("“{}” (only in this request)", cut(line)),
        (None, Some(line)) => format!("“{}” (only in the successful request)", cut(line)),
        (Some(line), Some(_)) => format!("“{}” (different outcome)", cut(line)),
        (None, None) => String::new(),
    }
}
