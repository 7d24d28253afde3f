//! Asks the store for the lines of a request, and for what holds of all of them. Each question is bounded, and what a bound
//! leaves out is told.

use store::{Cursor, Facet, Field, Filter, Level, Order, Search, Selection};

use crate::access::{ReadError, View};
use crate::answers::{self, LOOKED_AT, SHOWN};
use crate::line::{Access, Line};
use crate::page::story::head::Head;

/// The most lines in one part of a story. A part has fewer if they exceed [`answers::SHOWN_BYTES_MAX`].
pub const LINES_MAX: usize = store::MAX_LIMIT;

/// Access lines of a request of several parts that are looked at, the newest.
const ENDS_MAX: usize = 100;

/// Services and projects of such a request that are named.
const NAMES_MAX: usize = 20;

/// Where the lines before those at hand are, and those after them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Neighbours {
    /// What these were asked with.
    pub here: Option<Cursor>,
    /// What those before them are to be asked with; none where these are the first.
    pub previous: Option<Option<Cursor>>,
    /// What those after them are to be asked with.
    pub next: Option<Cursor>,
}

impl Neighbours {
    /// Whether there are any.
    #[must_use]
    pub fn is_part(&self) -> bool {
        self.here.is_some() || self.next.is_some()
    }
}

/// The first lines of a request.
#[derive(Clone, Debug, Default)]
pub struct First {
    /// Oldest first.
    pub lines: Vec<Line>,
    /// Whether it has more.
    pub is_cut: bool,
}

/// A request's first lines, at most [`LINES_MAX`].
///
/// # Errors
/// The reader may not go on, or the store does not answer.
pub async fn first(view: View<'_>, id: &str) -> Result<First, ReadError> {
    let page = answers::search(view, &of_request(id), LOOKED_AT).await?;
    let lines = page.lines.iter().map(|line| Line::read(line.get())).collect();
    Ok(First { lines, is_cut: page.next.is_some() })
}

/// All lines of a request, oldest first.
fn of_request(id: &str) -> Search {
    Search { order: Order::OldestFirst, limit: LINES_MAX, ..Search::new(Filter::request(id)) }
}

/// A request's lines after a place, at most [`LINES_MAX`], oldest first, and where the others are.
///
/// # Errors
/// The reader may not go on, or the store does not answer.
pub async fn part(view: View<'_>, id: &str, here: Option<Cursor>) -> Result<(Vec<Line>, Neighbours), ReadError> {
    let search = Search { cursor: here, ..of_request(id) };
    let page = answers::search(view, &search, SHOWN).await?;
    let mut neighbours = Neighbours { here, previous: None, next: page.next };
    if here.is_some() {
        // A cursor is a line's place. Backwards from the line that these come after, a whole part less that line, is the
        // last line of the part before that one, which is what the part before these comes after. Where lines are long,
        // that part may end before this one or within it.
        let back = Search { order: Order::NewestFirst, ..search };
        neighbours.previous = Some(answers::search(view, &back, SHOWN).await?.next);
    }
    Ok((page.lines.iter().map(|line| Line::read(line.get())).collect(), neighbours))
}

/// What holds of a request of whose lines only a part is at hand.
///
/// # Errors
/// The reader may not go on, or the store does not answer.
pub async fn head(view: View<'_>, id: &str) -> Result<Head, ReadError> {
    let some = async |filter: Filter, order: Order, limit: usize| -> Result<Vec<Line>, ReadError> {
        let page = answers::search(view, &Search { order, limit, ..Search::new(filter) }, LOOKED_AT).await?;
        Ok(page.lines.iter().map(|line| Line::read(line.get())).collect())
    };
    let of_request = Filter::request(id);
    let ends =
        some(Filter::All(vec![of_request.clone(), Filter::access_lines()]), Order::NewestFirst, ENDS_MAX).await?;
    let mut sides = some(of_request.clone(), Order::OldestFirst, 1).await?;
    sides.extend(some(of_request.clone(), Order::NewestFirst, 1).await?);
    sides.extend(ends);
    let selection = Selection { filter: of_request.clone(), from: None, to: None };
    let fields = [Field::Level, Field::Service, Field::ProjectId].map(Facet::Field);
    let counts = view.facets(&selection, &fields, NAMES_MAX).await?;
    let names = |place: usize| {
        let facet = counts.facets.get(place);
        let names = facet.into_iter().flat_map(|facet| &facet.values).map(|(name, _)| name.clone());
        names.chain(facet.filter(|facet| facet.others > 0).map(|_| "others".to_owned()))
    };
    let worst = names(0).filter_map(|name| name.parse().ok()).max();
    let errors = Filter::All(vec![of_request, Filter::levels([Level::Error])]);
    let error = some(errors, Order::OldestFirst, 1).await?;
    Ok(Head {
        lines: counts.lines,
        worst,
        error: error.into_iter().next(),
        services: names(1).collect(),
        projects: names(2).collect(),
        ..Head::of(&sides)
    })
}

/// Whether a request has a line at all.
///
/// # Errors
/// The reader may not go on, or the store does not answer.
pub async fn is_there(view: View<'_>, id: &str) -> Result<bool, ReadError> {
    let search = Search { limit: 1, ..Search::new(Filter::request(id)) };
    Ok(!view.search(&search).await?.lines.is_empty())
}

/// The line that tells how a request ended; of several, that of the outermost service, which took longest.
#[must_use]
pub fn end(lines: &[Line]) -> Option<(&Line, &Access)> {
    let ends = lines.iter().filter_map(|line| Some((line, line.access.as_ref()?)));
    ends.max_by_key(|(_, access)| access.took_us())
}
