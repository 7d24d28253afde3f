//! The values of a request's page, prepared for its template.

use store::{Cursor, Timestamp};

use crate::line::Line;
use crate::links::Links;
use crate::page::chart::{self, Area, Mark};
use crate::page::story::badge::Badge;
use crate::page::story::comparison::Comparison;
use crate::page::story::queries::Neighbours;
use crate::page::story::related::{SameErrorRequests, Similar};
use crate::page::story::sources::SourceReport;
use crate::page::story::summary::Summary;
use crate::page::text::{count, counted, datetime, gap, span};
use crate::paths::{encode, request_api, request_page};
use crate::story::steps::Step;

/// What was found about a request.
#[derive(Clone, Copy)]
pub struct Findings<'a> {
    /// Its ID.
    pub id: &'a str,
    /// Its lines on this page, oldest first.
    pub lines: &'a [Line],
    /// The same as steps.
    pub steps: &'a [Step],
    /// The completeness of its sources.
    pub sources: &'a [SourceReport],
    /// Similar requests.
    pub similar: &'a Similar,
    /// Whether its total duration is above the baseline.
    pub is_slow: bool,
    /// Facts about all of its lines.
    pub summary: &'a Summary,
    /// The neighbouring pages.
    pub neighbours: &'a Neighbours,
    /// The ID of the request to compare with, if one was given.
    pub compare: Option<&'a str>,
}

/// A request's page.
#[derive(Debug)]
pub struct Story {
    /// The request's ID.
    pub id: String,
    /// The page's title.
    pub title: String,
    /// Method and endpoint, such as `GET /orders/{id}`, if known.
    pub what: Option<String>,
    /// Its status, such as `200` or `no response`.
    pub status: Option<String>,
    /// `good`, `bad` or `odd`.
    pub kind: &'static str,
    /// Names and values.
    pub facts: Vec<(&'static str, String)>,
    /// Whether lines are missing.
    pub badge: Badge,
    /// The timeline as a chart.
    pub timeline: String,
    /// Its lines.
    pub lines: Vec<StoryLine>,
    /// Which of its lines are shown, if not all.
    pub part: Option<String>,
    /// URL of the previous page.
    pub previous: Option<String>,
    /// URL of the next page.
    pub next: Option<String>,
    /// Permalink of this page.
    pub permalink: String,
    /// The same as a file.
    pub file: String,
    /// The same as JSON.
    pub json: String,
    /// The baseline of its endpoint.
    pub baseline: Option<String>,
    /// A comparison with a successful request.
    pub comparison: Option<Comparison>,
    /// Other requests with the same error.
    pub same_error: Option<SameError>,
    /// Links to other tools.
    pub links: Vec<(&'static str, String)>,
    /// The date of its first line.
    pub day: String,
    /// When the page was rendered.
    pub rendered_at: String,
}

/// Other requests with the same error.
#[derive(Debug)]
pub struct SameError {
    /// The error's message.
    pub message: String,
    /// ID, link and time.
    pub requests: Vec<(String, String, String)>,
    /// How many there are, and how many lines were checked.
    pub summary: String,
    /// URL of a search for all such lines.
    pub search: String,
}

/// A line on the page.
#[derive(Debug)]
pub struct StoryLine {
    /// The line.
    pub line: Line,
    /// Its ID in the page.
    pub anchor: String,
    /// Time since the previous line.
    pub gap: String,
    /// The baseline of a slow step.
    pub slow: Option<String>,
    /// URL of the surrounding lines.
    pub around: Option<String>,
}

impl Story {
    /// Prepares the page of a request.
    #[must_use]
    pub fn new(findings: &Findings<'_>, links: &Links) -> Self {
        let Findings { id, lines, summary, neighbours, compare, .. } = *findings;
        let access = summary.end().map(|(_, access)| access);
        let path = request_page(id);
        let is_partial = neighbours.is_partial();
        let mut elsewhere = Vec::new();
        if let Some((first, last)) = summary.times {
            elsewhere.extend(links.kibana(id, first, last).map(|link| ("Kibana", link)));
            elsewhere.extend(links.grafana(first, last).map(|link| ("Grafana", link)));
        }
        Self {
            id: id.to_owned(),
            title: format!("Request {id}"),
            what: access.map(|access| format!("{} {}", access.method, access.endpoint)),
            status: access.map(crate::line::Access::status_text),
            kind: match access {
                Some(access) if access.is_failure() => "bad",
                Some(access) if access.is_success() => "good",
                _ => "odd",
            },
            facts: summary.facts(findings.is_slow),
            badge: Badge::new(lines.len(), is_partial, findings.sources),
            timeline: timeline(findings),
            lines: story_lines(findings),
            part: is_partial.then(|| {
                let clock = |line: Option<&Line>| line.map(|line| line.clock().to_owned()).unwrap_or_default();
                let (shown, all) = (count(lines.len() as u64), counted(summary.lines, "line", "lines"));
                format!("{shown} of {all}, from {} to {}.", clock(lines.first()), clock(lines.last()))
            }),
            previous: neighbours.previous.map(|cursor| href(&path, cursor, compare)),
            next: neighbours.next.map(|cursor| href(&path, Some(cursor), compare)),
            permalink: href(&path, neighbours.here, compare),
            file: href(&format!("{path}/file"), neighbours.here, compare),
            json: href(&request_api(id), neighbours.here, None),
            baseline: findings.similar.total.map(|baseline| {
                let samples = counted(baseline.samples as u64, "successful request", "successful requests");
                format!("usually {} (p50), {} (p95), from {samples}", span(baseline.p50_us), span(baseline.p95_us))
            }),
            comparison: None,
            same_error: None,
            links: elsewhere,
            day: lines.first().map(|line| line.day().to_owned()).unwrap_or_default(),
            rendered_at: datetime(Timestamp::now()),
        }
    }

    /// Adds other requests with the same error.
    pub fn set_same_error(&mut self, found: Option<(SameErrorRequests, String)>) {
        self.same_error = found.map(|(requests, message)| SameError::new(requests, message));
    }
}

impl SameError {
    fn new(others: SameErrorRequests, message: String) -> Self {
        let shown = others.requests.len();
        let found = match others.found {
            0 => "No other request with this error".to_owned(),
            found if found > shown => {
                format!("Newest {shown} of {} other requests with this error", count(found as u64))
            }
            found => format!("{} with this error", counted(found as u64, "other request", "other requests")),
        };
        let newest = || format!("the newest {} lines", count(others.checked as u64));
        let checked = if others.is_cut { newest() } else { "all lines".to_owned() };
        let request = |(id, time): (String, Option<Timestamp>)| {
            (id.clone(), request_page(&id), time.map(datetime).unwrap_or_default())
        };
        Self {
            message,
            requests: others.requests.into_iter().map(request).collect(),
            summary: format!("{found}, among {checked} of this service and level that contain its words."),
            search: others.search,
        }
    }
}

/// The URL of a page of a request, compared with another.
fn href(path: &str, cursor: Option<Cursor>, compare: Option<&str>) -> String {
    let cursor = cursor.map(|cursor| format!("cursor={cursor}"));
    let compare = compare.map(|compare| format!("compare={}", encode(compare)));
    let parts: Vec<_> = cursor.into_iter().chain(compare).collect();
    if parts.is_empty() { path.to_owned() } else { format!("{path}?{}", parts.join("&")) }
}

/// The time range of a slow step, in microseconds.
fn slow_range(findings: &Findings<'_>, index: usize) -> Option<(i64, i64)> {
    findings.similar.steps.exceeded(findings.steps, index)?;
    let step = &findings.steps[index];
    let (at, gap) = (step.at_us?, step.gap_us?);
    Some((at.saturating_sub(gap), at))
}

fn timeline(findings: &Findings<'_>) -> String {
    let ends = findings.steps.iter().filter_map(|step| step.at_us).chain(findings.summary.length_us());
    let length = ends.max().unwrap_or(0);
    let marks: Vec<_> = (0..findings.lines.len())
        .filter_map(|index| {
            let (line, at_us) = (&findings.lines[index], findings.steps[index].at_us?);
            let message: String = line.message.chars().take(80).collect();
            let title = format!("{} at {}: {message}", line.level_name(), span(at_us));
            Some(Mark { at_us, level: line.level, area: Area { href: format!("#{}", anchor(index)), title } })
        })
        .collect();
    let slow: Vec<_> = (0..findings.lines.len()).filter_map(|index| slow_range(findings, index)).collect();
    chart::timeline(&format!("Timeline of the request, {}", span(length)), length, &marks, &slow)
}

fn anchor(index: usize) -> String {
    format!("line-{}", index + 1)
}

fn story_lines(findings: &Findings<'_>) -> Vec<StoryLine> {
    let story_line = |(index, line): (usize, &Line)| {
        let slow = findings.similar.steps.exceeded(findings.steps, index).map(|baseline| {
            let samples = counted(baseline.samples as u64, "request", "requests");
            format!("usually {}, p95 {}, from {samples}", span(baseline.p50_us), span(baseline.p95_us))
        });
        StoryLine {
            anchor: anchor(index),
            gap: gap(findings.steps[index].gap_us),
            slow,
            around: line.surroundings(),
            line: line.clone(),
        }
    };
    findings.lines.iter().enumerate().map(story_line).collect()
}
