//! `/sources/{generation}/{offset}`: what a source says before and after one of its lines.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;
use store::search::AROUND_MAX_BYTES;
use store::{GenerationId, PageLimits, SourceLine, Store};

use crate::access::Reader;
use crate::answers::SHOWN_BYTES_MAX;
use crate::ask::within;
use crate::line::Line;
use crate::page::text::counted;
use crate::page::{self, Failure, Head, Menu};
use crate::problem::Problem;

/// Lines of a side unless more are asked for.
const LINES: usize = 20;

/// Lines of a side at most.
pub const LINES_MAX: usize = 500;

/// How many lines more a link asks for.
const MORE: usize = 50;

/// How many lines.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Query {
    before: Option<String>,
    after: Option<String>,
    /// `1` where the place is not a line's, but where a look that ended early goes on.
    on: Option<u8>,
}

#[derive(Template)]
#[template(path = "around.html")]
struct Page<'a> {
    head: Head<'a>,
    source: String,
    lines: Vec<Shown>,
    earlier: Option<Lead>,
    later: Option<Lead>,
}

struct Shown {
    line: Line,
    /// Whether this is the line that was asked for.
    anchor: bool,
    /// Bytes between the line before and this one that hold no line that is here.
    gap: Option<u64>,
}

/// A link to more lines of a side.
#[derive(Debug, PartialEq, Eq)]
struct Lead {
    href: String,
    /// What ended the lines here, where that is not how many were asked for.
    note: Option<String>,
}

/// A side of what was found.
#[derive(Clone, Copy, Debug)]
struct SideFound {
    /// Lines that were asked for.
    asked: usize,
    /// Lines that are there.
    lines: usize,
    /// The place of the outermost line.
    outermost: u64,
    /// Where a look that ended early goes on.
    ended_at: Option<u64>,
}

/// `GET /sources/{generation}/{offset}`
///
/// # Errors
/// 400 for what is no place, 404 where there is no line that the reader sees, 503 or 504 where the store does not answer.
pub async fn show(
    store: web::Data<Store>,
    reader: Reader,
    place: web::Path<(String, u64)>,
    query: web::Query<Query>,
) -> Result<HttpResponse, Failure> {
    let (generation, offset) = place.into_inner();
    let generation: GenerationId =
        generation.parse().map_err(|_| Problem::bad_request("a source's generation is 32 hexadecimal digits"))?;
    let before = within("before", query.before.as_deref(), LINES, 0..=LINES_MAX)?;
    let after = within("after", query.after.as_deref(), LINES, 0..=LINES_MAX)?;
    let limits = |lines| PageLimits { lines, bytes: SHOWN_BYTES_MAX / 2 };
    let found = reader.view(&store).around(generation, offset, (limits(before), limits(after))).await;
    let found = found.map_err(Problem::from)?;
    let here = found.lines.iter().position(|line| line.offset == offset);
    if here.is_none() && query.on.is_none() {
        return Err(Problem::new(StatusCode::NOT_FOUND, "no line at this offset, or your token cannot see it").into());
    }
    let outermost = |line: Option<&SourceLine>| line.map_or(offset, |line| line.offset);
    let is_before = |line: &&SourceLine| line.offset < offset;
    let lines_before = found.lines.iter().filter(is_before).count();
    let sides = [
        SideFound {
            asked: before,
            lines: lines_before,
            outermost: outermost(found.lines.first()),
            ended_at: found.earlier,
        },
        SideFound {
            asked: after,
            lines: (found.lines.len() - lines_before).saturating_sub(1),
            outermost: outermost(found.lines.last()),
            ended_at: found.later,
        },
    ];
    let [earlier, later] = [0, 1].map(|side| lead(generation, offset, here.is_some(), sides, side));
    let lines: Vec<_> = found.lines.iter().map(|found| Line::read(found.line.get())).collect();
    let source = lines.iter().find_map(|line| line.origin.as_ref()).map(|origin| origin.source.clone());
    let mut reached = None;
    let shown = lines.into_iter().enumerate().map(|(place, line)| {
        let origin = line.origin.as_ref().map(|origin| (origin.offset, origin.offset.saturating_add(origin.length)));
        let gap = origin.zip(reached).and_then(|((start, _), end): ((u64, u64), u64)| start.checked_sub(end));
        reached = origin.map(|(_, end)| end);
        Shown { line, anchor: Some(place) == here, gap: gap.filter(|gap| *gap > 0) }
    });
    let page = Page {
        head: Head::of("Surrounding lines", Menu::Other, &reader),
        source: source.unwrap_or_else(|| "Source".to_owned()),
        lines: shown.collect(),
        earlier,
        later,
    };
    page::html(StatusCode::OK, &page)
}

/// Where there is more of a side, 0 for what is before and 1 for what is after.
fn lead(generation: GenerationId, offset: u64, is_line: bool, sides: [SideFound; 2], side: usize) -> Option<Lead> {
    let found = sides[side];
    let lone = |place: u64, lines: usize, on: &str| {
        let (before, after) = if side == 0 { (lines, 0) } else { (0, lines) };
        format!("/sources/{generation}/{place}?before={before}&after={after}{on}#anchor")
    };
    let mib = AROUND_MAX_BYTES / (1024 * 1024);
    if let Some(place) = found.ended_at {
        let words = if side == 0 { "before" } else { "after" };
        // It goes on right at the outermost line: more had no room.
        let is_full = place == found.outermost || place == found.outermost + 1;
        let note = if is_full {
            format!("The lines {words} this offset are too long to show more of them on this page.")
        } else {
            format!(
                "The {mib} MiB {words} this offset hold {} that you can see; nothing further was checked.",
                if found.lines == 0 { "no line".to_owned() } else { counted(found.lines as u64, "line", "lines") }
            )
        };
        return Some(Lead { href: lone(place, MORE, "&on=1"), note: Some(note) });
    }
    if found.lines < found.asked || found.asked == 0 && found.lines == 0 && !is_line {
        return None;
    }
    if found.asked < LINES_MAX && is_line {
        let more = |of: usize| if of == side { sides[of].asked + MORE } else { sides[of].asked }.min(LINES_MAX);
        let href = format!("/sources/{generation}/{offset}?before={}&after={}#anchor", more(0), more(1));
        return Some(Lead { href, note: None });
    }
    let note = is_line.then(|| {
        format!("A page shows at most {LINES_MAX} lines in each direction; the next page starts with this line.")
    });
    Some(Lead { href: lone(found.outermost, MORE, ""), note })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lead_of(is_line: bool, side: usize, found: SideFound) -> Option<(String, bool)> {
        let other = SideFound { asked: 20, lines: 3, outermost: 900, ended_at: None };
        let sides = if side == 0 { [found, other] } else { [other, found] };
        let generation = "0193a1b2c3d4e5f60718293a4b5c6d7e".parse().unwrap();
        let lead = lead(generation, 500, is_line, sides, side)?;
        let path = lead.href.strip_prefix(&format!("/sources/{generation}/")).unwrap().to_owned();
        Some((path, lead.note.is_some()))
    }

    #[test]
    fn whatever_ends_the_lines_there_is_a_way_on() {
        let found = |asked, lines, ended_at| SideFound { asked, lines, outermost: 100, ended_at };
        let more = |path: &str, is_told| Some((format!("{path}#anchor"), is_told));
        assert_eq!(lead_of(true, 0, found(20, 3, None)), None);
        assert_eq!(lead_of(true, 0, found(20, 20, None)), more("500?before=70&after=20", false));
        assert_eq!(lead_of(true, 1, found(480, 480, None)), more("500?before=20&after=500", false));
        assert_eq!(lead_of(true, 0, found(500, 500, None)), more("100?before=50&after=0", true));
        assert_eq!(lead_of(true, 0, found(20, 0, Some(40))), more("40?before=50&after=0&on=1", true));
        assert_eq!(lead_of(false, 1, found(50, 7, Some(700))), more("700?before=0&after=50&on=1", true));
        assert_eq!(lead_of(true, 0, found(20, 2, Some(100))), more("100?before=50&after=0&on=1", true));
        assert_eq!(lead_of(false, 0, found(50, 50, None)), more("100?before=50&after=0", false));
        assert_eq!(lead_of(false, 1, found(0, 0, None)), None);
    }
}
