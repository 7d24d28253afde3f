//! A story in words, as its template needs it.

use store::{Cursor, Timestamp};

use crate::line::Line;
use crate::links::{Links, page_path, story_path};
use crate::page::chart::{self, Area, Mark};
use crate::page::encode;
use crate::page::story::badge::Badge;
use crate::page::story::beside::Beside;
use crate::page::story::gather::{Neighbours, end};
use crate::page::story::head::Head;
use crate::page::story::others::{Alike, Recent};
use crate::page::story::sources::Source;
use crate::page::text::{count, counted, moment, span};
use crate::story::steps::Step;

/// What was found of a request.
#[derive(Clone, Copy)]
pub struct Found<'a> {
    /// The request.
    pub id: &'a str,
    /// Its lines, oldest first.
    pub lines: &'a [Line],
    /// The same as steps.
    pub steps: &'a [Step],
    /// What is found of its sources.
    pub sources: &'a [Source],
    /// Requests like it.
    pub recent: &'a Recent,
    /// Whether all of it took longer than it does.
    pub is_slow: bool,
    /// What holds of it as a whole.
    pub head: &'a Head,
    /// Where the lines before these are, and those after them.
    pub neighbours: &'a Neighbours,
    /// The request that was asked for beside it.
    pub with: Option<&'a str>,
}

/// A story.
#[derive(Debug)]
pub struct Story {
    /// The request.
    pub id: String,
    /// A name for the page.
    pub title: String,
    /// `GET /orders/{id}`, where it is known.
    pub what: Option<String>,
    /// How it ended, in a word: `200`, `no answer`.
    pub status: Option<String>,
    /// `good`, `bad` or `odd`.
    pub kind: &'static str,
    /// Facts about it: a name, and what it is.
    pub facts: Vec<(&'static str, String)>,
    /// Whether lines are missing.
    pub badge: Badge,
    /// Its life as a picture.
    pub life: String,
    /// Its lines.
    pub lines: Vec<ShownLine>,
    /// Of which part the lines are, where they are not all.
    pub part: Option<String>,
    /// The lines before these.
    pub previous: Option<String>,
    /// The lines after these.
    pub next: Option<String>,
    /// Its own address, of this part.
    pub own: String,
    /// The same as a file.
    pub file: String,
    /// The same as JSON.
    pub json: String,
    /// What is usual for its endpoint.
    pub usual: Option<String>,
    /// A good request beside it, or why there is none.
    pub beside: Option<Beside>,
    /// Others with the same error.
    pub same_error: Option<SameError>,
    /// Links elsewhere.
    pub links: Vec<(&'static str, String)>,
    /// The day that it began.
    pub day: String,
    /// When this was put together.
    pub told_at: String,
}

/// Requests with the same error.
#[derive(Debug)]
pub struct SameError {
    /// The error's message.
    pub message: String,
    /// Id, link and time.
    pub requests: Vec<(String, String, String)>,
    /// How many there are, and what was looked at.
    pub words: String,
    /// Where all lines like it are.
    pub search: String,
}

/// A line as it is shown.
#[derive(Debug)]
pub struct ShownLine {
    /// The line.
    pub line: Line,
    /// Its name in the page.
    pub anchor: String,
    /// Time since the line before.
    pub gap: String,
    /// Why that is out of the usual, where it is.
    pub slow: Option<String>,
    /// Where the lines around it are.
    pub around: Option<String>,
}

impl Story {
    /// Puts what was found into words.
    #[must_use]
    pub fn of(found: &Found<'_>, links: &Links) -> Self {
        let lines = found.lines;
        let access = end(&found.head.ends).map(|(_, access)| access);
        let path = page_path(found.id);
        let badge = Badge::of(lines.len(), found.neighbours.is_part(), found.sources);
        let mut elsewhere = Vec::new();
        if let Some((first, last)) = found.head.times {
            elsewhere.extend(links.kibana(found.id, first, last).map(|link| ("Kibana", link)));
            elsewhere.extend(links.grafana(first, last).map(|link| ("Grafana", link)));
        }
        Self {
            id: found.id.to_owned(),
            title: format!("Request {}", found.id),
            what: access.map(|access| format!("{} {}", access.method, access.endpoint)),
            status: access.map(crate::line::Access::status_text),
            kind: match access {
                Some(access) if access.is_failure() => "bad",
                Some(access) if access.is_good() => "good",
                _ => "odd",
            },
            facts: found.head.facts(found.is_slow),
            badge,
            life: life(found),
            lines: shown(found),
            part: found.neighbours.is_part().then(|| {
                let clock = |line: Option<&Line>| line.map(|line| line.clock().to_owned()).unwrap_or_default();
                format!(
                    "{} of {}, from {} to {}.",
                    count(lines.len() as u64),
                    counted(found.head.lines, "line", "lines"),
                    clock(lines.first()),
                    clock(lines.last())
                )
            }),
            previous: found.neighbours.previous.map(|cursor| part_of(&path, cursor, found.with)),
            next: found.neighbours.next.map(|cursor| part_of(&path, Some(cursor), found.with)),
            own: part_of(&path, found.neighbours.here, found.with),
            file: part_of(&format!("{path}/file"), found.neighbours.here, found.with),
            json: part_of(&story_path(found.id), found.neighbours.here, None),
            usual: found.recent.whole.map(|usual| {
                format!(
                    "usually {} (p50), {} (p95), from {}",
                    span(usual.p50_us),
                    span(usual.p95_us),
                    counted(usual.samples as u64, "successful request", "successful requests")
                )
            }),
            beside: None,
            same_error: None,
            links: elsewhere,
            day: lines.first().map(|line| line.day().to_owned()).unwrap_or_default(),
            told_at: moment(Timestamp::now()),
        }
    }

    /// Adds requests with the same error.
    pub fn set_same_error(&mut self, found: Option<(Alike, String)>) {
        self.same_error = found.map(|(alike, message)| SameError::of(alike, message));
    }
}

impl SameError {
    fn of(alike: Alike, message: String) -> Self {
        let shown = alike.requests.len();
        let found = match alike.found {
            0 => "No other request with this error".to_owned(),
            found if found > shown => {
                format!("Newest {shown} of {} other requests with this error", count(found as u64))
            }
            found => format!("{} with this error", counted(found as u64, "other request", "other requests")),
        };
        let newest = || format!("the newest {} lines", count(alike.looked_at as u64));
        let looked_at = if alike.is_cut { newest() } else { "all lines".to_owned() };
        let request = |(id, time): (String, Option<Timestamp>)| {
            (id.clone(), page_path(&id), time.map(moment).unwrap_or_default())
        };
        Self {
            message,
            requests: alike.requests.into_iter().map(request).collect(),
            words: format!("{found}, among {looked_at} of this service and level that contain its words."),
            search: alike.search,
        }
    }
}

/// The address of a part of a story, with another beside it; without a cursor of its begin.
fn part_of(path: &str, cursor: Option<Cursor>, with: Option<&str>) -> String {
    let cursor = cursor.map(|cursor| format!("cursor={cursor}"));
    let with = with.map(|with| format!("with={}", encode(with)));
    let parts: Vec<_> = cursor.into_iter().chain(with).collect();
    if parts.is_empty() { path.to_owned() } else { format!("{path}?{}", parts.join("&")) }
}

/// Out of the usual: the step's time range in microseconds, where there is one.
fn slow_range(found: &Found<'_>, place: usize) -> Option<(i64, i64)> {
    found.recent.steps.exceeded(found.steps, place)?;
    let step = &found.steps[place];
    let (at, gap) = (step.at_us?, step.gap_us?);
    Some((at.saturating_sub(gap), at))
}

fn life(found: &Found<'_>) -> String {
    let length = found.steps.iter().filter_map(|step| step.at_us).chain(found.head.length_us()).max().unwrap_or(0);
    let marks: Vec<_> = (0..found.lines.len())
        .filter_map(|place| {
            let (line, at_us) = (&found.lines[place], found.steps[place].at_us?);
            let title = format!(
                "{} at {}: {}",
                line.level_name(),
                span(at_us),
                line.message.chars().take(80).collect::<String>()
            );
            Some(Mark { at_us, level: line.level, area: Area { href: format!("#{}", anchor(place)), title } })
        })
        .collect();
    let slow: Vec<_> = (0..found.lines.len()).filter_map(|place| slow_range(found, place)).collect();
    chart::life(&format!("Timeline of the request, {}", span(length)), length, &marks, &slow)
}

/// The time since the line before, where it is known.
pub(super) fn gap(step: &Step) -> String {
    step.gap_us.map(|gap| if gap < 0 { span(gap) } else { format!("+{}", span(gap)) }).unwrap_or_default()
}

fn anchor(place: usize) -> String {
    format!("line-{}", place + 1)
}

fn shown(found: &Found<'_>) -> Vec<ShownLine> {
    let shown = |(place, line): (usize, &Line)| {
        let slow = found.recent.steps.exceeded(found.steps, place).map(|usual| {
            let samples = counted(usual.samples as u64, "request", "requests");
            format!("usually {}, p95 {}, from {samples}", span(usual.p50_us), span(usual.p95_us))
        });
        ShownLine {
            anchor: anchor(place),
            gap: gap(&found.steps[place]),
            slow,
            around: line.surroundings(),
            line: line.clone(),
        }
    };
    found.lines.iter().enumerate().map(shown).collect()
}
