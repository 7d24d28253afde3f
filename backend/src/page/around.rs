//! `/sources/{generation}/{offset}`: the lines around a line in its source.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;
use store::search::AROUND_MAX_BYTES;
use store::{GenerationId, PageLimits, SourceLine, Store};
use utoipa::IntoParams;

use crate::access::Reader;
use crate::answers::HTML_PAGE_BYTES_MAX;
use crate::line::Line;
use crate::line_query::url::{NoLines, UrlParams, parse_number};
use crate::page::text::counted;
use crate::page::{self, Head, Menu};
use crate::problem::Problem;

/// Default number of lines in each direction.
const LINES: usize = 20;

/// Maximum number of lines in each direction.
pub const LINES_MAX: usize = 500;

/// How many more lines a link asks for.
const MORE: usize = 50;

/// The route's parameters.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct AroundPageParams {
    /// Lines before the line.
    before: Option<String>,
    /// Lines after the line.
    after: Option<String>,
    /// `1` if the offset is not that of a line, but where an earlier lookup stopped.
    resume: Option<String>,
}

#[derive(Template)]
#[template(path = "around.html")]
struct AroundPage<'a> {
    head: Head<'a>,
    source: String,
    lines: Vec<Shown>,
    earlier: Option<Lead>,
    later: Option<Lead>,
}

struct Shown {
    line: Line,
    /// Whether this is the requested line.
    anchor: bool,
    /// Bytes between the previous line and this one that no shown line covers.
    gap: Option<u64>,
}

/// A link to more lines in one direction.
#[derive(Debug, PartialEq, Eq)]
struct Lead {
    href: String,
    /// Why there are no more lines here, unless the requested number was reached.
    note: Option<String>,
}

/// The result in one direction.
#[derive(Clone, Copy, Debug)]
struct SideFound {
    /// Number of requested lines.
    requested: usize,
    /// Number of found lines.
    lines: usize,
    /// Offset of the outermost line.
    outermost: u64,
    /// Offset to continue at, if the lookup stopped early.
    ended_at: Option<u64>,
}

/// `GET /sources/{generation}/{offset}`
///
/// # Errors
/// 400 for an invalid parameter, 404 if the reader sees no line at the offset, 503 or 504 if the store does not
/// respond.
pub async fn show(
    store: web::Data<Store>,
    reader: Reader,
    place: web::Path<(String, u64)>,
    UrlParams(_, params): UrlParams<NoLines, AroundPageParams>,
) -> Result<HttpResponse, Problem> {
    let (generation, offset) = place.into_inner();
    let generation: GenerationId =
        generation.parse().map_err(|_| Problem::bad_request("invalid generation: expected 32 hexadecimal digits"))?;
    let before = parse_number("before", params.before.as_deref(), LINES, 0..=LINES_MAX)?;
    let after = parse_number("after", params.after.as_deref(), LINES, 0..=LINES_MAX)?;
    let limits = |lines| PageLimits { lines, bytes: HTML_PAGE_BYTES_MAX / 2 };
    let found = reader.view(&store).around(generation, offset, (limits(before), limits(after))).await?;
    let here = found.lines.iter().position(|line| line.offset == offset);
    if here.is_none() && params.resume.is_none() {
        return Err(Problem::new(StatusCode::NOT_FOUND, "no line at this offset, or your token cannot see it"));
    }
    let outermost = |line: Option<&SourceLine>| line.map_or(offset, |line| line.offset);
    let is_before = |line: &&SourceLine| line.offset < offset;
    let lines_before = found.lines.iter().filter(is_before).count();
    let sides = [
        SideFound {
            requested: before,
            lines: lines_before,
            outermost: outermost(found.lines.first()),
            ended_at: found.earlier,
        },
        SideFound {
            requested: after,
            lines: (found.lines.len() - lines_before).saturating_sub(1),
            outermost: outermost(found.lines.last()),
            ended_at: found.later,
        },
    ];
    let [earlier, later] = [0, 1].map(|side| lead(generation, offset, here.is_some(), sides, side));
    let lines: Vec<_> = found.lines.iter().map(|found| Line::parse(found.line.get())).collect();
    let source = lines.iter().find_map(|line| line.origin.as_ref()).map(|origin| origin.source.clone());
    let mut reached = None;
    let shown = lines.into_iter().enumerate().map(|(place, line)| {
        let origin = line.origin.as_ref().map(|origin| (origin.offset, origin.offset.saturating_add(origin.length)));
        let gap = origin.zip(reached).and_then(|((start, _), end): ((u64, u64), u64)| start.checked_sub(end));
        reached = origin.map(|(_, end)| end);
        Shown { line, anchor: Some(place) == here, gap: gap.filter(|gap| *gap > 0) }
    });
    let page = AroundPage {
        head: Head::new("Surrounding lines", Menu::Other, &reader),
        source: source.unwrap_or_else(|| "Source".to_owned()),
        lines: shown.collect(),
        earlier,
        later,
    };
    page::html(StatusCode::OK, &page)
}

/// The link to more lines in a direction, 0 for before and 1 for after.
fn lead(generation: GenerationId, offset: u64, is_line: bool, sides: [SideFound; 2], side: usize) -> Option<Lead> {
    let found = sides[side];
    let one_sided = |place: u64, lines: usize, on: &str| {
        let (before, after) = if side == 0 { (lines, 0) } else { (0, lines) };
        format!("/sources/{generation}/{place}?before={before}&after={after}{on}#anchor")
    };
    let mib = AROUND_MAX_BYTES / (1024 * 1024);
    if let Some(place) = found.ended_at {
        let words = if side == 0 { "before" } else { "after" };
        // It continues right at the outermost line, so the page was full.
        let is_full = place == found.outermost || place == found.outermost + 1;
        let note = if is_full {
            format!("The lines {words} this offset are too long to show more of them on this page.")
        } else {
            format!(
                "The {mib} MiB {words} this offset hold {} that you can see; nothing further was checked.",
                if found.lines == 0 { "no line".to_owned() } else { counted(found.lines as u64, "line", "lines") }
            )
        };
        return Some(Lead { href: one_sided(place, MORE, "&resume=1"), note: Some(note) });
    }
    if found.lines < found.requested || found.requested == 0 && found.lines == 0 && !is_line {
        return None;
    }
    if found.requested < LINES_MAX && is_line {
        let more = |of: usize| if of == side { sides[of].requested + MORE } else { sides[of].requested }.min(LINES_MAX);
        let href = format!("/sources/{generation}/{offset}?before={}&after={}#anchor", more(0), more(1));
        return Some(Lead { href, note: None });
    }
    let note = is_line.then(|| {
        format!("A page shows at most {LINES_MAX} lines in each direction; the next page starts with this line.")
    });
    Some(Lead { href: one_sided(found.outermost, MORE, ""), note })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lead_of(is_line: bool, side: usize, found: SideFound) -> Option<(String, bool)> {
        let other = SideFound { requested: 20, lines: 3, outermost: 900, ended_at: None };
        let sides = if side == 0 { [found, other] } else { [other, found] };
        let generation = "0193a1b2c3d4e5f60718293a4b5c6d7e".parse().unwrap();
        let lead = lead(generation, 500, is_line, sides, side)?;
        let path = lead.href.strip_prefix(&format!("/sources/{generation}/")).unwrap().to_owned();
        Some((path, lead.note.is_some()))
    }

    #[test]
    fn there_is_always_a_link_to_more_lines() {
        let found = |requested, lines, ended_at| SideFound { requested, lines, outermost: 100, ended_at };
        let more = |path: &str, has_note| Some((format!("{path}#anchor"), has_note));
        assert_eq!(lead_of(true, 0, found(20, 3, None)), None);
        assert_eq!(lead_of(true, 0, found(20, 20, None)), more("500?before=70&after=20", false));
        assert_eq!(lead_of(true, 1, found(480, 480, None)), more("500?before=20&after=500", false));
        assert_eq!(lead_of(true, 0, found(500, 500, None)), more("100?before=50&after=0", true));
        assert_eq!(lead_of(true, 0, found(20, 0, Some(40))), more("40?before=50&after=0&resume=1", true));
        assert_eq!(lead_of(false, 1, found(50, 7, Some(700))), more("700?before=0&after=50&resume=1", true));
        assert_eq!(lead_of(true, 0, found(20, 2, Some(100))), more("100?before=50&after=0&resume=1", true));
        assert_eq!(lead_of(false, 0, found(50, 50, None)), more("100?before=50&after=0", false));
        assert_eq!(lead_of(false, 1, found(0, 0, None)), None);
    }
}
