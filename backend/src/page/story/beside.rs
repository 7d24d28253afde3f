//! Another request beside the one at hand, row by row, in words.

use store::Level;

use crate::line::Line;
use crate::links::page_path;
use crate::page::story::gather::First;
use crate::page::story::head::took;
use crate::page::story::others::Good;
use crate::page::story::path_with;
use crate::page::story::view::gap;
use crate::page::text::counted;
use crate::story::compare::{self, LINES_MAX, Row};
use crate::story::steps::steps;

/// What stands beside the request at hand.
#[derive(Debug)]
pub enum Beside {
    /// Another one.
    Other(Comparison),
    /// Nothing, and why.
    Nothing(String),
}

impl Beside {
    /// Of a request's first lines, and what was found to lay beside them.
    #[must_use]
    pub fn of(here: &First, good: &Good) -> Self {
        const NONE: &str = "Nothing to compare with:";
        match good {
            Good::One(id, first) if first.lines.is_empty() => {
                Self::Nothing(format!("{NONE} request {id} was not found."))
            }
            Good::One(id, first) => Self::Other(Comparison::of(id, here, first)),
            Good::NotStored => Self::Nothing(format!("{NONE} no successful request to this endpoint is stored.")),
            Good::AllSlow(looked_at) => Self::Nothing(format!(
                "{NONE} the {looked_at} nearest successful requests to this endpoint were slower than usual too."
            )),
        }
    }
}

/// A good request beside the one at hand.
#[derive(Debug)]
pub struct Comparison {
    /// The other's id.
    pub id: String,
    /// Its story.
    pub href: String,
    /// Row by row.
    pub rows: Vec<ComparedRow>,
    /// Where they part, in words.
    pub summary: String,
}

/// A row of a comparison.
#[derive(Debug)]
pub struct ComparedRow {
    /// What the request at hand says, and the time since the line before it.
    pub here: Option<(String, String)>,
    /// The same of the good one.
    pub good: Option<(String, String)>,
    /// `same`, `missing` or `extra`.
    pub kind: &'static str,
    /// Whether the two part here.
    pub parts: bool,
}

impl Comparison {
    /// Lays another request beside one.
    #[must_use]
    pub fn of(id: &str, here: &First, good: &First) -> Self {
        let is_short = |first: &First| first.is_cut && first.lines.len() < LINES_MAX;
        let is_cut = here.lines.len().max(good.lines.len()) > LINES_MAX || is_short(here) || is_short(good);
        // What is cut before that has no line to hold against the other's later ones.
        let most = [here, good].into_iter().filter(|first| is_short(first)).map(|first| first.lines.len()).min();
        let most = most.unwrap_or(LINES_MAX);
        let [here, good] = [here, good].map(|first| &first.lines[..first.lines.len().min(most)]);
        let rows = compare::align(here, good);
        let missing = rows.iter().filter(|row| row.here.is_none()).count() as u64;
        let extra = rows.iter().filter(|row| row.good.is_none()).count() as u64;
        let mut summary = match rows.iter().find(|row| row.parts) {
            Some(row) => format!("First difference: {}.", place(row, here, good)),
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
            summary.push_str(&format!(" Only the first {most} lines of each were compared."));
        }
        let text = |line: &Line| {
            let end = line
                .access
                .as_ref()
                .map(|access| format!(" → {} {} in {}", access.status_text(), access.outcome, took(access)));
            let grave =
                if line.level >= Some(Level::Warn) { format!("{}: ", line.level_name()) } else { String::new() };
            format!("{grave}{}{}", line.message, end.unwrap_or_default())
        };
        let (here_steps, good_steps) = (steps(here), steps(good));
        let shown = rows.iter().map(|row| ComparedRow {
            here: row.here.map(|at| (text(&here[at]), gap(&here_steps[at]))),
            good: row.good.map(|at| (text(&good[at]), gap(&good_steps[at]))),
            kind: match (row.here, row.good) {
                (Some(_), Some(_)) => "same",
                (None, _) => "missing",
                (_, None) => "extra",
            },
            parts: row.parts,
        });
        Self { id: id.to_owned(), href: page_path(id), rows: shown.collect(), summary }
    }

    /// The comparison's own address, from the story of `id`.
    #[must_use]
    pub fn own(&self, id: &str) -> String {
        path_with(id, &self.id)
    }
}

fn place(row: &Row, here: &[Line], good: &[Line]) -> String {
    let cut = |line: &Line| line.message.chars().take(80).collect::<String>();
    match (row.here.map(|at| &here[at]), row.good.map(|at| &good[at])) {
        (Some(line), None) => format!("“{}” (only in this request)", cut(line)),
        (None, Some(line)) => format!("“{}” (only in the successful request)", cut(line)),
        (Some(line), Some(_)) => format!("“{}” (different outcome)", cut(line)),
        (None, None) => String::new(),
    }
}
