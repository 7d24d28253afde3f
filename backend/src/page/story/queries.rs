//! Queries for the lines of a request and for facts about all of them. Each query is bounded, and reports what a bound leaves out.

use store::{Cursor, Facet, Field, Filter, Level, Order, Search, Selection};

use crate::access::{ReadError, View};
use crate::answers::{self, HTML_PAGE, SIDE_QUERY};
use crate::line::Line;
use crate::page::story::summary::Summary;

/// Maximum lines of one page of a request. A page has fewer if they exceed [`answers::HTML_PAGE_BYTES_MAX`].
pub const LINES_MAX: usize = store::MAX_LIMIT;

/// Maximum access lines read of a request with several pages, newest first.
const ACCESS_LINES_MAX: usize = 100;

/// Maximum services and projects named of such a request.
const NAMES_MAX: usize = 20;

/// The cursors of a page of a request and of its neighbours.
#[derive(Clone, Copy, Debug, Default)]
pub struct Neighbours {
    /// The cursor of this page.
    pub here: Option<Cursor>,
    /// The cursor of the previous page; none on the first.
    pub previous: Option<Option<Cursor>>,
    /// The cursor of the next page.
    pub next: Option<Cursor>,
}

impl Neighbours {
    /// Whether the request has other pages.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        self.here.is_some() || self.next.is_some()
    }
}

/// The first lines of a request.
#[derive(Clone, Debug, Default)]
pub struct FirstLines {
    /// Oldest first.
    pub lines: Vec<Line>,
    /// Whether the request has more lines.
    pub is_cut: bool,
}

/// A request's first lines, at most [`LINES_MAX`].
///
/// # Errors
/// The reader's rights ended, or the store does not respond.
pub async fn first_lines(view: View<'_>, id: &str) -> Result<FirstLines, ReadError> {
    let page = answers::search(view, &all_lines(id), SIDE_QUERY).await?;
    let lines = page.lines.iter().map(|line| Line::parse(line.get())).collect();
    Ok(FirstLines { lines, is_cut: page.next.is_some() })
}

/// A search for all lines of a request, oldest first.
fn all_lines(id: &str) -> Search {
    Search { order: Order::OldestFirst, limit: LINES_MAX, ..Search::new(Filter::request(id)) }
}

/// A page of a request's lines, oldest first, and its neighbours.
///
/// # Errors
/// The reader's rights ended, or the store does not respond.
pub async fn page(view: View<'_>, id: &str, here: Option<Cursor>) -> Result<(Vec<Line>, Neighbours), ReadError> {
    let search = Search { cursor: here, ..all_lines(id) };
    let page = answers::search(view, &search, HTML_PAGE).await?;
    let mut neighbours = Neighbours { here, previous: None, next: page.next };
    if here.is_some() {
        // A cursor is the position of a line. A search backwards from this page's cursor ends at the cursor of the
        // previous page. If lines are long, that page may end before this one starts, or overlap it.
        let back = Search { order: Order::NewestFirst, ..search };
        neighbours.previous = Some(answers::search(view, &back, HTML_PAGE).await?.next);
    }
    Ok((page.lines.iter().map(|line| Line::parse(line.get())).collect(), neighbours))
}

/// The summary of a request with several pages.
///
/// # Errors
/// The reader's rights ended, or the store does not respond.
pub async fn summary(view: View<'_>, id: &str) -> Result<Summary, ReadError> {
    let some = async |filter: Filter, order: Order, limit: usize| -> Result<Vec<Line>, ReadError> {
        let page = answers::search(view, &Search { order, limit, ..Search::new(filter) }, SIDE_QUERY).await?;
        Ok(page.lines.iter().map(|line| Line::parse(line.get())).collect())
    };
    let request = Filter::request(id);
    let access_lines =
        some(Filter::All(vec![request.clone(), Filter::access_lines()]), Order::NewestFirst, ACCESS_LINES_MAX).await?;
    let mut sides = some(request.clone(), Order::OldestFirst, 1).await?;
    sides.extend(some(request.clone(), Order::NewestFirst, 1).await?);
    sides.extend(access_lines);
    let selection = Selection { filter: request.clone(), from: None, to: None };
    let fields = [Field::Level, Field::Service, Field::ProjectId].map(Facet::Field);
    let counts = view.facets(&selection, &fields, NAMES_MAX).await?;
    let names = |place: usize| {
        let facet = counts.facets.get(place);
        let names = facet.into_iter().flat_map(|facet| &facet.values).map(|(name, _)| name.clone());
        names.chain(facet.filter(|facet| facet.others > 0).map(|_| "others".to_owned()))
    };
    let highest = names(0).filter_map(|name| name.parse().ok()).max();
    let errors = Filter::All(vec![request, Filter::levels([Level::Error])]);
    let error = some(errors, Order::OldestFirst, 1).await?;
    Ok(Summary {
        lines: counts.lines,
        highest,
        error: error.into_iter().next(),
        services: names(1).collect(),
        projects: names(2).collect(),
        ..Summary::from_lines(&sides)
    })
}

/// Whether a request has any line.
///
/// # Errors
/// The reader's rights ended, or the store does not respond.
pub async fn exists(view: View<'_>, id: &str) -> Result<bool, ReadError> {
    let search = Search { limit: 1, ..Search::new(Filter::request(id)) };
    Ok(!view.search(&search).await?.lines.is_empty())
}
