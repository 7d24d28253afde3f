//! A story in words, as its template needs it.

use store::{Level, Timestamp};

use crate::line::Line;
use crate::links::{Links, page_path};
use crate::page::chart::{self, Area, Mark};
use crate::page::story::gather::{Alike, Recent, Source, end};
use crate::page::story::{COMPARED_MAX, path_with, worst};
use crate::page::text::{count, counted, moment, span, span_ms};
use crate::story::compare::{self, Row};
use crate::story::steps::{Step, began, steps};
use crate::story::whole::{self, Verdict};

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
    /// Whether there are more lines.
    pub more: bool,
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
    /// `complete`, `gap` or `unknown`.
    pub verdict: &'static str,
    /// The badge's words.
    pub badge: String,
    /// What is found of each source.
    pub sources: Vec<String>,
    /// Its life as a picture.
    pub life: String,
    /// Its lines.
    pub lines: Vec<ShownLine>,
    /// What is not shown.
    pub cut: Option<String>,
    /// What is usual for its endpoint.
    pub usual: Option<String>,
    /// A good request beside it.
    pub comparison: Option<Comparison>,
    /// Others with the same error: the error, what was looked at, and their ids, links and times.
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
    /// What was looked at.
    pub looked_at: String,
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

impl Story {
    /// Puts what was found into words.
    #[must_use]
    pub fn of(found: &Found<'_>, links: &Links) -> Self {
        let lines = found.lines;
        let access = end(lines).map(|(_, access)| access);
        let verdict = whole::overall(found.sources.iter().map(|source| &source.verdict));
        let times = || lines.iter().filter_map(|line| line.time);
        let (first, last) = (times().min(), times().max());
        let mut elsewhere = Vec::new();
        if let (Some(first), Some(last)) = (first, last) {
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
            facts: facts(found),
            verdict: match verdict {
                Verdict::Complete => "complete",
                Verdict::Gaps(_) => "gap",
                Verdict::Unknown(_) => "unknown",
            },
            badge: badge(found, &verdict),
            sources: found.sources.iter().map(told).collect(),
            life: life(found),
            lines: shown(found),
            cut: found.more.then(|| format!("These are its first {} lines.", count(lines.len() as u64))),
            usual: found.recent.whole.map(|usual| {
                format!(
                    "of {}: half took up to {}, 95 in 100 up to {}",
                    counted(usual.samples as u64, "recent good request", "recent good requests"),
                    span(usual.p50_us),
                    span(usual.p95_us)
                )
            }),
            comparison: None,
            same_error: None,
            links: elsewhere,
            day: lines.first().map(|line| line.day().to_owned()).unwrap_or_default(),
            told_at: moment(Timestamp::now()),
        }
    }

    /// Adds requests with the same error.
    pub fn set_same_error(&mut self, found: Option<(Alike, String)>) {
        self.same_error = found.map(|((requests, looked_at), message)| SameError {
            message,
            requests: requests
                .into_iter()
                .map(|(id, time)| (id.clone(), page_path(&id), time.map(moment).unwrap_or_default()))
                .collect(),
            looked_at: format!(
                "among the newest {} of this service and level",
                counted(looked_at as u64, "line", "lines")
            ),
        });
    }

    /// Where the story is as a file.
    #[must_use]
    pub fn file(&self) -> String {
        format!("{}/file", page_path(&self.id))
    }

    /// Its own address.
    #[must_use]
    pub fn own(&self) -> String {
        page_path(&self.id)
    }

    /// Its lines as JSON.
    #[must_use]
    pub fn json(&self) -> String {
        crate::links::story_path(&self.id)
    }
}

fn facts(found: &Found<'_>) -> Vec<(&'static str, String)> {
    let lines = found.lines;
    let mut facts = Vec::new();
    if let Some((_, access)) = end(lines) {
        let slow = if found.is_slow { ", longer than usual" } else { "" };
        facts.push(("Took", format!("{}{slow}", span_ms(access.duration_ms))));
        facts.push(("Outcome", access.outcome.replace('_', " ")));
    } else {
        facts.push(("Outcome", "no access line: not ended yet, or it is not here".to_owned()));
    }
    let mut projects: Vec<_> = lines.iter().filter_map(|line| line.project_id.as_deref()).collect();
    projects.dedup();
    projects.sort_unstable();
    projects.dedup();
    if !projects.is_empty() {
        facts.push(("Project", projects.join(", ")));
    }
    let mut services: Vec<_> = lines.iter().map(|line| line.service.as_str()).collect();
    services.sort_unstable();
    services.dedup();
    facts.push((if services.len() == 1 { "Service" } else { "Services" }, services.join(", ")));
    facts.push(("Worst level", worst(lines).map_or("none", Line::level_name).to_owned()));
    if let Some(began) = began(lines) {
        facts.push(("Began", format!("{} UTC", moment(Timestamp::from_unix_micros(began)))));
    }
    facts
}

fn badge(found: &Found<'_>, verdict: &Verdict) -> String {
    let lines = counted(found.lines.len() as u64, "line", "lines");
    let sources = counted(found.sources.len() as u64, "source", "sources");
    match verdict {
        _ if found.more => format!("the first {lines}, {sources}"),
        Verdict::Complete => format!("complete: {lines}, {sources}"),
        Verdict::Gaps(gaps) => {
            let bytes: u64 = gaps.iter().map(|gap| gap.offsets.end - gap.offsets.start).sum();
            format!(
                "{}: {} of the source are not stored",
                counted(gaps.len() as u64, "gap", "gaps"),
                counted(bytes, "byte", "bytes")
            )
        }
        Verdict::Unknown(why) => format!("unknown whether complete: {why}"),
    }
}

fn told(source: &Source) -> String {
    let lines = counted(source.lines as u64, "line", "lines");
    match &source.verdict {
        Verdict::Complete => format!("{}: {lines}, stored end to end", source.name),
        Verdict::Unknown(why) => format!("{}: {lines}; unknown, {why}", source.name),
        Verdict::Gaps(gaps) => {
            let shown: Vec<_> = gaps
                .iter()
                .take(5)
                .map(|gap| format!("bytes {} to {}", count(gap.offsets.start), count(gap.offsets.end)))
                .collect();
            let rest = if gaps.len() > 5 { format!(" and {} more", gaps.len() - 5) } else { String::new() };
            format!(
                "{}: {lines}; not stored: {}{rest}. Lines there may be on their way, dead-lettered, or lost: \
                 the commands shipper verify and shipper dead-letters list tell which",
                source.name,
                shown.join(", ")
            )
        }
    }
}

/// Out of the usual: the step's time range in microseconds, where there is one.
fn slow_range(found: &Found<'_>, place: usize) -> Option<(i64, i64)> {
    found.recent.steps.exceeded(found.steps, place)?;
    let step = &found.steps[place];
    let (at, gap) = (step.at_us?, step.gap_us?);
    Some((at - gap, at))
}

fn life(found: &Found<'_>) -> String {
    let length = found.steps.iter().filter_map(|step| step.at_us).max().unwrap_or(0);
    let marks: Vec<_> = (0..found.lines.len())
        .filter_map(|place| {
            let (line, at_us) = (&found.lines[place], found.steps[place].at_us?);
            let title = format!(
                "{} after {}: {}",
                line.level_name(),
                span(at_us),
                line.message.chars().take(80).collect::<String>()
            );
            Some(Mark { at_us, level: line.level, area: Area { href: format!("#{}", anchor(place)), title } })
        })
        .collect();
    let slow: Vec<_> = (0..found.lines.len()).filter_map(|place| slow_range(found, place)).collect();
    chart::life(&format!("The request's life, {}, with its lines", span(length)), length, &marks, &slow)
}

/// The time since the line before, where it is known.
fn gap(step: &Step) -> String {
    step.gap_us.map(|gap| if gap < 0 { span(gap) } else { format!("+{}", span(gap)) }).unwrap_or_default()
}

fn anchor(place: usize) -> String {
    format!("line-{}", place + 1)
}

fn shown(found: &Found<'_>) -> Vec<ShownLine> {
    let shown = |(place, line): (usize, &Line)| {
        let slow = found.recent.steps.exceeded(found.steps, place).map(|usual| {
            format!("usually {}, 95 in 100 up to {}, of {}", span(usual.p50_us), span(usual.p95_us), usual.samples)
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

impl Comparison {
    /// Lays another request beside one.
    #[must_use]
    pub fn of(id: &str, here: &[Line], good: &[Line]) -> Self {
        let rows = compare::align(here, good);
        let missing = rows.iter().filter(|row| row.here.is_none()).count() as u64;
        let extra = rows.iter().filter(|row| row.good.is_none()).count() as u64;
        let mut summary = match rows.iter().find(|row| row.parts) {
            Some(row) => format!("They part at {}.", place(row, here, good)),
            None => "Both took the same steps to the same end.".to_owned(),
        };
        if missing + extra > 0 {
            summary.push_str(&format!(
                " {} of the good one {} not here, {} here {} not there.",
                counted(missing, "line", "lines"),
                if missing == 1 { "is" } else { "are" },
                counted(extra, "line", "lines"),
                if extra == 1 { "is" } else { "are" },
            ));
        }
        if here.len().max(good.len()) > COMPARED_MAX {
            summary.push_str(&format!(" The first {COMPARED_MAX} lines of each were compared."));
        }
        let text = |line: &Line| {
            let end = line.access.as_ref().map(|access| {
                format!(" → {} {} in {}", access.status_text(), access.outcome, span_ms(access.duration_ms))
            });
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
        (Some(line), None) => format!("“{}”, which the good one has not", cut(line)),
        (None, Some(line)) => format!("“{}”, which this one has not", cut(line)),
        (Some(line), Some(_)) => format!("“{}”, which ended otherwise", cut(line)),
        (None, None) => String::new(),
    }
}
